"""A learned prompt on other LMs: what is scored, what is recorded, what is left out."""

import csv
import json
from dataclasses import asdict

import numpy as np
import pytest

from rlprompt import LMConfig, RunConfig, load_lm, load_task, optimize
from rlprompt.core.errors import ConfigError, RunError
from rlprompt.core.evaluation import Evaluation, correct, fit_calibration, gold_logprobs
from rlprompt.core.ledger import Ledger
from rlprompt.core.result import SplitScores
from rlprompt.core.statistics import bootstrap_mean
from rlprompt.objective.evaluation_log import EvaluationLog
from rlprompt.objective.split_scorer import Question, SplitScorer
from rlprompt.run.transfer import transfer
from rlprompt.tasks.examples import Split
from rlprompt.tasks.template import Template
from rlprompt.tasks.tokenization import prompt_of, prompt_text
from rlprompt.testing import PlantedLM, save_tiny

#: Each tiny LM, and the causal run's template as it has to be written for it.
OTHERS = {
    "gpt2": "{text}{prompt}",
    "bert": "{text}{prompt} {mask}.",
    "roberta": "{text}{prompt} {mask}.",
    "t5": "{text}{prompt}",
}
TRAIN, TEST = 8, 30


@pytest.fixture(scope="session")
def lms(tmp_path_factory):
    """Folders of tiny LMs by family."""
    root = tmp_path_factory.mktemp("lms")
    return {family: save_tiny(root / family, family) for family in OTHERS}


@pytest.fixture(scope="session")
def masked_run(settings, lms, tmp_path_factory):
    """A finished run of a masked LM on the same examples."""
    changes = {
        "lm": str(lms["bert"]),
        "agent": "random",
        "controls": (),
        "budget": 400,
        "template": "{text} {prompt} {mask} .",
        "manual_prompts": ("it was",),
    }
    config = RunConfig(**settings | changes, out=tmp_path_factory.mktemp("runs") / "masked")
    return config, optimize(config)


@pytest.fixture(scope="session")
def matrix(finished, lms, tmp_path_factory):
    """The causal run on all tiny LMs, and its folder."""
    out = tmp_path_factory.mktemp("transfer") / "out"
    events = []
    found = transfer(
        [finished[0].out],
        [LMConfig(str(folder)) for folder in lms.values()],
        out=out,
        on_event=events.append,
    )
    return found, out, events


def directly(lm, template, text, config, length):
    """Scores a text without any of the code under test."""
    task = load_task(config.task, 0, 4)
    question = Question(template, task.verbalizer, length)
    train, test = (
        SplitScorer(lm, question, split, EvaluationLog())
        for split in (task.train, Split("test", task.test.open("test").examples[:TEST]))
    )
    prompt = prompt_of(lm.tokenizer, template, text)
    for scorer in (train, test):
        scorer.logprobs([prompt], Ledger())
    bias = fit_calibration(train.known(prompt))
    return Evaluation(test.known(prompt), test.gold, bias)


def test_the_runs_own_lm_gives_the_recorded_scores(finished, matrix):
    config, result = finished
    column = matrix[0].columns[0]
    assert column.identity["name"] == config.lm
    assert column.learned_here == ("learned",)
    for name, there in (("learned", result.main.found), *result.baselines.items()):
        cell = column.cells[name]
        assert (cell.prompt, cell.survives) == (there.prompt, True)
        assert cell.calibration == pytest.approx(there.calibration, abs=1e-6)
        for here, then in ((cell.train, "train"), (cell.test, "test")):
            assert here.accuracy == there.scores[then].accuracy
            likelihoods = (here.log_likelihood, here.uncalibrated.log_likelihood)
            recorded = there.scores[then]
            assert likelihoods == pytest.approx(
                (recorded.log_likelihood, recorded.uncalibrated.log_likelihood), abs=1e-6
            )
        assert cell.test.log_likelihood_interval == pytest.approx(
            there.scores["test"].log_likelihood_interval, abs=1e-6
        )


