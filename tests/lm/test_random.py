"""Any tokens in any number: packed is plain."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rlprompt.core.prompt import Prompt
from rlprompt.lm.batching import Limits
from rlprompt.lm.causal_scorers import AfterInputScorer, BeforeInputScorer, PlainScorer
from rlprompt.lm.inputs import Inputs

TOKENS = st.integers(2, 600)
SIDE = st.lists(TOKENS, max_size=9).map(tuple)
FULL = st.lists(TOKENS, min_size=1, max_size=9).map(tuple)
WORDS = st.lists(
    st.lists(TOKENS, min_size=1, max_size=3).map(tuple), min_size=2, max_size=4, unique=True
)
LIMITS = st.builds(Limits, st.integers(1, 60), st.integers(1, 200), st.sampled_from([0, 1 << 20]))


def _inputs(left, right, words):
    labels = tuple(n % 2 for n in range(len(words)))
    return Inputs(
        tuple(zip(left, right, strict=True)), tuple(words), labels, truncated=0, longest=0
    )


def _check(kind, lm, inputs, prompts, limits):
    scores = [
        scorer(lm._backbone, inputs, 2, limits).choice_logprobs([*map(Prompt, prompts)])
        for scorer in (kind, PlainScorer)
    ]
    np.testing.assert_allclose(*scores, atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(
    sides=st.lists(st.tuples(FULL, SIDE), min_size=1, max_size=5),
    words=WORDS,
    prompts=st.lists(SIDE, min_size=1, max_size=5),
    limits=LIMITS,
)
def test_after_the_input(make_lm, sides, words, prompts, limits):
    inputs = _inputs(*zip(*sides, strict=True), words)
    _check(AfterInputScorer, make_lm("qwen2"), inputs, prompts, limits)


@settings(max_examples=60, deadline=None)
@given(
    left=SIDE,
    right=st.lists(FULL, min_size=1, max_size=5),
    words=WORDS,
    prompts=st.lists(SIDE, min_size=1, max_size=5),
    limits=LIMITS,
)
def test_before_the_input(make_lm, left, right, words, prompts, limits):
    inputs = _inputs([left] * len(right), right, words)
    _check(BeforeInputScorer, make_lm("gpt_neox"), inputs, prompts, limits)
