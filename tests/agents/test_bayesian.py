"""What the Gaussian-process screen promises beyond what every agent does."""

import warnings

import numpy as np
import pytest

from rlprompt.agents import bayesian
from rlprompt.agents.protocol import make_agent
from rlprompt.core.errors import ConfigError

pytest.importorskip("sklearn")

from rlprompt.agents.screening import Surrogate, token_features, vary


@pytest.mark.parametrize("seed", range(5))
def test_finds_the_planted_prompt_where_random_draws_do_not(seed, planted):
    screened, drawn = (planted(64, 3, prompts=360, seed=seed) for _ in range(2))
    screened.solve(make_agent("bayesian", {}), seed)
    drawn.solve(make_agent("random", {}), seed)
    best = screened.objective.archive.best
    assert best.prompt == screened.lm.optimum
    assert best.reward > drawn.objective.archive.best.reward


def scored(given, prompts):
    """Rewards of prompts, given as rows of actions."""
    found = given.objective.evaluate([given.problem.prompt(row.tolist()) for row in prompts])
    return np.array([each.reward for each in found])


def ranks(values):
    return values.argsort().argsort()


@pytest.mark.parametrize("length", [1, 3])
@pytest.mark.parametrize("most_points", [60, 400])
def test_the_surrogate_ranks_prompts_that_it_was_not_fitted_to(length, most_points, planted):
    given = planted(64, length, prompts=400)
    generator = np.random.default_rng(1)
    prompts = np.unique(generator.integers(0, 64, (350, length)), axis=0)
    generator.shuffle(prompts)
    rewards = scored(given, prompts)
    half = len(prompts) // 2
    features = token_features(given.lm.embeddings(given.problem.vocabulary.token_ids), 32)
    surrogate = Surrogate(features, length, most_points=most_points)
    surrogate.fit(prompts[:half], rewards[:half])
    mean, deviation = surrogate.predict(prompts[half:])
    assert np.corrcoef(ranks(mean), ranks(rewards[half:]))[0, 1] > 0.5
    assert (deviation > 0).all()


def test_the_surrogate_is_surer_of_what_it_was_fitted_to(planted):
    given = planted(64, 3, prompts=200)
    prompts = np.random.default_rng(1).integers(0, 64, (120, 3))
    surrogate = Surrogate(token_features(given.lm.embeddings(range(1, 65)), 8), 3)
    surrogate.fit(prompts[:60], scored(given, prompts[:60]))
    _, deviation = surrogate.predict(prompts)
    assert deviation[:60].max() < deviation[60:].mean()


@pytest.mark.parametrize("rewards", [[0.5], [0.5, 0.5, 0.5], [1.0, -1e6, 1.0]])
def test_the_surrogate_takes_any_rewards_and_warns_of_nothing(rewards):
    prompts = np.arange(len(rewards) * 2).reshape(-1, 2)
    surrogate = Surrogate(token_features(np.eye(8), 4), 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        surrogate.fit(prompts, np.array(rewards))
        mean, deviation = surrogate.predict(prompts)
    assert np.isfinite(mean).all()
    assert np.isfinite(deviation).all()


def test_many_points_are_thinned_to_the_best_and_the_newest():
    surrogate = Surrogate(np.eye(4), 2, most_points=4)
    rewards = np.array([9.0, 0.0, 8.0, 1.0, 2.0, 0.5])
    assert surrogate._choose(rewards, 4).tolist() == [0, 2, 4, 5]
    assert surrogate._choose(rewards, 6).tolist() == [0, 1, 2, 3, 4, 5]


def test_token_features_have_unit_variance_and_at_most_the_rank():
    rows = np.random.default_rng(0).normal(size=(40, 3)) @ np.diag([9.0, 3.0, 1.0])
    features = token_features(rows @ np.random.default_rng(1).normal(size=(3, 10)), 8)
    assert features.shape == (40, 3)
    assert np.allclose(features.T @ features / 40, np.eye(3))
    assert token_features(rows, 2).shape == (40, 2)
    assert np.isfinite(token_features(np.ones((5, 3)), 2)).all()


def test_children_differ_from_a_parent_in_as_many_tokens_as_allowed():
    parent = np.array([[7, 7, 7, 7]])
    children = vary(parent, 500, 1000, np.random.default_rng(0), most_mutations=2)
    changed = (children != 7).sum(axis=1)
    assert set(changed.tolist()) == {1, 2}
    assert len(np.unique(children, axis=0)) == len(children) > 450


def test_crossover_takes_tokens_of_two_parents_in_their_places():
    parents = np.array([[1, 2, 3, 4], [11, 12, 13, 14]])
    generator = np.random.default_rng(0)
    children = vary(parents, 500, 10**6, generator, crossover=1.0, most_mutations=1)
    inherited = (children[:, None] == parents).any(axis=1)
    assert (inherited.sum(axis=1) == 3).all()
    mixed = (children[:, None] == parents).any(axis=2).all(axis=1)
    assert mixed.mean() > 0.25
    alone = vary(parents, 500, 10**6, generator, crossover=0.0, most_mutations=1)
    assert not (alone[:, None] == parents).any(axis=2).all(axis=1).any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, r"^batch_size must be 1 or more, not 0\.$"),
        ({"proposals": 0}, r"^proposals must be 1 or more, not 0\.$"),
        ({"most_points": 1}, r"^most_points must be 2 or more, not 1\.$"),
        ({"exploration": -1}, r"^exploration must be 0 or more, not -1\.$"),
        ({"exploration": float("nan")}, r"^exploration must be 0 or more, not nan\.$"),
        ({"crossover": 2}, r"^crossover must lie in \[0, 1\], not 2\.$"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        make_agent("bayesian", settings)


def test_a_missing_package_is_named_with_its_cure(monkeypatch):
    monkeypatch.setattr(bayesian, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"scikit-learn: pip install 'rlprompt\[search\]'"):
        make_agent("bayesian", {})


@pytest.mark.parametrize(
    "settings", [{"batch_size": 1, "initial": 1, "elites": 1, "proposals": 1}, {"most_points": 2}]
)
def test_the_smallest_settings_spend_the_budget_too(settings, planted):
    given = planted(prompts=40)
    given.solve(make_agent("bayesian", settings))
    assert given.objective.remaining == 0
