"""What a run is asked to do: one frozen object, from flags, a TOML file or Python."""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

from rlprompt.agents.protocol import make_agent
from rlprompt.core.errors import ConfigError, suggest
from rlprompt.lm.loading import LMConfig, find_source
from rlprompt.objective.fluency import ENOUGH
from rlprompt.rewards import REWARDS

#: Fields that say how a run is carried out, not what comes out of it.
_NOT_OUTCOME = ("out", "threads", "data_root")

#: Settings that came later: left out where they change nothing, so that the folder of a run that
#: knows nothing of them is still its own.
_LATER = {"family": None, "pieces": False, "ensemble": 1, "fluency": 0.0, "perplexity": ENOUGH}

_LEAST = {
    "budget": 1,
    "length": 1,
    "vocabulary_size": 2,
    "seed": 0,
    "split_seed": 0,
    "shots": 1,
    "test_limit": 1,
    "ensemble": 1,
}


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides the outcome of a run, and where it is written.

    Attributes:
        task: registered name, ``.toml`` file, folder of ready splits or data file.
        lm: alias, hub id, folder or ``.gguf`` file.
        agent: registered name or import path ``module:Class``.
        agent_settings: in place of the agent's own defaults.
        controls: agents that get the same budget and the same selection, for comparison.
        budget: LM forwards for search and selection, of the agent and of each control.
        seed: of the agents.
        shots: train examples a label (dev has as many); None for the task's own number.
        split_seed: of the few-shot draw.
        length: tokens of a prompt; where the template's slots have sizes, these together.
        reward: registered name or import path ``module:function``.
        racing: whether prompts are scored on part of train first and dropped where they fall
            behind (:mod:`rlprompt.objective.racing`).
        fluency: what a nat a token costs that the prompt's log-probability under the LM itself
            lacks, off the reward on examples; 0 for nothing (:mod:`rlprompt.objective.fluency`).
        perplexity: a token, at which a prompt is fluent enough.
        ensemble: how many of the prompts that reach the last round of the selection are scored
            together, their calibrated predictions averaged, beside the best one alone; 1 for none.
        vocabulary_size: tokens that a prompt may be made of.
        whole_words: whether these must be whole words of the task's language.
        pieces: whether a prompt may also hold pieces from inside words, as WordPiece's ``##ing``.
        exclude: words that must not be in a prompt.
        test_limit: score only the first so many test examples; None for all.
        template: in place of the task's own.
        words: label words in place of the task's own.
        data_root: folder that ``{data_root}`` stands for in a task's ``.toml`` file.
        columns: input field or 'label' to the column of the data.
        manual_prompts: hand-written prompts in place of the task's own.
        revision: of the LM on the hub.
        device: for the LM; None for the best there is.
        family: of the LM, 'causal', 'masked' or 'seq2seq'; None for what the checkpoint says.
        dtype: of the LM; None for float32 on a CPU and bfloat16 elsewhere.
        threads: CPU threads; None for torch's choice.
        trust_remote_code: whether code from the LM's hub repository may run here.
        out: folder of the run; None keeps everything in memory.
    """

    task: str = "movie-reviews"
    lm: str = "smollm2"
    agent: str = "ppo"
    agent_settings: Mapping[str, Any] = field(default_factory=dict)
    controls: tuple[str, ...] = ()
    budget: int = 20_000
    seed: int = 0
    shots: int | None = None
    split_seed: int = 0
    length: int = 5
    reward: str = "calibrated_log_likelihood"
    racing: bool = False
    fluency: float = 0.0
    perplexity: float = ENOUGH
    ensemble: int = 1
    vocabulary_size: int = 2000
    whole_words: bool = True
    pieces: bool = False
    exclude: tuple[str, ...] = ()
    test_limit: int | None = None
    template: str | None = None
    words: Mapping[str, str | Sequence[str]] | None = None
    data_root: Path | None = None
    columns: Mapping[str, str] | None = None
    manual_prompts: tuple[str, ...] | None = None
    revision: str | None = None
    device: str | None = None
    family: str | None = None
    dtype: str | None = None
    threads: int | None = None
    trust_remote_code: bool = False
    out: Path | None = None

    def __post_init__(self) -> None:
        """Refuses what cannot be meant, before anything is loaded.

        Raises:
            ConfigError: with what to write instead.
        """
        for each in fields(self):
            value = _plain(getattr(self, each.name), each.type)
            object.__setattr__(self, each.name, value)
            _check_kind(each.name, value, each.type)
        for name, least in _LEAST.items():
            number = getattr(self, name)
            if number is not None and number < least:
                raise ConfigError(f"{name} must be {least} or more, not {number}.")
        if not 0 <= self.fluency < math.inf:
            raise ConfigError(f"fluency must be 0 or more, not {self.fluency}.")
        if not 1 <= self.perplexity < math.inf:
            raise ConfigError(f"perplexity must be 1 or more, not {self.perplexity}.")
        if self.agent in self.controls or len(set(self.controls)) < len(self.controls):
            raise ConfigError(
                f"The agent {self.agent!r} and the controls ({', '.join(self.controls)}) must all "
                "be different."
            )
        make_agent(self.agent, dict(self.agent_settings))
        for control in self.controls:
            make_agent(control, {})
        if not callable(REWARDS.get(self.reward)):
            raise ConfigError(f"The reward {self.reward!r} is no function of an evaluation.")
        find_source(self.lm)
        self.lm_config()

    def lm_config(self) -> LMConfig:
        """Returns how the LM is loaded."""
        return LMConfig(
            name=self.lm,
            revision=self.revision,
            device=self.device,
            dtype=self.dtype,
            threads=self.threads,
            trust_remote_code=self.trust_remote_code,
            family=self.family,
        )

    def outcome(self) -> dict[str, Any]:
        """Returns, as JSON values, what decides the outcome: all but where and how fast."""
        return {
            each.name: as_json(getattr(self, each.name))
            for each in fields(self)
            if each.name not in _NOT_OUTCOME
            and (each.name not in _LATER or getattr(self, each.name) != _LATER[each.name])
        }

    @classmethod
    def parse(cls, values: Mapping[str, Any], source: str = "the configuration") -> "RunConfig":
        """Makes a configuration from plain values.

        Raises:
            ConfigError: an unknown key, with the nearest one, or a value of the wrong kind.
        """
        known = [each.name for each in fields(cls)]
        for key in values:
            if key not in known:
                raise ConfigError(
                    f"Unknown key {key!r} in {source}.{suggest(key, known)} "
                    f"Known: {', '.join(known)}."
                )
        return cls(**values)

    @classmethod
    def read(cls, path: Path) -> dict[str, Any]:
        """Reads the values of a TOML file, for :meth:`parse`.

        Raises:
            ConfigError: the file cannot be read.
        """
        try:
            with path.open("rb") as file:
                return tomllib.load(file)
        except FileNotFoundError as error:
            raise ConfigError(f"No configuration file {path}.") from error
        except (OSError, ValueError) as error:  # no TOML, or no UTF-8
            raise ConfigError(f"Cannot read {path}: {error}.") from error


_NAMES: dict[Any, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple: "a list of texts",
    Mapping: "a table",
    Path: "a path",
    type(None): "nothing at all",
}


def _kinds(hint: Any) -> list[Any]:
    """Returns the classes that a field's values may be of."""
    parts = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    return [get_origin(part) or part for part in parts]


