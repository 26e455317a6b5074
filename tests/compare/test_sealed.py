"""No result can be chosen by its test score: tries to, through every public door, are refused."""

import itertools
import json
from dataclasses import replace

import pytest

from rlprompt import RunConfig, Task, optimize
from rlprompt.agents.random_search import RandomSearch
from rlprompt.cli.main import main
from rlprompt.compare import folder
from rlprompt.compare.config import CompareConfig
from rlprompt.core.errors import ConfigError, DataError, RunError
from rlprompt.tasks.registry import load_task
from rlprompt.tasks.sealed import SealedSplit

KEYS = ["select_on", "split", "selection", "dev", "test", "metric", "select_by", "test_split"]


@pytest.fixture
def task(films):
    return load_task(films, 0, 4)


@pytest.fixture
def alone(settings, films):
    """Settings of a single run."""
    return {**settings["run"], "task": str(films), "agent": "random", "budget": 400}


def test_opens_once(task):
    task.test.open("one")
    with pytest.raises(RunError, match="opens once per run; it was opened for 'one'"):
        task.test.open("another")


def test_shows_no_example_while_it_is_sealed(task):
    public = [name for name in dir(task.test) if not name.startswith("_")]
    assert sorted(public) == ["check", "hash", "open", "opened", "overlap", "sizes", "withheld"]
    assert repr(task.test) == f"SealedSplit({len(task.test)} examples, {task.test.hash}, sealed)"
    assert list(task.test.sizes) == [0, 1]
    with pytest.raises(TypeError):
        iter(task.test)
    with pytest.raises(TypeError):
        task.test[0]
    assert task.test.opened is None


def test_a_task_whose_test_was_seen_is_good_for_no_run(task, alone, frozen):
    config = RunConfig(**alone)
    first = optimize(config, task=task, lm=frozen)
    before = frozen.meter.tokens
    with pytest.raises(RunError, match="was opened by an earlier run, and opens once"):
        optimize(config, task=task, lm=frozen)
    with pytest.raises(RunError, match="was opened by an earlier run, and opens once"):
        optimize(replace(config, seed=1), task=task, lm=frozen, agent=RandomSearch())
    assert frozen.meter.tokens == before
    assert first.splits["test"]["opened"] == task.test.opened


def test_an_opened_split_cannot_be_put_into_search_or_selection(task):
    seen = task.test.open("a look")
    for part in ("train", "dev"):
        with pytest.raises(DataError, match=rf"inputs stand in both {part} and test"):
            replace(task, **{part: seen}, test=SealedSplit(seen))
        mixed = type(seen)(part, (*getattr(task, part), seen.examples[0]))
        with pytest.raises(DataError, match=rf"1 inputs stand in both {part} and test"):
            replace(task, **{part: mixed})


def test_the_test_set_given_as_examples_too_leaves_none(film_rows):
    with pytest.raises(DataError):
        Task.from_examples(film_rows, test=film_rows, words=None, shots=4)


@pytest.mark.parametrize("key", KEYS)
def test_no_setting_selects_on_test(key, alone, settings, tmp_path):
    with pytest.raises(ConfigError, match=f"Unknown key '{key}'"):
        RunConfig.parse({**alone, key: "test"})
    with pytest.raises(ConfigError, match=f"Unknown key '{key}'"):
        CompareConfig.parse({"out": str(tmp_path), **settings["run"], key: "test"})


