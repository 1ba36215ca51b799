"""The vectors of all nodes of a graph from all their neighbors, one layer after the other."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tf_recall.graph.typed import TypedGraph

BLOCK_NODES = 2**16  # whose messages are computed at a time


class ByLayers(NamedTuple):
    """The arguments of `layerwise` that say what is computed."""

    vectors: dict[str, np.ndarray]
    layers: Sequence[dict]
    graph: TypedGraph
    combinations: Sequence[dict] | None = None


def layerwise(
    vectors: dict[str, np.ndarray],
    layers: Sequence[dict],
    graph: TypedGraph,
    edges_at_once: int = 2**18,
    combinations: Sequence[dict] | None = None,
) -> list[dict[str, dict[str, np.ndarray]]]:
    """The vectors of every node at every layer of a graph network, from all of its neighbors.

        messages_kr[u] = convolution_kr.messages(vectors_{k-1}[u])
        pooled_kr[v] = convolution_kr.pool(vectors_{k-1}[v], messages_kr[neighbors of v by r],
            weights)
        vectors_k[v] = combination_k over the relations r of v's type of
            convolution_kr.update(vectors_{k-1}[v], pooled_kr[v])

    Batches would compute the same nodes over and over, as neighbors of neighbors. Here each node's
    message and vector are computed once a layer. Nodes are sorted by degree, so that those of a
    block have about as many neighbors; a node of more than `edges_at_once` is a block by itself.

    Args:
        vectors: `{type: [V, D] float32}`, what goes into the first layer; memory maps will do.
        layers: `[{relation: convolution}]`, the first layer first; relations of a type that no
            later layer asks for may be left out.
        graph: a `TypedGraph`; edges without weights count 1.
        edges_at_once: about how many messages are in memory at a time, M numbers each.
        combinations: `[{type: combination}]` by layer, of the types of several relations.

    Returns:
        For each layer `{"messages": {relation: [V, M]}, "pooled": {relation: [V, P]}, "vectors":
            {type: [V, dim]}}`, float32.

    Raises:
        ValueError: `edges_at_once` below 1, a relation that the graph does not have, a type
            without vectors or with another number of them than of nodes, or one of several
            relations that nothing combines.

    Example:
        >>> graph = TypedGraph.user_item(split.train, catalog)
        >>> vectors = {t: np.ones([size, 8], np.float32) for t, size in graph.sizes.items()}
        >>> layer = {name: SAGEConvolution(4, Mean()) for name in ("user_item", "item_user")}
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
        combine = combinations[number - 1] if combinations else {}
        out = {"messages": {}, "pooled": {}, "vectors": {}}
        for of_type in dict.fromkeys(graph[name].of for name in layer):
            relations = [each for each in graph.over(of_type) if each.name in layer]
            own = _of(vectors, of_type, graph, number)
            for each in relations:
                near = _of(vectors, each.near, graph, number)
                convolution = layer[each.name]
                if not convolution.built:
                    convolution.build((None, own.shape[1]), (None, None, near.shape[1]))
                out["messages"][each.name] = _messages(convolution, near)
                title = f"layer {number}, {each.name}"
                out["pooled"][each.name] = _pooled(
                    convolution, own, out["messages"][each.name], each.graph, edges_at_once, title
                )
            if len(relations) > 1 and of_type not in combine:
                raise ValueError(
                    f"layer {number} has {len(relations)} relations at {of_type!r}, and no "
                    "combination: give one in combinations"
                )
            convolutions = [layer[each.name] for each in relations]
            pooled = [out["pooled"][each.name] for each in relations]
            out["vectors"][of_type] = _updated(own, convolutions, pooled, combine.get(of_type))
        found.append(out)
        vectors = out["vectors"]
    return found


def combined(
    vectors: tf.Tensor,
    convolutions: Sequence,
    pooled: Sequence[tf.Tensor],
    combination: Callable | None,
) -> tf.Tensor:
    """The next vectors of nodes `[n, D']` from their own and what they aggregate by relation.

    Args:
        vectors: `[n, D]`, of the nodes themselves.
        convolutions: one for each relation.
        pooled: `[n, P]` of each relation.
        combination: of the relations; None where there is one.
    """
    new = [each.update(vectors, pool) for each, pool in zip(convolutions, pooled, strict=True)]
    return new[0] if combination is None else combination(tf.stack(new, axis=1))


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


def _pooled(convolution, vectors, messages, edges, edges_at_once, title):
    """What every node aggregates by a relation: `[V, P]`."""
    pooled = np.empty((edges.num_nodes, convolution.pool_dim), np.float32)
    messages = tf.convert_to_tensor(messages)
    blocks = _blocks(edges.degrees, edges_at_once)
    for nodes in tqdm(blocks, title, unit="block", delay=3, leave=False):
        neighbors, weights = _neighbors(edges, nodes)
        own = tf.convert_to_tensor(vectors[nodes])
        received = tf.gather(messages, neighbors)  # [n, K, M]
        pooled[nodes] = convolution.pool(own, received, tf.convert_to_tensor(weights))
    return pooled


def _updated(vectors, convolutions, pooled, combination):
    """Every node's next vector: `[V, dim]`."""
    blocks = []
    for start in range(0, len(vectors), BLOCK_NODES):
        block = slice(start, start + BLOCK_NODES)
        own = tf.convert_to_tensor(vectors[block])
        of_block = [tf.convert_to_tensor(each[block]) for each in pooled]
        new = combined(own, convolutions, of_block, combination)
        blocks.append(np.asarray(new, np.float32))
    return np.concatenate(blocks)


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
