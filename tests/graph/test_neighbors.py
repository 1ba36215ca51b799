"""Neighbors that a layer sees: drawn ones by their shares, important ones in order."""

import numpy as np
import pytest

from tf_recall.graph.csr import Graph
from tf_recall.graph.neighbors import ImportantNeighbors, LeftAlone, Remembered, UniformNeighbors

RNG = np.random.default_rng(0)


def test_uniform_neighbors_by_hand():
    """1 -> 2 alone, 3 -> 1 or 4; 4 and 0 lead nowhere."""
    graph = Graph.from_edges([1, 3, 3], [2, 1, 4], None, num_nodes=5)
    ids, weights = UniformNeighbors(graph, num=6)(np.array([1, 4, 3, 0], np.int32), RNG)
    assert ids.shape == weights.shape == (4, 6) and (ids.dtype, weights.dtype) == (
        np.int32,
        np.float32,
    )
    assert ids[0].tolist() == [2] * 6 and set(ids[2].tolist()) <= {1, 4}
    assert not ids[[1, 3]].any() and weights.tolist() == [[1] * 6, [0] * 6, [1] * 6, [0] * 6]


def test_uniform_neighbors_come_as_often_as_edges_weigh():
    even = Graph.from_edges([1, 1, 1, 1], [1, 2, 3, 4], None, num_nodes=5)
    heavy = Graph.from_edges([1, 1, 1, 1], [1, 2, 3, 4], [1, 1, 2, 4], num_nodes=5)
    for graph, shares in ((even, [1 / 4] * 4), (heavy, [1 / 8, 1 / 8, 1 / 4, 1 / 2])):
        ids, weights = UniformNeighbors(graph, 100)(np.full(1000, 1), RNG)
        drawn = np.bincount(ids.ravel(), minlength=5)[1:] / ids.size
        # 100,000 draws deviate by up to sqrt(0.25 / 100,000) = 0.0016; five times that.
        np.testing.assert_allclose(drawn, shares, atol=0.008)
        assert (weights == 1).all()


def test_the_same_random_numbers_draw_the_same_neighbors():
    graph = Graph.from_edges([1, 1, 1, 1], [1, 2, 3, 4], None, num_nodes=5)
    near = UniformNeighbors(graph, 20)
    first, again, other = (
        near(np.array([1]), np.random.default_rng(seed))[0].tolist() for seed in (1, 1, 2)
    )
    assert first == again != other


def test_important_neighbors_are_the_heaviest_by_hand():
    """1: 4 weighs 3, then 2 and 3 weigh 2, the lower id first; 2: only 5; 3 to 5 and 0: none."""
    graph = Graph.from_edges([1, 1, 1, 1, 2], [2, 3, 4, 5, 5], [2, 2, 3, 1, 7], num_nodes=6)
    ids, weights = ImportantNeighbors(graph, 3)(np.array([2, 1, 0, 5], np.int32), RNG)
    assert ids.tolist() == [[5, 0, 0], [4, 2, 3], [0, 0, 0], [0, 0, 0]]
    assert weights.tolist() == [[7, 0, 0], [3, 2, 2], [0, 0, 0], [0, 0, 0]]
    assert (ids.dtype, weights.dtype) == (np.int32, np.float32)


def test_important_neighbors_of_a_table_stay_in_its_order():
    ids = np.array([[0, 0, 0], [3, 2, 1], [2, 0, 0], [0, 0, 0]])
    weights = np.array([[0, 0, 0], [5, 4, 4], [9, 0, 0], [0, 0, 0]])
    for times in (weights, None):
        near = ImportantNeighbors(Graph.from_table(ids, times, num_targets=4), 2)
        found, weighs = near(np.array([1, 2, 3]), RNG)
        assert found.tolist() == [[3, 2], [2, 0], [0, 0]]
        assert weighs.tolist() == (
            [[5, 4], [9, 0], [0, 0]] if times is not None else [[1, 1], [1, 0], [0, 0]]
        )


