"""Flags and feature columns in a request: one value for all rows, or one for each."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from tf_recall.data.values import to_number, to_text
from tf_recall.recommend.forms import (
    NOTHING,
    check_unicode,
    elements,
    flat_of,
    kinds,
    shown,
    values_of,
)

FLOAT = (float, np.floating, *NOTHING)
PLAIN = (int, float, np.integer, np.floating)
VALUE = (Real, Decimal, str, bytes, np.bool_, date, np.datetime64, *NOTHING)
PART = (Real, type(None))


def flags(name: str, value: Any, rows: int) -> np.ndarray:
    """`[B]` bool; arguments and errors as of `values_of`."""
    values = values_of(name, value, (bool, np.bool_), "True or False", rows)
    return np.broadcast_to(np.asarray(values, bool), rows)


def texts(name: str, value: Any, rows: int) -> np.ndarray:
    """`[B]` str, "" for missing; arguments and errors as of `values_of`.

    Raises:
        ValueError: what is not Unicode, too.
    """
    values = _values(name, value, "one text or number", rows)
    if all(issubclass(kind, str) for kind in kinds(values)):
        return np.broadcast_to(np.array(values, dtype=object), rows)
    column = pd.Series(values, dtype=None if flat_of(values, FLOAT) else object)
    return np.broadcast_to(to_text(column), rows)


def numbers(name: str, value: Any, rows: int) -> np.ndarray:
    """`[B]` float64, NaN for missing; arguments and errors as of `values_of`.

    Raises:
        ValueError: text that is no number, too.
    """
    values = _values(name, value, "one number", rows)
    try:
        plain = flat_of(values, PLAIN)
        column = np.asarray(values, np.float64) if plain else to_number(values, name)
    except OverflowError:  # a whole number that float64 cannot hold
        column = to_number(values, name)
    return np.broadcast_to(_finite(column), rows)


def vectors(name: str, value: Any, rows: int, size: int) -> np.ndarray:
    """`[B, size]` float64, NaN for missing, of one list of numbers or of one for each row.

    Raises:
        TypeError: another form.
        ValueError: vectors of another length, or not as many as rows.
    """
    column = _matrix(name, elements(value), size)
    says = (
        f"{name} must hold one value, or one for each of the {rows} rows, each a list of {size} "
        "numbers"
    )
    if column is None:
        raise TypeError(f"{says}; got {shown(value)}")
    if column.shape not in ((size,), (rows, size)):
        raise ValueError(f"{says}; got {column.shape}")
    column = _finite(column)
    lacks = np.isnan(column).any(axis=-1, keepdims=True)
    return np.broadcast_to(np.where(lacks, np.nan, column), (rows, size))


def _values(name: str, value: Any, what: str, rows: int) -> Sequence | np.ndarray:
    """As `values_of`, with bytes as text, and all text in Unicode."""
    values = values_of(name, value, VALUE, what, rows)
    found = kinds(values)
    if any(issubclass(kind, bytes) for kind in found):
        try:
            values = [each.decode() if isinstance(each, bytes) else each for each in values]
        except UnicodeDecodeError as error:
            raise ValueError(f"{name} must hold UTF-8, got {shown(error.object)}") from None
    if any(issubclass(kind, str) for kind in found):
        check_unicode(name, [each for each in values if isinstance(each, str)])
    return values


def _matrix(name: str, values: Sequence | np.ndarray | None, size: int) -> np.ndarray | None:
    """A list of numbers as `[n]`, a list of such lists as `[n, L]`; None for another form."""
    if values is None:
        return None
    if isinstance(values, np.ndarray) and values.dtype.kind in "iuf":
        return values.astype(np.float64)
    if not len(values):
        return np.empty((0, size))
    if flat_of(values, PART) and any(each is not None for each in values):
        return _float64(name, values)
    lists = [[None] * size if each is None else elements(each) for each in values]
    if any(each is None or not flat_of(each, PART) for each in lists):
        return None
    return _float64(name, lists) if len(set(map(len, lists))) == 1 else None


def _float64(name: str, values: Sequence | np.ndarray) -> np.ndarray:
    try:
        return np.asarray(values, np.float64)
    except OverflowError:
        _refuse_large(name, values)


def _refuse_large(name, values):
    raise ValueError(f"{name} holds a number that is too large: {shown(values)}") from None


def _finite(values: np.ndarray) -> np.ndarray:
    """The same numbers, NaN for those that float32 cannot hold."""
    with np.errstate(over="ignore"):
        return np.where(np.isfinite(values.astype(np.float32)), values, np.nan)
