"""Dataframes and files of any kind, read as pandas dataframes."""

import difflib
import re
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tf_recall.data import delimited

OURS = ("user_id", "item_id", "timestamp", "weight")
ALIKE = 0.9  # how much a misspelt name is like the right one, at least


def as_pandas(table: Any, what: str) -> pd.DataFrame:
    """Converts a pandas, polars or Arrow table to pandas.

    Args:
        table: the table.
        what: what to call it in an error.

    Raises:
        TypeError: it is not a table.
        ValueError: two columns have one name.
    """
    if not isinstance(table, pd.DataFrame):
        if not hasattr(table, "to_pandas"):
            raise TypeError(
                f"{what} must be a pandas or polars dataframe, got {type(table).__name__}."
            )
        table = table.to_pandas()
    if not table.columns.is_unique:
        raise ValueError(
            f"{what} has columns of the same name: "
            f"{list(table.columns[table.columns.duplicated()])}."
        )
    return table


def of_columns(columns: dict) -> pd.DataFrame:
    """Makes a frame of columns of one length; arrays of Python strings stay as they are.

    Raises:
        ValueError: a name that is no text.
    """
    series = {}
    for name, values in columns.items():
        if not isinstance(name, str):
            raise ValueError(f"Columns have names of text, got {name!r}: rename it.")
        as_given = isinstance(values, np.ndarray) and values.dtype.kind == "O"
        values = values.to_pandas() if hasattr(values, "to_pandas") else values
        series[name] = pd.Series(values, dtype=object if as_given else None).reset_index(drop=True)
    return pd.DataFrame(series)


def checked_names(columns: dict | None) -> dict:
    """Checks `{our name: the table's}` of interactions; None is `{}`.

    Other names than ours are of context columns. One that is nearly one of ours is refused, for it
    would leave out the column that it means.

    Raises:
        ValueError: something else than such a dict, or a name that is nearly ours.
    """
    columns = {} if columns is None else columns
    fits = isinstance(columns, dict) and all(isinstance(name, str) for name in columns)
    if not fits or not all(isinstance(theirs, Hashable) for theirs in columns.values()):
        raise ValueError(
            f"columns holds the table's names of our columns, {{our name: the table's}}, of "
            f"{', '.join(OURS)} and of context columns; got {columns!r}."
        )
    for name, theirs in columns.items():
        if name != theirs and name not in OURS and (meant := _nearly(name)):
            raise ValueError(
                f"columns names {name!r}, which is no column of ours: do you mean {meant!r}? Ours "
                f"are {', '.join(OURS)}; give a context column a name less like them."
            )
    return columns


def _nearly(name: str) -> str | None:
    """Which of our names a name is nearly: with other marks, a letter more or less, two swapped."""
    plain = {re.sub("[^a-z]", "", ours): ours for ours in OURS}
    given = re.sub("[^a-z]", "", name.lower())
    for letters, ours in plain.items():
        if sorted(letters) == sorted(given):
            return ours
    return next((plain[near] for near in difflib.get_close_matches(given, plain, 1, ALIKE)), None)


def renamed(frame: pd.DataFrame, columns: dict) -> pd.DataFrame:
    """Renames columns of a frame.

    Args:
        frame: the frame.
        columns: `{our name: the frame's}`. Another column that already has one of our names drops
            out.

    Raises:
        ValueError: the frame has no such column.
    """
    absent = {ours: theirs for ours, theirs in columns.items() if theirs not in frame}
    if absent:
        raise ValueError(
            f"columns names {absent}, which the table lacks; it has {list(frame.columns)}."
        )
    kept = [name for name in frame.columns if name not in columns and name not in columns.values()]
    chosen = frame[[*columns.values(), *kept]]
    return chosen.set_axis([*columns, *kept], axis=1)


