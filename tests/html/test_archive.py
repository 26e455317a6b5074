"""The archive on the page is what the search had, and the curves are those of its result."""

import json
from dataclasses import replace

import pytest

from rlprompt import RunConfig, optimize
from rlprompt.core.errors import RunError
from rlprompt.core.result import Result
from rlprompt.html.archive import Archive, Row, read_archive, task_of
from rlprompt.html.learning import read_learning
from rlprompt.html.pareto import pareto_of
from rlprompt.html.report import write_report
from rlprompt.objective.objective import Objective


@pytest.fixture
def archive(run, result):
    return read_archive(run, result, task_of(result, None))


def test_it_is_what_the_search_had(config, tmp_path, monkeypatch):
    kept = []

    class Kept(Objective):
        def __init__(self, *parts, **named):
            super().__init__(*parts, **named)
            kept.append(self)

    monkeypatch.setattr("rlprompt.run.search.Objective", Kept)
    result = optimize(replace(config, out=tmp_path / "run"))
    archive = read_archive(tmp_path / "run", result, task_of(result, None))
    assert archive.whole
    own, control = kept
    had = {own.text(entry.prompt): entry.reward for entry in own.archive.ranked()}
    found = {row.text: row.reward for row in archive.rows if row.own}
    # The archive has what was asked for; prefixes that came free are in the log too.
    assert had.keys() <= found.keys()
    assert {text: found[text] for text in had} == pytest.approx(had)
    theirs = {control.text(entry.prompt) for entry in control.archive.ranked()}
    assert {row.text for row in archive.rows if not row.own} <= theirs | found.keys() | {""}
    assert theirs <= {row.text for row in archive.rows}


def test_best_first_with_what_the_result_knows(archive, result):
    rewards = [row.reward for row in archive.rows]
    assert rewards == sorted(rewards, reverse=True)
    own = {row.text: row for row in archive.rows if row.own}
    for final in result.main.finalists:
        assert own[final["text"]].reward == pytest.approx(final["train"])
        assert own[final["text"]].dev == final["dev"]
    for step in result.main.trace:
        assert own[step["text"]].forwards == step["forwards"]
    train = result.scores["train"]
    assert own[result.prompt.text].accuracy == train.accuracy
    assert own[result.prompt.text].n_tokens == len(result.prompt.ids)


@pytest.mark.parametrize("lost", ["data", "evaluations.jsonl", "vocabulary.json"])
def test_without_data_or_log_it_is_what_the_result_names(run, result, lost):
    task = "the data are gone" if lost == "data" else task_of(result, None)
    if lost != "data":
        (run / lost).unlink()
    archive = read_archive(run, result, task)
    assert not archive.whole
    assert (task if lost == "data" else lost) in archive.why
    named = {row["text"] for row in (*result.main.trace, *result.main.finalists)}
    assert {row.text for row in archive.rows} == named
    assert pareto_of(archive) is None
    assert read_learning(run, result, archive).unique, "the curve is there"
    (run / "curve.jsonl").unlink()
    learning = read_learning(run, result, archive)
    assert not learning.unique
    assert learning.best[result.main.agent][-1][1] == result.main.trace[-1]["reward"]


def test_other_examples_are_told_from_those_of_the_run(result):
    changed = replace(result, splits=result.splits | {"train": {"hash": "0", "size": 8}})
    with pytest.raises(RunError, match="is not the one of this run"):
        task_of(changed, None)


def test_a_damaged_end_of_the_log_is_left_alone(run, result, archive, caplog):
    path = run / "evaluations.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"context": "cut of')
    again = read_archive(run, result, task_of(result, None))
    assert again == archive
    assert "only what stands before is read" in caplog.text
    assert path.read_bytes() == whole + b'{"context": "cut of'


