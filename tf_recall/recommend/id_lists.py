"""Ids in a request: one for each row, and lists of them."""

import itertools
from collections.abc import Sequence, Set
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from tf_recall.data.ids import MISSING, kind_of, raw_ids
from tf_recall.recommend.forms import (
    NOTHING,
    check_unicode,
    elements,
    flat_of,
    kinds,
    shown,
    single,
)

FLOAT = (float, np.floating)
ID = (str, bytes, int, np.integer, *FLOAT, *NOTHING)
ORDERED = "history"


def row_ids(name: str, value: Any, dtype: tf.DType) -> np.ndarray:
    """`[B]` raw ids, one for each row, of an id or a flat list of them.

    Raises:
        TypeError: another form, or ids of another type than `dtype`.
        ValueError: ids beyond int64, or text that is not Unicode.
    """
    values = elements(value)
    values = [single(value)] if values is None else values
    if not flat_of(values, ID):
        raise TypeError(f"{name} must be an id, or a flat list of ids; got {shown(value)}")
    if dtype == tf.int64 and str in kinds(values):  # "" is nobody among whole numbers too
        values = [None if isinstance(each, str) and each == "" else each for each in values]
    return _typed(name, values, dtype)


def item_lists(name: str, value: Any, dtype: tf.DType, rows: int) -> np.ndarray:
    """`[B, L]` raw ids, of one list for all rows or of a list for each, padded.

    Raises:
        TypeError: another form, or ids of another type than `dtype`.
        ValueError: not as many lists as rows, a missing id, ids beyond int64, text that is not
            Unicode.
    """
    lists = _list(name, value)
    if lists is not None and flat_of(lists, ID):
        ids = _known(name, lists, dtype)
        return np.broadcast_to(ids, (rows, len(ids)))
    table = isinstance(lists, np.ndarray) and lists.ndim == 2
    if lists is not None and not table:
        lists = [_list(name, one) for one in lists]
    if lists is None or any(one is None for one in lists):
        raise TypeError(
            f"{name} must be a list of ids, or a list of such lists, one per row; got "
            f"{shown(value)}"
        )
    if len(lists) != rows:
        raise ValueError(f"{name} must have one list for each of the {rows} rows, got {len(lists)}")
    if table:
        return _known(name, lists.ravel(), dtype).reshape(lists.shape)
    ids = _known(name, list(itertools.chain.from_iterable(lists)), dtype)
    lengths = np.array(list(map(len, lists)), int)
    padded = np.full((rows, lengths.max(initial=0)), MISSING[dtype.name], ids.dtype)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = ids
    return padded  # [B, L]


def _list(name, value):
    if isinstance(value, Set) and name != ORDERED:
        return list(value)
    return elements(value)


def _known(name: str, values: Sequence | np.ndarray, dtype: tf.DType) -> np.ndarray:
    """Raw ids, of which none is missing."""
    if not flat_of(values, ID):
        raise TypeError(f"{name} must hold lists of ids, and no lists in them; got {shown(values)}")
    may_lack = any(issubclass(kind, (*NOTHING, *FLOAT)) for kind in kinds(values))
    if may_lack and pd.isna(np.array(values, dtype=object)).any():
        raise ValueError(
            f"{name} holds a missing id (None or NaN): leave it out, [] is an empty list; got "
            f"{shown(values)}"
        )
    return _typed(name, values, dtype)


def _typed(name: str, values: Sequence | np.ndarray, dtype: tf.DType) -> np.ndarray:
    """Raw ids of a flat list, of the type that the recommender knows."""
    if not kinds(values).isdisjoint(NOTHING[1:]):
        values = [None if each is pd.NA or each is pd.NaT else each for each in values]
    try:
        ids = raw_ids(values, name)
    except OverflowError:  # of a large integer beside a float
        raise ValueError(f"{name} must fit 64 bits with a sign; got {shown(values)}") from None
    if kind_of(ids) != dtype.name:
        if pd.isna(np.array(values, dtype=object)).all():
            return np.full(len(ids), MISSING[dtype.name], dtype.as_numpy_dtype)
        raise TypeError(
            f"{name} must hold {dtype.name} ids, as the training data did; got {shown(values)}"
        )
    if dtype == tf.string:
        check_unicode(name, ids)
    return ids
