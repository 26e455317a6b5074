"""A task as a small TOML file.

Every key but the data is optional::

    data = "reviews.csv"            # or: folder = "16-shot/sst-2/13"
    template = "{text}{prompt}"
    manual_prompts = [" It was"]
    shots = 16

    [columns]                       # field of the template = column of the data
    text = "sentence"
    label = "label"

    [words]                         # label = word or words
    negative = "bad"
    positive = ["good", "great"]

Paths may hold two placeholders: ``{data_root}``, a folder that the user of the file names when it
is used, and ``{split_seed}``, for a folder with ready splits of several seeds.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from rlprompt.core.errors import ConfigError, suggest
from rlprompt.tasks.loaders import label_names, load_split_folder, load_table
from rlprompt.tasks.records import HUB
from rlprompt.tasks.splits import ready_splits
from rlprompt.tasks.task import Task, few_shot
from rlprompt.tasks.template import Template

_LABEL = "label"
_PATHS = ("data", "folder", "test")
ROOT = "{data_root}"
SEED = "{split_seed}"


@dataclass(frozen=True)
class TaskConfig:
    """What a user says about a task; attributes are the keys of the file.

    Attributes:
        name: name for reports.
        data: data file, or ``hub:NAME[:CONFIG][@SPLIT]``; few-shot splits are drawn from it.
        folder: folder of ready splits, in place of ``data``; ``{split_seed}`` in it stands for the
            seed.
        test: test set that goes with ``data``, in the same form.
        columns: column of each template field; the key 'label' is the column of the label.
        template: see :class:`~rlprompt.tasks.template.Template`.
        answer_prefix: see :class:`~rlprompt.tasks.template.Template`.
        words: words of each label; empty where the label names are the words.
        manual_prompts: texts exactly as they stand in the slot, see
            :class:`~rlprompt.tasks.task.Task`.
        shots: examples a class in train, and in dev; a folder brings its own.
        test_size: upper limit for the size of test.
        language: code of the language, e.g. 'en'.
    """

    name: str
    data: str | None = None
    folder: str | None = None
    test: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    template: str = "{text}{prompt}"
    answer_prefix: str = " "
    words: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    manual_prompts: tuple[str, ...] = ()
    shots: int = 16
    test_size: int | None = None
    language: str = "en"

    def __post_init__(self) -> None:
        """Refuses settings that contradict each other.

        Raises:
            ConfigError: with what to write instead.
            TemplateError: the template is refused.
        """
        if (self.data is None) == (self.folder is None):
            raise ConfigError(
                f"The task {self.name!r} needs either data (a file or {HUB}NAME) or folder (of "
                "ready splits), and not both."
            )
        if self.folder is not None and self.test is not None:
            raise ConfigError("A folder brings its own test.tsv: leave out folder or test.")
        if self.shots < 1:
            raise ConfigError(f"shots = {self.shots}: give at least 1 example a class.")
        if self.test_size is not None and self.test_size < 1:
            raise ConfigError(f"test_size = {self.test_size}: give 1 or more, or leave it out.")
        known = (*Template(self.template, self.answer_prefix).fields, _LABEL)
        for name in self.columns:
            if name not in known:
                raise ConfigError(
                    f"columns names {name!r}, which the template {self.template!r} lacks."
                    f"{suggest(name, known)} Known: {', '.join(known)}."
                )

    @classmethod
    def load(cls, path: str | Path, data_root: str | Path | None = None) -> "TaskConfig":
        """Reads a TOML file; relative paths in it start from its folder.

        Args:
            path: the file.
            data_root: what ``{data_root}`` stands for in its paths.

        Raises:
            ConfigError: the file is missing or no TOML, a key is unknown, a value of wrong type.
        """
        path = Path(path)
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise ConfigError(f"Cannot read {path}: {error.strerror or error}.") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is no TOML file: {error}.") from error
        return cls.parse(
            {"name": path.stem, **values}, base=path.parent, source=str(path), data_root=data_root
        )

    @classmethod
    def parse(
        cls,
        values: Mapping[str, Any],
        *,
        base: Path,
        source: str,
        data_root: str | Path | None = None,
    ) -> "TaskConfig":
        """Checks the values of a TOML file.

        Args:
            values: what the TOML holds.
            base: folder that relative paths start from.
            source: name of the file, for messages.
            data_root: what ``{data_root}`` stands for in the paths.

        Raises:
            ConfigError: a key is unknown or a value of wrong type.
        """
        known = [f.name for f in fields(cls)]
        for key, value in values.items():
            if key not in known:
                raise ConfigError(
                    f"{source}: unknown key {key!r}.{suggest(key, known)} "
                    f"Known: {', '.join(known)}."
                )
            _check_type(source, key, value)
        checked = dict(values)
        for key in _PATHS:
            if key in checked and not checked[key].startswith(HUB):
                checked[key] = str(base / _rooted(source, key, checked[key], data_root))
        if "manual_prompts" in checked:
            checked["manual_prompts"] = tuple(checked["manual_prompts"])
        return cls(**checked)

    def build(self, seed: int, shots: int | None = None) -> Task:
        """Loads the data and makes the task.

        Args:
            seed: seed of the draw; a folder of ready splits is the same for every seed.
            shots: in place of the file's own number; a folder of ready splits brings its own.

        Raises:
            DataError: the data are missing or unfit.
            TemplateError: the words or the template do not suit the data.
        """
        template = Template(self.template, self.answer_prefix)
        columns = {key: value for key, value in self.columns.items() if key != _LABEL}
        label = self.columns.get(_LABEL, _LABEL)
        if self.folder is not None:
            return self._ready(self.folder, seed, template, columns, label)
        pool, test = (
            None
            if source is None
            else load_table(source, template.fields, columns=columns, label=label)
            for source in (self.data, self.test)
        )
        assert pool is not None  # __post_init__: there is no folder, so there is data
        return few_shot(
            self.name,
            pool,
            test,
            words=self.words or None,
            template=template,
            shots=self.shots if shots is None else shots,
            seed=seed,
            test_size=self.test_size,
            manual_prompts=self.manual_prompts,
            language=self.language,
        )

    def _ready(
        self, source: str, seed: int, template: Template, columns: Mapping[str, str], label: str
    ) -> Task:
        folder = source.replace(SEED, str(seed))
        tables = load_split_folder(folder, template.fields, columns=columns, label=label)
        parts = (tables.train, tables.dev, tables.test)
        labels = label_names(parts)
        train, dev, test = (table.examples(labels) for table in parts)
        fixed = "shots do" if SEED in source else "seed and shots do"
        note = f"The splits are those of {Path(folder).name}; {fixed} not change them."
        return Task.from_splits(
            self.name,
            labels,
            ready_splits(train, dev, test, self.test_size),
            words=self.words or None,
            template=template,
            manual_prompts=self.manual_prompts,
            language=self.language,
            reports=[note, *(report for table in parts for report in table.reports)],
        )


_INTEGERS = ("shots", "test_size")


def _rooted(source: str, key: str, path: str, data_root: str | Path | None) -> str:
    """Puts the user's data folder into a path of the file."""
    if ROOT not in path:
        return path
    if data_root is None:
        raise ConfigError(
            f"{source}: {key} = {path!r} lies in a folder that you name: give --data-root DIR."
        )
    return path.replace(ROOT, str(Path(data_root).absolute()))


def _check_type(source: str, key: str, value: object) -> None:
    """Checks one value of a TOML file against the kind its key has."""
    if key in _INTEGERS:
        right, kind = isinstance(value, int) and not isinstance(value, bool), "a whole number"
    elif key == "manual_prompts":
        right, kind = _is_texts(value), 'a list of texts, e.g. [" It was"]'
    elif key == "columns":
        right = isinstance(value, dict) and all(isinstance(v, str) for v in value.values())
        kind = 'a table of texts, e.g. [columns] text = "sentence"'
    elif key == "words":
        right = isinstance(value, dict) and all(
            isinstance(v, str) or _is_texts(v) for v in value.values()
        )
        kind = 'a table of words or lists of words, e.g. [words] positive = "good"'
    else:
        right, kind = isinstance(value, str), "a text in quotes"
    if not right:
        raise ConfigError(f"{source}: {key} = {value!r} must be {kind}.")


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
