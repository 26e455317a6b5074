"""Which finished runs are served, and under which names."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rlprompt.core.errors import ConfigError
from rlprompt.core.result import Result
from rlprompt.run import folder
from rlprompt.run.optimize import run_folder


def named_results(runs: Sequence[str]) -> dict[str, Result]:
    """Reads finished runs.

    Args:
        runs: folders, or NAME=FOLDER; without a name it is that of the run's task.

    Returns:
        The results by name, in order.

    Raises:
        RunError: there is no finished run.
        ConfigError: there is no run, two have one name, or they are of several LMs.
    """
    if not runs:
        raise ConfigError("Name one or more folders of finished runs.")
    found: dict[str, Result] = {}
    places: dict[str, str] = {}
    for run in runs:
        name, separator, place = run.partition("=")
        if not separator or Path(run).exists():
            name, place = "", run
        result = Result.load(run_folder(place) / folder.RESULT)
        name = name.strip() or str(result.task["name"])
        if name in found:
            raise ConfigError(
                f"{places[name]} and {place} are both named {name!r}: name one of them, "
                f"e.g. other-{name}={place}."
            )
        found[name], places[name] = result, place
    _check_one_lm(found, places)
    return found


def _check_one_lm(results: Mapping[str, Result], places: Mapping[str, str]) -> None:
    if len({result.lm["fingerprint"] for result in results.values()}) > 1:
        needs = "\n".join(
            f"  {places[name]} needs {result.lm['name']} ({result.lm['fingerprint']})"
            for name, result in results.items()
        )
        raise ConfigError(
            "The runs are of several LMs, and a service loads one. Start a service for each LM, "
            f"on a --port of its own:\n{needs}"
        )
