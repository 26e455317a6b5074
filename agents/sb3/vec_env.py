"""Stable-baselines3's vector environment: many prompts, one LM call a step."""

from typing import Any, Unpack

import numpy as np
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from rlprompt.agents.sb3.lock_step import LockStepVecEnv
from rlprompt.envs.episodes import EpisodeRules, Observation, PromptEpisodes, RuleSettings, nth
from rlprompt.objective.objective import Objective
from rlprompt.tasks.vocabulary import ActionVocabulary


class PromptVecEnv(LockStepVecEnv):
    """N of :class:`~rlprompt.envs.prompt_env.PromptEnv` in lock-step, for stable-baselines3.

    Observations, rewards (as float32) and infos are those of a ``DummyVecEnv`` of N single
    environments, but all prompts of a step are scored in one call of the LM, and equal prompts
    once. Where a prompt is finished, the returned observation is already the first of the next
    episode; the finished one is in ``infos[i]["terminal_observation"]``.
    """

    def __init__(
        self,
        objective: Objective,
        vocabulary: ActionVocabulary,
        n_envs: int,
        **rules: Unpack[RuleSettings],
    ) -> None:
        """Makes the environment.

        Args:
            objective: scores the prompts of all N.
            vocabulary: token of each action.
            n_envs: N, 1 or more.
            **rules: as in the single environment.

        Raises:
            ConfigError: a setting is out of range, the objective takes no prompts that long, or the
                LM has no prior in this template.
        """
        self._episodes = PromptEpisodes(objective, vocabulary, n_envs, EpisodeRules(**rules))
        super().__init__(self._episodes)

    def reset(self) -> Observation:
        """Begins with empty prompts.

        Returns:
            Observations of shape (N, length), or a dictionary of such.

        Raises:
            SearchOver: the budget does not cover the prior of the first token.
        """
        # Nothing is random and no options are known: seeds and options are used up, unread.
        self._reset_seeds()
        self._reset_options()
        self._episodes.reset()
        return self._episodes.observations

    def step_wait(self) -> VecEnvStepReturn:
        """Appends a token to each prompt, or ends it; finished ones begin anew at once.

        Returns:
            Observations (N, length), int64, or a dictionary of such; rewards (N,), float32; whether
            each prompt was finished (N,), bool; and a list of N infos.

        Raises:
            gymnasium.error.ResetNeeded: ``reset`` was never called.
            ValueError: an action is out of range, or their number is not N.
            SearchOver: the objective's budget is spent, or the search has stalled; all prompts
                stand as they did before the step.
        """
        outcome = self._episodes.step(self._chosen)
        infos: list[dict[str, Any]] = [{**info} for info in outcome.infos]
        for i in np.flatnonzero(outcome.finished):
            infos[i]["terminal_observation"] = nth(outcome.observations, int(i))
        self._episodes.reset(outcome.finished)
        rewards = outcome.rewards.astype(np.float32)
        return self._episodes.observations, rewards, outcome.finished, infos
