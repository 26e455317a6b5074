"""Searches that begin with single tokens: single-token, greedy, beam, and what they share."""

from itertools import islice, pairwise, product

import numpy as np
import pytest

from rlprompt.agents import beam as beam_module
from rlprompt.agents import pruning
from rlprompt.agents.beam import Beam, extend
from rlprompt.agents.greedy import Greedy
from rlprompt.agents.moves import Search
from rlprompt.agents.protocol import make_agent
from rlprompt.agents.pruning import prune, representatives, single_token_effects
from rlprompt.agents.single_token import SingleToken, combinations
from rlprompt.core.errors import BudgetExhausted, ConfigError

NAMES = ["single-token", "greedy", "beam"]


def search_of(given, seed=0, batch_size=16):
    return Search(given.problem, seed=seed, on_event=given.events.append, batch_size=batch_size)


@pytest.fixture
def extensions(monkeypatch):
    """Records how often which beam was extended by which tokens."""
    calls = []

    def recording(search, beam, tokens):
        calls.append((list(beam), list(tokens)))
        return extend(search, beam, tokens)

    monkeypatch.setattr(beam_module, "extend", recording)
    return calls


class TestSingleToken:
    def test_every_token_before_any_pair_where_the_share_allows(self, planted):
        given = planted(vocab_size=64, prompts=128)
        given.solve(SingleToken(share=0.5))
        assert [prompt.ids for prompt, _ in given.rewards[:64]] == [(i,) for i in range(1, 65)]
        assert len(given.rewards[64][0]) > 1

    def test_else_the_most_frequent_ones(self, planted):
        given = planted(vocab_size=64, prompts=60)
        given.solve(SingleToken(share=0.25, top_k=2))
        assert [prompt.ids for prompt, _ in given.rewards[:15]] == [(i,) for i in range(1, 16)]
        assert len(given.rewards[15][0]) > 1

    def test_combines_the_best_the_greatest_sum_first(self, planted):
        given = planted(vocab_size=32, prompts=64)
        given.solve(SingleToken(top_k=3))
        effects = {prompt.ids[0]: reward for prompt, reward in given.rewards[:32]}
        best = sorted(effects, key=effects.get, reverse=True)[:3]
        combined = [prompt.ids for prompt, _ in given.rewards[32:] if len(prompt) == 3][: 3**3]
        assert set(combined) == set(product(best, repeat=3))

    def test_sums_fall(self, planted):
        given = planted(vocab_size=32, prompts=64)
        given.solve(SingleToken(top_k=4, batch_size=1))
        effects = {prompt.ids[0]: reward for prompt, reward in given.rewards[:32]}
        combined = [prompt.ids for prompt, _ in given.rewards[32:] if len(prompt) == 3]
        sums = [sum(effects[i] for i in ids) for ids in combined]
        assert len(combined) == 32
        assert all(one >= other - 1e-9 for one, other in pairwise(sums))

    def test_climbs_when_all_are_combined(self, planted):
        given = planted(vocab_size=64, prompts=360)
        given.solve(SingleToken(top_k=2))
        first = {token for prompt, _ in given.rewards[64:72] for token in prompt.ids}
        assert len(first) == 2
        assert given.objective.remaining == 0
        assert len({token for prompt, _ in given.rewards[72:] for token in prompt.ids}) > 10


class TestCombinations:
    def test_are_all_the_tuples_once(self):
        effects = [(5, 0.9), (2, 0.2), (9, 0.2), (0, -1.5)]
        found = list(combinations(effects, 4, np.random.default_rng(0)))
        assert len(found) == 4**4
        assert set(found) == set(product([5, 2, 9, 0], repeat=4))
        sums = [round(sum(dict(effects)[token] for token in tokens), 9) for tokens in found]
        assert sums == sorted(sums, reverse=True)

    def test_are_not_materialised(self):
        effects = [(token, -0.1 * token) for token in range(100)]
        found = list(islice(combinations(effects, 50, np.random.default_rng(0)), 100))
        assert found[0] == (0,) * 50
        assert {sum(tokens) for tokens in found[1:51]} == {1}

    def test_of_equal_sum_come_in_an_order_of_the_seed(self):
        effects = [(token, -0.1 * token) for token in range(4)]
        first, again, other = (
            list(combinations(effects, 4, np.random.default_rng(seed))) for seed in (1, 1, 2)
        )
        assert first == again != other

    @pytest.mark.parametrize(("k", "length", "count"), [(1, 3, 1), (3, 1, 3)])
    def test_smallest(self, k, length, count):
        effects = [(token, -float(token)) for token in range(k)]
        assert len(list(combinations(effects, length, np.random.default_rng(0)))) == count


