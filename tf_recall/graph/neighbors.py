"""Which neighbors of a node a layer sees, and how much each weighs."""

import numpy as np

from tf_recall.graph.csr import Graph


class UniformNeighbors:
    """`num` neighbors drawn for each node anew, with replacement, all of weight 1.

    P(j | i) = weight of (i, j) / sum over k of weight of (i, k), so 1 / degree of i where the graph
    has no weights

    What a weight says is in the draw; a mean over what was drawn then estimates the weighted mean
    over all neighbors.

    Args:
        graph: edges to draw from.
        num: of each node.

    Call: `neighbors(nodes, rng)`, int32 `[n]` -> ids int32 `[n, num]`, weights float32 `[n, num]`;
        both 0 for a node
    without edges.

    Raises:
        ValueError: `num` is not a positive whole number.

    Example:
        >>> neighbors = UniformNeighbors(graph, num=10)
        >>> ids, weights = neighbors(np.array([7, 8]), np.random.default_rng(0))

    Hamilton, Ying, Leskovec, "Inductive Representation Learning on Large Graphs", NIPS 2017,
    section 3.1.
    """

    def __init__(self, graph: Graph, num: int):
        self.graph, self.num = graph, _whole(num)

    def __call__(
        self, nodes: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        ids = self.graph.draw(nodes, self.num, rng)
        return ids, (ids > 0).astype(np.float32)


class ImportantNeighbors:
    """The `num` neighbors of highest weight of each node, with their weights; among equal ones the
    graph's first.

    With the weights of `important`, how often random walks from the node came there, these are
    PinSage's: chosen, not drawn, so a node has the same ones in every batch.

    Args:
        graph: edges to choose from.
        num: of each node, at most.

    Call: `neighbors(nodes, rng)`, int32 `[n]` -> ids int32 `[n, num]`, weights float32 `[n, num]`;
        both 0 where a node
    has fewer.

    Raises:
        ValueError: `num` is not a positive whole number; at the call, a row that is no node.

    Example:
        >>> near = ImportantNeighbors(important([graph], graph.num_nodes, top=50), num=10)

    Ying et al., "Graph Convolutional Neural Networks for Web-Scale Recommender Systems", KDD 2018,
    section 3.2.
    """

    def __init__(self, graph: Graph, num: int):
        self.num = _whole(num)
        self._offsets, self._targets, self._weights = graph.offsets, graph.targets, graph.weights
        if graph.weights is not None and not _falling(graph):
            node = np.repeat(np.arange(graph.num_nodes), graph.degrees)
            order = np.lexsort((-graph.weights, node))
            self._targets, self._weights = graph.targets[order], graph.weights[order]

    def __call__(
        self, nodes: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        nodes, num_nodes = np.asarray(nodes), len(self._offsets) - 1
        if nodes.size and not (nodes.min() >= 0 and nodes.max() < num_nodes):
            raise ValueError(
                f"Nodes go from 0 to {num_nodes - 1}, got {nodes.min()} to {nodes.max()}."
            )
        if not len(self._targets):
            return np.zeros((len(nodes), self.num), np.int32), np.zeros(
                (len(nodes), self.num), np.float32
            )
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
    """Whether each node's edges are by falling weight already, as those of `important` are."""
    falls = graph.weights[1:] <= graph.weights[:-1]
    borders = graph.offsets[(graph.offsets > 0) & (graph.offsets < graph.num_edges)] - 1
    falls[borders] = True
    return falls.all()
