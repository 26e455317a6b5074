"""Train examples before the input, in place of a learned prompt."""

from dataclasses import replace

import pytest

from rlprompt import RunConfig
from rlprompt.compare.fixed import answered, deal_demonstrations, in_context, with_prompt
from rlprompt.core.errors import ConfigError
from rlprompt.core.ledger import Ledger
from rlprompt.core.prompt import Prompt
from rlprompt.objective.evaluation_log import EvaluationLog
from rlprompt.run.parts import assemble
from rlprompt.tasks.examples import Example, Split
from rlprompt.tasks.registry import load_task
from rlprompt.tasks.splits import Splits
from rlprompt.tasks.task import Task
from rlprompt.tasks.template import Template
from rlprompt.tasks.tokenization import prompt_of


def split(name, texts, labels):
    rows = zip(texts.split(), labels, strict=True)
    return Split(name, tuple(Example({"text": text}, label) for text, label in rows))


@pytest.fixture
def task():
    """Six train examples, three a label, out of order."""
    return Task.from_splits(
        "small",
        ("bad", "good"),
        Splits(
            split("train", "dull fine bleak warm funny stale", (0, 1, 0, 1, 1, 0)),
            split("dev", "dreary moving", (0, 1)),
            split("test", "superb clumsy", (1, 0)),
        ),
        words={"bad": ["bad", "terrible"], "good": "good"},
        template=Template("{text}{prompt}"),
        manual_prompts=(" It was",),
    )


@pytest.fixture
def bound(frozen, monkeypatch):
    """Template and texts of every binding of the LM."""
    found = []
    bind = type(frozen).bind

    def spy(self, template, verbalizer, examples, **rest):
        found.append((template.source, [example.fields["text"] for example in examples]))
        return bind(self, template, verbalizer, examples, **rest)

    monkeypatch.setattr(type(frozen), "bind", spy)
    return found


def parts(task, frozen, tiny_lm):
    config = RunConfig(lm=str(tiny_lm), budget=400, length=3, vocabulary_size=100)
    return assemble(config, task, frozen, EvaluationLog())


def settled(task, frozen, tiny_lm, ledger=None):
    run = parts(task, frozen, tiny_lm)
    return in_context(run, run.manual[0] if run.manual else Prompt(), ledger or Ledger())


def test_the_very_text(task, frozen, tiny_lm):
    found = settled(task, frozen, tiny_lm)
    assert found.text == "dull It was bad\n\nfine It was good\n\n"
    assert found.question.template.render({"text": "dreary"}, found.text) == (
        "dull It was bad\n\nfine It was good\n\ndreary It was"
    )
    assert found.question.max_prompt_tokens == len(found.prompts[0])


@pytest.mark.parametrize(
    ("source", "manual", "expected"),
    [
        (
            "{text} {prompt}",
            "It was",
            "dull It was bad\n\nfine It was good\n\nmoving It was",
        ),
        ("{text} {prompt}", None, "dull bad\n\nfine good\n\nmoving"),
        (
            "{{{text}}} {prompt}:",
            "a {text} {{x}}",
            "{dull} a {text} {{x}}: bad\n\n{fine} a {text} {{x}}: good\n\n{moving} a {text} {{x}}:",
        ),
        (
            "{prompt} {text} It was",
            "Say",
            "Say dull It was bad\n\nSay fine It was good\n\nSay moving It was",
        ),
    ],
)
def test_the_text_in_other_templates(source, manual, expected, task, frozen, tiny_lm):
    template = Template(source)
    prompts = () if manual is None else (manual,)
    changed = replace(task, template=template, manual_prompts=prompts)
    found = settled(changed, frozen, tiny_lm)
    tokenizer = frozen.tokenizer
    # What a tokenizer cannot spell it cannot show either.
    spelt = tokenizer.decode(tokenizer.encode(expected))
    assert found.question.template.render({"text": "moving"}, found.text) == spelt


def test_with_prompt_keeps_literal_braces():
    assert with_prompt(Template("{text} {prompt}"), "a {b}") == "{text} a {{b}}"
    assert with_prompt(Template("{text} {prompt}!"), "") == "{text}!"
    assert with_prompt(Template("{{prompt}}: {text}{prompt}"), " so") == "{{prompt}}: {text} so"


