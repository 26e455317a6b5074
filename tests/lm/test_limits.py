"""How much goes into one forward changes no score, even where memory runs out on the way."""

import itertools

import numpy as np
import pytest
import torch

from rlprompt.core.errors import ConfigError, LMError
from rlprompt.core.prompt import Prompt
from rlprompt.lm.backbone import Backbone
from rlprompt.lm.batching import Limits
from rlprompt.tasks.examples import Example
from rlprompt.tasks.template import Template
from rlprompt.testing import check_scorer

AFTER, BEFORE = Template("{text}{prompt}"), Template("{prompt} {text}")
BETWEEN = Template("{text}{prompt} and {other}")
SOME = [
    Limits(row_tokens=1, batch_tokens=1),
    Limits(row_tokens=10, batch_tokens=50),
    Limits(row_tokens=1000, batch_tokens=37),
    Limits(row_tokens=7, batch_tokens=100_000),
    Limits(cache_bytes=0),
    Limits(batch_tokens=60, cache_bytes=20_000),
]


@pytest.mark.parametrize("template", [AFTER, BEFORE, BETWEEN], ids=lambda t: t.source)
@pytest.mark.parametrize("limits", SOME, ids=str)
def test_limits_change_no_score(template, limits, make_lm, examples, prompts, mixed, one_token):
    small, large = make_lm("llama", limits=limits), make_lm("llama")
    for verbalizer in (mixed, one_token):
        bound = [
            lm.bind(template, verbalizer, examples, max_prompt_tokens=6) for lm in (small, large)
        ]
        expected = bound[1].choice_logprobs(prompts)
        for _ in range(2):  # the second time with what the first kept
            np.testing.assert_allclose(bound[0].choice_logprobs(prompts), expected, atol=1e-5)
        if bound[0].prefixes_are_free:
            given, wanted = (scorer.prefix_logprobs(prompts) for scorer in bound)
            np.testing.assert_allclose(np.concatenate(given), np.concatenate(wanted), atol=1e-5)
        plain = small.plain(template, verbalizer, examples, max_prompt_tokens=6)
        np.testing.assert_allclose(plain.choice_logprobs(prompts), expected, atol=1e-4)


def test_left_sides_are_computed_once_where_they_are_kept(make_lm, examples, one_token, prompts):
    costs = []
    for cache_bytes in (1 << 29, 0):
        lm = make_lm("gpt2", limits=Limits(batch_tokens=64, cache_bytes=cache_bytes))
        scorer = lm.bind(AFTER, one_token, examples, max_prompt_tokens=6)
        for _ in range(2):
            before = lm.meter.tokens + lm.meter.cached_tokens
            scorer.choice_logprobs(prompts[:2])
            costs.append(lm.meter.tokens + lm.meter.cached_tokens - before)
    assert costs[0] == costs[2] == costs[3]
    assert costs[1] == len(examples)  # one prompt of one token, and one of none


def test_batches_stay_within_their_tokens_padding_included(
    make_lm, examples, one_token, prompts, monkeypatch
):
    shapes = []
    hidden = Backbone.hidden

    def watched(self, tokens, **rest):
        shapes.append(tuple(tokens.shape))
        return hidden(self, tokens, **rest)

    monkeypatch.setattr(Backbone, "hidden", watched)
    many = [Example({"text": "a"}, n % 2) for n in range(60)] + examples
    scorer = make_lm("gpt2", limits=Limits(batch_tokens=100)).bind(
        AFTER, one_token, many, max_prompt_tokens=6
    )
    scorer.choice_logprobs(prompts)
    assert all(rows * length <= 100 or rows == 1 for rows, length in shapes)


@pytest.fixture
def memory_for(monkeypatch):
    """Lets a forward fail that has more rows than given; says how often one did."""
    failures = itertools.count()

    def limit(rows):
        for name in ("hidden", "full_logits"):
            forward = getattr(Backbone, name)

            def limited(self, tokens, *given, forward=forward, **named):
                if len(tokens) > rows:
                    next(failures)
                    raise torch.OutOfMemoryError("CUDA out of memory.")
                return forward(self, tokens, *given, **named)

            monkeypatch.setattr(Backbone, name, limited)
        return failures

    return limit


@pytest.mark.parametrize("template", [AFTER, BEFORE, BETWEEN], ids=lambda t: t.source)
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_batches_are_halved_where_memory_runs_out(
    template, rows, make_lm, examples, prompts, one_token, memory_for
):
    lm = make_lm("qwen2", limits=Limits(row_tokens=12))
    asked = prompts * 2
    expected = lm.bind(template, one_token, examples, max_prompt_tokens=6).choice_logprobs(asked)
    scorer = lm.bind(template, one_token, examples, max_prompt_tokens=6)
    plain = lm.plain(template, one_token, examples, max_prompt_tokens=6)
    failures = memory_for(rows)
    for _ in range(2):
        np.testing.assert_allclose(scorer.choice_logprobs(asked), expected, atol=1e-5)
    np.testing.assert_allclose(plain.choice_logprobs(asked), expected, atol=1e-4)
    assert next(failures) > 0


