"""The vectors of all nodes of a graph from all their neighbors, one layer after the other."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tf_recall.graph.typed import TypedGraph

BLOCK_NODES = 2**16  # whose messages are computed at a time


def layerwise(
    vectors: dict[str, np.ndarray],
    layers: Sequence[dict],
    graph: TypedGraph,
    edges_at_once: int = 2**18,
) -> list[dict[str, dict[str, np.ndarray]]]:
    """The vectors of every node at every layer of a graph network, from all of its neighbors.

        messages_k[u] = convolution_k.messages(vectors_{k-1}[u])
        pooled_k[v]   = convolution_k.pool(vectors_{k-1}[v], messages_k[neighbors of v], weights)
        vectors_k[v]  = convolution_k.update(vectors_{k-1}[v], pooled_k[v])

    Batches would compute the same nodes over and over, as neighbors of neighbors. Here each node's
    message and vector are computed once a layer. Nodes are sorted by degree, so that those of a
    block have about as many neighbors; a node of more than `edges_at_once` is a block by itself.

    Args:
        vectors: `{type: [V, D] float32}`, what goes into the first layer; memory maps will do.
        layers: `[{type: convolution}]`, the first layer first; a type that no later layer asks for
            may be left out.
        graph: a `TypedGraph`; edges without weights count 1.
        edges_at_once: about how many messages are in memory at a time, M numbers each.

    Returns:
        For each layer `{"messages": {type: [V, M]}, "pooled": {type: [V, P]}, "vectors": {type: [V,
            dim]}}`, float32: messages by the type that sends them, the others by the type that
            aggregates them.

    Raises:
        ValueError: `edges_at_once` below 1, a type without vectors or with another number of them
            than of nodes, or a layer in which two types aggregate one.

    Example:
        >>> graph = TypedGraph.user_item(split.train, catalog)
        >>> vectors = {t: np.ones([size, 8], np.float32) for t, size in graph.sizes.items()}
        >>> layer = {t: SAGEConvolution(4, Mean()) for t in ("user", "item")}
        >>> last = layerwise(vectors, [layer], graph)[-1]
        >>> last["vectors"]["item"].shape == (catalog.items.size, 4)
        True

    Paper: Ying et al. 2018, "Graph Convolutional Neural Networks for Web-Scale Recommender
        Systems", section 3.4.
    """
    if edges_at_once < 1:
        raise ValueError(f"edges_at_once must be at least 1, got {edges_at_once}")
    found = []
    for number, layer in enumerate(layers, 1):
        out = {"messages": {}, "pooled": {}, "vectors": {}}
        for of_type, convolution in layer.items():
            near_type, edges = graph.over(of_type)
            if near_type in out["messages"]:
                raise ValueError(
                    f"in layer {number} two types of nodes aggregate {near_type!r}; one may"
                )
            own, near = (_of(vectors, each, graph, number) for each in (of_type, near_type))
            if not convolution.built:
                convolution.build((None, own.shape[1]), (None, None, near.shape[1]))
            messages = _messages(convolution, near)
            out["messages"][near_type] = messages
            title = f"layer {number}, {of_type}"
            out["pooled"][of_type], out["vectors"][of_type] = _aggregated(
                convolution, own, messages, edges, edges_at_once, title
            )
        found.append(out)
        vectors = out["vectors"]
    return found


def _of(vectors, of_type, graph, number):
    """The vectors of a type, if there is one for each node."""
    if of_type not in vectors:
        raise ValueError(
            f"layer {number} needs vectors of {of_type!r}, there are those of {sorted(vectors)}"
        )
    found = vectors[of_type]
    size = graph.sizes[of_type]
    if len(found) != size:
        raise ValueError(f"there are {size} nodes of type {of_type!r}, and {len(found)} vectors")
    return found


def _messages(convolution, vectors):
    messages = np.empty((len(vectors), convolution.message_dim), np.float32)
    for start in range(0, len(vectors), BLOCK_NODES):
        messages[start : start + BLOCK_NODES] = convolution.messages(
            tf.convert_to_tensor(vectors[start : start + BLOCK_NODES])
        )
    return messages


def _aggregated(convolution, vectors, messages, edges, edges_at_once, title):
    """What every node aggregates, and its next vector."""
    size = edges.num_nodes
    pooled = np.empty((size, convolution.pool_dim), np.float32)
    new = np.empty((size, convolution.dim), np.float32)
    messages = tf.convert_to_tensor(messages)
    blocks = _blocks(edges.degrees, edges_at_once)
    for nodes in tqdm(blocks, title, unit="block", delay=3, leave=False):
        neighbors, weights = _neighbors(edges, nodes)
        own = tf.convert_to_tensor(vectors[nodes])
        received = tf.gather(messages, neighbors)  # [n, K, M]
        pooled_here = convolution.pool(own, received, tf.convert_to_tensor(weights))
        pooled[nodes] = pooled_here
        new[nodes] = convolution.update(own, pooled_here)
    return pooled, new


def _blocks(degrees, edges_at_once):
    """All nodes by falling degree, in blocks of about `edges_at_once` neighbors and nodes."""
    order = np.argsort(-degrees, kind="stable")
    blocks, start = [], 0
    while start < len(order):
        stop = start + max(1, edges_at_once // (1 + int(degrees[order[start]])))
        blocks.append(order[start:stop])
        start = stop
    return blocks


def _neighbors(edges, nodes):
    """All neighbors of nodes of falling degree and their weights, `[n, K]` each; weight 0 pads."""
    begins = edges.offsets[nodes]
    degrees = edges.offsets[nodes + 1] - begins
    column = np.arange(max(1, degrees[0]))
    known = column < degrees[:, None]  # [n, K]
    at = (begins[:, None] + column)[known]
    neighbors = np.zeros(known.shape, np.int32)
    neighbors[known] = edges.targets[at]
    weights = known.astype(np.float32)
    if edges.weights is not None:
        weights[known] = edges.weights[at]
    return neighbors, weights
