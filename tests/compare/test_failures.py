"""What goes wrong is one clear line, and the rest goes on."""

import csv
import json
import re

import pytest

from rlprompt.compare import folder
from rlprompt.compare.config import CompareConfig, Method
from rlprompt.core.errors import ConfigError, LMError, RunError
from rlprompt.objective.evaluation_log import EvaluationLog


def failed(result):
    return {row["method"]: row["error"] for row in result["failures"]}


def methods(result):
    return {row["method"] for row in result["runs"]}


def only(lines):
    (line,) = lines
    return line


def test_an_agent_that_raises_is_one_line_and_the_others_go_on(comparison, doubles):
    result = comparison.start(agents=("doubles:Raises", "random"))
    error = failed(result)["doubles:Raises"]
    assert re.fullmatch(r"ValueError: the world model collapsed \(doubles.py, line \d+\)", error)
    news = only([n for n in comparison.news if n.state == "failed"])
    assert (news.line, news.setting.method) == (error, "doubles:Raises")
    assert methods(result) == {"random", "empty", "manual", "in-context"}
    row = only([row for row in result["summary"] if row["method"] == "doubles:Raises"])
    assert (row["failures"], row["runs"]) == (1, 0)
    assert any("doubles:Raises failed in 1 run" in sentence for sentence in result["verdict"])
    assert "doubles:Raises" in (comparison.out / folder.TABLE).read_text("utf-8")
    trace = comparison.group() / "doubles_Raises.400.seed-0.traceback.txt"
    text = trace.read_text(encoding="utf-8")
    assert text.startswith("Traceback")
    assert "score_some(problem)" not in text
    assert 'raise ValueError("the world\\nmodel collapsed")' in text
    assert "doubles_Raises.400.seed-0.json" not in comparison.tested()["selected"]


def test_what_failed_is_tried_again_and_nothing_else(comparison, doubles, tmp_path):
    calm = tmp_path / "calm"
    flaky = {"flaky": Method("doubles:Flaky", {"until": str(calm)})}
    result = comparison.start(agents=("flaky", "doubles:Counted"), methods=flaky)
    assert "OSError: a passing cloud" in failed(result)["flaky"]
    trace = comparison.group() / "flaky.400.seed-0.traceback.txt"
    assert trace.exists()
    again = comparison.start()
    assert "flaky" in failed(again)
    calm.touch()
    mended = comparison.start()
    assert failed(mended) == {}
    assert "flaky" in methods(mended)
    assert doubles.CALLS == [0]
    assert not trace.exists()
    assert len(comparison.tested()["opened"]) == 2


def test_an_agent_that_scores_nothing(comparison, doubles):
    result = comparison.start(agents=("doubles:Idle", "random"))
    assert failed(result) == {
        "doubles:Idle": "The agent 'doubles:Idle' scored no prompt (the agent ended its search by "
        "itself)."
    }
    assert "random" in methods(result)
    assert not [*comparison.group().glob("*.traceback.txt")]


@pytest.mark.parametrize("batch", [1, 2, 5, 8, 16, 64])
def test_a_budget_below_one_batch_says_the_least_one(batch, comparison, doubles):
    mine = {"mine": Method("doubles:Counted", {"batch_size": batch})}
    small = 8 * batch + 7
    result = comparison.start(agents=("mine",), methods=mine, budgets=(small, 2000))
    error = failed(result)["mine"]
    assert re.search(rf"less than one batch of {batch} that 'mine' proposes at once", error) or (
        "is too small for one prompt" in error
    )
    least = int(re.search(r"[Aa]llow (at least )?(\d+)", error)[2])
    assert least > small
    assert [row["budget"] for row in result["runs"] if row["method"] == "mine"] == [2000]
    result = comparison.start(budgets=(least, least + 1, least + 2, least + 3, 2000))
    assert failed(result) == {}


def test_what_is_given_twice_counts_once(comparison):
    films = comparison.settings["tasks"][0]
    result = comparison.start(
        tasks=(films, films),
        agents=("random", "genetic", "random"),
        budgets=(400, 400),
        split_seeds=(0, 0, 0),
        seeds=(3, 3),
        fixed=("empty", "empty"),
    )
    assert len(result["runs"]) == 3
    assert comparison.config().notes == (
        f"tasks: {films} was given more than once and counts once.",
        "agents: random was given more than once and counts once.",
        "fixed: empty was given more than once and counts once.",
        "budgets: 400 was given more than once and counts once.",
        "split_seeds: 0 was given more than once and counts once.",
        "seeds: 3 was given more than once and counts once.",
    )


