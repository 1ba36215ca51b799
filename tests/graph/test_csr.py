"""Graphs of what followed what: edges by hand, walks by their shares."""

import numpy as np
import pytest

from tf_recall.data.alias import alias_tables
from tf_recall.data.sessions import Sessions
from tf_recall.graph import csr as graph_module
from tf_recall.graph import tables as tables_module
from tf_recall.graph.csr import Graph


def edges(graph):
    """`{(source, target): weight}`."""
    sources = np.repeat(np.arange(graph.num_nodes), graph.degrees)
    found = zip(sources.tolist(), graph.targets.tolist(), graph.weights.tolist(), strict=True)
    return {(source, target): weight for source, target, weight in found}


def sessions_of(*lists):
    items = np.concatenate(lists).astype(np.int32)
    return Sessions(np.cumsum([0, *map(len, lists)]), items, np.ones(len(lists), np.int32))


def random_graph(num_nodes=30, num_edges=200, seed=0):
    rng = np.random.default_rng(seed)
    sources, targets = rng.integers(1, num_nodes, (2, num_edges))
    return Graph.from_edges(sources, targets, rng.pareto(0.5, num_edges) + 0.01, num_nodes)


def test_edges_from_sessions_by_hand():
    """1 2 3 1 2, then 2 2 3, then 3: 1-2 twice, 2-3 twice, 3-1 once; 2-2 is no edge, and no session
    follows another.
    """
    graph = Graph.from_sessions(sessions_of([1, 2, 3, 1, 2], [2, 2, 3], [3]), num_nodes=5)
    assert edges(graph) == {(1, 2): 2, (2, 3): 2, (3, 1): 1}
    assert graph.degrees.tolist() == [0, 1, 1, 1, 0]
    assert graph.num_nodes == 5 and graph.num_edges == 3
    assert (graph.offsets.dtype, graph.targets.dtype, graph.weights.dtype) == (
        np.int64,
        np.int32,
        np.float32,
    )


def test_edges_from_sessions_against_a_slow_twin_also_in_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    lists = [rng.integers(1, 8, length) for length in rng.integers(1, 9, 50)]
    expected = {}
    for items in lists:
        for i, j in zip(items[:-1].tolist(), items[1:].tolist(), strict=True):
            if i != j:
                expected[i, j] = expected.get((i, j), 0) + 1
    assert edges(Graph.from_sessions(sessions_of(*lists), 8)) == expected
    monkeypatch.setattr(graph_module, "BLOCK_EVENTS", 7)
    assert edges(Graph.from_sessions(sessions_of(*lists), 8)) == expected


def test_edges_that_come_twice_are_added_up_and_those_of_weight_0_left_out():
    graph = Graph.from_edges([3, 1, 3, 2], [1, 2, 1, 1], [0.5, 2, 1.5, 0], num_nodes=4)
    assert edges(graph) == {(1, 2): 2, (3, 1): 2}


def test_walks_by_hand():
    """1 -> 2 -> 3 and no further; 4 has no edges at all, nor has node 0."""
    graph = Graph.from_edges([1, 2], [2, 3], [1, 7], num_nodes=5)
    walks = graph.walk(np.array([1, 3, 2, 4, 0]), length=3, rng=np.random.default_rng(0))
    assert walks.tolist() == [[1, 2, 3, 0], [3, 0, 0, 0], [2, 3, 0, 0], [4, 0, 0, 0], [0, 0, 0, 0]]
    assert walks.dtype == np.int32
    assert graph.walk(np.array([1]), 0, np.random.default_rng(0)).tolist() == [[1]]


def test_a_graph_without_edges_goes_nowhere():
    graph = Graph.from_edges([], [], [], num_nodes=3)
    assert graph.walk(np.array([1, 2]), 2, np.random.default_rng(0)).tolist() == [
        [1, 0, 0],
        [2, 0, 0],
    ]


def random_edges(weighted=True, num_nodes=12, num_targets=40, num_edges=150, seed=0):
    rng = np.random.default_rng(seed)
    sources, targets = np.divmod(
        rng.choice((num_nodes - 2) * (num_targets - 1), num_edges, replace=False), num_targets - 1
    )
    return (
        sources + 1,
        targets + 1,
        rng.random(num_edges) + 0.1 if weighted else None,
        num_nodes,
        num_targets,
    )


def test_edges_between_two_types_by_hand():
    """User 1 has items 4 and 2, user 3 item 4; turned round item 2 has user 1, item 4 both."""
    graph = Graph.from_edges([1, 3, 1], [4, 4, 2], [1, 2, 3], num_nodes=4, num_targets=6)
    assert (graph.num_nodes, graph.num_targets) == (4, 6)
    assert edges(graph) == {(1, 2): 3, (1, 4): 1, (3, 4): 2}
    back = graph.reverse()
    assert (back.num_nodes, back.num_targets) == (6, 4)
    assert edges(back) == {(2, 1): 3, (4, 1): 1, (4, 3): 2}
    with pytest.raises(ValueError, match="from 4 rows of one type to 6 of another"):
        graph.walk([1], 1, np.random.default_rng(0))