def _plain(value: Any, hint: Any) -> Any:
    """Turns lists into tuples, text into paths and whole numbers into others, where wanted."""
    kinds = _kinds(hint)
    if isinstance(value, int) and not isinstance(value, bool) and float in kinds:
        return float(value)
    if isinstance(value, list) and tuple in kinds:
        return tuple(value)
    return Path(value) if isinstance(value, str) and Path in kinds else value


def _check_kind(name: str, value: Any, hint: Any) -> None:
    kinds = _kinds(hint)
    right = isinstance(value, tuple(kinds)) and (not isinstance(value, bool) or bool in kinds)
    if right and isinstance(value, tuple):
        right = _are_texts(value)
    if right and name == "columns":
        right = value is None or _are_texts([*value.values()])
    if right and name == "words" and value is not None:
        right = all(isinstance(each, str) or _are_texts(each) for each in value.values())
    if not right:
        raise ConfigError(
            f"{name} must be {' or '.join(_NAMES[kind] for kind in kinds)}, not {value!r}."
        )


def _are_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)


def as_json(value: Any) -> Any:
    """Returns JSON values; of a live object (an SB3 callback) the name of its class."""
    if isinstance(value, Mapping):
        return {str(key): as_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(each) for each in value]
    plain = isinstance(value, bool | int | float | str | None)
    return value if plain else type(value).__qualname__
