"""Popular items less often (METHODS.md P5)."""

from numbers import Real

import numpy as np


def keep_shares(items, alpha):
    """With which chance each event is kept: float32 `[n]`.

    keep[i] = min(1, sqrt(alpha / f[items[i]])),  f the item's share of the events

    What is popular is in many pairs and says little in each; so word2vec thins it out.

    Args:
        items: int `[n]`, the events' item rows.
        alpha: the share from which on events are dropped; None: none are, and the answer is None.

    Mikolov et al., "Distributed Representations of Words and Phrases and their Compositionality", NIPS 2013, section
    2.3.
    """
    if alpha is None:
        return None
    share = np.bincount(items) / max(len(items), 1)
    return np.minimum(1, np.sqrt(alpha / np.maximum(share, 1e-30))).astype(np.float32)[items]


def check_alpha(alpha):
    """Refuses a threshold that is no share.

    Raises:
        ValueError: it is not above 0.
    """
    if alpha is not None and not (isinstance(alpha, Real) and 0 < alpha < float("inf")):
        raise ValueError(f"alpha must be a share above 0, such as 0.001, or None to keep every event, not {alpha!r}")
