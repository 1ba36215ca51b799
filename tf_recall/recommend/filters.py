"""Which items a request lets through, for recommenders that filter item rows."""

import numpy as np

from tf_recall.data.catalog import Seen
from tf_recall.recommend.request import Request


def left_out(request: Request) -> tuple[np.ndarray, np.ndarray]:
    """Filtered out: the request's `exclude` and, with `exclude_seen`, the user's past items.

    The history given is part of the user's past items.

    Returns:
        position `[n]` of the request in the batch, rising, and item row `[n]`; the pairs are
        distinct.
    """
    wanted = request.exclude_seen
    parts = [
        seen_pairs(request.catalog.seen, np.where(wanted, request.rows, 0)),
        flat(request.exclude),
        flat(np.where(wanted[:, None], request.history, 0)),
    ]
    pair = np.concatenate([pairs(position, rows) for position, rows in parts])
    pair = np.sort(pair, kind="stable")  # sorted and distinct, sooner than np.unique
    pair = pair[np.diff(pair, prepend=-1) > 0]
    return pair >> 32, pair & 0xFFFFFFFF


class Filter:
    """Which items a request lets through: those that are not left out, and are allowed.

    Call:
        position, rows: positions in the batch and item rows, integers of shapes that broadcast.

    Returns:
        bool of their common shape.
    """

    def __init__(self, request: Request):
        self._left_out = pairs(*left_out(request))
        self._allowed = np.unique(pairs(*flat(request.allow)))
        self._restricted = request.restricted

    def __call__(self, position: np.ndarray, rows: np.ndarray) -> np.ndarray:
        pair = pairs(position, rows)
        allowed = among(pair, self._allowed) | ~self._restricted[position]
        return allowed & ~among(pair, self._left_out)


def seen_pairs(seen: Seen, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What users have seen, as pairs of a user's position and an item row.

    Returns:
        position `[n]` in `users`, int64 and rising, and item row `[n]`.
    """
    start = seen.offsets[users]
    count = seen.offsets[users + 1] - start
    position = np.repeat(np.arange(len(users)), count)
    before = np.cumsum(count) - count
    return position, seen.rows[np.arange(len(position)) + (start - before)[position]]


def flat(lists: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The entries above 0 of `[B, L]` rows: the line of each, rising, and the row."""
    position, _ = np.nonzero(lists)
    return position, lists[lists > 0]


def pairs(position: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """A position and a row as one number, int64."""
    return np.asarray(position, np.int64) << 32 | np.asarray(rows, np.int64)


def among(values: np.ndarray, rising: np.ndarray) -> np.ndarray:
    """Which of the values are among others, which rise."""
    if not len(rising):
        return np.zeros(values.shape, bool)
    at = np.minimum(np.searchsorted(rising, values), len(rising) - 1)
    return rising[at] == values
