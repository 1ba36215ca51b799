"""All nodes of a graph, layer by layer: by hand, against dense matrices, in blocks of any size,
each node once.
"""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_recall.graph import layerwise as module
from tf_recall.graph.csr import Graph
from tf_recall.graph.layerwise import layerwise
from tf_recall.graph.typed import Relation, TypedGraph, both_ways
from tf_recall.towers.aggregators import Attention, Concat, MaxPool, Mean
from tf_recall.towers.convolutions import Convolution, PinSageConvolution, SAGEConvolution

KINDS = {
    "mean": lambda: SAGEConvolution(4, Mean()),
    "max": lambda: SAGEConvolution(3, MaxPool(6), activation="tanh"),
    "attention": lambda: SAGEConvolution(4, Attention(5), activation=None),
    "concat": lambda: SAGEConvolution(4, Concat([Mean(), Attention(2)]), normalize=True),
    "pinsage": lambda: PinSageConvolution(4, 6),
}
SIZES = {"user": 23, "item": 31}


def edges(rng, num, num_targets, weighted=True):
    """Node 0 has no edges, nor have 1 and 2; node 3 has all; the others a few."""
    there = rng.random((num, num_targets)) < 0.15
    there[3], there[:3], there[:, 0] = True, False, False
    sources, targets = np.nonzero(there)
    weights = rng.integers(1, 5, len(sources)) if weighted else None
    return Graph.from_edges(sources, targets, weights, num, num_targets)


def bipartite(seed=0):
    """Edges that are weighted one way and not the other."""
    rng = np.random.default_rng(seed)
    there = edges(rng, SIZES["user"], SIZES["item"])
    back = edges(rng, SIZES["item"], SIZES["user"], False)
    return TypedGraph([Relation("user", "item", there), Relation("item", "user", back)])


BOTH = ("user_item", "item_user")


def features(sizes, seed=1, dims=(5, 7)):
    rng = np.random.default_rng(seed)
    return {
        t: rng.normal(size=(n, dim)).astype(np.float32)
        for dim, (t, n) in zip(dims, sizes.items(), strict=False)
    }


def layers_of(kind, relations=BOTH, num=2):
    keras.utils.set_random_seed(3)
    return [{name: KINDS[kind]() for name in relations} for _ in range(num)]


def dense(graph):
    """The weights as a matrix, 0 for no edge."""
    weights = np.zeros((graph.num_nodes, graph.num_targets))
    sources = np.repeat(np.arange(graph.num_nodes), graph.degrees)
    weights[sources, graph.targets] = 1 if graph.weights is None else graph.weights
    return weights


def mean_of(weights, said):
    return weights @ said / np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)


def dense_pool(layer, own, near, weights):
    """`(messages, pooled)` by whole matrices."""
    matrices = [weight.numpy().astype(float) for weight in layer.weights]
    if isinstance(layer, Mean):
        return near, mean_of(weights, near)
    if isinstance(layer, Concat):
        parts = [dense_pool(each, own, near, weights) for each in layer.aggregators]
        return tuple(np.concatenate(each, axis=1) for each in zip(*parts, strict=True))
    said = near @ matrices[0]
    if isinstance(layer, Attention):
        scores = own @ matrices[2] + matrices[3] + (said @ matrices[1]).T
        return np.c_[said, said @ matrices[1]], mean_of(
            weights * np.exp(np.where(scores > 0, 1, 0.2) * scores), said
        )
    said = np.maximum(said + matrices[1], 0)
    if isinstance(layer, MaxPool):
        return said, ((weights > 0)[..., None] * said).max(axis=1)
    return said, mean_of(weights, said)


def unit(x):
    lengths = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(lengths > 0, lengths, 1)


