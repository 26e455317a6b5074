from collections import Counter

import pytest

from rlprompt.core.errors import ConfigError, DataError
from rlprompt.tasks.examples import Example
from rlprompt.tasks.splits import drop_duplicates, fixed_sample, k_shot, overlap, ready_splits

LABELS = ("no", "yes")


def test_train_and_dev_hold_the_same_number_of_each_class(pool):
    splits = k_shot(pool(20, labels=3), ("a", "b", "c"), 4, seed=0)
    assert Counter(splits.train.gold) == Counter(splits.dev.gold) == {0: 4, 1: 4, 2: 4}


def test_splits_are_disjoint_and_use_the_whole_pool(pool):
    splits = k_shot(pool(20), LABELS, 4, seed=0)
    assert not overlap(splits.train, splits.dev)
    assert not overlap(splits.train, splits.test)
    assert not overlap(splits.dev, splits.test)
    assert len(splits.train) + len(splits.dev) + len(splits.test) == 40


def test_equal_seeds_give_equal_splits_and_others_do_not(pool):
    one, same, other = (k_shot(pool(20), LABELS, 4, seed=seed) for seed in (3, 3, 4))
    assert one == same
    assert one.train.hash != other.train.hash


def test_repeated_inputs_are_dropped_and_counted(pool):
    repeated = [*pool(20), Example({"text": "SENTENCE  0 of 0"}, 0)]
    splits = k_shot(repeated, LABELS, 4, seed=0)
    assert splits.reports == ("Repeated examples dropped: 1.",)


def test_inputs_with_conflicting_labels_are_dropped_altogether():
    kept, reports = drop_duplicates(
        [Example({"text": "a"}, 0), Example({"text": "A"}, 1), Example({"text": "b"}, 0)]
    )
    assert [e.fields["text"] for e in kept] == ["b"]
    assert reports[1] == "Inputs with conflicting labels dropped: 1."


def test_pool_examples_that_occur_in_test_are_dropped(pool):
    test = [Example({"text": "Sentence 1 OF 0"}, 0), Example({"text": "new"}, 1)]
    for seed in range(5):
        splits = k_shot(pool(9), LABELS, 4, seed, test)
        assert not overlap(splits.train, splits.test)
        assert not overlap(splits.dev, splits.test)
        assert splits.test.examples == tuple(test)
    assert "stand in test as well: 1" in splits.reports[0]


def test_too_few_examples_say_how_many_there_are_and_are_needed(pool):
    with pytest.raises(DataError, match=r"'no' has 7 distinct examples; 4 shots need 8.*most 3"):
        k_shot(pool(7), LABELS, 4, seed=0)


def test_a_pool_that_leaves_nothing_for_test_is_refused(pool):
    with pytest.raises(DataError, match="Nothing is left for test"):
        k_shot(pool(8), LABELS, 4, seed=0)


def test_test_size_caps_the_rest_of_the_pool(pool):
    assert len(k_shot(pool(20), LABELS, 4, seed=0, test_size=5).test) == 5


def test_a_given_test_set_is_cut_to_the_same_sample_for_every_seed(pool):
    test = pool(10, prefix="held out")
    hashes = {k_shot(pool(20), LABELS, 4, seed, test, test_size=6).test.hash for seed in range(4)}
    assert len(hashes) == 1


def test_a_fixed_sample_does_not_depend_on_the_order_of_the_examples(pool):
    examples = pool(10)
    texts = {e.normalised for e in fixed_sample(examples, 6)}
    assert texts == {e.normalised for e in fixed_sample(examples[::-1], 6)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shots": 0, "seed": 0}, "shots = 0"),
        ({"shots": 1, "seed": -1}, "seed = -1"),
        ({"shots": 1, "seed": 0, "test_size": 0}, "test_size = 0"),
    ],
)
def test_numbers_out_of_range_are_refused(pool, arguments, message):
    with pytest.raises(ConfigError, match=message):
        k_shot(pool(5), LABELS, **arguments)


def test_ready_splits_keep_test_and_lose_what_overlaps_with_it(pool):
    train, dev, test = pool(4, prefix="a"), pool(4, prefix="b"), pool(4, prefix="c")
    splits = ready_splits([*train, dev[0]], [*dev, test[0]], test)
    assert (len(splits.train), len(splits.dev), len(splits.test)) == (8, 8, 8)
    assert splits.reports == (
        "dev: Examples dropped because they stand in test as well: 1.",
        "train: Examples dropped because they stand in dev or test as well: 1.",
    )
