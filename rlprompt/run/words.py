"""What single words do: every token of the action vocabulary alone as the prompt.

Whether a word informs or only biases shows side by side: what it adds to the reward, and how far it
moves the LM's mean log-probability of each label whatever the input is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from rlprompt.core.errors import ConfigError
from rlprompt.core.evaluation import Evaluation, FloatArray, correct, gold_logprobs
from rlprompt.core.events import Event, OnEvent, ignore
from rlprompt.core.files import write_json, write_text
from rlprompt.core.ledger import Budget, Ledger
from rlprompt.core.prompt import Prompt
from rlprompt.lm.loading import load_lm
from rlprompt.lm.protocol import FrozenLM
from rlprompt.objective.evaluation_log import EvaluationLog
from rlprompt.objective.fluency import ENOUGH
from rlprompt.objective.split_scorer import SplitScorer
from rlprompt.rewards import Reward
from rlprompt.run import folder
from rlprompt.run.config import RunConfig
from rlprompt.run.final import evaluation_on
from rlprompt.run.optimize import versions
from rlprompt.run.paired import bootstrap_intervals, family_wise_p
from rlprompt.run.parts import Parts, assemble, task_of
from rlprompt.run.search import lm_identity
from rlprompt.run.words_table import Effect, WordEffect, WordEffects, markdown
from rlprompt.tasks.task import Task
from rlprompt.tasks.tokenization import prompt_text

WORDS = "words.json"
TABLE = "words.md"
#: Words scored in one LM call: a step of the progress bar, and what a kill can cost.
BATCH = 32
#: Settings of a run that have no say here, and what they are set to.
_FIXED: Mapping[str, Any] = {
    "agent": "single-token",
    "agent_settings": {},
    "controls": (),
    "seed": 0,
    "length": 1,
    "racing": False,
    "fluency": 0.0,
    "perplexity": ENOUGH,
    "ensemble": 1,
    "test_limit": None,
    "manual_prompts": (),
}


def word_effects(
    config: RunConfig,
    *,
    task: Task | None = None,
    lm: FrozenLM | None = None,
    top: int = 20,
    on_event: OnEvent = ignore,
) -> WordEffects:
    """Scores every token of the action vocabulary alone, and the empty prompt, on train.

    The best and the worst are scored on dev as well: they were picked as the most extreme of many,
    so that on train they look more extreme than they are. Test stays closed. It costs
    ``(words + 1) * len(train) + (2 * top + 1) * len(dev)`` LM forwards; what ``config.out`` holds
    already is not computed again.

    Intervals are bootstrapped over examples with calibration held fixed. That costs next to
    nothing: the gradient of the calibrated log-likelihood in the constants is the mean probability
    of each label less its share of the examples, which calibration brings near 0.

    Args:
        config: task, LM, vocabulary, reward and folder. Agent, controls, budget, seed, length,
            racing, fluency, ensemble, test limit and manual prompts have no say.
        task: a task made in Python, in place of ``config.task``.
        lm: a loaded LM, in place of ``config.lm``.
        top: words at each end that are scored on dev.
        on_event: is told of progress.

    Returns:
        All words, which are also in ``words.json`` and ``words.md`` of ``config.out``, if given.

    Raises:
        RLPromptError: whatever a user can mend; what was scored before is kept.
    """
    if top < 1:
        raise ConfigError(f"top must be 1 or more, not {top}.")
    config = replace(config, **_FIXED)
    settings = {k: v for k, v in config.outcome().items() if k not in {*_FIXED, "budget"}}
    if config.out is not None:
        folder.claim(config.out, {"command": "words", **settings})
    task = task or task_of(config)
    most = (config.vocabulary_size + 1) * len(task.train) + (2 * top + 1) * len(task.dev)
    # One word is asked about whatever the length; a template's slots want theirs.
    config = replace(config, budget=most, length=sum(task.template.sizes) or config.length)
    path = None if config.out is None else config.out / folder.EVALUATIONS
    with EvaluationLog(path) as log:
        run = assemble(config, task, lm or load_lm(config.lm_config()), log)
        found = _measure(run, settings, top, on_event)
    if config.out is not None:
        write_text(config.out / TABLE, markdown(found, top))
        write_json(config.out / WORDS, found.to_json())
    return found


def _measure(run: Parts, settings: dict[str, Any], top: int, on_event: OnEvent) -> WordEffects:
    ledger = Ledger()
    empty = Prompt()
    words = [Prompt((token,)) for token in run.vocabulary.token_ids]
    _score(run, [run.train], [empty, *words], ledger, on_event, "words")
    on_train = [evaluation_on([run.train], [p], run.train) for p in [empty, *words]]
    effects, interval_of, p = _effects(run, on_train, family=True)
    order = sorted(range(len(words)), key=lambda n: -effects[n].value)
    chosen = sorted({*order[:top], *order[-top:]})
    prompts = [empty, *(words[n] for n in chosen)]
    _score(run, run.dev, prompts, ledger, on_event, "words on dev")
    on_dev = [evaluation_on(run.dev, [p], run.train) for p in prompts]
    dev_effects, _, _ = _effects(run, on_dev, interval_of=interval_of)
    dev = dict(zip(chosen, dev_effects, strict=True))
    means = np.stack([each.logprobs.mean(axis=0) for each in on_train])
    rows = tuple(
        WordEffect(
            rank=rank,
            text=_text(run, words[n]),
            token_id=words[n].ids[0],
            train=effects[n],
            p=float(p[n]),
            shift=dict(
                zip(run.task.labels, map(float, means[n + 1] - means[0]), strict=True),
            ),
            dev=dev.get(n),
        )
        for rank, n in enumerate(order, 1)
    )
    task, vocabulary = run.task, run.vocabulary
    return WordEffects(
        rows=rows,
        empty={"train": _scores(run, on_train[0]), "dev": _scores(run, on_dev[0])},
        reward=run.config.reward,
        interval_of=interval_of,
        task={
            "name": task.name,
            "version": task.version,
            "labels": list(task.labels),
            "language": task.language,
        },
        lm=lm_identity(run),
        template={"source": task.template.source, "answer_prefix": task.template.answer_prefix},
        verbalizer={
            label: list(each)
            for label, each in zip(task.labels, task.verbalizer.words, strict=True)
        },
        vocabulary={
            "size": len(vocabulary),
            "language": vocabulary.language,
            "filters": [asdict(each) for each in vocabulary.filters],
        },
        splits={
            split.name: {"hash": split.hash, "size": len(split)} for split in (task.train, task.dev)
        },
        ledger={
            "forwards": ledger.forwards,
            "tokens": ledger.tokens,
            "seconds": round(ledger.seconds, 3),
        },
        config=settings,
        versions=versions(),
    )


def _score(
    run: Parts,
    scorers: Sequence[SplitScorer],
    prompts: Sequence[Prompt],
    ledger: Ledger,
    on_event: OnEvent,
    phase: str,
) -> None:
    """Scores prompts on all parts of a split, batch by batch, and tells of the best so far."""
    total = len(prompts) * sum(scorer.n_examples for scorer in scorers)
    before = ledger.forwards
    best: tuple[float, str] | None = None
    for start in range(0, len(prompts), BATCH):
        batch = prompts[start : start + BATCH]
        for scorer in scorers:
            ledger.charge(len(batch) * scorer.n_examples, Budget(run.config.budget))
            scorer.logprobs(batch, ledger)
        for prompt in batch:
            reward = run.reward(evaluation_on(list(scorers), [prompt], run.train))
            if best is None or reward > best[0]:
                best = reward, _text(run, prompt)
        assert best is not None
        on_event(Event(phase, ledger.forwards - before, total, *best))


def _effects(
    run: Parts,
    evaluations: Sequence[Evaluation],
    *,
    interval_of: str | None = None,
    family: bool = False,
) -> tuple[list[Effect], str, FloatArray]:
    """Compares all evaluations but the first, the empty prompt's, with the first.

    Args:
        run: the parts.
        evaluations: of the empty prompt and of words, on the same examples.
        interval_of: what the intervals must be of; None for the reward, where that can be.
        family: whether to test, too.

    Returns:
        The effects, what their intervals are of, and the family-wise p (empty if not asked for).
    """
    rewards = np.array([run.reward(each) for each in evaluations])
    values = None
    if interval_of in (None, run.config.reward):
        values = per_example(run.reward, evaluations, rewards)
    name = run.config.reward
    if values is None:
        name = "calibrated_log_likelihood"
        values = np.stack([gold_logprobs(each.calibrated, each.gold) for each in evaluations])
    hits = np.array([correct(each.calibrated, each.gold).mean() for each in evaluations])
    differences = values[1:] - values[0]
    found = zip(
        rewards[1:] - rewards[0],
        bootstrap_intervals(differences),
        hits[1:] - hits[0],
        strict=True,
    )
    effects = [Effect(float(v), float(low), float(high), float(a)) for v, (low, high), a in found]
    return effects, name, family_wise_p(differences) if family else np.empty(0)


def per_example(
    reward: Reward, evaluations: Sequence[Evaluation], rewards: FloatArray
) -> FloatArray | None:
    """Takes a reward apart into examples, if it is the mean of its own values for single ones.

    Args:
        reward: any reward.
        evaluations: n of them, on the same examples.
        rewards: the reward of each, shape (n,).

    Returns:
        Shape (n, n_examples); None where the reward is no mean over examples.
    """
    rows = []
    for evaluation, whole in zip(evaluations, rewards, strict=True):
        singles = (slice(i, i + 1) for i in range(len(evaluation.gold)))
        try:
            row = [
                reward(Evaluation(evaluation.logprobs[i], evaluation.gold[i], evaluation.bias))
                for i in singles
            ]
        except Exception:  # a reward of the user's own may be undefined for one example
            return None
        if not np.isclose(np.mean(row), whole, rtol=1e-9, atol=1e-9):
            return None
        rows.append(row)
    return np.array(rows)


def _scores(run: Parts, evaluation: Evaluation) -> dict[str, float]:
    calibrated, gold = evaluation.calibrated, evaluation.gold
    return {
        "reward": float(run.reward(evaluation)),
        "accuracy": float(correct(calibrated, gold).mean()),
        "log_likelihood": float(gold_logprobs(calibrated, gold).mean()),
    }


def _text(run: Parts, prompt: Prompt) -> str:
    return prompt_text(run.lm.tokenizer, run.task.template, prompt)
