"""Side tables of users and items: opened, checked, and brought to one kind of ids with the log."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tf_recall.data import tables
from tf_recall.data.ids import is_missing, kind_of, raw_ids


def keys_of(columns: dict) -> set[str]:
    """The names that id columns may have in a file."""
    return {"user_id", "item_id", *(columns.get(key, key) for key in ("user_id", "item_id"))}


def opened(table: Any, columns: dict, missing: Iterable[str]) -> Any:
    """A side table; one that is a path is read."""
    is_path = isinstance(table, (str, Path))
    return tables.read(table, keys_of(columns), missing) if is_path else table


def strings(ids: Any) -> pd.Series:
    """Ids as text."""
    return pd.Series(np.asarray(ids).astype(str).astype(object), dtype=object)


def checked_ids(frame: pd.DataFrame, name: str, what: str) -> np.ndarray:
    """The raw ids of a column, where none is missing.

    Raises:
        TypeError: ids that are neither strings nor integers.
        ValueError: no such column, or a missing id.
    """
    if name not in frame:
        raise ValueError(
            f"{what} has no column {name!r}, only {list(frame.columns)}: "
            f"name the right one with columns={{{name!r}: '<its name>'}}."
        )
    missing = frame[name].isna()
    if missing.any():  # then integers may have come as floats, which are no ids
        other = [isinstance(each, (str, int)) and each in ("", -1) for each in frame[name]]
        missing |= np.array(other)
    else:
        ids = raw_ids(frame[name], f"{name} of {what}")
        missing = is_missing(ids)
    rows = np.flatnonzero(missing)
    if rows.size:
        raise ValueError(
            f"{rows.size} of {len(missing)} {name} in {what} are missing (null, NaN, '' or -1), "
            f"the first in row {rows[0]}: drop those rows."
        )
    return ids


def checked_side(
    table: Any, what: str, key: str, columns: dict, ids: np.ndarray
) -> tuple[pd.DataFrame | None, np.ndarray]:
    """The checked side table, and the interactions' ids in the dtype that both now share."""
    if table is None:
        return None, ids
    table = tables.as_pandas(table, what)
    if key not in table and columns.get(key) in table:
        table = table.rename(columns={columns[key]: key})
    own = checked_ids(table, key, what)
    if kind_of(own) != kind_of(ids):
        own = strings(own).to_numpy()
        ids = strings(ids).to_numpy()
    twice = np.flatnonzero(pd.Series(own, dtype=own.dtype).duplicated())
    if twice.size:
        raise ValueError(
            f"{key} must differ in {what}, got '{own[twice[0]]}' twice (again in row {twice[0]})."
        )
    if not pd.Index(own, dtype=own.dtype).isin(ids).any():
        raise ValueError(
            f"{what} and the interactions share no {key}: "
            f"{own[:3].tolist()} and so on in {what}, {ids[:3].tolist()} and so on in the "
            "interactions."
        )
    return tables.of_columns({key: own} | {name: table[name] for name in table if name != key}), ids


def side_table(
    table: Any,
    what: str,
    key: str,
    columns: dict,
    ids: np.ndarray,
    missing: Iterable[str] = (),
) -> pd.DataFrame:
    """A checked side table of a log that keeps its ids as they are.

    Args:
        table: a table, or the path of a file.
        what: "users" or "items".
        key: "user_id" or "item_id".
        columns, missing: as `Interactions.from_frame`.
        ids: the distinct ids of the log.

    Raises:
        ValueError: as `Interactions.from_frame`, or ids of another kind than the log's.
    """
    table, same = checked_side(opened(table, columns, missing), what, key, columns, ids)
    if kind_of(same) != kind_of(ids):
        raise ValueError(
            f"{key} holds {kind_of(ids)} ids in the interactions and others in {what}: write both "
            "alike"
        )
    return table
