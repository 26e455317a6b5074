"""A learned prompt on other LMs: as text, beside the prompts it has to beat there."""

import gc
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from rlprompt.core.errors import (
    ConfigError,
    DataError,
    LMError,
    RLPromptError,
    RunError,
    TemplateError,
)
from rlprompt.core.events import Event, OnEvent, ignore
from rlprompt.core.files import write_json, write_text
from rlprompt.core.ledger import Ledger
from rlprompt.lm.loading import LMConfig, load_lm
from rlprompt.lm.protocol import FrozenLM
from rlprompt.objective.evaluation_log import EvaluationLog
from rlprompt.run import folder
from rlprompt.run.optimize import versions
from rlprompt.run.predictor import own_lm
from rlprompt.run.transfer_cells import Asked
from rlprompt.run.transfer_sources import Group, Source, groups_of, read_sources, rows_of
from rlprompt.run.transfer_table import (
    Cell,
    Column,
    Failure,
    Row,
    Transfer,
    markdown,
    short_names,
)

TRANSFER = "transfer.json"
TABLE = "transfer.md"
#: What one LM may refuse while the others go on.
_REFUSALS = (ConfigError, DataError, LMError, TemplateError)


@dataclass(frozen=True, eq=False)
class _Target:
    """An LM that is not loaded yet.

    Attributes:
        name: as the user gave it.
        runs: the runs whose prompts were learned on it.
        load: loads it.
    """

    name: str
    runs: tuple[Source, ...]
    load: Callable[[], FrozenLM]


def transfer(
    runs: Sequence[str | Path],
    lms: Sequence[LMConfig | FrozenLM] = (),
    *,
    out: Path | None = None,
    test_limit: int | None = None,
    data_root: Path | None = None,
    device: str | None = None,
    threads: int | None = None,
    on_event: OnEvent = ignore,
) -> Transfer:
    """Scores the learned prompts of finished runs on other LMs, of any family.

    Each prompt goes to each LM as text: its tokenizer makes tokens of it, the template is adapted
    (:class:`rlprompt.lm.protocol.AdaptsTemplates`), calibration is fitted on train anew. The empty
    prompt and the run's manual prompt are scored beside it. LMs are loaded one after the other; one
    that cannot be loaded, or refuses a template, is left out and named in ``failures``.

    Test examples are those of the runs, which are not changed. It costs, for each LM and each
    distinct prompt, ``len(train) + len(test)`` LM forwards; what ``out`` holds is not computed
    again, so that a stopped job goes on, and LMs can be added, when it is called again.

    Args:
        runs: folders of finished runs with the same test examples.
        lms: further LMs; those that the prompts were learned on come first in any case. An LM that
            is loaded already serves a run that was made with it.
        out: folder for scores and tables; None keeps everything in memory.
        test_limit: score only the first so many test examples.
        data_root: what ``{data_root}`` stands for in a task's ``.toml`` file.
        device: for the LMs that the prompts were learned on.
        threads: CPU threads for these.
        on_event: is told of progress.

    Returns:
        The matrix, which is also in ``transfer.json`` and ``transfer.md`` of ``out``, if given.

    Raises:
        RLPromptError: whatever a user can mend, or no LM at all could be asked.
    """
    sources = read_sources(runs)
    targets = _targets(sources, lms, partial(own_lm, device=device, threads=threads))
    if len(targets) < 2:
        raise ConfigError("Name LMs to score the prompt on, e.g. --lms gpt2,roberta-base.")
    groups = groups_of(sources, test_limit, data_root)
    if out is not None:
        claimed = [
            [each.result.lm["fingerprint"], each.learned, each.result.template] for each in sources
        ]
        splits = sources[0].result.splits
        settings = {"runs": claimed, "test": splits["test"]["hash"], "scored": len(groups[0].test)}
        folder.claim(out, {"command": "transfer", **settings})
    names = short_names([target.name for target in targets])
    rows = rows_of(groups)
    columns: list[Column] = []
    failures: list[Failure] = []
    with EvaluationLog(None if out is None else out / folder.EVALUATIONS) as log:
        for name, target in zip(names, targets, strict=True):
            found, failed = _column(name, target, rows, log, on_event)
            columns += [found] if found else []
            failures += failed
            # The LM has to be gone before the next one is loaded.
            gc.collect()
    if not columns:
        raise RunError(
            "No LM could be asked: " + " ".join(f"{each.lm}: {each.message}" for each in failures)
        )
    result = _transfer(groups, rows, columns, failures)
    if out is not None:
        write_text(out / TABLE, markdown(result))
        write_json(out / TRANSFER, result.to_json())
    return result


