"""What the stable-baselines3 environments of this package share."""

from typing import Any

import numpy as np
from gymnasium import Space, Wrapper
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices

from rlprompt.core.evaluation import IntArray
from rlprompt.envs.editing import EditEpisodes
from rlprompt.envs.episodes import BoolArray, PromptEpisodes


class LockStepVecEnv(VecEnv):
    """N prompts in lock-step that are one environment; abstract: ``reset`` and ``step_wait``."""

    # The base class asks for it by get_attr before it sets its own.
    render_mode: str | None = None

    def __init__(self, episodes: PromptEpisodes | EditEpisodes) -> None:
        """Makes the environment of some episodes."""
        self.objective = episodes.objective
        self.vocabulary = episodes.vocabulary
        self._chosen: IntArray = np.zeros(0, np.int64)
        # Gymnasium's spaces are invariant in what they hold; the base class means any.
        space: Space[Any] = episodes.observation_space
        self._masked = episodes
        super().__init__(episodes.n, space, episodes.action_space)

    def step_async(self, actions: IntArray) -> None:
        """Takes the actions of the next ``step_wait``, shape (N, ...)."""
        self._chosen = actions

    def action_masks(self) -> BoolArray:
        """Returns which actions are valid, shape (N, n), as in the single environment."""
        return self._masked.masks

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
            For each index a bool array of shape (n,).

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
