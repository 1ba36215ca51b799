"""The neighbors whose messages a node aggregates in a layer, and their weights."""

import numpy as np

from tf_recall.graph.checks import check_nodes
from tf_recall.graph.csr import Graph


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
