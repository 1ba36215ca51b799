"""Interactions: who chose what, when, and how much, with the side tables of users and items."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from tf_recall.data.vocabulary import is_missing, kind_of, raw_ids

LAST_SECOND = 253_402_300_799  # of the year 9999


@dataclass(frozen=True, eq=False)
class Interactions:
    """A table of interactions, checked, with what is known of its users and items beside it.

    Build it with a `from_...` constructor: those validate. Ids are what the outside world says, strings or int64. A CSV
    file does not tell the two apart, so there ids are integers where every one is written as a plain integer ("7", not
    "007"). Where a table and its side table differ (7 and "7"), both become strings.

    Attributes:
      frame: columns `user_id`, `item_id`, and where known `timestamp` (int64, seconds since 1970 UTC) and `weight`
        (float32, at least 0). Any further column is *context*: what was known when the interaction happened.
      items: `item_id` and what is known of each item, or None. It may tell of items without interactions.
      users: `user_id` and what is known of each user, or None.

    Example:
      >>> clicks = Interactions.from_columns(user_id=["ann", "bob"], item_id=[7, 8], timestamp=[100, 200])
      >>> len(clicks.select(clicks.frame["timestamp"] > 100))
      1
    """

    frame: pd.DataFrame
    items: pd.DataFrame | None = None
    users: pd.DataFrame | None = None

    @classmethod
    def from_frame(cls, frame, columns: dict | None = None, items=None, users=None) -> "Interactions":
        """Interactions of a dataframe.

        Args:
          frame: pandas, polars, Arrow or any table that has `to_pandas`.
          columns: our name to the frame's, e.g. `{"user_id": "customer", "timestamp": "date"}`; others keep theirs.
          items: table (or path of a CSV or Parquet file) with `item_id`, under that name or the one in `columns`.
          users: the same for users, with `user_id`.

        Raises:
          TypeError: a table that is none, or ids that are neither strings nor integers.
          ValueError: no rows; a column that is not there or is there twice; a missing id; a time that cannot be read or is
            not in seconds; a weight that is negative or not a number; an id twice in its side table, or no id shared with it.
        """
        frame = _renamed(_pandas(frame, "interactions"), columns or {})
        if frame.empty:
            raise ValueError(f"There are no interactions: the table has columns {list(frame.columns)} and no rows.")
        checked = {name: _ids(frame, name, "interactions") for name in ("user_id", "item_id")}
        if "timestamp" in frame:
            checked["timestamp"] = _seconds(frame["timestamp"])
        if "weight" in frame:
            checked["weight"] = _weights(frame["weight"])
        rest = {name: frame[name] for name in frame.columns if name not in checked}
        items, checked["item_id"] = _side_table(items, "items", "item_id", columns or {}, checked["item_id"])
        users, checked["user_id"] = _side_table(users, "users", "user_id", columns or {}, checked["user_id"])
        return cls(_table(checked | rest), items, users)

    @classmethod
    def from_columns(
        cls, user_id, item_id, timestamp=None, weight=None, items=None, users=None, **context
    ) -> "Interactions":
        """Interactions of arrays of one length; every further keyword is a context column. Raises as `from_frame`."""
        given = {"user_id": user_id, "item_id": item_id, "timestamp": timestamp, "weight": weight, **context}
        given = {name: values for name, values in given.items() if values is not None}
        lengths = {name: len(values) for name, values in given.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"Columns must have one length, got {lengths}.")
        return cls.from_frame(_table(given), items=items, users=users)

    @classmethod
    def from_csv(cls, path, columns: dict | None = None, items=None, users=None) -> "Interactions":
        """Interactions of a CSV file (tab separated when its name holds `.tsv`), compressed or not. As `from_frame`."""
        return cls.from_frame(_read_csv(Path(path), columns or {}), columns, items, users)

    @classmethod
    def from_parquet(cls, path, columns: dict | None = None, items=None, users=None) -> "Interactions":
        """Interactions of a Parquet file or a folder of them. As `from_frame`."""
        return cls.from_frame(pd.read_parquet(path), columns, items, users)

    @classmethod
    def from_file(cls, path, columns: dict | None = None, items=None, users=None) -> "Interactions":
        """Interactions of a file whose suffix tells what it is: `.csv`, `.tsv` (also compressed) or `.parquet`."""
        return cls.from_frame(_read(path, columns or {}), columns, items, users)

    def __len__(self) -> int:
        return len(self.frame)

    def select(self, rows) -> "Interactions":
        """The interactions of a boolean mask or of row positions, with the same side tables."""
        rows = np.asarray(rows)
        chosen = self.frame[rows] if rows.dtype == bool else self.frame.iloc[rows]
        return replace(self, frame=chosen.reset_index(drop=True))


def with_string_ids(interactions: Interactions, key: str) -> Interactions:
    """The same interactions with the ids of column `key` as strings, also in its side table."""
    side = "users" if key == "user_id" else "items"
    tables = {"frame": interactions.frame, side: getattr(interactions, side)}
    texts = {
        name: _table({column: table[column] for column in table} | {key: _strings(table[key].to_numpy())})
        for name, table in tables.items()
        if table is not None
    }
    return replace(interactions, **texts)


def _strings(ids: np.ndarray) -> np.ndarray:
    return ids.astype(str).astype(object)


def _pandas(table, what: str) -> pd.DataFrame:
    if not isinstance(table, pd.DataFrame):
        if not hasattr(table, "to_pandas"):
            raise TypeError(f"{what} must be a pandas or polars dataframe, got {type(table).__name__}.")
        table = table.to_pandas()
    if not table.columns.is_unique:
        raise ValueError(f"{what} has columns of the same name: {list(table.columns[table.columns.duplicated()])}.")
    return table


def _renamed(frame: pd.DataFrame, columns: dict) -> pd.DataFrame:
    absent = {ours: theirs for ours, theirs in columns.items() if theirs not in frame}
    if absent:
        raise ValueError(f"columns names {absent}, which the table lacks; it has {list(frame.columns)}.")
    kept = {name: frame[name] for name in frame.columns if name not in columns and name not in columns.values()}
    return pd.DataFrame({ours: frame[theirs] for ours, theirs in columns.items()} | kept, index=frame.index)


def _table(columns: dict) -> pd.DataFrame:
    """A frame of the columns with rows counted from 0; strings stay Python strings, which every later step reads fastest."""
    plain = {}
    for name, values in columns.items():
        values = values.reset_index(drop=True) if isinstance(values, pd.Series) else values
        plain[name] = pd.Series(values, dtype=object) if getattr(values, "dtype", None) == object else pd.Series(values)
    return pd.DataFrame(plain)


def _ids(frame: pd.DataFrame, name: str, what: str) -> np.ndarray:
    if name not in frame:
        raise ValueError(
            f"{what} has no column {name!r}, only {list(frame.columns)}; name yours with columns={{{name!r}: '<its name>'}}."
        )
    ids = raw_ids(frame[name], f"{name} of {what}")
    missing = np.flatnonzero(is_missing(ids))
    if missing.size:
        raise ValueError(
            f"{missing.size} of {len(ids)} {name} in {what} are missing (null, NaN, '' or -1), the first in row {missing[0]}: "
            "drop those rows."
        )
    return ids


def _seconds(column: pd.Series) -> np.ndarray:
    if column.isna().any():
        raise ValueError(f"{int(column.isna().sum())} timestamp are missing, the first in row {_first(column.isna())}.")
    if pd.api.types.is_bool_dtype(column):
        raise TypeError("timestamp must be seconds since 1970, dates or text, got booleans.")
    if pd.api.types.is_numeric_dtype(column):
        seconds = np.floor(column.to_numpy(np.float64)) if column.dtype.kind == "f" else column.to_numpy(np.int64)
        worst = np.abs(seconds).max()
        if not worst <= LAST_SECOND:
            raise ValueError(
                f"timestamp must be seconds since 1970, got {worst:g}, past the year 9999: divide milliseconds by 1000."
            )
        return seconds.astype(np.int64)
    times = pd.to_datetime(column, errors="coerce", utc=True)
    if times.isna().any():
        times = pd.to_datetime(column, errors="coerce", utc=True, format="ISO8601")
    if times.isna().any():
        row = _first(times.isna())
        raise ValueError(
            f"timestamp {column.iloc[row]!r} in row {row} cannot be read as a time in the format of the first, "
            f"{column.iloc[0]!r}: give seconds since 1970, datetimes, or text such as 2024-03-31 18:05:00."
        )
    return times.dt.tz_localize(None).to_numpy("datetime64[s]").astype(np.int64)


def _weights(column: pd.Series) -> np.ndarray:
    weights = pd.to_numeric(column, errors="coerce").to_numpy(np.float32, na_value=np.nan)
    wrong = ~(np.isfinite(weights) & (weights >= 0))
    if wrong.any():
        row = _first(wrong)
        raise ValueError(f"weight must be a number of at least 0, got {column.iloc[row]!r} in row {row}.")
    return weights


def _first(mask) -> int:
    return int(np.flatnonzero(np.asarray(mask))[0])


def _side_table(table, what: str, key: str, columns: dict, ids: np.ndarray):
    """The side table, checked, and the interactions' ids in the dtype that both now share."""
    if table is None:
        return None, ids
    table = _read(table, columns) if isinstance(table, (str, Path)) else _pandas(table, what)
    if key not in table and columns.get(key) in table:
        table = table.rename(columns={columns[key]: key})
    own = _ids(table, key, what)
    if kind_of(own) != kind_of(ids):
        own, ids = _strings(own), _strings(ids)
    twice = pd.Series(own).duplicated()
    if twice.any():
        raise ValueError(f"{key} must differ in {what}, got {own[_first(twice)]!r} twice (row {_first(twice)}).")
    if not pd.Index(own).isin(ids).any():
        raise ValueError(
            f"{what} and interactions share no {key}: {own[:3].tolist()} and so on here, {ids[:3].tolist()} and so on there."
        )
    return _table({key: own} | {name: table[name] for name in table.columns if name != key}), ids