def test_edges_without_weights_weigh_1_each():
    once, twice = (
        Graph.from_edges(sources, [2] * len(sources), None, 4) for sources in ([3, 1], [3, 1, 3])
    )
    assert (
        once.weights is None and once.reverse().weights is None and once.targets.tolist() == [2, 2]
    )
    assert edges(twice) == {(1, 2): 1, (3, 2): 2}
    with pytest.raises(
        ValueError,
        match=r"sources and targets must be arrays of one length, got the shapes \(2,\) and",
    ):
        Graph.from_edges([1, 2], [1], None, 4)


def test_a_table_keeps_the_order_of_its_lines():
    ids, counts = (
        [[0, 0, 0], [5, 2, 0], [0, 0, 0], [1, 4, 3]],
        [[0, 0, 0], [9, 3, 7], [0, 0, 0], [2, 0, 1]],
    )
    graph = Graph.from_table(ids, counts, num_targets=6)
    assert graph.offsets.tolist() == [0, 0, 2, 2, 4] and graph.num_targets == 6
    assert graph.targets.tolist() == [5, 2, 1, 3] and graph.weights.tolist() == [9, 3, 2, 1]
    assert Graph.from_table(ids, None, 6).targets.tolist() == [5, 2, 1, 4, 3]
    for bad, message in (
        (([[0], [6]], [[0], [1]]), "from 1 to 5, or 0 for none, got 0 to 6"),
        (([[1], [1]], [[1], [1]]), "Node 0 is the unknown and has no edges, got .1."),
        (
            ([[0], [1]], [[0], [np.nan]]),
            "Weights must be numbers of at least 0, got nan for edge 1",
        ),
        (([[0], [1]], [1]), "tables of one shape, got .2, 1. and .1,."),
    ):
        with pytest.raises(ValueError, match=message):
            Graph.from_table(*bad, num_targets=6)


@pytest.mark.parametrize("targets", [None, [7, 3, 39, 20, 5, 11, 30, 8]])
@pytest.mark.parametrize("weighted", [True, False])
def test_a_subgraph_against_a_slow_twin(weighted, targets):
    whole, sources = Graph.from_edges(*random_edges(weighted)), np.array([9, 2, 11, 5])
    part = whole.subgraph(sources, targets)
    names = np.arange(40) if targets is None else np.array([0, *targets])
    given = edges(
        Graph(whole.offsets, whole.targets, whole.weights if weighted else np.ones(150), 40)
    )
    expected = {(i, j): weight for (i, j), weight in given.items() if i in sources and j in names}
    weights = part.weights if weighted else np.ones(part.num_edges)
    found = edges(Graph(part.offsets, part.targets, weights, part.num_targets))
    assert {
        ([0, *sources][i], names[j]): weight for (i, j), weight in found.items()
    } == expected and len(expected) > 5
    assert (
        part.num_nodes == 5
        and part.num_targets == len(names)
        and (part.weights is None) != weighted
    )
    assert list(found) == sorted(found)
    with pytest.raises(ValueError, match="sources must be whole numbers from 1 to 11, got 3 to 12"):
        whole.subgraph([3, 12])
    with pytest.raises(ValueError, match="targets must differ, got 3 of which 2 differ"):
        whole.subgraph([3], [4, 4, 5])


