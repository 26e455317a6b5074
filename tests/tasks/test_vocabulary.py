import json
import sys

import pytest

from rlprompt.core.errors import ConfigError
from rlprompt.lm.masked import MaskedLM
from rlprompt.tasks.template import Template
from rlprompt.tasks.verbalizer import Verbalizer
from rlprompt.tasks.vocabulary import ActionVocabulary, build_vocabulary
from rlprompt.tasks.vocabulary_filters import Candidate, no_label_words, round_trips
from rlprompt.testing import MASKED_FAMILIES, tiny_masked

VERBALIZER = Verbalizer((("bad", "terrible"), ("good",)))
TEMPLATE = Template("{text}{prompt}")


def build(tokenizer, **settings):
    return build_vocabulary(tokenizer, VERBALIZER, settings.pop("template", TEMPLATE), **settings)


def test_common_whole_words_are_left_most_frequent_first(bpe):
    pytest.importorskip("wordfreq")
    texts = build(bpe).texts
    assert texts[:4] == (" the", " I", " was", " really")
    assert set(texts[4:]) == {" film", " movie", " review", " London"}


def test_actions_are_ids_of_their_texts(bpe):
    vocabulary = build(bpe, whole_words=False)
    assert [bpe.decode([i]) for i in vocabulary.token_ids] == list(vocabulary.texts)
    assert len(vocabulary) == len(vocabulary.texts)


def test_without_the_whole_words_filter_fragments_stay_in_order_of_their_ids(bpe, monkeypatch):
    monkeypatch.setitem(sys.modules, "wordfreq", None)
    vocabulary = build(bpe, whole_words=False)
    assert {" behav", " el", " x"} <= set(vocabulary.texts)
    assert list(vocabulary.token_ids) == sorted(vocabulary.token_ids)


def test_label_words_and_what_begins_with_them_are_never_actions(bpe):
    texts = build(bpe, whole_words=False).texts
    assert not {" good", " goodness", " badly", " terribly"} & set(texts)


def test_short_label_words_drop_only_themselves():
    keep = no_label_words(["no"])
    left = keep([Candidate(0, " No"), Candidate(1, " not"), Candidate(2, " now")])
    assert [c.text for c in left] == [" not", " now"]


def test_special_unprintable_and_inner_pieces_are_never_actions(bpe):
    texts = build(bpe, whole_words=False).texts
    assert not {"<end>", "\x07", "\ufffd", "ing", "movie", "  two", " 42", " don't"} & set(texts)


def test_of_words_that_differ_in_case_the_lowest_id_stays(bpe):
    texts = build(bpe, whole_words=False).texts
    assert " the" in texts
    assert " The" not in texts


def test_excluded_words_are_never_actions(bpe):
    assert " movie" not in build(bpe, whole_words=False, exclude=["Movie"]).texts


def test_every_filter_reports_what_it_removed(bpe):
    vocabulary = build(bpe, whole_words=False, size=3)
    assert sum(r.removed for r in vocabulary.filters) == bpe.vocab_size - 3
    assert all(report.name and report.reason for report in vocabulary.filters)


def test_wordpiece_vocabularies_give_words_without_inner_or_unused_pieces(wordpiece):
    pytest.importorskip("wordfreq")
    template = Template("{text} {prompt}")
    texts = build(wordpiece, template=template).texts
    assert set(texts) == {"the", "was", "movie", "film", "a", "i"}


def test_pieces_of_words_are_actions_only_where_they_are_asked_for():
    lm = MaskedLM(*tiny_masked("bert"))
    template = Template("{text} {prompt} {mask}")
    words = build(lm.tokenizer, template=template, whole_words=False)
    assert " movie" in words.texts
    assert all(text.startswith(" ") and text[1:].isalpha() for text in words.texts)
    both = build(lm.tokenizer, template=template, whole_words=False, pieces=True)
    inner = [text for text in both.texts if not text.startswith(" ")]
    assert {*words.texts} <= {*both.texts}
    assert {"ing", "ed", "able"} <= {*inner}
    ids = dict(zip(both.texts, both.token_ids, strict=True))
    prompt = (ids[" film"], ids["ing"], ids[" movie"])
    assert lm.tokenizer.decode(prompt) == " filming movie"
    assert lm.tokenizer.encode(" filming movie") == prompt
    for source in ("{text}{prompt} {mask}", "{mask} {prompt} {text}"):
        found = build(lm.tokenizer, template=Template(source), whole_words=False, pieces=True)
        assert {*found.texts} == {*both.texts}


