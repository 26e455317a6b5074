"""The command that makes a run, or a comparison, again."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from rlprompt.compare.config import Method, variant
from rlprompt.core.result import Result
from rlprompt.run.config import RunConfig, as_json

#: Settings whose flag is not their name, or that are given once for each of their values.
_FLAGS = {"columns": "column", "manual_prompts": "manual-prompt", "tasks": "task"}
_REPEATED = ("exclude", "manual_prompts")
#: Settings of a comparison that hold several values in one flag.
_LISTS = ("tasks", "agents", "tuners", "fixed", "budgets", "split_seeds", "seeds")


def optimize_command(result: Result, run: Path) -> str:
    """Returns ``rlprompt optimize`` with all settings of a run that are not the default."""
    config = result.config
    words = ["rlprompt", "optimize"]
    for name, default in _defaults(RunConfig).items():
        value = config.get(name, default)
        if name == "agent_settings":
            words += [f"--set={key}={_toml(each)}" for key, each in value.items()]
        elif name in ("task", "lm", "agent", "budget", "seed") or value != default:
            words += _flag(name, value)
    return shlex.join([*words, "--out", str(run)])


def compare_command(config: Mapping[str, Any], folder: Path) -> tuple[str, str]:
    """Returns ``rlprompt compare`` and the TOML file that it takes.

    The file is '' where flags say it all: where no method has a name or settings of its own.

    Args:
        config: what ``comparison.json`` holds.
        folder: of the comparison.
    """
    values = {key: value for key, value in config.items() if key not in ("methods", "run")}
    own = {**config["methods"], **config.get("tuners", {})}
    values |= {"agents": list(config["methods"]), "tuners": list(config.get("tuners", {}))}
    plain = {name: variant(name).to_json() for name in values["agents"]}
    plain |= {name: Method(tuner=name).to_json() for name in values["tuners"]}
    named = {name: method for name, method in own.items() if plain[name] != method}
    run = {
        name: value
        for name, value in config["run"].items()
        if name == "lm" or value != _defaults(RunConfig)[name]
    }
    words = ["rlprompt", "compare"]
    if named:
        kept = {key: value for key, value in {**values, **run}.items() if value not in (None, [])}
        return shlex.join([*words, "--config", "comparison.toml", "--out", str(folder)]), (
            "".join(f"{key} = {_toml(value)}\n" for key, value in kept.items())
            + "".join(_table(name, method) for name, method in named.items())
        )
    for name in _LISTS:
        if values[name]:
            words += [f"--{_kebab(name)}", ",".join(map(str, values[name]))]
    words += _flag("reach", values["reach"])
    for name, value in run.items():
        words += _flag(name, value)
    return shlex.join([*words, "--out", str(folder)]), ""


def _defaults(config: type[RunConfig]) -> dict[str, Any]:
    """Returns the default of each setting, as JSON values."""
    found = {}
    for each in fields(config):
        made = each.default_factory() if each.default_factory is not MISSING else each.default
        found[each.name] = as_json(made)
    return found


def _flag(name: str, value: Any) -> list[str]:
    """Returns the words that give a setting to the command line; none for None."""
    flag = f"--{_kebab(name)}"
    if value is None:
        return []
    if isinstance(value, bool):
        return [flag if value else f"--no-{_kebab(name)}"]
    if isinstance(value, Mapping):
        return [
            word
            for key, each in value.items()
            for word in (flag, f"{key}={each if isinstance(each, str) else ','.join(each)}")
        ]
    if name in _REPEATED:
        # With '=', since a text may begin with a dash.
        return [f"{flag}={each}" for each in value]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [flag, ",".join(map(str, value))]
    return [flag, str(value)]


def _kebab(name: str) -> str:
    return _FLAGS.get(name, name).replace("_", "-")


def _table(name: str, method: Mapping[str, Any]) -> str:
    lines = "".join(f"{key} = {_toml(value)}\n" for key, value in method.items())
    return f"\n[methods.{json.dumps(name)}]\n{lines}"


def _toml(value: Any) -> str:
    """Writes a value as TOML has it; JSON is the same but for tables."""
    if isinstance(value, Mapping):
        return (
            "{"
            + ", ".join(f"{json.dumps(key)} = {_toml(each)}" for key, each in value.items())
            + "}"
        )
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)
