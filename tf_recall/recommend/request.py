"""Requests: Python values, parsed and checked once, and what recommenders ask of them."""

import functools
from collections.abc import Iterator

import numpy as np
import pandas as pd
import tensorflow as tf

from tf_recall.data.ids import MISSING, is_missing, kind_of, raw_ids
from tf_recall.data.values import to_number, to_text


class Request:
    """A batch of requests for users, or for items: arrays as they were given, and rows of a
    catalog.

    `batch` makes the arrays, which a TensorFlow graph takes as they are. The rows are looked up
    when they are first asked for.

    Args:
        recommender: the `Recommender` that the request is for.
        key: "user_id" or "item_id", the input that tells the size of the batch.
        arrays: one for each of `recommender.inputs_of(key)`.

    Attributes:
        rows: `[B]` rows of the users, or items; 0 for unknown ones.
        exclude, allow, history: `[B, L]` item rows, 0 for padding and unknown ids; L is 0 where
            none are given.
        restricted: `[B]` bool, whether `allow` holds anything, be it unknown ids alone.
        exclude_seen: `[B]` bool.
    """

    def __init__(self, recommender, key: str, arrays: dict[str, np.ndarray]):
        self.key, self.arrays = key, arrays
        self._recommender = recommender

    @classmethod
    def parse(cls, recommender, key: str, ids, given: dict) -> "Request":
        """Checks the arguments of `recommend` or `similar`; arguments and errors as of `batch`."""
        inputs, name = recommender.inputs_of(key), type(recommender).__name__
        return cls(recommender, key, batch(inputs, key, {key: ids, **given}, name))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def ids(self) -> np.ndarray:
        """The raw ids `[B]` of the users, or items."""
        return self.arrays[self.key]

    @property
    def catalog(self):
        """The recommender's catalog."""
        return self._recommender.catalog

    @functools.cached_property
    def rows(self) -> np.ndarray:
        side = self.catalog.users if self.key == "user_id" else self.catalog.items
        return side.encode(self.ids)

    @functools.cached_property
    def exclude(self) -> np.ndarray:
        return self._item_rows("exclude")

    @functools.cached_property
    def allow(self) -> np.ndarray:
        return self._item_rows("allow")

    @functools.cached_property
    def history(self) -> np.ndarray:
        return self._item_rows("history")

    @property
    def restricted(self) -> np.ndarray:
        if "allow" not in self.arrays:
            return np.zeros(len(self), bool)
        return (self.arrays["allow"] != self._missing).any(axis=1)

    @property
    def exclude_seen(self) -> np.ndarray:
        return self.arrays.get("exclude_seen", np.zeros(len(self), bool))

    def blocks(self, size: int) -> Iterator["Request"]:
        """The request in blocks of so many rows; of an empty one, one empty block."""
        for start in range(0, max(1, len(self)), size):
            at = slice(start, start + size)
            arrays = {name: array[at] for name, array in self.arrays.items()}
            yield Request(self._recommender, self.key, arrays)

    def to(self, other) -> "Request":
        """The same request, as far as another recommender takes it.

        What it does not take is left out. A history that it does not take is still excluded where
        `exclude_seen` asks for it.
        """
        inputs = other.inputs_of(self.key)
        arrays = {name: self.arrays[name] for name in inputs}
        if "history" in self.arrays and "history" not in inputs and "exclude" in inputs:
            history = np.where(self.exclude_seen[:, None], self.arrays["history"], self._missing)
            arrays["exclude"] = np.concatenate([arrays["exclude"], history], axis=1)
        return Request(other, self.key, arrays)

    @property
    def _missing(self):
        """What lists of items are padded with."""
        return MISSING[self._recommender.id_types["item_id"]]

    def _item_rows(self, name):
        if name not in self.arrays:
            return np.zeros((len(self), 0), np.int32)
        ids = self.arrays[name]
        return self.catalog.items.encode(ids.ravel()).reshape(ids.shape)


