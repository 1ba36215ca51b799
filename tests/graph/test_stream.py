"""Batches with their part of the graph: what is in them, and what must not be."""

import numpy as np
import pytest
import tensorflow as tf

from tf_recall.data.batches import Batches
from tf_recall.graph.csr import Graph
from tf_recall.graph.neighbors import UniformNeighbors
from tf_recall.graph.stream import GraphBatches
from tf_recall.graph.typed import TypedGraph, both_ways

RNG = np.random.default_rng(0)
USERS, ITEMS = RNG.integers(1, 50, 600).astype(np.int32), RNG.integers(1, 80, 600).astype(np.int32)
EDGES = Graph.from_edges(USERS, ITEMS, None, 50, 80)
GRAPH = TypedGraph(both_ways("user", "item", EDGES))


def batches_of(ahead=lambda step: [], negatives=None, seed=0, size=64, **settings):
    pairs = Batches({"query": {"user": USERS}, "item": {"item": ITEMS}}, size, seed)
    layers = [
        {each.name: UniformNeighbors(each.graph, num) for each in GRAPH.relations} for num in (4, 6)
    ]
    over = {each.name: each.ends for each in GRAPH.relations}
    return GraphBatches(pairs, layers, over, ahead, negatives, seed, **settings)


def edges(batch):
    """The edges `(type, node, neighbor)` that any layer of a batch sees."""
    subgraph = batch["subgraph"]
    rows = subgraph["rows"]
    for blocks in subgraph["layers"].values():
        for name, block in blocks.items():
            of_type, near_type = GRAPH[name].ends
            near = rows[near_type][block["position"]]
            for node, to, weights in zip(rows[of_type], near, block["weight"], strict=False):
                yield from ((of_type, node, neighbor) for neighbor in to[weights > 0])


def test_no_batch_sees_the_edges_of_its_own_positives():
    """Of the 600 pairs, 64 a batch: without the guard nearly every batch draws some of them."""
    batches = batches_of()
    drawn = 0
    for step in range(5):
        batch = batches.at(step)
        positives = set(zip(batch["query"]["user"], batch["item"]["item"], strict=True))
        for of_type, node, neighbor in edges(batch):
            assert ((node, neighbor) if of_type == "user" else (neighbor, node)) not in positives
            drawn += 1
    assert drawn > 1000


def test_seeds_hold_whatever_the_step_asks_for():
    batches = batches_of(
        lambda step: [np.array([70 + step, 3])], lambda batch, rng: np.full((64, 2), 9, np.int32)
    )
    batch = batches.at(2)
    assert batch["negatives"].shape == (64, 2) and batch["subgraph"]["step"] == 2
    seeds = batch["subgraph"]["seeds"]
    assert {9, 72, 3, *batch["item"]["item"]} <= set(seeds["item"])
    assert set(seeds["user"]) - {2**31 - 1} == set(batch["query"]["user"])


def test_the_dataset_is_the_batches_in_order_from_any_step():
    batches = batches_of()
    for start in (0, 11):  # an epoch has 9
        for step, tensors in enumerate(batches.dataset(start).take(4), start):
            expected, got = tf.nest.flatten(batches.at(step)), tf.nest.flatten(tensors)
            assert all(np.array_equal(a, b) for a, b in zip(expected, got, strict=True))
    spec = batches.dataset().element_spec
    assert spec["query"]["user"].shape == (64,) and spec["subgraph"]["rows"]["item"].shape == (
        None,
    )
    assert len(batches) == batches.steps_per_epoch == 9


def neighbors_of(subgraph):
    """`{(layer, type, node): its neighbors with weights}` of the nodes that are there."""
    found = {}
    for layer, blocks in subgraph["layers"].items():
        for name, block in blocks.items():
            of_type, near_type = GRAPH[name].ends
            near = subgraph["rows"][near_type][block["position"]]
            near = np.where(block["weight"] > 0, near, 0)
            for node, to, weights in zip(
                subgraph["rows"][of_type], near, block["weight"], strict=False
            ):
                found[layer, of_type, node] = to.tolist(), weights.tolist()
    return found


def test_a_node_left_alone_is_alone_in_all_layers_and_the_others_are_not():
    drawn = neighbors_of(batches_of(alone=0.5).at(3)["subgraph"])
    of_node = {}
    for (_, of_type, node), (_, weights) in drawn.items():
        if node:
            of_node.setdefault((of_type, node), []).append(any(weights))
    twice = [heard for heard in of_node.values() if len(heard) > 1]
    # those of one positive may lose their only neighbor; hardly any other pair of layers differs
    assert np.mean([len(set(heard)) == 1 for heard in twice]) > 0.95
    assert 0.35 < np.mean([heard[0] for heard in twice]) < 0.65
    everyone = neighbors_of(batches_of().at(3)["subgraph"]).values()
    assert np.mean([any(weights) for _, weights in everyone]) > 0.9


def test_equal_seeds_leave_equal_nodes_alone():
    one, same, other = (
        tf.nest.flatten(batches_of(alone=0.5, seed=seed).at(3)) for seed in (4, 4, 5)
    )
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_replicas_see_of_a_node_what_one_device_sees():
    """Three shares of 20 rows; the negatives of the step are in each."""
    settings = {
        "ahead": lambda step: [np.array([70, 3])],
        "negatives": lambda batch, rng: rng.integers(1, 80, (60, 2)).astype(np.int32),
        "size": 60,
        "alone": 0.2,
    }
    whole = batches_of(**settings).at(2)
    parts = batches_of(**settings, num_replicas=3).at(2)
    assert parts["query"]["user"].shape == (3, 20) and parts["negatives"].shape == (3, 20, 2)
    for name in ("query", "item"):
        ((key, rows),) = whole[name].items()
        np.testing.assert_array_equal(parts[name][key].ravel(), rows)
    known = neighbors_of(whole["subgraph"])
    for at in range(3):
        part = tf.nest.map_structure(lambda array, at=at: array[at], parts)
        subgraph = part["subgraph"]
        seeds = {t: rows[rows < 2**31 - 1] for t, rows in subgraph["seeds"].items()}
        np.testing.assert_array_equal(seeds["user"], np.unique(part["query"]["user"]))
        items = [part["item"]["item"], part["negatives"].ravel(), [70, 3]]
        np.testing.assert_array_equal(seeds["item"], np.unique(np.concatenate(items)))
        assert subgraph["step"] == 2
        reached = neighbors_of(subgraph)
        for of_type, node in [(t, node) for t in seeds for node in seeds[t]]:
            near, _ = reached["2", of_type, node]
            assert (near, _) == known["2", of_type, node]
            for to in filter(None, near):
                below = "1", "item" if of_type == "user" else "user", to
                assert reached[below] == known[below]


def test_batches_of_replicas_have_a_size_that_strategies_can_split():
    batches = batches_of(num_replicas=2)
    spec = batches.dataset().element_spec
    assert all(each.shape[0] == 2 for each in tf.nest.flatten(spec))
    assert spec["subgraph"]["rows"]["item"].shape == (2, None)
    tensors = next(iter(batches.dataset(3)))
    for one, other in zip(tf.nest.flatten(tensors), tf.nest.flatten(batches.at(3)), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="multiple of the number of replicas, 3, not 64"):
        batches_of(num_replicas=3)


def test_a_step_below_0_is_refused():
    with pytest.raises(ValueError, match="the first step is 0"):
        batches_of().at(-1)
    with pytest.raises(ValueError, match="the first step is 0"):
        batches_of().dataset(-1)
