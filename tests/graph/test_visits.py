"""Random walks with restart: counts by hand, by a slow twin, and by the chances they should
follow.
"""

from collections import Counter

import numpy as np
import pytest

from tf_recall.graph import visits as module
from tf_recall.graph.csr import Graph
from tf_recall.graph.visits import important, visits


def random_graph(num_nodes, num_targets, num_edges, seed=0):
    rng = np.random.default_rng(seed)
    sources, targets = (
        rng.integers(1, num_nodes, num_edges),
        rng.integers(1, num_targets, num_edges),
    )
    return Graph.from_edges(sources, targets, rng.integers(1, 4, num_edges), num_nodes, num_targets)


def there_and_back(num_items=30, num_users=20, num_edges=150):
    graph = random_graph(num_items, num_users, num_edges)
    return [graph, graph.reverse()]


def test_visits_by_hand():
    """On the ring 1 -> 2 -> 3 -> 1 a walk of 4 steps without restart sees 2, 3, itself, 2; 4 leads
    to 1; 5 nowhere.
    """
    graph = Graph.from_edges([1, 2, 3, 4], [2, 3, 1, 1], None, num_nodes=6)
    ids, counts = visits(
        [graph], [1, 4, 5, 0], 3, num_walks=10, length=4, restart=0, rng=np.random.default_rng(0)
    )
    assert ids.tolist() == [[2, 3, 0], [1, 2, 3], [0, 0, 0], [0, 0, 0]]  # 4: 1, 2, 3, 1
    assert counts.tolist() == [[20, 10, 0], [20, 10, 10], [0, 0, 0], [0, 0, 0]]
    assert (ids.dtype, counts.dtype) == (np.int32, np.float32)


def test_a_walker_that_came_where_nothing_leads_on_starts_again():
    """1 -> 2 -> 3 and no further: the steps are 2, 3, nowhere, 2, 3, nowhere, 2."""
    graph = Graph.from_edges([1, 2], [2, 3], None, num_nodes=4)
    ids, counts = visits(
        [graph], [1], 2, num_walks=5, length=7, restart=0, rng=np.random.default_rng(0)
    )
    assert ids.tolist() == [[2, 3]] and counts.tolist() == [[15, 10]]


def test_a_restart_at_every_step_visits_nothing_but_neighbors():
    graph = Graph.from_edges([1, 2, 3], [2, 3, 1], None, num_nodes=4)
    ids, counts = visits(
        [graph], [1], 2, num_walks=5, length=7, restart=1, rng=np.random.default_rng(0)
    )
    assert ids.tolist() == [[2, 0]] and counts.tolist() == [[35, 0]]


def test_a_step_takes_all_hops_and_counts_where_it_ends():
    """Items 1 and 2 have user 1, item 3 has user 2: from 1 a step leads to 1 or 2, never to 3, nor
    to a user's row.
    """
    sold = Graph.from_edges([1, 2, 3], [1, 1, 2], None, num_nodes=4, num_targets=3)
    ids, counts = visits(
        [sold, sold.reverse()], [1, 2, 3], 2, num_walks=50, rng=np.random.default_rng(0)
    )
    assert ids.tolist() == [[2, 0], [1, 0], [0, 0]]
    assert 150 < counts[0, 0] < 350  # half of 50 walks of 10 steps, give or take nine deviations


def test_counting_against_a_slow_twin():
    rng = np.random.default_rng(0)
    for top in (1, 5, 60):
        seen = rng.integers(0, 40, (50, 30)).astype(np.int32)
        expected_ids, expected_counts = np.zeros((50, top), int), np.zeros((50, top), int)
        for line, nodes in enumerate(seen.tolist()):
            found = Counter(node for node in nodes if node > 0)
            for rank, node in enumerate(sorted(found, key=lambda node: (-found[node], node))[:top]):
                expected_ids[line, rank], expected_counts[line, rank] = node, found[node]
        ids, counts = np.zeros((50, top), np.int32), np.zeros((50, top), np.float32)
        module._count(seen, ids, counts)
        np.testing.assert_array_equal(ids, expected_ids)
        np.testing.assert_array_equal(counts, expected_counts)


def test_counting_large_ids_and_one_node_alone():
    largest = 2**31 - 1
    ids, counts = np.zeros((2, 2), np.int32), np.zeros((2, 2), np.float32)
    module._count(np.array([[largest, largest, 5], [0, 0, largest - 1]], np.int32), ids, counts)
    assert ids.tolist() == [[largest, 5], [largest - 1, 0]] and counts.tolist() == [[2, 1], [1, 0]]


