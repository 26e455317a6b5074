import pytest

from rlprompt.lm.tokenizer import HFTokenizer
from rlprompt.testing import tiny_tokenizer

TEXTS = [
    "",
    " ",
    "  two  spaces ",
    "one\ntwo\n\n three\t.",
    "café, naïve, ☃, 🎬, 日本",
    "don't . stop , now !",
    " goo d",
    "\r\n",
    "e\u0301 \u00a0 \u200b",
]


@pytest.fixture(params=[False, True], ids=["no first token", "first token"])
def tokenizer(request):
    hf = tiny_tokenizer(bos=request.param)
    return HFTokenizer(hf, embedding_rows=len(hf))


@pytest.mark.parametrize("text", TEXTS)
def test_every_text_comes_back(tokenizer, text):
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.special_ids.isdisjoint(ids)


def test_many_texts_are_encoded_as_each(tokenizer):
    assert tokenizer.encode_all(TEXTS) == [tokenizer.encode(text) for text in TEXTS]
    assert tokenizer.encode_all([]) == []


def test_special_tokens_and_first_tokens(tokenizer):
    first = tokenizer.start_ids
    assert first in ((), (1,))
    # The tiny tokenizer's ids 0 and 1 are <|endoftext|> and <|begin|>.
    assert tokenizer.special_ids == {0, 1}
    assert tokenizer.encode("a")[0] not in tokenizer.special_ids
    assert tokenizer.decode((1, 0)) == "<|begin|><|endoftext|>"


def test_ids_without_an_embedding_row_do_not_exist():
    hf = tiny_tokenizer()
    assert HFTokenizer(hf, embedding_rows=500).vocab_size == 500
    assert HFTokenizer(hf, embedding_rows=10**6).vocab_size == len(hf)


def test_added_control_tokens_are_special():
    hf = tiny_tokenizer()
    hf.add_special_tokens({"additional_special_tokens": ["<|user|>"]})
    hf.add_tokens(["ordinary"])
    tokenizer = HFTokenizer(hf, embedding_rows=len(hf))
    user, ordinary = hf.convert_tokens_to_ids(["<|user|>", "ordinary"])
    assert user in tokenizer.special_ids
    assert ordinary not in tokenizer.special_ids
