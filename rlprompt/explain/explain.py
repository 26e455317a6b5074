"""Why does this prompt work? Asked of the frozen LM, prompt by prompt, under a budget."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rlprompt.core.errors import ConfigError, RunError
from rlprompt.core.events import OnEvent, ignore
from rlprompt.core.ledger import Budget
from rlprompt.explain import records
from rlprompt.explain.desk import Desk, Till
from rlprompt.explain.effects import Variants
from rlprompt.explain.material import Material, finished, gather
from rlprompt.explain.on_test import held_out
from rlprompt.explain.records import Explanation
from rlprompt.explain.rewording import other_label_words, other_templates
from rlprompt.explain.settings import Settings
from rlprompt.explain.tokens import TokenQuestions
from rlprompt.lm.protocol import FrozenLM
from rlprompt.objective.evaluation_log import EvaluationLog
from rlprompt.objective.split_scorer import halves
from rlprompt.run import folder
from rlprompt.run.optimize import versions
from rlprompt.run.transfer_sources import Source
from rlprompt.tasks.task import Task

#: The explanation's own scores, in the folder of the run.
SCORES = "explanation.jsonl"


def explain(
    run: str | Path,
    settings: Settings | None = None,
    *,
    task: Task | str | None = None,
    lm: FrozenLM | None = None,
    data_root: Path | None = None,
    device: str | None = None,
    threads: int | None = None,
    on_event: OnEvent = ignore,
) -> Explanation:
    """Says what the tokens, the template and the label words of a learned prompt do.

    Prompts that the run has scored are free, all others are scored on train and dev and charged. On
    test nothing is scored but the learned and the manual prompt, and only where the run's log lacks
    their scores; nothing at all is chosen by it. What was scored is kept in the run's folder: an
    explanation that was stopped goes on, and a finished one with the same settings is read.

    Args:
        run: folder of a finished run, or its ``result.json``.
        settings: how much to look at.
        task: the run's task, where it was made in Python; or where its file is now.
        lm: the LM, if it is loaded already.
        data_root: what ``{data_root}`` stands for in a task's ``.toml`` file.
        device: where to load the LM otherwise; None for the best there is.
        threads: CPU threads; None for torch's choice.
        on_event: is told of progress.

    Returns:
        The explanation, which is also in ``explanation.json`` of the folder.

    Raises:
        RLPromptError: whatever a user can mend; what was scored before is kept.
    """
    settings = settings or Settings()
    source = finished(run)
    there = _there(source, settings)
    if there is not None:
        return there
    material = gather(source, task=task, lm=lm, data_root=data_root, device=device, threads=threads)
    scores = source.folder / folder.EVALUATIONS
    with EvaluationLog(scores if scores.exists() else None) as logged:
        # It is read whole, and never written to.
        logged.close()
        with EvaluationLog(source.folder / SCORES) as kept:
            size = len(material.task.train) + len(material.task.dev)
            budget = Budget(settings.forwards(size, source.result.budget["forwards"]))
            found = _explain(material, settings, Till(budget, logged, kept, on_event))
    records.save(source.folder, found)
    return found


def _explain(material: Material, settings: Settings, till: Till) -> Explanation:
    task = material.task
    desk = Desk(material.lm, material.question, task.train, halves(task.dev), till)
    base = _base(material, desk, till)
    left_out: list[str] = []
    questions = TokenQuestions(material, settings)
    left_out += questions.ask_parts(desk)
    test, missing = held_out(material, till, settings.cases)
    left_out += missing
    label_words, missing = other_label_words(material, desk, till, settings.words)
    left_out += missing
    templates, missing = other_templates(material, desk, till)
    left_out += missing
    left_out += questions.ask_more(desk)
    variants = Variants(material, desk)
    result = material.result
    return Explanation(
        prompt=result.prompt,
        labels=task.labels,
        base={name: found for name, p in base.items() if (found := variants.of(p)) is not None},
        tokens=questions.tokens(desk),
        orders=questions.orders(desk),
        templates=templates,
        label_words=label_words,
        test=test,
        left_out=tuple(left_out),
        task={key: result.task[key] for key in ("name", "version", "language")},
        lm=result.lm,
        template=result.template,
        verbalizer=result.verbalizer,
        splits={
            name: {"hash": split["hash"], "size": split["size"]}
            for name, split in result.splits.items()
        },
        settings=_settings(settings, till.budget.forwards),
        ledger={
            "forwards": till.ledger.forwards,
            "free": till.free,
            "tokens": till.ledger.tokens,
            "seconds": round(till.ledger.seconds, 3),
            "wanted": till.wanted,
        },
        versions=versions(),
    )


def _base(material: Material, desk: Desk, till: Till) -> dict[str, Any]:
    """Scores the learned, the empty and the manual prompt; without these there is nothing to say.

    Raises:
        ConfigError: the budget does not cover them.
    """
    base = {"learned": material.learned, "empty": type(material.learned)()}
    if material.manual is not None:
        base["manual"] = material.manual
    prompts = list(base.values())
    cost = desk.cost(prompts)
    if desk.score(prompts, "learned, empty, manual", together=True):
        raise ConfigError(
            f"A budget of {till.budget.forwards} LM forwards does not cover the learned, the empty "
            f"and the manual prompt, which the run's log lacks: allow at least {cost}."
        )
    return base


def _settings(settings: Settings, budget: int) -> dict[str, Any]:
    return {**asdict(settings), "budget": budget}


def _there(source: Source, settings: Settings) -> Explanation | None:
    """Returns the explanation that a run has already, if it is the one that is asked for."""
    if not (source.folder / records.EXPLANATION).exists():
        return None
    try:
        found = records.load(source.folder)
    except RunError:
        return None  # damaged, or of another version: it is written anew
    sizes: Sequence[int] = [source.result.splits[name]["size"] for name in ("train", "dev")]
    budget = settings.forwards(sum(sizes), source.result.budget["forwards"])
    same = found.settings == _settings(settings, budget) and found.prompt == source.result.prompt
    return found if same else None
