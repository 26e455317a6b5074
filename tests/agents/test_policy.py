"""The actor-critic over frozen embedding rows."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO

from rlprompt.agents.embeddings import reduce_embeddings
from rlprompt.agents.sb3.elites import EliteEpisodes
from rlprompt.agents.sb3.policy import (
    EmbeddingPolicy,
    MaskableEmbeddingPolicy,
)
from rlprompt.agents.sb3.vec_env import PromptVecEnv
from rlprompt.core.ledger import Budget
from rlprompt.lm.causal import CausalLM
from rlprompt.objective.evaluation_log import EvaluationLog
from rlprompt.objective.objective import Objective
from rlprompt.objective.split_scorer import Question, SplitScorer
from rlprompt.tasks.vocabulary import build_vocabulary
from rlprompt.testing import planted_task, tiny_causal

LENGTH, ACTIONS = 3, 12
# Action indices or -1, and last the position to fill; tokens that are kept may stand ahead.
OBSERVATIONS = torch.tensor([[-1, -1, 5, 0], [4, -1, -1, 1], [4, 7, -1, 2]])


def rows(n=ACTIONS, width=5, seed=0):
    return np.random.default_rng(seed).normal(size=(n, width))


def make_policy(kind=EmbeddingPolicy, actions=ACTIONS):
    return kind(
        gym.spaces.Box(-1, ACTIONS - 1, (LENGTH + 1,), np.int64),
        gym.spaces.Discrete(actions),
        lambda _: 1e-3,
        embeddings=reduce_embeddings(rows(), 4),
        hidden=16,
    )


class TestReducedEmbeddings:
    @pytest.mark.parametrize("width", [1, 3, 5])
    def test_keeps_the_main_directions_with_unit_mean_square_length(self, width):
        reduced = reduce_embeddings(rows(), width)
        assert reduced.shape == (ACTIONS, width)
        assert reduced.dtype == np.float32
        assert (reduced**2).sum(axis=1).mean() == pytest.approx(1, abs=1e-5)

    def test_directions_are_centred_uncorrelated_and_of_equal_variance(self):
        reduced = reduce_embeddings(rows(200, 6), 4).astype(np.float64)
        np.testing.assert_allclose(reduced.mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(reduced.T @ reduced / 200, np.eye(4) / 4, atol=1e-6)

    def test_has_no_more_directions_than_the_rows_span(self):
        plane = rows(width=2) @ rows(2, 5, seed=1)
        assert reduce_embeddings(plane, 64).shape == (ACTIONS, 2)
        assert reduce_embeddings(rows(2, 5), 64).shape == (2, 1)

    def test_is_the_same_whichever_way_the_library_turns_a_direction(self, monkeypatch):
        expected = reduce_embeddings(rows(), 4)
        svd = np.linalg.svd

        def turned(matrix, **options):
            left, singular, right = svd(matrix, **options)
            return -left, singular, -right

        monkeypatch.setattr(np.linalg, "svd", turned)
        np.testing.assert_array_equal(reduce_embeddings(rows(), 4), expected)

    def test_changes_nothing_in_place(self):
        given = rows()
        kept = given.copy()
        reduce_embeddings(given, 3)
        np.testing.assert_array_equal(given, kept)


@pytest.mark.parametrize("kind", [EmbeddingPolicy, MaskableEmbeddingPolicy])
class TestPolicy:
    def test_starts_uniform_whatever_was_chosen_before(self, kind):
        policy = make_policy(kind)
        probabilities = policy.get_distribution(OBSERVATIONS).distribution.probs
        np.testing.assert_allclose(probabilities.detach(), 1 / ACTIONS, rtol=1e-6)

    def test_embedding_rows_are_no_parameters_and_not_saved(self, kind):
        policy = make_policy(kind)
        shapes = {name: tuple(p.shape) for name, p in policy.named_parameters()}
        # A bias of each step and action is all that grows with the vocabulary.
        assert [name for name, shape in shapes.items() if ACTIONS in shape] == ["action_net.bias"]
        assert shapes["action_net.bias"] == (LENGTH, ACTIONS)
        assert {*policy.state_dict()} == {*shapes}
        optimized = sum(len(group["params"]) for group in policy.optimizer.param_groups)
        assert optimized == len(shapes)

    def test_every_parameter_but_those_before_a_zero_layer_has_a_gradient(self, kind):
        policy = make_policy(kind)
        values, log_probs, _ = policy.evaluate_actions(OBSERVATIONS, torch.tensor([1, 2, 3]))
        (values.sum() + log_probs.sum()).backward()
        without = [n for n, p in policy.named_parameters() if p.grad is None or not p.grad.any()]
        assert without == ["mlp_extractor.actor.0.weight", "mlp_extractor.actor.0.bias"]

    def test_a_stop_action_has_a_bias_and_no_row(self, kind):
        policy = make_policy(kind, ACTIONS + 1)
        assert policy.action_net.rows.shape == (ACTIONS + 1, 4)
        assert not policy.action_net.rows[-1].any()
        assert policy.action_net.bias.shape == (LENGTH, ACTIONS + 1)

    def test_saves_and_loads(self, kind, tmp_path):
        policy = make_policy(kind)
        with torch.no_grad():
            for parameter in policy.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
        policy.save(tmp_path / "policy.pt")
        again = kind.load(tmp_path / "policy.pt")
        for observation in OBSERVATIONS:
            expected = policy.get_distribution(observation[None]).distribution.logits
            found = again.get_distribution(observation[None]).distribution.logits
            assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("algorithm", "policy", "stop"),
    [(PPO, EmbeddingPolicy, False), (MaskablePPO, MaskableEmbeddingPolicy, True)],
)
def test_a_real_lm_stays_out_of_the_policy(algorithm, policy, stop, tmp_path):
    model, tokenizer = tiny_causal("llama")
    # Freezing sets requires_grad; no byte of a weight may change.
    before = {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}
    lm = CausalLM(model, tokenizer)
    task = planted_task()
    objective = Objective(
        SplitScorer(lm, Question(task.template, task.verbalizer, 3), task.train, EvaluationLog()),
        lm.tokenizer,
        lambda evaluation: float(evaluation.logprobs[:, 0].mean()),
        Budget(10**6),
        max_prompt_tokens=3,
    )
    env = PromptVecEnv(objective, _vocabulary(lm), 8, length=3, stop_action=stop)
    embeddings = reduce_embeddings(lm.embeddings(env.vocabulary.token_ids), 16)
    env = EliteEpisodes(env, length=3, share=0.0, elites=4, most_free=2, seed=0)
    learner = algorithm(
        policy,
        env,
        n_steps=3,
        batch_size=24,
        policy_kwargs={"embeddings": embeddings},
        device="cpu",
        seed=0,
    )
    learner.learn(72)
    assert {n: t.numpy().tobytes() for n, t in model.state_dict().items()} == before
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert model not in [*learner.policy.modules()]
    ours = {parameter.data_ptr() for parameter in model.parameters()}
    held = [*learner.policy.parameters(), *learner.policy.buffers()]
    assert ours.isdisjoint(tensor.data_ptr() for tensor in held)

    learner.save(tmp_path / "learner.zip")
    assert (tmp_path / "learner.zip").stat().st_size < 1_000_000
    again = algorithm.load(tmp_path / "learner.zip", device="cpu")
    observations = OBSERVATIONS
    found, expected = (
        each.policy.get_distribution(observations).distribution.logits for each in (again, learner)
    )
    assert torch.equal(found, expected)
    assert len(torch.unique(expected[0])) > 1


def _vocabulary(lm):
    task = planted_task()
    return build_vocabulary(
        lm.tokenizer, task.verbalizer, task.template, size=100, whole_words=False
    )
