"""Neighbors drawn by weight, at a cost that does not depend on how many a node has."""

import numpy as np

from tf_recall.graph.tables import EDGE, edge_tables

# What a draw reads of a node, 16 bytes: one read of memory, which is what a draw costs.
NODE = np.dtype([("degree", np.float64), ("begin", np.int64)])


class Draws:
    """Draws neighbors: `P(j | i) = weight of (i, j) / sum over k of weight of (i, k)`.

    One random number names an edge of the node. In a graph with weights its fraction then chooses
    between that edge and the one that shares its slot, by a table of Walker's for each node.

    Args:
        offsets, targets, weights, tables: as `Graph`; the arrays may be memory maps.
    """

    def __init__(
        self,
        offsets: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray | None,
        tables: np.ndarray | None,
    ):
        self._weighted = weights is not None
        degrees = np.diff(offsets)
        num_edges = len(targets)
        # a node without edges reads any edge there is; of the tables the last, which leads to 0
        elsewhere = num_edges if self._weighted else 0
        self._nodes = np.zeros(len(degrees), NODE)
        self._nodes["degree"] = degrees
        self._nodes["begin"] = np.where(degrees > 0, offsets[:-1], elsewhere)
        if not self._weighted:
            self._edges = np.asarray(targets)
        elif tables is not None:
            self._edges = np.asarray(tables)
        else:
            self._edges = _made(offsets, targets, weights)

    def __call__(self, nodes: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
        """`num` neighbors of each node: int32 `[n, num]`, 0 for a node without edges."""
        node = self._nodes.take(nodes)
        chosen = rng.random((len(nodes), num))
        chosen *= node["degree"][:, None]
        slot = chosen.astype(np.int64)
        if self._weighted:
            chosen -= slot
        slot += node["begin"][:, None]
        if self._weighted:
            edge = self._edges.take(slot)
            return np.where(chosen < edge["keep"], edge["target"], edge["other"])
        if not len(self._edges):
            return np.zeros(slot.shape, np.int32)
        reached = self._edges.take(slot)
        reached[node["degree"] == 0] = 0
        return reached  # [n, num]


def _made(offsets, targets, weights):
    tables = np.empty(len(targets) + 1, EDGE)
    done = 0
    for block in edge_tables(offsets, targets, weights):
        tables[done : done + len(block)] = block
        done += len(block)
    return tables
