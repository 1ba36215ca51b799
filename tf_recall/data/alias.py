"""Walker's alias tables: a draw from any distribution at the same cost, whatever its size."""

import numpy as np


def alias_tables(offsets: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The alias tables of all nodes at once, one entry an edge.

    p[e] = ( keep[e] + sum( 1 - keep[f] over edges f with alias[f] = e ) ) / degree

    With w = degree * weight / sum of the node's weights, an edge of w >= 1 is heavy and fills the
    buckets of the light ones, in order; a heavy edge that has given more than it had is filled by
    the next. A node's light edges need what its heavy edges give, so the running sums of all nodes
    agree at each node's end, and rounding errors stay within a node.

    Args:
        offsets: `[num_nodes + 1]`, where the edges of each node begin.
        weights: `[E]`, at least 0, with one above 0 for each node that has edges.

    Returns:
        keep: float64 `[E]`, the share of each edge's bucket that is its own.
        alias: int `[E]`, the edge of the same node to which the rest of the bucket belongs.

    Example:
        >>> keep, alias = alias_tables(np.array([0, 2]), np.array([1.0, 3.0]))
        >>> keep, alias
        (array([0.5, 1. ]), array([1, 1]))

    Paper: Walker 1977, "An Efficient Method for Generating Discrete Random Variables with General
        Distributions".
    Paper: Hübschle-Schneider and Sanders 2019, "Parallel Weighted Random Sampling", section 4, for
        the sweep in order.
    """
    degrees = np.diff(offsets)
    node = np.repeat(np.arange(len(degrees)), degrees)
    sums = np.bincount(node, weights, minlength=len(degrees))
    w = weights * (degrees / np.maximum(sums, np.finfo(np.float64).tiny))[node]
    highest = np.zeros(len(degrees))
    highest[degrees > 0] = np.maximum.reduceat(w, offsets[:-1][degrees > 0]) if len(w) else 0
    is_heavy = w >= np.minimum(1, highest)[node]  # equal weights may all be rounded down
    light = np.flatnonzero(~is_heavy)
    heavy = np.flatnonzero(is_heavy)
    keep = np.minimum(w, 1)
    alias = np.arange(len(w))
    needed = np.concatenate([[0], np.cumsum(1 - w[light])])
    given = np.cumsum(w[heavy] - 1)
    num_heavy = np.bincount(node[heavy], minlength=len(degrees))
    ends = np.cumsum(num_heavy)  # of each node's heavy edges
    giver = np.searchsorted(given, needed[:-1], side="right")
    giver = np.clip(giver, (ends - num_heavy)[node[light]], ends[node[light]] - 1)
    # how many light edges are full when a heavy edge is done
    filled = np.searchsorted(giver, np.arange(len(heavy)), side="right")
    keep[heavy] = np.clip(1 - needed[filled] + given, 0, 1)
    alias[heavy[:-1]] = np.where(node[heavy[:-1]] == node[heavy[1:]], heavy[1:], heavy[:-1])
    alias[light] = heavy[giver]
    return keep, alias
