"""``rlprompt/Prompt-v0``: environments from names alone, so that a spec fits into JSON.

What is expensive is made once a process and shared: LM, task, action vocabulary, and the log of
scores. Each environment has an objective of its own, hence its own budget, ledger and archive.
"""

import atexit
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypedDict, Unpack

from rlprompt.core.ledger import Budget
from rlprompt.envs.episodes import EpisodeRules, RuleSettings
from rlprompt.envs.planted import NO_LIMIT
from rlprompt.envs.prompt_env import PromptEnv
from rlprompt.envs.vector_env import PromptVectorEnv
from rlprompt.lm.loading import LMConfig, load_lm
from rlprompt.objective.evaluation_log import EvaluationLog
from rlprompt.objective.fluency import ENOUGH
from rlprompt.objective.objective import Objective
from rlprompt.objective.racing import Racing
from rlprompt.objective.split_scorer import Question, SplitScorer
from rlprompt.rewards import REWARDS
from rlprompt.tasks.registry import load_task
from rlprompt.tasks.task import Task
from rlprompt.tasks.vocabulary import ActionVocabulary, build_vocabulary

if TYPE_CHECKING:
    from rlprompt.lm.protocol import FrozenLM

DEFAULT_TASK = "movie-reviews"


class TaskSettings(TypedDict, total=False):
    """Keyword arguments that say what prompts are scored on, as in :func:`prompt_parts`."""

    task: str
    lm: str
    shots: int | None
    split_seed: int
    template: str | None
    words: Mapping[str, str | Sequence[str]] | None
    reward: str
    fluency: float
    perplexity: float
    racing: bool
    vocabulary_size: int
    budget: int | None
    log: str | None


class PromptSettings(RuleSettings, TaskSettings, total=False):
    """Keyword arguments of ``rlprompt/Prompt-v0``, as in :func:`prompt_parts`."""


def prompt_parts(
    *,
    task: str = DEFAULT_TASK,
    lm: str = "smollm2",
    shots: int | None = None,
    split_seed: int = 0,
    template: str | None = None,
    words: Mapping[str, str | Sequence[str]] | None = None,
    reward: str = "calibrated_log_likelihood",
    fluency: float = 0.0,
    perplexity: float = ENOUGH,
    racing: bool = False,
    vocabulary_size: int = 2000,
    budget: int | None = None,
    log: str | None = None,
    **rules: Unpack[RuleSettings],
) -> tuple[Objective, ActionVocabulary, RuleSettings]:
    """Loads what is named, or takes it from an environment that was made before.

    Args:
        task: registered name, ``.toml`` file, data file or folder of a task.
        lm: alias, hub id, folder or ``.gguf`` file of an LM of any family.
        shots: examples a class in train; None for the task's own number, else 16.
        split_seed: seed of the few-shot draw.
        template: in place of the task's own; a masked LM needs one with ``{mask}``.
        words: label to word or words, in place of the task's own.
        reward: registered name or import path of a reward.
        fluency: what a nat a token costs that a prompt's log-probability under the LM itself lacks.
        perplexity: a token, at which a prompt is fluent enough.
        racing: whether prompts are scored heat by heat and bad ones dropped early, see
            :mod:`rlprompt.objective.racing`; the reward of a dropped one is an estimate.
        vocabulary_size: upper limit for the number of actions; the most frequent words are kept.
        budget: LM forwards, one an example and prompt; None for no limit. It counts for one
            environment, or for all N of a vector environment together.
        log: file that scores are read from and written to; None keeps them in memory.
        **rules: as in :class:`~rlprompt.envs.episodes.EpisodeRules`.

    Returns:
        Objective, vocabulary and ``rules``: what the environments' classes take.

    Raises:
        ConfigError: a name is unknown or a setting is out of range.
        DataError, TemplateError, LMError: task and LM cannot be loaded or do not fit together.
        RunError: the log cannot be opened, or another process writes to it.
    """
    length = EpisodeRules(**rules).length
    asked = _asked(task, split_seed, shots, template, words)
    _task(asked).template.check_length(length)
    limit = NO_LIMIT if budget is None else Budget(budget)
    reward_function = REWARDS.get(reward)
    where = None if log is None else str(Path(log).expanduser().resolve())
    objective = Objective(
        _scorer(lm, asked, length, where),
        shared_lm(lm).tokenizer,
        reward_function,
        limit,
        max_prompt_tokens=length,
        # A learner outside this package counts its own steps, and may well stay at one prompt.
        stall_calls=None,
        racing=Racing() if racing else None,
        fluency=fluency,
        perplexity=perplexity,
    )
    return objective, _vocabulary(lm, asked, vocabulary_size), rules


