"""Walker's tables, with which a draw costs the same however many there are to draw from."""

import numpy as np


def alias_tables(offsets, weights):
    """Walker's tables of all nodes at once: `(keep, alias)` of each edge, `alias` one of the same
    node's edges.

    probability of edge e at its node = ( keep[e] + sum( 1 - keep[f] over edges f with alias[f] = e
    ) ) / degree

    With w = degree * weight / sum of the node's weights, edges with w >= 1 fill up the places of
    those below, in order; one that has given more than it had is filled up by the next. What a
    node's light edges ask is what its heavy ones give, so the running sums of all nodes together
    keep in step, and rounding is held within each node.

    Args:
        offsets: `[num_nodes + 1]`, where the edges of each node begin.
        weights: `[E]`, at least 0, and of each node that has edges one above 0.

    Walker, "An Efficient Method for Generating Discrete Random Variables with General
    Distributions", ACM TOMS 1977; the sweep in order is that of Hübschle-Schneider, Sanders,
    "Parallel Weighted Random Sampling", ESA 2019, section 4.
    """
    degrees = np.diff(offsets)
    node = np.repeat(np.arange(len(degrees)), degrees)
    sums = np.bincount(node, weights, minlength=len(degrees))
    w = weights * (degrees / np.maximum(sums, np.finfo(np.float64).tiny))[node]
    highest = np.zeros(len(degrees))
    highest[degrees > 0] = np.maximum.reduceat(w, offsets[:-1][degrees > 0]) if len(w) else 0
    is_heavy = w >= np.minimum(1, highest)[node]  # equal weights may all be rounded down
    (light,), (heavy,) = np.nonzero(~is_heavy), np.nonzero(is_heavy)
    keep, alias = np.minimum(w, 1), np.arange(len(w))
    asked = np.concatenate([[0], np.cumsum(1 - w[light])])
    given = np.cumsum(w[heavy] - 1)
    num_heavy = np.bincount(node[heavy], minlength=len(degrees))
    ends = np.cumsum(num_heavy)  # of each node's heavy edges
    giver = np.searchsorted(given, asked[:-1], side="right")
    giver = np.clip(giver, (ends - num_heavy)[node[light]], ends[node[light]] - 1)
    # lights that are full when a heavy is done
    served = np.searchsorted(giver, np.arange(len(heavy)), side="right")
    keep[heavy] = np.clip(1 - asked[served] + given, 0, 1)
    alias[heavy[:-1]] = np.where(node[heavy[:-1]] == node[heavy[1:]], heavy[1:], heavy[:-1])
    alias[light] = heavy[giver]
    return keep, alias
