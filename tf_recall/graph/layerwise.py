"""The vectors of all nodes of a graph, from all neighbors: layer by layer, each node once a
layer.
"""

import numpy as np
import tensorflow as tf
from tqdm import tqdm

ROWS = 2**16  # whose messages are computed at a time


def layerwise(vectors, layers, graph, edges_at_once: int = 2**18) -> list[dict]:
    """What every layer of a graph network says of every node, with all neighbors instead of a draw
    of some.

        messages_k[u] = convolution_k.messages(vectors_{k-1}[u])
        pooled_k[v]   = convolution_k.pool(vectors_{k-1}[v], messages_k of the neighbors of v,
        weights) vectors_k[v]  = convolution_k.update(vectors_{k-1}[v], pooled_k[v])

    One batch after another would compute the same nodes over and over, as neighbors of neighbors.
    Here each node is computed once a layer, and its message once. Nodes go by degree, so that those
    of a block have about as many neighbors; a node of more than `edges_at_once` has a block for
    itself.

    Args:
        vectors: `{type: [V, D] float32}`, what goes into the first layer; memory maps will do.
        layers: `[{type: convolution}]`, the first layer first; a type that no later layer asks for
            may be left out.
        graph: a `TypedGraph`; edges without weights count 1.
        edges_at_once: about how many places for neighbors are in memory at a time, M numbers each.

    Returns:
        For each layer `{"messages": {type: [V, M]}, "pooled": {type: [V, P]}, "vectors": {type: [V,
        dim]}}`, float32: messages under the type that says them, the others under the type that
        hears them.

    Raises:
        ValueError: `edges_at_once` below 1, a type without vectors or with another number of them
            than of nodes, or a layer in which two types hear one.

    Example:
        >>> vectors = {"user": users, "item": items}
        >>> last = layerwise(vectors, [{"user": to_users, "item": to_items}], graph)[-1]
        >>> last["vectors"]["item"].shape
        (1000001, 64)

    Paper: Ying et al. 2018, "Graph Convolutional Neural Networks for Web-Scale Recommender
        Systems", section 3.4.
    """
    if edges_at_once < 1:
        raise ValueError(f"edges_at_once must be at least 1, got {edges_at_once}")
    said = []
    for number, layer in enumerate(layers, 1):
        out = {"messages": {}, "pooled": {}, "vectors": {}}
        for of_type, convolution in layer.items():
            near_type, edges = graph.over(of_type)
            if near_type in out["messages"]:
                raise ValueError(
                    f"in layer {number} two types of nodes hear {near_type!r}; one may"
                )
            own, near = (_of(vectors, each, graph, number) for each in (of_type, near_type))
            if not convolution.built:
                convolution.build((None, own.shape[1]), (None, None, near.shape[1]))
            messages = _messages(convolution, near)
            out["messages"][near_type] = messages
            title = f"layer {number}, {of_type}"
            out["pooled"][of_type], out["vectors"][of_type] = _hear(
                convolution, own, messages, edges, edges_at_once, title
            )
        said.append(out)
        vectors = out["vectors"]
    return said


def _of(vectors, of_type, graph, number):
    """The vectors of a type, if there is one for each node."""
    if of_type not in vectors:
        raise ValueError(
            f"layer {number} needs vectors of {of_type!r}, there are those of {sorted(vectors)}"
        )
    found, size = vectors[of_type], graph.sizes[of_type]
    if len(found) != size:
        raise ValueError(f"there are {size} nodes of type {of_type!r}, and {len(found)} vectors")
    return found


def _messages(convolution, vectors):
    messages = np.empty((len(vectors), convolution.message_dim), np.float32)
    for start in range(0, len(vectors), ROWS):
        messages[start : start + ROWS] = convolution.messages(
            tf.convert_to_tensor(vectors[start : start + ROWS])
        )
    return messages


def _hear(convolution, vectors, messages, edges, edges_at_once, title):
    """What every node hears, and its next vector."""
    size = edges.num_nodes
    pooled, new = (
        np.empty((size, convolution.pool_dim), np.float32),
        np.empty((size, convolution.dim), np.float32),
    )
    messages = tf.convert_to_tensor(messages)

    for nodes in tqdm(
        _blocks(edges.degrees, edges_at_once), title, unit="block", delay=3, leave=False
    ):
        places, weights = _neighbors(edges, nodes)
        own = tf.convert_to_tensor(vectors[nodes])
        heard = convolution.pool(own, tf.gather(messages, places), tf.convert_to_tensor(weights))
        pooled[nodes], new[nodes] = heard, convolution.update(own, heard)
    return pooled, new


def _blocks(degrees, edges_at_once):
    """All nodes by falling degree, in blocks of about `edges_at_once` places, a node's own counted
    too.
    """
    order = np.argsort(-degrees, kind="stable")
    blocks, start = [], 0
    while start < len(order):
        stop = start + max(1, edges_at_once // (1 + int(degrees[order[start]])))
        blocks.append(order[start:stop])
        start = stop
    return blocks


def _neighbors(edges, nodes):
    """`(places, weights)`, `[n, K]` each, of all neighbors of nodes of falling degree; weight 0
    behind the last.
    """
    begins, degrees = edges.offsets[nodes], edges.offsets[nodes + 1] - edges.offsets[nodes]
    column = np.arange(max(1, degrees[0]))
    known = column < degrees[:, None]  # [n, K]
    at = (begins[:, None] + column)[known]
    places, weights = np.zeros(known.shape, np.int32), known.astype(np.float32)
    places[known] = edges.targets[at]
    if edges.weights is not None:
        weights[known] = edges.weights[at]
    return places, weights