def read(path: str | Path, keys: Iterable[str], missing: Iterable[str] = ()) -> pd.DataFrame:
    """Reads a CSV or Parquet file, by its suffix.

    Args:
        path: the file; `.csv` and `.tsv` may be compressed.
        keys: the columns that hold ids.
        missing: as `read_csv`; a Parquet file says itself which values are missing.

    Raises:
        OSError, ValueError: another suffix, or as `read_csv` and `read_parquet`.
    """
    path = Path(path)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] in ([".parquet"], [".pq"]):
        return read_parquet(path)
    if {".csv", ".tsv"} & set(suffixes):
        return read_csv(path, keys, missing)
    if path.is_dir():
        return read_parquet(path)
    raise ValueError(f"{path} must end in .csv, .tsv (or those compressed) or .parquet.")


def read_csv(path: str | Path, keys: Iterable[str], missing: Iterable[str] = ()) -> pd.DataFrame:
    """Reads a CSV file, tab separated where its name holds `.tsv`.

    A column is of numbers or of booleans where every field is; else it is text. Only an empty field
    is missing: "NA", "null" and "None" are words like any others.

    Args:
        path: the file, perhaps compressed (.gz, .bz2, .xz, .zst, .zip).
        keys: the columns that hold ids: integers where every one is written as a plain integer
            ("7", not "007"), else text.
        missing: further texts that stand for a missing value, in every column: `["NA", "null"]`.

    Raises:
        OSError: no such file, or a folder.
        ValueError: the file cannot be read: it is damaged, empty or not UTF-8, two columns have one
            name, or a line has more or fewer fields than the header.
    """
    table = delimited.read(path, missing)
    return pd.DataFrame(
        {
            name: (delimited.plain_integers if name in keys else delimited.typed)(table[name])
            for name in table.column_names
        }
    )


def read_parquet(path: str | Path) -> pd.DataFrame:
    """Reads a Parquet file, or a folder of them.

    Raises:
        OSError: no such file, or a folder without one.
        ValueError: the file cannot be read: it is damaged, or of another kind.
    """
    path = Path(path)
    if path.is_dir() and not any(path.rglob("*.parquet")):
        raise FileNotFoundError(f"{path} is a folder without *.parquet in it.")
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}.")
    with reading_parquet(path):
        return pd.read_parquet(path)


@contextmanager
def reading_parquet(path: str | Path) -> Iterator[None]:
    """Says of what Arrow cannot read, in one line, which file it is.

    Raises:
        ValueError: the file is damaged, or of another kind.
    """
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise  # it names the file: there is none, or it may not be read
        what = str(error).partition("\n")[0]
        raise ValueError(
            f"{path} cannot be read as Parquet; it is damaged, or of another kind: {what}"
        ) from error


def column(frame: pd.DataFrame, name: str) -> pd.Series:
    """A column of the interactions.

    Raises:
        ValueError: no such column.
    """
    if name not in frame:
        raise ValueError(f"The interactions have no column {name!r}, only {list(frame)}.")
    return frame[name]


def numbered(values: pd.Series) -> tuple[np.ndarray, int]:
    """Each value's number among the distinct ones in their order, and how many these are."""
    if not isinstance(values.dtype, pd.CategoricalDtype):
        numbers, known = pd.factorize(values, sort=True)
        return numbers, len(known)
    codes = values.array.codes  # of a log on disk: its categories are sorted
    there = np.zeros(len(values.dtype.categories), bool)
    there[codes] = True
    if there.all():
        return codes, len(there)
    return (np.cumsum(there, dtype=np.int32) - np.int32(1))[codes], int(there.sum())


def flags(frame: pd.DataFrame, name: str) -> np.ndarray:
    """Reads a column of booleans or numbers as flags: bool `[n]`; 0 and missing are False.

    Raises:
        ValueError: no such column, or it holds something else.
    """
    given = column(frame, name)
    numbers = pd.to_numeric(given, errors="coerce")
    wrong = np.flatnonzero(numbers.isna() & given.notna())
    if wrong.size:
        raise ValueError(
            f"{name} must hold booleans or numbers, got {given.iloc[wrong[0]]!r} in row {wrong[0]}."
        )
    return numbers.fillna(0).to_numpy(np.float64) != 0