@pytest.mark.parametrize("family", OTHERS)
def test_every_other_lm_is_asked_with_the_text_in_its_own_template(family, finished, matrix, lms):
    config, _ = finished
    found = matrix[0]
    column = found.columns[1 + [*OTHERS].index(family)]
    assert column.name == family
    assert column.learned_here == ()
    lm = load_lm(LMConfig(str(lms[family])))
    template = Template(OTHERS[family])
    encoded = [
        len(prompt_of(lm.tokenizer, template, text))
        for text in (*(row.text for row in found.rows), *config.manual_prompts)
    ]
    assert [row.name for row in found.rows] == [*column.cells] == ["learned", "manual", "empty"]
    tests = {}
    for row in found.rows:
        cell = column.cells[row.name]
        tests[row.name] = directly(lm, template, row.text, config, max(config.length, *encoded))
        there = SplitScores.of(tests[row.name], intervals=True)
        assert cell.template == asdict(template)
        assert cell.prompt.ids == prompt_of(lm.tokenizer, template, row.text).ids
        assert cell.survives == (cell.prompt.text == row.text)
        assert cell.test.accuracy == there.accuracy
        assert cell.test.log_likelihood == pytest.approx(there.log_likelihood, abs=1e-6)
        np.testing.assert_allclose(
            cell.test.log_likelihood_interval, there.log_likelihood_interval, atol=1e-6
        )
    for kind in ("manual", "empty"):
        difference = column.cells["learned"].differences[kind]
        for measure, here in (
            (correct, difference.accuracy),
            (gold_logprobs, difference.log_likelihood),
        ):
            one, other = (
                measure(tests[name].calibrated, tests[name].gold) for name in ("learned", kind)
            )
            paired = bootstrap_mean(one - other)
            assert asdict(here) == pytest.approx(asdict(paired), abs=1e-6)
    assert column.forwards == len({cell.prompt.ids for cell in column.cells.values()}) * (
        TRAIN + TEST
    )


def test_the_record_is_whole_and_the_run_is_as_it_was(finished, matrix):
    config, result = finished
    found, out, events = matrix
    value = json.loads((out / "transfer.json").read_text(encoding="utf-8"))
    assert value == json.loads(json.dumps(found.to_json()))
    assert value["schema"] == 1
    assert value["test"]["hash"] == result.splits["test"]["hash"]
    assert value["test"]["scored"] == TEST
    assert "settled" in value["test"]["opened"][0]
    assert value["runs"][0]["config"] == config.outcome()
    assert value["failures"] == []
    table = (out / "transfer.md").read_text(encoding="utf-8")
    for column in found.columns:
        assert column.name in table
    assert "{text}{prompt} {mask}." in table
    assert {event.phase for event in events} == {f"transfer to {c.name}" for c in found.columns}
    assert all(event.forwards <= event.total for event in events)
    assert {path.name for path in config.out.iterdir()} >= {"result.json", "config.json"}
    assert not (config.out / "transfer.json").exists()
    again = json.loads((config.out / "result.json").read_text(encoding="utf-8"))
    assert again == json.loads(json.dumps(result.to_json()))


def test_scores_are_taken_up_again_and_lms_are_added(finished, lms, tmp_path):
    out, run = tmp_path / "out", [finished[0].out]
    bert, t5 = (LMConfig(str(lms[name])) for name in ("bert", "t5"))
    first = transfer(run, [bert], out=out, test_limit=10)
    log = (out / "evaluations.jsonl").read_bytes()
    saved = (out / "transfer.json").read_bytes()
    assert transfer(run, [bert], out=out, test_limit=10) == first
    assert (out / "evaluations.jsonl").read_bytes() == log
    assert (out / "transfer.json").read_bytes() == saved
    # Killed in the middle of a line.
    (out / "evaluations.jsonl").write_bytes(log[:-40])
    (out / "transfer.json").unlink()
    resumed = transfer(run, [bert], out=out, test_limit=10)
    assert [column.cells for column in resumed.columns] == [c.cells for c in first.columns]
    more = transfer(run, [bert, t5], out=out, test_limit=10)
    assert [column.name for column in more.columns[1:]] == ["bert", "t5"]
    assert more.columns[1].cells == first.columns[1].cells
    with pytest.raises(RunError, match="belongs to another run: scored was 10, now 30"):
        transfer(run, [bert], out=out)


