"""Runs that are out of the ordinary, and what is refused."""

import json
import shutil

import pytest

from rlprompt import RunConfig, load_task, optimize
from rlprompt.core.errors import ConfigError, RunError
from rlprompt.explain.explain import explain
from rlprompt.explain.records import load
from rlprompt.explain.settings import Settings
from rlprompt.explain.summary import summary
from rlprompt.testing import save_tiny

SMALL = Settings(orders=2, swaps=1, words=1, cases=1)


def with_prompt(run, ids, text, tokens):
    """Makes the run one that has learned another prompt."""
    value = json.loads((run / "result.json").read_text(encoding="utf-8"))
    value["prompt"] |= {"ids": ids, "text": text, "tokens": tokens}
    (run / "result.json").write_text(json.dumps(value), encoding="utf-8")


def test_an_empty_prompt_has_no_tokens_to_explain(run):
    with_prompt(run, [], "", [])
    found = explain(run, SMALL)
    assert (found.tokens, found.orders) == ((), None)
    assert found.base["empty"].versus.log_likelihood.value == 0
    assert found.test.prompts["learned"] == found.test.prompts["empty"]
    assert summary(found)[0].startswith("The learned prompt is the empty one")


def test_one_token_has_no_order(run, finished):
    prompt = finished[1].prompt
    with_prompt(run, prompt.ids[:1], prompt.tokens[0], prompt.tokens[:1])
    found = explain(run, SMALL)
    (token,) = found.tokens
    assert found.orders is None
    assert token.left_out == found.base["empty"]
    assert token.alone == token.prefix == found.base["learned"]
    assert token.share == token.adds.log_likelihood
    assert len(token.swaps) == 1
    assert load(run) == found


def test_a_run_without_manual_prompts(run_settings, tmp_path):
    out = tmp_path / "run"
    optimize(RunConfig(**run_settings | {"manual_prompts": (), "budget": 300}, out=out))
    found = explain(out, SMALL)
    assert [*found.base] == ["learned", "empty"]
    assert [*found.test.prompts] == ["learned", "empty"]
    assert found.test.duel is None
    assert {row.manual for row in found.templates} == {None} == {r.margin for r in found.templates}
    assert not any("manual" in sentence for sentence in summary(found))
    assert load(out) == found


@pytest.mark.parametrize(
    ("family", "template", "manual"),
    [
        ("bert", "{prompt:1} {text} {prompt:2} {mask} .", "so||it was"),
        ("roberta", "{text} {prompt} {mask} .", "it was"),
        ("t5", "{text} {prompt}", "it was"),
    ],
)
def test_every_family_of_lms(family, template, manual, run_settings, tmp_path):
    lm = save_tiny(tmp_path / "lm", family)
    changes = {"lm": str(lm), "template": template, "manual_prompts": (manual,), "budget": 300}
    result = optimize(RunConfig(**run_settings | changes, out=tmp_path / "run"))
    found = explain(tmp_path / "run", SMALL)
    assert found.base["learned"].paid == 0 == found.test.paid
    assert len(found.tokens) == len(result.prompt.ids)
    assert found.templates
    assert len(found.label_words) == 2
    if family == "bert":
        assert [token.slot for token in found.tokens] == [0, 1, 1][: len(found.tokens)]
        assert "Templates with the prompt elsewhere" in found.left_out[0]
        # Without the first token the others stay in the second slot.
        assert found.tokens[0].left_out.text.startswith("||")
    if family == "roberta":
        assert found.tokens[0].left_out is not None
    assert load(tmp_path / "run") == found


def test_several_words_a_label_are_asked_one_by_one(run_settings, tmp_path):
    words = {"bad": ["bad", "dull"], "good": "good"}
    out = tmp_path / "run"
    optimize(RunConfig(**run_settings | {"words": words, "budget": 300}, out=out))
    names = [row.name for row in explain(out, SMALL).label_words]
    assert names[:2] == ["bad: bad", "bad: dull"]
    assert len(names) == 4


def test_a_data_file_that_moved_is_asked_for(run_settings, films, tmp_path):
    here = shutil.copy(films, tmp_path / "here.csv")
    out = tmp_path / "run"
    optimize(RunConfig(**run_settings | {"task": str(here), "budget": 300}, out=out))
    there = shutil.move(here, tmp_path / "there.csv")
    with pytest.raises(RunError, match=r"(?s)here\.csv.*cannot be made again.*--task"):
        explain(out, SMALL)
    assert not (out / "explanation.jsonl").exists()
    found = explain(out, SMALL, task=str(there))
    assert found.test.paid == 0
    there.write_text(there.read_text(encoding="utf-8").replace(" film ", " movie "), "utf-8")
    (out / "explanation.json").unlink()
    with pytest.raises(RunError, match="is not what it was"):
        explain(out, SMALL, task=str(there))


def test_a_task_made_in_python(run, finished):
    task = load_task(finished[0].task, 0, 4, manual_prompts=finished[0].manual_prompts)
    assert explain(run, SMALL, task=task).test.paid == 0


def test_an_unfinished_run_is_refused(run):
    (run / "result.json").unlink()
    with pytest.raises(RunError, match="the run is not finished"):
        explain(run)
    with pytest.raises(RunError, match="No explanation at"):
        load(run)


def test_a_damaged_explanation_is_made_anew(run):
    found = explain(run, SMALL)
    for broken in ("{", '{"schema": 1}', '{"schema": 2}'):
        (run / "explanation.json").write_text(broken, encoding="utf-8")
        with pytest.raises(RunError, match="explanation"):
            load(run)
        assert explain(run, SMALL).base == found.base


def test_what_cannot_be_meant_is_refused(run):
    with pytest.raises(ConfigError, match="swaps must be 0 or more, not -1"):
        Settings(swaps=-1)
    (run / "evaluations.jsonl").unlink()
    with pytest.raises(ConfigError, match="allow at least 48"):
        explain(run, Settings(budget=10))


def test_nothing_more_is_asked_than_wanted(run):
    found = explain(run, Settings(orders=0, swaps=0, words=0))
    assert found.orders is None
    assert found.label_words == ()
    assert not any(token.swaps for token in found.tokens)
