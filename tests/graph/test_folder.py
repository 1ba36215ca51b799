"""Graphs on disk: the same after, memory-mapped, and refused where they are not whole."""

import json

import numpy as np
import pytest

from tf_recall.data import manifest
from tf_recall.graph import verify
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
    after = Graph.load(tmp_path / "graph", verify=False)
    drawn = after.draw(np.flatnonzero(before.degrees), 5, np.random.default_rng(0))
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


def other_kind(folder):
    values = manifest.read(folder, "graph.json")
    manifest.write(folder, "graph.json", {**values, "kind": "tf_recall graph 9"})


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
        (foreign, "graph.json is damaged, or of another version of tf_recall"),
        (other_kind, "graph.json is of kind 'tf_recall graph 9', not 'tf_recall graph 2'"),
        (no_json, "graph.json is damaged"),
    ],
)
def test_damaged_and_foreign_folders_are_refused(tmp_path, damage, message):
    graph().save(tmp_path / "graph")
    damage(tmp_path / "graph")
    with pytest.raises(ValueError, match=f"graph is damaged, write it again: .*{message}"):
        Graph.load(tmp_path / "graph")
    with pytest.raises(FileNotFoundError, match="is no graph: it has no graph.json"):
        Graph.load(tmp_path)


def edited(folder, name, change):
    """A file changed as by hand: of the same length, and the manifest written anew."""
    array = np.load(folder / f"{name}.npy")
    change(array)
    np.save(folder / f"{name}.npy", array)
    values = manifest.read(folder, "graph.json")
    manifest.write(folder, "graph.json", {**values, "files": None})


def at(place, value, field=None):
    def change(array):
        (array if field is None else array[field])[place] = value

    return change


@pytest.mark.parametrize("block", [2**22, 7])
@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("targets", at(299, 50), "targets.npy: edge 299 has 50, which is not a row from 1 to 49"),
        ("targets", at(0, 2**31 - 1), "targets.npy: edge 0 has 2147483647"),
        ("targets", at(17, -1), "targets.npy: edge 17 has -1"),
        ("targets", at(17, 0), "targets.npy: edge 17 has 0"),
        ("offsets", at(7, 10**9), "offsets.npy: offsets fall after node 7"),
        ("offsets", at(7, -1), "offsets.npy: offsets fall after node 6"),
        ("offsets", at(1, 3), "offsets.npy: node 0, the unknown, has no edges, got 3"),
        ("offsets", at(-1, 301), "offsets.npy: offsets do not go from 0 to 300"),
        ("weights", at(5, np.nan), "weights.npy: edge 5 has nan, which is not above 0"),
        ("weights", at(5, np.inf), "weights.npy: edge 5 has inf, which is not above 0"),
        ("weights", at(5, 0), "weights.npy: edge 5 has 0.0, which is not above 0"),
        ("tables", at(9, 50, "target"), "tables.npy: edge 9 has 50, .* a row from 0 to 49"),
        ("tables", at(9, -7, "other"), "tables.npy: edge 9 has -7, .* a row from 0 to 49"),
        ("tables", at(9, 1.5, "keep"), "tables.npy: edge 9 has 1.5, which is not from 0 to 1"),
        ("tables", at(300, np.nan, "keep"), "tables.npy: edge 300 has nan"),
    ],
)
def test_what_leads_out_of_the_graph_is_refused(
    tmp_path, monkeypatch, name, change, message, block
):
    monkeypatch.setattr(verify, "BLOCK", block)
    graph().save(tmp_path / "graph")
    assert Graph.load(tmp_path / "graph").num_edges == 300
    edited(tmp_path / "graph", name, change)
    with pytest.raises(ValueError, match=f"graph is damaged, write it again: .*{message}"):
        Graph.load(tmp_path / "graph")


def test_any_bit_that_flips_is_refused_and_the_file_is_named(tmp_path):
    graph().save(tmp_path / "graph")
    rng = np.random.default_rng(0)
    for path in sorted((tmp_path / "graph").iterdir()):
        content = path.read_bytes()
        for place in [0, len(content) - 1, *rng.integers(len(content), size=40)]:
            flipped = bytearray(content)
            flipped[place] ^= 1 << int(rng.integers(8))
            path.write_bytes(flipped)
            with pytest.raises(ValueError, match="write it again") as caught:
                Graph.load(tmp_path / "graph")
            assert path.name in str(caught.value) and "\n" not in str(caught.value)
        path.write_bytes(content)
    assert Graph.load(tmp_path / "graph").num_edges == 300


def test_a_graph_of_weights_needs_their_tables(tmp_path):
    graph().save(tmp_path / "graph")
    (tmp_path / "graph" / "tables.npy").unlink()
    values = manifest.read(tmp_path / "graph", "graph.json")
    del values["lengths"]["tables"]
    manifest.write(tmp_path / "graph", "graph.json", values)
    with pytest.raises(ValueError, match="weights.npy and tables.npy belong together"):
        Graph.load(tmp_path / "graph", verify=False)
