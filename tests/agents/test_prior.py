"""The frozen LM's own opinion in the logits of the policy, the LM itself outside."""

from contextlib import suppress

import numpy as np
import pytest
import torch

from rlprompt.agents.protocol import Problem
from rlprompt.agents.sb3.elites import EliteEpisodes
from rlprompt.agents.sb3.policy import MaskableEmbeddingPolicy
from rlprompt.agents.sb3.ppo import PPOAgent
from rlprompt.agents.sb3.vec_env import PromptVecEnv
from rlprompt.agents.soft_q import SoftQ
from rlprompt.agents.soft_q_losses import QNetwork, soft_q_loss
from rlprompt.core.errors import ConfigError, SearchOver
from rlprompt.core.events import ignore
from rlprompt.core.ledger import Budget
from rlprompt.core.prompt import Prompt
from rlprompt.lm.causal import CausalLM
from rlprompt.objective.evaluation_log import EvaluationLog
from rlprompt.objective.objective import Objective
from rlprompt.objective.split_scorer import Question, SplitScorer
from rlprompt.rewards.functions import calibrated_log_likelihood
from rlprompt.tasks.vocabulary import ActionVocabulary
from rlprompt.testing import planted_task, tiny_causal

LENGTH = 3
IDS = tuple(range(300, 330))


@pytest.fixture(scope="module")
def lm():
    return CausalLM(*tiny_causal("llama"))


def make_problem(lm, forwards):
    task = planted_task(6, 2, 2)
    scorer = SplitScorer(
        lm, Question(task.template, task.verbalizer, LENGTH), task.train, EvaluationLog()
    )
    objective = Objective(
        scorer,
        lm.tokenizer,
        calibrated_log_likelihood,
        Budget(forwards),
        max_prompt_tokens=LENGTH,
    )
    vocabulary = ActionVocabulary(IDS, tuple(lm.tokenizer.decode([i]) for i in IDS))
    return Problem(objective, vocabulary, LENGTH, lm)


def make_env(problem, *, stop_action=False, prior=0.5, share=0.0):
    env = PromptVecEnv(
        problem.objective, problem.vocabulary, 4, length=LENGTH, stop_action=stop_action
    )
    return EliteEpisodes(
        env, length=LENGTH, prior=prior, share=share, elites=4, most_free=2, seed=0
    )


@pytest.mark.parametrize("stop_action", [False, True])
def test_observations_end_in_the_weighted_opinion_of_the_lm(stop_action, lm):
    problem = make_problem(lm, 10_000)
    env = make_env(problem, stop_action=stop_action)
    observations = env.reset()
    for step in range(LENGTH):
        assert observations.shape == (4, LENGTH + 1 + len(IDS) + stop_action)
        assert all(each in env.observation_space for each in observations)
        prompts = [Prompt(tuple(IDS[int(a)] for a in row[:step])) for row in observations]
        expected = problem.objective.next_token_logprobs(env._example.tolist(), prompts, IDS)
        found = observations[:, LENGTH + 1 :][:, : len(IDS)]
        np.testing.assert_allclose(found, 0.5 * expected, rtol=1e-5)
        observations, *_ = env.step(np.arange(4) + step)


def test_kept_tokens_ask_the_lm_nothing(lm):
    problem = make_problem(lm, 10_000)
    rng = np.random.default_rng(0)
    problem.objective.evaluate(
        [problem.prompt(row.tolist()) for row in rng.integers(0, len(IDS), (12, LENGTH))]
    )
    env = make_env(problem, share=1.0)
    observations = env.reset()
    for _ in range(LENGTH):
        kept = env.action_masks().sum(axis=1) == 1
        opinions = observations[:, LENGTH + 1 :]
        assert (opinions[kept] == 0).all()
        assert (opinions[~kept] < 0).any(axis=1).all()
        actions = env.action_masks().argmax(axis=1)
        observations, *_ = env.step(actions)