def test_memory_that_runs_out_later_changes_no_score(
    make_lm, examples, prompts, one_token, memory_for
):
    lm = make_lm("qwen2")
    scorer = lm.bind(AFTER, one_token, examples, max_prompt_tokens=6)
    expected = scorer.choice_logprobs(prompts)
    memory_for(2)  # with the left sides of all examples kept in one block
    np.testing.assert_allclose(scorer.choice_logprobs(prompts), expected, atol=1e-5)
    np.testing.assert_allclose(
        np.concatenate(scorer.prefix_logprobs(prompts))[-1], expected[-1], atol=1e-5
    )


def test_memory_for_not_one_row_is_an_error_for_the_user(
    make_lm, examples, prompts, one_token, memory_for
):
    lm = make_lm("qwen2")
    scorers = [
        bind(template, one_token, examples, max_prompt_tokens=6)
        for template in (AFTER, BEFORE)
        for bind in (lm.bind, lm.plain)
    ]
    memory_for(0)
    for scorer in scorers:
        with pytest.raises(LMError, match=r"One row of \d+ tokens does not fit the memory of cpu"):
            scorer.choice_logprobs(prompts)


def test_other_errors_of_a_forward_pass_through(make_lm, examples, one_token, monkeypatch):
    scorer = make_lm("gpt2").bind(AFTER, one_token, examples, max_prompt_tokens=6)

    def broken(*_, **__):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(Backbone, "hidden", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        scorer.choice_logprobs([Prompt()])


@pytest.mark.parametrize("template", [AFTER, BEFORE, BETWEEN], ids=lambda t: t.source)
@pytest.mark.parametrize("word", ["good", "☃"])
def test_long_text_is_cut_and_prompt_and_answer_survive(
    template, word, make_lm, prompts, one_token, mixed
):
    lm = make_lm("llama")  # reads 128 tokens
    long = f"{word} " * 200
    given = [
        Example({"text": "The film", "other": "fine"}, 0),
        Example({"text": long, "other": "fine"}, 1),
        Example({"text": long, "other": long}, 0),
    ]
    for verbalizer in (one_token, mixed):
        scorer = lm.bind(template, verbalizer, given, max_prompt_tokens=7)
        assert scorer.truncated == 2
        plain = lm.plain(template, verbalizer, given, max_prompt_tokens=7)
        scores = plain.choice_logprobs(prompts)
        np.testing.assert_allclose(scorer.choice_logprobs(prompts), scores, atol=1e-4)
        # A prompt of any length within the limit is scored with the same text.
        assert np.abs(scores[1:, 1] - scores[:1, 1]).max() > 0.01


def test_cut_text_is_the_longest_that_fits(make_lm, tiny, one_token, reference):
    lm, (_, tokenizer) = make_lm("llama"), tiny("llama")
    words = ["film", "story", "plot", "cast"] * 50
    scorer = lm.bind(
        AFTER, one_token, [Example({"text": " " + " ".join(words)}, 0)], max_prompt_tokens=7
    )
    # 128 tokens less the first one, the prompt's 7 and the answer's 1.
    text = " " + " ".join(words[:119])
    assert len(tokenizer.encode(text, add_special_tokens=False)) == 119
    prompt = Prompt((300,) * 7)
    expected = reference(*tiny("llama"), AFTER.source, one_token, {"text": text}, prompt)
    np.testing.assert_allclose(scorer.choice_logprobs([prompt])[0, 0], expected, atol=1e-4)


@pytest.mark.parametrize("text", ["good film", "☃ ☃ ☃", "\ud7ff" * 3, "🎬" * 40])
@pytest.mark.parametrize("room", range(5))
def test_cutting_ends_whatever_the_text(text, room, make_lm, one_token):
    # Characters of 3 or 4 bytes are as many tokens here, so a cut can fall into one.
    given = [Example({"text": text}, 0)]
    limit = 128 - 1 - 1 - room
    try:
        scorer = make_lm("llama").bind(AFTER, one_token, given, max_prompt_tokens=limit)
    except ConfigError as error:
        assert "do not fit the LM's context of 128 tokens" in str(error)  # noqa: PT017
    else:
        scores = scorer.choice_logprobs([Prompt(), Prompt((300,) * limit)])
        assert np.isfinite(scores).all()


@pytest.mark.parametrize("template", [AFTER, BEFORE], ids=lambda t: t.source)
def test_prompts_that_cannot_fit_are_refused(template, make_lm, examples, one_token):
    with pytest.raises(ConfigError, match="ask for a shorter prompt or shorten the template"):
        make_lm("gpt2").bind(template, one_token, examples, max_prompt_tokens=128)


def test_a_cut_text_conforms(make_lm, one_token, prompts):
    given = [Example({"text": "fine " * n}, n % 2) for n in (3, 130, 200)]
    check_scorer(make_lm("opt"), AFTER, one_token, given, prompts[1:4])
