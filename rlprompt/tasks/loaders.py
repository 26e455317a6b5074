"""Records become labelled inputs: which column is which, what a label is, what is dropped."""

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rlprompt.core.errors import ConfigError, DataError, suggest
from rlprompt.tasks.examples import Example
from rlprompt.tasks.records import Records, read_records


@dataclass(frozen=True)
class Table:
    """Inputs with their labels, before anything is split.

    Attributes:
        source: where they come from, for messages.
        rows: texts by template field, and the label's name, of each row.
        reports: what was dropped on the way, one sentence each.
    """

    source: str
    rows: tuple[tuple[Mapping[str, str], str], ...]
    reports: tuple[str, ...] = ()

    def examples(self, labels: Sequence[str]) -> list[Example]:
        """Returns the examples with their labels as indices into ``labels``.

        Raises:
            DataError: a label is none of ``labels``.
        """
        index = {label: i for i, label in enumerate(labels)}
        for _, label in self.rows:
            if label not in index:
                raise DataError(
                    f"{self.source} has the label {label!r}, which the task lacks."
                    f"{suggest(label, labels)} Labels: {', '.join(labels)}."
                )
        return [Example(fields, index[label]) for fields, label in self.rows]


def label_names(tables: Iterable[Table]) -> tuple[str, ...]:
    """Returns every label that occurs, sorted: as numbers if all are, else as text.

    Raises:
        DataError: there is one label only.
    """
    tables = tuple(tables)
    found = {label for table in tables for _, label in table.rows}
    if len(found) < 2:
        sources = " and ".join(table.source for table in tables)
        raise DataError(
            f"All examples of {sources} have the label {found.pop()!r}: a task needs two "
            "classes or more."
        )
    if all(label.isdecimal() for label in found):
        return tuple(sorted(found, key=lambda label: (int(label), label)))
    return tuple(sorted(found))


def load_table(
    source: str | Path,
    fields: Sequence[str],
    *,
    columns: Mapping[str, str] | None = None,
    label: str = "label",
) -> Table:
    """Loads a CSV, TSV, JSONL or Parquet file, or a hub data set (see ``records``).

    Args:
        source: path, or ``hub:NAME[:CONFIG][@SPLIT]``.
        fields: the template's input fields.
        columns: column of each field. A field that is not named here is the column of its own
            name; else, where the task has one field and the data one column beside the label,
            that column.
        label: column of the label.

    Raises:
        DataError: the data are missing, empty or unreadable, a column is missing, a label is blank.
    """
    return tabulate(read_records(source), fields, columns=columns, label=label)


def tabulate(
    records: Records,
    fields: Sequence[str],
    *,
    columns: Mapping[str, str] | None = None,
    label: str = "label",
) -> Table:
    """Picks the columns of a task out of records; arguments as for :func:`load_table`.

    Rows with an empty field are dropped and counted.

    Raises:
        DataError: a column is missing, a label is blank, or nothing is left.
    """
    chosen = _choose_columns(records, fields, columns or {}, label)
    rows: list[tuple[Mapping[str, str], str]] = []
    empty = 0
    for number, values in records.rows:
        texts = {field: _text(values.get(column)) for field, column in chosen.items()}
        if not all(text.strip() for text in texts.values()):
            empty += 1
            continue
        gold = label_text(values.get(label))
        if gold is None:
            raise DataError(
                f"{records.source}, row {number}: the label (column {label!r}) is blank; "
                "give it a label or take the row out."
            )
        rows.append((texts, gold))
    if not rows:
        raise DataError(f"{records.source} is empty: the text of all {empty} rows is blank.")
    name = Path(records.source).name
    reports = (f"Rows with empty text dropped from {name}: {empty}.",) if empty else ()
    return Table(records.source, tuple(rows), reports)