def test_prompts_of_several_lms_in_one_matrix(finished, masked_run, lms):
    (causal, one), (masked, other) = finished, masked_run
    found = transfer([causal.out, masked.out])
    assert [row.kind for row in found.rows] == ["learned"] * 2 + ["manual"] * 2 + ["empty"] * 2
    names = [row.name for row in found.rows[:2]]
    assert names == ["finished", "masked"]
    assert [column.learned_here for column in found.columns] == [("finished",), ("masked",)]
    # Each on its own LM as recorded, crosswise in the other's way of writing.
    for column, result, name in zip(found.columns, (one, other), names, strict=True):
        recorded = result.scores["test"]
        assert column.cells[name].test.accuracy == recorded.accuracy
        assert column.cells[name].test.log_likelihood == pytest.approx(
            recorded.log_likelihood, abs=1e-6
        )
    on_causal, on_masked = (column.cells for column in found.columns)
    assert on_causal["masked"].template["source"] == "{text} {prompt}"
    assert on_causal["masked"].prompt.text == other.prompt.text
    assert on_masked["finished"].template["source"] == "{text}{prompt} {mask}."
    assert found.rows[1].against == {"manual": "manual (masked)", "empty": "empty (masked)"}


def test_a_text_that_a_tokenizer_does_not_know_is_scored_as_it_reads_it(settings, lms, tmp_path):
    """The manual prompt has characters that neither T5 nor BERT knows, and capitals."""
    config = RunConfig(
        **settings | {"controls": (), "agent": "random", "manual_prompts": (" Это ☃ Good",)},
        out=tmp_path / "run",
    )
    optimize(config)
    found = transfer([config.out], [LMConfig(str(lms[name])) for name in ("bert", "t5")])
    assert found.failures == ()
    assert found.columns[0].cells["manual"].survives
    for column in found.columns[1:]:
        cell = column.cells["manual"]
        assert not cell.survives
        lm = load_lm(LMConfig(str(lms[column.name])))
        unknown = lm.tokenizer.hf.unk_token_id
        assert unknown in cell.prompt.ids
        assert cell.prompt.text == prompt_text(
            lm.tokenizer,
            Template(**cell.template),
            prompt_of(lm.tokenizer, Template(**cell.template), " Это ☃ Good"),
        )


def test_what_cannot_be_asked_is_named_and_the_rest_goes_on(
    settings, lms, tiny_lm, tmp_path, masked_run
):
    changes = {
        "lm": str(lms["bert"]),
        "template": "{mask} {prompt} {text}",
        "manual_prompts": (),
        "agent": "random",
        "controls": (),
        "budget": 400,
    }
    config = RunConfig(**settings | changes, out=tmp_path / "run")
    optimize(config)
    events = []
    others = [LMConfig(name) for name in (str(tiny_lm), str(tmp_path / "none"), str(lms["t5"]))]
    found = transfer([config.out], others, on_event=events.append)
    assert [column.name for column in found.columns] == ["bert", "t5"]
    assert [row.name for row in found.rows] == ["learned", "empty"]
    refused, missing = found.failures
    assert refused.lm == tiny_lm.name
    assert refused.rows == ("learned", "empty")
    assert "behind {mask}, but a causal LM answers at the end: write e.g." in refused.message
    assert missing.lm == "none"
    assert "there is no such file or folder" in missing.message
    messages = [event.message for event in events if event.message]
    assert len(messages) == 2
    assert messages[0].startswith("no score of learned, empty: The template")
    # Beside a run that can be asked, only its own prompts are missing.
    both = transfer([masked_run[0].out, config.out], [LMConfig(str(tiny_lm))])
    assert [failure.rows for failure in both.failures] == [("run", "empty (run)")]
    assert [*both.columns[1].cells] == ["masked", "manual", "empty (masked)"]


class OwnLM:
    """A user's own LM: a causal one that has what the protocol asks for, and no more."""

    def __init__(self, lm):
        self.identity, self.tokenizer, self.meter = lm.identity, lm.tokenizer, lm.meter
        self.bind, self.embeddings = lm.bind, lm.embeddings


