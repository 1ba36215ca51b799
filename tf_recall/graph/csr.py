"""A directed graph: weighted edges between rows, neighbors drawn by weight, and random walks."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy import sparse

from tf_recall.graph import folder
from tf_recall.graph.tables import EDGE, edge_tables

PIECE_EVENTS = 2**24  # of sessions, counted at a time
PIECE_WALKS = 2**14  # steps or draws taken together: what they compute stays in the cache

# What a step reads of a node, 16 bytes: one read of memory, which is what a step costs.
NODE = np.dtype([("degree", np.float64), ("begin", np.int64)])


@dataclass(frozen=True, eq=False)
class Graph:
    """Edges from rows of one type to rows of another or the same: those of node i are `offsets[i]`
    to `offsets[i + 1]`.

    Build it with a `from_...`, or on disk with `graph.build.build`: those check. Node 0, the
    unknown, has no edges. The arrays may be read-only memory maps: only what is asked for is read.

    Args:
        offsets: `[num_nodes + 1]` int64.
        targets: `[E]` int32, rising within a node (of `from_table`: in the table's order).
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
    def from_sessions(cls, sessions, num_nodes: int) -> "Graph":
        """weight of (i, j) = how often i is directly followed by j in a session; i by i is left out
        (METHODS.md M4).

        Wang et al., "Billion-scale Commodity Embedding for E-commerce Recommendation in Alibaba",
        KDD 2018, section 3.1.
        """
        counts = sparse.csr_array((num_nodes, num_nodes), dtype=np.float64)
        begins = np.zeros(len(sessions.items) + 1, bool)
        begins[sessions.offsets] = True
        for start in range(0, len(sessions.items), PIECE_EVENTS):
            items = np.asarray(sessions.items[start : start + PIECE_EVENTS + 1])
            follows = ~begins[start + 1 : start + len(items)] & (items[1:] != items[:-1])
            counts = counts + _summed(items[:-1][follows], items[1:][follows], None, counts.shape)
        return cls._of(counts)

    @classmethod
    def from_edges(
        cls, sources, targets, weights, num_nodes: int, num_targets: int | None = None
    ) -> "Graph":
        """From edges in any order; those that come twice are added up, those of weight 0 are left
        out.

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
            _check_lengths(sources, targets)
            graph = cls._of(_summed(sources, targets, None, shape))
            return (
                cls(graph.offsets, graph.targets, None, shape[1])
                if np.all(graph.weights == 1)
                else graph
            )
        with np.errstate(over="ignore"):
            weights = np.asarray(weights, np.float32)
        _check_lengths(sources, targets, weights)
        _check_weights(weights)
        used = weights > 0
        return cls._of(
            _summed(sources[used], targets[used], weights[used].astype(np.float64), shape)
        )

    @classmethod
    def from_table(cls, ids, weights, num_targets: int) -> "Graph":
        """From a line of targets for each node, as lists of the most alike: the order within a line
        stays.

        Args:
            ids: `[num_nodes, T]` targets, 0 for none; line 0 is the unknown's and holds none.
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
            with np.errstate(over="ignore"):
                weights = np.asarray(weights, np.float32)
            _check_weights(weights.ravel())
            used &= weights > 0
            weights = weights[used]
        if used[:1].any():
            raise ValueError(
                f"Node 0 is the unknown and has no edges, got {ids[0][used[0]]} in its line."
            )
        offsets = np.concatenate([[0], np.cumsum(used.sum(axis=1, dtype=np.int64))])
        return cls(offsets, ids[used].astype(np.int32), weights, num_targets)

    @classmethod
    def _of(cls, matrix):
        matrix.sort_indices()
        offsets, targets = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32)
        return cls(offsets, targets, matrix.data.astype(np.float32), matrix.shape[1])

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

    def save(self, directory: str | Path) -> None:
        """Writes the graph, with the tables of its draws, into a folder that must not be there yet.

        Raises:
            FileExistsError: it is.
        """
        with folder.making(directory, self.num_targets) as files:
            files["offsets"].append(self.offsets)
            files["targets"].append(self.targets)
            if self.weights is not None:
                files["weights"].append(self.weights)
                made = (
                    edge_tables(self.offsets, self.targets, self.weights)
                    if self.tables is None
                    else [self.tables]
                )
                for piece in made:
                    files["tables"].append(piece)

    @classmethod
    def load(cls, directory: str | Path) -> "Graph":
        """The graph that `save` wrote, as read-only memory maps.

        Raises:
            FileNotFoundError: no graph there.
            ValueError: a folder with a file missing, cut short, or of another kind than it should
                be.
        """
        return cls(**folder.read(directory))

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

    def subgraph(self, sources, targets=None) -> "Graph":
        """The edges between some nodes, renumbered: node r is `sources[r - 1]`, target r is
        `targets[r - 1]`.

        Args:
            sources: different nodes of this graph, above 0.
            targets: different targets, above 0; None: all, under the numbers that they have.

        Raises:
            ValueError: a node that comes twice, or that the graph does not have.

        Example:
            >>> graph.subgraph(nodes, nodes)      # what is left of a square graph among these
        """
        sources = _different(sources, self.num_nodes, "sources")
        offsets, degrees = (
            np.asarray(self.offsets),
            self.offsets[sources + 1] - self.offsets[sources],
        )
        ends = np.cumsum(degrees)
        taken = np.arange(ends[-1] if len(ends) else 0) + np.repeat(
            offsets[sources] - ends + degrees, degrees
        )
        node, reached = (
            np.repeat(np.arange(1, len(sources) + 1), degrees),
            np.asarray(self.targets)[taken],
        )
        num_targets = self.num_targets
        if targets is not None:
            targets = _different(targets, self.num_targets, "targets")
            row, num_targets = np.zeros(self.num_targets, np.int32), len(targets) + 1
            row[targets] = np.arange(1, num_targets)
            stays = row[reached] > 0
            taken, node, reached = taken[stays], node[stays], row[reached[stays]]
        weights = None if self.weights is None else np.asarray(self.weights)[taken]
        order = np.lexsort((reached, node)) if targets is not None else slice(None)
        counts = np.bincount(node, minlength=len(sources) + 1)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        return Graph(
            offsets, reached[order], None if weights is None else weights[order], num_targets
        )

    def draw(self, nodes: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
        """`num` neighbors of each node, with replacement: int32 `[n, num]`, 0 for a node without
        edges.

        P(j | i) = weight of (i, j) / sum over k of weight of (i, k)

        A draw costs the same whatever the degree: one random number names an edge and, of a graph
        with weights, decides between it and the one it shares its place with, by a table of
        Walker's for each node.

        Args:
            nodes: `[n]` nodes.
            num: how many of each.
            rng: equal states draw equal neighbors.

        Raises:
            ValueError: a row that is no node, or a negative `num`.
        """
        nodes = self._nodes(nodes, "nodes")
        if num < 0:
            raise ValueError(f"num must be at least 0, got {num}.")
        drawn = np.empty((len(nodes), num), np.int32)
        piece = max(1, PIECE_WALKS // max(num, 1))
        for first in range(0, len(nodes), piece):
            drawn[first : first + piece] = self._drawn(nodes[first : first + piece], num, rng)
        return drawn

    def walk(self, starts: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
        """Random walks of `length` steps: int32 `[n, length + 1]`, the start first, 0 from where no
        edge leads on.

        Each step is a neighbor as `draw` draws it.

        Args:
            starts: `[n]` nodes.
            length: steps of each walk.
            rng: equal states walk equal ways.

        Raises:
            ValueError: a start that is no node, a negative length, or a graph that is not square.
        """
        starts = self._nodes(starts, "starts")
        if length < 0:
            raise ValueError(f"length must be at least 0, got {length}.")
        if self.num_targets != self.num_nodes:
            raise ValueError(
                f"A walk goes on from where it came to, and these edges lead from {self.num_nodes} "
                "rows of one type to "
                f"{self.num_targets} of another: draw from both directions in turn."
            )
        walks = np.empty((len(starts), length + 1), np.int32)
        walks[:, 0] = starts
        for piece in range(0, len(starts), PIECE_WALKS):
            ways = walks[piece : piece + PIECE_WALKS]
            for step in range(length):
                ways[:, step + 1] = self._drawn(ways[:, step], 1, rng)[:, 0]
        return walks

    def _nodes(self, nodes, name):
        nodes = np.asarray(nodes)
        if nodes.size and not (nodes.min() >= 0 and nodes.max() < self.num_nodes):
            raise ValueError(
                f"Nodes go from 0 to {self.num_nodes - 1}, got {name} {nodes.min()} to "
                f"{nodes.max()}."
            )
        return nodes

    def _drawn(self, nodes, num, rng):
        node = self._places.take(nodes)
        degree, begin = node["degree"][:, None], node["begin"][:, None]
        y = rng.random((len(nodes), num)) * degree
        place = y.astype(np.int64)
        if self.weights is None:
            reached = self._ends.take(begin + place) if self.num_edges else np.zeros_like(place)
            reached[node["degree"] == 0] = 0
            return reached
        edge = self._ends.take(begin + place)
        return np.where(y - place < edge["keep"], edge["target"], edge["other"])

    @cached_property
    def _places(self):
        """Each `NODE`; of those without edges the place is any there is, or in the tables a last
        one, for node 0.
        """
        places = np.zeros(self.num_nodes, NODE)
        places["degree"] = self.degrees
        places["begin"] = np.where(
            self.degrees > 0, self.offsets[:-1], 0 if self.weights is None else self.num_edges
        )
        return places

    @cached_property
    def _ends(self):
        """What a draw reads: the targets, or the tables where there are weights; plain arrays, also
        of memory maps.
        """
        if self.weights is None:
            return np.asarray(self.targets)
        if self.tables is not None:
            return np.asarray(self.tables)
        tables, done = np.empty(self.num_edges + 1, EDGE), 0
        for piece in edge_tables(self.offsets, self.targets, self.weights):
            tables[done : done + len(piece)] = piece
            done += len(piece)
        return tables


def _check_lengths(*arrays):
    shapes = [each.shape for each in arrays]
    if len(set(shapes)) > 1 or len(shapes[0]) != 1:
        names, shown = (
            ("sources", "targets", "weights")[: len(shapes)],
            [str(shape) for shape in shapes],
        )
        raise ValueError(
            f"{', '.join(names[:-1])} and {names[-1]} must be arrays of one length, got the shapes "
            f"{', '.join(shown[:-1])} and {shown[-1]}."
        )


def _check_weights(weights):
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if wrong.size:
        raise ValueError(
            f"Weights must be numbers of at least 0, got {weights[wrong[0]]} for edge {wrong[0]}."
        )


def _different(nodes, num, name):
    nodes = np.asarray(nodes)
    if nodes.size and not (nodes.dtype.kind in "iu" and nodes.min() > 0 and nodes.max() < num):
        raise ValueError(
            f"{name} must be whole numbers from 1 to {num - 1}, got {nodes.min()} to {nodes.max()}."
        )
    if len(np.unique(nodes)) < len(nodes):
        raise ValueError(
            f"{name} must differ, got {len(nodes)} of which {len(np.unique(nodes))} differ."
        )
    return nodes.astype(np.int64)


def _summed(sources, targets, weights, shape):
    for name, nodes, num in (("Sources", sources, shape[0]), ("Targets", targets, shape[1])):
        if len(nodes) and not (nodes.dtype.kind in "iu" and nodes.min() > 0 and nodes.max() < num):
            raise ValueError(
                f"{name} must be whole numbers from 1 to {num - 1}, got {nodes.min()} to "
                f"{nodes.max()}."
            )
    weights = np.ones(len(sources)) if weights is None else weights
    return sparse.coo_array((weights, (sources, targets)), shape=shape).tocsr()
