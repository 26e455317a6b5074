"""Rows of data files and hub data sets, as they stand there."""

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlprompt.core.errors import DataError, suggest
from rlprompt.tasks.optional import need

HUB = "hub:"


@dataclass(frozen=True)
class Records:
    """Rows with named columns, values not interpreted yet.

    Attributes:
        source: where they come from, for messages.
        columns: names of the columns, in order.
        rows: number and values by column of each row. The number is what a user looks up: the
            line for text files (the header is line 1), else the row counted from 1.
    """

    source: str
    columns: tuple[str, ...]
    rows: tuple[tuple[int, Mapping[str, object]], ...]


def read_records(source: str | Path) -> Records:
    """Reads a data file, or a hub data set where the source begins with ``hub:``.

    Args:
        source: path of a .csv (standard quoting), .tsv (no quoting), .jsonl or .parquet file; or
            ``hub:NAME``, ``hub:NAME:CONFIG``, each with an optional ``@SPLIT`` (default 'train').

    Raises:
        DataError: the file is missing, empty, unreadable or of another kind.
        ConfigError: the package that reads this kind is not installed.
    """
    if str(source).startswith(HUB):
        return _read_hub(str(source))
    path = Path(source)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"Cannot tell what kind of file {path} is: name it {', '.join(sorted(_READERS))}; "
            f"a data set of the hub is written {HUB}NAME."
        )
    if not path.is_file():
        there = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"There is no data file {path}.{suggest(path.name, there)}")
    try:
        records = reader(path)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error}); save it as UTF-8.") from error
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror or error}.") from error
    return _checked(records)


def _checked(records: Records) -> Records:
    if not records.rows:
        raise DataError(f"{records.source} is empty: it has no row of data.")
    twice = [name for name in records.columns if records.columns.count(name) > 1]
    if twice:
        raise DataError(f"{records.source} has two columns named {twice[0]!r}; rename one.")
    return records


def _read_csv(path: Path) -> Records:
    # utf-8-sig, since spreadsheets put a byte order mark before the first column's name. Strict,
    # since a lenient reader swallows the rest of the file after one unbalanced quote.
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        numbered: list[tuple[int, list[str]]] = []
        try:
            line = 1
            for cells in reader:
                numbered.append((line, cells))
                line = reader.line_num + 1
        except csv.Error as error:
            raise DataError(
                f"{path}, line {reader.line_num}: {error}; check the quotes."
            ) from error
    return _from_cells(path, numbered)


def _read_tsv(path: Path) -> Records:
    # No quoting: a quotation mark is a character like any other, as in the few-shot data sets that
    # are handed round as TSV. Only a line feed ends a row, so U+2028 and the like stay in the text.
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        lines = [(n, line.rstrip("\r\n")) for n, line in enumerate(file, start=1)]
    return _from_cells(path, [(n, line.split("\t")) for n, line in lines if line])


def _from_cells(path: Path, numbered: list[tuple[int, list[str]]]) -> Records:
    filled = [(n, cells) for n, cells in numbered if cells]
    if not filled:
        raise DataError(f"{path} is empty: its first line must name the columns.")
    header = tuple(cell.strip() for cell in filled[0][1])
    for n, cells in filled[1:]:
        if len(cells) != len(header):
            raise DataError(
                f"{path}, line {n}: {len(cells)} cells, but the header names {len(header)} "
                f"columns ({', '.join(header)})."
            )
    rows = tuple((n, dict(zip(header, cells, strict=True))) for n, cells in filled[1:])
    return Records(str(path), header, rows)


def _read_jsonl(path: Path) -> Records:
    rows: list[tuple[int, Mapping[str, object]]] = []
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        for n, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{path}, line {n}: no JSON ({error.msg}).") from error
            if not isinstance(value, dict):
                raise DataError(f'{path}, line {n}: not an object such as {{"text": "..."}}.')
            rows.append((n, value))
    # Objects may leave keys out; the columns are all that occur, in order of first occurrence.
    columns = tuple(dict.fromkeys(name for _, row in rows for name in row))
    return Records(str(path), columns, tuple(rows))


def _read_parquet(path: Path) -> Records:
    pyarrow = need("pyarrow", "pyarrow", "Reading Parquet files")
    parquet = need("pyarrow.parquet", "pyarrow", "Reading Parquet files")
    try:
        table = parquet.read_table(path)
    except pyarrow.ArrowException as error:
        raise DataError(f"{path} is no readable Parquet file: {error}.") from error
    rows = tuple(enumerate(table.to_pylist(), start=1))
    return Records(str(path), tuple(table.column_names), rows)


_READERS: dict[str, Callable[[Path], Records]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
SUFFIXES = tuple(_READERS)


def parse_hub(source: str) -> tuple[str, str | None, str]:
    """Takes ``hub:NAME[:CONFIG][@SPLIT]`` apart.

    Raises:
        DataError: there is no name.

    >>> parse_hub("hub:glue:sst2@validation")
    ('glue', 'sst2', 'validation')
    >>> parse_hub("hub:ag_news")
    ('ag_news', None, 'train')
    """
    rest, _, split = source.removeprefix(HUB).partition("@")
    name, _, config = rest.partition(":")
    if not name:
        raise DataError(f"{source!r} names no data set: write {HUB}NAME[:CONFIG][@SPLIT].")
    return name, config or None, split or "train"


def _read_hub(source: str) -> Records:
    name, config, split = parse_hub(source)
    datasets = need("datasets", "datasets", "Reading data sets of the hub")
    try:
        data: Any = datasets.load_dataset(name, config, split=split)
    # The hub client raises whatever its network, file and parsing layers raise; the user can mend
    # the name, the split or the connection, and needs the original message for that.
    except Exception as error:
        raise DataError(
            f"Cannot load {source} from the hub: {type(error).__name__}: {error}"
        ) from error
    names = {
        column: feature.names
        for column, feature in data.features.items()
        if type(feature).__name__ == "ClassLabel"
    }
    rows = tuple((n, _named(row, names)) for n, row in enumerate(data, start=1))
    return _checked(Records(source, tuple(data.column_names), rows))


def _named(row: Mapping[str, Any], names: Mapping[str, list[str]]) -> dict[str, object]:
    """Puts class names in place of class numbers; -1, the hub's hidden label, becomes None."""
    named: dict[str, object] = dict(row)
    for column, classes in names.items():
        number = row[column]
        named[column] = None if number is None or number < 0 else classes[number]
    return named
