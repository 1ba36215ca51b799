"""Vectors from neighbors that are drawn: in the mean they, and their gradients, are the whole
graph's.
"""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_recall.graph.csr import Graph
from tf_recall.graph.typed import TypedGraph, both_ways
from tf_recall.towers.propagation import Propagation
from tf_recall.towers.sampled_neighbors import SampledNeighbors
from tf_recall.towers.whole_graph import WholeGraph

USERS, ITEMS, DIM = 6, 5, 3  # of a copy
COPIES, STEPS = 400, 20  # of one small graph side by side, and of batches: so many draws
EDGES = np.array([1, 1, 1, 2, 2, 3, 4, 4, 4, 5]), np.array([1, 2, 3, 1, 4, 2, 1, 2, 4, 3])


def both(fan_outs, num_layers):
    """Propagations of one start over copies of a graph, user 6 and item 5 alone: drawn, whole."""
    keras.utils.set_random_seed(1)
    start = {
        "user": np.random.normal(size=[USERS, DIM]),
        "item": np.random.normal(size=[ITEMS, DIM]),
    }
    sizes = {"user": 1 + COPIES * USERS, "item": 1 + COPIES * ITEMS}
    copies = np.arange(COPIES)[:, None]
    users, items = ((EDGES[n] + copies * size).ravel() for n, size in enumerate((USERS, ITEMS)))
    graph = Graph.from_edges(users, items, None, *sizes.values())
    made = []
    for way in (SampledNeighbors(fan_outs), WholeGraph()):
        propagation = Propagation(DIM, num_layers, way)
        propagation.build_from_config(sizes)
        propagation.connect(TypedGraph(both_ways("user", "item", graph)))
        for entity, table in propagation.tables.items():
            own = np.tile(start[entity], [COPIES, 1])
            table.assign(np.concatenate([np.full([1, DIM], 0.5), own]))
        made.append(propagation)
    return made


def batches(propagation):
    """All nodes, in each batch; the positives are edges of the graph."""
    users, items = (np.arange(propagation.tables[e].shape[0]) for e in ("user", "item"))
    copy, user = np.divmod(users - 1, USERS)
    positives = np.maximum(copy * ITEMS + np.array([1, 1, 2, 1, 3, 1])[user], 0)
    pairs = SimpleNamespace(
        at=lambda step: {"query": {"user": np.int32(users)}, "item": {"item": np.int32(positives)}},
        batch_size=len(users),
        steps_per_epoch=1,
    )
    return propagation.way.batches(propagation, pairs, lambda step: [np.int32(items)], 3, 1)


def step(propagation, batch, weights):
    """The vectors, and the gradients of a weighted sum of them, of a copy each."""
    tables = list(propagation.tables.values())
    with tf.GradientTape() as tape:
        found = propagation.way.found(propagation, batch)
        vectors = [found(e, tf.range(t.shape[0])) for e, t in propagation.tables.items()]
        total = sum(tf.reduce_sum(v[1:] * w) for v, w in zip(vectors, weights, strict=True))
    gradients = tape.gradient(total, [table.value for table in tables])
    out = [*vectors, *map(tf.convert_to_tensor, gradients)]
    return [np.float64(each[1:]).reshape([COPIES, -1, DIM]) for each in out]


@pytest.mark.parametrize(("fan_outs", "num_layers"), [([1], 1), ([2, 1], 3), ([3], 2)])
def test_in_the_mean_vectors_and_gradients_are_the_whole_graphs(fan_outs, num_layers):
    drawn, whole = both(fan_outs, num_layers)
    rng = np.random.default_rng(2)
    weights = [np.tile(rng.normal(size=[n, DIM]), [COPIES, 1]) for n in (USERS, ITEMS)]
    weights = [np.float32(each) for each in weights]
    made = batches(drawn)
    several = zip(*(step(drawn, made.at(n), weights) for n in range(STEPS)), strict=True)
    for found, wanted in zip(several, step(whole, {}, weights), strict=True):
        found = np.concatenate(found)  # [STEPS * COPIES, n, DIM]
        error = found.std(axis=0) / np.sqrt(len(found))
        np.testing.assert_array_less(np.abs(found.mean(axis=0) - wanted[0]), 5 * error + 1e-6)
        assert error.max() > 1e-4  # drawn it was


def test_the_unknown_have_their_own_vector_alone():
    drawn, whole = both([2], 2)
    for entity in ("user", "item"):
        rows = tf.constant([0, 3, 0])
        batch = batches(drawn).at(0)
        ours = drawn.way.found(drawn, batch)(entity, rows)
        theirs = whole.way.found(whole, batch)(entity, rows)
        np.testing.assert_allclose(ours.numpy()[[0, 2]], theirs.numpy()[[0, 2]], atol=1e-6)


def test_served_vectors_are_of_all_neighbors():
    for drawn, whole in (both([1], 1), both([2, 1], 3)):
        for ours, theirs in zip(drawn.over_all(), whole.over_all(), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_the_last_fan_out_holds_for_further_layers():
    for fan_outs, num_layers, wanted in (([4, 3], 3, [3, 3, 4]), ([4, 3, 2], 2, [3, 4])):
        drawn, _ = both(fan_outs, num_layers)
        layers = batches(drawn).at(0)["subgraph"]["layers"]
        widths = [layers[str(k + 1)]["user_item"]["position"].shape[1] for k in range(num_layers)]
        assert widths == wanted