def batch(
    inputs: dict[str, tf.TensorSpec], key: str, given: dict, name: str = "this model"
) -> dict[str, np.ndarray]:
    """One array per input of an endpoint, batch first; what is not given is filled with what stands
    for nothing.

    For nothing stand `""` for text, NaN for a number, -1 for an integer id, `False`, and lists of
    length 0. A single value, or a flat list of ids (to exclude, to allow, a history), counts for
    every row of the batch.

    Args:
        inputs: what the endpoint takes, by name.
        key: the input that sets the size of the batch, "user_id" or "item_id".
        given: values by input name; None for not given.
        name: what the endpoint is called in an error.

    Raises:
        ValueError: an input that the endpoint does not have, or a length that is not the batch's.
        TypeError: ids of the wrong type.
    """
    if unknown := sorted(each for each in set(given) - set(inputs) if given[each] is not None):
        raise ValueError(
            f"{name} takes no {', '.join(unknown)}; it takes {', '.join(sorted(inputs))}"
        )
    ids = _ids(key, given[key], inputs[key].dtype).reshape(-1)
    others = {each: spec for each, spec in inputs.items() if each != key}
    arrays = {each: _array(each, spec, given.get(each), len(ids)) for each, spec in others.items()}
    return {key: ids, **arrays}


def check_k(k: int, k_max: int) -> None:
    """Refuses a k that a recommender does not answer.

    Raises:
        ValueError: k is no whole number from 1 to k_max.
    """
    if not isinstance(k, (int, np.integer)) or not 1 <= k <= k_max:
        raise ValueError(
            f"k must be a whole number from 1 to {k_max}, the most items in one answer; got {k!r}"
        )


def is_list(spec: tf.TensorSpec) -> bool:
    """Whether an input is a list of ids per row: its rows may have any length, those of a feature
    may not.
    """
    return spec.shape.rank == 2 and spec.shape[1] is None


def _array(name: str, spec: tf.TensorSpec, value, rows: int) -> np.ndarray:
    if value is None:
        nothing = {tf.string: "", tf.bool: False}.get(
            spec.dtype, np.nan if spec.dtype.is_floating else -1
        )
        shape = (rows, *(size or 0 for size in spec.shape[1:]))
        return np.full(
            shape, nothing, object if spec.dtype == tf.string else spec.dtype.as_numpy_dtype
        )
    if is_list(spec):
        return _lists(name, value, spec.dtype, rows)
    if spec.shape.rank > 1:
        column = np.asarray(list(value), spec.dtype.as_numpy_dtype)
        single = column.ndim < spec.shape.rank
    else:
        single = np.ndim(value) == 0
        column = pd.Series([value] if single else value)
        if spec.dtype == tf.string:
            column = to_text(column)
        elif spec.dtype == tf.bool:
            column = column.to_numpy(bool)
        else:
            column = to_number(column, name).astype(spec.dtype.as_numpy_dtype)
        column = column[0] if single else column
    shape = (rows, *spec.shape[1:])
    if np.shape(column) != (shape[1:] if single else shape):
        raise ValueError(
            f"{name} must hold one value, or one for each of the {rows} rows; got "
            f"{np.shape(column)}"
        )
    return np.broadcast_to(column, shape)


def _ids(name: str, values, dtype: tf.DType) -> np.ndarray:
    ids = raw_ids(values, name)
    if is_missing(ids).all():
        return np.full(ids.shape, MISSING[dtype.name], object if dtype == tf.string else np.int64)
    if kind_of(ids) != dtype.name:
        raise TypeError(
            f"{name} must hold {dtype.name} ids, as the training data did; got "
            f"{ids.ravel()[:3].tolist()}"
        )
    return ids


def _lists(name: str, values, dtype: tf.DType, rows: int) -> np.ndarray:
    """A list of ids per row, or one for all, as `[rows, longest]`, padded."""
    if np.ndim(values) == 0 if isinstance(values, (str, bytes)) else not np.iterable(values):
        raise TypeError(
            f"{name} must be a list of ids, or a list of such lists, one per row; got {values!r}"
        )
    lists = list(values)
    if not any(isinstance(one, (list, tuple, set, np.ndarray, pd.Series)) for one in lists):
        lists = [lists] * rows
    if len(lists) != rows:
        raise ValueError(f"{name} must have one list for each of the {rows} rows, got {len(lists)}")
    lists = [_ids(name, list(one), dtype) for one in lists]
    padded = np.full(
        (rows, max(map(len, lists), default=0)),
        MISSING[dtype.name],
        lists[0].dtype if lists else object,
    )
    for row, ids in zip(padded, lists, strict=True):
        row[: len(ids)] = ids
    return padded
