"""Every format, written and read back by the tool that it is for: same input, ids and scores."""

import json
import runpy
import subprocess
import sys

import pytest

import rlprompt
from rlprompt.core.errors import RunError
from rlprompt.export.export import N_CHECKED, export
from rlprompt.export.protocol import EXPORTS, ExportError, make_exporter

#: Read back in this process. The others may warn, and may change what other tests rely on.
HERE = {"text", "json", "chat", "python", "model-card", "peft"}
#: As many prompts are averaged where a run is asked for it.
MEMBERS = 2
#: What every family can be exported to.
ANY = ("text", "json", "python", "model-card")


def passed(found):
    check = found.check
    assert (check.outcome, check.reason) == ("passed", "")
    assert check.examples == check.inputs == check.ids == N_CHECKED
    assert check.difference <= 1e-4
    return True


# PEFT asks transformers for a property that was renamed.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("name", [*EXPORTS])
def test_a_causal_lm(name, run_of, read_here, tmp_path):
    if not make_exporter(name).target.version():
        pytest.skip(f"what reads {name} is not installed")
    run = run_of("gpt2" if name == "peft" else "llama")
    out = tmp_path / "exported.json"
    found = read_here(run, name, out) if name in HERE else export(run, name, out, threads=1)
    assert passed(found)
    about = json.loads(found.about.read_text(encoding="utf-8"))
    assert about["check"] == found.check.to_json()
    assert about["check"]["by"] == make_exporter(name).target.version()
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert about["facts"]["calibration"] == result["calibration"]
    assert about["facts"]["prompt"] == result["prompt"]["text"]
    assert about["facts"]["lm"]["weights"] == result["lm"]["weights"]
    assert about["facts"]["words"] == {"bad": [" bad"], "good": [" good"]}


@pytest.mark.parametrize("name", sorted({*EXPORTS} - {"text", "peft"}))
def test_the_file_itself_states_lm_words_and_calibration(name, run_of, tmp_path):
    out = tmp_path / "exported.json"
    found = export(run_of("llama"), name, out, check=False)
    assert (found.check.outcome, found.check.reason) == ("unchecked", "not asked for")
    files = [path for path in out.iterdir() if path != found.about] if out.is_dir() else [out]
    text = "".join(path.read_text(encoding="utf-8") for path in files)
    facts = found.artifact
    assert facts.lm.weights in text
    for label, bias in facts.calibration.items():
        assert repr(bias) in text
        assert label in text


@pytest.mark.parametrize("architecture", ["bert", "roberta", "t5"])
@pytest.mark.parametrize("name", ANY)
def test_other_families_and_several_slots(architecture, name, run_of, read_here, tmp_path):
    assert passed(read_here(run_of(architecture), name, tmp_path / "exported"))


@pytest.mark.parametrize("architecture", ["llama", "bert", "t5"])
@pytest.mark.parametrize("name", ["json", "python"])
def test_an_ensemble(architecture, name, run_of, read_here, tmp_path):
    run = run_of(architecture, ensemble=MEMBERS)
    out = tmp_path / "exported.py"
    found = read_here(run, name, out, ensemble=True)
    assert passed(found)
    result = rlprompt.Result.load(run)
    together = result.main.ensemble
    assert together is not None
    assert [each.prompt for each in found.artifact.members] == [*together.texts]
    assert len({*together.texts}) == MEMBERS
    assert found.artifact.calibration == together.calibration
    assert found.artifact.scores["test"]["accuracy"] == together.scores["test"].accuracy
    for text in together.texts:
        assert repr(text)[1:-1] in out.read_text(encoding="utf-8")
    # What one prompt says is something else.
    alone = read_here(run, name, tmp_path / "alone")
    assert passed(alone)
    assert alone.artifact.calibration != together.calibration


@pytest.mark.parametrize("name", sorted({*EXPORTS} - {"json", "python"}))
def test_a_format_of_one_prompt_refuses_an_ensemble(name, run_of, tmp_path):
    with pytest.raises(ExportError, match=f"ensemble of {MEMBERS}: export it to python or json"):
        export(run_of("llama", ensemble=MEMBERS), name, tmp_path / "out", ensemble=True)
    assert not (tmp_path / "out").exists()


