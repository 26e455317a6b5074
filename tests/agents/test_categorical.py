"""BDPL's arithmetic against numbers worked out by hand, and what it learns."""

import numpy as np
import pytest

from rlprompt.agents.categorical import Categorical, draw, policy_gradient, project_to_simplex
from rlprompt.agents.protocol import make_agent
from rlprompt.core.errors import ConfigError


@pytest.mark.parametrize("seed", range(5))
def test_beats_random_draws_on_a_planted_prompt(seed, planted):
    learned, drawn = (planted(64, 3, prompts=360, seed=seed) for _ in range(2))
    learned.solve(make_agent("categorical", {}), seed)
    drawn.solve(make_agent("random", {}), seed)
    assert learned.objective.archive.best.reward > drawn.objective.archive.best.reward


def test_the_gradient_is_the_papers():
    """One position, three tokens, two samples of losses 1 and 3, so -1 and 1 about the mean.

    By the paper's signs: -(2, -4, -4) for the first sample of token 0 with p = (1/2, 1/4, 1/4),
    +(-2, 4, -4) for the second of token 1: (-4, 8, 0), over I - 1 = 1.
    """
    probabilities = np.array([[0.5, 0.25, 0.25]])
    gradient = policy_gradient(probabilities, np.array([[0], [1]]), np.array([1.0, 3.0]))
    assert gradient.tolist() == [[-4.0, 8.0, 0.0]]


def test_the_gradient_is_the_papers_sum_over_samples_and_positions():
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(5), size=3)
    prompts, losses = draw(probabilities, 20, generator), generator.normal(size=20)
    expected = np.zeros((3, 5))
    for prompt, loss in zip(prompts, losses, strict=True):
        signs = np.where(np.arange(5) == prompt[:, None], 1, -1)
        expected += (loss - losses.mean()) * signs / probabilities / 19
    assert np.allclose(policy_gradient(probabilities, prompts, losses), expected)


def test_a_step_equals_one_worked_out_by_hand():
    """Losses over their deviation, sqrt(2): gradient (-4, 8, 0) / sqrt(2), of norm sqrt(40).

    Clipped to norm 1: (-4, 8, 0) / sqrt(80). Half of it off (.5, .25, .25): (.7236, -.1972, .25).
    Onto the simplex: the two positive ones exceed 1 by -.0264, so each gains .0132 off the top.
    """
    agent = Categorical(learning_rate=0.5, max_gradient_norm=1.0)
    after = agent.step(np.array([[0.5, 0.25, 0.25]]), np.array([[0], [1]]), np.array([1.0, 3.0]))
    half = 2 / np.sqrt(80)
    surplus = (0.5 + half + 0.25 - 1) / 2
    assert np.allclose(after, [[0.5 + half - surplus, 0.0, 0.25 - surplus]])


def test_equal_losses_move_nothing():
    probabilities = np.array([[0.5, 0.25, 0.25]])
    after = Categorical().step(probabilities, np.array([[0], [1]]), np.array([2.0, 2.0]))
    assert np.allclose(after, probabilities)


def test_probabilities_stay_on_the_simplex_and_a_dead_token_has_no_gradient():
    generator = np.random.default_rng(0)
    agent = Categorical(learning_rate=0.3)
    probabilities = np.full((4, 9), 1 / 9)
    for _ in range(60):
        prompts = draw(probabilities, agent.batch_size, generator)
        assert (np.take_along_axis(probabilities, prompts.T, axis=1) > 0).all()
        probabilities = agent.step(probabilities, prompts, generator.normal(size=len(prompts)))
        assert (probabilities >= 0).all()
        assert np.allclose(probabilities.sum(axis=1), 1)
    assert (probabilities == 0).any()


@pytest.mark.parametrize(
    ("row", "nearest"),
    [
        ([0.2, 0.3, 0.5], [0.2, 0.3, 0.5]),
        ([1.0, 1.0, 1.0], [1 / 3, 1 / 3, 1 / 3]),
        ([5.0, 0.0, -5.0], [1.0, 0.0, 0.0]),
        ([0.8, 0.6, -1.0], [0.6, 0.4, 0.0]),
        ([-3.0], [1.0]),
    ],
)
def test_projections_known_beforehand(row, nearest):
    assert np.allclose(project_to_simplex(np.array([row])), [nearest])


def test_draws_follow_the_probabilities():
    probabilities = np.array([[0.7, 0.0, 0.3], [0.0, 1.0, 0.0]])
    drawn = draw(probabilities, 4000, np.random.default_rng(0))
    shares = [[(drawn[:, i] == j).mean() for j in range(3)] for i in range(2)]
    assert np.allclose(shares, probabilities, atol=0.03)
    assert shares[0][1] == shares[1][0] == shares[1][2] == 0


def test_starts_again_from_uniform_when_it_draws_nothing_new(planted):
    given = planted(64, 3, prompts=1000, n_train=2, stall_calls=10)
    given.solve(make_agent("categorical", {"learning_rate": 1.0, "patience": 3}))
    assert given.objective.remaining == 0
    certain = [e.metrics["max_probability"] for e in given.events]
    assert max(certain) == pytest.approx(1)
    starts = [n for n, c in enumerate(certain) if c == pytest.approx(1 / 64)]
    assert len(starts) > 2
    assert all(given.events[n - 1].metrics["new"] == 0 for n in starts[1:])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 1}, r"^batch_size must be 2 or more, not 1: the baseline is the mean\.$"),
        ({"patience": 0}, r"^patience must be 1 or more, not 0\.$"),
        ({"learning_rate": 0.0}, r"^learning_rate must be positive, not 0\.0\.$"),
        ({"learning_rate": float("inf")}, r"^learning_rate must be positive, not inf\.$"),
        ({"max_gradient_norm": -1}, r"^max_gradient_norm must be positive, not -1\.$"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        make_agent("categorical", settings)