@pytest.mark.parametrize("family", MASKED_FAMILIES)
def test_every_masked_family_gives_common_words(family):
    pytest.importorskip("wordfreq")
    lm = MaskedLM(*tiny_masked(family))
    template = Template("{text} {prompt} {mask} .")
    texts = build(lm.tokenizer, template=template).texts
    assert len(texts) > 250
    assert {" the", " movie", " overall"} <= {*texts}
    assert not {" good", " bad", " terrible"} & {*texts}
    assert not any("[" in text or "<" in text or "#" in text for text in texts)


def test_tokens_that_merge_with_a_neighbour_are_dropped(bpe):
    bpe.pieces.append(" was the")
    bpe.ids[" was the"] = len(bpe.pieces) - 1
    candidates = [Candidate(bpe.ids[t], t) for t in (" the", " was", " film")]
    left = round_trips(bpe, TEMPLATE)(candidates)
    assert [c.text for c in left] == [" the", " film"]


def test_tokens_that_merge_with_the_template_are_dropped(bpe):
    bpe.pieces.append(": the")
    bpe.ids[": the"] = len(bpe.pieces) - 1
    candidates = [Candidate(bpe.ids[t], t) for t in (" film", " the")]
    left = round_trips(bpe, Template("{text}\nnote: {prompt}"))(candidates)
    assert [c.text for c in left] == [" film"]


def test_tokens_that_merge_with_the_template_in_any_slot_are_dropped(bpe):
    for n, merged in enumerate((": the", "( film")):
        bpe.pieces.append(merged)
        bpe.ids[merged] = len(bpe.pieces) - 1
        candidates = [Candidate(bpe.ids[t], t) for t in (" film", " the", " was")]
        source = "note: {prompt:1} {text}\n({prompt:1}{mask}("
        left = round_trips(bpe, Template(source))(candidates)
        assert [c.text for c in left] == ([" film", " was"], [" was"])[n]


def test_languages_without_spaces_keep_short_words_without_one(bpe):
    bpe.pieces += ["电影", "好"]
    bpe.ids.update({piece: i for i, piece in enumerate(bpe.pieces)})
    assert {"电影", "好"} <= set(build(bpe, language="zh", whole_words=False).texts)


def test_a_vocabulary_round_trips_through_json(bpe):
    vocabulary = build(bpe, whole_words=False)
    assert ActionVocabulary.from_json(json.loads(json.dumps(vocabulary.to_json()))) == vocabulary


def test_a_missing_wordfreq_says_how_to_install_it_and_do_without(bpe, monkeypatch):
    monkeypatch.setitem(sys.modules, "wordfreq", None)
    with pytest.raises(ConfigError, match=r"pip install wordfreq.*whole_words = false"):
        build(bpe)


def test_an_unknown_language_is_refused_with_the_known_ones(bpe):
    pytest.importorskip("wordfreq")
    with pytest.raises(ConfigError, match=r"no word list for the language 'tlh'.*Known: ar, "):
        build(bpe, language="tlh")


def test_a_vocabulary_with_next_to_nothing_left_names_the_greedy_filters(bpe):
    exclude = [piece for piece in bpe.pieces if piece != " film"]
    with pytest.raises(ConfigError, match=r"leave 1 tokens.*word-initial \d+.*exclude \d+"):
        build(bpe, whole_words=False, exclude=exclude)


@pytest.mark.parametrize(
    ("ids", "texts", "message"),
    [
        ((1,), ("a",), "1 tokens leaves nothing to choose"),
        ((1, 1), ("a", "a"), "a token twice"),
        ((1, 2), ("a",), "but 1 texts"),
    ],
)
def test_vocabularies_that_make_no_sense_are_refused(ids, texts, message):
    with pytest.raises(ConfigError, match=message):
        ActionVocabulary(ids, texts)


def test_a_size_below_two_is_refused(bpe):
    with pytest.raises(ConfigError, match="size = 1"):
        build(bpe, size=1)