def manual_prompts(**settings: Unpack[TaskSettings]) -> tuple[str, ...]:
    """Returns the manual prompts of the task that :func:`prompt_parts` loads with the same."""
    task = settings.get("task", DEFAULT_TASK)
    draw = settings.get("split_seed", 0), settings.get("shots")
    return _task(
        _asked(task, *draw, settings.get("template"), settings.get("words"))
    ).manual_prompts


def make_prompt_env(
    *, render_mode: str | None = None, **settings: Unpack[PromptSettings]
) -> PromptEnv:
    """Makes ``rlprompt/Prompt-v0``; settings as in :func:`prompt_parts`."""
    objective, vocabulary, rules = prompt_parts(**settings)
    return PromptEnv(objective, vocabulary, render_mode=render_mode, **rules)


def make_prompt_vector_env(
    num_envs: int = 1, *, render_mode: str | None = None, **settings: Unpack[PromptSettings]
) -> PromptVectorEnv:
    """Makes ``rlprompt/Prompt-v0`` for ``gymnasium.make_vec``; all N share one budget."""
    objective, vocabulary, rules = prompt_parts(**settings)
    return PromptVectorEnv(objective, vocabulary, num_envs, render_mode=render_mode, **rules)


def forget_parts() -> None:
    """Drops the shared LMs, tasks and logs, so that the next environment loads them anew.

    Frees an LM's memory, and lets a changed task file be read again. Environments made before keep
    working, but write to no log file any more.
    """
    for shared in (shared_lm, _task, _vocabulary, _scorer):
        shared.cache_clear()
    while _LOGS:
        _LOGS.popitem()[1].close()


#: Open logs by path. A file has one writer, so the environments of a process share it.
_LOGS: dict[str | None, EvaluationLog] = {}
atexit.register(forget_parts)


def _log(path: str | None) -> EvaluationLog:
    if path not in _LOGS:
        _LOGS[path] = EvaluationLog(None if path is None else Path(path))
    return _LOGS[path]


# Few of each are kept: whoever goes through many LMs or splits does not hold all of them.
@lru_cache(maxsize=2)
def shared_lm(name: str) -> "FrozenLM":
    """Returns the LM that the environments of this name share; its embedding rows, for a policy.

    Raises:
        LMError: it cannot be loaded.
    """
    return load_lm(LMConfig(name=name))


class _Asked(NamedTuple):
    """What decides a task."""

    task: str
    split_seed: int
    shots: int | None
    template: str | None
    words: tuple[tuple[str, str | Sequence[str]], ...] | None


def _asked(
    task: str,
    split_seed: int,
    shots: int | None,
    template: str | None,
    words: Mapping[str, str | Sequence[str]] | None,
) -> _Asked:
    # Texts and tuples, so that it can be looked up.
    flat = (
        None
        if words is None
        else tuple((k, (v,) if isinstance(v, str) else tuple(v)) for k, v in words.items())
    )
    return _Asked(task, split_seed, shots, template, flat)


@lru_cache(maxsize=4)
def _task(asked: _Asked) -> Task:
    return load_task(
        asked.task,
        asked.split_seed,
        asked.shots,
        template=asked.template,
        words=None if asked.words is None else dict(asked.words),
    )


@lru_cache(maxsize=4)
def _vocabulary(lm: str, asked: _Asked, size: int) -> ActionVocabulary:
    loaded = _task(asked)
    return build_vocabulary(
        shared_lm(lm).tokenizer,
        loaded.verbalizer,
        loaded.template,
        size=size,
        language=loaded.language,
    )


@lru_cache(maxsize=4)
def _scorer(lm: str, asked: _Asked, length: int, log: str | None) -> SplitScorer:
    loaded = _task(asked)
    question = Question(loaded.template, loaded.verbalizer, length)
    return SplitScorer(shared_lm(lm), question, loaded.train, _log(log))
