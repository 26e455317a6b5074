"""How long a comparison will take: a few forwards on this machine, times what is left to do."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from rlprompt.compare import folder
from rlprompt.compare.config import CompareConfig
from rlprompt.core.prompt import Prompt
from rlprompt.core.trials import Setting
from rlprompt.lm.gradients import looked_up
from rlprompt.lm.loading import load_lm
from rlprompt.lm.protocol import FrozenLM, GradientLM
from rlprompt.run.parts import plan_of, task_of
from rlprompt.tasks.task import Task
from rlprompt.tasks.vocabulary import build_vocabulary
from rlprompt.tuning.gradient import GradientTuner
from rlprompt.tuning.protocol import make_tuner

#: Prompts that are scored, and examples of a batch, to learn how fast the LM is.
_PROMPTS, _BATCH = 16, 8
#: Rows of the soft prompt that is tried.
_ROWS = 5


@dataclass(frozen=True)
class Speed:
    """LM forwards a second on this machine, in one process with nothing beside it.

    Attributes:
        search: of a search, which packs many prompts behind each text.
        soft: of a tuner, where only what stands from the prompt on is run; None without tuners.
        whole: of a tuner that runs whole inputs.
    """

    search: float
    soft: float | None = None
    whole: float | None = None


@dataclass(frozen=True)
class Estimate:
    """What a comparison will take at most.

    Attributes:
        seconds: wall time of all that is left.
        runs: how many runs are left.
        speed: what it was computed with.
    """

    seconds: float
    runs: int
    speed: Speed


def estimate(config: CompareConfig, *, lm: FrozenLM | None = None) -> Estimate | None:
    """Measures and multiplies; nothing is kept and nobody's budget is charged.

    Args:
        config: of the comparison.
        lm: a loaded LM in place of the one that is named.

    Returns:
        None where nothing is left to do.

    Raises:
        ConfigError: the task or a tuner is refused.
        LMError: the LM cannot be loaded.
    """
    settings = [setting for group in config.groups for setting in config.settings(*group)]
    left = [each for each in settings if not _is_done(config, each)]
    if not left:
        return None
    task = task_of(config.run_config(left[0]))
    speed = measure(config, left, task, lm)
    groups = {(each.task, each.split_seed) for each in left}
    seconds = sum(_seconds(config, each, task, speed) for each in left)
    return Estimate(seconds / min(config.jobs, len(groups)), len(left), speed)


def _is_done(config: CompareConfig, setting: Setting) -> bool:
    record = folder.read(folder.run_file(config.out, setting))
    return record is not None and not record.get("error")


def measure(
    config: CompareConfig, settings: list[Setting], task: Task, lm: FrozenLM | None = None
) -> Speed:
    """Measures how fast the LM is on the train split of a task."""
    first = config.run_config(settings[0])
    scoring = lm or load_lm(first.lm_config())
    scorer = scoring.bind(
        task.template, task.verbalizer, tuple(task.train), max_prompt_tokens=first.length
    )
    vocabulary = build_vocabulary(
        scoring.tokenizer, task.verbalizer, task.template, size=_PROMPTS, language=task.language
    )
    ids = np.random.default_rng(0).choice(vocabulary.token_ids, (2, _PROMPTS, first.length))
    searching = _rate(
        _PROMPTS * scorer.n_examples,
        lambda n: scorer.choice_logprobs([Prompt(tuple(map(int, each))) for each in ids[n]]),
    )
    if not any(config.method(each.method).tuner for each in settings):
        return Speed(searching)
    trained = lm or load_lm(replace(first.lm_config(), trainable=True))
    if not isinstance(trained, GradientLM):
        return Speed(searching)
    return Speed(searching, _passes(trained, task, None), _passes(trained, task, trained.model))


@torch.no_grad()
def _passes(lm: GradientLM, task: Task, model: torch.nn.Module | None) -> float:
    """Returns the passes a second, of a soft prompt or of a model that was made of the LM's."""
    scorer = lm.bind_gradients(
        task.template,
        task.verbalizer,
        tuple(task.train),
        prompt=Prompt(),
        soft_tokens=0 if model else _ROWS,
        model=model,
    )
    rows = None if model else looked_up(lm.model, range(_ROWS))
    batch = range(min(_BATCH, scorer.n_examples))
    return _rate(len(batch), lambda n: scorer.choice_logprobs(batch, rows))


def _rate(number: int, call: Callable[[int], object]) -> float:
    """Calls twice, the first time to warm up; returns how many a second the second time."""
    call(0)
    started = time.perf_counter()
    call(1)
    return number / max(time.perf_counter() - started, 1e-9)


def _seconds(config: CompareConfig, setting: Setting, task: Task, speed: Speed) -> float:
    """Returns what a run and its scores on test take at most."""
    n_test = plan_of(config.run_config(setting), task).n_test
    method = config.method(setting.method)
    if not method.tuner:
        return (setting.budget + n_test) / speed.search
    tuner = make_tuner(method.tuner, method.settings)
    passes = setting.budget
    if isinstance(tuner, GradientTuner):  # of others only the budget is known
        passes = min(passes, tuner.most_passes(task))
    rate = speed.whole if tuner.traits.whole_inputs else speed.soft
    return (passes + n_test) / rate if rate else 0.0
