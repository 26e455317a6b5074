"""Tuned methods beside text prompts."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from rlprompt.agents.protocol import AGENTS
from rlprompt.compare import folder
from rlprompt.compare.compare import compare
from rlprompt.compare.config import CompareConfig, Method
from rlprompt.core.errors import RunError
from rlprompt.core.evaluation import calibrate, gold_logprobs
from rlprompt.core.events import ignore
from rlprompt.core.ledger import Budget
from rlprompt.core.trials import Setting
from rlprompt.lm.causal import CausalLM
from rlprompt.lm.loading import LMConfig, load_lm
from rlprompt.report.tables import TAKEN
from rlprompt.tasks.registry import load_task
from rlprompt.tuning.protocol import Problem, make_tuner, settle

SHORT = Method(settings={"length": 4, "learning_rates": (0.01,), "steps": 10}, tuner="soft-prompt")
WIDTH = 32
N_TRAIN = N_DEV = 8


@pytest.fixture(scope="module")
def finished_with_tuner(settings, frozen, tmp_path_factory):
    """Configuration, result and news of a comparison of two agents and a tuner, figures and all."""
    config = CompareConfig(
        **settings,
        tuners=("short",),
        methods={"short": SHORT},
        out=tmp_path_factory.mktemp("runs") / "tuned",
    )
    news = []
    return config, compare(config, lm=frozen, on_news=news.append), news


@pytest.fixture
def group(finished_with_tuner):
    config = finished_with_tuner[0]
    return folder.group_folder(config.out, *config.groups[0])


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def short():
    """Keyword arguments of a comparison with one quick tuner."""
    return {"tuners": ("short",), "methods": {"short": SHORT}}


def test_the_record_of_a_tuner(group):
    record = read(group / "short.400.seed-0.json")
    assert record["tuner"] == "soft-prompt"
    assert record["settings"]["learning_rates"] == [0.01]
    assert record["prompt"] == {"text": f"(4 x {WIDTH} numbers)"}
    assert record["n_parameters"] == 4 * WIDTH
    assert record["traits"] == {"gradients": True, "readable": False, "other_lms": False}
    kept = group / "short.400.seed-0"
    assert [path.name for path in kept.iterdir()] == ["soft_prompt.safetensors"]
    assert record["bytes"] == (kept / "soft_prompt.safetensors").stat().st_size
    # Two manual prompts on dev, the training, and train once for the calibration.
    looks = record["history"]
    assert [row["step"] for row in looks] == [0, 5, 10]
    assert looks[-1]["passes"] == 10 * 8 * 3 + 3 * N_DEV
    assert record["ledger"]["forwards"] == 2 * N_DEV + looks[-1]["passes"] + N_TRAIN
    assert record["ledger"]["forwards"] <= 400
    assert record["ledger"]["seconds"] > 0
    assert not [*group.glob("*.work")]


def test_its_scores_are_those_of_the_tuner_alone(group, films, tiny_lm):
    record, tested = read(group / "short.400.seed-0.json"), read(group / folder.TEST)
    task = load_task(films, 0, 4)
    task = replace(task, manual_prompts=(" It was", " overall a"))
    problem = Problem(load_lm(LMConfig(str(tiny_lm), trainable=True)), task, Budget(400 - N_TRAIN))
    tuner = make_tuner(SHORT.tuner, SHORT.settings)
    tuned = tuner.tune(problem, seed=0, on_event=ignore, work=None)
    bias = settle(tuned, task.train, task.dev)
    assert [*record["calibration"].values()] == pytest.approx(bias.tolist(), abs=1e-6)
    test = task.test.open("scores")
    items = test.examples[:29]
    expected = gold_logprobs(
        calibrate(tuned.choice_logprobs(items), bias), np.array([e.label for e in items])
    )
    row = tested["selected"]["short.400.seed-0.json"]
    assert row["log_likelihood"] == pytest.approx(expected.tolist(), abs=2e-5)


def test_test_is_opened_once_for_prompts_and_tuned_methods(group):
    tested = read(group / folder.TEST)
    (reason,) = tested["opened"]
    assert re.fullmatch(
        r"final scores of [1-5] prompts and 1 tuned method that were selected on train and dev",
        reason,
    )
    rows = tested["selected"]
    own = rows.pop("short.400.seed-0.json")
    assert {*own} - {"saved"} == {*rows["random.400.seed-0.json"]}
    assert len(own["correct"]) == len(own["log_likelihood"]) == 29
    assert tested["truncated"] == 0


def test_the_result_holds_tuned_methods_like_others(finished_with_tuner):
    config, result, news = finished_with_tuner
    assert result["failures"] == []
    assert result["config"]["tuners"] == {
        "short": {
            "tuner": "soft-prompt",
            "settings": {"length": 4, "learning_rates": [0.01], "steps": 10},
        }
    }
    assert [*result["config"]["methods"]] == ["random", "genetic"]
    (run,) = [row for row in result["runs"] if row["method"] == "short"]
    assert run["tuning"]["n_parameters"] == 4 * WIDTH
    assert not any("tuning" in row for row in result["runs"] if row["method"] != "short")
    pairs = [row for row in result["tests"] if "short" in (row["one"], row["other"])]
    assert len(pairs) == 2 * 5
    assert any("the best tuned method against" in line for line in result["verdict"])
    told = [each.line for each in news if each.setting and each.setting.method == "short"]
    assert told[-1].endswith(f"on train and dev: (4 x {WIDTH} numbers)")
    drawing = (config.out / "figures" / "accuracy-400.svg").read_text(encoding="utf-8")
    assert "<!-- tuned -->" in drawing
    process = result["process"]
    assert 0 < process["lm_seconds"] <= process["busy_seconds"]


def test_the_table_says_what_each_method_takes(finished_with_tuner, group):
    config, result, _ = finished_with_tuner
    rows = {row["method"]: row for row in result["summary"]}
    record = read(group / "short.400.seed-0.json")
    assert {name: rows["short"][name] for name in TAKEN} == {
        "parameters": 4 * WIDTH,
        "passes": record["ledger"]["forwards"],
        "seconds": record["ledger"]["seconds"],
        "bytes": record["bytes"],
        "gradients": True,
        "readable": False,
        "other_lms": False,
    }
    agent = read(group / "random.400.seed-0.json")
    assert {name: rows["random"][name] for name in TAKEN} == {
        "parameters": 0,
        "passes": agent["ledger"]["forwards"],
        "seconds": agent["ledger"]["seconds"],
        "bytes": len(agent["prompt"]["text"].encode()),
        "gradients": False,
        "readable": True,
        "other_lms": True,
    }
    assert (rows["manual"]["passes"], rows["manual"]["bytes"] > 0) == (0, True)
    table = (config.out / folder.TABLE).read_text(encoding="utf-8")
    assert all(title in table.splitlines()[0] for title in TAKEN.values())
    assert f"| (4 x {WIDTH} numbers) | {4 * WIDTH} |" in table


def test_without_tuners_nothing_is_different(comparison):
    result = comparison.start()
    assert [*result["config"]] == [
        *("tasks", "methods", "fixed", "budgets", "split_seeds", "seeds", "reach", "run")
    ]
    assert not {*TAKEN} & {*result["summary"][0]}
    assert not any("tuning" in row for row in result["runs"])
    assert (comparison.out / folder.TABLE).read_text(encoding="utf-8").splitlines()[0] == (
        "| task | LM forwards | method | test accuracy | test log-likelihood | mean rank | "
        "forwards to random's best reward | train reward | runs | failed | "
        "prompt of the first split |"
    )
    (reason,) = comparison.tested()["opened"]
    assert "tuned" not in reason
    assert not any("saved" in row for row in comparison.tested()["selected"].values())


def test_a_tuner_is_added_to_a_finished_comparison_and_then_only_read(
    comparison, short, monkeypatch
):
    comparison.start(agents=("random",))
    before, tested = comparison.record("random"), comparison.tested()
    result = comparison.start(**short)
    assert comparison.record("random") == before
    grown = comparison.tested()
    assert grown["opened"][0] == tested["opened"][0]
    assert grown["opened"][1].startswith("final scores of 0 prompts and 1 tuned method that")
    assert {**grown["selected"]}.items() >= tested["selected"].items()
    # Not even the LM is needed now.
    monkeypatch.setattr("rlprompt.compare.compare.load_lm", None)
    comparison.frozen = None
    again = comparison.start()
    assert again["runs"] == result["runs"]
    assert comparison.tested() == grown


def test_tuners_without_agents(comparison, short):
    result = comparison.start(agents=(), **short, fixed=())
    assert [row["method"] for row in result["runs"]] == ["short"]
    assert result["failures"] == []


def test_without_tuners_no_agents_are_all_agents(comparison):
    assert comparison.config(agents=()).agents == tuple(AGENTS)
    assert CompareConfig(comparison.out).agents == tuple(AGENTS)
    assert CompareConfig(comparison.out, tuners=("soft-prompt",)).agents == tuple(AGENTS)


def test_a_tuner_that_raises_is_one_line_and_the_others_go_on(comparison, doubles, short):
    result = comparison.start(
        agents=("random",),
        tuners=("doubles:Collapses", "short"),
        methods=short["methods"],
        fixed=("empty",),
    )
    (failure,) = result["failures"]
    assert failure["method"] == "doubles:Collapses"
    assert re.fullmatch(
        r"FloatingPointError: the loss is infinite \(doubles.py, line \d+\)", failure["error"]
    )
    assert {row["method"] for row in result["runs"]} == {"random", "short", "empty"}
    assert (comparison.group() / "doubles_Collapses.400.seed-0.traceback.txt").exists()
    row = {row["method"]: row for row in result["summary"]}["doubles:Collapses"]
    assert (row["gradients"], row["bytes"]) == (None, None)


def test_budgets_that_are_too_small(comparison):
    labels = replace(SHORT, settings={**SHORT.settings, "init": "labels"})
    result = comparison.start(
        agents=(), tuners=("labels",), methods={"labels": labels}, budgets=(8, 15, 400), fixed=()
    )
    errors = {row["budget"]: row["error"] for row in result["failures"]}
    assert errors == {
        8: "A budget of 8 LM forwards is too small for 'labels': its calibration alone takes 8.",
        # Eight of them are for the calibration.
        15: "7 LM forwards for the tuning buy nothing: one look at dev costs 8, and training comes "
        "on top.",
    }
    assert [row["budget"] for row in result["runs"]] == [400]


def test_an_lm_without_gradients_fails_the_tuner_alone(comparison, short, monkeypatch):
    monkeypatch.delattr(CausalLM, "bind_gradients")
    result = comparison.start(agents=("random",), **short)
    (failure,) = result["failures"]
    assert "cannot be tuned: there are no gradients of causal LMs. Leave" in failure["error"]
    assert "random" in {row["method"] for row in result["runs"]}


def test_another_lm_behind_the_same_name_is_not_trained(comparison, short, monkeypatch, frozen):
    other = load_lm(LMConfig(frozen.identity.name, trainable=True))
    monkeypatch.setattr(other, "_identity", replace(other.identity, weights="0" * 16))
    monkeypatch.setattr("rlprompt.compare.compare.load_lm", lambda config: other)
    (failure,) = comparison.start(agents=("random",), **short)["failures"]
    assert "is not the one that gives the scores" in failure["error"]


def test_a_tuner_of_the_same_name_with_other_settings(comparison, short):
    comparison.start(agents=(), **short, fixed=())
    longer = replace(SHORT, settings={**SHORT.settings, "length": 5})
    with pytest.raises(RunError, match=r"short.400.seed-0.json was made with another settings of"):
        comparison.start(methods={"short": longer})
    with pytest.raises(RunError, match=r"made with another agent and another settings and"):
        comparison.start(agents=("short",), tuners=(), methods={"short": Method("random")})


def test_what_cannot_be_made_again_is_not_scored(comparison, short, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("rlprompt.compare.group.open_test", interrupt)
        with pytest.raises(RunError, match="Interrupted"):
            comparison.start(agents=("random",), **short)
    setting = Setting(comparison.settings["tasks"][0], 0, "short", 0, 400)
    path = folder.run_file(comparison.out, setting)
    record = read(path)
    record["dev"]["log_likelihood"] -= 0.1
    path.write_text(json.dumps(record), encoding="utf-8")
    result = comparison.start(agents=("random",), **short)
    assert any("short: 'short' cannot be made again: its log" in line for line in comparison.lines)
    (failure,) = result["failures"]
    assert failure["error"] == "what was tuned could not be scored on test"
    path.unlink()
    assert comparison.start()["failures"] == []


def test_a_run_that_is_made_anew_is_scored_anew(comparison, short):
    comparison.start(agents=("random",), **short)
    first = comparison.tested()["selected"]["short.400.seed-0.json"]
    setting = Setting(comparison.settings["tasks"][0], 0, "short", 0, 400)
    folder.run_file(comparison.out, setting).unlink()
    other = replace(SHORT, settings={**SHORT.settings, "init": "labels"})
    comparison.start(methods={"short": other})
    second = comparison.tested()["selected"]["short.400.seed-0.json"]
    assert second["text"] == first["text"]  # of the same shape, but of other numbers
    assert second["saved"] != first["saved"]
    assert second["log_likelihood"] != first["log_likelihood"]


def test_a_tuner_of_ones_own(comparison, doubles):
    result = comparison.start(agents=(), tuners=("doubles:Diverges",), fixed=())
    assert result["failures"] == []
    record = comparison.record("doubles:Diverges")
    assert record["history"] == [{"dev_log_likelihood": None, "dev_accuracy": 0.5}]
    assert record["prompt"]["text"] == "(3 numbers)"
    assert record["bytes"] == 2
    assert record["ledger"]["forwards"] == 1 + N_TRAIN
    (run,) = result["runs"]
    assert run["test_log_likelihood"] == pytest.approx(np.log(0.5), abs=1e-6)