def test_a_new_policy_proposes_what_the_lm_would(lm):
    env = make_env(make_problem(lm, 10_000), prior=1.0)
    observations = torch.as_tensor(env.reset())
    policy = MaskableEmbeddingPolicy(
        env.observation_space,
        env.action_space,
        lambda _: 1e-3,
        embeddings=np.eye(len(IDS), dtype=np.float32),
        prior=True,
    )
    chances = policy.get_distribution(observations).distribution.probs
    torch.testing.assert_close(chances, observations[:, LENGTH + 1 :].exp())
    assert not any(p.numel() > 10_000 for p in policy.parameters())


@pytest.mark.parametrize("settings", [{}, {"stop_action": True}, {"elite_share": 0.0}])
def test_ppo_with_a_prior_spends_its_budget_and_repeats_by_seed(settings, lm):
    bests = []
    before = {k: v.clone() for k, v in lm.model.state_dict().items()}
    for _ in range(2):
        problem = make_problem(lm, 700)
        with suppress(SearchOver):
            PPOAgent(n_envs=8, **settings).optimize(problem, seed=3, on_event=ignore)
        assert 690 <= problem.objective.ledger.forwards <= 700
        bests.append([(e.prompt, e.reward) for e in problem.objective.archive.ranked()])
    assert bests[0] == bests[1]
    assert all(torch.equal(v, before[k]) for k, v in lm.model.state_dict().items())


class TestSoftQ:
    """Soft Q-learning on top of the same prior."""

    def test_a_new_network_draws_what_the_lm_would(self):
        prior = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))
        rows = np.eye(4, dtype=np.float32)
        network = QNetwork(rows, 2, 8, torch.Generator().manual_seed(0), prior=True)
        asked = []

        def said(unfinished):
            asked.append(unfinished.shape)
            return prior.expand(len(unfinished), -1)

        drawn = network.sample(20_000, 4, torch.Generator().manual_seed(1), said)
        assert asked == [(20_000, 0), (20_000, 1)]
        for position in (0, 1):
            shares = torch.bincount(drawn[:, position], minlength=4) / 20_000
            torch.testing.assert_close(shares, prior.exp(), rtol=0, atol=0.02)
        # A prior is consistent with reward 0: there is nothing to learn.
        priors = prior.expand(len(drawn), 2, -1)
        q = network(drawn)
        nothing = torch.zeros(len(drawn))
        assert soft_q_loss(q, q, drawn, nothing, log_prior=priors).item() < 1e-6

    def test_draws_are_charged_and_a_seed_decides(self, lm):
        bests = []
        for _ in range(2):
            problem = make_problem(lm, 700)
            with suppress(SearchOver):
                SoftQ(batch_size=8).optimize(problem, seed=3, on_event=ignore)
            assert 680 <= problem.objective.ledger.forwards <= 700
            bests.append([(e.prompt, e.reward) for e in problem.objective.archive.ranked()])
        assert bests[0] == bests[1]
        # Each prompt has a forward for each example; the rest is what the draws cost.
        prompts = sum(len(e.prompt) == LENGTH for e in problem.objective.archive.ranked())
        draws = problem.objective.ledger.forwards - prompts * problem.objective.n_examples
        assert prompts <= draws <= 3 * prompts

    @pytest.mark.parametrize("settings", [{"lm_prior": 0.0}, {"preset": "published"}])
    def test_without_a_prior_the_lm_is_asked_nothing(self, settings, lm, monkeypatch):
        def refused(*_):
            raise AssertionError("asked")

        monkeypatch.setattr(Objective, "next_token_logprobs", refused)
        with suppress(SearchOver):
            SoftQ(**settings).optimize(make_problem(lm, 300), seed=0, on_event=ignore)

    def test_weights_below_0_are_refused(self):
        with pytest.raises(ConfigError, match="lm_prior must be 0 or more"):
            SoftQ(lm_prior=-1.0)
