"""Arrays of edges and nodes, checked, and edges added up to a sparse matrix."""

import numpy as np
from scipy import sparse


def check_lengths(*arrays: np.ndarray) -> None:
    """Refuses sources, targets and perhaps weights that are not arrays of one length."""
    shapes = [each.shape for each in arrays]
    if len(set(shapes)) > 1 or len(shapes[0]) != 1:
        names = ("sources", "targets", "weights")[: len(shapes)]
        shown = [str(shape) for shape in shapes]
        raise ValueError(
            f"{', '.join(names[:-1])} and {names[-1]} must be arrays of one length, got the shapes "
            f"{', '.join(shown[:-1])} and {shown[-1]}."
        )


def checked_weights(weights: np.ndarray) -> np.ndarray:
    """Weights as float32; refused where one is negative, infinite or missing."""
    with np.errstate(over="ignore"):
        weights = np.asarray(weights, np.float32)
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if wrong.size:
        first = weights.ravel()[wrong[0]]
        raise ValueError(f"Weights must be numbers of at least 0, got {first} for edge {wrong[0]}.")
    return weights


def check_rows(nodes: np.ndarray, num: int, name: str) -> None:
    """Refuses nodes that are not whole numbers from 1 to `num - 1`."""
    if nodes.size and not (nodes.dtype.kind in "iu" and nodes.min() > 0 and nodes.max() < num):
        raise ValueError(
            f"{name} must be whole numbers from 1 to {num - 1}, got {nodes.min()} to {nodes.max()}."
        )


def check_nodes(nodes: np.ndarray, num: int, name: str) -> np.ndarray:
    """Nodes as an array; refused where one is below 0 or not below `num`."""
    nodes = np.asarray(nodes)
    if nodes.size and not (nodes.min() >= 0 and nodes.max() < num):
        raise ValueError(
            f"Nodes go from 0 to {num - 1}, got {name} {nodes.min()} to {nodes.max()}."
        )
    return nodes


def distinct(nodes: np.ndarray, num: int, name: str) -> np.ndarray:
    """Nodes as int64; refused where they are none from 1 to `num - 1`, or one comes twice."""
    nodes = np.asarray(nodes)
    check_rows(nodes, num, name)
    if len(np.unique(nodes)) < len(nodes):
        raise ValueError(
            f"{name} must differ, got {len(nodes)} of which {len(np.unique(nodes))} differ."
        )
    return nodes.astype(np.int64)


def summed(
    sources: np.ndarray, targets: np.ndarray, weights: np.ndarray | None, shape: tuple[int, int]
) -> sparse.csr_array:
    """The matrix of edges `[num_nodes, num_targets]`; those that come twice are added up.

    Args:
        sources, targets: `[n]` whole numbers above 0.
        weights: `[n]`, or None for 1 each.
        shape: rows of the sources' type and of the targets' type.
    """
    check_rows(sources, shape[0], "Sources")
    check_rows(targets, shape[1], "Targets")
    weights = np.ones(len(sources)) if weights is None else weights
    return sparse.coo_array((weights, (sources, targets)), shape=shape).tocsr()