def test_curves_are_those_of_the_result(run, result, archive):
    learning = read_learning(run, result, archive)
    end = result.main.ledger["search_forwards"]
    for name, search in {"ppo": result.main, **result.controls}.items():
        best = learning.best[name]
        assert [y for _, y in best] == sorted(y for _, y in best)
        assert best[-1] == (search.ledger["search_forwards"], search.trace[-1]["reward"])
    assert 1 < learning.unique[-1][1] <= len(archive.in_order)
    assert list(learning.unique) == sorted(learning.unique)
    assert len(learning.mean) > 1
    assert learning.entropy
    assert all(0 < x <= end for x, _ in (*learning.mean, *learning.entropy))
    assert all(0 < y < 10 for _, y in learning.entropy)
    assert not learning.notes


@pytest.mark.parametrize("left", [None, b"nonsense"])
def test_without_a_curve_mean_and_prompts_are_those_of_the_archive(run, result, archive, left):
    (run / "curve.jsonl").unlink()
    if left:
        (run / "curve.jsonl").write_bytes(left)
    learning = read_learning(run, result, archive)
    end = result.main.ledger["search_forwards"]
    assert learning.unique[-1] == (end, len(archive.in_order))
    assert learning.mean
    assert not learning.entropy
    assert any("No entropy" in note for note in learning.notes)
    lowest = min(row.reward for row in archive.in_order)
    assert all(lowest <= y <= archive.rows[0].reward for _, y in learning.mean)


def test_the_front_is_better_than_all_that_are_as_short(archive):
    front = pareto_of(archive).front
    for row in front:
        shorter = [each for each in archive.rows if each.n_tokens <= row.n_tokens]
        assert row.reward == max(each.reward for each in shorter)
    assert front[-1].reward == archive.rows[0].reward


def test_prompts_that_were_read_have_their_fluency(config, tmp_path, parse):
    folder = tmp_path / "run"
    result = optimize(replace(config, controls=(), fluency=0.2, perplexity=1, out=folder))
    archive = read_archive(folder, result, task_of(result, None))
    assert archive.whole
    own = {row.text: row for row in archive.rows}
    for final in result.main.finalists:
        assert own[final["text"]].fluency == pytest.approx(final["fluency"])
        assert own[final["text"]].reward == pytest.approx(final["train"])
    for step in result.main.trace:
        row = own[step["text"]]
        assert step["reward"] == pytest.approx(row.reward + 0.2 * row.fluency)
    pareto = pareto_of(archive)
    assert pareto.fluent
    assert [plot.title for plot in pareto.plots][-1] == "Reward on train against perplexity"

    def covers(one, other):
        return (
            one.n_tokens <= other.n_tokens
            and one.fluency >= other.fluency
            and one.reward >= other.reward
        )

    read = [row for row in archive.rows if row.fluency is not None]
    for row in read:
        assert any(covers(each, row) for each in pareto.front)
    for one in pareto.front:
        assert not any(covers(one, other) for other in pareto.front if other is not one)
    write_report(folder, tmp_path / "report.html")
    page = parse((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "perplexity a token, under the LM" in page.text
    assert "Prompts were not read" not in page.text


def test_a_front_of_one_length_is_none():
    assert pareto_of(Archive((Row(" a", 1, 0.0), Row(" b", 1, -1.0)))) is None


def test_a_prompt_in_several_slots(films, tmp_path):
    from rlprompt.testing import save_tiny

    lm = save_tiny(tmp_path / "bert", "bert")
    template = "{prompt:1} {text} {prompt:2} {mask}."
    settings = {"agent": "random", "budget": 400, "shots": 4, "length": 3, "test_limit": 10}
    config = RunConfig(str(films), str(lm), template=template, racing=True, **settings)
    optimize(replace(config, out=tmp_path / "run"))
    result = Result.load(tmp_path / "run" / "result.json")
    archive = read_archive(tmp_path / "run", result, task_of(result, None))
    assert archive.whole
    assert result.prompt.text in {row.text for row in archive.rows}
    assert "||" in result.prompt.text
    assert json.loads((tmp_path / "run" / "config.json").read_text())["racing"] is True
