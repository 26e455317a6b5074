from dataclasses import replace

import pytest

from rlprompt.core.errors import ConfigError, DataError, RunError, TemplateError
from rlprompt.tasks.examples import Example, Split
from rlprompt.tasks.sealed import SealedSplit
from rlprompt.tasks.task import Task
from rlprompt.tasks.template import Template
from rlprompt.tasks.verbalizer import Verbalizer

WORDS = {"no": "bad", "yes": ["good", "great"]}
PAIRS = [(f"{label} text {i}", label) for i in range(10) for label in WORDS]


@pytest.fixture
def task():
    return Task.from_examples(PAIRS, words=WORDS, shots=2)


def split(name, *rows):
    return Split(name, tuple(Example({"text": text}, label) for text, label in rows))


def test_pairs_dicts_and_data_frames_give_the_same_task(task):
    dicts = [{"text": text, "label": label} for text, label in PAIRS]
    assert Task.from_examples(dicts, words=WORDS, shots=2).train == task.train
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(PAIRS, columns=["review", "stars"])
    framed = Task.from_examples(frame, words=WORDS, shots=2, text="review", label="stars")
    assert framed.train == task.train
    assert framed.test.hash == task.test.hash


def test_pairs_fill_the_only_field_whatever_its_name():
    made = Task.from_examples(PAIRS, words=WORDS, shots=2, template="{sentence}{prompt}")
    assert set(made.train.examples[0].fields) == {"sentence"}


def test_labels_may_be_numbers_and_words_keyed_by_them():
    made = Task.from_examples(
        [(f"t{i}", i % 2) for i in range(20)], words={0: "bad", 1: "good"}, shots=2
    )
    assert made.labels == ("0", "1")
    assert made.verbalizer.words == (("bad",), ("good",))


def test_label_names_are_the_words_where_none_are_given():
    assert Task.from_examples(PAIRS, words=None, shots=2).verbalizer.words == (("no",), ("yes",))


def test_labels_that_are_no_words_need_words():
    with pytest.raises(TemplateError, match=r"labels 0, 1 are no words.*0=good"):
        Task.from_examples([(f"t{i}", i % 2) for i in range(20)], words=None, shots=2)


def test_a_given_test_set_is_the_test_set():
    made = Task.from_examples(PAIRS, words=WORDS, shots=2, test=[("x", "no"), ("y", "yes")])
    assert [e.fields["text"] for e in made.test.open("a test")] == ["x", "y"]


def test_data_frames_with_missing_labels_are_refused():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": ["a", "b"], "label": [1, None]})
    with pytest.raises(DataError, match="row 2: the label"):
        Task.from_examples(frame, words=WORDS)


@pytest.mark.parametrize(
    ("examples", "error", "message"),
    [
        ([], DataError, "Nothing is in the given examples"),
        (["a"], DataError, "Example 1 is 'a'"),
        ("reviews.csv", ConfigError, "load files with load_task"),
        (3, DataError, "'int' is no list"),
        ([("a", "no"), ("b", "no")], DataError, "a task needs two"),
    ],
)
def test_unfit_examples_are_refused(examples, error, message):
    with pytest.raises(error, match=message):
        Task.from_examples(examples, words=WORDS)


def test_the_test_split_opens_once(task):
    assert not task.test.opened
    assert len(task.test.open("the selected prompt")) == len(task.test) == 12
    with pytest.raises(RunError, match="opens once per run; it was opened for 'the selected"):
        task.test.open("another look")


def test_a_sealed_split_tells_sizes_and_hash_and_shows_no_example():
    sealed = SealedSplit(split("test", ("secret", 0), ("hidden", 1), ("veiled", 1)))
    assert sealed.sizes == {0: 1, 1: 2}
    assert sealed.hash == split("other", ("secret", 0), ("hidden", 1), ("veiled", 1)).hash
    assert "secret" not in repr(sealed)


@pytest.mark.parametrize("name", ["train", "dev"])
def test_splits_that_overlap_are_refused(task, name):
    held_out = SealedSplit(
        split("test", (task.train.examples[0].fields["text"].upper(), 0), ("dev ONE", 1))
    )
    changes = {"test": held_out, "dev": split("dev", ("dev one", 0), ("dev two", 1))}
    if name == "dev":
        changes["train"] = split("train", ("train one", 0), ("train two", 1))
    with pytest.raises(DataError, match=f"1 inputs stand in both {name} and test"):
        replace(task, **changes)


def test_train_and_dev_that_overlap_are_refused(task):
    with pytest.raises(DataError, match="4 inputs stand in both train and dev"):
        replace(task, dev=task.train)


def test_a_split_of_one_class_is_refused(task):
    with pytest.raises(DataError, match="All examples of dev have the label 'yes'"):
        replace(task, dev=split("dev", ("a", 1), ("b", 1)))


def test_an_empty_split_is_refused(task):
    with pytest.raises(DataError, match="The test split is empty"):
        replace(task, test=SealedSplit(split("test")))


def test_a_label_index_out_of_range_is_refused(task):
    with pytest.raises(DataError, match="train split has label index 2"):
        replace(task, train=split("train", ("a", 0), ("b", 2)))


def test_a_field_the_examples_lack_is_refused(task):
    with pytest.raises(TemplateError, match=r"asks for \{txt\}"):
        replace(task, template=Template("{txt}{prompt}"))


def test_labels_and_words_of_different_number_are_refused(task):
    with pytest.raises(TemplateError, match=r"2 labels .no, yes., but there are words for 3"):
        replace(task, verbalizer=Verbalizer((("a",), ("b",), ("c",))))


def test_one_label_is_refused(task):
    with pytest.raises(DataError, match="has 1 label"):
        replace(task, labels=("no",))