def test_an_lm_of_ones_own_takes_the_template_as_it_is(finished, masked_run, lms):
    lm = OwnLM(load_lm(LMConfig(str(lms["gpt2"]))))
    [_, column] = transfer([finished[0].out], [lm], test_limit=5).columns
    assert column.cells["learned"].template["source"] == "{text}{prompt}"
    assert column.identity["fingerprint"] == lm.identity.fingerprint
    [failure] = transfer([masked_run[0].out], [lm], test_limit=5).failures
    assert "has {mask}, but a causal LM answers at the end" in failure.message


def test_an_lm_that_does_not_know_the_words_is_left_out(finished):
    [failure] = transfer([finished[0].out], [PlantedLM(8, 1)], test_limit=5).failures
    assert "is not in the vocabulary" in failure.message


def test_an_lm_is_scored_once_however_it_is_named(finished, lms):
    config, _ = finished
    lm = load_lm(LMConfig(config.lm))
    given = [LMConfig(config.lm), LMConfig(str(lms["t5"])), LMConfig(str(lms["t5"])), lm]
    found = transfer([config.out], given, test_limit=5)
    assert [column.name for column in found.columns][1:] == ["t5"]


@pytest.mark.parametrize(
    ("runs", "arguments", "error", "message"),
    [
        ([], {}, ConfigError, "Name the folder of a finished run"),
        (["run"], {}, ConfigError, "Name LMs to score the prompt on"),
        (["run", "run"], {}, ConfigError, "A run is named twice"),
        (["none"], {}, RunError, "there is no such folder"),
        (["run"], {"test_limit": 0}, ConfigError, "test_limit must be 1 or more, not 0"),
        (["run"], {"out": "run"}, RunError, "belongs to another run"),
    ],
)
def test_refusals(runs, arguments, error, message, finished, lms, tmp_path):
    place = {"run": finished[0].out, "none": tmp_path / "none"}
    given = {key: place.get(value, value) for key, value in arguments.items()}
    others = [] if not arguments and len(runs) == 1 and runs[0] == "run" else lms.values()
    with pytest.raises(error, match=message):
        transfer([place[run] for run in runs], [LMConfig(str(each)) for each in others], **given)


def test_other_data_are_refused(settings, film_rows, lms, tmp_path):
    path = tmp_path / "films.csv"

    def write(rows):
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *rows])

    write(film_rows)
    small = {"task": str(path), "agent": "random", "controls": (), "budget": 400}
    config = RunConfig(**settings | small, out=tmp_path / "run")
    optimize(config)
    less = RunConfig(**settings | small | {"test_limit": 20}, out=tmp_path / "less")
    optimize(less)
    other = RunConfig(**settings | small | {"split_seed": 1}, out=tmp_path / "other")
    optimize(other)
    with pytest.raises(ConfigError, match=r"scored 20, 30 test examples: .* give --test-limit 20"):
        transfer([config.out, less.out], [LMConfig(str(lms["t5"]))])
    both = transfer([config.out, less.out], [LMConfig(str(lms["t5"]))], test_limit=20)
    assert [row.name for row in both.rows] == ["run", "less", "manual", "empty"]
    with pytest.raises(RunError, match="have different test examples"):
        transfer([config.out, other.out])
    write([*film_rows[:-1], ("another film", "good")])
    with pytest.raises(RunError, match=r"is not what it was when .*run was run: the .* changed"):
        transfer([config.out], [LMConfig(str(lms["t5"]))])


def test_another_lm_in_the_place_of_the_runs_own_is_named(finished, lms, tmp_path, settings):
    folder = save_tiny(tmp_path / "lm", "gpt2")
    small = {"lm": str(folder), "agent": "random", "controls": (), "budget": 400}
    config = RunConfig(**settings | small, out=tmp_path / "run")
    optimize(config)
    save_tiny(folder, "gpt2", seed=1)
    found = transfer([config.out], [LMConfig(str(lms["t5"]))], test_limit=5)
    assert [column.name for column in found.columns] == ["t5"]
    assert "the calibration does not hold" in found.failures[0].message
