"""The neighbors whose messages a node aggregates in a layer, and their weights."""

import zlib
from collections.abc import Callable, Sequence

import numpy as np

from tf_recall.graph.checks import check_nodes
from tf_recall.graph.csr import Graph

Neighbors = Callable[[np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]


class UniformNeighbors:
    """Draws `num` neighbors of each node anew, with replacement, all of weight 1.

    P(j | i) = weight of (i, j) / sum over k of weight of (i, k)
             = 1 / degree of i, in a graph without weights

    The draw follows the weights, so that the plain mean over the drawn neighbors estimates the
    weighted mean over all of them.

    Args:
        graph: edges to draw from.
        num: of each node.

    Call: `neighbors(nodes, rng)`, int32 `[n]` -> ids int32 `[n, num]`, weights float32 `[n, num]`;
        both 0 for a node without edges.

    Raises:
        ValueError: `num` is not a positive whole number.

    Example:
        >>> graph = TypedGraph.user_item(split.train, catalog)["item_user"].graph
        >>> neighbors = UniformNeighbors(graph, num=10)
        >>> ids, weights = neighbors(np.array([7, 8]), np.random.default_rng(0))

    Paper: Hamilton et al. 2017, "Inductive Representation Learning on Large Graphs", section 3.1.
    """

    def __init__(self, graph: Graph, num: int):
        self.graph = graph
        self.num = _whole(num)

    def __call__(
        self, nodes: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        ids = self.graph.draw(nodes, self.num, rng)
        return ids, (ids > 0).astype(np.float32)


class ImportantNeighbors:
    """The `num` neighbors of highest weight of each node, with their weights.

    Among equal weights the graph's first come first. With the weights of `important`, how often
    random walks from the node visit the neighbor, these are PinSage's neighbors: chosen, not drawn,
    so a node has the same ones in every batch.

    Args:
        graph: edges to choose from.
        num: of each node, at most.

    Call: `neighbors(nodes, rng)`, int32 `[n]` -> ids int32 `[n, num]`, weights float32 `[n, num]`;
        both 0 where a node has fewer.

    Raises:
        ValueError: `num` is not a positive whole number; at the call, a row that is no node.

    Example:
        >>> graph = TypedGraph.user_item(split.train, catalog)
        >>> hops = [graph["item_user"].graph, graph["user_item"].graph]
        >>> near = ImportantNeighbors(important(hops, catalog.items.size, top=50), num=10)

    Paper: Ying et al. 2018, "Graph Convolutional Neural Networks for Web-Scale Recommender
        Systems", section 3.2.
    """

    def __init__(self, graph: Graph, num: int):
        self.num = _whole(num)
        self._offsets = graph.offsets
        self._targets = graph.targets
        self._weights = graph.weights
        if graph.weights is not None and not _falling(graph):
            node = np.repeat(np.arange(graph.num_nodes), graph.degrees)
            order = np.lexsort((-graph.weights, node))
            self._targets = graph.targets[order]
            self._weights = graph.weights[order]

    def __call__(
        self, nodes: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        nodes = check_nodes(nodes, len(self._offsets) - 1, "nodes")
        if not len(self._targets):
            shape = len(nodes), self.num
            return np.zeros(shape, np.int32), np.zeros(shape, np.float32)
        begin, end = self._offsets[nodes], self._offsets[nodes + 1]
        edges = begin[:, None] + np.arange(self.num)  # [n, K]
        there = edges < end[:, None]
        ids = self._targets.take(edges, mode="clip") * there
        weights = there if self._weights is None else self._weights.take(edges, mode="clip") * there
        return ids, weights.astype(np.float32)


class LeftAlone:
    """Neighbors of which a share of the nodes has none: a node is left alone, or keeps them all.

    alone(node) = u(seed, type, node) < rate

    A function of the seed and the node: a node that several layers ask for is alone in all of them.

    Args:
        neighbors: gives the others theirs.
        rate: the share of nodes, from 0 to 1.
        of_type: the nodes' type; a user and an item of the same row differ.
        seed: whole numbers, such as a batch's seed and step.

    Call: as `neighbors`.

    Example:
        >>> graph = TypedGraph.user_item(split.train, catalog)["item_user"].graph
        >>> neighbors = LeftAlone(UniformNeighbors(graph, num=10), 0.2, "item", (0, 7))
        >>> ids, weights = neighbors(np.array([7, 8]), np.random.default_rng(0))
    """

    def __init__(self, neighbors: Neighbors, rate: float, of_type: str, seed: Sequence[int]):
        self._neighbors = neighbors
        self._rate = rate
        self._of_type = of_type
        self._seed = seed

    def __call__(
        self, nodes: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        kept = drawn_of(nodes, self._of_type, self._seed) >= self._rate
        of_kept = self._neighbors(nodes[kept], rng)
        found = tuple(np.zeros((len(nodes), each.shape[1]), each.dtype) for each in of_kept)
        for whole, part in zip(found, of_kept, strict=True):
            whole[kept] = part
        return found


class Remembered:
    """Neighbors that are drawn once: what the first call drew for its nodes, later calls get again.

    Args:
        neighbors: draws them at the first call.

    Call: as `neighbors`; from the second on for nodes among the first call's, which differ.

    Example:
        >>> graph = TypedGraph.user_item(split.train, catalog)["item_user"].graph
        >>> neighbors = Remembered(UniformNeighbors(graph, num=10))
        >>> rng = np.random.default_rng(0)
        >>> ids, _ = neighbors(np.array([7, 8, 5]), rng)
        >>> bool((neighbors(np.array([5]), rng)[0] == ids[2]).all())
        True
    """

    def __init__(self, neighbors: Neighbors):
        self._neighbors = neighbors
        self._order: np.ndarray | None = None

    def __call__(
        self, nodes: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        if self._order is None:
            self._order = np.argsort(nodes)
            self._nodes = nodes[self._order]
            self._found = self._neighbors(nodes, rng)
            return tuple(each.copy() for each in self._found)
        at = self._order.take(np.searchsorted(self._nodes, nodes))
        return tuple(each.take(at, axis=0) for each in self._found)


def drawn_of(nodes: np.ndarray, of_type: str, seed: Sequence[int]) -> np.ndarray:
    """A number from [0, 1) for each node, a function of seed, type and node: SplitMix64.

    Args:
        nodes: rows `[n]`.
        of_type: their type; a user and an item of the same row differ.
        seed: whole numbers, such as a batch's seed and step.

    Returns:
        float64 `[n]`.

    Example:
        >>> bool(drawn_of(np.array([7]), "item", (0, 3)) == drawn_of(np.array([7]), "user", (0, 3)))
        False
    """
    sequence = np.random.SeedSequence([*seed, zlib.crc32(of_type.encode())])
    (key,) = sequence.generate_state(1, np.uint64)
    with np.errstate(over="ignore"):
        z = key + (nodes.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)) * 2.0**-53


def _whole(num):
    if isinstance(num, bool) or not isinstance(num, int | np.integer) or num < 1:
        raise ValueError(f"num must be a positive whole number of neighbors, got {num!r}.")
    return int(num)


def _falling(graph):
    """Whether the edges of each node are sorted by falling weight, as those of `important` are."""
    falls = graph.weights[1:] <= graph.weights[:-1]
    borders = graph.offsets[(graph.offsets > 0) & (graph.offsets < graph.num_edges)] - 1
    falls[borders] = True
    return falls.all()
