"""From a finished run to files for another tool, read back by that tool."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlprompt.core.errors import RLPromptError, RunError
from rlprompt.core.events import steps
from rlprompt.core.result import Result
from rlprompt.export.artifact import Artifact, artifact_of
from rlprompt.export.check import Check, compare, read_back
from rlprompt.export.place import make_free, write_about
from rlprompt.export.protocol import EXPORTS, Exporter, ExportError, make_exporter
from rlprompt.run import folder
from rlprompt.run.optimize import run_folder
from rlprompt.run.parts import task_of_result
from rlprompt.tasks.examples import Example

if TYPE_CHECKING:
    from rlprompt.lm.protocol import FrozenLM

#: Examples of dev that an export is checked with.
N_CHECKED = 8
#: For a run whose data are not here any more.
SENTENCES = (
    "I laughed twice, and I would go again.",
    "Nothing in it works, from the first minute to the last.",
    "The parts do not add up; some of them are very good.",
)


@dataclass(frozen=True)
class Exported:
    """An export.

    Attributes:
        path: of the file or folder.
        about: of the file with the facts and the check.
        artifact: what was exported.
        check: whether the target library gets the same out of it.
        note: what there is to say about the examples that it was checked with.
    """

    path: Path
    about: Path
    artifact: Artifact
    check: Check
    note: str


def export(
    run: str | Path,
    to: str,
    out: str | Path,
    *,
    ensemble: bool = False,
    force: bool = False,
    check: bool = True,
    data_root: Path | None = None,
    python: str | None = None,
    seconds: float = 300.0,
    threads: int | None = None,
) -> Exported:
    """Writes a run's learned prompt in a format of another tool, and has it read back.

    Args:
        run: folder of a finished run, or its ``result.json``.
        to: name of the format, see ``rlprompt list exports``.
        out: file or folder to write.
        ensemble: whether all prompts of a run with ``ensemble`` are written, to be averaged.
        force: whether a file that no export wrote may be replaced.
        check: whether it is read back.
        data_root: what ``{data_root}`` stands for in a task's ``.toml`` file.
        python: interpreter that has the target library, where this one has not.
        seconds: time limit of reading it back.
        threads: CPU threads for the LM.

    Raises:
        ConfigError: unknown format.
        ExportError: the format cannot hold this prompt, or the place is taken.
        RunError: there is no finished run, it has no ensemble, or its LM has changed.
    """
    exporter = make_exporter(to)
    result = read_run(run)
    examples, note = examples_of(result, data_root)
    artifact = artifact_of(result, examples, ensemble=ensemble)
    if artifact.others and not getattr(exporter, "ensembles", False):
        raise ExportError(
            f"{to} holds one prompt, and this is an ensemble of {len(artifact.members)}: export it "
            "to python or json, or its first prompt alone, without --ensemble."
        )
    exporter.accept(artifact)

    @cache
    def lm() -> "FrozenLM":
        from rlprompt.run.predictor import own_lm

        # On the CPU, where the other tool is asked as well.
        return own_lm(result, device="cpu", threads=threads)

    path = Path(out)
    make_free(path, force=force)
    exporter.write(artifact, path, lm)
    # Before the check, since a format may have its facts there.
    unchecked = Check("unchecked", reason="not asked for")
    about = write_about(path, to, artifact, unchecked.to_json())
    if not check:
        return Exported(path, about, artifact, unchecked, note)
    options: dict[str, Any] = {"python": python, "seconds": seconds, "threads": threads}
    found = _check(result, artifact, to, exporter, path, lm, options)
    return Exported(path, write_about(path, to, artifact, found.to_json()), artifact, found, note)


def _check(
    result: Result,
    artifact: Artifact,
    to: str,
    exporter: Exporter,
    path: Path,
    lm: "Callable[[], FrozenLM]",
    options: dict[str, Any],
) -> Check:
    from rlprompt.export.reference import readings

    if options["python"] is None and not exporter.target.version():
        return _missing(exporter)
    if artifact.lm.family == "seq2seq" and artifact.template.has_mask:
        return Check(
            "unchecked",
            reason="an encoder-decoder LM with {mask} is asked in a way of its own, which plain "
            "transformers has no call for",
        )
    examples = artifact.examples[:N_CHECKED] or tuple(
        Example(dict.fromkeys(artifact.fields, text), 0) for text in SENTENCES
    )
    try:
        asked = lm()
        steps.info("asking it about %d examples ...", len(examples))
        expected = readings(result, artifact, asked, examples)
        reader = exporter.target.version() or options["python"]
        steps.info(
            "having %s read %s back, for up to %g s ...", reader, path.name, options["seconds"]
        )
        library, found = read_back(
            to, exporter, path, [example.fields for example in examples], **options
        )
    except ExportError as error:
        return Check("failed", exporter.target.version(), reason=str(error))
    except RLPromptError as error:
        return Check("unchecked", reason=f"the LM cannot be asked here: {error}")
    if not library:
        return _missing(exporter)
    return compare(library, expected, found, artifact.lm.dtype)


def _missing(exporter: Exporter) -> Check:
    return Check("unchecked", reason=f"what reads it is not installed: {exporter.target.install}")


def read_run(run: str | Path) -> Result:
    """Reads a finished run.

    Raises:
        RunError: there is none, it is not finished, or it is a comparison.
    """
    where = run_folder(run)
    if (where / "comparison.json").is_file():
        raise RunError(_comparison(where))
    if (where / folder.CONFIG).is_file() and not (where / folder.RESULT).exists():
        raise RunError(
            f"The run {where} is not finished: give its rlprompt optimize command again, which "
            "goes on where it was."
        )
    return Result.load(where / folder.RESULT)


def examples_of(result: Result, data_root: Path | None) -> tuple[tuple[Example, ...], str]:
    """Makes the run's dev examples anew.

    Returns:
        The examples, and '' or why there are none.
    """
    try:
        task = task_of_result(result, data_root)
    except (RLPromptError, KeyError) as error:
        return (), f"The task's data are not here ({error})."
    if task.dev.hash != result.splits["dev"]["hash"]:
        return (), "The task's data have changed since the run."
    return tuple(task.dev), ""


def _comparison(where: Path) -> str:
    """Says how to get a run out of a comparison."""
    advice = f"{where} is a comparison, which keeps scores and no run"
    try:
        value = json.loads((where / "comparison.json").read_text(encoding="utf-8"))
        methods, config = value["config"]["methods"], value["config"]["run"]
        learned = [each for each in value["runs"] if each["method"] in methods]
        best = max(learned, key=lambda each: float(each["dev_log_likelihood"]))
        method = methods[best["method"]]
        flags = [f"--set {name}={setting}" for name, setting in method["settings"].items()]
        flags += ["--racing"] if method["racing"] else []
        flags += [f"--{k} {config[k]}" for k in ("fluency", "perplexity") if config.get(k)]
        flags += [f"--ensemble {method['ensemble']}"] if "ensemble" in method else []
        whole = " --ensemble" if "ensemble" in method else ""
        command = " ".join(
            [
                f"rlprompt optimize --task {best['task']} --lm {config['lm']}",
                f"--agent {method['agent']}",
                *flags,
                f"--reward {config['reward']}",
                f"--split-seed {best['split_seed']} --shots {config['shots']}",
                f"--length {config['length']} --seed {best['seed']} --budget {best['budget']}",
                "--out runs/best",
            ]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return f"{advice}: export the folder of a run that rlprompt optimize made."
    then = f"then export runs/best{whole}"
    return f"{advice}. Its best prompt on dev is made a run by: {command}; {then}."


def names() -> list[str]:
    """Returns the formats, for help texts."""
    return [*EXPORTS]
