"""Popularity subsampling: events of popular items are kept less often (METHODS.md P5)."""

from numbers import Real

import numpy as np

BLOCK = 2**20  # events counted at a time


def keep_rates(items: np.ndarray, alpha: float) -> np.ndarray:
    """The probability that an event of each item is kept: float32 `[V]`, by item row.

    keep[t] = min(1, sqrt(alpha / f[t])),  f the item's share of the events

    A popular item is in many pairs, each of which is worth little; so word2vec drops some.

    Args:
        items: int `[n]`, the events' item rows; may be a memory map, which is read by block.
        alpha: the share above which events of an item are dropped.

    Example:
        >>> keep_rates(np.array([1, 1, 1, 2]), alpha=0.25).round(2)
        array([1.  , 0.58, 1.  ], dtype=float32)

    Paper: Mikolov et al. 2013, "Distributed Representations of Words and Phrases and their
        Compositionality", section 2.3.
    """
    counts = np.zeros(1, np.int64)
    for start in range(0, len(items), BLOCK):
        some = np.bincount(items[start : start + BLOCK], minlength=len(counts))
        some[: len(counts)] += counts
        counts = some
    return np.minimum(1, np.sqrt(alpha * len(items) / np.maximum(counts, 1))).astype(np.float32)


def check_alpha(alpha: float | None) -> None:
    """Refuses a threshold that is not a share.

    Raises:
        ValueError: it is not above 0.
    """
    if alpha is not None and not (isinstance(alpha, Real) and 0 < alpha < float("inf")):
        raise ValueError(
            "alpha must be a share above 0, such as 0.001, or None to keep every event, not "
            f"{alpha!r}"
        )
