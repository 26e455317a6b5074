import functools

import numpy as np
import pytest
import torch

from rlprompt.core.prompt import Prompt
from rlprompt.lm.causal import CausalLM
from rlprompt.tasks.examples import Example
from rlprompt.tasks.verbalizer import Verbalizer
from rlprompt.testing import COMMON_WORDS, tiny_causal

# What stands left and right of the prompt, written out so that it does not depend on Template.
SIDES = {
    "{text}{prompt}": ("{text}", ""),
    "{prompt}{text}": ("", "{text}"),
    "{prompt} {text}": ("", " {text}"),
    "{text} {prompt}": ("{text}", ""),
    "Review: {text}{prompt}\nSentiment:": ("Review: {text}", "\nSentiment:"),
    "{prompt}: {text} It was": ("", ": {text} It was"),
    "{text}{prompt} and {other}": ("{text}", " and {other}"),
}
VERBALIZERS = {
    "one token": Verbalizer((("bad",), ("good",))),
    "many tokens": Verbalizer((("truly bad",), ("wonderfully good",), ("so so",))),
    "many words": Verbalizer((("bad", "awful"), ("good", "great", "fine"))),
    "mixed": Verbalizer((("bad", "not at all good"), ("unquestionably fine", "good"))),
}


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@functools.cache
def _model(family):
    return tiny_causal(family)


@pytest.fixture(scope="session")
def tiny():
    """Gives the (shared) model and tokenizer of a family."""
    return _model


@pytest.fixture(scope="session")
def make_lm():
    """Gives the LM of a family; the one without settings is shared."""

    @functools.cache
    def make(family, **settings):
        return CausalLM(*_model(family), **settings)

    return make


@pytest.fixture(scope="session")
def examples():
    """Examples of very different lengths, in mixed order."""
    generator = np.random.default_rng(1)
    lengths = (7, 40, 1, 15, 3, 3, 28)
    return [
        Example(
            {
                "text": "The " + " ".join(generator.choice(COMMON_WORDS, size=length)),
                "other": " ".join(generator.choice(COMMON_WORDS, size=1 + length % 5)) + "!",
            },
            n % 2,
        )
        for n, length in enumerate(lengths)
    ]


@pytest.fixture(scope="session")
def prompts(tiny):
    """The empty prompt and prompts of 1 to 6 tokens."""
    _, tokenizer = tiny("gpt2")
    texts = ("", " overall", " in short it was", " ugh", " the film that I saw is")
    return [Prompt(tuple(tokenizer.encode(t, add_special_tokens=False))) for t in texts]


@pytest.fixture(scope="session")
def reference():
    """Gives the label log-probabilities of one example and one prompt, by the book."""

    def score(model, tokenizer, source, verbalizer, fields, prompt):
        left, right = (side.format(**fields) for side in SIDES[source])
        starts = tokenizer("x").input_ids[:1] == [tokenizer.bos_token_id]
        stem = [tokenizer.bos_token_id] if starts else []
        stem += tokenizer.encode(left, add_special_tokens=False)
        stem += [*prompt.ids, *tokenizer.encode(right, add_special_tokens=False)]
        labels = []
        for words in verbalizer.words:
            total = 0.0
            for word in words:
                ids = tokenizer.encode(f" {word}", add_special_tokens=False)
                with torch.no_grad():
                    logits = model(torch.tensor([stem + ids])).logits[0].double()
                logprobs = logits.log_softmax(-1)
                steps = range(len(stem) - 1, len(stem) + len(ids) - 1)
                total += np.exp(sum(float(logprobs[s, i]) for s, i in zip(steps, ids, strict=True)))
            labels.append(total)
        return np.log(np.asarray(labels) / sum(labels))

    return score


@pytest.fixture(params=list(SIDES))
def source(request):
    return request.param


@pytest.fixture(params=list(VERBALIZERS))
def verbalizer(request):
    return VERBALIZERS[request.param]


@pytest.fixture(scope="session")
def one_token():
    return VERBALIZERS["one token"]


@pytest.fixture(scope="session")
def mixed():
    return VERBALIZERS["mixed"]
