"""Popular items less often (METHODS.md P5)."""

from numbers import Real

import numpy as np

BLOCK = 2**20  # events counted at a time


def keep_rates(items, alpha):
    """With which chance an event of each item is kept: float32, by item row.

    keep[t] = min(1, sqrt(alpha / f[t])),  f the item's share of the events

    What is popular is in many pairs and says little in each; so word2vec thins it out.

    Args:
        items: int `[n]`, the events' item rows; may be a memory map, which is read by block.
        alpha: the share from which on events are dropped.

    Mikolov et al., "Distributed Representations of Words and Phrases and their Compositionality",
    NIPS 2013, section 2.3.
    """
    counts = np.zeros(1, np.int64)
    for start in range(0, len(items), BLOCK):
        some = np.bincount(items[start : start + BLOCK], minlength=len(counts))
        some[: len(counts)] += counts
        counts = some
    return np.minimum(1, np.sqrt(alpha * len(items) / np.maximum(counts, 1))).astype(np.float32)


def check_alpha(alpha):
    """Refuses a threshold that is no share.

    Raises:
        ValueError: it is not above 0.
    """
    if alpha is not None and not (isinstance(alpha, Real) and 0 < alpha < float("inf")):
        raise ValueError(
            "alpha must be a share above 0, such as 0.001, or None to keep every event, not "
            f"{alpha!r}"
        )