def test_a_folder_of_another_configuration(comparison, tmp_path):
    comparison.start()
    before = (comparison.out / folder.RESULT).read_bytes()
    with pytest.raises(RunError) as caught:
        comparison.start(run={"length": 4, "shots": 3})
    assert str(caught.value) == (
        f"{comparison.out} belongs to another run: shots was 4, now 3; length was 3, now 4. Choose "
        "another --out, or give the same settings to go on with it."
    )
    assert (comparison.out / folder.RESULT).read_bytes() == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(RunError, match="mine is no run and not empty: choose another --out"):
        comparison.start(out=tmp_path / "mine")


def test_a_method_of_the_same_name_with_other_settings(comparison):
    comparison.start(agents=("mine",), methods={"mine": Method("random", {"batch_size": 8})})
    for changed, what in (
        (Method("random", {"batch_size": 4}), "another settings of 'mine'"),
        (Method("random", {"batch_size": 8}, racing=True), "another racing of 'mine'"),
        (Method("genetic", {}), "another agent and another settings of 'mine'"),
    ):
        with pytest.raises(RunError, match=f"mine.400.seed-0.json was made with {what}: choose"):
            comparison.start(methods={"mine": changed})


def test_other_data_of_the_same_name(comparison, film_rows, tmp_path):
    data = tmp_path / "own.csv"

    def write(rows):
        with data.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *rows])

    write(film_rows[:120])
    comparison.start(tasks=(str(data),), agents=("random",))
    before = comparison.tested()
    write(film_rows[10:130])
    with pytest.raises(RunError, match=r"test.json was made with another (train|dev|test) split"):
        comparison.start(agents=("random", "genetic"))
    assert comparison.tested() == before
    write(film_rows[:120])
    comparison.start()


def test_another_lm_of_the_same_name(comparison, monkeypatch, frozen):
    comparison.start(agents=("random",))
    other = type(frozen.identity)(
        **{**vars(frozen.identity), "weights": "0" * len(frozen.identity.weights)}
    )
    monkeypatch.setattr(frozen, "_identity", other)
    with pytest.raises(RunError, match=r"test.json was made with another LM than"):
        comparison.start(agents=("random", "genetic"))


@pytest.mark.parametrize("missing", ["folder", "builder"])
def test_a_task_that_cannot_be_made_does_not_sink_the_other(missing, comparison, doubles, tmp_path):
    films = comparison.settings["tasks"][0]
    task = tmp_path / "absent.toml"
    task.write_text('folder = "{data_root}/few/{split_seed}"', encoding="utf-8")
    lost = str(task) if missing == "folder" else "doubles:no_task"
    result = comparison.start(tasks=(lost, films), run={"data_root": tmp_path / "data"})
    assert {row["task"] for row in result["runs"]} == {"films"}
    assert len(result["runs"]) == 5
    errors = {row["error"] for row in result["failures"]}
    assert [row["method"] for row in result["failures"]] == ["random", "genetic"]
    line = only([n.line for n in comparison.news if n.state == "failed" and n.line])
    assert line == f"2 runs: {only(errors)}"
    if missing == "folder":
        few = tmp_path / "data" / "few"
        assert only(errors) == (
            f"These files were looked for and not found: {few}/0/train.tsv, {few}/0/dev.tsv, "
            f"{few}/0/test.tsv (or {few}/test.tsv)."
        )
    else:
        assert re.fullmatch(r"KeyError: 'no such column' \(doubles.py, line \d+\)", only(errors))
        assert (comparison.group(task=lost) / "group.traceback.txt").exists()


def test_a_task_that_is_mended_is_gone_on_with(comparison, ready, film_rows, tmp_path):
    films, late = comparison.settings["tasks"][0], tmp_path / "late"
    result = comparison.start(tasks=(films, str(late)), agents=("random",))
    assert "Unknown task" in failed(result)["random"]
    ready("late", film_rows)
    result = comparison.start()
    assert failed(result) == {}
    assert len(result["runs"]) == 8


