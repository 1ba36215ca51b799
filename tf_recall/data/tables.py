"""Dataframes and files of any kind, read as pandas dataframes."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


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
    """Makes a frame of columns of one length; arrays of Python strings stay as they are."""
    series = {}
    for name, values in columns.items():
        as_given = isinstance(values, np.ndarray) and values.dtype.kind == "O"
        values = values.to_pandas() if hasattr(values, "to_pandas") else values
        series[name] = pd.Series(values, dtype=object if as_given else None).reset_index(drop=True)
    return pd.DataFrame(series)


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


def read(path: str | Path, keys: set[str]) -> pd.DataFrame:
    """Reads a CSV or Parquet file, by its suffix.

    Args:
        path: the file; `.csv` and `.tsv` may be compressed.
        keys: the columns that hold ids.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another suffix, or a file that cannot be read.
    """
    path = Path(path)
    if {".csv", ".tsv"} & set(path.suffixes):
        return read_csv(path, keys)
    if path.is_dir() or path.suffix in (".parquet", ".pq"):
        return pd.read_parquet(path)
    raise ValueError(f"{path} must end in .csv, .tsv (or those compressed) or .parquet.")


def read_csv(path: str | Path, keys: set[str]) -> pd.DataFrame:
    """Reads a CSV file, tab separated where its name holds `.tsv`.

    Args:
        path: the file.
        keys: the columns that hold ids: integers where every one is written as a plain integer
            ("7", not "007"), else text.

    Raises:
        ValueError: the file cannot be read.
    """
    separator = "\t" if ".tsv" in Path(path).suffixes else ","
    try:
        frame = pd.read_csv(
            path, sep=separator, dtype=dict.fromkeys(keys, object), low_memory=False
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as CSV: {error}") from error
    return frame.assign(**{key: _integers_if_plain(frame[key]) for key in keys if key in frame})


def _integers_if_plain(text: pd.Series) -> pd.Series:
    """The ids as int64 where every one is written as a plain integer: "7", never "007"."""
    codes, known = pd.factorize(text)
    numbers = pd.to_numeric(pd.Series(known, dtype=object), errors="coerce")
    if (
        (codes < 0).any()
        or numbers.dtype != np.int64
        or (numbers.astype(str).to_numpy(object) != known).any()
    ):
        return text
    return pd.Series(numbers.to_numpy()[codes], index=text.index)


def column(frame: pd.DataFrame, name: str) -> pd.Series:
    """A column of the interactions.

    Raises:
        ValueError: no such column.
    """
    if name not in frame:
        raise ValueError(f"The interactions have no column {name!r}, only {list(frame)}.")
    return frame[name]


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
