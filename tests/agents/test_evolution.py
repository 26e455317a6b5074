"""Hill climbing and genetic search find planted prompts, and never pay for the same one twice."""

from functools import cache
from itertools import islice

import pytest

from rlprompt.agents.genetic import Genetic
from rlprompt.agents.hill_climb import HillClimb
from rlprompt.agents.moves import Search
from rlprompt.agents.protocol import make_agent
from rlprompt.core.errors import BudgetExhausted, ConfigError
from rlprompt.core.prompt import Prompt
from rlprompt.objective.objective import Objective

SEEDS = range(5)
both = pytest.mark.parametrize("name", ["hill-climb", "genetic"])


@pytest.fixture(scope="module")
def bests():
    """Keeps the best rewards of random search, for all that are compared with it."""

    @cache
    def best_of_random(planted, prompts, seed):
        given = planted(64, 3, prompts=prompts, seed=seed)
        given.solve(make_agent("random", {}), seed)
        return given.objective.archive.best.reward

    return best_of_random


def test_prompts_that_no_actions_write_have_none(planted):
    problem = planted().problem
    search = Search(problem, seed=0, on_event=lambda event: None)
    prompt = problem.prompt([3, 1, 2])
    assert search.actions_of(prompt) == (3, 1, 2)
    assert search.actions_of(Prompt(prompt.ids, sizes=(1,))) is None


@pytest.fixture
def batches(monkeypatch):
    """What was scored, batch by batch, and which of it was known before."""
    seen = []
    evaluate = Objective.evaluate

    def spy(self, prompts):
        seen.append((list(prompts), [p for p in prompts if p in self.archive]))
        return evaluate(self, prompts)

    monkeypatch.setattr(Objective, "evaluate", spy)
    return seen


@pytest.mark.parametrize(
    ("name", "prompts", "at_least"),
    # Genetic search keeps an elite of twelve, so it is the slower one where tokens do not interact.
    [("hill-climb", 360, 4), ("genetic", 1600, 4)],
)
def test_finds_one_of_262144_planted_prompts(name, prompts, at_least, planted):
    found = 0
    for seed in SEEDS:
        given = planted(64, 3, prompts=prompts, seed=seed)
        given.solve(make_agent(name, {}), seed)
        found += given.objective.archive.best.prompt == given.lm.optimum
    assert found >= at_least


@both
@pytest.mark.parametrize("seed", SEEDS)
def test_beats_random_on_every_seed(name, seed, planted, bests):
    given = planted(64, 3, prompts=360, seed=seed)
    given.solve(make_agent(name, {}), seed)
    assert given.objective.archive.best.reward > bests(planted, 360, seed) + 0.02


@both
def test_proposes_no_prompt_twice(name, planted, batches):
    planted(16, 3, prompts=300).solve(make_agent(name, {}))
    assert sum(len(batch) for batch, _ in batches) >= 300
    for batch, known in batches:
        assert not known
        assert len(set(batch)) == len(batch)
        assert {len(prompt) for prompt in batch} == {3}


@both
@pytest.mark.parametrize("settings", [{"batch_size": 1}, {"batch_size": 50}])
def test_any_batch_size_spends_the_budget(name, settings, planted):
    given = planted(prompts=37)
    assert isinstance(given.solve(make_agent(name, settings)), BudgetExhausted)
    assert given.objective.remaining == 0


def _differences(one, other):
    return sum(a != b for a, b in zip(one, other, strict=True))


def test_hill_climb_moves_one_token_at_a_time_and_only_upwards(planted, batches):
    given = planted(64, 4, prompts=200)
    given.solve(HillClimb(patience=1000))
    rewards = dict(given.rewards)
    (first, _), *rest = batches[:-1]
    place = max(first, key=rewards.get)
    moves = 0
    for batch, _ in rest:
        assert {_differences(prompt.ids, place.ids) for prompt in batch} == {1}
        best = max(batch, key=rewards.get)
        if rewards[best] > rewards[place]:
            place = best
            moves += 1
    assert moves >= 3


def test_hill_climb_starts_anew_when_its_patience_is_over(planted, batches):
    given = planted(16, 4, prompts=400)
    given.solve(HillClimb(patience=2))
    rewards = dict(given.rewards)
    starts, place, failures = 0, None, 2
    for batch, _ in batches[:-1]:
        best = max(batch, key=rewards.get)
        if failures == 2:
            # Random prompts differ from each other in more tokens than neighbours do.
            assert max(_differences(a.ids, b.ids) for a in batch for b in batch) > 2
            starts, place, failures = starts + 1, best, 0
        elif rewards[best] > rewards[place]:
            place, failures = best, 0
        else:
            failures += 1
    assert starts >= 3
    assert given.objective.archive.best.reward == max(rewards.values())


def test_genetic_begins_at_random_and_goes_on_from_the_elite(planted, batches):
    given = planted(64, 4, prompts=160)
    given.solve(Genetic(crossover=0.0))
    found = dict(given.rewards)
    for n, (children, _) in enumerate(batches[1:-1], start=1):
        before = {prompt for batch, _ in batches[:n] for prompt in batch}
        elite = sorted(before, key=found.get, reverse=True)[:12]
        for child in children:
            assert 1 <= min(_differences(child.ids, parent.ids) for parent in elite) <= 2


def test_genetic_crosses_position_by_position(planted, batches):
    given = planted(64, 6, prompts=48)
    given.solve(Genetic(crossover=1.0, most_mutations=1))
    (parents, _), (children, _) = islice(batches, 2)
    far = 0
    for child in children:
        foreign = [
            token
            for position, token in enumerate(child.ids)
            if token not in {parent.ids[position] for parent in parents}
        ]
        assert len(foreign) <= 1
        far += min(_differences(child.ids, parent.ids) for parent in parents) > 1
    assert far >= len(children) // 2


def test_genetic_takes_no_shorter_prompt_for_a_parent(planted, batches):
    given = planted(16, 3, prompts=100)
    given.objective.evaluate([Prompt((token,)) for token in range(1, 17)])
    assert len(given.objective.archive) == 16
    batches.clear()
    given.solve(Genetic())
    assert {len(prompt) for batch, _ in batches for prompt in batch} == {3}


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("hill-climb", {"batch_size": 0}, r"^batch_size must be 1 or more, not 0\.$"),
        ("hill-climb", {"patience": 0}, r"^patience must be 1 or more, not 0\.$"),
        ("genetic", {"batch_size": 0}, r"^batch_size must be 1 or more, not 0\.$"),
        ("genetic", {"elites": 0}, r"^elites must be 1 or more, not 0\.$"),
        ("genetic", {"most_mutations": 0}, r"^most_mutations must be 1 or more, not 0\.$"),
        ("genetic", {"crossover": 1.5}, r"^crossover must lie in \[0, 1\], not 1\.5\.$"),
        ("genetic", {"crossover": float("nan")}, "crossover must lie in"),
    ],
)
def test_what_cannot_be_meant_is_refused(name, settings, message):
    with pytest.raises(ConfigError, match=message):
        make_agent(name, settings)
