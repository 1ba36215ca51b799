"""Graphs sorted on disk: the same as in memory, in bounded memory, and what is wrong in edges named
by its line.
"""

import tracemalloc

import numpy as np
import pandas as pd
import pytest

from tf_recall.data.vocabulary import Vocabulary
from tf_recall.graph import build as build_module
from tf_recall.graph import edges as edges_module
from tf_recall.graph.build import build, reverse
from tf_recall.graph.csr import Graph
from tf_recall.graph.edges import read_edges

SMALL = 2**20  # bytes: runs of 16,384 edges


def chunks(num_edges=100_000, num_nodes=500, num_targets=3000, weighted=True, seed=0, chunk=7_001):
    """Skewed edges, of which many come twice."""
    rng = np.random.default_rng(seed)
    sources = np.minimum(rng.zipf(1.3, num_edges), num_nodes - 1)
    targets = rng.integers(1, num_targets, num_edges)
    weights = [rng.integers(0, 9, num_edges) / 4] if weighted else []
    return [
        [each[start : start + chunk] for each in (sources, targets, *weights)]
        for start in range(0, num_edges, chunk)
    ]


def whole(given):
    sources, targets, *weights = (np.concatenate(arrays) for arrays in zip(*given, strict=True))
    return sources, targets, weights[0] if weights else None


def assert_same(ours, expected):
    np.testing.assert_array_equal(ours.offsets, expected.offsets)
    np.testing.assert_array_equal(ours.targets, expected.targets)
    assert (ours.weights is None) == (
        expected.weights is None
    ) and ours.num_targets == expected.num_targets
    if expected.weights is not None:
        np.testing.assert_array_equal(ours.weights, expected.weights)


@pytest.mark.parametrize("weighted", [True, False])
def test_sorted_on_disk_is_sorted_in_memory(tmp_path, weighted):
    """In seven runs, with a quarter of all edges at one source; quarters are added up without
    rounding.
    """
    given = chunks(weighted=weighted)
    expected = Graph.from_edges(*whole(given), 600, 4000)
    assert (
        expected.degrees.max() < 3000 < SMALL // build_module.EDGE_BYTES < len(whole(given)[0]) / 5
    )
    ours = build(iter(given), tmp_path / "graph", 600, 4000, memory=SMALL)
    assert_same(ours, expected)
    # fmt: skip
    assert sorted(path.name for path in (tmp_path / "graph").iterdir()) == [
        "graph.json",
        "offsets.npy",
        "tables.npy",
        "targets.npy",
        "weights.npy",
    ]
    nodes, rng = np.arange(600), np.random.default_rng
    np.testing.assert_array_equal(
        ours.draw(nodes, 9, rng(1)) == 0, expected.draw(nodes, 9, rng(1)) == 0
    )
    assert_same(reverse(ours, tmp_path / "back", memory=SMALL), expected.reverse())


def test_edges_of_weight_1_have_no_weights_until_one_comes_twice(tmp_path):
    """40,000 different edges in rising order, then one again: of the last range, so that the ranges
    before are done.
    """
    sources, targets = np.divmod(np.arange(40_000), 200) + np.ones((2, 1), int)
    ours = build([(sources, targets)], tmp_path / "once", 202, 201, memory=SMALL)
    assert ours.weights is None and ours.num_edges == 40_000
    assert_same(ours, Graph.from_edges(sources, targets, None, 202, 201))
    twice = np.append(sources, 200), np.append(targets, 200)
    again = build([twice], tmp_path / "twice", 202, 201, memory=SMALL)
    assert again.weights[:-1].max() == 1 and again.weights[-1] == 2
    assert_same(again, Graph.from_edges(*twice, None, 202, 201))