class TestPruning:
    def test_scores_all_where_the_share_allows_and_puts_the_best_first(self, planted):
        given = planted(vocab_size=32, prompts=64)
        kept = prune(search_of(given), 0.5)
        rewards = {prompt.ids[0] - 1: reward for prompt, reward in given.rewards}
        assert kept == sorted(rewards, key=rewards.get, reverse=True)
        assert len(kept) == 32
        # The planted first token does most on its own.
        assert kept[0] == given.lm.optimum.ids[0] - 1

    def test_else_one_token_for_each_cluster(self, planted):
        given = planted(vocab_size=64, prompts=40)
        kept = prune(search_of(given), 0.5)
        rewards = {prompt.ids[0] - 1: reward for prompt, reward in given.rewards}
        assert given.objective.ledger.forwards == 20 * 16
        assert kept == sorted(rewards, key=rewards.get, reverse=True)
        assert len(kept) == 20

    @pytest.mark.parametrize("prompts", [40, 400])
    def test_is_determined_by_the_seed(self, prompts, planted):
        first, again, other = (planted(vocab_size=64, prompts=prompts) for _ in range(3))
        kept = [prune(search_of(g, s), 0.5) for g, s in ((first, 3), (again, 3), (other, 4))]
        assert kept[0] == kept[1]
        assert first.rewards == again.rewards != other.rewards

    def test_ties_are_broken_by_the_seed(self, planted, monkeypatch):
        orders = []
        for seed in (1, 1, 2):
            given = planted(vocab_size=32, prompts=64)
            monkeypatch.setattr(given.objective, "_reward", lambda evaluation: 0.5)
            orders.append(prune(search_of(given, seed), 1.0))
        assert orders[0] == orders[1] != orders[2]

    def test_effects_keep_the_given_order_of_equals(self, planted, monkeypatch):
        given = planted(vocab_size=8)
        monkeypatch.setattr(given.objective, "_reward", lambda evaluation: 0.5)
        found = single_token_effects(search_of(given), [3, 1, 2])
        assert found == [(3, 0.5), (1, 0.5), (2, 0.5)]

    def test_buys_one_token_with_the_last_prompt(self, planted):
        given = planted(vocab_size=64, prompts=1)
        assert len(prune(search_of(given), 0.1)) == 1


class TestRepresentatives:
    def test_are_the_rows_nearest_the_centroids(self):
        rng = np.random.default_rng(0)
        offsets = rng.normal(size=(10, 4))
        cluster = np.concatenate([offsets, -offsets, np.full((1, 4), 0.01)])
        rows = np.concatenate([cluster + 100 * n for n in range(5)])
        # The row next to the middle is the last of each 21.
        assert representatives(rows, 5, seed=0) == [20, 41, 62, 83, 104]

    @pytest.mark.parametrize("count", [1, 7, 49, 50])
    def test_are_as_many_as_asked_for(self, count):
        rows = np.random.default_rng(1).normal(size=(50, 6))
        found = representatives(rows, count, seed=2)
        assert len(set(found)) == count
        assert found == representatives(rows, count, seed=2)

    def test_equal_rows_count_once(self):
        rows = np.repeat(np.random.default_rng(1).normal(size=(5, 6)), 4, axis=0)
        assert representatives(rows, 10, seed=0) == [0, 4, 8, 12, 16]
        assert set(representatives(rows, 3, seed=0)) < {0, 4, 8, 12, 16}

    def test_blind_to_the_state_of_global_generators(self):
        rows = np.random.default_rng(1).normal(size=(200, 6))
        np.random.seed(1)  # noqa: NPY002 - the state that must not matter
        first = representatives(rows, 30, seed=0)
        np.random.seed(2)  # noqa: NPY002
        assert first == representatives(rows, 30, seed=0)