def _choose_columns(
    records: Records, fields: Sequence[str], columns: Mapping[str, str], label: str
) -> dict[str, str]:
    others = [name for name in records.columns if name != label]
    chosen: dict[str, str] = {}
    for field in fields:
        if field in columns:
            chosen[field] = columns[field]
        elif field not in records.columns and len(fields) == 1 and len(others) == 1:
            chosen[field] = others[0]
        else:
            chosen[field] = field
    for name, what in ((label, "label"), *((column, field) for field, column in chosen.items())):
        if name not in records.columns:
            raise DataError(
                f"{records.source} has no column {name!r}.{suggest(name, records.columns)} "
                f"Its columns: {', '.join(records.columns)}. Say which one it is: "
                f"--column {what}=NAME."
            )
    leaking = [field for field, column in chosen.items() if column == label]
    if leaking:
        raise DataError(
            f"The field {{{leaking[0]}}} would hold the label itself (column {label!r}): the LM "
            "would read the answer."
        )
    return chosen


def _text(value: object) -> str:
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    return "" if missing else str(value)


def label_text(value: object) -> str | None:
    """Returns a label's name, or None where there is none (blank, None, NaN).

    Whole floats lose their fraction: columns of integers become floats in many tools.

    >>> label_text(1.0), label_text(" good "), label_text(float("nan"))
    ('1', 'good', None)
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = _text(value).strip()
    return None if text in ("", "nan", "NaN", "<NA>") else text


@dataclass(frozen=True)
class SplitTables:
    """Ready-made splits.

    Attributes:
        train: examples to search with.
        dev: examples to select with.
        test: examples to report on.
    """

    train: Table
    dev: Table
    test: Table


def load_split_folder(
    folder: str | Path,
    fields: Sequence[str],
    *,
    columns: Mapping[str, str] | None = None,
    label: str = "label",
) -> SplitTables:
    r"""Loads ``train.tsv`` and ``dev.tsv`` of a folder, and ``test.tsv`` there or one level up.

    The files begin with a header such as ``sentence\tlabel`` and know no quoting. Arguments as for
    :func:`load_table`.

    Raises:
        DataError: a file is missing (says which were looked for) or cannot be used.
    """
    folder = Path(folder)
    beside, above = folder / "test.tsv", folder.parent / "test.tsv"
    test = beside if beside.is_file() else above
    missing = [str(p) for p in (folder / "train.tsv", folder / "dev.tsv") if not p.is_file()]
    if not test.is_file():
        missing.append(f"{beside} (or {above})")
    if missing:
        raise DataError(
            f"These files were looked for and not found: {', '.join(missing)}."
            f"{_inner_folders(folder)}"
        )
    train, dev, held_out = (
        load_table(path, fields, columns=columns, label=label)
        for path in (folder / "train.tsv", folder / "dev.tsv", test)
    )
    return SplitTables(train, dev, held_out)


def _inner_folders(folder: Path) -> str:
    inner = sorted(path.parent.name for path in folder.glob("*/train.tsv"))
    return f" Folders inside that have a train.tsv: {', '.join(inner)}; name one." if inner else ""


def records_of(examples: object, text: str, label: str) -> Records:
    """Makes records of what a Python user has at hand.

    Args:
        examples: a list of (text, label) pairs, a list of dicts by column, or a pandas DataFrame.
        text: name that the texts of pairs get as a column.
        label: name that the labels of pairs get as a column.

    Raises:
        DataError: it is none of these, or it is empty.
    """
    source = "the given examples"
    # pandas is asked only if it is loaded: whoever holds a DataFrame has loaded it.
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(examples, pandas.DataFrame):
        source, examples = "the given DataFrame", examples.to_dict("records")
    if isinstance(examples, str | Path):
        raise ConfigError(f"{str(examples)!r} is no list of examples; load files with load_task.")
    if not isinstance(examples, Iterable):
        raise DataError(f"{type(examples).__name__!r} is no list of examples.")
    rows: list[tuple[int, Mapping[str, object]]] = []
    for number, item in enumerate(examples, start=1):
        if isinstance(item, Mapping):
            rows.append((number, {str(key): value for key, value in item.items()}))
        elif isinstance(item, Sequence) and not isinstance(item, str) and len(item) == 2:
            rows.append((number, {text: item[0], label: item[1]}))
        else:
            raise DataError(
                f"Example {number} is {item!r}: give (text, label) pairs or dicts by column."
            )
    if not rows:
        raise DataError(f"Nothing is in {source}.")
    columns = tuple(dict.fromkeys(name for _, row in rows for name in row))
    return Records(source, columns, tuple(rows))
