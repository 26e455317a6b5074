"""One run from end to end: search, selection, baselines, test, result."""

import logging
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rlprompt.agents.protocol import AGENTS, Agent, make_agent
from rlprompt.core.errors import ConfigError, RunError
from rlprompt.core.events import Event, OnEvent, ignore
from rlprompt.core.files import write_json, write_text
from rlprompt.core.ledger import Ledger
from rlprompt.core.result import Result, Search
from rlprompt.core.version import __version__
from rlprompt.lm.loading import load_lm
from rlprompt.lm.protocol import FrozenLM
from rlprompt.objective.evaluation_log import EvaluationLog
from rlprompt.objective.split_scorer import SplitScorer
from rlprompt.run import folder
from rlprompt.run.config import RunConfig
from rlprompt.run.final import baselines, candidate, ensemble, open_test
from rlprompt.run.parts import Parts, assemble, task_of
from rlprompt.run.search import (
    Outcome,
    finalist_rows,
    lm_identity,
    search,
    settings_of,
    trace_rows,
)
from rlprompt.tasks.task import Task
from rlprompt.watch.watcher import Job, Watcher
from rlprompt.watch.watching import Watching, watchers_of

log = logging.getLogger(__name__)
PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "gymnasium",
    "stable-baselines3",
    "sb3-contrib",
    "numpy",
)


def optimize(
    config: RunConfig,
    *,
    task: Task | None = None,
    lm: FrozenLM | None = None,
    agent: Agent | None = None,
    on_event: OnEvent = ignore,
    watch: Sequence[Watcher | str] = (),
) -> Result:
    """Learns a prompt, selects it, and scores it beside its baselines and controls.

    A run that was killed goes on when it is started again with the same configuration: it replays
    its evaluation log and pays only for what is not in it. A finished run is read, not repeated.

    Args:
        config: what to do.
        task: a task made in Python, in place of ``config.task``.
        lm: a loaded LM, in place of ``config.lm``.
        agent: an agent object, in place of ``config.agent`` and its settings.
        on_event: is told of progress.
        watch: watchers (:mod:`rlprompt.watch`) or their names, beside TensorBoard, which writes to
            ``config.out`` where it is installed; 'none' leaves that out.

    Returns:
        The result, which is also in ``config.out`` if that is given.

    Raises:
        RLPromptError: whatever a user can mend; what was scored before is kept.
    """
    watchers = watchers_of(watch)
    if config.out is not None:
        folder.claim(config.out, config.outcome())
        if (config.out / folder.RESULT).exists():
            return _finished(config.out, task, lm, agent)
    name = config.agent if agent is None else AGENTS.name_of(type(agent))
    if name in config.controls:
        raise ConfigError(f"The agent {name!r} is among the controls as well: leave one out.")
    task = task or task_of(config)
    if task.test.opened is not None:
        raise RunError(
            f"The test split of the task {task.name!r} was opened by an earlier run, and opens "
            "once: make the task anew for each run."
        )
    path = None if config.out is None else config.out / folder.EVALUATIONS
    # Before the LM is loaded, which takes a while: a folder that is in use is told of at once.
    with EvaluationLog(path) as scores, _uninterrupted(config):
        lm = lm or load_lm(config.lm_config())
        started = (time.perf_counter(), lm.meter.seconds)
        run = assemble(config, task, lm, scores)
        if config.out is not None:
            write_json(config.out / folder.VOCABULARY, run.vocabulary.to_json())
        agents = [(name, agent or make_agent(config.agent, dict(config.agent_settings)))]
        agents += [(control, make_agent(control, {})) for control in config.controls]
        with Watching(Job(config.out, config.outcome(), run.plan.total), watchers) as watching:

            def listen(event: Event) -> None:
                watching(event)
                on_event(event)

            outcomes = [search(run, *each, listen) for each in agents]
            result = _finish(run, outcomes, started, listen)
            if config.out is not None:
                # The text first: whoever sees result.json finds everything else in place.
                write_text(config.out / folder.PROMPT, result.prompt.text)
                result.save(config.out / folder.RESULT)
            watching.finish(_told(result))
    return result


def _told(result: Result) -> dict[str, float | str]:
    """Returns what watchers are told of a result."""
    test = result.scores["test"]
    return {
        "test/accuracy": test.accuracy,
        "test/log_likelihood": test.log_likelihood,
        "prompt": result.prompt.text,
    }


def _finished(out: Path, task: Task | None, lm: FrozenLM | None, agent: Agent | None) -> Result:
    """Reads a finished run; refuses it where it was made of other parts than those given."""
    result = Result.load(out / folder.RESULT)
    others = []
    if task is not None and task_rows(task) != (
        result.template,
        result.verbalizer,
        {name: split["hash"] for name, split in result.splits.items()},
    ):
        others.append("task (examples, template or label words)")
    if lm is not None and lm.identity.fingerprint != result.lm["fingerprint"]:
        others.append("LM")
    if agent is not None and (AGENTS.name_of(type(agent)), settings_of(agent)) != (
        result.main.agent,
        result.main.settings,
    ):
        others.append("agent")
    if others:
        raise RunError(
            f"{out} holds a finished run with another {' and another '.join(others)}: choose "
            "another --out."
        )
    return result