@pytest.mark.parametrize("restart", [0.0, 0.3])
def test_visits_follow_the_chances_of_walks_with_restart(restart):
    """x[1] = s P, x[t + 1] = (1 - restart) x[t] P + restart s P, summed; the walks count the same,
    within noise.
    """
    hops, length, num_walks = there_and_back(num_edges=300), 6, 20_000
    steps = np.eye(30)
    for hop in hops:
        chances = np.zeros((hop.num_nodes, hop.num_targets))
        chances[np.repeat(np.arange(hop.num_nodes), hop.degrees), hop.targets] = hop.weights
        steps = steps @ (chances / np.maximum(chances.sum(axis=1, keepdims=True), 1))
    start = np.eye(30)[7]
    at, expected = start @ steps, np.zeros(30)
    for _ in range(length):
        expected += at
        at = (1 - restart) * at @ steps + restart * start @ steps
    expected[7] = 0
    ids, counts = visits(hops, [7], 29, num_walks, length, restart, np.random.default_rng(0))
    found = np.zeros(30)
    found[ids[0]] = counts[0] / num_walks
    # five deviations of at most sqrt(0.3 / 20,000)
    np.testing.assert_allclose(found[1:], expected[1:], atol=0.02)
    assert np.diff(expected[ids[0]]).max() < 0.02  # the most likely first


def test_important_is_the_same_whatever_the_threads_and_leads_to_the_own_group(monkeypatch):
    """Items 1 to 20 have users 1 to 10, items 21 to 40 users 11 to 20: walks never cross."""
    monkeypatch.setattr(module, "BLOCK_NODES", 7)
    rng = np.random.default_rng(0)
    items, side = rng.integers(1, 21, 400), rng.integers(0, 2, 400)
    sold = Graph.from_edges(items + 20 * side, rng.integers(1, 11, 400) + 10 * side, None, 42, 21)
    hops = [sold, sold.reverse()]
    one, two, other = (
        important(hops, 42, 5, num_threads=n, seed=s) for n, s in ((1, 0), (3, 0), (1, 1))
    )
    for name in ("offsets", "targets", "weights"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert not np.array_equal(one.weights, other.weights)
    assert (one.num_nodes, one.num_targets) == (42, 42)
    assert one.degrees.tolist() == [0] + [5] * 40 + [0]  # row 41 was never sold
    sources = np.repeat(np.arange(42), one.degrees)
    assert ((sources > 20) == (one.targets > 20)).all() and (sources != one.targets).all()
    assert (np.diff(one.weights.reshape(40, 5)) <= 0).all()


def test_blocks_walk_ways_of_their_own(monkeypatch):
    """Nodes 1 to 20 all lead to 21 and 22 alike; equal random numbers would give both blocks of ten
    equal counts.
    """
    monkeypatch.setattr(module, "BLOCK_NODES", 10)
    sources = np.repeat(np.arange(1, 21), 2)
    star = Graph.from_edges(sources, np.tile([21, 22], 20), None, 23)
    weights = important([star], 23, 2, num_walks=50, length=1).weights.reshape(20, 2)
    assert not np.array_equal(weights[:10], weights[10:])


def test_blocks_change_nothing_of_what_is_counted(monkeypatch):
    """Without chance, all walks of a start being alike: blocks of one start and of all give the
    same.
    """
    ring = Graph.from_edges(np.arange(1, 50), 1 + np.arange(1, 50) % 49, None, 50)
    whole = visits([ring], np.arange(1, 50), 3, num_walks=4, length=3, restart=0)
    monkeypatch.setattr(module, "BLOCK_STEPS", 1)
    for ours, theirs in zip(visits([ring], np.arange(1, 50), 3, 4, 3, 0), whole, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert whole[0][48].tolist() == [1, 2, 3] and whole[1][48].tolist() == [4, 4, 4]


def test_what_is_refused():
    hops = there_and_back()
    for bad, says in (
        ({"hops": []}, "at least one graph"),
        ({"hops": hops[:1]}, "hop 0 leads to 20 rows, the next begins at 30"),
        ({"starts": [30]}, "Nodes go from 0 to 29, got starts 30 to 30"),
        ({"starts": [-1]}, "Nodes go from 0 to 29"),
        ({"top": 0}, "top must be a positive whole number, got 0"),
        ({"num_walks": 1.5}, "num_walks must be"),
        ({"length": True}, "length must be"),
        ({"num_walks": 2**16, "length": 2**15}, "below 2\\*\\*31"),
        ({"restart": 1.1}, "restart must be a probability"),
        ({"restart": float("nan")}, "restart must be a probability"),
    ):
        with pytest.raises(ValueError, match=says):
            visits(**{"hops": hops, "starts": [1], "top": 3, **bad})
    for num_nodes in (0, 31):
        with pytest.raises(ValueError, match="num_nodes must be 1 to 30"):
            important(hops, num_nodes, 3)
