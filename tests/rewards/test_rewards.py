import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rlprompt.core.evaluation import (
    Evaluation,
    calibrate,
    correct,
    fit_calibration,
    gold_logprobs,
    log_softmax,
)
from rlprompt.rewards import REWARDS
from rlprompt.rewards.functions import (
    accuracy,
    calibrated_log_likelihood,
    calibrated_probability,
    log_likelihood,
    piecewise_gap,
)

FLOATS = st.floats(-20, 20, width=32)


@st.composite
def evaluations(draw):
    shape = (draw(st.integers(1, 12)), draw(st.integers(2, 4)))
    scores = draw(arrays(np.float64, shape, elements=FLOATS))
    gold = draw(arrays(np.int64, shape[0], elements=st.integers(0, shape[1] - 1)))
    return Evaluation(log_softmax(scores), gold)


def _evaluation(probabilities, gold):
    return Evaluation(np.log(np.asarray(probabilities)), np.asarray(gold))


# Label 0 is favoured: one of two right without calibration, both with it.
BIASED = _evaluation([[0.9, 0.1], [0.6, 0.4]], [0, 1])


def test_log_likelihood_by_hand():
    assert log_likelihood(BIASED) == pytest.approx((math.log(0.9) + math.log(0.4)) / 2)
    assert log_likelihood(_evaluation([[0.5, 0.5]], [0])) == pytest.approx(-math.log(2))


def test_calibrated_rewards_by_hand():
    # Log-odds of label 0: log 9 and log 1.5; their mean log(sqrt(13.5)) is the bias.
    first, second = 9 / math.sqrt(13.5), 1.5 / math.sqrt(13.5)
    expected = (math.log(first / (1 + first)) + math.log(1 / (1 + second))) / 2
    assert calibrated_log_likelihood(BIASED) == pytest.approx(expected)
    probabilities = [first / (1 + first), 1 / (1 + second)]
    assert calibrated_probability(BIASED) == pytest.approx(sum(probabilities) / 2)
    assert accuracy(BIASED) == 1.0
    assert correct(BIASED.logprobs, BIASED.gold).tolist() == [1.0, 0.0]


def test_piecewise_gap_by_hand():
    # Gaps 0.8 (right, 200 fold) and -0.2 (wrong, 180 fold).
    assert piecewise_gap(BIASED) == pytest.approx((200 * 0.8 - 180 * 0.2) / 2)
    three = _evaluation([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]], [2, 2])
    assert piecewise_gap(three) == pytest.approx((180 * -0.2 + 200 * 0.7) / 2)
    assert piecewise_gap(_evaluation([[0.5, 0.5]], [1])) == 0.0


def test_a_bias_fitted_elsewhere_is_used():
    moved = Evaluation(BIASED.logprobs, BIASED.gold, np.asarray([1.0, -1.0]))
    np.testing.assert_allclose(moved.calibrated, log_softmax(BIASED.logprobs - [1.0, -1.0]))
    same = Evaluation(BIASED.logprobs, BIASED.gold, np.zeros(2))
    assert calibrated_log_likelihood(same) == pytest.approx(log_likelihood(BIASED))


def test_one_confident_mistake_costs_a_probability_an_example_at_most():
    sure = Evaluation(log_softmax(np.asarray([[0.0, 40.0]] + [[3.0, 0.0]] * 9)), np.zeros(10, int))
    sure = Evaluation(sure.logprobs, sure.gold, np.zeros(2))
    assert calibrated_log_likelihood(sure) < -4
    assert calibrated_probability(sure) == pytest.approx(0.9 / (1 + math.exp(-3)), abs=1e-6)


def test_calibration_of_one_example_leaves_nothing():
    np.testing.assert_allclose(_evaluation([[0.9, 0.1]], [0]).calibrated, np.log([[0.5, 0.5]]))


@given(evaluations())
def test_the_bias_has_mean_zero_and_is_taken_out(evaluation):
    assert evaluation.bias.mean() == pytest.approx(0, abs=1e-9)
    assert evaluation.bias.shape == evaluation.logprobs.shape[1:]
    rest = evaluation.logprobs - evaluation.bias
    np.testing.assert_allclose(fit_calibration(rest), 0, atol=1e-9)
    np.testing.assert_allclose(np.logaddexp.reduce(evaluation.calibrated, axis=1), 0, atol=1e-9)


