"""Gymnasium's vector environment: many prompts, one LM call a step."""

from typing import Any, Unpack

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from rlprompt.core.evaluation import FloatArray, IntArray
from rlprompt.envs.episodes import (
    BoolArray,
    EpisodeRules,
    Observation,
    PromptEpisodes,
    RuleSettings,
    nth,
)
from rlprompt.envs.prompt_env import RENDER_MODES, check_render_mode
from rlprompt.objective.objective import Objective
from rlprompt.tasks.vocabulary import ActionVocabulary


class PromptVectorEnv(gymnasium.vector.VectorEnv[Observation, IntArray, NDArray[Any]]):
    """N of :class:`~rlprompt.envs.prompt_env.PromptEnv` in lock-step.

    Observations, rewards and infos are those of N single environments, but all prompts of a step
    are scored in one call of the LM, and equal prompts once. (With racing in one call a heat, and
    rewards are those of one environment that is shown all prompts: see ``docs/environments.md``.)

    The autoreset mode is ``SAME_STEP``: where a prompt is finished, the returned observation is
    already the first of the next episode; the finished one is in ``infos["final_obs"]``, its info
    in ``infos["final_info"]``. (``NEXT_STEP``, Gymnasium's default, would add to every episode a
    step whose action is ignored.)

    >>> from rlprompt.envs.planted import planted_parts
    >>> objective, vocabulary, rules = planted_parts(vocabulary_size=8, length=1)
    >>> envs = PromptVectorEnv(objective, vocabulary, 2, **rules)
    >>> observations, infos = envs.reset(seed=0)
    >>> observations, _, terminated, _, infos = envs.step([3, 5])
    >>> terminated, observations.tolist(), infos["final_obs"].tolist()
    (array([ True,  True]), [[-1], [-1]], [array([3]), array([5])])
    """

    # Gymnasium declares it without ClassVar, so mypy allows none here.
    metadata = {  # noqa: RUF012
        "render_modes": list(RENDER_MODES),
        "render_fps": 4,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        objective: Objective,
        vocabulary: ActionVocabulary,
        num_envs: int,
        *,
        render_mode: str | None = None,
        **rules: Unpack[RuleSettings],
    ) -> None:
        """Makes the environment.

        Args:
            objective: scores the prompts of all N.
            vocabulary: token of each action.
            num_envs: N, 1 or more.
            render_mode: 'ansi' or None, as in the single environment.
            **rules: as in the single environment.

        Raises:
            ConfigError: a setting is out of range, the objective takes no prompts that long, or the
                LM has no prior in this template.
        """
        super().__init__()
        check_render_mode(render_mode)
        self.render_mode = render_mode
        self.objective = objective
        self.vocabulary = vocabulary
        self.num_envs = num_envs
        self._episodes = PromptEpisodes(objective, vocabulary, num_envs, EpisodeRules(**rules))
        self.single_action_space = self._episodes.action_space
        self.single_observation_space = self._episodes.observation_space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begins with empty prompts.

        Args:
            seed: seeds ``np_random``, which nothing here draws from.
            options: ``{"reset_mask": mask}`` with a bool array of shape (N,) begins those alone.

        Returns:
            The observations, shape (N, length) or a dictionary of such, and an empty info.

        Raises:
            SearchOver: the budget does not cover the prior of the first token.
        """
        super().reset(seed=seed)
        mask = None if options is None else options.get("reset_mask")
        self._episodes.reset(None if mask is None else np.asarray(mask, np.bool_))
        return self._episodes.observations, {}

    def step(
        self, actions: IntArray
    ) -> tuple[Observation, FloatArray, BoolArray, BoolArray, dict[str, Any]]:
        """Appends a token to each prompt, or ends it; finished ones begin anew at once.

        Args:
            actions: shape (N,), each from 0 to V - 1, or V to stop; masked ones do not raise.

        Returns:
            Observations of shape (N, length), int64, or a dictionary of such; rewards (N,),
            float64; whether each prompt was finished (N,), bool; truncations (N,), all False;
            infos.

        Raises:
            gymnasium.error.ResetNeeded: ``reset`` was never called.
            ValueError: an action is out of range, or their number is not N.
            SearchOver: the objective's budget is spent, or the search has stalled; all prompts
                stand as they did before the step.
        """
        outcome = self._episodes.step(actions)
        infos: dict[str, Any] = {}
        for i in np.flatnonzero(outcome.finished):
            final = {"final_obs": nth(outcome.observations, int(i)), "final_info": outcome.infos[i]}
            infos = self._add_info(infos, final, int(i))
        self._episodes.reset(outcome.finished)
        truncated = np.zeros(self.num_envs, np.bool_)
        return self._episodes.observations, outcome.rewards, outcome.finished, truncated, infos

    def action_masks(self) -> BoolArray:
        """Returns which actions are valid, shape (N, V) or (N, V + 1)."""
        return self._episodes.masks

    def render(self) -> tuple[str, ...] | None:
        """Returns text and, if known, reward of each prompt in mode 'ansi', else None."""
        return tuple(self._episodes.texts()) if self.render_mode == "ansi" else None
