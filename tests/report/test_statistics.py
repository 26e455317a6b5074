import time

import numpy as np
import pytest
from scipy.stats import permutation_test

from rlprompt.core.errors import RunError
from rlprompt.core.statistics import bootstrap_mean
from rlprompt.report.statistics import (
    Interval,
    SplitScores,
    forwards_to_reach,
    holm,
    interval,
    intervals,
    is_significant,
    item_shares,
    mean_ranks,
    paired,
    pairwise,
)


def scores(*splits, items=None):
    return {
        seed: SplitScores(items or str(seed), np.asarray(values, dtype=float))
        for seed, values in enumerate(splits)
    }


def test_holm_gives_known_values():
    # As statsmodels 0.15 does: multipletests(p, method="holm")[1].
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert holm([0.04, 0.01, 0.9, 0.013]) == pytest.approx([0.08, 0.04, 0.9, 0.04])
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    assert holm([]).shape == (0,)


def test_one_split_is_a_bootstrap_over_items():
    values = np.random.default_rng(0).normal(0, 1, 300)
    found, plain = interval(scores(values)), bootstrap_mean(values)
    assert found.splits == 1
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(plain.low, abs=0.02)
    assert found.high == pytest.approx(plain.high, abs=0.02)


def test_intervals_repeat_and_do_not_depend_on_the_company():
    generator = np.random.default_rng(0)
    methods = {name: scores(*generator.random((4, 50)), items="x") for name in "abc"}
    methods["d"] = {0: methods["a"][0]}
    together = intervals(methods)
    assert [*together] == ["a", "b", "c", "d"]
    for name, found in together.items():
        alone = interval(methods[name])
        assert (alone.low, alone.high) == pytest.approx((found.low, found.high), abs=1e-12)
    assert intervals(methods) == together
    assert interval(methods["a"], seed=1) != together["a"]


def test_splits_that_differ_widen_the_interval():
    noise = np.random.default_rng(0).normal(0, 1, (5, 400))
    same, different = interval(scores(*noise)), interval(scores(*noise + np.arange(5)[:, None]))
    assert different.high - different.low > 5 * (same.high - same.low)


def test_shared_items_are_resampled_once():
    values = np.random.default_rng(0).normal(0, 1, 400)
    shared = interval(scores(*[values] * 5, items="same"))
    single = interval(scores(values))
    assert shared.high - shared.low == pytest.approx(single.high - single.low, rel=0.1)
    # The very same numbers as five samples of their own say more about the mean.
    own = interval(scores(*[values] * 5))
    assert own.high - own.low < 0.6 * (shared.high - shared.low)


@pytest.mark.parametrize(("splits", "least"), [(5, 0.75), (15, 0.87)])
def test_coverage_with_split_effects(splits, least):
    generator = np.random.default_rng(1)
    covered = items_only = 0
    for repeat in range(200):
        common = generator.normal(0, 1, 60)
        values = [generator.normal(0, 0.3) + common for _ in range(splits)]
        found = interval(scores(*values, items="x"), seed=repeat, resamples=300)
        covered += found.low <= 0 <= found.high
        naive = interval(scores(np.concatenate(values)), seed=repeat, resamples=300)
        items_only += naive.low <= 0 <= naive.high
    assert least <= covered / 200 <= 0.99
    assert items_only < covered


