"""Rows that begin alike go through the LM together, and answer as they do alone."""

import numpy as np
import pytest
import torch

from rlprompt.lm.bundles import bundle
from rlprompt.lm.causal import CausalLM
from rlprompt.lm.causal_gradients import causal_forward
from rlprompt.lm.gradients import Row, answers, looked_up
from rlprompt.testing import tiny_causal

TEXT = tuple(range(20, 32))
OTHER = tuple(range(40, 52))


def row(*parts):
    ids = sum(parts, ())
    return Row(ids, (), (len(ids) - 2, len(ids) - 1))


def rows_and_softs(model):
    one, two = looked_up(model, [11, 12]), 2 * looked_up(model, [13, 14])
    rows = [
        row(TEXT, (60, 61)),
        row(OTHER, (-1, -2), (62,)),
        row(TEXT, (63,)),
        row(OTHER, (-1, -2), (64, 65)),
        row(OTHER),
        row(TEXT, (60, 61)),
        row((70, 71, 72)),
    ]
    return rows, [None, one, None, two, None, None, None]


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_bundled_rows_answer_as_they_do_alone(architecture):
    model = CausalLM(*tiny_causal(architecture)).model
    rows, softs = rows_and_softs(model)
    bundles = bundle(rows, softs, together=True, most=1000)
    assert sorted(map(len, (each.members for each in bundles))) == [1, 3, 3]
    assert sum(len(each.ids) for each in bundles) == (12 + 2 + 2 + 1) + (12 + 3 + 4) + 3
    with torch.inference_mode():
        read = answers(model, bundles, [each.soft for each in bundles], causal_forward)
        found = {}
        for each, its in zip(bundles, read, strict=True):
            found |= each.of_members(its, rows)
        for n, (asked, soft) in enumerate(zip(rows, softs, strict=True)):
            alone = answers(model, [asked], [soft], causal_forward)[0]
            np.testing.assert_allclose(found[n], alone, atol=1e-5)


def test_rows_stay_apart():
    rows = [row(TEXT, (60, 61)), row(TEXT, (63,)), row(TEXT[:2], OTHER)]
    none = [None] * 3

    def sizes(**how):
        return sorted(len(each.members) for each in bundle(rows, none, **how))

    # What begins alike for less than half of its length costs more attention than it saves.
    assert sizes(together=True, most=1000) == [1, 2]
    assert sizes(together=True, most=14) == [1, 1, 1]
    assert sizes(together=False, most=1000) == [1, 1, 1]
    soft = torch.ones(12, 4)
    rows = [Row((*range(-1, -13, -1), 5), (), (12,))] * 2
    # Two tasks' soft prompts have the same numbers for other rows.
    assert len(bundle(rows, [soft, 2 * soft], together=True, most=1000)) == 2