def test_with_prompt_fills_every_slot():
    template = Template("{prompt:2} {text} {prompt:2}: {mask}")
    assert with_prompt(template, "a||b {c}") == "a {text} b {{c}}: {mask}"
    assert with_prompt(template, "||b") == " {text} b: {mask}"
    assert with_prompt(template, "") == " {text}: {mask}"


def test_calibration_and_scores_are_on_what_is_not_shown(task, frozen, tiny_lm, bound):
    ledger = Ledger()
    settled(task, frozen, tiny_lm, ledger)
    inside = [texts for source, texts in bound if source.startswith("{prompt}{text}")]
    assert inside == [["bleak", "warm", "funny", "stale"], ["dreary", "moving"]]
    assert ledger.forwards == 4 + 2


@pytest.mark.parametrize(("shots", "count"), [(2, 1), (3, 1), (4, 2), (8, 4), (16, 4)])
def test_labels_take_turns_and_half_of_train_is_kept(shots, count, films):
    task = load_task(films, 0, shots)
    shown, others = deal_demonstrations(task.train, 2)
    assert [example.label for example in shown] == [0, 1] * count
    assert sorted((*shown, *others), key=str) == sorted(task.train, key=str)
    assert [e for e in task.train if e in others] == others
    for label in (0, 1):
        first = [e for e in task.train if e.label == label][:count]
        assert [e for e in shown if e.label == label] == first


def test_nothing_of_dev_and_test_is_shown(finished, films):
    config, result, _ = finished
    for split_seed in config.split_seeds:
        task = load_task(films, split_seed, 4)
        (row,) = [
            row
            for row in result["runs"]
            if row["method"] == "in-context" and row["split_seed"] == split_seed
        ]
        demonstrations = row["prompt"].split("\n\n")
        assert demonstrations.pop() == ""
        texts = [text.rsplit(" It was ", 1) for text in demonstrations]
        train = {(e.fields["text"], task.labels[e.label]) for e in task.train}
        assert len(texts) == 4
        assert {tuple(each) for each in texts} <= train
        for held_out in (task.dev, task.test.open("to look for it in the demonstrations")):
            assert not any(example.fields["text"] in row["prompt"] for example in held_out)


def test_the_label_words_are_those_of_the_label(task):
    shown, _ = deal_demonstrations(task.train, 2)
    assert [(e.fields["text"], e.label) for e in shown] == [("dull", 0), ("fine", 1)]


def test_one_shot_is_refused_and_the_rest_goes_on(comparison, task):
    with pytest.raises(ConfigError, match="need two train examples a label"):
        deal_demonstrations(split("train", "dull fine funny", (0, 1, 1)), 2)
    result = comparison.start(run={"shots": 1})
    (failure,) = result["failures"]
    assert failure["method"] == "in-context"
    assert "give --shots 2 or more, or leave 'in-context' out of fixed" in failure["error"]
    assert {row["method"] for row in result["runs"]} == {"random", "genetic", "empty", "manual"}


def test_demonstrations_that_do_not_fit_the_context_are_left_out(comparison, frozen):
    long = " It was all in all and for the most part" * 4
    assert len(prompt_of(frozen.tokenizer, Template("{text}{prompt}"), long)) < 100
    result = comparison.start(run={"manual_prompts": (long,)})
    (failure,) = result["failures"]
    assert failure["method"] == "in-context"
    assert "do not fit the LM's context of 128 tokens" in failure["error"]
    assert f"in-context: {failure['error']}" in comparison.lines
    assert {row["method"] for row in result["runs"]} == {"random", "genetic", "empty", "manual"}
    assert comparison.tested()["fixed"]["in-context"] == {"error": failure["error"]}


def test_a_demonstration_has_its_answer_where_the_mask_stands():
    example = Example({"text": "a dull film"}, 0)
    assert answered(Template("{text} {prompt}"), example, "so", "bad") == "a dull film so bad"
    masked = Template("{text} {prompt}: {mask} .")
    assert answered(masked, example, "It was", "bad") == "a dull film It was: bad ."
    assert answered(Template("{mask} {text}{prompt}"), example, "", "bad") == "bad a dull film"