class TestBeam:
    def test_extends_every_prefix_by_every_token(self, planted):
        given = planted(vocab_size=8)
        found = extend(search_of(given), [(0,), (5, 5)], [1, 2, 3])
        assert set(found) == {(0, 1), (0, 2), (0, 3), (5, 5, 1), (5, 5, 2), (5, 5, 3)}
        known = dict(given.rewards)
        rewards = [known[given.problem.prompt(list(actions))] for actions in found]
        assert rewards == sorted(rewards, reverse=True)

    def test_the_first_token_behind_a_paid_prefix_is_free(self, planted):
        given = planted(vocab_size=8)
        search = search_of(given)
        search.score([(0,), (1,)])
        extend(search, [(0,), (1,)], [2, 3, 4])
        assert given.objective.ledger.forwards == 2 * 3 * 16

    @pytest.mark.parametrize("prompts", [50, 200, 400])
    def test_of_width_one_is_greedy(self, prompts, planted):
        one, greedy = (planted(vocab_size=40, prompts=prompts) for _ in range(2))
        one.solve(Beam(width=1, share=0.6))
        greedy.solve(Greedy(share=0.6))
        assert one.rewards == greedy.rewards

    def test_keeps_the_best_prefixes(self, planted, extensions):
        given = planted(vocab_size=16, prompts=400)
        given.solve(Beam(width=3))
        known = {prompt.ids: reward for prompt, reward in given.rewards}
        assert len(extensions) == 2
        for beam, tokens in extensions:
            assert len(beam) == 3
            assert len(tokens) == 16
        rewards = {actions: known[tuple(a + 1 for a in actions)] for actions in extensions[1][0]}
        before = [(*prefix, token) for prefix in extensions[0][0] for token in extensions[0][1]]
        best = sorted(before, key=lambda actions: -known[tuple(a + 1 for a in actions)])[:3]
        assert list(rewards) == best

    def test_divides_the_budget_over_positions_and_prefixes(self, planted, extensions):
        given = planted(vocab_size=200, length=4, prompts=100)
        given.solve(Beam(width=2, share=0.4))
        # 60 prompts for 3 positions of 2 prefixes; what free forwards save is for the later ones.
        assert [len(tokens) for _, tokens in extensions] == [10, 10, 12]
        assert all(tokens[:10] == extensions[0][1] for _, tokens in extensions)
        assert any(len(prompt) == 4 for prompt, _ in given.rewards)

    def test_extends_by_the_tokens_with_the_best_effects(self, planted, extensions):
        given = planted(vocab_size=32, prompts=48)
        given.solve(Greedy())
        effects = {prompt.ids[0] - 1: reward for prompt, reward in given.rewards[:32]}
        kept = extensions[0][1]
        assert len(kept) == 8
        assert kept == sorted(effects, key=effects.get, reverse=True)[:8]


@pytest.mark.parametrize("seed", range(5))
def test_greedy_finds_the_planted_prompt_and_random_does_not(seed, planted):
    ours, control = (planted(vocab_size=64, prompts=360, seed=seed) for _ in range(2))
    assert isinstance(ours.solve(make_agent("greedy", {}), seed), BudgetExhausted)
    control.solve(make_agent("random", {}), seed)
    assert ours.objective.archive.best.prompt == ours.lm.optimum
    assert ours.objective.archive.best.reward > control.objective.archive.best.reward


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("vocab_size", "length", "prompts"), [(16, 3, 37), (64, 4, 50), (8, 2, 9)])
def test_without_free_prefixes_every_prompt_is_paid(name, vocab_size, length, prompts, planted):
    given = planted(vocab_size, length, prompts)
    given.lm._free = False
    assert isinstance(given.solve(make_agent(name, {})), BudgetExhausted)
    assert given.objective.ledger.forwards == prompts * 16
    assert given.lm.scored_pairs.total() == prompts * 16
    assert len(given.rewards) == prompts


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch_size", [1, 7])
def test_batches_do_not_change_what_is_found_before_climbing(name, batch_size, planted):
    whole, parts = (planted(vocab_size=40, prompts=40) for _ in range(2))
    whole.solve(make_agent(name, {}))
    parts.solve(make_agent(name, {"batch_size": batch_size}))
    assert whole.rewards[:38] == parts.rewards[:38]


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("single-token", {"share": 0.0}, r"^share must be above 0 and at most 1, not 0\.0\.$"),
        ("single-token", {"top_k": 0}, r"^top_k must be 1 or more, not 0\.$"),
        ("single-token", {"batch_size": 0}, r"^batch_size must be 1 or more, not 0\.$"),
        ("greedy", {"share": 1.5}, r"^share must be above 0 and at most 1, not 1\.5\.$"),
        ("greedy", {"share": float("nan")}, r"^share must be above 0 and at most 1, not nan\.$"),
        ("greedy", {"batch_size": -1}, r"^batch_size must be 1 or more, not -1\.$"),
        ("greedy", {"width": 2}, "has no setting 'width'"),
        ("beam", {"share": -1}, r"^share must be above 0 and at most 1, not -1\.$"),
        ("beam", {"width": 0}, r"^width must be 1 or more, not 0\.$"),
        ("beam", {"batch_size": 0}, r"^batch_size must be 1 or more, not 0\.$"),
    ],
)
def test_what_cannot_be_meant_is_refused(name, settings, message):
    with pytest.raises(ConfigError, match=message):
        make_agent(name, settings)


@pytest.mark.parametrize("name", ["greedy", "beam"])
def test_a_missing_package_is_named_before_anything_is_spent(name, monkeypatch):
    monkeypatch.setattr(pruning, "find_spec", lambda package: None)
    with pytest.raises(ConfigError, match=f"^The agent '{name}' needs the package scikit-learn"):
        make_agent(name, {})
    assert make_agent("single-token", {}) == SingleToken()