def _read(path, columns: dict) -> pd.DataFrame:
    path = Path(path)
    if {".csv", ".tsv"} & set(path.suffixes):
        return _read_csv(path, columns)
    if path.is_dir() or path.suffix in (".parquet", ".pq"):
        return pd.read_parquet(path)
    raise ValueError(f"{path} must end in .csv, .tsv (or those compressed) or .parquet.")


def _read_csv(path: Path, columns: dict) -> pd.DataFrame:
    keys = {columns.get(name, name) for name in ("user_id", "item_id")} | {"user_id", "item_id"}
    frame = pd.read_csv(
        path, sep="\t" if ".tsv" in path.suffixes else ",", dtype=dict.fromkeys(keys, object), low_memory=False
    )
    for key in keys & set(frame.columns):
        frame[key] = _integers_if_plain(frame[key])
    return frame


def _integers_if_plain(text: pd.Series) -> pd.Series:
    """int64 when that loses nothing: every id reads as an integer, and is written as one would write it ("7", not "007")."""
    codes, known = pd.factorize(text)
    numbers = pd.to_numeric(pd.Series(known, dtype=object), errors="coerce")
    if (codes < 0).any() or numbers.dtype != np.int64 or (numbers.astype(str).to_numpy(object) != known).any():
        return text
    return pd.Series(numbers.to_numpy()[codes], index=text.index)
