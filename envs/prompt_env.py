"""The Gymnasium environment: one prompt, one token a step."""

from typing import Any, Unpack

import gymnasium
import numpy as np

from rlprompt.core.errors import ConfigError
from rlprompt.envs.episodes import (
    BoolArray,
    EpisodeRules,
    Observation,
    PromptEpisodes,
    RuleSettings,
    nth,
)
from rlprompt.objective.objective import Objective
from rlprompt.tasks.vocabulary import ActionVocabulary

RENDER_MODES = ("ansi",)


class PromptEnv(gymnasium.Env[Observation, np.int64]):
    """Writes a prompt token by token; the frozen LM's answers under the prompt are the reward.

    ## Description
    An episode writes one prompt of up to ``length`` tokens. What the prompt is worth is decided by
    the objective: the frozen LM answers every train example with the prompt in the template, and a
    reward function turns the label log-probabilities into one number. Equal prompts have equal
    rewards, whatever the seed, and are scored once.

    ## Action Space
    ``Discrete(V)``: action ``a`` appends token ``vocabulary.token_ids[a]``. With ``stop_action`` it
    is ``Discrete(V + 1)`` and action ``V`` ends the prompt as it is.

    :meth:`action_masks` says which actions are valid: all but a stop before ``min_length`` tokens.
    A learner that reads no masks may stop earlier; the episode then ends, and pays what the shorter
    prompt (the empty one included) is worth.

    ## Observation Space
    ``Box(-1, V - 1, (length,), int64)``: actions chosen so far, in order; -1 where none is yet.
    Each observation is a new array.

    With ``prior`` it is a ``Dict`` of these, ``prompt``, and of ``prior``: for each action the
    log-probability that the frozen LM itself goes on with it, the mean of probabilities behind two
    train examples that are always the same, ``Box(-100, 0, (V,), float32)``. A policy that adds it
    to its logits begins with what the LM would say. It has no opinion on stopping, which counts as
    a token on average; zeros where the prompt is finished. Two LM forwards an episode or less are
    charged for it.

    ## Rewards
    * ``timing="terminal"``: the reward of the finished prompt at its last step, 0 before.
    * ``timing="dense"``: after every token, the reward of the prompt so far minus that of the
      prompt one step ago. The first token is measured from 0, not from the empty prompt, so an
      episode's rewards sum to the reward of the finished prompt (to 1e-9): both timings have the
      same return at discount 1. Where the LM gives the scores of prefixes for free
      (``objective.prefixes_are_free``), dense costs the same LM forwards; elsewhere ``length``
      times as many. With racing it costs some more, since a prefix may stay in where the prompt
      would have been dropped.

    On the last step, ``info`` holds ``rlprompt/text``, the prompt's text, and ``rlprompt/reward``,
    its reward; before, ``info`` is empty. With racing the reward of a prompt that was dropped is an
    estimate: ask ``objective.archive.best`` for the best prompt, not these.

    ## Starting State
    The empty prompt, always. Nothing is random; ``seed`` is accepted and changes nothing.

    ## Episode End
    * Terminated: the prompt has ``length`` tokens, or the stop action is chosen.
    * Truncated: never (``max_episode_steps`` of ``gymnasium.make`` may, without paying the prompt).

    When the objective's budget is spent, ``step`` raises ``BudgetExhausted``, and where nothing new
    is proposed for very long ``SearchStalled``. Both are a ``SearchOver``: the end of the search,
    no fault. Everything scored so far is in ``env.unwrapped.objective.archive``; the episode stands
    as it did before the step. (Environments made by name have no budget unless they are given one,
    and are never called off as stalled.)

    ## Arguments
    * ``objective``: scores prompts.
    * ``vocabulary``: token of each action.
    * ``length`` (5): greatest number of tokens.
    * ``stop_action`` (False): whether a prompt may end earlier.
    * ``timing`` ("terminal"): when rewards are paid, or "dense".
    * ``min_length`` (1): tokens before which stopping is masked.
    * ``prior`` (False): whether observations have the LM's own opinion.
    * ``render_mode`` (None): "ansi" makes :meth:`render` return the text and, if known, the reward.

    The class takes live parts. By name, with a task and an LM that are loaded for you:
    ``gymnasium.make("rlprompt.envs:rlprompt/Prompt-v0", task="movie-reviews", lm="smollm2")``.

    >>> from rlprompt.envs.planted import planted_parts
    >>> objective, vocabulary, rules = planted_parts(vocabulary_size=8, length=2)
    >>> env = PromptEnv(objective, vocabulary, render_mode="ansi", **rules)
    >>> env.reset(seed=0)
    (array([-1, -1]), {})
    >>> env.step(3)
    (array([ 3, -1]), 0.0, False, False, {})
    >>> observation, reward, terminated, truncated, info = env.step(7)
    >>> observation, terminated, sorted(info)
    (array([3, 7]), True, ['rlprompt/reward', 'rlprompt/text'])
    >>> reward == info["rlprompt/reward"] == objective.archive.best.reward
    True
    >>> print(env.render())
    ' baro bano' reward=-0.1860

    ## Vectorized environment
    :class:`rlprompt.envs.vector_env.PromptVectorEnv` scores the prompts of all environments in one
    LM call; ``gymnasium.make_vec("rlprompt/Prompt-v0", num_envs=8)`` makes it. Its autoreset mode
    is ``SAME_STEP``.

    ## Version History
    * v0: initial version.
    """

    # Gymnasium declares it without ClassVar, so mypy allows none here.
    metadata = {"render_modes": list(RENDER_MODES), "render_fps": 4}  # noqa: RUF012

    def __init__(
        self,
        objective: Objective,
        vocabulary: ActionVocabulary,
        *,
        render_mode: str | None = None,
        **rules: Unpack[RuleSettings],
    ) -> None:
        """Makes the environment; arguments as in the class.

        Raises:
            ConfigError: a setting is out of range, the objective takes no prompts that long, or the
                LM has no prior in this template.
        """
        check_render_mode(render_mode)
        self.render_mode = render_mode
        self.objective = objective
        self.vocabulary = vocabulary
        self._episodes = PromptEpisodes(objective, vocabulary, 1, EpisodeRules(**rules))
        self.action_space = self._episodes.action_space
        self.observation_space = self._episodes.observation_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begins with the empty prompt.

        Args:
            seed: seeds ``np_random``, which nothing here draws from.
            options: none are known.

        Returns:
            The observation, shape (length,), all -1, or with the prior of the first token; and an
            empty info.

        Raises:
            SearchOver: the budget does not cover the prior of the first token.
        """
        super().reset(seed=seed)
        self._episodes.reset()
        return nth(self._episodes.observations, 0), {}

    def step(self, action: np.int64 | int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Appends a token, or ends the prompt.

        Args:
            action: from 0 to V - 1, or V to stop; a masked action does not raise.

        Returns:
            The observation (see the class), the reward, whether the prompt is complete, False
            (never truncated), and the info.

        Raises:
            gymnasium.error.ResetNeeded: the episode is over.
            ValueError: the action is out of range.
            SearchOver: see Episode End in the class.
        """
        outcome = self._episodes.step(np.reshape(action, 1))
        return (
            nth(outcome.observations, 0),
            float(outcome.rewards[0]),
            bool(outcome.finished[0]),
            False,
            outcome.infos[0],
        )

    def action_masks(self) -> BoolArray:
        """Returns which actions are valid, shape (V,) or (V + 1,); sb3-contrib looks for it."""
        masks: BoolArray = self._episodes.masks[0]
        return masks

    def render(self) -> str | None:
        """Returns text and, if known, reward of the prompt in mode 'ansi', else None."""
        return self._episodes.texts()[0] if self.render_mode == "ansi" else None


def check_render_mode(render_mode: str | None) -> None:
    """Refuses an unknown render mode.

    Raises:
        ConfigError: it is neither None nor 'ansi'.
    """
    if render_mode is not None and render_mode not in RENDER_MODES:
        raise ConfigError(f"Unknown render_mode {render_mode!r}: write 'ansi' or leave it out.")
