"""What a draw by weight reads of a graph: Walker's tables, edge by edge."""

from collections.abc import Iterator

import numpy as np

from tf_recall.data.alias import alias_tables

PIECE_EDGES = 2**20  # whose tables are made together, at some 200 bytes an edge while that lasts

# An edge's place at its node, 16 bytes, so that a draw is one read of memory: whoever lands there
# keeps the edge's own target with probability `keep`, or else goes to the other.
EDGE = np.dtype([("target", np.int32), ("other", np.int32), ("keep", np.float64)])


def edge_tables(offsets, targets, weights, piece_edges: int = PIECE_EDGES) -> Iterator[np.ndarray]:
    """The `EDGE`s of all edges in order, and a last one that leads to node 0.

    Only slices of the arrays are read.

    Args:
        offsets: `[num_nodes + 1]`, where the edges of each node begin.
        targets: `[E]` int32.
        weights: `[E]`, above 0.
        piece_edges: how many come at a time; a node's come together, however many they are.
    """
    start, num_nodes = 0, len(offsets) - 1
    while start < num_nodes:
        last = int(np.searchsorted(offsets, offsets[start] + piece_edges, side="right")) - 1
        end = max(last, start + 1)
        own = slice(int(offsets[start]), int(offsets[end]))
        reached = np.asarray(targets[own])
        keep, alias = alias_tables(
            np.asarray(offsets[start : end + 1]) - offsets[start], np.asarray(weights[own])
        )
        piece = np.empty(len(reached), EDGE)
        piece["target"], piece["other"], piece["keep"] = reached, reached[alias], keep
        yield piece
        start = end
    yield np.zeros(1, EDGE)
