"""How likely the LM finds a prompt where it stands."""

import numpy as np
import pytest
import torch

from rlprompt.core.prompt import Prompt
from rlprompt.lm.batching import Limits
from rlprompt.lm.protocol import ReadsPrompts
from rlprompt.tasks.examples import Example
from rlprompt.tasks.template import Template
from rlprompt.tasks.verbalizer import Verbalizer
from rlprompt.testing import PACKED_FAMILIES

VERBALIZER = Verbalizer((("bad",), ("good",)))
EXAMPLES = [
    Example({"text": text}, n % 2)
    for n, text in enumerate(["a good movie", "the story was bad and the end", "I", "so so film"])
]
ROWS = [2, 0, 3, 0, 1]
PROMPTS = [
    Prompt((310, 320, 330)),
    Prompt((310,)),
    Prompt((305, 306)),
    Prompt((330, 301)),
    Prompt(),
]


def bind(lm, template="{text}{prompt}"):
    return lm.bind(Template(template), VERBALIZER, EXAMPLES, max_prompt_tokens=3)


@pytest.mark.parametrize("family", PACKED_FAMILIES)
@pytest.mark.parametrize("template", ["{text}{prompt}", "{text}{prompt} It was"])
def test_they_are_those_of_the_plain_model(family, template, make_lm):
    lm = make_lm(family)
    scorer = bind(lm, template)
    assert isinstance(scorer, ReadsPrompts)
    found = scorer.prompt_logprobs(ROWS, PROMPTS)
    assert [len(tokens) for tokens in found] == [len(prompt) for prompt in PROMPTS]
    for row, prompt, tokens in zip(ROWS, PROMPTS, found, strict=True):
        text = EXAMPLES[row].fields["text"]
        left = [*lm.tokenizer.start_ids, *lm.tokenizer.encode(text)]
        with torch.inference_mode():
            logits = lm.model(input_ids=torch.tensor([[*left, *prompt.ids]])).logits[0].double()
        expected = [
            float(logits[len(left) - 1 + n].log_softmax(-1)[token])
            for n, token in enumerate(prompt.ids)
        ]
        np.testing.assert_allclose(tokens, expected, atol=1e-4)


@pytest.mark.parametrize("limits", [Limits(batch_tokens=8), Limits(cache_bytes=0)])
def test_batches_change_nothing(limits, make_lm):
    found = bind(make_lm("llama", limits=limits)).prompt_logprobs(ROWS, PROMPTS)
    for one, other in zip(
        found, bind(make_lm("llama")).prompt_logprobs(ROWS, PROMPTS), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(
    ("family", "template"), [("llama", "{prompt}{text}"), ("bloom", "{text}{prompt}")]
)
def test_where_it_cannot_a_scorer_does_not_say_so(family, template, make_lm):
    assert not isinstance(bind(make_lm(family), template), ReadsPrompts)