def dense_layer(layer, own, near, weights):
    """A layer by METHODS.md M13 and M14 over whole matrices: messages, pooled, vectors."""
    if isinstance(layer, PinSageConvolution):
        said, heard = dense_pool(layer, own, near, weights)
        W, w = (weight.numpy() for weight in layer.weights[2:])
        return said, heard, unit(np.maximum(np.concatenate([heard, own], axis=1) @ W + w, 0))
    said, heard = dense_pool(layer.aggregator, own, near, weights)
    new = heard @ layer.of_pool.kernel.numpy() + own @ layer.of_own.kernel.numpy()
    new = {"relu": lambda x: np.maximum(x, 0), "tanh": np.tanh, "linear": lambda x: x}[
        layer.activation.__name__
    ](new)
    return said, heard, unit(new) if layer.normalize else new


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at_once", [16, 2**20])
@pytest.mark.parametrize("typed", [True, False])
def test_agrees_with_dense_matrices(kind, at_once, typed):
    one = edges(np.random.default_rng(5), SIZES["item"], SIZES["item"])
    graph = bipartite() if typed else TypedGraph([Relation("item", "item", one)])
    names = [each.name for each in graph.relations]
    vectors, layers = features(graph.sizes), layers_of(kind, names)
    found = layerwise(vectors, layers, graph, edges_at_once=at_once)
    assert len(found) == 2
    for layer, said in zip(layers, found, strict=True):
        new = {}
        for name, convolution in layer.items():
            of_type, near = graph[name].ends
            there = dense(graph[name].graph)
            expected = dense_layer(convolution, vectors[of_type], vectors[near], there)
            parts = said["messages"][name], said["pooled"][name], said["vectors"][of_type]
            for one, other in zip(parts, expected, strict=True):
                assert one.dtype == np.float32
                np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
            assert not parts[1][:3].any() and np.abs(parts[1][3]).max() > 0
            new[of_type] = expected[2]
        vectors = new


def test_by_hand():
    """Users 1 and 2 and items 1 to 3: user 1 took item 1 once and item 2 three times, user 2
    nothing.
    """
    graph = Graph.from_edges([1, 1], [1, 2], [1, 3], num_nodes=3, num_targets=4)
    graph = TypedGraph(both_ways("user", "item", graph))
    layer = {name: SAGEConvolution(1, Mean(), activation=None) for name in BOTH}
    for own, heard, convolution in ((1, 10, layer["user_item"]), (1, 100, layer["item_user"])):
        convolution.build((None, 1), (None, None, 1))
        convolution.set_weights([np.full((1, 1), heard), np.full((1, 1), own)])
    vectors = {
        "user": np.array([[0], [2], [5]], np.float32),
        "item": np.array([[0], [4], [8], [1]], np.float32),
    }
    first, second = layerwise(vectors, [layer, layer], graph)
    # user 1 hears (1*4 + 3*8)/4 = 7: 2 + 70;  items 1 and 2 hear 2: 4 + 200, 8 + 200
    assert first["pooled"]["user_item"].ravel().tolist() == [0, 7, 0]
    assert first["vectors"]["user"].ravel().tolist() == [0, 72, 5]
    assert first["vectors"]["item"].ravel().tolist() == [0, 204, 208, 1]
    assert first["messages"]["item_user"].ravel().tolist() == [0, 2, 5]
    # user 1 hears (204 + 3*208)/4 = 207: 72 + 2070;  items hear 72: 204 + 7200, 208 + 7200
    assert second["vectors"]["user"].ravel().tolist() == [0, 2142, 5]
    assert second["vectors"]["item"].ravel().tolist() == [0, 7404, 7408, 1]


@keras.saving.register_keras_serializable("tests")
class Spy(SAGEConvolution):
    """Counts the nodes it computes, and the places of the largest block."""

    def __init__(self):
        super().__init__(2, Mean())
        self.said, self.heard, self.largest = (tf.Variable(0) for _ in range(3))

    def messages(self, vectors):
        self.said.assign_add(tf.shape(vectors)[0])
        return super().messages(vectors)

    def pool(self, vectors, near, weights):
        self.heard.assign_add(tf.shape(vectors)[0])
        self.largest.assign(tf.maximum(self.largest, tf.size(weights)))
        return super().pool(vectors, near, weights)


