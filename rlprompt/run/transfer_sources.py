"""Finished runs as sources of prompts, and the tasks that these are scored on again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlprompt.core.errors import ConfigError, RunError
from rlprompt.core.result import Result
from rlprompt.run import folder
from rlprompt.run.optimize import run_folder, task_rows
from rlprompt.run.parts import task_of_result
from rlprompt.run.transfer_table import Row
from rlprompt.tasks.examples import Split
from rlprompt.tasks.task import Task


@dataclass(frozen=True, eq=False)
class Source:
    """A finished run.

    Attributes:
        name: what the matrix calls it.
        folder: where it is.
        result: what it came to.
    """

    name: str
    folder: Path
    result: Result

    @property
    def learned(self) -> str:
        """Text of the learned prompt."""
        return self.result.prompt.text

    @property
    def manual(self) -> str:
        """Text of its manual prompt; '' where the task has none."""
        return self.result.baselines["manual"].prompt.text

    @property
    def setting(self) -> tuple[Any, ...]:
        """What is the same for all prompts that are asked the same question."""
        result = self.result
        return result.template, result.verbalizer, _hashes(result)


@dataclass(frozen=True, eq=False)
class Group:
    """Runs with the same examples, template and label words; they share their baselines.

    Attributes:
        runs: the runs.
        task: their task, made anew.
        test: the test examples that are scored.
        opened: why test was opened again.
    """

    runs: tuple[Source, ...]
    task: Task
    test: Split
    opened: str

    @property
    def texts(self) -> tuple[str, ...]:
        """Texts of all distinct prompts, the empty one last."""
        found = [run.learned for run in self.runs] + [run.manual for run in self.runs]
        return tuple(dict.fromkeys([*filter(None, found), ""]))

    @property
    def length(self) -> int:
        """Most tokens that any of the runs left room for, manual prompts aside."""
        return max(int(run.result.config["length"]) for run in self.runs)


def read_sources(runs: Sequence[str | Path]) -> list[Source]:
    """Reads finished runs, whose folders are not touched.

    Raises:
        ConfigError: there is none, or one is named twice.
        RunError: one is not finished, or they were not scored on the same test examples.
    """
    if not runs:
        raise ConfigError("Name the folder of a finished run, e.g. runs/demo.")
    folders = [run_folder(run) for run in runs]
    if len({path.resolve() for path in folders}) < len(folders):
        raise ConfigError("A run is named twice: leave one out.")
    plain = [path.resolve().name for path in folders]
    # Two folders 'run' are told apart by the whole path.
    names = [
        name if plain.count(name) == 1 else str(path)
        for name, path in zip(plain, folders, strict=True)
    ]
    sources = [
        Source(name, path, Result.load(path / folder.RESULT))
        for name, path in zip(names, folders, strict=True)
    ]
    for source in sources[1:]:
        if _hashes(sources[0].result)["test"] != _hashes(source.result)["test"]:
            raise RunError(
                f"{sources[0].folder} and {source.folder} have different test examples, so their "
                "prompts cannot stand in one matrix: give each a command of its own."
            )
    return sources


def groups_of(
    sources: Sequence[Source], test_limit: int | None, data_root: Path | None
) -> list[Group]:
    """Makes the tasks of runs anew and opens their test examples.

    Args:
        sources: runs with the same test examples.
        test_limit: score only the first so many; None for as many as the runs have scored.
        data_root: what ``{data_root}`` stands for in a task's ``.toml`` file.

    Raises:
        ConfigError: the limit is nonsense, or the runs scored different numbers of examples.
        RunError: the data are not those of the run.
    """
    if test_limit is not None and test_limit < 1:
        raise ConfigError(f"test_limit must be 1 or more, not {test_limit}.")
    scored = sorted({int(source.result.splits["test"]["scored"]) for source in sources})
    if len(scored) > 1 and (test_limit is None or test_limit > scored[0]):
        raise ConfigError(
            f"The runs scored {', '.join(map(str, scored))} test examples: to have all prompts "
            f"scored on the same ones, give --test-limit {scored[0]} or less."
        )
    n_test = min(scored[0], test_limit or scored[0])
    members: list[list[Source]] = []
    for source in sources:
        same = [each for each in members if each[0].setting == source.setting]
        if same:
            same[0].append(source)
        else:
            members.append([source])
    groups = []
    for each in members:
        # One of a group stands for all, since what they have in common is all that counts.
        task = task_again(each[0], data_root)
        count = len({text for run in each for text in (run.learned, run.manual, "")})
        opened = (
            f"transfer to other LMs of {count} prompts that finished runs had settled and scored "
            "on it before; nothing is selected by it"
        )
        split = task.test.open(opened)
        test = Split(split.name, split.examples[:n_test])
        groups.append(Group(tuple(each), task, test, opened))
    return groups


def rows_of(groups: Sequence[Group]) -> list[tuple[Group, Row]]:
    """Returns the rows of the matrix: learned prompts, then manual ones, then empty ones.

    Runs of one group share the empty prompt, and the manual one where it is the same.
    """
    owners = [(group, run) for group in groups for run in group.runs]
    n_manual = len({(group, run.manual) for group, run in owners if run.manual})
    manual: dict[tuple[Group, str], Row] = {}
    empty: dict[Group, Row] = {}
    for group, run in owners:
        if run.manual:
            name = "manual" if n_manual == 1 else f"manual ({run.name})"
            manual.setdefault((group, run.manual), Row(name, "manual", run.manual, run.name))
        name = "empty" if len(groups) == 1 else f"empty ({run.name})"
        empty.setdefault(group, Row(name, "empty", "", run.name))
    learned = []
    for group, run in owners:
        against = {"manual": manual[group, run.manual].name} if run.manual else {}
        against["empty"] = empty[group].name
        name = "learned" if len(owners) == 1 else run.name
        learned.append((group, Row(name, "learned", run.learned, run.name, against)))
    rest = [(group, row) for (group, _), row in manual.items()]
    return [*learned, *rest, *empty.items()]


def _hashes(result: Result) -> dict[str, str]:
    return {name: split["hash"] for name, split in result.splits.items()}


def task_again(source: Source, data_root: Path | None = None, task: Task | None = None) -> Task:
    """Makes the task of a run anew from its recorded configuration.

    Args:
        source: the run.
        data_root: what ``{data_root}`` stands for in a task's ``.toml`` file.
        task: the task, where it was made anew already.

    Raises:
        RunError: the data, the template or the label words are not those of the run.
    """
    result, config = source.result, source.result.config
    name = config["task"] if task is None else task.name
    task = task or task_of_result(result, data_root)
    template, verbalizer, hashes = task_rows(task)
    there = _hashes(result)
    changed = [f"the {name} split" for name in there if hashes[name] != there[name]]
    changed += ["the template"] if template != result.template else []
    changed += ["the label words"] if verbalizer != result.verbalizer else []
    if changed:
        raise RunError(
            f"The task {name!r} is not what it was when {source.folder} was run: "
            f"{', '.join(changed)} changed. Scores would not compare: put the task back as it was, "
            "or run again."
        )
    return task
