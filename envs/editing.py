"""N prompts that are edited in lock-step: what every kind of edit environment shares."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, cast

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from rlprompt.core.errors import BudgetExhausted, ConfigError
from rlprompt.core.evaluation import FloatArray, IntArray
from rlprompt.core.prompt import Prompt
from rlprompt.envs.edit_rules import EditKind, EditRules, edited
from rlprompt.envs.episodes import EMPTY, BoolArray
from rlprompt.envs.starts import Start, check_start, draw, start_prompt
from rlprompt.objective.objective import Objective, Scored
from rlprompt.tasks.vocabulary import ActionVocabulary

#: Parts of an observation by name; see :class:`~rlprompt.envs.edit_env.EditPromptEnv`.
Observation: TypeAlias = dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Episode:
    """Where one episode stands.

    Attributes:
        ids: tokens of the prompt as edited.
        edits_left: steps that are left.
        scored: the prompt that was scored last, in canonical form; None before the first reset.
        reward: its reward, higher is better.
        over: whether a reset has to come next.
    """

    ids: tuple[int, ...]
    edits_left: int
    scored: Prompt | None
    reward: float
    over: bool = False


@dataclass(frozen=True, eq=False)
class EditOutcome:
    """What one step did to each of n prompts.

    Attributes:
        rewards: shape (n,), higher is better.
        terminated: shape (n,), whether the episode came to its end.
        truncated: shape (n,), whether it ended because the budget did not cover the edit.
        observations: each part of shape (n, ...), ended episodes included as they ended.
        infos: for each a dictionary, empty but for ended episodes.
    """

    rewards: FloatArray
    terminated: BoolArray
    truncated: BoolArray
    observations: Observation
    infos: list[dict[str, str | float]]


class EditEpisodes:
    """N episodes side by side; one ``objective.evaluate`` scores all of them after a step.

    Every episode is over until it is begun. All arrays that come out are the caller's.
    """

    def __init__(
        self,
        objective: Objective,
        vocabulary: ActionVocabulary,
        n: int,
        rules: EditRules,
        start: Start,
    ) -> None:
        """Prepares ``n`` episodes.

        Args:
            objective: scores the prompts.
            vocabulary: the tokens that edits put in.
            n: number of episodes, 1 or more.
            rules: how far edits go, and when they pay.
            start: where episodes start.

        Raises:
            ConfigError: ``n`` is below 1, the objective takes no prompts of ``rules.max_length``,
                or no episode can start from one of the starts.
        """
        if n < 1:
            raise ConfigError(f"{n} environments: write 1 or more.")
        if objective.max_prompt_tokens < rules.max_length:
            raise ConfigError(
                f"max_length = {rules.max_length}, but the objective takes prompts of up to "
                f"{objective.max_prompt_tokens} tokens: give it "
                f"max_prompt_tokens={rules.max_length}."
            )
        check_start(start, objective, rules)
        self.objective = objective
        self.vocabulary = vocabulary
        self.rules = rules
        self.n = n
        self._start = start
        self._action_of = {token: a for a, token in enumerate(vocabulary.token_ids)}
        self._episodes = [Episode((), rules.max_edits, None, 0.0, over=True)] * n
        self._spent = False

    @property
    def action_space(self) -> spaces.MultiDiscrete:
        """Kind, position and token of an edit."""
        return spaces.MultiDiscrete([len(EditKind), self.rules.max_length, len(self.vocabulary)])

    @property
    def observation_space(self) -> spaces.Space[Observation]:
        """Prompt, length, edits left and reward; shapes (max_length,), (1,), (1,), (1,)."""
        rules, huge = self.rules, float(np.finfo(np.float32).max)
        parts = spaces.Dict(
            {
                # V stands for tokens of a start that are no actions.
                "prompt": spaces.Box(EMPTY, len(self.vocabulary), (rules.max_length,), np.int64),
                "length": spaces.Box(0, rules.max_length, (1,), np.int64),
                "edits_left": spaces.Box(0, rules.max_edits, (1,), np.int64),
                "reward": spaces.Box(-huge, huge, (1,), np.float32),
            }
        )
        return cast("spaces.Space[Observation]", parts)

    @property
    def observations(self) -> Observation:
        """What is to be seen of each episode, each part of shape (n, ...)."""
        return self._observe(self._episodes)

    @property
    def masks(self) -> BoolArray:
        """Which numbers of an action count as valid, shape (n, 5 + max_length + V).

        Kinds, positions and tokens one after the other. Every kind, position and token that are
        each valid are valid together.
        """
        sizes = self.action_space.nvec
        masks = np.ones((self.n, int(sizes.sum())), np.bool_)
        for row, episode in zip(masks, self._episodes, strict=True):
            kinds, positions, _ = np.split(row, np.cumsum(sizes)[:-1])
            kinds[:] = self._kinds(episode)
            positions[:] = np.arange(len(positions)) < max(len(episode.ids), 1)
        return masks

    def begin(
        self,
        generators: Sequence[np.random.Generator],
        which: BoolArray | None = None,
        prompts: Sequence[str | None] | None = None,
    ) -> None:
        """Begins episodes anew and scores what they start from.

        Args:
            generators: one an episode, to draw its start.
            which: shape (n,), the episodes to begin; None for all.
            prompts: one an episode, the text to start from; None to draw one.

        Raises:
            ConfigError: an episode cannot start from what was drawn or given.
            SearchOver: raised by the objective; all episodes stand as they did before.
        """
        chosen = np.ones(self.n, np.bool_) if which is None else which
        self._episodes = self._begun(self._episodes, chosen, generators, prompts)

    def step(
        self, actions: ArrayLike, renew: Sequence[np.random.Generator] | None = None
    ) -> EditOutcome:
        """Edits each prompt, or ends its episode, and pays.

        Args:
            actions: shape (n, 3): kind, position and token of each edit.
            renew: one generator an episode, to begin those anew that end; None to leave them over.

        Raises:
            gymnasium.error.ResetNeeded: an episode is over.
            ValueError: an action is out of range, or their number is not n.
            SearchOver: raised by the objective; the episodes stand as they did before the step.
        """
        before = self._episodes
        wanted = [self._edited(e, a) for e, a in zip(before, self._checked(actions), strict=True)]
        after, unpaid = self._paid(before, wanted)
        truncated = np.array(unpaid)
        terminated = np.array([e.over for e in after]) & ~truncated
        ended = terminated | truncated
        outcome = EditOutcome(
            # In terminal timing nothing is scored before the end, so this is the whole gain.
            np.array([new.reward - old.reward for new, old in zip(after, before, strict=True)]),
            terminated,
            truncated,
            self._observe(after),
            [self._info(e) if e.over else {} for e in after],
        )
        if renew is not None and ended.any():
            after = self._begun(after, ended, renew, None)
        # Only now, after what can fail.
        self._episodes = after
        self._spent |= bool(truncated.any())
        return outcome

    def texts(self) -> list[str]:
        """Returns each prompt as text, with its reward where it is known; asks nothing of the LM.

        Form: ``' the verdict' reward=-0.6931``.
        """
        shown = []
        for episode in self._episodes:
            prompt = self.objective.canonical(Prompt(episode.ids))
            reward = f" reward={episode.reward:.4f}" if prompt == episode.scored else ""
            shown.append(repr(self.objective.text(prompt)) + reward)
        return shown

    def _checked(self, actions: ArrayLike) -> list[list[int]]:
        chosen = np.asarray(actions)
        sizes = self.action_space.nvec
        if chosen.shape != (self.n, len(sizes)) or not np.issubdtype(chosen.dtype, np.integer):
            raise ValueError(
                f"Actions of shape {chosen.shape} and dtype {chosen.dtype}: give {self.n} times "
                "three integers, the kind, position and token of an edit."
            )
        if not ((chosen >= 0) & (chosen < sizes)).all():
            raise ValueError(
                f"Actions {chosen.tolist()} are not all from 0 to {(sizes - 1).tolist()}."
            )
        over = [i for i, episode in enumerate(self._episodes) if episode.over]
        if over:
            raise gymnasium.error.ResetNeeded(
                f"The episodes {over} are over or were never begun: call reset() first."
            )
        answer: list[list[int]] = chosen.tolist()
        return answer

    def _kinds(self, episode: Episode) -> BoolArray:
        # An episode that is over has no edits left, but a mask must never be all False.
        return self.rules.kinds(len(episode.ids), max(episode.edits_left, 1))

    def _edited(self, episode: Episode, action: Sequence[int]) -> Episode:
        """Returns an episode after an edit, not scored yet."""
        kind, position, token = EditKind(action[0]), action[1], action[2]
        ids, left = episode.ids, episode.edits_left - 1
        # What cannot be done changes nothing and uses up an edit, so no episode goes on for ever.
        if not self._kinds(episode)[kind]:
            return replace(episode, edits_left=left, over=not left)
        ids = edited(ids, kind, position, self.vocabulary.token_ids[token])
        # The text is what is scored, and broken words may encode to more tokens than there were.
        if len(self.objective.canonical(Prompt(ids))) > self.rules.max_length:
            ids = episode.ids
        return replace(episode, ids=ids, edits_left=left, over=kind is EditKind.STOP or not left)

    def _paid(
        self, before: list[Episode], wanted: list[Episode]
    ) -> tuple[list[Episode], list[bool]]:
        """Scores, in one call, the prompts that a step pays for; says for which it cannot."""
        due = [e.over or self.rules.timing == "dense" for e in wanted]
        answers = iter(
            self._evaluate([Prompt(e.ids) for e, d in zip(wanted, due, strict=True) if d])
        )
        after, unpaid = [], []
        for old, new, asked in zip(before, wanted, due, strict=True):
            scored = next(answers) if asked else None
            unpaid.append(asked and scored is None)
            if unpaid[-1]:
                after.append(replace(old, over=True))
            elif scored is not None:
                after.append(replace(new, scored=scored.prompt, reward=scored.reward))
            else:
                after.append(new)
        return after, unpaid

    def _evaluate(self, prompts: list[Prompt]) -> list[Scored | None]:
        """Scores prompts; None where the budget, for the first time, does not cover one."""
        if not prompts:
            return []
        try:
            return list(self.objective.evaluate(prompts))
        except BudgetExhausted:
            if self._spent:
                raise
        # What was covered is scored by now, and free.
        covered = [prompt for prompt in prompts if self.objective.knows(prompt)]
        answers = self.objective.evaluate(covered) if covered else []
        found = dict(zip(covered, answers, strict=True))
        return [found.get(prompt) for prompt in prompts]

    def _begun(
        self,
        episodes: list[Episode],
        which: BoolArray,
        generators: Sequence[np.random.Generator],
        prompts: Sequence[str | None] | None,
    ) -> list[Episode]:
        chosen = np.flatnonzero(which).tolist()
        starts = []
        for i in chosen:
            text = prompts[i] if prompts is not None else None
            starts.append(
                draw(self._start, generators[i], self.objective, self.rules)
                if text is None
                else start_prompt(text, self.objective, self.rules)
            )
        scored = self.objective.evaluate(starts) if starts else []
        begun = list(episodes)
        for i, prompt, score in zip(chosen, starts, scored, strict=True):
            begun[i] = Episode(prompt.ids, self.rules.max_edits, score.prompt, score.reward)
        return begun

    def _observe(self, episodes: list[Episode]) -> Observation:
        prompts: IntArray = np.full((len(episodes), self.rules.max_length), EMPTY, np.int64)
        other = len(self.vocabulary)
        for row, episode in zip(prompts, episodes, strict=True):
            row[: len(episode.ids)] = [self._action_of.get(i, other) for i in episode.ids]
        return {
            "prompt": prompts,
            "length": np.array([[len(e.ids)] for e in episodes], np.int64),
            "edits_left": np.array([[e.edits_left] for e in episodes], np.int64),
            "reward": np.array([[e.reward] for e in episodes], np.float32),
        }

    def _info(self, episode: Episode) -> dict[str, str | float]:
        assert episode.scored is not None
        return {
            "rlprompt/text": self.objective.text(episode.scored),
            "rlprompt/reward": episode.reward,
        }
