"""From the files of a comparison to numbers, table, tests, verdict and figures."""

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from rlprompt.compare import folder
from rlprompt.compare.config import CompareConfig
from rlprompt.compare.records import plain
from rlprompt.core.errors import RunError
from rlprompt.core.files import write_text
from rlprompt.core.trials import Failure, Setting, Trial, Tuning
from rlprompt.run.optimize import versions

FIGURES = "figures"
#: Agents that learn a policy by reinforcement; methods built on them count as RL too.
RL_AGENTS = frozenset({"ppo", "soft-q", "categorical"})


def collect(config: CompareConfig) -> dict[str, Any]:
    """Puts together what all runs of a configuration came to, and writes table and figures.

    Returns:
        What ``comparison.json`` holds, all but ``process``.

    Raises:
        RunError: no run was finished, or a file is damaged.
    """
    from rlprompt.report.figures import write_figures
    from rlprompt.report.pairwise import all_tests
    from rlprompt.report.tables import markdown, summary, tests_table
    from rlprompt.report.verdict import verdict

    trials, failures = read_trials(config)
    if not trials:
        first = f" The first: {failures[0].error}" if failures else ""
        raise RunError(f"No run could be finished, {len(failures)} failed.{first}")
    rl = frozenset(name for name in config.agents if config.method(name).agent in RL_AGENTS)
    table = summary(trials, failures, reward=config.reach)
    tests = all_tests(trials)
    words = verdict(trials, failures, rl=rl, tests=tests)
    text = markdown(table, reward=config.reach)
    write_text(config.out / folder.TABLE, text + "\n" + "".join(f"- {each}\n" for each in words))
    figures = write_figures(config.out / FIGURES, trials, rl=rl)
    return {
        "config": config.to_json(),
        "lm": _lm(config),
        "tasks": _tasks(config),
        "summary": _rows(table.to_dict("records")),
        "tests": _rows(tests_table(tests).to_dict("records")),
        "verdict": words,
        "runs": [_row(trial) for trial in trials],
        "failures": [{**asdict(each.setting), "error": each.error} for each in failures],
        "figures": [str(path.relative_to(config.out)) for path in figures],
        "versions": {**versions(), "system": _system()},
    }


def _system() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"


def read_trials(config: CompareConfig) -> tuple[list[Trial], list[Failure]]:
    """Reads all finished runs of a configuration with their test scores, and those that failed."""
    names = task_names(config)
    trials: list[Trial] = []
    failures: list[Failure] = []
    for task, split_seed in config.groups:
        tested = folder.read(folder.group_folder(config.out, task, split_seed) / folder.TEST)
        for setting in config.settings(task, split_seed):
            path = folder.run_file(config.out, setting)
            record = folder.read(path)
            shown = replace(setting, task=names[task])
            if record is None or record.get("error"):
                error = record["error"] if record else "it was not run"
                failures.append(Failure(shown, error))
            elif tested is not None and path.name in tested["selected"]:
                trials.append(_trial(shown, tested, tested["selected"][path.name], record))
            else:
                what = "what was tuned" if "tuner" in record else "its prompt"
                failures.append(Failure(shown, f"{what} could not be scored on test"))
        if tested is None:
            continue
        for name in config.fixed:
            fixed = Setting(names[task], split_seed, name)
            row = tested["fixed"].get(name) or {"error": "it could not be scored"}
            if "error" in row:
                failures.append(Failure(fixed, row["error"]))
            else:
                trials.append(_trial(fixed, tested, row, None))
    return trials, failures


def task_names(config: CompareConfig) -> dict[str, str]:
    """Returns each task's own name where it has one to itself, else what it was asked for by."""
    found = {task: task for task in config.tasks}
    for task, split_seed in config.groups:
        tested = folder.read(folder.group_folder(config.out, task, split_seed) / folder.TEST)
        if tested is not None:
            found[task] = tested["task"]["name"]
    given = list(found.values())
    return {task: name if given.count(name) == 1 else task for task, name in found.items()}


