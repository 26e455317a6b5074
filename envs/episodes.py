"""N prompts that grow in lock-step: the part that every kind of environment shares."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypedDict, cast, get_args

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from rlprompt.core.errors import ConfigError, suggest
from rlprompt.core.evaluation import FloatArray, IntArray
from rlprompt.core.prompt import Prompt
from rlprompt.envs.prior import mean_prior
from rlprompt.objective.objective import Objective, Scored
from rlprompt.tasks.vocabulary import ActionVocabulary

BoolArray: TypeAlias = NDArray[np.bool_]
#: Of one episode or of n: actions so far, or with a prior a dictionary of these and the prior.
Observation: TypeAlias = IntArray | dict[str, NDArray[Any]]
Timing: TypeAlias = Literal["terminal", "dense"]

#: Stands in an observation where no token is yet.
EMPTY = -1
#: Least log-probability of a prior, nats: a space without an end worries Gymnasium's checker.
LEAST = -100.0


class RuleSettings(TypedDict, total=False):
    """Keyword arguments of all environments; defaults and meaning as in :class:`EpisodeRules`."""

    length: int
    stop_action: bool
    timing: Timing
    min_length: int
    prior: bool


@dataclass(frozen=True, kw_only=True)
class EpisodeRules:
    """When an episode ends, and when it pays.

    Attributes:
        length: greatest number of tokens of a prompt, and of steps of an episode.
        stop_action: whether there is one more action, the last, that ends the prompt as it is.
        timing: 'terminal' pays the finished prompt's reward at the end and 0 before; 'dense' pays
            after every token what the token added.
        min_length: number of tokens before which the stop action is masked. It says nothing of the
            objective's archive, which holds shorter prefixes too where their scores come for free.
        prior: whether observations also say how likely the frozen LM itself goes on with each
            action, on average behind two train examples. Costs two LM forwards an episode or less.
    """

    length: int = 5
    stop_action: bool = False
    timing: Timing = "terminal"
    min_length: int = 1
    prior: bool = False

    def __post_init__(self) -> None:
        """Refuses rules that cannot be meant.

        Raises:
            ConfigError: with what to write instead.
        """
        if self.length < 1:
            raise ConfigError(f"length = {self.length}: a prompt needs room for a token or more.")
        if not 0 <= self.min_length <= self.length:
            raise ConfigError(
                f"min_length = {self.min_length}: write a number from 0 to length = {self.length}."
            )
        if self.timing not in get_args(Timing):
            raise ConfigError(
                f"Unknown timing {self.timing!r}.{suggest(str(self.timing), get_args(Timing))} "
                f"Known: {', '.join(get_args(Timing))}."
            )


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one step did to each of n prompts.

    Attributes:
        rewards: shape (n,), higher is better.
        finished: shape (n,), whether the prompt is complete.
        observations: of all n, complete prompts included as they ended.
        infos: for each a dictionary, empty but for complete prompts.
    """

    rewards: FloatArray
    finished: BoolArray
    observations: Observation
    infos: list[dict[str, str | float]]


