"""A directed graph of items: which item followed which, how often, and random walks on it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from tf_recall.data.alias import alias_tables

PIECE_EVENTS = 2**24  # of sessions, counted at a time
PIECE_WALKS = 2**14  # taken together: what a step computes stays in the cache

# What a step reads of a node and of an edge, 16 bytes each: one read of memory, which is what a step costs.
NODE = np.dtype([("degree", np.float64), ("begin", np.int64)])
EDGE = np.dtype([("target", np.int32), ("other", np.int32), ("keep", np.float64)])


@dataclass(frozen=True, eq=False)
class Graph:
    """Weighted edges between item rows, sorted by source: those of node i are `offsets[i]` to `offsets[i + 1]`.

    Build it with `from_sessions` or `from_edges`: those check. Node 0, the unknown item, has no edges.

    Args:
        offsets: `[num_nodes + 1]` int64.
        targets: `[E]` int32, rising within a node.
        weights: `[E]` float32, above 0.

    Example:
        >>> graph = Graph.from_sessions(ByGap()(split.train, catalog), catalog.items.size)
        >>> graph.walk(np.array([7, 8]), length=10, rng=np.random.default_rng(0)).shape
        (2, 11)
    """

    offsets: np.ndarray
    targets: np.ndarray
    weights: np.ndarray

    @classmethod
    def from_sessions(cls, sessions, num_nodes: int) -> "Graph":
        """weight of (i, j) = how often i is directly followed by j in a session; i by i is left out (METHODS.md M4).

        Wang et al., "Billion-scale Commodity Embedding for E-commerce Recommendation in Alibaba", KDD 2018, section
        3.1.
        """
        counts = sparse.csr_array((num_nodes, num_nodes), dtype=np.float64)
        begins = np.zeros(len(sessions.items) + 1, bool)
        begins[sessions.offsets] = True
        for start in range(0, len(sessions.items), PIECE_EVENTS):
            items = np.asarray(sessions.items[start : start + PIECE_EVENTS + 1])
            follows = ~begins[start + 1 : start + len(items)] & (items[1:] != items[:-1])
            counts = counts + _summed(items[:-1][follows], items[1:][follows], np.ones(follows.sum()), num_nodes)
        return cls._of(counts)

    @classmethod
    def from_edges(cls, sources, targets, weights, num_nodes: int) -> "Graph":
        """From edges in any order; those that come twice are added up, those of weight 0 are left out.

        Raises:
            ValueError: arrays of unequal length, a source or target that is not a whole number from 1 to
                `num_nodes - 1`, or a weight that is negative or no number.
        """
        with np.errstate(over="ignore"):
            sources, targets, weights = np.asarray(sources), np.asarray(targets), np.asarray(weights, np.float32)
        if not sources.shape == targets.shape == weights.shape or sources.ndim != 1:
            raise ValueError(
                "sources, targets and weights must be arrays of one length, got the shapes "
                f"{sources.shape}, {targets.shape} and {weights.shape}."
            )
        wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
        if wrong.size:
            raise ValueError(f"Weights must be numbers of at least 0, got {weights[wrong[0]]} for edge {wrong[0]}.")
        used = weights > 0
        return cls._of(_summed(sources[used], targets[used], weights[used].astype(np.float64), num_nodes))

    @classmethod
    def _of(cls, matrix):
        matrix.sort_indices()
        return cls(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data.astype(np.float32))

    @property
    def num_nodes(self) -> int:
        return len(self.offsets) - 1

    @property
    def num_edges(self) -> int:
        return len(self.targets)

    @property
    def degrees(self) -> np.ndarray:
        """`[num_nodes]` int64, how many edges leave each node."""
        return np.diff(self.offsets)

    def walk(self, starts: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
        """Random walks of `length` steps: int32 `[n, length + 1]`, the start first, 0 from where no edge leads on.

        P(j | i) = weight of (i, j) / sum over k of weight of (i, k)

        A step costs the same whatever the degree: one random number names an edge and decides between it and the one
        it shares its place with, by a table of Walker's for each node.

        Args:
            starts: `[n]` nodes.
            length: steps of each walk.
            rng: equal states walk equal ways.

        Raises:
            ValueError: a start that is no node, or a negative length.
        """
        starts = np.asarray(starts)
        if starts.size and not (starts.min() >= 0 and starts.max() < self.num_nodes):
            raise ValueError(f"Nodes go from 0 to {self.num_nodes - 1}, got starts {starts.min()} to {starts.max()}.")
        if length < 0:
            raise ValueError(f"length must be at least 0, got {length}.")
        nodes, edges = self._tables
        walks = np.empty((len(starts), length + 1), np.int32)
        walks[:, 0] = starts
        for piece in range(0, len(starts), PIECE_WALKS):
            ways = walks[piece : piece + PIECE_WALKS]
            at = ways[:, 0]
            for step in range(1, length + 1):
                node = nodes.take(at)
                y = rng.random(len(at)) * node["degree"]
                place = y.astype(np.int64)
                edge = edges.take(node["begin"] + place)
                at = np.where(y - place < edge["keep"], edge["target"], edge["other"])
                ways[:, step] = at
        return walks

    @cached_property
    def _tables(self):
        """`NODE`s and `EDGE`s; nodes without edges have a last one, which leads to node 0."""
        nodes, edges = np.zeros(self.num_nodes, NODE), np.zeros(self.num_edges + 1, EDGE)
        nodes["degree"] = self.degrees
        nodes["begin"] = np.where(self.degrees > 0, self.offsets[:-1], self.num_edges)
        keep, alias = alias_tables(self.offsets, self.weights)
        edges["target"][:-1], edges["other"][:-1], edges["keep"][:-1] = self.targets, self.targets[alias], keep
        return nodes, edges


def _summed(sources, targets, weights, num_nodes):
    for name, nodes in (("Sources", sources), ("Targets", targets)):
        if len(nodes) and not (nodes.dtype.kind in "iu" and nodes.min() > 0 and nodes.max() < num_nodes):
            raise ValueError(
                f"{name} must be whole numbers from 1 to {num_nodes - 1}, got {nodes.min()} to {nodes.max()}."
            )
    return sparse.coo_array((weights, (sources, targets)), shape=(num_nodes, num_nodes)).tocsr()
