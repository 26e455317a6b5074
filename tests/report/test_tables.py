from dataclasses import replace

import numpy as np
import pytest

from rlprompt.core.errors import RunError
from rlprompt.core.trials import Failure, Setting
from rlprompt.report import tables
from rlprompt.report.pairwise import all_tests
from rlprompt.report.tables import escape, markdown, quote, summary


def test_a_row_for_each_method_and_budget_best_first(trials_of):
    trials = trials_of({"genetic": 0.2}, tasks=("b", "a"), budgets=(1_000, 9_000))
    table = summary(trials)
    assert len(table) == 2 * 2 * 5
    assert table[["task", "budget"]].drop_duplicates().to_numpy().tolist() == [
        ["a", 1_000],
        ["a", 9_000],
        ["b", 1_000],
        ["b", 9_000],
    ]
    for _, rows in table.groupby(["task", "budget"]):
        assert rows["log_likelihood"].is_monotonic_decreasing
        assert rows["method"].iloc[0] == "genetic"
        assert rows["rank"].iloc[0] == 1.0
        assert set(rows["method"][rows["fixed"]]) == {"empty", "manual"}
    assert (table["log_likelihood_low"] < table["log_likelihood"]).all()
    assert (table["accuracy_high"] > table["accuracy"]).all()
    assert set(table["runs"]) == set(table["splits"]) == {5}
    first = next(t for t in trials if t.setting.split_seed == 13 and t.setting.method == "empty")
    assert table["prompt"][table["method"] == "empty"].iloc[0] == first.prompt


def test_the_order_of_the_trials_does_not_matter(trials_of):
    trials = trials_of(seeds=(0, 1))
    assert summary(trials).equals(summary(trials[::-1]))


def test_seeds_are_averaged_within_a_split(trials_of):
    trials = trials_of(seeds=(0, 1), splits=(13, 21))
    extra = [t for t in trials if (t.setting.split_seed, t.setting.seed) != (21, 1)]
    row = summary(extra).set_index("method").loc["ppo"]
    means = {
        split: np.mean(
            [
                t.log_likelihood.mean()
                for t in extra
                if t.setting.method == "ppo" and t.setting.split_seed == split
            ]
        )
        for split in (13, 21)
    }
    assert row["runs"] == 3
    assert row["log_likelihood"] == pytest.approx(np.mean([*means.values()]))


def test_forwards_to_reach_randoms_reward(trials_of):
    trials = []
    for trial in trials_of(fixed=("manual",)):
        split, method = trial.setting.split_seed, trial.setting.method
        # ppo gets there on two splits of five, genetic on all.
        best = {"random": -0.5, "genetic": -0.4, "ppo": -0.3 if split < 40 else -0.6}.get(method)
        if best is not None:
            trial = replace(trial, trace=((100, -0.9), (4_000 + split, best)))
        trials.append(trial)
    table = summary(trials).set_index("method")
    assert table["reached"].to_dict() == {"random": 5, "genetic": 5, "ppo": 2, "manual": 0}
    assert table["traced"].to_dict() == {"random": 5, "genetic": 5, "ppo": 5, "manual": 0}
    assert table["forwards_to_reach"]["genetic"] == 4_042
    assert np.isnan(table["forwards_to_reach"]["ppo"])
    text = markdown(table.reset_index())
    assert "| 4,042 (5/5) |" in text
    assert "| — (2/5) |" in text
    other = summary(trials, reward=-0.9).set_index("method")
    assert set(other["forwards_to_reach"].dropna()) == {100}
    without = summary([t for t in trials if t.setting.method != "random"])
    assert set(without["traced"]) == {0}
    assert without["forwards_to_reach"].isna().all()
    assert "forwards to train reward -0.9" in markdown(other.reset_index(), reward=-0.9)


def test_failures_have_rows_of_their_own(trials_of):
    lost = Failure(Setting("sst-2", 13, "soft-q", 0, 30_000), "out of memory")
    some = Failure(Setting("sst-2", 21, "ppo", 7, 30_000), "out of memory")
    table = summary(trials_of(), [lost, some])
    assert table["method"].iloc[-1] == "soft-q"
    assert table["failures"].to_list()[-1] == 1
    assert table.set_index("method")["failures"]["ppo"] == 1
    assert np.isnan(table["log_likelihood"].iloc[-1])
    last = markdown(table).splitlines()[-1]
    assert last == "| sst-2 | 30,000 | soft-q | — | — | — | — | — | 0 | 1 | — |"


def test_fixed_prompts_alone_are_a_comparison_too(trials_of):
    table = summary(trials_of(methods=()))
    assert table["budget"].to_list() == [0, 0]
    assert "| sst-2 | — | empty |" in markdown(table)


def test_markdown_is_a_pipe_table(trials_of):
    lines = markdown(summary(trials_of(tasks=("a|b",)))).splitlines()
    assert len(lines) == 2 + 5
    assert {line.replace("\\|", "").count("|") for line in lines} == {12}
    assert all(line.startswith("| ") and line.endswith(" |") for line in lines)
    assert set(lines[1]) <= set("|:- ")
    table = summary(trials_of())
    row = table.iloc[0]
    numbers = f"{row.accuracy:.3f} [{row.accuracy_low:.3f}, {row.accuracy_high:.3f}]"
    assert numbers in markdown(table).splitlines()[2]
    assert f"`' {row.method} \\| says: it was\\n13'`" in markdown(table).splitlines()[2]


