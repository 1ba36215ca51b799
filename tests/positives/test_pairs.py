"""Pairs of nodes: two items of one session, a node and an item on a walk from it."""

import numpy as np
import pytest

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.sessions import ByColumn
from tf_recall.features import Id
from tf_recall.features.needs import Needs
from tf_recall.graph.csr import Graph
from tf_recall.graph.typed import TypedGraph, both_ways
from tf_recall.models import TwoTower
from tf_recall.positives import ItemPairs, WalkPairs
from tf_recall.towers.features import FeatureTower

ALL = Interactions(None)  # walks are on a graph: of the log they ask whether all of it is learned


def world(sessions):
    """The log of some sessions, lists of item letters, and its catalog."""
    frame = [
        (f"u{n}", item, str(n), at)
        for n, session in enumerate(sessions)
        for at, item in enumerate(session)
    ]
    users, items, names, times = zip(*frame, strict=True)
    log = Interactions.from_columns(user_id=users, item_id=items, session=names, timestamp=times)
    return log, Catalog.fit(log)


def epochs(pairs, num):
    """All `(query, item, weight)` of some epochs."""
    for step in range(num * pairs.steps_per_epoch):
        batch = pairs.at(step)
        yield from zip(batch["query"]["item"], batch["item"]["item"], batch["weight"], strict=True)


@pytest.mark.parametrize("window", [1, 2])
def test_items_are_as_far_apart_as_the_window_says_and_equally_often(window):
    log, catalog = world(["abcd", "ea"])
    pairs = ItemPairs(ByColumn("session"), window).batches(log, catalog, Needs("item"), 3, seed=1)
    assert pairs.steps_per_epoch == 2  # each of six events is a query once
    found = list(epochs(pairs, 1000))
    names = (
        catalog.items.decode([pair[0] for pair in found]),
        catalog.items.decode([pair[1] for pair in found]),
    )
    seen = {
        pair: list(zip(*names, strict=True)).count(pair) for pair in set(zip(*names, strict=True))
    }
    near = {1: "ab ba bc cb cd dc ea ae", 2: "ab ba bc cb cd dc ea ae ac ca bd db"}[window]
    assert {"".join(pair) for pair in seen} == set(near.split())
    others = {1: "ac", 2: "acd"}[window]  # of b: one of them each time, uniformly
    for other in others:
        assert abs(seen["b", other] / 1000 - 1 / len(others)) < 0.06


def test_an_item_beside_itself_counts_for_nothing():
    log, catalog = world(["aab"])
    for query, item, weight in epochs(ItemPairs().batches(log, catalog, Needs("item"), 3), 20):
        assert weight == (query != item)


def test_a_step_is_a_function_of_the_seed():
    log, catalog = world(["abcdefgh", "hgfedcba"])
    one, same, other = (
        ItemPairs(window=3).batches(log, catalog, Needs("item"), 8, seed) for seed in (1, 1, 2)
    )
    for step in (3, 0, 7):
        np.testing.assert_array_equal(one.at(step)["item"]["item"], same.at(step)["item"]["item"])
    assert any((one.at(s)["item"]["item"] != other.at(s)["item"]["item"]).any() for s in range(4))


def test_sessions_of_one_item_are_refused():
    log, catalog = world(["a", "b"])
    with pytest.raises(ValueError, match="no session has two items"):
        ItemPairs(ByColumn("session")).batches(log, catalog, Needs("item"), 2)
    with pytest.raises(ValueError, match="window"):
        ItemPairs(window=0)


def test_a_walk_ends_at_an_item_that_it_can_reach():
    """Users 1 and 2 share item 1; user 3 has item 3 alone, whom no walk of the others finds."""
    graph = Graph.from_edges([1, 1, 2, 3], [1, 2, 1, 3], None, 4, 4)
    graph = TypedGraph(both_ways("user", "item", graph))
    needs = Needs("user", graph=graph)
    pairs = WalkPairs(num_walks=200, length=3).batches(ALL, None, needs, 3)
    found = [
        (u, i, w)
        for s in range(pairs.steps_per_epoch)
        for b in [pairs.at(s)]
        # fmt: skip
        for u, i, w in zip(b["query"]["user"], b["item"]["item"], b["weight"], strict=True)
    ]
    assert {pair[:2] for pair in found} == {(1, 1), (1, 2), (2, 1), (2, 2), (3, 3)}
    assert all(weight == 1 for *_, weight in found)
    # user 2 comes to item 2 by item 1 and user 1: half the pairs are of the third step, 1/2 * 1/2 *
    # 1/2
    share = sum(pair[:2] == (2, 2) for pair in found) / 200
    assert abs(share - 1 / 8) < 0.07


def test_a_walk_back_to_its_start_counts_for_nothing():
    graph = TypedGraph.of_items(Graph.from_edges([1], [2], None, 4))
    needs = Needs("item", graph=graph)
    pairs = WalkPairs(num_walks=20, length=2).batches(ALL, None, needs, 2)
    for step in range(pairs.steps_per_epoch):
        batch = pairs.at(step)
        np.testing.assert_array_equal(
            batch["weight"], batch["query"]["item"] != batch["item"]["item"]
        )
        assert (batch["query"]["item"] != 3).all()  # it has no edges


def test_without_a_graph_there_are_no_walks():
    towers = FeatureTower("user", [Id(2)]), FeatureTower("item", [Id(2)])
    with pytest.raises(ValueError, match="it has no graph, and WalkPairs walks on one"):
        TwoTower(*towers, positives=WalkPairs())
