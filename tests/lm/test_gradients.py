"""Label scores that can be differentiated are the scores of a search."""

import numpy as np
import pytest
import torch

from rlprompt.core.prompt import Prompt
from rlprompt.lm.gradients import embed, stems_of
from rlprompt.tasks.template import Template
from rlprompt.testing import CAUSAL_FAMILIES, PACKED_FAMILIES

TEMPLATE = Template("{text}{prompt}")


def bound(lm, template, verbalizer, examples, prompt=None, *, model=None):
    return lm.bind_gradients(
        template, verbalizer, examples, prompt=prompt or Prompt(), soft_tokens=6, model=model
    )


@pytest.mark.parametrize("family", CAUSAL_FAMILIES)
def test_text_prompts_score_as_in_a_search(family, source, mixed, make_lm, examples, prompts):
    lm, template, verbalizer = make_lm(family), Template(source), mixed
    asked = prompts[:3]
    expected = lm.plain(template, verbalizer, examples, max_prompt_tokens=6).choice_logprobs(asked)
    order = [2, 0, 3]
    with torch.no_grad():
        for prompt, rows in zip(asked, expected, strict=True):
            scorer = bound(lm, template, verbalizer, examples, prompt, model=lm.model)
            found = scorer.choice_logprobs(order).numpy()
            np.testing.assert_allclose(found, rows[order], atol=1e-4)


@pytest.mark.parametrize("family", PACKED_FAMILIES)
def test_embeddings_of_a_text_score_as_the_text(family, source, mixed, make_lm, examples, prompts):
    lm, template, prompt, verbalizer = make_lm(family), Template(source), prompts[2], mixed
    assert len(prompt) > 1
    expected = lm.plain(template, verbalizer, examples, max_prompt_tokens=6)
    rows = torch.tensor(lm.embeddings(prompt.ids), dtype=torch.float32)
    every = range(len(examples))
    with torch.no_grad():
        found = bound(lm, template, verbalizer, examples).choice_logprobs(every, rows)
    np.testing.assert_allclose(found.numpy(), expected.choice_logprobs([prompt])[0], atol=1e-4)


@pytest.mark.parametrize("family", PACKED_FAMILIES)
def test_gradients_with_kept_left_sides_are_those_of_whole_forwards(
    family, verbalizer, make_lm, examples
):
    lm = make_lm(family)
    width = lm.embeddings([0]).shape[1]
    start = torch.randn((3, width), generator=torch.Generator().manual_seed(0)) * 0.3
    gradients = []
    for model in (None, lm.model):
        soft = start.clone().requires_grad_()
        scorer = bound(lm, TEMPLATE, verbalizer, examples, model=model)
        # Twice, in batches of other lengths: what is kept is cut to its example.
        for batch in ([1], [0, 2, 3], [3, 1, 1]):
            scorer.choice_logprobs(batch, soft)[:, 0].sum().backward()
        gradients.append(soft.grad)
    assert gradients[0].abs().max() > 1e-4
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-5, rtol=1e-3)
    assert all(parameter.grad is None for parameter in lm.model.parameters())


def test_soft_rows_stand_where_their_ids_do():
    table = torch.nn.Embedding(10, 2)
    model = torch.nn.Module()
    model.get_input_embeddings = lambda: table
    soft, other = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[5.0, 6.0]])
    rows = [(1, -1, -2, 3), (4, -1), (5,), (-2, -1)]
    found, mask = embed(model, rows, [soft, other, None, soft])
    assert mask.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0]]
    torch.testing.assert_close(found[0], torch.stack([*table.weight[[1]], *soft, table.weight[3]]))
    torch.testing.assert_close(found[1, :2], torch.stack([table.weight[4], other[0]]))
    torch.testing.assert_close(found[2, 0], table.weight[5])
    torch.testing.assert_close(found[3, :2], soft.flip(0))


def test_words_share_the_stems_that_they_are_read_behind():
    words = [(1,), (2, 3), (2, 3, 4), (5, 6)]
    assert stems_of(words) == {(2, 3): [0, 1, 2], (5,): [3]}
    assert stems_of([(1,), (2,)]) == {(): [0, 1]}