def task_rows(
    task: Task,
) -> tuple[dict[str, str], dict[str, list[str]], dict[str, str]]:
    """Returns template, label words and split hashes as they stand in a result."""
    words = zip(task.labels, task.verbalizer.words, strict=True)
    return (
        {"source": task.template.source, "answer_prefix": task.template.answer_prefix},
        {label: list(each) for label, each in words},
        {"train": task.train.hash, "dev": task.dev.hash, "test": task.test.hash},
    )


def _finish(
    run: Parts, outcomes: list[Outcome], started: tuple[float, float], on_event: OnEvent
) -> Result:
    ledger = Ledger()
    base = baselines(run, ledger)
    selected = [p for outcome in outcomes for p in outcome.best(run.config.ensemble)]
    prompts = {run.question: [*selected, base.empty, base.manual]}
    scorers, _, reason = open_test(run, prompts, ledger, on_event)
    test = scorers[run.question]
    main, *controls = [_search_of(run, outcome, test) for outcome in outcomes]
    task, plan = run.task, run.plan
    template, verbalizer, hashes = task_rows(task)
    wall = time.perf_counter() - started[0]
    inside = run.lm.meter.seconds - started[1]
    splits: dict[str, dict[str, Any]] = {
        name: {"hash": hashes[name], "size": len(split), "truncated": truncated}
        for name, split, truncated in (
            ("train", task.train, run.train.truncated),
            ("dev", task.dev, sum(part.truncated for part in run.dev)),
            ("test", task.test, sum(part.truncated for part in test)),
        )
    }
    splits["test"] |= {"scored": plan.n_test, "opened": reason}
    return Result(
        task={
            "name": task.name,
            "version": task.version,
            "labels": list(task.labels),
            "language": task.language,
            "reports": list(task.reports),
        },
        lm=lm_identity(run),
        template=template,
        verbalizer=verbalizer,
        vocabulary={
            "size": len(run.vocabulary),
            "language": run.vocabulary.language,
            "filters": [
                {"name": f.name, "reason": f.reason, "removed": f.removed}
                for f in run.vocabulary.filters
            ],
            "file": folder.VOCABULARY,
        },
        splits=splits,
        main=main,
        controls={control.agent: control for control in controls},
        baselines={
            "empty": candidate(run, base.empty, test),
            "manual": candidate(run, base.manual, test),
        },
        manual_candidates=base.rows,
        reward=run.config.reward,
        budget={
            "forwards": plan.budget.forwards,
            "search": plan.search.forwards,
            "selection": plan.race.cost,
        },
        seed=run.config.seed,
        config=run.config.outcome(),
        versions=versions(),
        process={
            "wall_seconds": round(wall, 2),
            "lm_seconds": round(inside, 2),
            "lm_share": round(inside / wall, 4) if wall > 0 else 0.0,
            "lm_tokens": run.lm.meter.tokens,
            "lm_cached_tokens": run.lm.meter.cached_tokens,
            "final_forwards": ledger.forwards,
            "peak_memory_bytes": _peak_memory(),
        },
    )


def _search_of(run: Parts, outcome: Outcome, test: list[SplitScorer]) -> Search:
    best = outcome.best(run.config.ensemble)
    return Search(
        agent=outcome.name,
        settings=settings_of(outcome.agent),
        found=candidate(run, best[0], test),
        reward=outcome.winner.reward,
        ended=outcome.ended,
        ledger=outcome.ledger(),
        trace=trace_rows(run, outcome.trace),
        finalists=finalist_rows(run, outcome.finalists),
        ensemble=ensemble(run, best, test) if run.config.ensemble > 1 else None,
    )


@contextmanager
def _uninterrupted(config: RunConfig) -> Iterator[None]:
    """Turns Ctrl-C into a message that says how to go on."""
    try:
        yield
    except KeyboardInterrupt as error:
        if config.out is None:
            raise
        raise RunError(
            f"Interrupted. Everything scored so far is in {config.out}: give the same command "
            "again to go on."
        ) from error


def versions() -> dict[str, str]:
    """Returns the versions of the packages that decide what a run comes to."""
    found = {"rlprompt": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _peak_memory() -> int:
    """Returns the process's peak resident memory in bytes, 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def run_folder(path: str | Path) -> Path:
    """Returns the folder of a run, named by itself or by its ``result.json``.

    Raises:
        RunError: there is no such folder.
    """
    folder_ = Path(path)
    if folder_.name == folder.RESULT:
        folder_ = folder_.parent
    if not folder_.is_dir():
        raise RunError(f"No run at {path}: there is no such folder.")
    return folder_