@pytest.mark.parametrize("command", ["optimize", "compare"])
@pytest.mark.parametrize("key", KEYS)
def test_no_flag_selects_on_test(command, key, monkeypatch, capsys):
    flag = f"--{key.replace('_', '-')}"
    monkeypatch.setattr("sys.argv", ["rlprompt", command, "--dry-run", flag, "test"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "No such option" in capsys.readouterr().err


@pytest.fixture
def test_texts(task):
    return {example.fields["text"] for example in task.test.open("to look for it elsewhere")}


def test_an_agent_reaches_nothing_of_test(comparison, doubles, test_texts):
    comparison.start(agents=("random",))
    found = doubles.FOUND
    # The second time with test scores in the evaluation log, which the runs share.
    result = comparison.start(agents=("random", "doubles:Snoop"))
    assert result["failures"] == []
    assert found["texts"]
    reached = {"Objective", "Archive", "ActionVocabulary", "CausalLM", "LlamaForCausalLM"}
    assert reached <= found["classes"]
    assert not found["classes"] & {"Task", "SealedSplit", "Split", "Example", "EvaluationLog"}
    assert not [text for text in found["texts"] if any(t in text for t in test_texts)]
    assert not [shape for shape in found["shapes"] if shape[:1] == (29,)]


def test_a_withheld_split_tells_the_same_and_is_never_opened(task):
    withheld = task.test.withheld()
    assert (withheld.hash, len(withheld), withheld.sizes) == (
        task.test.hash,
        len(task.test),
        task.test.sizes,
    )
    for _ in range(2):
        with pytest.raises(DataError, match="it cannot be opened for 'a look'"):
            withheld.open("a look")
    assert withheld.opened is None
    assert task.test.open("the real one") is not None


def test_a_tuner_cannot_open_test(comparison, doubles, another):
    without = another("without")
    without.start(agents=("random",))
    result = comparison.start(agents=("random",), tuners=("doubles:Peeks",))
    (failure,) = result["failures"]
    assert (failure["method"], failure["error"]) == (
        "doubles:Peeks",
        "The test split is not for what learns or selects: it cannot be opened for 'a look'.",
    )
    # The one real opening was not touched.
    assert comparison.tested() == without.tested()


def test_a_tuner_reaches_nothing_of_test(comparison, doubles, task, test_texts):
    comparison.start(agents=("random",))
    # Now there are scores on test in the folder, and the LM has seen the texts.
    comparison.start(agents=("random",), tuners=("doubles:Looks",))
    found = doubles.FOUND
    assert doubles.CALLS == [0]
    assert {"Problem", "Task", "SealedSplit", "CausalLM", "LlamaForCausalLM"} <= found["classes"]
    assert {example.fields["text"] for example in task.train} <= found["texts"]
    assert not [text for text in found["texts"] if any(t in text for t in test_texts)]
    assert not [shape for shape in found["shapes"] if shape[:1] == (29,)]


def test_who_looks_at_a_task_finds_train_but_not_test(doubles, task):
    doubles.look(task)
    assert {example.fields["text"] for example in task.train} <= doubles.FOUND["texts"]
    assert "SealedSplit" in doubles.FOUND["classes"]
    held_out = {example.fields["text"] for example in task.test.open("to look for it elsewhere")}
    assert not held_out & doubles.FOUND["texts"]


def test_a_reward_sees_nothing_of_test(comparison, doubles):
    result = comparison.start(
        agents=("random", "genetic+racing"), run={"reward": "doubles:sizes"}, budgets=(400, 800)
    )
    assert result["failures"] == []
    # Train and dev have 8 examples each; racing and the selection join parts of them.
    assert 8 in doubles.SIZES
    assert max(doubles.SIZES) <= 16


def test_scores_are_of_what_was_settled_before_and_nothing_else(finished):
    config, _, _ = finished
    for task, split_seed in config.groups:
        group = folder.group_folder(config.out, task, split_seed)
        tested = json.loads((group / folder.TEST).read_text(encoding="utf-8"))
        runs = {p.name: json.loads(p.read_text("utf-8")) for p in group.glob("*.seed-*.json")}
        assert {name: row["text"] for name, row in tested["selected"].items()} == {
            name: record["prompt"]["text"] for name, record in runs.items()
        }
        assert set(tested["fixed"]) == {"empty", "manual", "in-context"}
        rows = [*tested["selected"].values(), *tested["fixed"].values()]
        texts = {row["text"] for row in rows}
        assert tested["opened"] == [
            f"final scores of {len(texts)} prompts that were selected on train and dev"
        ]
        # Equal prompts have equal scores, and are in the log once.
        log = (group / folder.EVALUATIONS).read_text(encoding="utf-8").splitlines()
        on_test = [e for e in map(json.loads, log) if e["shape"][1] == 29]
        assert sum(len(entry["prompts"]) for entry in on_test) == len(texts)
        for one, other in itertools.combinations(rows, 2):
            assert (one["correct"] == other["correct"]) or one["text"] != other["text"]


def test_winners_are_those_of_train_and_dev(finished):
    config, _, _ = finished
    for setting in itertools.chain(*(config.settings(*group) for group in config.groups)):
        path = folder.run_file(config.out, setting)
        record = json.loads(path.read_text(encoding="utf-8"))
        best = max(record["finalists"], key=lambda row: row["reward"])
        assert record["reward"] == best["reward"]
        assert record["prompt"]["text"] == record["finalists"][0]["text"]
        assert not any("test" in key for key in (*record, *record["finalists"][0]))


def test_the_same_command_does_not_open_test_again(comparison, monkeypatch):
    first = comparison.start()
    path = comparison.group() / folder.TEST
    before = (path.read_bytes(), path.stat().st_mtime_ns)

    def refuse(self, reason):
        raise AssertionError(f"opened again for {reason}")

    monkeypatch.setattr(SealedSplit, "open", refuse)
    second = comparison.start()
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert len(comparison.tested()["opened"]) == 1
    assert second["runs"] == first["runs"]
    # More processes, another order or a goal in train reward are no reason either.
    comparison.start(agents=("genetic", "random"), reach=-0.5)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_test_labels_choose_nothing(comparison, another, ready, film_rows):
    """With other test labels everything but the test scores is the same, to the last digit."""
    methods = ("random", "genetic", "genetic+racing", "hill-climb")
    found = []
    for name, permute in (
        ("true", lambda labels: labels),
        ("flipped", lambda labels: [{"bad": "good", "good": "bad"}[each] for each in labels]),
        ("turned", lambda labels: labels[7:] + labels[:7]),
    ):
        each = another(f"with-{name}")
        data = ready(name, film_rows, permute)
        each.start(tasks=(str(data),), agents=methods, budgets=(400, 800))
        records = {
            (method, budget): each.record(method, budget)
            for method in methods
            for budget in (400, 800)
        }
        tested = each.tested()
        assert tested["hash"] == load_task(data, 0).test.hash
        rows = {**tested["selected"], **tested["fixed"]}
        for record in records.values():
            del record["setting"]["task"], record["ledger"]["seconds"]
            del record["origin"]["test split"]
        settled = {
            name: [row[key] for key in ("text", "train_reward", "dev_accuracy")]
            for name, row in rows.items()
        }
        correct = {name: row["correct"] for name, row in rows.items()}
        found.append((records, settled, correct))
    (true, flipped, turned) = found
    assert flipped[:2] == true[:2]
    assert turned[:2] == true[:2]
    swap = str.maketrans("01", "10")
    assert flipped[2] == {name: hits.translate(swap) for name, hits in true[2].items()}
    assert turned[2] != true[2]


def test_a_finished_run_is_read_with_its_own_agent_only(alone, frozen, tmp_path):
    config = RunConfig(**alone, out=tmp_path / "run")
    first = optimize(config, lm=frozen)
    again = optimize(config, lm=frozen)
    assert again.main == first.main
    with pytest.raises(RunError, match="holds a finished run with another agent"):
        optimize(config, lm=frozen, agent=RandomSearch(batch_size=7))
    with pytest.raises(RunError, match="seed was 0, now 1"):
        optimize(replace(config, seed=1), lm=frozen)


def test_a_run_that_is_there_cannot_be_replaced_by_a_luckier_one(comparison, finished):
    comparison.start()
    for changes in ({"test_limit": 10}, {"reward": "accuracy"}, {"vocabulary_size": 50}):
        with pytest.raises(RunError, match="belongs to another run: "):
            comparison.start(run=changes)
