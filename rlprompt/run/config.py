"""What a run is asked to do: one frozen object, from flags, a TOML file or Python."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from rlprompt.agents.protocol import AGENTS, make_agent
from rlprompt.core.errors import ConfigError, suggest
from rlprompt.lm.loading import LMConfig, find_source
from rlprompt.rewards import REWARDS

#: Fields that say how a run is carried out, not what comes out of it.
_NOT_OUTCOME = ("out", "threads")


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
        length: tokens of a prompt.
        reward: registered name or import path ``module:function``.
        vocabulary_size: tokens that a prompt may be made of.
        whole_words: whether these must be whole words of the task's language.
        exclude: words that must not be in a prompt.
        test_limit: score only the first so many test examples; None for all.
        template: in place of the task's own.
        words: label words in place of the task's own.
        columns: input field or 'label' to the column of the data.
        manual_prompts: hand-written prompts in place of the task's own.
        revision: of the LM on the hub.
        device: for the LM; None for the best there is.
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
    vocabulary_size: int = 2000
    whole_words: bool = True
    exclude: tuple[str, ...] = ()
    test_limit: int | None = None
    template: str | None = None
    words: Mapping[str, str | Sequence[str]] | None = None
    columns: Mapping[str, str] | None = None
    manual_prompts: tuple[str, ...] | None = None
    revision: str | None = None
    device: str | None = None
    dtype: str | None = None
    threads: int | None = None
    trust_remote_code: bool = False
    out: Path | None = None

    def __post_init__(self) -> None:
        """Refuses what cannot be meant, before anything is loaded.

        Raises:
            ConfigError: with what to write instead.
        """
        for name, least in (("budget", 1), ("length", 1), ("vocabulary_size", 2), ("seed", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be {least} or more, not {getattr(self, name)}.")
        for name in ("shots", "test_limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be 1 or more, not {value}.")
        if self.agent in self.controls or len(set(self.controls)) < len(self.controls):
            raise ConfigError(
                f"The agent {self.agent!r} and the controls ({', '.join(self.controls)}) must all "
                "be different."
            )
        make_agent(self.agent, dict(self.agent_settings))
        for control in self.controls:
            AGENTS.get(control)
        REWARDS.get(self.reward)
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
        )

    def outcome(self) -> dict[str, Any]:
        """Returns, as JSON values, what decides the outcome: all but where and how fast."""
        value = asdict(self)
        for name in _NOT_OUTCOME:
            del value[name]
        return {k: list(v) if isinstance(v, tuple) else v for k, v in value.items()}

    @classmethod
    def parse(cls, values: Mapping[str, Any], source: str = "the configuration") -> "RunConfig":
        """Makes a configuration from plain values.

        Raises:
            ConfigError: an unknown key, with the nearest one, or a value of the wrong kind.
        """
        known = {f.name: f for f in fields(cls)}
        clean: dict[str, Any] = {}
        for key, value in values.items():
            if key not in known:
                raise ConfigError(
                    f"Unknown key {key!r} in {source}.{suggest(key, known)} "
                    f"Known: {', '.join(known)}."
                )
            clean[key] = _converted(key, value, known[key].default, source)
        return cls(**clean)

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
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"Cannot read {path}: {error}.") from error


def _converted(key: str, value: Any, default: Any, source: str) -> Any:
    """Turns lists into tuples and text into paths; refuses values of another kind."""
    if key == "out":
        return None if value is None else Path(value)
    if isinstance(value, list):
        value = tuple(value)
    if value is None or default is None or default is MISSING:
        return value
    if type(value) is not type(default):
        raise ConfigError(
            f"{key} in {source} must be of type {type(default).__name__}, not {value!r}."
        )
    return value
