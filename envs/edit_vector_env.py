"""Gymnasium's vector environment of edits: many prompts, one LM call a step."""

from typing import Any, Unpack

import gymnasium
import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from rlprompt.core.errors import ConfigError
from rlprompt.core.evaluation import FloatArray, IntArray
from rlprompt.envs.edit_rules import EditRules, EditRuleSettings
from rlprompt.envs.editing import EditEpisodes, Observation
from rlprompt.envs.episodes import BoolArray
from rlprompt.envs.prompt_env import RENDER_MODES, check_render_mode
from rlprompt.envs.starts import Start
from rlprompt.objective.objective import Objective
from rlprompt.tasks.vocabulary import ActionVocabulary


class EditPromptVectorEnv(gymnasium.vector.VectorEnv[Observation, IntArray, NDArray[Any]]):
    """N of :class:`~rlprompt.envs.edit_env.EditPromptEnv` in lock-step.

    Observations, rewards and infos are those of N single environments, the i-th seeded with
    ``seed + i``, but all prompts of a step are scored in one call of the LM, and equal prompts
    once. Only a start that was never scored before costs a call of its own.

    The autoreset mode is ``SAME_STEP``: where an episode ends, the returned observation is already
    the first of the next; the last one is in ``infos["final_obs"]``, its info in
    ``infos["final_info"]``.

    >>> from rlprompt.envs.planted import planted_parts
    >>> objective, vocabulary, _ = planted_parts(vocabulary_size=8, length=2)
    >>> envs = EditPromptVectorEnv(objective, vocabulary, 2, max_length=2, max_edits=1)
    >>> observations, infos = envs.reset(seed=0)
    >>> observations, _, terminated, _, infos = envs.step([[2, 0, 3], [2, 0, 5]])
    >>> terminated, observations["prompt"].tolist()
    (array([ True,  True]), [[-1, -1], [-1, -1]])
    >>> [last["prompt"].tolist() for last in infos["final_obs"]]
    [[3, -1], [5, -1]]
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
        start: Start = ("",),
        render_mode: str | None = None,
        **rules: Unpack[EditRuleSettings],
    ) -> None:
        """Makes the environment.

        Args:
            objective: scores the prompts of all N.
            vocabulary: tokens that edits put in.
            num_envs: N, 1 or more.
            start: as in the single environment.
            render_mode: 'ansi' or None, as in the single environment.
            **rules: as in the single environment.

        Raises:
            ConfigError: a setting is out of range, no episode can start from one of the starts, or
                the objective takes no prompts that long.
        """
        super().__init__()
        check_render_mode(render_mode)
        self.render_mode = render_mode
        self.objective = objective
        self.vocabulary = vocabulary
        self.num_envs = num_envs
        self._episodes = EditEpisodes(objective, vocabulary, num_envs, EditRules(**rules), start)
        self._generators = [seeding.np_random()[0] for _ in range(num_envs)]
        self.single_action_space = self._episodes.action_space
        self.single_observation_space = self._episodes.observation_space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begins with a start each, and scores those that are new.

        Args:
            seed: seeds the generator of the i-th prompt with ``seed + i``; None goes on with the
                streams.
            options: ``{"prompt": text}`` starts all from that text, a list of N texts each from its
                own; ``{"reset_mask": mask}`` with a bool array of shape (N,) begins those alone.

        Returns:
            The observations, each part of shape (N, ...), and an empty info.

        Raises:
            ConfigError: no episode can start from a prompt, or there are not N.
            SearchOver: the objective's budget is spent; all prompts stand as they did before.
        """
        super().reset(seed=seed)
        options = options or {}
        mask, prompts = options.get("reset_mask"), options.get("prompt")
        which = np.ones(self.num_envs, np.bool_) if mask is None else np.asarray(mask, np.bool_)
        if isinstance(prompts, str):
            prompts = [prompts] * self.num_envs
        if prompts is not None and len(prompts) != self.num_envs:
            raise ConfigError(
                f"{len(prompts)} prompts to start from: give one for each of {self.num_envs}."
            )
        if seed is not None:
            for i in np.flatnonzero(which).tolist():
                self._generators[i] = seeding.np_random(seed + i)[0]
        self._episodes.begin(self._generators, which, prompts)
        return self._episodes.observations, {}

    def step(
        self, actions: IntArray
    ) -> tuple[Observation, FloatArray, BoolArray, BoolArray, dict[str, Any]]:
        """Edits each prompt, or ends its episode; ended ones begin anew at once.

        Args:
            actions: shape (N, 3): kind, position and token; masked ones do not raise.

        Returns:
            Observations, each part of shape (N, ...); rewards (N,), float64; terminations (N,) and
            truncations (N,), bool; infos.

        Raises:
            gymnasium.error.ResetNeeded: ``reset`` was never called.
            ValueError: an action is out of range, or their number is not N.
            SearchOver: as in the single environment; all prompts stand as they did before the step.
        """
        outcome = self._episodes.step(actions, renew=self._generators)
        infos: dict[str, Any] = {}
        for i in np.flatnonzero(outcome.terminated | outcome.truncated).tolist():
            last = {name: part[i] for name, part in outcome.observations.items()}
            infos = self._add_info(infos, {"final_obs": last, "final_info": outcome.infos[i]}, i)
        return (
            self._episodes.observations,
            outcome.rewards,
            outcome.terminated,
            outcome.truncated,
            infos,
        )

    def action_masks(self) -> BoolArray:
        """Returns which parts of an action are valid, shape (N, 5 + max_length + V)."""
        return self._episodes.masks

    def render(self) -> tuple[str, ...] | None:
        """Returns text and, if known, reward of each prompt in mode 'ansi', else None."""
        return tuple(self._episodes.texts()) if self.render_mode == "ansi" else None
