"""What a finished comparison holds."""

import itertools
import json
import math

import pytest

from rlprompt import RunConfig, optimize
from rlprompt.compare import folder
from rlprompt.compare.compare import compare
from rlprompt.compare.config import CompareConfig, Method
from rlprompt.core.errors import RunError
from rlprompt.core.trials import Setting
from rlprompt.tasks.registry import load_task


@pytest.fixture
def stored(finished):
    """The file ``comparison.json``; JSON without NaN or infinities."""
    text = (finished[0].out / folder.RESULT).read_text(encoding="utf-8")

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def key(row):
    return tuple(row[name] for name in ("task", "split_seed", "method", "seed", "budget"))


def test_every_combination_was_run_and_every_fixed_prompt_scored(finished):
    config, result, _ = finished
    found = [key(row) for row in result["runs"]]
    searched = itertools.product(["films"], (0, 1), config.agents, (0, 1), (400, 800))
    fixed = itertools.product(["films"], (0, 1), ("empty", "manual", "in-context"), [0], [0])
    assert len(set(found)) == len(found)
    assert set(found) == {*searched, *fixed}
    assert result["failures"] == []


def test_the_file_is_what_is_returned(finished, stored):
    assert stored.pop("schema") == 1
    assert stored == json.loads(json.dumps(finished[1]))


def test_rows_are_finite_and_within_their_budget(stored):
    for row in stored["runs"]:
        assert 0 <= row["test_accuracy"] <= 1
        assert 0 <= row["dev_accuracy"] <= 1
        assert row["test_log_likelihood"] < 0
        assert math.isfinite(row["train_reward"])
        assert row["forwards"] <= row["budget"]
        if row["budget"]:
            assert row["forwards"] > 0.9 * row["budget"]
            forwards, rewards = zip(*row["trace"], strict=True)
            assert list(rewards) == sorted(rewards)
            assert list(forwards) == sorted(forwards)
        else:
            assert row["trace"] == []


def test_lm_versions_and_tasks_are_recorded(finished, stored, frozen, films):
    assert stored["lm"]["fingerprint"] == frozen.identity.fingerprint
    assert {"rlprompt", "python", "torch", "numpy", "system"} <= set(stored["versions"])
    assert [row["split_seed"] for row in stored["tasks"]] == [0, 1]
    for row in stored["tasks"]:
        task = load_task(films, row["split_seed"], 4)
        assert row["train"] == {"size": 8, "hash": task.train.hash}
        assert row["dev"] == {"size": 8, "hash": task.dev.hash}
        assert row["test"]["hash"] == task.test.hash
        assert (row["test"]["size"], row["test"]["scored"]) == (len(task.test), 29)
        assert row["test"]["truncated"] == 0
        assert len(row["test"]["opened"]) == 1


def test_summary_tests_verdict_table_and_figures(finished, stored):
    out = finished[0].out
    names = {*finished[0].agents, "empty", "manual", "in-context"}
    for budget in (400, 800):
        here = [row for row in stored["summary"] if row["budget"] == budget]
        assert {row["method"] for row in here} == names
        pairs = [row for row in stored["tests"] if row["budget"] == budget]
        assert len([row for row in pairs if row["metric"] == "log_likelihood"]) == math.comb(6, 2)
    assert stored["verdict"]
    table = (out / folder.TABLE).read_text(encoding="utf-8")
    assert table.count("\n| films |") == 2 * len(names)
    assert all(f"- {sentence}\n" in table for sentence in stored["verdict"])
    assert stored["figures"]
    assert all((out / path).stat().st_size > 500 for path in stored["figures"])


def test_process_says_what_it_took(stored):
    process = stored["process"]
    assert process["starts"] == process["jobs"] == 1
    assert 0 < process["lm_seconds"] <= process["busy_seconds"] <= process["wall_seconds"]
    assert 0 < process["lm_share"] <= 1


