"""Reports of graphs: every figure by hand, missing reverses by a slow twin."""

import json

import numpy as np
import pytest

from tf_recall.graph import report as report_module
from tf_recall.graph.csr import Graph
from tf_recall.graph.report import Degrees, report


def test_a_square_graph_by_hand():
    """1-2 both ways, 1-3 one way, 3 to itself; 4 has an edge but is not reached; 5 has none."""
    graph = Graph.from_edges([1, 2, 1, 3, 4], [2, 1, 3, 3, 1], [1, 2, 3, 4, 0.5], 6)
    found = report(graph)
    assert (found.num_nodes, found.num_targets, found.num_edges, found.total_weight) == (
        5,
        5,
        5,
        10.5,
    )
    assert (found.self_loops, found.isolated, found.one_way) == (1, 1, 2)
    assert (
        found.leading
        == Degrees(  # 2, 1, 1, 1 and 0; the top hundredth is one node, with 2 of the 5
            mean=1.0,
            quantiles={0.0: 0, 0.25: 1, 0.5: 1, 0.75: 1, 0.9: 2, 0.99: 2, 1.0: 2},
            histogram={0: 1, 1: 3, 2: 1},
            hubs=0.4,
        )
    )
    assert found.reached.histogram == {0: 2, 1: 1, 2: 2}  # 2, 1, 2, 0 and 0
    assert json.loads(json.dumps(found.to_dict()))["leading"]["histogram"] == {
        "0": 1,
        "1": 3,
        "2": 1,
    }


def test_reverses_are_looked_for_at_their_own_node():
    """The reverses of 1-2, 2-3 and 3-1 would be 2-1, 3-2 and 1-3; where 1's edges end, those of 2
    begin, with 3.

    Nothing leads from 4, but 3 leads there: it is not isolated.
    """
    found = report(Graph.from_edges([1, 2, 3, 3], [2, 3, 1, 4], None, 5))
    assert (found.one_way, found.isolated) == (4, 0)


def test_two_types_by_hand():
    graph = Graph.from_edges([1, 1, 2], [4, 2, 4], None, 4, 6)
    found = report(graph)
    assert (found.num_nodes, found.num_targets, found.total_weight) == (3, 5, 3)
    assert (found.self_loops, found.isolated, found.one_way) == (None, 1, None)
    assert report(graph, graph.reverse()).one_way == 0
    assert report(graph, Graph.from_edges([4], [2], None, 6, 4)).one_way == 2
    alike = Graph.from_edges([1, 2], [1, 1], None, 4, 4)  # by chance as many rows on either side
    assert (report(alike, alike.reverse()).self_loops, report(alike).self_loops) == (None, 1)
    with pytest.raises(
        ValueError, match="from 4 rows to 6 leads from 6 to 4, got a graph from 4 to 6"
    ):
        report(graph, graph)


def test_degrees_of_skew():
    """200 nodes: two of 1,000, the others 0 to 7. The top hundredth are those two."""
    degrees = np.array([1000, *np.arange(198) % 8, 1000])
    found = Degrees.of(degrees)
    assert found.histogram == {
        0: 25,
        1: 25,
        2: 50,
        4: 98,
        8: 0,
        16: 0,
        32: 0,
        64: 0,
        128: 0,
        256: 0,
        512: 2,
    }
    assert found.hubs == pytest.approx(2000 / degrees.sum())
    assert found.quantiles[0.5] == sorted(degrees)[99] and found.quantiles[1.0] == 1000
    assert Degrees.of(np.zeros(0, int)).mean == 0


@pytest.mark.parametrize("block", [7, 2**20])
def test_missing_reverses_against_a_slow_twin_also_of_tables_and_in_blocks(monkeypatch, block):
    monkeypatch.setattr(report_module, "BLOCK_EDGES", block)
    rng = np.random.default_rng(0)
    ids = np.array([rng.permutation(np.arange(1, 20))[:8] for _ in range(20)]) * (
        rng.random((20, 8)) < 0.8
    )
    ids[[0, 5]] = 0
    table = Graph.from_table(ids, None, 20)
    pairs = {(i, j) for i, line in enumerate(ids.tolist()) for j in line if j}
    found = report(table)
    assert found.one_way == sum((j, i) not in pairs for i, j in pairs) and 0 < found.one_way < len(
        pairs
    )
    assert found.self_loops == sum(i == j for i, j in pairs)
    assert found.reached.mean == len(pairs) / 19
    sources, targets = zip(*pairs, strict=True)
    assert report(Graph.from_edges(sources, targets, None, 20)) == found


def test_a_saved_graph_tells_the_same(tmp_path):
    graph = Graph.from_edges([1, 2, 3, 3], [2, 1, 1, 2], [1, 2, 3, 4], 4)
    graph.save(tmp_path / "graph")
    assert report(Graph.load(tmp_path / "graph")) == report(graph)
    nothing = report(Graph.from_edges([], [], None, 3))
    assert (nothing.num_edges, nothing.isolated, nothing.one_way, nothing.leading.hubs) == (
        0,
        2,
        0,
        0,
    )


def test_the_table_and_the_plot_show_the_figures():
    graph = Graph.from_edges([1, 2, 1, 3, 4], [2, 1, 3, 3, 1], [1, 2, 3, 4, 0.5], 6)
    text = str(report(graph))
    for part in (
        "5 edges from 5 nodes to 5, weight 10.5",
        "1 nodes (20.0%) are isolated",
        "1 edges lead from a node to",
    ):
        assert part in text
    assert "2 edges (40.0%) are missing their reverse" in text
    lines = [line.split() for line in text.splitlines()]
    assert (
        ["mean", "1.00", "1.00"] in lines
        and ["2", "to", "3", "1", "2"] in lines
        and ["0", "1", "2"] in lines
    )
    assert max(map(len, text.splitlines())) < 80
    pytest.importorskip("matplotlib")
    axes = report(graph).plot().axes[0]
    assert [list(line.get_ydata()) for line in axes.lines] == [[1, 3, 1], [2, 1, 2]]
    assert [list(line.get_xdata()) for line in axes.lines] == [[0, 1, 2], [0, 1, 2]]
