"""Stable-baselines3's vector environment: many prompts, one LM call a step."""

from typing import Any, Unpack

import numpy as np
from gymnasium import Wrapper
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from rlprompt.core.evaluation import IntArray
from rlprompt.envs.episodes import BoolArray, EpisodeRules, PromptEpisodes, RuleSettings
from rlprompt.objective.objective import Objective
from rlprompt.tasks.vocabulary import ActionVocabulary


class PromptVecEnv(VecEnv):
    """N of :class:`~rlprompt.envs.prompt_env.PromptEnv` in lock-step, for stable-baselines3.

    Observations, rewards (as float32) and infos are those of a ``DummyVecEnv`` of N single
    environments, but all prompts of a step are scored in one call of the LM, and equal prompts
    once. Where a prompt is finished, the returned observation is already the first of the next
    episode; the finished one is in ``infos[i]["terminal_observation"]``.
    """

    # The base class asks for it by get_attr before it sets its own.
    render_mode: str | None = None

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
            ConfigError: a setting is out of range, or the objective takes no prompts that long.
        """
        self.objective = objective
        self.vocabulary = vocabulary
        self._episodes = PromptEpisodes(objective, vocabulary, n_envs, EpisodeRules(**rules))
        self._chosen: IntArray = np.zeros(0, np.int64)
        super().__init__(n_envs, self._episodes.observation_space, self._episodes.action_space)

    def reset(self) -> IntArray:
        """Begins with empty prompts; returns observations of shape (N, length)."""
        # Nothing is random and no options are known: seeds and options are used up, unread.
        self._reset_seeds()
        self._reset_options()
        self._episodes.reset()
        return self._episodes.observations

    def step_async(self, actions: IntArray) -> None:
        """Takes the actions of the next :meth:`step_wait`, shape (N,)."""
        self._chosen = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Appends a token to each prompt, or ends it; finished ones begin anew at once.

        Returns:
            Observations (N, length), int64; rewards (N,), float32; whether each prompt was finished
            (N,), bool; and a list of N infos.

        Raises:
            gymnasium.error.ResetNeeded: ``reset`` was never called.
            ValueError: an action is out of range, or their number is not N.
            SearchOver: the objective's budget is spent, or the search has stalled; all prompts
                stand as they did before the step.
        """
        outcome = self._episodes.step(self._chosen)
        infos: list[dict[str, Any]] = [{**info} for info in outcome.infos]
        for i in np.flatnonzero(outcome.finished):
            infos[i]["terminal_observation"] = outcome.observations[i]
        self._episodes.reset(outcome.finished)
        rewards = outcome.rewards.astype(np.float32)
        return self._episodes.observations, rewards, outcome.finished, infos

    def action_masks(self) -> BoolArray:
        """Returns which actions are valid, shape (N, V) or (N, V + 1)."""
        return self._episodes.masks

    def close(self) -> None:
        """Does nothing: objective and LM belong to the caller."""

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Returns an attribute of this environment, once for each index."""
        value = getattr(self, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: object, indices: VecEnvIndices = None) -> None:
        """Refuses.

        Raises:
            AttributeError: always; there are no separate environments to set it in.
        """
        raise AttributeError(
            f"Cannot set {attr_name!r}: the N prompts are one environment. Make a new one with the "
            "setting you want."
        )

    def env_method(
        self,
        method_name: str,
        *method_args: object,
        indices: VecEnvIndices = None,
        **kwargs: object,
    ) -> list[Any]:
        """Calls ``action_masks``, the one method of a single environment that learners call.

        Returns:
            For each index a bool array of shape (V,) or (V + 1,).

        Raises:
            AttributeError: another method.
        """
        if method_name != "action_masks":
            raise AttributeError(
                f"No method {method_name!r} of single environments: the N prompts are one "
                "environment, and 'action_masks' is all that it answers for each."
            )
        masks = self.action_masks()
        return [masks[i] for i in self._get_indices(indices)]

    def env_is_wrapped(
        self, wrapper_class: type[Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Returns False for each index: nothing wraps the single prompts."""
        return [False for _ in self._get_indices(indices)]
