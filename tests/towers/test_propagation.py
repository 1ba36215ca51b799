"""Vectors propagated along edges: by hand, beside dense matrices, and their gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_recall.graph.csr import Graph
from tf_recall.graph.layerwise import layerwise
from tf_recall.graph.typed import TypedGraph, both_ways
from tf_recall.towers.propagation import Propagation
from tf_recall.towers.whole_graph import WholeGraph

USERS, ITEMS = 7, 6  # rows, the unknown one included


def connected(num_layers, users, items, num_users=USERS, num_items=ITEMS, dim=4):
    keras.utils.set_random_seed(1)
    propagation = Propagation(dim, num_layers, WholeGraph())
    propagation.build_from_config({"user": num_users, "item": num_items})
    graph = Graph.from_edges(users, items, None, num_users, num_items)
    propagation.connect(TypedGraph(both_ways("user", "item", graph)))
    propagation.start()
    return propagation


def some_edges():
    """User 6 and item 5 have none."""
    return np.array([1, 1, 1, 2, 2, 3, 4, 4, 4, 5]), np.array([1, 2, 3, 1, 4, 2, 1, 2, 4, 3])


def dense(propagation, users, items):
    """The matrix of the mean of layers, over users and items together, in float64."""
    adjacency = np.zeros([USERS + ITEMS] * 2)
    adjacency[users, USERS + items] = 1
    adjacency += adjacency.T
    degrees = adjacency.sum(axis=1)
    root = np.where(degrees > 0, 1 / np.sqrt(np.maximum(degrees, 1)), 0)
    step = root[:, None] * adjacency * root
    powers = [np.linalg.matrix_power(step, k) for k in range(propagation.num_layers + 1)]
    return np.mean(powers, axis=0)


def vectors_of(propagation):
    return propagation.way.vectors(propagation)


def start_of(propagation):
    return np.concatenate([propagation.tables[e].numpy() for e in ("user", "item")])


def test_two_users_and_two_items_by_hand():
    propagation = connected(1, [1, 1, 2], [1, 2, 1], 3, 3, dim=1)
    propagation.tables["user"].assign([[0], [1], [2]])
    propagation.tables["item"].assign([[0], [3], [5]])
    users, items = vectors_of(propagation)
    # u1: 3 / sqrt(2 * 2) + 5 / sqrt(2 * 1);  u2: 3 / sqrt(1 * 2); each with its own, halved
    np.testing.assert_allclose(users[1:, 0], [(1 + 5.035534) / 2, (2 + 2.121320) / 2], rtol=1e-6)
    # i1: 1 / sqrt(2 * 2) + 2 / sqrt(2 * 1);  i2: 1 / sqrt(1 * 2)
    np.testing.assert_allclose(items[1:, 0], [(3 + 1.914214) / 2, (5 + 0.707107) / 2], rtol=1e-6)


@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_vectors_and_gradients_are_those_of_the_dense_matrix(num_layers):
    edges = some_edges()
    propagation = connected(num_layers, *edges)
    matrix = dense(propagation, *edges)
    weights = np.random.default_rng(2).normal(size=[USERS + ITEMS, 4])
    tables = [propagation.tables[e].value for e in ("user", "item")]

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            vectors = tf.concat(vectors_of(propagation), axis=0)
            loss = tf.reduce_sum(vectors**2 * tf.constant(weights, tf.float32))
        return vectors, tape.gradient(loss, tables)

    vectors, gradients = step()
    wanted = matrix @ start_of(propagation)
    np.testing.assert_allclose(vectors, wanted, atol=1e-6)
    np.testing.assert_allclose(
        np.concatenate(gradients), matrix.T @ (2 * wanted * weights), atol=1e-6
    )
    assert np.abs(wanted).max() > 0.05


def test_a_gathered_gradient_is_propagated_too():
    edges = some_edges()
    propagation = connected(2, *edges)
    with tf.GradientTape() as tape:
        users, _ = vectors_of(propagation)
        loss = tf.reduce_sum(tf.gather(users, [3, 3]))
    (of_items,) = tape.gradient(loss, [propagation.tables["item"].value])
    of_user = dense(propagation, *edges)[3, USERS:]
    np.testing.assert_allclose(of_items, 2 * np.repeat(of_user[:, None], 4, axis=1), atol=1e-6)


def test_nodes_without_edges_are_zeros():
    propagation = connected(3, *some_edges())
    users, items = vectors_of(propagation)
    for alone in (users[0], users[6], items[0], items[5]):
        np.testing.assert_array_equal(alone, np.zeros(4))
    assert (np.abs(users[1:6]).max(axis=1) > 0).all()


@pytest.mark.parametrize("num_layers", [1, 3])
def test_what_items_send_makes_up_a_users_vector(num_layers):
    users, items = some_edges()
    propagation = connected(num_layers, users, items)
    vectors, _, sent = propagation.over_all()
    sent = sent.numpy()
    for user in range(1, 6):
        own = items[users == user]
        whole = propagation.tables["user"].numpy()[user] + sent[own].sum(axis=0) / len(own) ** 0.5
        np.testing.assert_allclose(vectors[user], whole / (num_layers + 1), atol=1e-6)


def test_neither_order_nor_repetition_of_edges_matters():
    users, items = some_edges()
    one = vectors_of(connected(2, users, items))
    order = np.r_[np.random.default_rng(3).permutation(len(users)), 0, 0, 5]
    other = vectors_of(connected(2, users[order], items[order]))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("normalize", [False, True])
def test_layer_by_layer_the_vectors_are_the_same(num_layers, normalize):
    users, items = some_edges()
    propagation = connected(num_layers, np.r_[users, 1], np.r_[items, 1])  # (1, 1) twice is once
    layers = propagation.layers(normalize)
    found = layerwise(propagation.all_nodes(), layers, propagation.graph, edges_at_once=4)
    for of_type, wanted in zip(("user", "item"), vectors_of(propagation), strict=True):
        if normalize:
            lengths = np.linalg.norm(wanted, axis=1, keepdims=True)
            wanted = wanted / np.where(lengths > 0, lengths, 1)
        np.testing.assert_allclose(found[-1]["vectors"][of_type], wanted, atol=1e-6)


def test_a_graph_of_other_nodes_is_refused():
    propagation = connected(1, *some_edges())
    more = Graph.from_edges([1], [1], None, USERS + 1, ITEMS)
    with pytest.raises(ValueError, match="8 rows of type 'user', and the catalog 7"):
        propagation.connect(TypedGraph(both_ways("user", "item", more)))
    one_way = TypedGraph(propagation.graph.relations[:1])
    with pytest.raises(ValueError, match="no relation 'item_user', it has"):
        propagation.connect(one_way)