def test_important_neighbors_against_a_slow_twin():
    rng = np.random.default_rng(1)
    graph = Graph.from_edges(*rng.integers(1, 40, (2, 300)), rng.integers(1, 5, 300), num_nodes=40)
    ids, weights = ImportantNeighbors(graph, 5)(np.arange(40), rng)
    for node in range(40):
        own = slice(graph.offsets[node], graph.offsets[node + 1])
        edges = sorted(zip(-graph.weights[own], graph.targets[own], strict=True))[:5]
        edges += [(0, 0)] * (5 - len(edges))
        assert ids[node].tolist() == [target for _, target in edges]
        assert weights[node].tolist() == [-weight for weight, _ in edges]


def test_graphs_and_batches_with_nothing_in_them():
    bare = Graph.from_edges([], [], None, num_nodes=4)
    some = Graph.from_edges([1], [2], [1], num_nodes=4)
    for near in (UniformNeighbors, ImportantNeighbors):
        ids, weights = near(bare, 2)(np.array([1, 3]), RNG)
        assert ids.tolist() == weights.tolist() == [[0, 0], [0, 0]]
        assert near(some, 2)(np.zeros(0, np.int32), RNG)[0].shape == (0, 2)


def ring(num=4000):
    """Every node leads to the next."""
    nodes = np.arange(1, num)
    return Graph.from_edges(nodes, np.roll(nodes, -1), None, num_nodes=num)


def test_a_share_of_the_nodes_is_left_alone_and_the_others_keep_all_theirs():
    nodes = np.arange(1, 4000)
    ids, weights = LeftAlone(UniformNeighbors(ring(), 3), 0.3, "item", (0, 5))(nodes, RNG)
    assert ids.shape == weights.shape == (3999, 3)
    alone = ~ids.any(axis=1)
    # a share of 4000 deviates by up to sqrt(0.21 / 4000) = 0.007; five times that
    assert abs(alone.mean() - 0.3) < 0.036
    assert (ids[~alone] == np.roll(nodes, -1)[~alone, None]).all()
    np.testing.assert_array_equal(weights, ids > 0)


def test_who_is_alone_is_a_function_of_seed_type_and_node():
    def alone(nodes, of_type="item", seed=(0, 5), rate=0.5):
        near = LeftAlone(UniformNeighbors(ring(), 1), rate, of_type, seed)
        return near(np.array(nodes), RNG)[0][:, 0] == 0

    nodes = np.arange(1, 1000)
    once = alone(nodes)
    np.testing.assert_array_equal(alone(nodes[::-1])[::-1], once)  # wherever it stands
    for other in (alone(nodes, "user"), alone(nodes, seed=(0, 6)), alone(nodes, seed=(1, 5))):
        assert 0.4 < np.mean(other == once) < 0.6
    assert not alone(nodes, rate=0).any() and alone(nodes, rate=1).all()
    np.testing.assert_array_equal(alone(nodes, rate=0.2) & once, alone(nodes, rate=0.2))


def test_what_is_remembered_is_drawn_once():
    graph = Graph.from_edges(*np.random.default_rng(1).integers(1, 40, (2, 300)), None, 40)
    near, nodes = Remembered(UniformNeighbors(graph, 5)), np.array([9, 3, 20, 7], np.int32)
    ids, weights = (each.copy() for each in near(nodes, RNG))
    near(nodes, RNG)[0][:] = 0  # what is handed out is the caller's own
    again, weighs = near(np.array([7, 3], np.int32), RNG)
    np.testing.assert_array_equal(again, ids[[3, 1]])
    np.testing.assert_array_equal(weighs, weights[[3, 1]])


@pytest.mark.parametrize("near", [UniformNeighbors, ImportantNeighbors])
def test_what_is_refused(near):
    graph = Graph.from_edges([1], [2], [1], num_nodes=4)
    for num in (0, -1, 2.0, True):
        with pytest.raises(ValueError, match="positive whole number"):
            near(graph, num)
    for nodes in ([4], [-1]):
        with pytest.raises(ValueError, match="Nodes go from 0 to 3"):
            near(graph, 2)(np.array(nodes), RNG)