class PromptEpisodes:
    """N episodes side by side; one ``objective.evaluate`` scores all of them after a step.

    Every episode is over until its first :meth:`reset`. All arrays that come out are the caller's.
    """

    def __init__(
        self, objective: Objective, vocabulary: ActionVocabulary, n: int, rules: EpisodeRules
    ) -> None:
        """Prepares ``n`` episodes.

        Args:
            objective: scores the prompts.
            vocabulary: token of each action.
            n: number of episodes, 1 or more.
            rules: when they end, and when they pay.

        Raises:
            ConfigError: ``n`` is below 1, the objective takes no prompts of ``rules.length``, or a
                prior is asked of an LM that has none.
        """
        if n < 1:
            raise ConfigError(f"{n} environments: write 1 or more.")
        if objective.max_prompt_tokens < rules.length:
            raise ConfigError(
                f"length = {rules.length}, but the objective takes prompts of up to "
                f"{objective.max_prompt_tokens} tokens: give it max_prompt_tokens={rules.length}."
            )
        if rules.prior and not objective.predicts_tokens:
            raise ConfigError(
                "prior = True needs an LM that can go on with the input: a causal one that scores "
                "packed prompts, with the prompt behind the input, as in '{text}{prompt}'. Leave "
                "prior out."
            )
        self.objective = objective
        self.vocabulary = vocabulary
        self.rules = rules
        self.n = n
        self._token_ids = np.asarray(vocabulary.token_ids, np.int64)
        self._actions: IntArray = np.full((n, rules.length), EMPTY, np.int64)
        self._lengths: IntArray = np.zeros(n, np.int64)
        self._over: BoolArray = np.ones(n, np.bool_)
        self._scored: list[Scored | None] = [None] * n
        # Of each episode that goes on; asked for once, since each is charged or looked up.
        self._prior = np.zeros((n, int(self.action_space.n) if rules.prior else 0), np.float32)
        self._first: NDArray[np.float32] | None = None

    @property
    def action_space(self) -> spaces.Discrete:
        """One action a token of the vocabulary, and the stop action where there is one."""
        return spaces.Discrete(len(self.vocabulary) + self.rules.stop_action)

    @property
    def observation_space(self) -> spaces.Space[Any]:
        """Actions chosen so far, -1 where none is yet; shape (length,), int64.

        With a prior a dictionary of these, 'prompt', and of 'prior', log-probabilities of the
        actions, shape (V,) or (V + 1,), float32; zeros where the prompt is finished.
        """
        # MultiDiscrete would say the same, but SB3 one-hots it: length x (V + 1) features.
        prompt = spaces.Box(EMPTY, len(self.vocabulary) - 1, (self.rules.length,), np.int64)
        if not self.rules.prior:
            return cast("spaces.Space[IntArray]", prompt)
        prior = spaces.Box(LEAST, 0, (int(self.action_space.n),), np.float32)
        return spaces.Dict({"prompt": prompt, "prior": prior})

    @property
    def observations(self) -> Observation:
        """What is to be seen of all n episodes, as a copy."""
        if not self.rules.prior:
            return self._actions.copy()
        return {"prompt": self._actions.copy(), "prior": self._prior.copy()}

    @property
    def masks(self) -> BoolArray:
        """Which actions count as valid, shape (n, V) or, with a stop action, (n, V + 1).

        Only the stop action is ever masked, so no row is all False.
        """
        masks = np.ones((self.n, int(self.action_space.n)), np.bool_)
        if self.rules.stop_action:
            masks[:, -1] = self._lengths >= self.rules.min_length
        return masks

    def reset(self, which: BoolArray | None = None) -> None:
        """Begins episodes anew from the empty prompt.

        Args:
            which: shape (n,), the episodes to begin; None for all.

        Raises:
            SearchOver: the budget does not cover the prior of the first token, which is asked for
                once; the episodes stand as they did before.
        """
        chosen = np.ones(self.n, np.bool_) if which is None else which
        if self.rules.prior:
            if self._first is None:
                self._first = self._ask([Prompt()])[0]
            self._prior[chosen] = self._first
        self._actions[chosen] = EMPTY
        self._lengths[chosen] = 0
        self._over[chosen] = False
        self._scored = [None if new else s for new, s in zip(chosen, self._scored, strict=True)]

    def step(self, actions: ArrayLike) -> Outcome:
        """Adds a token to each prompt, or ends it, and pays.

        Args:
            actions: shape (n,), indices of actions.

        Raises:
            gymnasium.error.ResetNeeded: an episode is over.
            ValueError: an action is out of range, or their number is not n.
            SearchOver: raised by the objective; the episodes stand as they did before the step.
        """
        chosen = self._checked(actions)
        # A stop before min_length stops as well. Ignoring it could go on for ever, and choosing a
        # token in its place would put words into the prompt that the agent never chose.
        growing = chosen < len(self.vocabulary)
        grown, lengths = self._actions.copy(), self._lengths + growing
        grown[growing, self._lengths[growing]] = chosen[growing]
        finished = ~growing | (lengths == self.rules.length)
        before = [s.reward if s else 0.0 for s in self._scored]
        scored = self._evaluate(grown, lengths, finished)
        prior = self._prior_of(grown, lengths, finished)
        # Only now, after what can fail.
        self._actions, self._lengths, self._over, self._scored = grown, lengths, finished, scored
        self._prior = prior
        # In terminal timing nothing is scored before the end, so this is the whole reward.
        rewards = [s.reward - b if s else 0.0 for s, b in zip(scored, before, strict=True)]
        infos = [self._info(s) if f else {} for s, f in zip(scored, finished, strict=True)]
        return Outcome(np.array(rewards), finished.copy(), self.observations, infos)

    def texts(self) -> list[str]:
        """Returns each prompt as text, with its reward where it is known; asks nothing of the LM.

        Form: ``' the verdict' reward=-0.6931``.
        """
        prompts = [self._prompt(a, n) for a, n in zip(self._actions, self._lengths, strict=True)]
        return [
            repr(self.objective.text(prompt)) + (f" reward={s.reward:.4f}" if s else "")
            for prompt, s in zip(prompts, self._scored, strict=True)
        ]

    def _checked(self, actions: ArrayLike) -> IntArray:
        chosen = np.asarray(actions)
        size = int(self.action_space.n)
        if chosen.shape != (self.n,) or not np.issubdtype(chosen.dtype, np.integer):
            raise ValueError(
                f"Actions of shape {chosen.shape} and dtype {chosen.dtype}: give {self.n} integers."
            )
        if not ((chosen >= 0) & (chosen < size)).all():
            raise ValueError(f"Actions {chosen.tolist()} are not all from 0 to {size - 1}.")
        if self._over.any():
            raise gymnasium.error.ResetNeeded(
                f"The episodes {np.flatnonzero(self._over).tolist()} are over or were never "
                "begun: call reset() first."
            )
        return chosen.astype(np.int64)

    def _prompt(self, actions: IntArray, length: int) -> Prompt:
        return Prompt(tuple(self._token_ids[actions[:length]].tolist()))

    def _prior_of(
        self, actions: IntArray, lengths: IntArray, over: BoolArray
    ) -> NDArray[np.float32]:
        """Returns the prior of each prompt, zeros where it is finished."""
        prior = np.zeros_like(self._prior)
        going_on = np.flatnonzero(~over)
        if self.rules.prior and len(going_on):
            prior[going_on] = self._ask([self._prompt(actions[i], lengths[i]) for i in going_on])
        return prior

    def _ask(self, prompts: list[Prompt]) -> NDArray[np.float32]:
        ids = self.vocabulary.token_ids
        found = mean_prior(self.objective, prompts, ids, self._prior.shape[1])
        return np.clip(found, LEAST, 0).astype(np.float32)

    def _evaluate(
        self, actions: IntArray, lengths: IntArray, finished: BoolArray
    ) -> list[Scored | None]:
        """Scores, in one call, the prompts that this step pays for."""
        due = finished | (self.rules.timing == "dense")
        asked = [self._prompt(actions[i], lengths[i]) for i in np.flatnonzero(due)]
        answers = iter(self.objective.evaluate(asked) if asked else ())
        return [next(answers) if d else None for d in due]

    def _info(self, scored: Scored | None) -> dict[str, str | float]:
        assert scored is not None
        text = self.objective.text(scored.prompt)
        return {"rlprompt/text": text, "rlprompt/reward": scored.reward}


def nth(observations: Observation, i: int) -> Observation:
    """Returns what is to be seen of one of n episodes."""
    if isinstance(observations, dict):
        return {name: values[i] for name, values in observations.items()}
    return cast(IntArray, observations[i])
