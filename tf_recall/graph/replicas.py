"""A batch in shares, one for each replica that computes a part of it."""

from collections.abc import Sequence

import numpy as np

from tf_recall.graph.expand import NO_SEED


def shares_of(batch: dict, num_replicas: int) -> list[dict]:
    """A batch of arrays `[B, ...]` as `num_replicas` batches of B / R rows each, in order."""
    shares = [{} for _ in range(num_replicas)]
    for key, value in batch.items():
        if isinstance(value, dict):
            parts = shares_of(value, num_replicas)
        else:
            parts = np.split(np.asarray(value), num_replicas)
        for share, part in zip(shares, parts, strict=True):
            share[key] = part
    return shares


def stacked(shares: Sequence[dict], value: int = 0) -> dict:
    """The arrays of all shares in one, `[R, n, ...]`: padded to the longest, as `expand` pads.

    Args:
        shares: dicts of the same keys, of arrays that may differ in their first size.
        value: what pads them; seeds, which rise, are padded as `expand` does.
    """
    found = {}
    for key in shares[0]:
        values = [share[key] for share in shares]
        if isinstance(values[0], dict):
            found[key] = stacked(values, NO_SEED if key == "seeds" else value)
        else:
            found[key] = _stack(values, value)
    return found


def _stack(arrays, value):
    if not np.ndim(arrays[0]):
        return np.array(arrays)
    longest = max(len(array) for array in arrays)
    wide = np.full((len(arrays), longest, *arrays[0].shape[1:]), value, arrays[0].dtype)
    for share, array in zip(wide, arrays, strict=True):
        share[: len(array)] = array
    return wide
