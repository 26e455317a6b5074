"""Stable-baselines3's vector environment of edits: many prompts, one LM call a step."""

from typing import Any, Unpack, cast

import numpy as np
from gymnasium.utils import seeding
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from rlprompt.agents.sb3.lock_step import LockStepVecEnv
from rlprompt.envs.edit_rules import EditRules, EditRuleSettings
from rlprompt.envs.editing import EditEpisodes
from rlprompt.envs.starts import Start
from rlprompt.objective.objective import Objective
from rlprompt.tasks.vocabulary import ActionVocabulary


class EditPromptVecEnv(LockStepVecEnv):
    """N of :class:`~rlprompt.envs.edit_env.EditPromptEnv` in lock-step, for stable-baselines3.

    Observations, rewards (as float32) and infos are those of a ``DummyVecEnv`` of N single
    environments, but all prompts of a step are scored in one call of the LM, and equal prompts
    once. Where an episode ends, the returned observation is already the first of the next; the last
    one is in ``infos[i]["terminal_observation"]``, and ``TimeLimit.truncated`` is True where the
    budget ended it.
    """

    def __init__(
        self,
        objective: Objective,
        vocabulary: ActionVocabulary,
        n_envs: int,
        *,
        start: Start = ("",),
        **rules: Unpack[EditRuleSettings],
    ) -> None:
        """Makes the environment.

        Args:
            objective: scores the prompts of all N.
            vocabulary: tokens that edits put in.
            n_envs: N, 1 or more.
            start: as in the single environment.
            **rules: as in the single environment.

        Raises:
            ConfigError: a setting is out of range, no episode can start from one of the starts, or
                the objective takes no prompts that long.
        """
        self._episodes = EditEpisodes(objective, vocabulary, n_envs, EditRules(**rules), start)
        self._generators = [seeding.np_random()[0] for _ in range(n_envs)]
        super().__init__(self._episodes)

    def reset(self) -> VecEnvObs:
        """Begins with a start each; returns observations, each part of shape (N, ...).

        Seeds and options, ``{"prompt": text}``, are what ``seed`` and ``set_options`` were given.

        Raises:
            ConfigError: no episode can start from a prompt.
            SearchOver: the objective's budget is spent; all prompts stand as they did before.
        """
        for i, seed in enumerate(self._seeds):
            if seed is not None:
                self._generators[i] = seeding.np_random(seed)[0]
        prompts = [options.get("prompt") for options in self._options]
        self._reset_seeds()
        self._reset_options()
        self._episodes.begin(self._generators, prompts=prompts)
        return cast(VecEnvObs, self._episodes.observations)

    def step_wait(self) -> VecEnvStepReturn:
        """Edits each prompt, or ends its episode; ended ones begin anew at once.

        Returns:
            Observations, each part of shape (N, ...); rewards (N,), float32; whether each episode
            ended (N,), bool; and a list of N infos.

        Raises:
            gymnasium.error.ResetNeeded: ``reset`` was never called.
            ValueError: an action is out of range, or their number is not N.
            SearchOver: as in the single environment; all prompts stand as they did before the step.
        """
        outcome = self._episodes.step(self._chosen, renew=self._generators)
        dones = outcome.terminated | outcome.truncated
        infos: list[dict[str, Any]] = [
            {**info, "TimeLimit.truncated": cut}
            for info, cut in zip(outcome.infos, outcome.truncated.tolist(), strict=True)
        ]
        for i in np.flatnonzero(dones).tolist():
            last = {name: part[i] for name, part in outcome.observations.items()}
            infos[i]["terminal_observation"] = last
        rewards = outcome.rewards.astype(np.float32)
        return cast(VecEnvObs, self._episodes.observations), rewards, dones, infos