@pytest.mark.parametrize("weighted", [True, False])
def test_draws_follow_the_shares_of_weights(weighted, monkeypatch):
    """40,000 of each node; the eleventh has no edges, like the unknown. Drawn in blocks, from
    tables made in blocks.
    """
    monkeypatch.setattr(graph_module, "BLOCK_WALKS", 70_000)
    monkeypatch.setattr(tables_module, "BLOCK_EDGES", 20)
    graph, num = Graph.from_edges(*random_edges(weighted)), 40_000
    nodes = np.array([11, 3, 0, *range(10, 0, -1)])
    drawn = graph.draw(nodes, num, np.random.default_rng(0))
    assert drawn.shape == (13, num) and drawn.dtype == np.int32
    assert not drawn[[0, 2]].any()
    for node, own in zip(nodes, drawn, strict=True):
        mine = slice(graph.offsets[node], graph.offsets[node + 1])
        weights = graph.weights[mine] if weighted else np.ones(graph.degrees[node])
        shares = np.bincount(own, minlength=40)[graph.targets[mine]] / num
        np.testing.assert_allclose(
            shares, weights / max(weights.sum(), 1e-9), atol=5 * np.sqrt(0.25 / num)
        )
    assert graph.draw([1, 2], 0, np.random.default_rng(0)).shape == (2, 0)
    assert Graph.from_edges([], [], None, 3).draw([0, 2], 2, np.random.default_rng(0)).tolist() == [
        [0, 0],
        [0, 0],
    ]
    with pytest.raises(ValueError, match="Nodes go from 0 to 11, got nodes 3 to 12"):
        graph.draw([3, 12], 2, np.random.default_rng(0))
    with pytest.raises(ValueError, match="num must be at least 0, got -1"):
        graph.draw([3], -1, np.random.default_rng(0))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_steps_follow_the_shares_of_weights(seed):
    """From every node 20,000 steps: the chi-square of each node lies within what its degree
    allows.
    """
    graph, num = random_graph(seed=seed), 20_000
    starts = np.repeat(np.flatnonzero(graph.degrees), num)
    _, ends = graph.walk(starts, 1, np.random.default_rng(seed)).T
    for node in np.flatnonzero(graph.degrees):
        own = slice(graph.offsets[node], graph.offsets[node + 1])
        expected = (
            num * graph.weights[own].astype(np.float64) / graph.weights[own].sum(dtype=np.float64)
        )
        found = np.bincount(ends[starts == node], minlength=graph.num_nodes)
        assert found[graph.targets[own]].sum() == num  # and none to where no edge leads
        chi_square = np.sum((found[graph.targets[own]] - expected) ** 2 / expected)
        free = max(len(expected) - 1, 1)
        assert chi_square < free + 6 * np.sqrt(2 * free) + 10


def test_the_tables_hold_the_shares_exactly():
    """What all places of a node give to each edge, added up: its weight's share, for equal weights
    as for skewed.
    """
    # of some sizes no share is as much as its place
    equal = [np.full(num, 0.1) for num in (0, 0, *range(60))]
    parts = [*equal, np.random.default_rng(0).pareto(0.3, 1000) + 1e-3, [3, 1e-6], []]
    weights, offsets = np.concatenate(parts), np.cumsum([0, *map(len, parts)])
    keep, alias = alias_tables(offsets, weights)
    masses = np.bincount(alias, 1 - keep, minlength=len(keep)) + keep
    for start, end in zip(offsets[:-1], offsets[1:], strict=True):
        expected = weights[start:end] / weights[start:end].sum()
        np.testing.assert_allclose(
            masses[start:end], (end - start) * expected, rtol=1e-6, atol=1e-9
        )
        assert np.all((start <= alias[start:end]) & (alias[start:end] < end))


def test_walks_are_seeded_and_cross_only_edges(monkeypatch):
    monkeypatch.setattr(graph_module, "BLOCK_WALKS", 64)
    graph = random_graph()
    starts = np.random.default_rng(1).integers(1, 30, 1000)
    walks = graph.walk(starts, 20, np.random.default_rng(2))
    np.testing.assert_array_equal(walks, graph.walk(starts, 20, np.random.default_rng(2)))
    assert not np.array_equal(walks, graph.walk(starts, 20, np.random.default_rng(3)))
    np.testing.assert_array_equal(walks[:, 0], starts)
    steps = set(zip(walks[:, :-1].ravel().tolist(), walks[:, 1:].ravel().tolist(), strict=True))
    dead = {(node, 0) for node in np.flatnonzero(graph.degrees == 0).tolist()}
    assert steps - dead <= set(edges(graph)) and len(steps) > 100


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (([1], [2, 3], [1, 1]), "must be arrays of one length, got the shapes"),
        (([0], [1], [1]), "Sources must be whole numbers from 1 to 3, got 0 to 0"),
        (([1, 1], [2, 4], [1, 1]), "Targets must be whole numbers from 1 to 3, got 2 to 4"),
        (([1.0], [2.5], [1]), "Sources must be whole numbers"),
        (([1, 1], [2, 3], [1, -1]), "Weights must be numbers of at least 0, got -1.0 for edge 1"),
        (([1], [2], [float("nan")]), "Weights must be numbers of at least 0, got nan for edge 0"),
        (([1], [2], [1e300]), "Weights must be numbers of at least 0, got inf"),
    ],
)
def test_bad_edges_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        Graph.from_edges(*given, num_nodes=4)


def test_bad_walks_and_sessions_are_named():
    graph, rng = random_graph(), np.random.default_rng(0)
    with pytest.raises(ValueError, match="Nodes go from 0 to 29, got starts 1 to 30"):
        graph.walk(np.array([1, 30]), 2, rng)
    with pytest.raises(ValueError, match="length must be at least 0, got -1"):
        graph.walk(np.array([1]), -1, rng)
    with pytest.raises(ValueError, match="from 1 to 2, got 1 to 3"):
        Graph.from_sessions(sessions_of([3, 1, 2]), num_nodes=3)
