"""Which values of a request are lists, and what they hold."""

import reprlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

NOTHING = (type(None), type(pd.NA), type(pd.NaT))


def elements(value: Any) -> Sequence | np.ndarray | None:
    """The elements of a list of any form, in its order; None for what is no list.

    A list is a list, tuple or range, a NumPy array, a pandas, polars or Arrow column, an eager
    tensor. An index plays no part. Text, a mapping, a set, a generator and an array of no dimension
    are none.

    Example:
        >>> elements(pd.Series(["tea", "rum"], index=[7, 3]))
        ['tea', 'rum']
    """
    if isinstance(value, (list, tuple, range)):
        return value
    if isinstance(value, (str, bytes)):
        return None
    if isinstance(value, np.ma.MaskedArray) and value.ndim:
        return value.tolist()  # None where masked
    if not isinstance(getattr(value, "dtype", None), np.dtype):
        for method in ("to_pylist", "to_list"):  # of Arrow; of pandas, polars, ragged tensors
            if hasattr(value, method):
                return getattr(value, method)()
    array = np.asarray(value) if hasattr(value, "__array__") else None
    return array if array is not None and array.ndim else None


def values_of(name: str, value: Any, allowed: tuple, what: str, rows: int) -> Sequence | np.ndarray:
    """The values of a column: one for all rows, or one for each.

    Args:
        name: of the argument.
        value: one value, or a list of one for each row.
        allowed: the types of values.
        what: what they are, for an error.
        rows: the size of the batch.

    Raises:
        TypeError: another form or type.
        ValueError: a list of another length.
    """
    values = elements(value)
    each = values is not None
    if not each:
        values = [single(value)]
    if not flat_of(values, allowed):
        raise TypeError(
            f"{name} must hold {what}, or one for each of the {rows} rows; got {shown(value)}"
        )
    if each and len(values) != rows:
        raise ValueError(
            f"{name} must hold one value, or one for each of the {rows} rows; got {len(values)}"
        )
    return values


def single(value: Any) -> Any:
    """What is no list, without an array of no dimension around it."""
    return np.asarray(value)[()] if hasattr(value, "__array__") else value


def kinds(values: Sequence | np.ndarray) -> set[type]:
    """The types of the elements."""
    if isinstance(values, np.ndarray):
        return {values.dtype.type} if values.dtype != object else set(map(type, values.ravel()))
    return set(map(type, values))


def flat_of(values: Sequence | np.ndarray, allowed: tuple) -> bool:
    """Whether a list is flat, and all of its elements are of the types allowed."""
    return getattr(values, "ndim", 1) == 1 and all(
        issubclass(kind, allowed) and kind is not np.timedelta64 for kind in kinds(values)
    )


def shown(value: Any) -> str:
    """What came, for an error: short, in one line."""
    return " ".join(reprlib.repr(value).split())


def check_unicode(name: str, texts: Sequence[str] | np.ndarray) -> None:
    """Refuses text that cannot be written as UTF-8, which a graph does not take.

    Raises:
        ValueError: half a surrogate pair.
    """
    try:
        "".join(texts).encode()
    except UnicodeEncodeError as error:
        wrong = error.object[error.start : error.end]
        raise ValueError(f"{name} must hold valid Unicode, got text with {wrong!r}") from None
