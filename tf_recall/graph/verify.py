"""What the files of a graph must hold, so that compiled code may follow them unchecked."""

from collections.abc import Callable

import numpy as np

BLOCK = 2**22  # numbers that are looked at together


def check_lengths(
    offsets: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray | None = None,
    tables: np.ndarray | None = None,
) -> None:
    """Refuses arrays whose lengths do not fit; they are those of `Graph`.

    Raises:
        ValueError: they do not.
    """
    num = len(targets)
    if len(offsets) < 2 or offsets[0] != 0 or offsets[-1] != num:
        raise ValueError(f"offsets.npy: offsets do not go from 0 to {num}, the number of edges")
    if (weights is None) != (tables is None):
        raise ValueError("weights.npy and tables.npy belong together, and one of them is missing")
    if weights is not None and (len(weights), len(tables)) != (num, num + 1):
        raise ValueError(
            f"weights.npy and tables.npy hold {len(weights)} and {len(tables)} edges, not {num}"
        )


def check_values(
    num_targets: int,
    offsets: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray | None = None,
    tables: np.ndarray | None = None,
) -> None:
    """Refuses arrays that lead out of the graph; they are those of `Graph`, of fitting lengths.

    They are read block by block, so that they may be memory maps of any size.

    Raises:
        ValueError: offsets that fall, an edge of node 0, a target that is no row from 1 to
            `num_targets - 1`, a weight that is not above 0, a slot that leads elsewhere.
    """
    if offsets[1] != 0:
        raise ValueError(f"offsets.npy: node 0, the unknown, has no edges, got {offsets[1]}")
    for start in range(0, len(offsets), BLOCK):
        falls = np.flatnonzero(np.diff(offsets[start : start + BLOCK + 1]) < 0)
        if len(falls):
            raise ValueError(f"offsets.npy: offsets fall after node {start + falls[0]}")

    def rows(least):
        return (
            f"a row from {least} to {num_targets - 1}",
            lambda values: (values >= least) & (values < num_targets),
        )

    _check("targets", targets, *rows(1))
    if weights is not None:
        _check("weights", weights, "above 0", lambda each: np.isfinite(each) & (each > 0))
        _check("tables", tables["target"], *rows(0))
        _check("tables", tables["other"], *rows(0))
        _check("tables", tables["keep"], "from 0 to 1", lambda keep: (keep >= 0) & (keep <= 1))


def _check(name, values, allowed, right: Callable):
    for start in range(0, len(values), BLOCK):
        wrong = np.flatnonzero(~right(np.asarray(values[start : start + BLOCK])))
        if len(wrong):
            edge = start + wrong[0]
            raise ValueError(f"{name}.npy: edge {edge} has {values[edge]}, which is not {allowed}")
