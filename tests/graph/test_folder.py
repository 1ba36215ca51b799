"""Graphs on disk: the same after, memory-mapped, and refused where they are not whole."""

import json

import numpy as np
import pytest

from tf_recall.graph.csr import Graph


def graph(weighted=True, seed=0):
    rng = np.random.default_rng(seed)
    weights = rng.random(300) + 0.1 if weighted else None
    pairs = rng.choice(49 * 49, 300, replace=False)
    return Graph.from_edges(pairs // 49 + 1, pairs % 49 + 1, weights, 50, 50)


@pytest.mark.parametrize("weighted", [True, False])
def test_a_saved_graph_is_mapped_and_draws_and_walks_alike(tmp_path, weighted):
    before = graph(weighted)
    before.save(tmp_path / "graph")
    after = Graph.load(tmp_path / "graph")
    for name in ("offsets", "targets", *(["weights", "tables"] if weighted else [])):
        assert (
            isinstance(getattr(after, name), np.memmap) and not getattr(after, name).flags.writeable
        )
    assert (after.weights is None) != weighted and after.num_targets == 50
    nodes, rng = np.arange(50), np.random.default_rng
    np.testing.assert_array_equal(after.draw(nodes, 20, rng(1)), before.draw(nodes, 20, rng(1)))
    np.testing.assert_array_equal(after.walk(nodes, 20, rng(1)), before.walk(nodes, 20, rng(1)))
    np.testing.assert_array_equal(after.reverse().targets, before.reverse().targets)
    after.save(tmp_path / "again")
    for file in (tmp_path / "graph").iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()


def test_draws_by_weight_read_the_tables_on_disk(tmp_path):
    """With tables in which every edge leads to node 7 that is what is drawn: nothing is made
    anew.
    """
    before = graph()
    before.save(tmp_path / "graph")
    tables = np.load(tmp_path / "graph" / "tables.npy")
    tables["target"] = tables["other"] = 7
    np.save(tmp_path / "graph" / "tables.npy", tables)
    drawn = Graph.load(tmp_path / "graph").draw(
        np.flatnonzero(before.degrees), 5, np.random.default_rng(0)
    )
    assert np.all(drawn == 7)


def test_a_graph_without_edges(tmp_path):
    for name, weights in (("weighted", []), ("unweighted", None)):
        Graph.from_edges([], [], weights, 3, 5).save(tmp_path / name)
        again = Graph.load(tmp_path / name)
        assert (again.num_nodes, again.num_targets, again.num_edges) == (3, 5, 0)
        assert again.draw([1, 2], 2, np.random.default_rng(0)).tolist() == [[0, 0], [0, 0]]


def test_what_is_there_is_not_written_over(tmp_path):
    graph().save(tmp_path / "graph")
    with pytest.raises(FileExistsError, match="graph is there already"):
        graph().save(tmp_path / "graph")
    assert [path.name for path in tmp_path.iterdir()] == ["graph"]


def cut(folder):
    path = folder / "targets.npy"
    path.write_bytes(path.read_bytes()[:-8])


def other_dtype(folder):
    np.save(folder / "weights.npy", np.ones(300))


def other_length(folder):
    np.save(folder / "tables.npy", np.load(folder / "tables.npy")[:-1])


def absent(folder):
    (folder / "offsets.npy").unlink()


def other_offsets(folder):
    np.save(folder / "offsets.npy", np.load(folder / "offsets.npy") + 1)


def too_few(folder):
    offsets = np.load(folder / "offsets.npy")
    np.save(folder / "offsets.npy", np.minimum(offsets, 299))


def foreign(folder):
    (folder / "graph.json").write_text(json.dumps({"nodes": 3}))


def no_json(folder):
    (folder / "graph.json").write_text("[")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "targets.npy"),
        (other_dtype, "weights.npy holds float64 .300,., and should hold float32"),
        (other_length, "tables.npy holds"),
        (absent, "offsets.npy"),
        (other_offsets, "offsets do not go from 0 to 300"),
        (too_few, "offsets do not go from 0 to 300"),
        (foreign, "is of kind None, not 'tf_recall graph 1'"),
        (no_json, "Expecting value"),
    ],
)
def test_damaged_and_foreign_folders_are_refused(tmp_path, damage, message):
    graph().save(tmp_path / "graph")
    damage(tmp_path / "graph")
    with pytest.raises(ValueError, match=f"graph is damaged, write it again: .*{message}"):
        Graph.load(tmp_path / "graph")
    with pytest.raises(FileNotFoundError, match="is no graph: it has no graph.json"):
        Graph.load(tmp_path)
