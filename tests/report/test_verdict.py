import numpy as np
import pytest

from rlprompt.core.errors import RunError
from rlprompt.core.trials import Failure, Setting
from rlprompt.report.pairwise import all_tests
from rlprompt.report.verdict import verdict


def test_nothing_significant_is_said_in_so_many_words(trials_of):
    trials = trials_of({"empty": 0.0})
    # All methods score every item alike but for noise that is far smaller than what is tested.
    text = verdict(trials)
    assert (
        "No difference between any two methods at 30,000 LM forwards is significant at 5 % after "
        "Holm's correction over 10 tests: with 5 splits and 200 items this comparison cannot tell "
        "them apart."
    ) in text
    assert "ppo cannot be told from it (difference " in text[1]
    assert not any("beats" in line or "loses" in line for line in text)


def test_rl_may_differ_from_nothing_while_others_do(trials_of):
    text = verdict(trials_of({"empty": -0.5}), rl=frozenset({"ppo"}))
    [line] = [line for line in text if line.startswith("No difference")]
    assert line.startswith(
        "No difference between ppo and the strongest control, the best fixed prompt or random at "
        "30,000 LM forwards is significant at 5 % after Holm's correction over 10 tests: with 5 "
        "splits and 200 items"
    )


def test_rl_wins(trials_of):
    trials = trials_of({"ppo": 0.3}, methods=("ppo", "soft-q", "genetic", "random"))
    text = verdict(trials, tests=all_tests(trials))
    assert text == verdict(trials)
    against = [line for line in text if line.startswith("sst-2 at 30,000 LM forwards, against")]
    assert {"strongest control" in line or "fixed" in line or "random" in line for line in against}
    for line in against:
        assert "ppo beats it by 0.3" in line or "ppo beats it by 0.2" in line
        assert "soft-q cannot be told from it" in line
    assert not any(line.startswith("No difference") for line in text)


def test_rl_loses(trials_of):
    text = verdict(trials_of({"genetic": 0.3}))
    assert "against genetic, the strongest control: ppo loses to it by " in text[1]
    assert "against random: ppo cannot be told from it" in text[3]


def test_accuracy_is_told_in_points(trials_of):
    text = verdict(trials_of({"genetic": 0.5}), metric="accuracy")
    assert text[0].startswith("Differences are of mean calibrated test accuracy")
    assert " points [" in text[1]


def test_variants_count_as_their_method(trials_of):
    text = verdict(trials_of({"ppo+racing": 0.5}, methods=("ppo+racing", "genetic+racing")))
    assert "against genetic+racing, the strongest control: ppo+racing beats it" in text[1]
    assert "sst-2 at 30,000 LM forwards: random is missing." in text


def test_over_several_tasks_wins_are_counted(trials_of):
    trials = trials_of({"genetic": 0.3}, tasks=("a", "b", "c"), budgets=(100, 900))
    text = verdict(trials)
    [line] = [line for line in text if line.startswith("Over 3 tasks at 900 LM forwards, ppo")]
    assert "against the strongest control 0 won, 3 lost, 0 undecided" in line
    assert "mean rank" in line
    assert line.endswith(" of 5.")


def test_what_is_missing_is_said(trials_of):
    text = verdict(trials_of(methods=("ppo",), fixed=()))
    for role in ("the strongest control", "the best fixed prompt", "random"):
        assert f"sst-2 at 30,000 LM forwards: {role} is missing." in text
    text = verdict(trials_of(methods=("genetic",)))
    assert "no RL method (categorical, ppo, soft-q) has a result" in "\n".join(text)
    assert "without any search" in "\n".join(verdict(trials_of(methods=())))


def test_failures_and_limits_are_said(trials_of):
    failures = [
        Failure(Setting("sst-2", split, "ppo", 1, 30_000), "CUDA out of memory.")
        for split in (13, 21)
    ]
    text = verdict(trials_of(splits=(13,)), failures)
    assert (
        "ppo failed in 2 runs (sst-2; CUDA out of memory): its means are over the others, its "
        "pairs over the splits that both have."
    ) in text
    assert "One split only on sst-2: intervals are over test items" in "\n".join(text)
    assert "with 1 split and 200 items" in "\n".join(text)
    assert "one agent seed" in text[-1]
    several = "\n".join(verdict(trials_of(seeds=(0, 1), splits=tuple(range(10)))))
    assert "one agent seed" not in several
    assert "One split" not in several
    assert "too narrow" not in several


def test_methods_without_a_common_split_are_not_compared(trials_of):
    trials = [
        trial
        for trial in trials_of(splits=(13, 21), methods=("ppo", "genetic"), fixed=())
        if (trial.setting.method == "ppo") == (trial.setting.split_seed == 13)
    ]
    assert "ppo has no split in common with it" in verdict(trials)[1]


def test_items_and_seeds_of_a_failed_method_do_not_break_the_ranks(trials_of):
    lost = Failure(Setting("sst-2", 13, "soft-q", 0, 30_000), "no")
    assert any("soft-q failed in 1 run" in line for line in verdict(trials_of(), [lost]))


def test_no_trials_are_refused():
    with pytest.raises(RunError, match="no trials"):
        verdict([])


def test_the_numbers_are_those_of_the_trials(trials_of):
    trials = trials_of({"genetic": 0.3})
    mean = {
        name: np.mean([t.log_likelihood.mean() for t in trials if t.setting.method == name])
        for name in ("ppo", "genetic")
    }
    assert f"loses to it by {mean['genetic'] - mean['ppo']:.3f} nats [" in verdict(trials)[1]


def test_the_best_tuned_method_against_the_best_text_prompt(trials_of, as_tuned):
    methods = ("ppo", "genetic", "random", "lora", "soft-prompt")
    trials = trials_of({"lora": 0.3, "genetic": 0.1}, methods=methods)
    text = verdict(as_tuned(trials, "lora", "soft-prompt"))
    [line] = [line for line in text if "tuned" in line]
    assert line.startswith(
        "sst-2 at 30,000 LM forwards, the best tuned method against genetic, the best text prompt: "
        "lora beats it by 0."
    )
    # What is tuned is no control, however good.
    assert "against genetic, the strongest control: " in text[1]
    text = verdict(as_tuned(trials_of({"lora": -0.3}, methods=("ppo", "lora")), "lora"))
    assert any("the best text prompt: lora loses to it by 0." in line for line in text)
    # Prompts that nobody learned are text too.
    text = verdict(as_tuned(trials_of(methods=("lora",), fixed=("manual",)), "lora"))
    assert any("against manual, the best text prompt: lora cannot be told" in line for line in text)


def test_without_both_nothing_is_said_of_tuning(trials_of, as_tuned):
    assert not any("tuned" in line for line in verdict(trials_of()))
    alone = as_tuned(trials_of(methods=("lora",), fixed=()), "lora")
    assert not any("tuned" in line for line in verdict(alone))