def test_memory_is_bounded(tmp_path):
    """Two million weighted edges, 24 MB as arrays, sorted in 8; what is drawn from is on disk."""
    rng, num = np.random.default_rng(0), 2_000_000

    def edges():
        for _ in range(20):
            yield *rng.integers(1, 50_000, (2, num // 20)), rng.random(num // 20)

    tracemalloc.start()
    try:
        graph = build(edges(), tmp_path / "graph", 50_000, memory=2**23)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # sorting, nodes, and the chunks themselves with what checks them
    assert peak < 2**23 + 32 * 50_000 + 2**23
    assert (
        graph.num_edges > 1_990_000
        and (tmp_path / "graph" / "tables.npy").stat().st_size > 30_000_000
    )


def test_edges_of_weight_0_alone_make_a_graph_without_edges(tmp_path):
    graph = build([([1, 2], [2, 1], [0.0, 0.0])], tmp_path / "graph", 4)
    assert graph.num_edges == 0 and graph.draw([1, 2], 2, np.random.default_rng(0)).tolist() == [
        [0, 0],
        [0, 0],
    ]


CLICKS = pd.DataFrame(
    {"who": ["ann", "bob", "ann", "eve"], "what": [70, 80, 80, 70], "weight": [1, 2.5, 1, 0.5]}
)
USERS, ITEMS = Vocabulary(["ann", "bob", "eve"], [2, 1, 1]), Vocabulary([80, 70], [2, 2])
COLUMNS = {"source": "who", "target": "what"}
EXPECTED = Graph.from_edges([1, 2, 1, 3], [2, 1, 1, 2], [1, 2.5, 1, 0.5], 4, 3)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """`write(name, frame)`: a file of edges, to be read in blocks of three rows."""
    monkeypatch.setattr(edges_module, "BLOCK_ROWS", 3)

    def write(name, frame):
        path = tmp_path / name
        if path.suffix == ".parquet":
            frame.to_parquet(path)
        else:
            frame.to_csv(path, index=False, sep="\t" if ".tsv" in name else ",")
        return path

    return write


@pytest.mark.parametrize("name", ["e.csv", "e.tsv.gz", "e.parquet"])
def test_files_of_raw_ids(tmp_path, write, name):
    path = write(name, CLICKS.assign(unused="x"))
    assert_same(build(read_edges(path, COLUMNS), tmp_path / "graph", USERS, ITEMS), EXPECTED)
    both = build(read_edges([path, path], COLUMNS), tmp_path / "both", USERS, ITEMS)
    np.testing.assert_array_equal(both.weights, 2 * EXPECTED.weights)


def test_files_of_rows(tmp_path, write):
    path = write("e.csv", pd.DataFrame({"source": [1, 3, 2, 1], "target": [2, 1, 2, 3]}))
    assert_same(
        build(path, tmp_path / "graph", 4), Graph.from_edges([1, 3, 2, 1], [2, 1, 2, 3], None, 4)
    )
    write("more.parquet", pd.DataFrame({"source": [2], "target": [3]}))
    assert build([path, tmp_path / "more.parquet"], tmp_path / "two", 4).num_edges == 5
    assert build(tmp_path, tmp_path / "folder", 4).num_edges == 1  # the Parquet files of a folder


def test_dangling_ids_and_bad_weights_are_counted_and_the_first_is_placed(tmp_path, write):
    """Line 1 is the header, so the sixth edge stands in line 7; in a Parquet file it is row 5."""
    frame = pd.concat([CLICKS, CLICKS], ignore_index=True)
    frame.loc[[5, 7], "who"], frame.loc[6, "what"], frame.loc[4, "weight"] = ["zoe", None], 99, -1
    expected = (
        r"2 of 8 edges name a source that no node has, allowed are the 3 ids of the vocabulary, "
        r"such as \['ann', 'bob', 'eve'\]; the first is zoe at .*e.csv, line 7. "
        r"1 of 8 edges name a target .*; the first is 99 at .*e.csv, line 8. "
        r"1 of 8 edges name a weight that is no number of at least 0; the first is -1.0 at "
        r".*e.csv, line 6."
    )
    with pytest.raises(ValueError, match=expected):
        build(read_edges(write("e.csv", frame), COLUMNS), tmp_path / "graph", USERS, ITEMS)
    with pytest.raises(ValueError, match=r"the first is zoe at .*e.parquet, row 5."):
        build(read_edges(write("e.parquet", frame), COLUMNS), tmp_path / "graph", USERS, ITEMS)
    assert not list(tmp_path.glob("graph*"))  # nothing half made is left


@pytest.mark.parametrize(
    ("edges", "error", "message"),
    [
        (
            [([1], [2]), ([1, 5], [9, 1])],
            ValueError,
            "source .* rows from 1 to 4, .* the first is 5 at chunk 1, edge 1",
        ),
        (
            [([1.0, np.nan], [2, 2])],
            ValueError,
            "1 of 2 edges name a source .*; the first is nan at chunk 0, edge 1",
        ),
        ([([1.0, 1.5], [2, 2])], ValueError, "the first is 1.5 at"),
        (
            [(["ann"], [2])],
            TypeError,
            "sources must be rows, whole numbers, got .'ann'.: raw ids need a Vocabulary",
        ),
        (
            [([1], [2], [np.nan])],
            ValueError,
            "weight that is no number of at least 0; the first is nan",
        ),
        (
            [([1], [2], [1e300])],
            ValueError,
            "weight that is no number of at least 0; the first is 1e.300",
        ),
        (
            [([1], [2], [1]), ([1], [2])],
            ValueError,
            "need weights or none, and they differ at chunk 1, edge 0",
        ),
        ([([1, 2], [2])], ValueError, "chunk 0, edge 0 and on: the arrays must be of one length"),
        (iter([]), ValueError, "There are no edges to make a graph of"),
        (
            (np.ones(3), np.ones(3)),
            TypeError,
            "Edges come in chunks, .*, got ndarray of .3,. as chunk 0",
        ),
        ([], ValueError, "There are no edges"),
    ],
)
def test_bad_chunks(tmp_path, edges, error, message):
    with pytest.raises(error, match=message):
        build(edges, tmp_path / "graph", 5)


def test_the_first_is_named_in_a_chunk_checked_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(build_module, "BLOCK_EDGES", 2)
    with pytest.raises(ValueError, match="2 of 6 edges .*; the first is 9 at chunk 0, edge 3"):
        build([(np.array([1, 2, 3, 9, 1, 8]), np.ones(6, int))], tmp_path / "graph", 5)


def test_bad_files(tmp_path, write):
    with pytest.raises(
        ValueError,
        match="has no column 'source', 'target', only .'who', 'what', 'weight'.*columns=",
    ):
        build(write("e.csv", CLICKS), tmp_path / "graph", USERS, ITEMS)
    with pytest.raises(ValueError, match="has no column 'stars'"):
        build(
            read_edges(write("e.parquet", CLICKS), COLUMNS | {"weight": "stars"}),
            tmp_path / "graph",
            USERS,
            ITEMS,
        )
    with pytest.raises(ValueError, match="our source, target and weight, got .'user_id'."):
        next(read_edges("e.csv", {"user_id": "who"}))
    with pytest.raises(ValueError, match="no file has a row, of .*e.csv"):
        build(read_edges(write("e.csv", CLICKS[:0]), COLUMNS), tmp_path / "graph", USERS, ITEMS)
    (tmp_path / "empty.csv").touch()
    with pytest.raises(ValueError, match="empty.csv cannot be read as CSV: No columns"):
        build(tmp_path / "empty.csv", tmp_path / "graph", 5)
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="cut.parquet cannot be read as Parquet"):
        build(tmp_path / "cut.parquet", tmp_path / "graph", 5)
    with pytest.raises(FileNotFoundError, match="There is no edge file at"):
        build(tmp_path / "absent.csv", tmp_path / "graph", 5)
    with pytest.raises(ValueError, match="must end in .csv"):
        build(write("e.txt", CLICKS), tmp_path / "graph", 5)
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError, match="is there already"):
        build([([1], [2])], tmp_path / "there", 5)
    with pytest.raises(ValueError, match="memory must be at least"):
        build([([1], [2])], tmp_path / "graph", 5, memory=100)
