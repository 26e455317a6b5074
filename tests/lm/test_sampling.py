"""Prompts that the LM itself proposes."""

import numpy as np
import pytest
import torch

from rlprompt.lm.batching import Limits
from rlprompt.lm.protocol import PromptSampler
from rlprompt.tasks.examples import Example
from rlprompt.tasks.template import Template
from rlprompt.tasks.verbalizer import Verbalizer
from rlprompt.testing import PACKED_FAMILIES

VERBALIZER = Verbalizer((("bad",), ("good",)))
EXAMPLES = [
    Example({"text": text}, n % 2)
    for n, text in enumerate(["a good movie", "the story was bad and the end", "I", "so so film"])
]
LENGTH = 3


def bind(lm, template="{text}{prompt}"):
    return lm.bind(Template(template), VERBALIZER, EXAMPLES, max_prompt_tokens=LENGTH)


def plain_samples(lm, rows, ids, seed):
    """Samples one row at a time with whole forwards of the plain model."""
    draws = np.random.default_rng(seed).random((len(rows), LENGTH))
    prompts = []
    for row, draw in zip(rows, draws, strict=True):
        left = list(lm.tokenizer.start_ids + lm.tokenizer.encode(EXAMPLES[row].fields["text"]))
        prompt = []
        for chance in draw:
            with torch.inference_mode():
                logits = lm.model(input_ids=torch.tensor([left + prompt])).logits[0, -1, ids]
            heights = logits.double().softmax(-1).cumsum(-1).numpy()
            prompt.append(ids[int(np.searchsorted(heights, chance))])
        prompts.append(tuple(prompt))
    return prompts


@pytest.mark.parametrize("family", PACKED_FAMILIES)
def test_samples_are_those_of_the_plain_model(family, make_lm):
    lm = make_lm(family)
    ids = list(range(300, 360))
    rows = [2, 0, 3]
    scorer = bind(lm)
    assert isinstance(scorer, PromptSampler)
    drawn = scorer.sample_prompts(rows, ids, length=LENGTH, generator=np.random.default_rng(5))
    assert [p.ids for p in drawn] == plain_samples(lm, rows, ids, 5)


def test_batches_change_no_sample(make_lm):
    ids = list(range(300, 360))
    drawn = [
        bind(make_lm("llama", limits=limits)).sample_prompts(
            range(4), ids, length=LENGTH, generator=np.random.default_rng(1)
        )
        for limits in (Limits(), Limits(batch_tokens=8), Limits(cache_bytes=0))
    ]
    assert drawn[0] == drawn[1] == drawn[2]


@pytest.mark.parametrize(
    ("family", "template"), [("llama", "{prompt}{text}"), ("bloom", "{text}{prompt}")]
)
def test_where_it_cannot_a_scorer_is_no_sampler(family, template, make_lm):
    assert not isinstance(bind(make_lm(family), template), PromptSampler)