def _targets(
    sources: Sequence[Source],
    lms: Sequence[LMConfig | FrozenLM],
    load_own: Callable[..., FrozenLM],
) -> list[_Target]:
    """Returns each LM once, those that the prompts were learned on first."""
    targets = []
    given = {lm.identity.fingerprint: lm for lm in lms if not isinstance(lm, LMConfig)}
    for fingerprint in dict.fromkeys(source.result.lm["fingerprint"] for source in sources):
        own = tuple(each for each in sources if each.result.lm["fingerprint"] == fingerprint)
        result = own[0].result
        load = partial(load_own, result, lm=given.pop(fingerprint, None))
        targets.append(_Target(result.lm["name"], own, load))
    for lm in dict.fromkeys(each for each in lms if isinstance(each, LMConfig)):
        if not any(_is_own(lm, source) for source in sources):
            targets.append(_Target(lm.name, (), partial(load_lm, lm)))
    targets += [_Target(lm.identity.name, (), partial(_itself, lm)) for lm in given.values()]
    return targets


def _is_own(lm: LMConfig, source: Source) -> bool:
    """Whether a configuration names the LM that a run was made with, as far as can be seen."""
    there = source.result.lm
    one, other = Path(lm.name).expanduser(), Path(source.result.config["lm"]).expanduser()
    same = one == other or (one.exists() and other.exists() and one.samefile(other))
    return (
        same
        and lm.revision in (None, source.result.config["revision"])
        and lm.dtype in (None, there["dtype"])
        and lm.family in (None, there["family"])
    )


def _itself(lm: FrozenLM) -> FrozenLM:
    return lm


def _column(
    name: str,
    target: _Target,
    rows: Sequence[tuple[Group, Row]],
    log: EvaluationLog,
    on_event: OnEvent,
) -> tuple[Column | None, list[Failure]]:
    """Scores all prompts on one LM."""
    phase = f"transfer to {name}"
    groups = list(dict.fromkeys(group for group, _ in rows))
    total = sum(len(each.texts) * (len(each.task.train) + len(each.test)) for each in groups)
    ledger = Ledger()
    cells: dict[str, Cell] = {}
    failures = []

    def failed(these: Sequence[Group], error: RLPromptError) -> None:
        missing = tuple(row.name for group, row in rows if group in these)
        failures.append(Failure(name, missing, str(error)))
        message = f"no score of {', '.join(missing)}: {error}"
        on_event(Event(phase, ledger.forwards, total, message=message))

    def tell() -> None:
        on_event(Event(phase, ledger.forwards, total))

    try:
        lm = target.load()
    # Another LM than the run's own is a RunError.
    except (*_REFUSALS, RunError) as error:
        failed(groups, error)
        return None, failures
    for group in groups:
        try:
            asked = Asked(lm, group, log, ledger, tell)
            asked.score()
        except _REFUSALS as error:
            failed([group], error)
            continue
        cells |= asked.cells([row for each, row in rows if each is group])
    if not cells:
        return None, failures
    identity = {**asdict(lm.identity), "fingerprint": lm.identity.fingerprint}
    learned = tuple(
        row.name
        for _, row in rows
        if row.kind == "learned" and row.run in {run.name for run in target.runs}
    )
    order = {row.name: cells[row.name] for _, row in rows if row.name in cells}
    seconds = round(ledger.seconds, 3)
    spent = (ledger.forwards, ledger.tokens, seconds)
    return Column(name, identity, learned, order, *spent), failures


def _transfer(
    groups: Sequence[Group],
    rows: Sequence[tuple[Group, Row]],
    columns: Sequence[Column],
    failures: Sequence[Failure],
) -> Transfer:
    first = groups[0].runs[0].result
    test = first.splits["test"]
    runs = [
        {
            "name": run.name,
            "folder": str(run.folder),
            "agent": run.result.main.agent,
            "prompt": run.learned,
            "lm": run.result.lm,
            "template": run.result.template,
            "verbalizer": run.result.verbalizer,
            "splits": run.result.splits,
            "recorded": asdict(run.result.scores["test"]),
            "config": run.result.config,
        }
        for group in groups
        for run in group.runs
    ]
    return Transfer(
        rows=tuple(row for _, row in rows),
        columns=tuple(columns),
        failures=tuple(failures),
        task={key: first.task[key] for key in ("name", "version", "labels", "language")},
        test={
            "hash": test["hash"],
            "size": test["size"],
            "scored": len(groups[0].test),
            "opened": [group.opened for group in groups],
        },
        runs=tuple(runs),
        versions=versions(),
    )
