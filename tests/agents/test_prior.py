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
from rlprompt.core.errors import SearchOver
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
