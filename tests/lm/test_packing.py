"""Rows as trees: what segments begin with alike is there once, and nobody sees more for it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlprompt.core.prompt import Prompt
from rlprompt.lm.packing import PAD, ROOT, pack, stack, visible
from rlprompt.tasks.examples import Example
from rlprompt.tasks.template import Template
from rlprompt.tasks.verbalizer import Verbalizer
from rlprompt.testing import PACKED_FAMILIES

TRUNKS = st.lists(st.lists(st.integers(0, 2), max_size=4), min_size=1, max_size=6)
BRANCHES = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=2), max_size=2)


@given(TRUNKS, BRANCHES)
def test_every_segment_sees_itself_and_the_prefix(trunks, branches):
    row = pack(trunks, branches)
    prefix, size = 3, 5
    seen = visible(stack([row]), np.array([prefix]), size)[0]
    for n, trunk in enumerate(trunks):
        path = row.trunk(n)
        assert row.tokens[path].tolist() == trunk
        assert row.position[path].tolist() == [*range(len(trunk))]
        assert row.ends[n] == (path[-1] if trunk else ROOT)
        reads = iter(row.branch_reads[n].tolist())
        for branch in branches:
            own = [*path, *(next(reads) for _ in branch)]
            assert row.tokens[own].tolist() == [*trunk, *branch]
            for place, at in enumerate(own):
                assert row.position[at] == place
                expected = [*range(prefix), *(size + each for each in own[: place + 1])]
                assert np.flatnonzero(seen[at]).tolist() == sorted(expected)


@given(TRUNKS, BRANCHES)
def test_what_is_shared_is_there_once(trunks, branches):
    row = pack(trunks, branches)
    whole = [[*trunk, *branch] for trunk in trunks for branch in [[], *branches]]
    beginnings = {tuple(path[:n]) for path in whole for n in range(1, len(path) + 1)}
    assert len(row.tokens) == len(beginnings)
    asked = sum(map(len, trunks)) + len(trunks) * sum(map(len, branches))
    assert row.saved == asked - len(row.tokens)
    assert all(row.parent < np.arange(len(row.tokens)))


def test_padding_sees_itself_alone():
    row = stack([pack([[1, 2], [1, 3]], []), pack([[1], [1]], [])])
    assert row.parent.tolist() == [[ROOT, 0, 0], [ROOT, PAD, PAD]]
    seen = visible(row, np.array([0, 0]), 0)
    assert seen[1].tolist() == np.eye(3, dtype=bool).tolist()
    assert row.saved.tolist() == [1, 1]


@pytest.mark.parametrize("family", PACKED_FAMILIES)
@pytest.mark.parametrize("words", [("bad", "good"), ("bad film", "good film")])
@pytest.mark.parametrize("template", ["{text}{prompt}", "{text}{prompt} It was", "{prompt}{text}"])
def test_sharing_changes_no_score_and_saves_tokens(family, words, template, make_lm):
    lm = make_lm(family)
    examples = [Example({"text": t}, n % 2) for n, t in enumerate(["a good movie", "the end"])]
    verbalizer = Verbalizer(tuple((word,) for word in words))
    prompts = [Prompt(ids) for ids in ((310, 320, 330), (310, 320, 331), (310,), (311, 320))]
    scorer = lm.bind(Template(template), verbalizer, examples, max_prompt_tokens=3)
    before, saved = lm.meter.tokens, lm.meter.saved_tokens
    together = scorer.choice_logprobs(prompts)
    tokens, saved = lm.meter.tokens - before, lm.meter.saved_tokens - saved
    alone = np.concatenate([scorer.choice_logprobs([prompt]) for prompt in prompts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    if template == "{text}{prompt}":
        # The first two have two tokens in common, the third is the beginning of both.
        assert saved >= len(examples) * 3
        assert saved + tokens == lm.meter.tokens - before - tokens + _saved_alone(scorer, prompts)
    if scorer.prefixes_are_free:
        for prompt, rows in zip(prompts, scorer.prefix_logprobs(prompts), strict=True):
            for prefix, row in zip(prompt.prefixes(), rows, strict=True):
                np.testing.assert_allclose(row, scorer.choice_logprobs([prefix])[0], atol=1e-5)


def _saved_alone(scorer, prompts):
    """What words share behind one prompt, which is saved when prompts stand alone too."""
    meter = scorer.backbone.meter
    before = meter.saved_tokens
    for prompt in prompts:
        scorer.choice_logprobs([prompt])
    return meter.saved_tokens - before