def test_prompts_are_quoted_whatever_they_hold():
    assert quote(" It was") == "`' It was'`"
    assert quote("a`b") == "`` 'a`b' ``"
    assert quote("a``b`") == "``` 'a``b`' ```"
    assert quote("a|b") == "`'a\\|b'`"
    assert quote("it's\t") == '`"it\'s\\t"`'
    long = quote("x" * 1_000)
    assert len(long) == 80 + 4
    assert long.endswith("…'`")
    assert escape("a_b|c") == "a\\_b\\|c"


def test_tests_table(trials_of):
    tests = all_tests(trials_of({"genetic": 0.3}, tasks=("a", "b")))
    table = tables.tests_table(tests)
    assert len(table) == 2 * 2 * 10
    assert set(table["family"]) == {20}
    assert (table["difference"] >= 0).all()
    assert (table["low"] <= table["difference"]).all()
    assert (table["adjusted_p"] >= table["p"]).all()
    won = table[(table["one"] == "genetic") & (table["metric"] == "log_likelihood")]
    assert len(won) == 8
    assert won["significant"].all()
    assert set(table["splits"]) == {5}
    assert set(table["items"]) == {200}
    assert list(tables.tests_table([]).columns) == list(table.columns)


def test_a_large_family_can_still_show_something(trials_of):
    names = tuple(f"m{i}" for i in range(24))
    tests = all_tests(
        trials_of({"m0": 1.0}, tasks=("a", "b"), methods=names, fixed=(), splits=(13,), n=40),
        ["log_likelihood"],
    )
    assert len(tests) == 552  # times 1/10,001 is more than 0.05
    assert {test.one for test in tests if test.significant} == {"m0"}


def test_pairs_without_a_common_split_are_left_out(trials_of):
    trials = [
        trial
        for trial in trials_of(splits=(13, 21))
        if (trial.setting.method, trial.setting.split_seed) not in {("ppo", 13), ("random", 21)}
    ]
    tests = all_tests(trials, ["log_likelihood"])
    pairs = [{test.one, test.other} for test in tests]
    assert len(pairs) == 9
    assert {"ppo", "random"} not in pairs
    assert {test.difference.interval.splits for test in tests} == {1, 2}


def test_what_cannot_be_compared_is_refused(trials_of):
    trials = trials_of()
    with pytest.raises(RunError, match=r"There are no trials to report\."):
        summary([])
    lost = Failure(Setting("sst-2", 13, "ppo", 0, 100), "out of memory")
    with pytest.raises(RunError, match="all 1 failed, the first with out of memory"):
        summary([], [lost])
    with pytest.raises(RunError, match=r"two trials of 'ppo' on sst-2, split 13, seed 0"):
        summary([*trials, trials[0]])
    with pytest.raises(RunError, match="other test items"):
        all_tests([*trials[:-1], replace(trials[-1], test_hash="another")])
    with pytest.raises(RunError, match="not finite"):
        summary([replace(trials[0], log_likelihood=np.full(200, -np.inf)), *trials[1:]])
    with pytest.raises(RunError, match="one of each an item"):
        summary([replace(trials[0], correct=np.ones(3)), *trials[1:]])
    fixed = replace(trials[0], setting=Setting("sst-2", 13, "ppo"))
    with pytest.raises(RunError, match="give one of them another name"):
        summary([*trials, fixed])


def test_with_tuned_methods_the_table_says_what_each_takes(trials_of, as_tuned):
    trials = trials_of({"genetic": 0.2})
    assert not {*tables.TAKEN} & {*summary(trials).columns}
    table = summary(as_tuned(trials, "ppo")).set_index("method")
    taken = table.loc["ppo", [*tables.TAKEN]].to_list()
    assert taken == [40, 30_000, 2.5, 1_234, True, False, False]
    text = len(" random | says: it was\n13")  # of two digits on four splits, of three on one
    assert table.loc["random", [*tables.TAKEN]].to_list() == [
        *(0, 30_000, 0, text + 0.2),
        *(False, True, True),
    ]
    assert table.loc["manual", "passes"] == 0
    lines = markdown(table.reset_index()).splitlines()
    titles = [part.strip() for part in lines[0].split("|")]
    assert titles[-8:-1] == [*tables.TAKEN.values()]
    (line,) = [line for line in lines if "| ppo |" in line]
    assert line.endswith("| (5 x 8 numbers) | 40 | 30,000 | 2.5 | 1,234 | yes | no | no |")
    assert {line.replace("\\|", "").count("|") for line in lines} == {12 + 7}


def test_a_failed_method_takes_nothing_that_is_known(trials_of, as_tuned):
    lost = Failure(Setting("sst-2", 13, "lora", 0, 30_000), "out of memory")
    table = summary(as_tuned(trials_of(), "ppo"), [lost])
    last = markdown(table).splitlines()[-1]
    assert last.startswith("| sst-2 | 30,000 | lora |")
    assert last.endswith("| 0 | 1 | — |" + " — |" * 7)
