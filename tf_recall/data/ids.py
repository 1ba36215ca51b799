"""Raw ids: the names that the data give to users and items."""

from typing import Any

import numpy as np
import pandas as pd

MISSING = {"string": "", "int64": -1}


def raw_ids(values: Any, name: str = "id") -> np.ndarray:
    """Converts ids to one of two dtypes: Python strings (object) or int64.

    Bytes are read as UTF-8. A missing id (None, NaN, NA) becomes `""` among strings and -1 among
    integers; requests are padded with these two, so neither is an id. Nothing else is converted: 7
    and "7" are different ids.

    Args:
        values: list, NumPy array, pandas or polars series, Arrow array or eager tensor, of any
            shape.
        name: what to call the values in an error.

    Raises:
        TypeError: values of another type, or of several types.
        ValueError: an integer beyond int64, or bytes that are not UTF-8.

    Example:
        >>> raw_ids([b"ann", None])
        array(['ann', ''], dtype=object)
    """
    if isinstance(values, (str, bytes)):  # an array of fixed width drops NULs at the end
        values = np.array(values, dtype=object)
    # as objects, integers with a missing one stay what they are; as floats, large ones do not
    exact = isinstance(values, (list, tuple)) or isinstance(
        getattr(values, "dtype", None), pd.api.extensions.ExtensionDtype
    )
    array = np.asarray(values, dtype=object if exact else None)
    kind = array.dtype.kind
    if kind in "OUST":
        array = array.astype(object)
        kind = pd.api.types.infer_dtype(array.ravel(), skipna=True)
    if kind in ("string", "empty", "bytes"):
        missing = pd.isna(array)
        if missing.any():
            array = np.where(missing, b"" if kind == "bytes" else "", array)
        return _decoded(array, name) if kind == "bytes" else array
    if kind in ("integer", "i", "u"):
        return _int64(np.where(pd.isna(array), -1, array) if array.dtype == object else array, name)
    if kind in ("floating", "mixed-integer-float", "f"):
        array = array.astype(np.float64)
        missing = np.flatnonzero(np.isnan(array))
        whole = np.where(np.isnan(array), -1, array)
        if (whole == np.floor(whole)).all() and (np.abs(whole) < 2**53).all():
            return whole.astype(np.int64)
        kind = "fractions, or too large to be exact"
        if missing.size and (whole == np.floor(whole)).all():
            kind += f"; integers become floats where one is missing, as in row {missing[0]}"
    raise TypeError(
        f"{name} must be all strings or all integers, got {array.ravel()[:3].tolist()} "
        f"({kind if len(kind) > 1 else array.dtype})."
    )


def _decoded(array: np.ndarray, name: str) -> np.ndarray:
    decoded = np.empty(array.size, dtype=object)
    try:
        decoded[:] = [value.decode("utf-8") for value in array.ravel()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} holds bytes that are not UTF-8: {error.object!r}.") from error
    return decoded.reshape(array.shape)


def _int64(array: np.ndarray, name: str) -> np.ndarray:
    if array.size and (
        array.max() > np.iinfo(np.int64).max or array.min() < np.iinfo(np.int64).min
    ):
        raise ValueError(
            f"{name} must fit 64 bits with a sign, got {array.max()} as the largest: use strings."
        )
    return array.astype(np.int64)


def is_missing(ids: np.ndarray) -> np.ndarray:
    """Where ids of `raw_ids` are missing (`""` or -1): bool, the shape of `ids`."""
    return ids == MISSING[kind_of(ids)]


def kind_of(ids: np.ndarray) -> str:
    """The kind of ids of `raw_ids`: "int64" or "string"."""
    return "int64" if ids.dtype == np.int64 else "string"


def dtype_of(kind: str) -> type:
    """The NumPy dtype of ids of a kind: `np.int64`, or `object` for strings."""
    return {"int64": np.int64, "string": object}[kind]
