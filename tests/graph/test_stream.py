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


def batches_of(ahead=lambda step: [], negatives=None, seed=0, size=64):
    pairs = Batches({"query": {"user": USERS}, "item": {"item": ITEMS}}, size, seed)
    layers = [
        {each.name: UniformNeighbors(each.graph, num) for each in GRAPH.relations} for num in (4, 6)
    ]
    over = {each.name: each.ends for each in GRAPH.relations}
    return GraphBatches(pairs, layers, over, ahead, negatives, seed)


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


def test_a_step_below_0_is_refused():
    with pytest.raises(ValueError, match="the first step is 0"):
        batches_of().at(-1)
    with pytest.raises(ValueError, match="the first step is 0"):
        batches_of().dataset(-1)
