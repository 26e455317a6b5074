"""How the LM itself would go on with a prompt."""

import numpy as np
import pytest
import torch

from rlprompt.core.prompt import Prompt
from rlprompt.lm.batching import Limits
from rlprompt.lm.protocol import NextToken
from rlprompt.tasks.examples import Example
from rlprompt.tasks.template import Template
from rlprompt.tasks.verbalizer import Verbalizer
from rlprompt.testing import PACKED_FAMILIES

VERBALIZER = Verbalizer((("bad",), ("good",)))
EXAMPLES = [
    Example({"text": text}, n % 2)
    for n, text in enumerate(["a good movie", "the story was bad and the end", "I", "so so film"])
]
IDS = list(range(300, 360))
ROWS = [2, 0, 3, 0]
PROMPTS = [Prompt(), Prompt((310, 320)), Prompt((305,)), Prompt()]


def bind(lm, template="{text}{prompt}"):
    return lm.bind(Template(template), VERBALIZER, EXAMPLES, max_prompt_tokens=3)


@pytest.mark.parametrize("family", PACKED_FAMILIES)
def test_predictions_are_those_of_the_plain_model(family, make_lm):
    lm = make_lm(family)
    scorer = bind(lm)
    assert isinstance(scorer, NextToken)
    found = scorer.next_token_logprobs(ROWS, PROMPTS, IDS)
    for row, prompt, logprobs in zip(ROWS, PROMPTS, found, strict=True):
        text = EXAMPLES[row].fields["text"]
        ids = [*lm.tokenizer.start_ids, *lm.tokenizer.encode(text), *prompt.ids]
        with torch.inference_mode():
            logits = lm.model(input_ids=torch.tensor([ids])).logits[0, -1, IDS]
        np.testing.assert_allclose(logprobs, logits.double().log_softmax(-1), atol=1e-4)


@pytest.mark.parametrize("limits", [Limits(batch_tokens=8), Limits(cache_bytes=0)])
def test_batches_change_no_prediction(limits, make_lm):
    found = bind(make_lm("llama", limits=limits)).next_token_logprobs(ROWS, PROMPTS, IDS)
    expected = bind(make_lm("llama")).next_token_logprobs(ROWS, PROMPTS, IDS)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("family", "template"), [("llama", "{prompt}{text}"), ("bloom", "{text}{prompt}")]
)
def test_where_it_cannot_a_scorer_does_not_say_so(family, template, make_lm):
    assert not isinstance(bind(make_lm(family), template), NextToken)
