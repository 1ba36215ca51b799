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


def extended(
    old: np.ndarray, origin: np.ndarray, new: np.ndarray, unknown: bool = False
) -> np.ndarray:
    """A table with more rows: known rows as they are, the others as what is usual.

    Usual is row 0 where training has shown some of each row's events as the unknown row's: it has
    learned what holds for anybody, and is what a new row was answered by until now. Where it has
    not, usual is the mean of the known rows; where there are none, `new` stays.

    Args:
        old: `[U, ...]`, the rows so far.
        origin: `[V]`, the row in `old` of each row; 0 for what is new. Row 0 comes from row 0.
        new: `[V, ...]`.
        unknown: whether row 0 has learned what holds for all rows.

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
    if unknown:
        table[~known] = old[0]
    elif known.any():
        known[0] = True
        table[~known] = old[origin[origin > 0]].mean(axis=0)
    return table
