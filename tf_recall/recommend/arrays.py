"""Python values to arrays: a request's arguments become the batch that an endpoint takes."""

import numpy as np
import pandas as pd
import tensorflow as tf

from tf_recall.data.ids import MISSING, is_missing, kind_of, raw_ids
from tf_recall.data.values import to_number, to_text


def batch(
    inputs: dict[str, tf.TensorSpec], key: str, given: dict, name: str = "this model"
) -> dict[str, np.ndarray]:
    """Makes one array per input of an endpoint, batch first; what is not given is padding.

    Padding is `""` for text, NaN for a number, -1 for an integer id, `False`, and lists of length
    0. A single value, or a flat list of ids (to exclude, to allow, a history), counts for
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


def is_list(spec: tf.TensorSpec) -> bool:
    """Whether an input is a list of ids per row.

    Its rows may have any length, those of a feature may not.
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
        with np.errstate(over="ignore"):  # what float32 cannot hold is missing
            column = np.asarray(list(value), spec.dtype.as_numpy_dtype)
        single = column.ndim < spec.shape.rank
    else:
        single = np.ndim(value) == 0
        column = [value] if single else value
        if spec.dtype == tf.string:
            column = to_text(column)
        elif spec.dtype == tf.bool:
            column = pd.Series(column).to_numpy(bool)
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
