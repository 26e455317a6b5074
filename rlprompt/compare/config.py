"""What is compared: one frozen object, from flags, a TOML file or Python."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from rlprompt.agents.protocol import AGENTS
from rlprompt.compare.folder import slug
from rlprompt.core.errors import ConfigError, suggest
from rlprompt.core.trials import Setting
from rlprompt.run.config import RunConfig, as_json
from rlprompt.tuning.protocol import make_tuner

#: Prompts that nobody learned.
FIXED = ("empty", "manual", "in-context")
#: Ends the name of a method that scores prompts by racing.
RACING = "+racing"
#: Ends the name of a method whose best prompts are averaged, and says how many. Four of the eight
#: that the selection ends with were as good as eight on movie-reviews (benchmarks/ensemble).
ENSEMBLE = "+ensemble"
MEMBERS = 4
#: Keys of a run that a comparison sets itself, and what to write in their place.
_VARIED = {
    "task": "tasks",
    "agent": "agents",
    "agent_settings": "methods",
    "controls": "agents",
    "racing": f"agents = ['genetic{RACING}'] or methods",
    "ensemble": f"agents = ['ppo{ENSEMBLE}'] or methods",
    "budget": "budgets",
    "seed": "seeds",
    "split_seed": "split_seeds",
}
_OWN_OF_RUN = ("out", "threads")
#: Stands for the agent in the run of a tuner, which has none; it is never asked.
_NO_AGENT = "random"
T = TypeVar("T")


@dataclass(frozen=True)
class Method:
    """A way to find a prompt, or to tune something else: an agent or a tuner.

    Attributes:
        agent: registered name or import path; '' for a tuner.
        settings: in place of the agent's or tuner's own defaults.
        racing: whether prompts are scored by racing.
        ensemble: how many of the best prompts are averaged; 1 for the best alone.
        tuner: registered name or import path; '' for an agent.
    """

    agent: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    racing: bool = False
    ensemble: int = 1
    tuner: str = ""

    @classmethod
    def parse(cls, name: str, values: Any) -> "Method":
        """Makes a method of a TOML table.

        Raises:
            ConfigError: a key is unknown, there is not one of ``agent`` and ``tuner``, or a tuner
                is to race.
        """
        known = [each.name for each in fields(cls)]
        given = values if isinstance(values, Mapping) else {}
        kinds = [each for key in ("agent", "tuner") if (each := given.get(key)) is not None]
        if not kinds or not all(isinstance(each, str) and each for each in kinds):
            raise ConfigError(
                f"The method {name!r} needs an agent: agent = 'ppo', or tuner = 'soft-prompt'."
            )
        if len(kinds) > 1:
            raise ConfigError(f"The method {name!r} has an agent and a tuner: leave one out.")
        if given.get("tuner") and given.get("racing"):
            raise ConfigError(
                f"The method {name!r} is a tuner, which cannot race: leave racing out."
            )
        if given.get("tuner") and "ensemble" in given:
            raise ConfigError(
                f"The method {name!r} is a tuner, which has no prompts to average: leave ensemble "
                "out."
            )
        for key in values:
            if key not in known:
                raise ConfigError(
                    f"The method {name!r} has an unknown key {key!r}.{suggest(key, known)} "
                    f"Known: {', '.join(known)}."
                )
        if not isinstance(values.get("settings", {}), Mapping):
            raise ConfigError(
                f"settings of the method {name!r} must be a table, not {values['settings']!r}."
            )
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """Returns JSON values; an ensemble only where it is one."""
        settings = as_json(self.settings)
        if self.tuner:
            return {"tuner": self.tuner, "settings": settings}
        found = {"agent": self.agent, "settings": settings, "racing": self.racing}
        return found | ({"ensemble": self.ensemble} if self.ensemble > 1 else {})


@dataclass(frozen=True)
class CompareConfig:
    """Everything that is compared, and how.

    Every combination of task, split seed, method, agent seed and budget is one run. What is given
    twice counts once, and ``notes`` say so.

    Attributes:
        tasks: as ``task`` of a run.
        agents: names of methods: registered agents or import paths, with ``+racing`` at the end for
            racing, with ``+ensemble`` for the mean of the four best prompts, or names in
            ``methods``; empty for all registered agents, or for none if there are tuners.
        tuners: names of methods that learn numbers: registered tuners or import paths, or names in
            ``methods``.
        methods: own names for agents and tuners with settings of their own.
        fixed: prompts nobody learned, of 'empty', 'manual', 'in-context'.
        budgets: LM forwards for search and selection of each run; a tuner's backward counts as two.
        split_seeds: seeds of the few-shot draws.
        seeds: seeds of the agents and tuners.
        run: every other setting of a run (:class:`~rlprompt.run.config.RunConfig`), the same for
            all.
        reach: train reward to which forwards are counted; None for what 'random' ends with.
        jobs: processes side by side, each with one LM and, if more than one, one thread; a script
            that asks for more than one needs ``if __name__ == "__main__":`` around what it does.
        threads: CPU threads of each process; None for one if there are several processes.
        out: folder of the comparison.
        notes: what was left out of what was asked for, one sentence each.
    """

    out: Path
    tasks: tuple[str, ...] = ("movie-reviews",)
    agents: tuple[str, ...] = field(default_factory=lambda: tuple(AGENTS))
    methods: Mapping[str, Method] = field(default_factory=dict)
    fixed: tuple[str, ...] = FIXED
    budgets: tuple[int, ...] = (20_000,)
    split_seeds: tuple[int, ...] = (13, 21, 42, 87, 100)
    seeds: tuple[int, ...] = (0,)
    run: Mapping[str, Any] = field(default_factory=dict)
    reach: float | None = None
    jobs: int = 1
    threads: int | None = None
    tuners: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        """Refuses what cannot be meant, before anything is loaded.

        Raises:
            ConfigError: with what to write instead.
        """
        notes: list[str] = []
        for name in ("tasks", "agents", "tuners", "fixed", "budgets", "split_seeds", "seeds"):
            kind = int if name in ("budgets", "split_seeds", "seeds") else str
            given: Sequence[Any] = _list_of(name, getattr(self, name), kind)
            object.__setattr__(self, name, _once(name, given, notes))
        if not self.agents and not self.tuners:
            object.__setattr__(self, "agents", tuple(AGENTS))
        object.__setattr__(self, "notes", tuple(notes))
        object.__setattr__(self, "out", Path(self.out))
        for name in ("tasks", "budgets", "split_seeds", "seeds"):
            if not getattr(self, name):
                raise ConfigError(f"{name} is empty: give one or more.")
        for name in self.fixed:
            if name not in FIXED:
                raise ConfigError(
                    f"Unknown fixed prompt {name!r}.{suggest(name, FIXED)} "
                    f"Known: {', '.join(FIXED)}."
                )
        if type(self.jobs) is not int or self.jobs < 1:
            raise ConfigError(f"jobs must be a whole number of 1 or more, not {self.jobs!r}.")
        if self.reach is not None and not _is_number(self.reach):
            raise ConfigError(f"reach must be a number, a train reward, not {self.reach!r}.")
        self._check_names()
        self._check_run()
        task, first = self.tasks[0], self.split_seeds[0]
        for name in self.names:
            for budget in self.budgets:
                self.run_config(Setting(task, first, name, 0, budget))
        for split_seed in self.split_seeds:
            for seed in self.seeds:
                self.run_config(Setting(task, split_seed, self.names[0], seed, self.budgets[0]))

    def _check_names(self) -> None:
        """Refuses names that a file or a row of the table could not tell apart."""
        for name in self.names:
            if name in FIXED:
                raise ConfigError(
                    f"{name!r} is the name of a fixed prompt: write it under fixed, or give the "
                    "method another name."
                )
        for key, names, other in (
            ("agent", self.agents, "tuners"),
            ("tuner", self.tuners, "agents"),
        ):
            for name in names:
                if name in self.methods and not getattr(self.methods[name], key):
                    raise ConfigError(f"The method {name!r} has no {key}: write it under {other}.")
        for name in self.agents:
            if name in self.tuners:
                raise ConfigError(
                    f"{name!r} stands under agents and under tuners: give one of them a name of "
                    "its own, under methods."
                )
        for key, names in (("tasks", self.tasks), ("agents", self.names)):
            files: dict[str, str] = {}
            for name in names:
                other = files.setdefault(slug(name), name)
                if other != name:
                    raise ConfigError(
                        f"{key}: {other!r} and {name!r} would both be written to {slug(name)!r}: "
                        "name one of them otherwise."
                    )

    def _check_run(self) -> None:
        known = [each.name for each in fields(RunConfig)]
        for key in self.run:
            if key in _VARIED:
                raise ConfigError(f"A comparison varies {key!r}: write {_VARIED[key]}.")
            if key in _OWN_OF_RUN or key not in known:
                own = [each.name for each in fields(self) if each.init and each.name != "run"]
                names = [*own, *(k for k in known if k not in _VARIED and k not in own)]
                raise ConfigError(
                    f"Unknown key {key!r} of a comparison.{suggest(key, names)} "
                    f"Known: {', '.join(names)}."
                )

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> "CompareConfig":
        """Makes a configuration of plain values; keys that are not its own are a run's.

        Raises:
            ConfigError: an unknown key, a value of the wrong kind, or no ``out``.
        """
        own = {each.name for each in fields(cls) if each.init and each.name != "run"}
        if not values.get("out"):
            raise ConfigError("A comparison needs a folder: give --out runs/comparison.")
        mine = {key: value for key, value in values.items() if key in own}
        tables = mine.get("methods", {})
        if not isinstance(tables, Mapping):
            raise ConfigError("methods must be tables: [methods.mine] with agent = 'ppo'.")
        mine["methods"] = {name: Method.parse(name, each) for name, each in tables.items()}
        return cls(**mine, run={key: value for key, value in values.items() if key not in own})

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all methods that have a budget: agents, then tuners."""
        return (*self.agents, *self.tuners)

    def method(self, name: str) -> Method:
        """Returns the method that a name stands for."""
        if name in self.methods:
            return self.methods[name]
        if name in self.tuners:
            return Method(tuner=name)
        return variant(name)

    def run_config(self, setting: Setting) -> RunConfig:
        """Returns the configuration of one run.

        Raises:
            ConfigError: a setting is refused.
        """
        method = self.method(setting.method)
        if method.tuner:
            make_tuner(method.tuner, method.settings)
        return RunConfig.parse(
            {
                **self.run,
                "task": setting.task,
                "agent": method.agent or _NO_AGENT,
                "agent_settings": {} if method.tuner else dict(method.settings),
                "racing": method.racing,
                "ensemble": method.ensemble,
                "budget": setting.budget,
                "seed": setting.seed,
                "split_seed": setting.split_seed,
                "threads": self.threads or (1 if self.jobs > 1 else None),
            },
            "the comparison",
        )

    def settings(self, task: str, split_seed: int) -> list[Setting]:
        """Returns the runs on one split, cheap ones first."""
        return [
            Setting(task, split_seed, name, seed, budget)
            for budget in sorted(self.budgets)
            for name in self.names
            for seed in self.seeds
        ]

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Task and split seed of each group of runs that share a split and an evaluation log."""
        return [(task, seed) for seed in self.split_seeds for task in self.tasks]

    def shared(self) -> dict[str, Any]:
        """Returns, as JSON values, what is the same for all runs of a folder."""
        anything = self.run_config(Setting(self.tasks[0], 0, self.names[0], 0, self.budgets[0]))
        varied = {*_VARIED, "task"}
        return {key: value for key, value in anything.outcome().items() if key not in varied}

    def to_json(self) -> dict[str, Any]:
        """Returns the whole configuration as JSON values."""
        tuners = {name: self.method(name).to_json() for name in self.tuners}
        return {
            "tasks": list(self.tasks),
            "methods": {name: self.method(name).to_json() for name in self.agents},
            **({"tuners": tuners} if tuners else {}),
            "fixed": list(self.fixed),
            "budgets": list(self.budgets),
            "split_seeds": list(self.split_seeds),
            "seeds": list(self.seeds),
            "reach": self.reach,
            "run": self.shared(),
        }


def variant(name: str) -> Method:
    """Returns the method that a name stands for which is not among the methods."""
    if name.endswith(RACING):
        return replace(variant(name.removesuffix(RACING)), racing=True)
    if name.endswith(ENSEMBLE):
        return replace(variant(name.removesuffix(ENSEMBLE)), ensemble=MEMBERS)
    return Method(name)


def _list_of(name: str, value: Any, kind: type[T]) -> Sequence[T]:
    items = [value] if isinstance(value, kind) else value
    if not isinstance(items, list | tuple) or not all(type(each) is kind for each in items):
        what = "whole numbers" if kind is int else "texts"
        raise ConfigError(f"{name} must be a list of {what}, not {value!r}.")
    return items


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and type(value) is not bool and math.isfinite(value)


def _once(name: str, given: Sequence[T], notes: list[str]) -> tuple[T, ...]:
    kept = tuple(dict.fromkeys(given))
    twice = [each for each in kept if given.count(each) > 1]
    if twice:
        listed = ", ".join(map(str, twice))
        notes.append(f"{name}: {listed} was given more than once and counts once.")
    return kept
