"""The Gymnasium environment that edits a prompt, one edit a step."""

from typing import Any, Unpack

import gymnasium
import numpy as np

from rlprompt.core.evaluation import IntArray
from rlprompt.envs.edit_rules import EditRules, EditRuleSettings
from rlprompt.envs.editing import EditEpisodes, Observation
from rlprompt.envs.episodes import BoolArray
from rlprompt.envs.prompt_env import RENDER_MODES, check_render_mode
from rlprompt.envs.starts import Start
from rlprompt.objective.objective import Objective
from rlprompt.tasks.vocabulary import ActionVocabulary


class EditPromptEnv(gymnasium.Env[Observation, IntArray]):
    """Edits a prompt; what the edits gain under the frozen LM is the reward.

    ## Description
    An episode starts from a prompt and changes it token by token. What a prompt is worth is decided
    by the objective, as in :class:`~rlprompt.envs.prompt_env.PromptEnv`: equal prompts have equal
    rewards and are scored once, so an edit that leads back to a scored prompt costs nothing. A
    prompt is scored as its text, which is what would be exported, even where that text encodes to
    other tokens than the edits put there.

    ## Action Space
    ``MultiDiscrete([5, max_length, V])``: kind, position and token of the edit.

    * 0 replaces the token at the position;
    * 1 inserts a token before the one at the position;
    * 2 appends a token, wherever the position is;
    * 3 deletes the token at the position, whichever the token is;
    * 4 stops.

    :meth:`action_masks` has shape (5 + max_length + V,): which kinds, positions and tokens are
    valid, one after the other, as sb3-contrib takes it. Kinds are so cut that parts that are each
    valid are valid together, whatever the combination.

    A masked kind changes nothing and uses up an edit; a position beyond the prompt means its last
    token. The same happens, unmasked, to an edit after which the text would encode to more than
    ``max_length`` tokens.

    ## Observation Space
    ``Dict`` of

    * ``prompt``: ``Box(-1, V, (max_length,), int64)``: the action of each token, in order; -1 where
      there is none, ``V`` where a token of the start is no action;
    * ``length``: ``Box(0, max_length, (1,), int64)``: tokens of the prompt;
    * ``edits_left``: ``Box(0, max_edits, (1,), int64)``;
    * ``reward``: ``Box((1,), float32)``: the objective's reward of the prompt that was scored last:
      with ``timing="dense"`` the one that is shown, with "terminal" the start, until the end.

    Each observation is new.

    ## Rewards
    * ``timing="dense"``: after every edit, the prompt's reward minus that of the prompt before.
    * ``timing="terminal"``: at the end, the prompt's reward minus that of the start; 0 before.

    Both sum to the gain over the start (to 1e-9). "terminal" scores one prompt an episode, "dense"
    up to ``max_edits``; both score the start, once for all episodes that begin there.

    On the last step, ``info`` holds ``rlprompt/text``, the prompt's text, and ``rlprompt/reward``,
    its reward; before, ``info`` is empty.

    ## Starting State
    ``start`` is a list of texts (or Prompts), of which each episode draws one, or a function of a
    ``numpy.random.Generator`` that returns one. All randomness is ``np_random``, which
    ``reset(seed=...)`` seeds. ``reset(options={"prompt": " This film is"})`` starts from that text.

    ## Episode End
    * Terminated: a stop, or ``max_edits`` edits.
    * Truncated: the objective's budget does not cover the edited prompt. The edit is not made, the
      reward is 0, ``info`` tells of the prompt that was scored last. This happens once: every later
      ``step`` or ``reset`` that the budget does not cover raises ``BudgetExhausted``, so that no
      learner goes on for ever; it leaves the episode as it was.

    Where nothing new is proposed for very long ``SearchStalled`` is raised. Both errors are a
    ``SearchOver``: the end of the search, no fault. Everything scored so far is in
    ``env.unwrapped.objective.archive``.

    ## Arguments
    * ``objective``: scores prompts.
    * ``vocabulary``: tokens that edits put in.
    * ``start`` (the empty prompt): see above.
    * ``max_length`` (5): greatest number of tokens.
    * ``min_length`` (1): tokens below which stopping and deleting are masked. From a shorter start
      masks leave a way to get there.
    * ``max_edits`` (8): steps of an episode.
    * ``timing`` ("dense"): when rewards are paid, or "terminal".
    * ``render_mode`` (None): "ansi" makes :meth:`render` return the text and, if known, the reward.

    The class takes live parts. By name, with a task and an LM that are loaded for you:
    ``gymnasium.make("rlprompt.envs:rlprompt/EditPrompt-v0", task="movie-reviews", lm="smollm2")``.

    >>> from rlprompt.envs.planted import planted_parts
    >>> objective, vocabulary, _ = planted_parts(vocabulary_size=8, length=2)
    >>> env = EditPromptEnv(
    ...     objective, vocabulary, start=[" baro"], max_length=2, max_edits=3, render_mode="ansi"
    ... )
    >>> observation, info = env.reset(seed=0)
    >>> print(observation["prompt"], observation["edits_left"], env.render())
    [ 3 -1] [3] ' baro' reward=-0.7971
    >>> observation, gain, terminated, truncated, info = env.step([2, 0, 7])
    >>> print(observation["prompt"], round(gain, 4), env.render())
    [3 7] 0.611 ' baro bano' reward=-0.1860
    >>> _, _, terminated, _, info = env.step([4, 0, 0])
    >>> terminated, info["rlprompt/text"]
    (True, ' baro bano')

    ## Vectorized environment
    :class:`rlprompt.envs.edit_vector_env.EditPromptVectorEnv` scores the prompts of all
    environments in one LM call; ``gymnasium.make_vec("rlprompt/EditPrompt-v0", num_envs=8)`` makes
    it. Its autoreset mode is ``SAME_STEP``.

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
        start: Start = ("",),
        render_mode: str | None = None,
        **rules: Unpack[EditRuleSettings],
    ) -> None:
        """Makes the environment; arguments as in the class.

        Raises:
            ConfigError: a setting is out of range, no episode can start from one of the starts, or
                the objective takes no prompts that long.
        """
        check_render_mode(render_mode)
        self.render_mode = render_mode
        self.objective = objective
        self.vocabulary = vocabulary
        self._episodes = EditEpisodes(objective, vocabulary, 1, EditRules(**rules), start)
        self.action_space = self._episodes.action_space
        self.observation_space = self._episodes.observation_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begins with a start, and scores it if it is new.

        Args:
            seed: seeds ``np_random``, which draws the starts; None goes on with the stream.
            options: ``{"prompt": text}`` starts from that text.

        Returns:
            The observation and an empty info.

        Raises:
            ConfigError: no episode can start from the prompt.
            SearchOver: see Episode End in the class.
        """
        super().reset(seed=seed)
        prompt = (options or {}).get("prompt")
        self._episodes.begin([self.np_random], prompts=[prompt])
        return _first(self._episodes.observations), {}

    def step(self, action: IntArray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Edits the prompt, or ends the episode.

        Args:
            action: kind, position and token; a masked one does not raise.

        Returns:
            The observation, the reward, whether the episode is at its end, whether the budget ended
            it, and the info.

        Raises:
            gymnasium.error.ResetNeeded: the episode is over.
            ValueError: the action is out of range.
            SearchOver: see Episode End in the class.
        """
        outcome = self._episodes.step(np.asarray(action)[None])
        return (
            _first(outcome.observations),
            float(outcome.rewards[0]),
            bool(outcome.terminated[0]),
            bool(outcome.truncated[0]),
            outcome.infos[0],
        )

    def action_masks(self) -> BoolArray:
        """Returns which parts of an action are valid, shape (5 + max_length + V,)."""
        masks: BoolArray = self._episodes.masks[0]
        return masks

    def render(self) -> str | None:
        """Returns text and, if known, reward of the prompt in mode 'ansi', else None."""
        return self._episodes.texts()[0] if self.render_mode == "ansi" else None


def _first(observations: Observation) -> Observation:
    return {name: part[0] for name, part in observations.items()}