@pytest.mark.parametrize("items", ["same", None])
def test_p_values_are_those_of_scipy(items):
    generator = np.random.default_rng(2)
    one = scores(*generator.normal(0.15, 1, (3, 40)), items=items)
    other = scores(*generator.normal(0, 1, (3, 40)), items=items)
    found = paired(one, other, flips=10_000)
    pooled = np.mean if items else np.concatenate
    difference = pooled([one[s].values - other[s].values for s in one], **{"axis": 0})
    expected = permutation_test(
        (difference,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=10_000,
        rng=np.random.default_rng(0),
    )
    assert found.items == len(difference) == (40 if items else 120)
    assert found.interval.value == pytest.approx(expected.statistic)
    assert found.p == pytest.approx(expected.pvalue, abs=0.02)
    assert 0.01 < found.p < 0.9


def test_few_items_give_the_exact_p_value():
    # 6 differences of one sign: 2 of the 64 sign vectors are as extreme.
    found = paired(scores(np.arange(1, 7)), scores(np.zeros(6)), flips=20_000)
    assert found.p == pytest.approx(2 / 64, abs=0.004)


def test_equal_methods_do_not_differ():
    same = scores([0.1, 0.7, 0.3], [0.2, 0.1, 0.9])
    found = paired(same, same)
    assert found.p == 1.0
    assert (found.interval.low, found.interval.value, found.interval.high) == (0.0, 0.0, 0.0)
    assert not is_significant(found.p, found.interval)


def test_ties_count_as_extreme_whatever_the_rounding():
    # Accuracies: sums of many flips equal the observed one exactly.
    one, other = scores([1, 1, 0, 1] * 50), scores([1, 0, 1, 1] * 50)
    assert paired(one, other).p == 1.0


def test_pairs_are_matched_by_split():
    one = {1: SplitScores("a", np.ones(4)), 2: SplitScores("b", np.ones(4))}
    other = {2: SplitScores("b", np.zeros(4)), 3: SplitScores("c", np.zeros(4))}
    found = paired(one, other)
    assert found.interval.splits == 1
    assert found.interval.value == 1.0
    assert paired(one, {3: other[3]}) is None
    assert [*pairwise({"one": one, "x": {3: other[3]}, "other": other})] == [
        ("one", "other"),
        ("x", "other"),
    ]
    with pytest.raises(RunError, match="different test items"):
        paired(one, {2: SplitScores("other", np.zeros(4))})


def test_all_pairs_give_what_each_pair_gives():
    generator = np.random.default_rng(0)
    methods = {name: scores(*generator.random((3, 30)), items="x") for name in "abcd"}
    together = pairwise(methods, flips=2000)
    assert len(together) == 6
    for (one, other), found in together.items():
        alone = paired(methods[one], methods[other], flips=2000)
        assert alone.p == found.p
        assert alone.interval.value == pytest.approx(found.interval.value)
        assert alone.interval.low == pytest.approx(found.interval.low)
        back = paired(methods[other], methods[one], flips=2000)
        assert back.p == found.p
        assert back.interval.high == pytest.approx(-found.interval.low)


def test_shares_add_up_to_the_mean_over_splits():
    splits = [("x", np.ones((1, 4))), ("y", np.full((1, 2), 3.0)), ("x", np.full((1, 4), 5.0))]
    shares = item_shares(splits)
    assert shares.shape == (1, 6)
    assert shares.sum() == pytest.approx(3.0)


def test_significant_takes_both_items_and_splits():
    clear, unclear = Interval(0.2, 0.1, 0.3, 5), Interval(0.2, -0.1, 0.5, 5)
    assert is_significant(0.01, clear)
    assert not is_significant(0.01, unclear)
    assert not is_significant(0.05, clear)


def test_ranks_average_ties_and_cells():
    cells = [{"a": 3.0, "b": 2.0, "c": 2.0}, {"a": 0.0, "b": 1.0}]
    assert mean_ranks(cells) == {"a": 1.5, "b": 1.75, "c": 2.5}
    assert mean_ranks([]) == {}


def test_forwards_to_reach():
    trace = [(32, -0.9), (96, -0.5), (640, -0.4)]
    assert forwards_to_reach(trace, -0.5) == 96
    assert forwards_to_reach(trace, -0.45) == 640
    assert forwards_to_reach(trace, -0.1) is None
    assert forwards_to_reach([], 0.0) is None
    assert forwards_to_reach([(1, 0.1)], float(np.nextafter(0.1, 1))) == 1


def test_large_splits_are_fast():
    values = np.random.default_rng(0).random((5, 2000))
    start = time.process_time()
    interval(scores(*values))
    assert time.process_time() - start < 3.0  # 0.4 s where nothing else runs