def _trial(
    setting: Setting,
    tested: Mapping[str, Any],
    row: Mapping[str, Any],
    record: Mapping[str, Any] | None,
) -> Trial:
    ledger = record["ledger"] if record else {"forwards": 0, "seconds": 0.0}
    return Trial(
        setting=setting,
        prompt=row["text"],
        correct=np.array([float(hit) for hit in row["correct"]]),
        log_likelihood=np.array(row["log_likelihood"]),
        test_hash=f"{tested['hash']}[:{tested['scored']}]",
        dev_accuracy=row["dev_accuracy"],
        dev_log_likelihood=row["dev_log_likelihood"],
        train_reward=row["train_reward"],
        forwards=int(ledger["forwards"]),
        seconds=float(ledger["seconds"]),
        trace=tuple((t["forwards"], t["reward"]) for t in record.get("trace", ()))
        if record
        else (),
        tuning=Tuning(record["n_parameters"], record["bytes"], **record["traits"])
        if record and "tuner" in record
        else None,
        ensemble=tuple(record.get("ensemble", ())) if record else (),
    )


def _row(trial: Trial) -> dict[str, Any]:
    """Returns a run without its items: what is small enough to be kept with a paper."""
    return {
        **asdict(trial.setting),
        "prompt": trial.prompt,
        **({"ensemble": list(trial.ensemble)} if trial.ensemble else {}),
        "test_accuracy": float(trial.correct.mean()),
        "test_log_likelihood": float(trial.log_likelihood.mean()),
        "dev_accuracy": trial.dev_accuracy,
        "dev_log_likelihood": trial.dev_log_likelihood,
        "train_reward": trial.train_reward,
        "forwards": trial.forwards,
        "seconds": trial.seconds,
        "trace": [list(point) for point in trial.trace],
        **({"tuning": asdict(trial.tuning)} if trial.tuning else {}),
    }


def _tasks(config: CompareConfig) -> list[dict[str, Any]]:
    rows = []
    for task, split_seed in config.groups:
        tested = folder.read(folder.group_folder(config.out, task, split_seed) / folder.TEST)
        if tested is not None:
            test = {key: tested[key] for key in ("hash", "size", "scored", "truncated", "opened")}
            rows.append({"split_seed": split_seed, **tested["task"], "test": test})
    return rows


def _lm(config: CompareConfig) -> dict[str, str]:
    for task, split_seed in config.groups:
        tested = folder.read(folder.group_folder(config.out, task, split_seed) / folder.TEST)
        if tested is not None:
            return dict(tested["lm"])
    return {}


def _rows(records: list[Any]) -> list[dict[str, Any]]:
    """Returns JSON values: NaN, which JSON lacks, is null."""
    return [{str(key): plain(value) for key, value in record.items()} for record in records]


def process_record(
    previous: Mapping[str, Any] | None,
    *,
    wall: float,
    busy: float,
    lm: float,
    loading: float,
    jobs: int,
) -> dict[str, Any]:
    """Adds up what a comparison took over all the times it was started.

    Args:
        previous: ``comparison.json`` of an earlier start, if there is one.
        wall: seconds of this one.
        busy: seconds that its processes worked, loading aside.
        lm: of them inside the LM.
        loading: seconds for loading the LM.
        jobs: processes side by side.

    Returns:
        Totals, and ``lm_share``: which part of the working time was spent inside the LM.
    """
    now = {"wall_seconds": wall, "busy_seconds": busy, "lm_seconds": lm, "loading_seconds": loading}
    before = dict(previous["process"]) if previous is not None else {}
    total = {key: round(before.get(key, 0.0) + value, 2) for key, value in now.items()}
    share = total["lm_seconds"] / total["busy_seconds"] if total["busy_seconds"] else 0.0
    return {
        **total,
        "lm_share": round(share, 4),
        "starts": int(before.get("starts", 0)) + 1,
        "jobs": jobs,
    }