def test_an_lm_that_cannot_be_loaded(comparison, monkeypatch):
    def damaged(config):
        raise LMError("model.safetensors is damaged")

    monkeypatch.setattr("rlprompt.compare.compare.load_lm", damaged)
    comparison.frozen = None
    with pytest.raises(RunError, match=r"4 failed. The first: model.safetensors is damaged"):
        comparison.start(split_seeds=(0, 1))
    assert len([n for n in comparison.news if n.setting and n.state == "failed"]) == 4


def test_all_runs_fail_is_one_error(comparison, doubles):
    with pytest.raises(RunError) as caught:
        comparison.start(agents=("doubles:Raises", "doubles:Idle"), fixed=())
    assert str(caught.value).startswith(
        "No run could be finished, 2 failed. The first: ValueError: the world model collapsed ("
    )
    assert not (comparison.out / folder.RESULT).exists()
    # Prompts that nobody learned are a result too.
    result = comparison.start(fixed=("empty",))
    assert methods(result) == {"empty"}
    assert len(result["failures"]) == 2


def test_a_reward_that_raises_on_everything(comparison, doubles):
    with pytest.raises(RunError, match=r"No run could be finished, 2 failed. The first: ZeroDiv"):
        comparison.start(run={"reward": "doubles:broken"})
    lines = [n.line for n in comparison.news if n.state == "failed" and n.line]
    assert len(lines) == 2 + 3
    assert any(line.startswith("manual: ZeroDivisionError: no such thing") for line in lines)


def test_a_test_that_cannot_be_scored_undoes_no_run(comparison, doubles, monkeypatch):
    def no_memory(*args):
        raise LMError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr("rlprompt.compare.group.open_test", no_memory)
        with pytest.raises(RunError, match="could not be scored on test"):
            comparison.start(agents=("doubles:Counted",))
    assert "scores on test: out of memory" in comparison.lines
    assert "error" not in comparison.record("doubles:Counted")
    result = comparison.start()
    assert doubles.CALLS == [0]
    assert failed(result) == {}
    assert "doubles:Counted" in methods(result)


@pytest.mark.parametrize("name", ["random.400.seed-0.json", folder.TEST, folder.RESULT])
@pytest.mark.parametrize("content", ["{", "[1]", '{"schema": 99}'])
def test_a_damaged_file(name, content, comparison):
    comparison.start(agents=("random",))
    path = (comparison.out if name == folder.RESULT else comparison.group()) / name
    path.write_text(content, encoding="utf-8")
    problem = "Cannot read" if content == "{" else "is of another version"
    with pytest.raises(RunError, match=problem) as caught:
        comparison.start()
    assert str(path) in str(caught.value)
    assert "elete it" in str(caught.value)
    path.unlink()
    assert failed(comparison.start()) == {}


def test_a_folder_in_use(comparison):
    log = comparison.group() / folder.EVALUATIONS
    comparison.start(agents=("random",))
    with EvaluationLog(log), pytest.raises(RunError, match="in use by another process: wait"):
        comparison.start(agents=("random", "genetic"))
    assert failed(comparison.start()) == {}