def test_each_node_once_in_blocks_that_fit(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_NODES", 10)
    graph, layer = bipartite(), {name: Spy() for name in BOTH}
    vectors = features(SIZES)
    layerwise(vectors, [layer], graph, edges_at_once=20)
    assert graph["user_item"].graph.degrees.max() == 30  # more than fit into a block
    for of_type, other in (("user", "item"), ("item", "user")):
        name = f"{of_type}_{other}"
        spy = layer[name]
        assert (int(spy.said), int(spy.heard)) == (SIZES[other], SIZES[of_type])
        assert int(spy.largest) == graph[name].graph.degrees.max()  # the hub, alone
    many = {"item_user": Spy()}
    layerwise(vectors, [many], graph, edges_at_once=200)
    assert 60 < int(many["item_user"].largest) <= 200


def test_memory_maps(tmp_path):
    graph, layers = bipartite(), layers_of("pinsage")
    expected = layerwise(features(SIZES), layers, graph)[-1]["vectors"]
    mapped, vectors = [], {}
    for each in graph.relations:
        each.graph.save(tmp_path / each.name)
        mapped.append(replace(each, graph=Graph.load(tmp_path / each.name)))
    for of_type, each in features(SIZES).items():
        np.save(tmp_path / of_type, each)
        vectors[of_type] = np.load(tmp_path / f"{of_type}.npy", mmap_mode="r")
    found = layerwise(vectors, layers, TypedGraph(mapped), edges_at_once=40)[-1]["vectors"]
    for of_type in SIZES:
        assert type(found[of_type]) is np.ndarray
        np.testing.assert_allclose(found[of_type], expected[of_type], rtol=1e-4, atol=1e-6)


def test_the_last_layer_may_be_of_one_type():
    graph, layers = bipartite(), layers_of("mean")
    every = layerwise(features(SIZES), layers, graph)[-1]["vectors"]["item"]
    last = layerwise(features(SIZES), [layers[0], {"item_user": layers[1]["item_user"]}], graph)[-1]
    assert set(last["vectors"]) == {"item"} and set(last["messages"]) == {"item_user"}
    np.testing.assert_array_equal(last["vectors"]["item"], every)


def test_half_precision():
    graph, layers = bipartite(), layers_of("pinsage")
    expected = layerwise(features(SIZES), layers, graph)[-1]["vectors"]["item"]
    half = [{t: PinSageConvolution(4, 6, dtype="mixed_float16") for t in layer} for layer in layers]
    layerwise(features(SIZES), half, graph)
    for layer, single in zip(half, layers, strict=True):
        for of_type in layer:
            layer[of_type].set_weights(single[of_type].get_weights())
    found = layerwise(features(SIZES), half, graph)[-1]
    assert found["messages"]["user_item"].dtype == found["vectors"]["item"].dtype == np.float32
    np.testing.assert_allclose(found["vectors"]["item"], expected, atol=0.01)


def test_errors_say_what_is_wrong():
    graph, layers, vectors = bipartite(), layers_of("mean"), features(SIZES)
    with pytest.raises(ValueError, match="edges_at_once must be at least 1, got 0"):
        layerwise(vectors, layers, graph, edges_at_once=0)
    with pytest.raises(
        ValueError, match=r"layer 1 needs vectors of 'item', there are those of \['user'\]"
    ):
        layerwise({"user": vectors["user"]}, layers, graph)
    with pytest.raises(
        ValueError, match=r"layer 2 needs vectors of 'user', there are those of \['item'\]"
    ):
        layerwise(vectors, [{"item_user": layers[0]["item_user"]}, layers[1]], graph)
    with pytest.raises(ValueError, match="31 nodes of type 'item', and 30 vectors"):
        layerwise({**vectors, "item": vectors["item"][1:]}, layers, graph)
    among = edges(np.random.default_rng(0), SIZES["item"], SIZES["item"])
    both = TypedGraph([*graph.relations, Relation("item", "item", among)])
    more = layers_of("mean", (*BOTH, "item_item"), num=1)
    with pytest.raises(ValueError, match="layer 1 has 2 relations at 'item', and no combination"):
        layerwise(vectors, more, both)
    with pytest.raises(ValueError, match="no relation 'item_item', it has"):
        layerwise(vectors, more, graph)
    with pytest.raises(NotImplementedError):
        Convolution(3).update(tf.zeros([1, 1]), tf.zeros([1, 1]))
