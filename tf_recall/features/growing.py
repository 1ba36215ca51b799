"""Parts of a model that grows: each finds the part of the earlier model that it goes on from."""

import contextlib
import contextvars
from collections.abc import Iterator, Sequence
from typing import TypeVar

import keras
import numpy as np

Layer = TypeVar("Layer", bound=keras.layers.Layer)

_BEFORE = contextvars.ContextVar("before", default=None)


@contextlib.contextmanager
def growing(pairs: Sequence[tuple[keras.layers.Layer, keras.layers.Layer]]) -> Iterator[None]:
    """Within, the first layer of each pair goes on from the second when it adapts."""
    token = _BEFORE.set({id(now): before for now, before in pairs})
    try:
        yield
    finally:
        _BEFORE.reset(token)


def before(layer: Layer) -> Layer | None:
    """The layer that this one goes on from; None where it begins anew."""
    return (_BEFORE.get() or {}).get(id(layer))


def extended(old: np.ndarray, origin: np.ndarray, new: np.ndarray) -> np.ndarray:
    """A table with more rows: known rows as they are, the others as the mean of those known.

    The mean is of the rows themselves, not of their directions: where vectors are brought to length
    1, rows agree in little, so it is short, and the first steps turn it as they turn a row of a new
    model. Where there is no known row, `new` stays.

    Args:
        old: `[U, ...]`, the rows so far.
        origin: `[V]`, the row in `old` of each row; 0 for what is new. Row 0 comes from row 0.
        new: `[V, ...]`.

    Example:
        >>> extended(np.array([[9.0], [1.0], [3.0]]), np.array([0, 2, 1, 0]), np.zeros([4, 1]))
        array([[9.],
               [3.],
               [1.],
               [2.]])
    """
    table = new.copy()
    known = origin > 0
    table[known] = old[origin[known]]
    table[0] = old[0]
    if known.any():
        known[0] = True
        table[~known] = old[origin[origin > 0]].mean(axis=0)
    return table