@given(evaluations(), arrays(np.float64, 4, elements=FLOATS))
def test_a_constant_on_each_label_changes_no_calibrated_score(evaluation, constants):
    constant = constants[: evaluation.logprobs.shape[1]]
    moved = Evaluation(log_softmax(evaluation.logprobs + constant), evaluation.gold)
    np.testing.assert_allclose(moved.calibrated, evaluation.calibrated, atol=1e-8)
    assert calibrated_log_likelihood(moved) == pytest.approx(calibrated_log_likelihood(evaluation))


@given(evaluations())
def test_ranges(evaluation):
    assert log_likelihood(evaluation) <= 1e-12
    assert calibrated_log_likelihood(evaluation) <= 1e-12
    assert 0 <= accuracy(evaluation) <= 1
    assert 0 <= calibrated_probability(evaluation) <= 1
    assert -180 <= piecewise_gap(evaluation) <= 200
    assert all(math.isfinite(REWARDS.get(name)(evaluation)) for name in REWARDS)


@given(evaluations(), st.floats(0.01, 5))
def test_more_for_the_right_label_is_never_less_reward(evaluation, more):
    scores = evaluation.logprobs.copy()
    scores[0, evaluation.gold[0]] += more
    better = Evaluation(log_softmax(scores), evaluation.gold, evaluation.bias)
    for name in REWARDS:
        reward = REWARDS.get(name)
        assert reward(better) >= reward(evaluation) - 1e-9
    assert log_likelihood(better) >= log_likelihood(evaluation)


@given(evaluations(), st.randoms(use_true_random=False))
def test_the_order_of_examples_and_of_labels_does_not_matter(evaluation, random):
    rows = random.sample(range(len(evaluation.gold)), len(evaluation.gold))
    n_labels = evaluation.logprobs.shape[1]
    labels = np.asarray(random.sample(range(n_labels), n_labels))
    other = Evaluation(
        evaluation.logprobs[rows][:, labels], np.argsort(labels)[evaluation.gold[rows]]
    )
    for name in set(REWARDS) - {"accuracy"}:  # of equal scores the first label wins
        reward = REWARDS.get(name)
        assert reward(other) == pytest.approx(reward(evaluation))


@given(evaluations())
def test_rewards_change_nothing(evaluation):
    before = evaluation.logprobs.copy(), evaluation.gold.copy(), evaluation.bias.copy()
    for name in REWARDS:
        assert REWARDS.get(name)(evaluation) == REWARDS.get(name)(evaluation)
    for old, new in zip(
        before, (evaluation.logprobs, evaluation.gold, evaluation.bias), strict=True
    ):
        np.testing.assert_array_equal(old, new)


def test_every_reward_prefers_the_right_labels():
    right = _evaluation([[0.8, 0.2], [0.1, 0.9]], [0, 1])
    wrong = _evaluation([[0.8, 0.2], [0.1, 0.9]], [1, 0])
    assert set(REWARDS) >= {"calibrated_log_likelihood", "accuracy", "piecewise_gap"}
    for name in REWARDS:
        assert REWARDS.get(name)(right) > REWARDS.get(name)(wrong)
        assert REWARDS.summary(name)


@pytest.mark.parametrize(
    ("logprobs", "gold"), [(np.zeros((2, 2)), np.zeros(3, int)), (np.zeros(2), np.zeros(2, int))]
)
def test_shapes_that_do_not_fit_are_refused(logprobs, gold):
    with pytest.raises(ValueError, match=r"must be \(n_examples, n_labels\) and \(n_examples,\)"):
        Evaluation(logprobs, gold)


def test_arithmetic_on_extreme_scores():
    scores = np.asarray([[1000.0, 0.0], [-1000.0, -1000.0]])
    np.testing.assert_allclose(log_softmax(scores), [[0, -1000], [-math.log(2)] * 2])
    np.testing.assert_allclose(gold_logprobs(scores, np.asarray([1, 0])), [0.0, -1000.0])
    np.testing.assert_allclose(
        calibrate(log_softmax(scores), np.zeros(2)), log_softmax(scores), atol=1e-9
    )
