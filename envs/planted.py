"""``rlprompt/Planted-v0``: a made-up task whose best prompt is known; needs no LM."""

import sys
from typing import TypedDict, Unpack

from rlprompt.core.ledger import Budget
from rlprompt.envs.episodes import EpisodeRules, RuleSettings
from rlprompt.envs.prompt_env import PromptEnv
from rlprompt.envs.vector_env import PromptVectorEnv
from rlprompt.objective.evaluation_log import EvaluationLog
from rlprompt.objective.objective import Objective
from rlprompt.objective.split_scorer import Question, SplitScorer
from rlprompt.rewards import REWARDS
from rlprompt.tasks.vocabulary import ActionVocabulary
from rlprompt.testing import PlantedLM, planted_task

#: In place of a budget where none is wanted.
NO_LIMIT = Budget(sys.maxsize)

#: Token id of the first made-up word of a PlantedLM.
FIRST_WORD = 1


class PlantedTaskSettings(TypedDict, total=False):
    """Keyword arguments that say what is planted, as in :func:`planted_parts`."""

    vocabulary_size: int
    planted_seed: int
    smoothness: float
    reward: str
    budget: int | None


class PlantedSettings(RuleSettings, PlantedTaskSettings, total=False):
    """Keyword arguments of ``rlprompt/Planted-v0``, as in :func:`planted_parts`."""


def planted_parts(
    *,
    vocabulary_size: int = 16,
    planted_seed: int = 0,
    smoothness: float = 0.4,
    reward: str = "calibrated_log_likelihood",
    budget: int | None = None,
    **rules: Unpack[RuleSettings],
) -> tuple[Objective, ActionVocabulary, RuleSettings]:
    """Makes the parts of a planted environment.

    Args:
        vocabulary_size: number of made-up words, which are the actions.
        planted_seed: decides which prompt is planted.
        smoothness: share of a prompt's quality that comes from words similar to the planted ones,
            from 0 (only exact words count) up to 1, 1 left out.
        reward: registered name or import path of a reward.
        budget: LM forwards, 16 a prompt; None for no limit.
        **rules: as in :class:`~rlprompt.envs.episodes.EpisodeRules`; the planted prompt has
            ``length`` tokens.

    Raises:
        ConfigError: a setting is out of range.
    """
    length = EpisodeRules(**rules).length
    lm = PlantedLM(vocabulary_size, length, smoothness=smoothness, seed=planted_seed)
    words = tuple(range(FIRST_WORD, FIRST_WORD + vocabulary_size))
    vocabulary = ActionVocabulary(words, tuple(lm.tokenizer.decode((i,)) for i in words))
    task = planted_task()
    question = Question(task.template, task.verbalizer, length)
    objective = Objective(
        SplitScorer(lm, question, task.train, EvaluationLog()),
        lm.tokenizer,
        REWARDS.get(reward),
        NO_LIMIT if budget is None else Budget(budget),
        max_prompt_tokens=length,
        stall_calls=None,
    )
    return objective, vocabulary, rules


def planted_actions(
    *, vocabulary_size: int = 16, planted_seed: int = 0, length: int | None = None
) -> list[int]:
    """Returns the best episode: the actions that write the planted prompt.

    Args:
        vocabulary_size: what the environment was made with.
        planted_seed: what the environment was made with.
        length: what the environment was made with; None for the default.

    >>> env = make_planted_env(length=3)
    >>> _ = env.reset()
    >>> for action in planted_actions(length=3):
    ...     _, best_reward, *_ = env.step(action)
    >>> round(best_reward, 4)
    -0.0253
    """
    # Smoothness decides rewards, not which prompt is planted.
    length = EpisodeRules().length if length is None else length
    lm = PlantedLM(vocabulary_size, length, seed=planted_seed)
    return [i - FIRST_WORD for i in lm.optimum.ids]


def make_planted_env(
    *, render_mode: str | None = None, **settings: Unpack[PlantedSettings]
) -> PromptEnv:
    """Makes ``rlprompt/Planted-v0``; settings as in :func:`planted_parts`."""
    objective, vocabulary, rules = planted_parts(**settings)
    return PromptEnv(objective, vocabulary, render_mode=render_mode, **rules)


def make_planted_vector_env(
    num_envs: int = 1, *, render_mode: str | None = None, **settings: Unpack[PlantedSettings]
) -> PromptVectorEnv:
    """Makes ``rlprompt/Planted-v0`` for ``gymnasium.make_vec``; all N share one budget."""
    objective, vocabulary, rules = planted_parts(**settings)
    return PromptVectorEnv(objective, vocabulary, num_envs, render_mode=render_mode, **rules)
