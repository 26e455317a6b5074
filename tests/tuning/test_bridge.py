import numpy as np
import pytest

from rlprompt.core.errors import ConfigError
from rlprompt.tasks.template import Template
from rlprompt.tasks.tokenization import prompt_of
from rlprompt.tuning.bridge import nearest_text

TEMPLATE = Template("{text}{prompt}")


def test_embeddings_of_a_text_are_nearest_to_that_text(lm):
    prompt = prompt_of(lm.tokenizer, TEMPLATE, " in short it was")
    # Any length: direction alone counts.
    found = nearest_text(lm, TEMPLATE, 3 * lm.embeddings(prompt.ids))
    assert found.nearest == found.prompt.ids == prompt.ids
    assert found.text == " in short it was"
    np.testing.assert_allclose(found.cosines, 1, atol=1e-6)


def test_only_tokens_that_are_allowed(lm):
    allowed = prompt_of(lm.tokenizer, TEMPLATE, " film story").ids
    rows = np.random.default_rng(0).normal(size=(4, lm.embeddings([0]).shape[1]))
    found = nearest_text(lm, TEMPLATE, rows, allowed)
    cosine = rows @ lm.embeddings(allowed).T
    cosine /= np.linalg.norm(rows, axis=1)[:, None]
    cosine /= np.linalg.norm(lm.embeddings(allowed), axis=1)
    assert found.nearest == tuple(allowed[n] for n in cosine.argmax(axis=1))
    np.testing.assert_allclose(found.cosines, cosine.max(axis=1), atol=1e-9)


def test_special_tokens_are_never_near(lm):
    special = sorted(lm.tokenizer.special_ids)
    found = nearest_text(lm, TEMPLATE, lm.embeddings(special))
    assert not set(found.nearest) & lm.tokenizer.special_ids


def test_refused(lm):
    with pytest.raises(ConfigError, match="trained for another LM"):
        nearest_text(lm, TEMPLATE, np.ones((2, 3)))
    with pytest.raises(ConfigError, match="no tokens to project"):
        nearest_text(lm, TEMPLATE, np.ones((2, 3)), ())
