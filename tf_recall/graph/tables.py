"""Tables of Walker's alias method, edge by edge: what a draw by weight reads of a graph."""

from collections.abc import Iterator

import numpy as np

from tf_recall.data.alias import alias_tables

BLOCK_EDGES = 2**20  # whose tables are made together, at some 200 bytes an edge

# A slot of a node, 16 bytes, so that a draw is one read of memory: a draw that comes to the slot
# gives `target` with probability `keep`, and `other` else.
EDGE = np.dtype([("target", np.int32), ("other", np.int32), ("keep", np.float64)])


def edge_tables(
    offsets: np.ndarray, targets: np.ndarray, weights: np.ndarray, block_edges: int = BLOCK_EDGES
) -> Iterator[np.ndarray]:
    """The `EDGE`s of all edges in order, block by block, and a last one that leads to node 0.

    Only slices of the arrays are read.

    Args:
        offsets: `[num_nodes + 1]`, where the edges of each node begin.
        targets: `[E]` int32.
        weights: `[E]`, above 0.
        block_edges: how many come at a time; a node's come together, however many they are.
    """
    start = 0
    num_nodes = len(offsets) - 1
    while start < num_nodes:
        last = int(np.searchsorted(offsets, offsets[start] + block_edges, side="right")) - 1
        end = max(last, start + 1)
        own = slice(int(offsets[start]), int(offsets[end]))
        reached = np.asarray(targets[own])
        keep, alias = alias_tables(
            np.asarray(offsets[start : end + 1]) - offsets[start], np.asarray(weights[own])
        )
        block = np.empty(len(reached), EDGE)
        block["target"] = reached
        block["other"] = reached[alias]
        block["keep"] = keep
        yield block
        start = end
    yield np.zeros(1, EDGE)
