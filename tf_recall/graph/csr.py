"""A directed graph: weighted edges between rows, neighbors drawn by weight, and random walks."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from tf_recall.data.sessions import Sessions
from tf_recall.graph import folder
from tf_recall.graph.checks import check_lengths, check_nodes, checked_weights, distinct, summed
from tf_recall.graph.draws import Draws
from tf_recall.graph.tables import edge_tables

BLOCK_EVENTS = 2**24  # of sessions, counted at a time
BLOCK_WALKS = 2**14  # draws made together: what they compute stays in the cache


@dataclass(frozen=True, eq=False)
class Graph:
    """Edges from nodes of one type to nodes of another type, or of the same.

    `targets[offsets[i] : offsets[i + 1]]` are the neighbors of node i.

    Build it with a `from_...`, or on disk with `graph.build.build`: those check. Node 0, the
    unknown, has no edges. The arrays may be read-only memory maps: only what is asked for is read.

    Args:
        offsets: `[num_nodes + 1]` int64.
        targets: `[E]` int32, rising within a node (from `from_table`: in the table's order).
        weights: `[E]` float32, above 0; None where all are 1.
        num_targets: rows that edges may lead to; None: as many as there are nodes, a square graph.
        tables: `[E + 1]` `EDGE`, what draws by weight read; None: made when they are first needed.

    Example:
        >>> graph = Graph.from_sessions(ByGap()(split.train, catalog), catalog.items.size)
        >>> graph.walk(np.array([7, 8]), length=10, rng=np.random.default_rng(0)).shape
        (2, 11)
        >>> graph.draw(np.array([7, 8]), 5, np.random.default_rng(0)).shape
        (2, 5)
    """

    offsets: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None = None
    num_targets: int | None = None
    tables: np.ndarray | None = None

    def __post_init__(self):
        if self.num_targets is None:
            object.__setattr__(self, "num_targets", self.num_nodes)

    @classmethod
    def from_sessions(cls, sessions: Sessions, num_nodes: int) -> "Graph":
        """The graph of what follows what in sessions (METHODS.md M4).

        weight of (i, j) = how often i is directly followed by j in a session;  no edges (i, i)

        Args:
            sessions: of the rows of one type.
            num_nodes: rows of that type, the unknown one included.

        Paper: Wang et al. 2018, "Billion-scale Commodity Embedding for E-commerce Recommendation in
            Alibaba", section 3.1.
        """
        counts = sparse.csr_array((num_nodes, num_nodes), dtype=np.float64)
        begins = np.zeros(len(sessions.items) + 1, bool)
        begins[sessions.offsets] = True
        for start in range(0, len(sessions.items), BLOCK_EVENTS):
            items = np.asarray(sessions.items[start : start + BLOCK_EVENTS + 1])
            follows = ~begins[start + 1 : start + len(items)] & (items[1:] != items[:-1])
            counts = counts + summed(items[:-1][follows], items[1:][follows], None, counts.shape)
        return cls._of(counts)

    @classmethod
    def from_edges(
        cls,
        sources: ArrayLike,
        targets: ArrayLike,
        weights: ArrayLike | None,
        num_nodes: int,
        num_targets: int | None = None,
    ) -> "Graph":
        """The graph of a list of edges, in any order.

        Edges that come twice are added up, and those of weight 0 are left out.

        Args:
            sources, targets: `[n]` whole numbers.
            weights: `[n]`, or None for 1 each; then a graph in which no edge came twice has no
                weights.
            num_nodes: rows of the sources' type, the unknown one included.
            num_targets: of the targets' type; None: the same type.

        Raises:
            ValueError: arrays of unequal length, a source or target that is not a whole number from
                1 to `num_nodes - 1` or `num_targets - 1`, or a weight that is negative or no
                number.
        """
        sources, targets = np.asarray(sources), np.asarray(targets)
        shape = num_nodes, num_nodes if num_targets is None else num_targets
        if weights is None:
            check_lengths(sources, targets)
            graph = cls._of(summed(sources, targets, None, shape))
            if np.any(graph.weights != 1):
                return graph
            return cls(graph.offsets, graph.targets, None, shape[1])
        weights = np.asarray(weights)
        check_lengths(sources, targets, weights)
        weights = checked_weights(weights)
        used = weights > 0
        weights = weights[used].astype(np.float64)
        return cls._of(summed(sources[used], targets[used], weights, shape))

    @classmethod
    def from_table(cls, ids: ArrayLike, weights: ArrayLike | None, num_targets: int) -> "Graph":
        """The graph of a table of neighbors, such as lists of the most similar items.

        Row i holds the targets of node i; their order stays.

        Args:
            ids: `[num_nodes, T]` targets, 0 for none; row 0 is the unknown's and holds none.
            weights: `[num_nodes, T]` of these, or None for 1 each; an edge of weight 0 is left out.
            num_targets: rows that edges may lead to.

        Raises:
            ValueError: tables of unequal shape, an id that is not a whole number from 0 to
                `num_targets - 1`, an edge of node 0, or a weight that is negative or no number.
        """
        ids = np.asarray(ids)
        if ids.ndim != 2 or (weights is not None and np.shape(weights) != ids.shape):
            raise ValueError(
                f"ids and weights must be tables of one shape, got {ids.shape} and "
                f"{np.shape(weights)}."
            )
        if ids.size and not (ids.dtype.kind in "iu" and ids.min() >= 0 and ids.max() < num_targets):
            raise ValueError(
                f"Ids must be whole numbers from 1 to {num_targets - 1}, or 0 for none, got "
                f"{ids.min()} to {ids.max()}."
            )
        used = ids > 0
        if weights is not None:
            weights = checked_weights(weights)
            used &= weights > 0
            weights = weights[used]
        if used[:1].any():
            raise ValueError(
                f"Node 0 is the unknown and has no edges, got {ids[0][used[0]]} in its row."
            )
        offsets = np.concatenate([[0], np.cumsum(used.sum(axis=1, dtype=np.int64))])
        return cls(offsets, ids[used].astype(np.int32), weights, num_targets)

    @classmethod
    def _of(cls, matrix):
        matrix.sort_indices()
        offsets = matrix.indptr.astype(np.int64)
        targets = matrix.indices.astype(np.int32)
        return cls(offsets, targets, matrix.data.astype(np.float32), matrix.shape[1])

    @property
    def num_nodes(self) -> int:
        """Rows of the sources' type, the unknown one included."""
        return len(self.offsets) - 1

    @property
    def num_edges(self) -> int:
        """How many edges there are."""
        return len(self.targets)

    @property
    def degrees(self) -> np.ndarray:
        """How many edges leave each node: `[num_nodes]` int64."""
        return np.diff(self.offsets)

    def save(self, directory: str | Path) -> None:
        """Writes the graph, with the tables of its draws, into a new folder.

        Raises:
            FileExistsError: the folder is there already.
        """
        with folder.making(directory, self.num_targets) as files:
            files["offsets"].append(self.offsets)
            files["targets"].append(self.targets)
            if self.weights is not None:
                files["weights"].append(self.weights)
                blocks = [self.tables]
                if self.tables is None:
                    blocks = edge_tables(self.offsets, self.targets, self.weights)
                for block in blocks:
                    files["tables"].append(block)

    @classmethod
    def load(cls, directory: str | Path, verify: bool = True) -> "Graph":
        """The graph that `save` wrote, as read-only memory maps.

        Args:
            directory: the graph's folder.
            verify: read it all once, block by block, and compare it with what was written (about a
                second per GB). Compiled code follows the edges unchecked: one that leads out of the
                graph could end the process.

        Raises:
            FileNotFoundError: no graph there.
            ValueError: a file is missing, damaged, or of another kind than it should be.
        """
        return cls(**folder.read(directory, verify))

    def reverse(self) -> "Graph":
        """Every edge turned round, in memory; `graph.build.reverse` does it on disk."""
        data = np.ones(self.num_edges, np.int8) if self.weights is None else self.weights
        matrix = sparse.csr_array(
            (data, self.targets, self.offsets), shape=(self.num_nodes, self.num_targets)
        ).tocsc()
        weights = None if self.weights is None else matrix.data
        return Graph(
            matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), weights, self.num_nodes
        )

    def subgraph(self, sources: ArrayLike, targets: ArrayLike | None = None) -> "Graph":
        """The edges between some nodes, which are numbered anew.

        Node r is `sources[r - 1]`, target r is `targets[r - 1]`.

        Args:
            sources: different nodes of this graph, above 0.
            targets: different targets, above 0; None: all, under the numbers that they have.

        Raises:
            ValueError: a node that comes twice, or that the graph does not have.

        Example:
            >>> graph = Graph.from_edges([1, 2, 3], [2, 3, 1], None, num_nodes=4)
            >>> graph.subgraph([2, 3], [2, 3]).targets      # of 2 to 3 alone
            array([2], dtype=int32)
        """
        sources = distinct(sources, self.num_nodes, "sources")
        begins = np.asarray(self.offsets)[sources]
        degrees = self.offsets[sources + 1] - begins
        ends = np.cumsum(degrees)
        total = int(ends[-1]) if len(ends) else 0
        edges = np.arange(total) + np.repeat(begins - ends + degrees, degrees)
        node = np.repeat(np.arange(1, len(sources) + 1), degrees)
        reached = np.asarray(self.targets)[edges]
        num_targets = self.num_targets
        order = slice(None)
        if targets is not None:
            targets = distinct(targets, self.num_targets, "targets")
            num_targets = len(targets) + 1
            row = np.zeros(self.num_targets, np.int32)
            row[targets] = np.arange(1, num_targets)
            kept = row[reached] > 0
            edges, node, reached = edges[kept], node[kept], row[reached[kept]]
            order = np.lexsort((reached, node))
        weights = None if self.weights is None else np.asarray(self.weights)[edges][order]
        counts = np.bincount(node, minlength=len(sources) + 1)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        return Graph(offsets, reached[order], weights, num_targets)

    def draw(self, nodes: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
        """Neighbors of each node, drawn with replacement.

        P(j | i) = weight of (i, j) / sum over k of weight of (i, k)

        A draw costs the same whatever the degree of the node.

        Args:
            nodes: `[n]` nodes.
            num: how many of each.
            rng: equal states draw equal neighbors.

        Returns:
            int32 `[n, num]`, 0 for a node without edges.

        Raises:
            ValueError: a row that is no node, or a negative `num`.
        """
        nodes = check_nodes(nodes, self.num_nodes, "nodes")
        if num < 0:
            raise ValueError(f"num must be at least 0, got {num}.")
        drawn = np.empty((len(nodes), num), np.int32)
        block = max(1, BLOCK_WALKS // max(num, 1))
        for start in range(0, len(nodes), block):
            drawn[start : start + block] = self._draws(nodes[start : start + block], num, rng)
        return drawn

    def walk(self, starts: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
        """Random walks along the edges; each step is a neighbor as `draw` draws it.

        Args:
            starts: `[n]` nodes.
            length: steps of each walk.
            rng: equal states give equal walks.

        Returns:
            int32 `[n, length + 1]`, the start first, 0 after a node without edges.

        Raises:
            ValueError: a start that is no node, a negative length, or a graph that is not square.
        """
        starts = check_nodes(starts, self.num_nodes, "starts")
        if length < 0:
            raise ValueError(f"length must be at least 0, got {length}.")
        if self.num_targets != self.num_nodes:
            raise ValueError(
                f"A walk needs edges among one type, and these lead from {self.num_nodes} rows of "
                f"one type to {self.num_targets} of another: draw from both directions in turn."
            )
        walks = np.empty((len(starts), length + 1), np.int32)
        walks[:, 0] = starts
        for start in range(0, len(starts), BLOCK_WALKS):
            block = walks[start : start + BLOCK_WALKS]
            for step in range(length):
                block[:, step + 1] = self._draws(block[:, step], 1, rng)[:, 0]
        return walks

    @cached_property
    def _draws(self) -> Draws:
        return Draws(self.offsets, self.targets, self.weights, self.tables)