def test_no_manual_prompts_is_said(comparison):
    result = comparison.start(run={"manual_prompts": ()})
    assert "The task 'films' has no manual prompts" in failed(result)["manual"]
    assert methods(result) == {"random", "genetic", "empty", "in-context"}
    # It cannot be mended in this folder, and so it is not tried again.
    before = comparison.tested()
    again = comparison.start()
    assert comparison.lines == []
    assert again["failures"] == result["failures"]
    assert comparison.tested() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"agents": ["pppo"]}, "Unknown agent 'pppo'. Did you mean 'ppo'?"),
        ({"agents": ["manual"]}, "'manual' is the name of a fixed prompt"),
        ({"agents": ["mine"], "methods": {"mine": {}}}, "The method 'mine' needs an agent"),
        (
            {"methods": {"mine": {"agent": "ppo", "setings": {}}}},
            "The method 'mine' has an unknown key 'setings'. Did you mean 'settings'?",
        ),
        (
            {"methods": {"mine": {"agent": "ppo", "settings": 3}}},
            "settings of the method 'mine' must be a table, not 3.",
        ),
        ({"methods": ["mine"]}, "methods must be tables: [methods.mine]"),
        (
            {
                "agents": ["a b", "a_b"],
                "methods": {"a b": {"agent": "ppo"}, "a_b": {"agent": "random"}},
            },
            "agents: 'a b' and 'a_b' would both be written to 'a_b'",
        ),
        ({"tuners": ["soft-promt"]}, "Unknown tuner 'soft-promt'. Did you mean 'soft-prompt'?"),
        ({"tuners": ["soft-prompt+racing"]}, "Unknown tuner 'soft-prompt+racing'."),
        ({"tuners": ["empty"]}, "'empty' is the name of a fixed prompt"),
        ({"tuners": ["rlprompt.core.ledger:Ledger"]}, "'rlprompt.core.ledger:Ledger' is no tuner"),
        (
            {"tuners": ["t"], "methods": {"t": {"tuner": "soft-prompt", "settings": {"lr": 1}}}},
            "The tuner 'soft-prompt' has no setting 'lr'.",
        ),
        (
            {"methods": {"t": {"tuner": "soft-prompt", "agent": "ppo"}}},
            "The method 't' has an agent and a tuner: leave one out.",
        ),
        (
            {"methods": {"t": {"tuner": "soft-prompt", "racing": True}}},
            "The method 't' is a tuner, which cannot race: leave racing out.",
        ),
        (
            {"agents": ["t"], "methods": {"t": {"tuner": "soft-prompt"}}},
            "The method 't' has no agent: write it under tuners.",
        ),
        (
            {"tuners": ["t"], "methods": {"t": {"agent": "random"}}},
            "The method 't' has no tuner: write it under agents.",
        ),
        (
            {"agents": ["a:b"], "tuners": ["a:b"]},
            "'a:b' stands under agents and under tuners",
        ),
        (
            {
                "agents": ["a b"],
                "tuners": ["a_b"],
                "methods": {"a b": {"agent": "ppo"}, "a_b": {"tuner": "soft-prompt"}},
            },
            "agents: 'a b' and 'a_b' would both be written to 'a_b'",
        ),
        ({"tasks": ["a/b.csv", "a_b.csv"]}, "tasks: 'a/b.csv' and 'a_b.csv' would both be written"),
        ({"tasks": []}, "tasks is empty: give one or more."),
        ({"budgets": []}, "budgets is empty: give one or more."),
        ({"budgets": ["400"]}, "budgets must be a list of whole numbers, not ['400']."),
        ({"budgets": [0]}, "budget must be 1 or more, not 0."),
        ({"seeds": [0, True]}, "seeds must be a list of whole numbers, not [0, True]."),
        ({"seeds": [0, -1]}, "seed must be 0 or more, not -1."),
        ({"split_seeds": [0, -5]}, "split_seed must be 0 or more, not -5."),
        ({"fixed": ["in-contxt"]}, "Unknown fixed prompt 'in-contxt'. Did you mean 'in-context'?"),
        ({"jobs": 0}, "jobs must be a whole number of 1 or more, not 0."),
        ({"jobs": "2"}, "jobs must be a whole number of 1 or more, not '2'."),
        ({"reach": "high"}, "reach must be a number, a train reward, not 'high'."),
        ({"reach": float("nan")}, "reach must be a number, a train reward, not nan."),
        ({"budget": 400}, "A comparison varies 'budget': write budgets."),
        ({"task": "films"}, "A comparison varies 'task': write tasks."),
        ({"racing": True}, "A comparison varies 'racing': write agents = ['genetic+racing']"),
        ({"lenght": 3}, "Unknown key 'lenght' of a comparison. Did you mean 'length'?"),
        ({"length": 0}, "length must be 1 or more, not 0."),
        ({"out": ""}, "A comparison needs a folder: give --out runs/comparison."),
    ],
    ids=str,
)
def test_refused_before_anything_is_loaded(changes, message, tmp_path):
    with pytest.raises(ConfigError) as caught:
        CompareConfig.parse({"out": str(tmp_path / "out"), **changes})
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_several_processes_with_one_loaded_lm(comparison):
    with pytest.raises(RunError, match="A loaded LM cannot be shared by processes"):
        comparison.start(jobs=2)


def test_names_of_folders_stay_within_the_comparison(tmp_path):
    for task in ("..", "../..", ".", "/", "a/../b"):
        path = folder.group_folder(tmp_path, task, 0)
        assert path.resolve().parent.parent == tmp_path.resolve() or task == "."
        assert path.resolve().is_relative_to(tmp_path.resolve())


def test_the_configuration_as_json_is_json(comparison):
    value = comparison.config(methods={"mine": Method("random")}, agents=("mine",)).to_json()
    assert json.loads(json.dumps(value)) == value
    assert value["methods"] == {"mine": {"agent": "random", "settings": {}, "racing": False}}
