import pytest

from rlprompt.lm.tokenizer import HFTokenizer
from rlprompt.testing import MASKED_FAMILIES, tiny_masked, tiny_tokenizer

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


@pytest.mark.parametrize("family", MASKED_FAMILIES)
def test_prose_is_what_a_text_encodes_to_unless_it_spells_a_special_token(family):
    _, hf = tiny_masked(family)
    tokenizer = HFTokenizer(hf, embedding_rows=len(hf), prose=True)
    for text in ("The film was good", " a movie, don't", "(so) (so)", ""):
        ids = tokenizer.encode(text)
        assert ids == tuple(hf.encode(text, add_special_tokens=False))
        assert tokenizer.encode(tokenizer.decode(ids)) == ids
    assert tokenizer.decode(tokenizer.encode(" good movie")[1:]) == " movie"
    assert (*tokenizer.start_ids, *tokenizer.encode("a"), *tokenizer.end_ids) == tuple(
        hf("a").input_ids
    )
    assert len(tokenizer.start_ids) == len(tokenizer.end_ids) == 1


def test_texts_that_are_not_prose_may_name_special_tokens():
    hf = tiny_tokenizer()
    assert HFTokenizer(hf, len(hf)).encode("<|begin|>") == (1,)
    assert 1 not in HFTokenizer(hf, len(hf), prose=True).encode("<|begin|>")