def test_progress_is_told_for_the_whole(finished):
    config, _, news = finished
    ended = [each.setting for each in news if each.setting and each.state != "running"]
    assert len(ended) == len(set(ended)) == 24
    assert {(each.task, each.split_seed) for each in ended} == set(config.groups)
    for setting in ended:
        forwards = [each.forwards for each in news if each.setting == setting]
        assert forwards == sorted(forwards)
        assert forwards[-1] == setting.budget
    lines = [each.line for each in news if each.line]
    assert sum(" on train and dev: " in line for line in lines) == 24
    assert sum(line.startswith("test: ") for line in lines) == 2


def test_a_run_is_what_optimize_does(finished, frozen, films, tiny_lm):
    config, _, _ = finished
    # The first of its group, and one that others had scored prompts of before.
    for method, seed, budget in (("random", 0, 400), ("genetic", 1, 800)):
        setting = Setting(str(films), 1, method, seed, budget)
        record = json.loads(folder.run_file(config.out, setting).read_text(encoding="utf-8"))
        tested = json.loads(
            (folder.group_folder(config.out, str(films), 1) / folder.TEST).read_text("utf-8")
        )
        row = tested["selected"][folder.run_file(config.out, setting).name]
        alone = RunConfig.parse(
            {
                **config.run,
                "task": str(films),
                "agent": method,
                "seed": seed,
                "budget": budget,
                "split_seed": 1,
            }
        )
        found = optimize(alone, lm=frozen)
        main = found.main
        assert tuple(record["prompt"]["ids"]) == main.found.prompt.ids
        assert [(t["forwards"], t["text"]) for t in record["trace"]] == [
            (t["forwards"], t["text"]) for t in main.trace
        ]
        assert [t["reward"] for t in record["trace"]] == pytest.approx(
            [t["reward"] for t in main.trace], abs=1e-5
        )
        for count in ("forwards", "search_forwards", "selection_forwards", "cache_hits"):
            assert record["ledger"][count] == main.ledger[count]
        assert [f["text"] for f in record["finalists"]] == [f["text"] for f in main.finalists]
        assert row["dev_accuracy"] == main.found.scores["dev"].accuracy
        assert row["correct"].count("1") / 29 == pytest.approx(main.found.scores["test"].accuracy)
        assert sum(row["log_likelihood"]) / 29 == pytest.approx(
            main.found.scores["test"].log_likelihood, abs=1e-5
        )
        assert tested["hash"] == found.splits["test"]["hash"]


def test_an_ensemble_is_a_method_of_its_own(settings, frozen, tmp_path):
    config = CompareConfig(
        **settings | {"agents": ("random", "random+ensemble", "random+racing+ensemble")},
        out=tmp_path / "out",
    )
    result = compare(config, lm=frozen)
    rows = {row["method"]: row for row in result["runs"]}
    assert rows["random"]["prompt"] == rows["random+ensemble"]["prompt"]
    assert rows["random"]["forwards"] == rows["random+ensemble"]["forwards"]
    found = {row["method"]: row["log_likelihood"] for row in result["summary"]}
    assert found["random"] != found["random+ensemble"]
    method = result["config"]["methods"]["random+racing+ensemble"]
    assert method == {"agent": "random", "settings": {}, "racing": True, "ensemble": 4}
    record = json.loads(next(tmp_path.glob("out/*/*/random+ensemble.*.json")).read_text())
    assert record["members"] == 4
    assert record["ensemble"][0] == record["prompt"]["text"]
    assert 1 < len(record["ensemble"]) <= 4
    assert rows["random+ensemble"]["ensemble"] == record["ensemble"]
    assert "ensemble" not in rows["random"]
    # Going on finds everything done.
    again = compare(config, lm=frozen)
    assert again["runs"] == result["runs"]
    other = CompareConfig(
        **settings
        | {
            "agents": ("random+ensemble",),
            "methods": {"random+ensemble": Method("random", ensemble=2)},
        },
        out=tmp_path / "out",
    )
    with pytest.raises(RunError, match="another members of 'random\\+ensemble'"):
        compare(other, lm=frozen)