def test_a_run_without_an_ensemble_says_how_to_get_one(run_of, tmp_path):
    with pytest.raises(RunError, match="has no ensemble: run it anew with ensemble = 4"):
        export(run_of("llama"), "json", tmp_path / "out", ensemble=True)


def test_the_python_file_of_an_ensemble_averages(run_of, tmp_path):
    out, run = tmp_path / "classify.py", run_of("llama", ensemble=MEMBERS)
    found = export(run, "python", out, check=False, ensemble=True)
    text = found.artifact.examples[0].fields["text"]
    done = subprocess.run(
        [sys.executable, "-I", out, text], capture_output=True, text=True, check=True
    )
    [wanted] = rlprompt.load(run, device="cpu", ensemble=True).predict([text])
    assert done.stdout.splitlines()[1:] == [
        f"{name}\t{p:.4f}" for name, p in wanted.probabilities.items()
    ]


@pytest.mark.parametrize(
    ("name", "architecture", "message"),
    [
        ("chat", "bert", "which a masked LM does not: export it to python or json"),
        ("chat", "t5", "which a seq2seq LM does not"),
        ("lm-eval", "bert", "asks a masked LM in another way"),
        ("peft", "t5", "is a seq2seq LM"),
        ("peft", "roberta", "is a masked LM"),
        ("peft", "llama", "'{text}{prompt}' something stands before it"),
        ("langchain", "bert", "not at a {mask}"),
        ("promptfoo", "bert", "not at a {mask}"),
        ("dspy", "bert", "not at a {mask}"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(name, architecture, message, run_of, tmp_path):
    with pytest.raises(ExportError, match="export it to") as refusal:
        export(run_of(architecture), name, tmp_path / "out")
    assert message in str(refusal.value)
    assert not (tmp_path / "out").exists()


def test_the_python_file_needs_nothing_of_this_library(run_of, tmp_path):
    out = tmp_path / "classify.py"
    found = export(run_of("llama"), "python", out, check=False)
    source = out.read_text(encoding="utf-8")
    assert "import rlprompt" not in source
    assert "from rlprompt" not in source
    assert len(source.splitlines()) < 100
    text = found.artifact.examples[0].fields["text"]
    done = subprocess.run(
        [sys.executable, "-I", out, text], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "%|" not in done.stderr, "a progress bar"
    label, *rows = done.stdout.splitlines()
    [wanted] = rlprompt.load(run_of("llama"), device="cpu").predict([text])
    assert label == wanted.label
    assert rows == [f"{name}\t{p:.4f}" for name, p in wanted.probabilities.items()]


def test_the_scores_of_the_harness_are_those_of_the_run(run_of, tmp_path):
    from rlprompt.export.asking import PlainLM
    from rlprompt.export.inputs import render

    run = run_of("llama")
    found = export(run, "lm-eval", tmp_path / "task", check=False)
    own = runpy.run_path(str(tmp_path / "task" / "utils.py"))
    lines = (tmp_path / "task" / "examples.jsonl").read_text(encoding="utf-8").splitlines()
    lm = PlainLM(found.artifact)
    model, tokenizer = lm.loaded
    scores = []
    for row in map(json.loads, lines):
        ids = lm.family.encode(tokenizer, render(found.artifact.input, row))
        words = lm.family.word_logprobs(model, tokenizer, ids, found.artifact.flat_words)
        scores.append(own["process_results"](row, [(each, False) for each in words.tolist()]))
    dev = json.loads((run / "result.json").read_text(encoding="utf-8"))["scores"]["dev"]
    assert len(scores) == 8
    for name, metric in (("acc", "accuracy"), ("log_likelihood", "log_likelihood")):
        mean = sum(each[name] for each in scores) / len(scores)
        assert mean == pytest.approx(dev[metric], abs=1e-5)


def test_an_adapter_behind_a_start_token_is_refused(films, tmp_path, tiny_lm):
    from rlprompt import RunConfig, optimize

    optimize(
        RunConfig(
            task=str(films),
            lm=str(tiny_lm),
            template="{prompt} {text}",
            agent="random",
            budget=400,
            shots=4,
            length=3,
            test_limit=20,
            out=tmp_path / "run",
        )
    )
    with pytest.raises(rlprompt.core.errors.ConfigError, match="start token"):
        export(tmp_path / "run", "peft", tmp_path / "out")
