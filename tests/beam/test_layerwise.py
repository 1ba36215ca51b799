"""Layer by layer on Beam: the numbers of one machine, whatever the shards, and errors that name the
table.
"""

import json
from pathlib import Path

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tf_recall.graph.csr import Graph
from tf_recall.graph.layerwise import layerwise as on_one_machine
from tf_recall.graph.typed import Relation, TypedGraph
from tf_recall.towers.aggregators import Concat, MaxPool, Mean
from tf_recall.towers.convolutions import PinSageConvolution, SAGEConvolution

pytest.importorskip(
    "apache_beam", reason="tf_recall.beam needs apache-beam: pip install 'tf-recall[beam]'"
)

from tf_recall.beam import tables  # noqa: E402
from tf_recall.beam.layers import load_layers, save_layers  # noqa: E402
from tf_recall.beam.layerwise import layerwise, main  # noqa: E402

PAIRS = {"user": "item", "item": "user"}


def vector_table(rows, vectors):
    flat = pa.array(np.asarray(vectors, np.float32).ravel())
    return pa.table(
        {"row": rows, "vector": pa.FixedSizeListArray.from_arrays(flat, np.shape(vectors)[1])}
    )


def write(table, folder, files=2, **settings):
    """In several files of several row groups."""
    folder.mkdir(parents=True)
    for number in range(files):
        part = table.slice(
            number * len(table) // files,
            (number + 1) * len(table) // files - number * len(table) // files,
        )
        pq.write_table(part, folder / f"{number}.parquet", **{"row_group_size": 40, **settings})
    return str(folder)


def read(pattern):
    """`{row: vector}`, each row once."""
    table = pq.read_table(sorted(Path(pattern).parent.glob("*.parquet")))
    rows = table["row"].to_pylist()
    assert len(set(rows)) == len(rows)
    return dict(zip(rows, table["vector"].to_pylist(), strict=True))


class World:
    """Users and items with holes among their rows, a hub, nodes without edges, edges that repeat
    and of weight 0.
    """

    def __init__(self, folder):
        rng = np.random.default_rng(0)
        self.rows = {
            "user": np.r_[0, rng.permutation(np.arange(1, 90))[:70]],
            "item": rng.permutation(50),
        }
        self.vectors = {
            each: rng.normal(size=(len(rows), 3 + len(each))) for each, rows in self.rows.items()
        }
        self.edges, self.paths = {}, {"nodes": {}, "edges": {}}
        for of_type, near in PAIRS.items():
            sources = np.r_[
                rng.choice(self.rows[of_type][:-5], 150), np.full(80, self.rows[of_type][7])
            ]
            targets = rng.choice(self.rows[near], 230)
            targets[:60] = self.rows[near][3]
            weights = rng.choice([0, 0.5, 1, 7], 230)
            self.edges[of_type] = sources, targets, weights
            nodes = vector_table(self.rows[of_type], self.vectors[of_type])
            self.paths["nodes"][of_type] = write(nodes, folder / of_type)
            edges = pa.table(
                {"source": sources, "target": pa.array(targets, pa.int32()), "weight": weights}
            )
            self.paths["edges"][of_type, near] = write(edges, folder / f"{of_type}_{near}")

    def twin(self, layers):
        """Loops over nodes and edges, from the formula: for each layer `{type: {row: vector}}`."""
        h, out = {t: np.float32(self.vectors[t]) for t in PAIRS}, []
        place = {t: {row: at for at, row in enumerate(self.rows[t].tolist())} for t in PAIRS}
        for layer in layers:
            new = {}
            for name, convolution in layer.items():
                of_type = name.split("_")[0]
                said = np.asarray(convolution.messages(h[PAIRS[of_type]]), np.float64)
                pooled = np.zeros((len(h[of_type]), said.shape[1]))
                for row, at in place[of_type].items():
                    edges = [
                        edge for edge in zip(*self.edges[of_type], strict=True) if edge[0] == row
                    ]
                    count = sum(weight for _, _, weight in edges)
                    for _, target, weight in edges if count else ():
                        pooled[at] += weight * said[place[PAIRS[of_type]][int(target)]] / count
                new[of_type] = np.asarray(convolution.update(h[of_type], pooled.astype(np.float32)))
            h = new
            out.append(
                {
                    t: dict(zip(self.rows[t].tolist(), vectors, strict=True))
                    for t, vectors in new.items()
                }
            )
        return out


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def layers(world, tmp_path_factory):
    """Two layers of different kinds; only items in the second."""
    keras.utils.set_random_seed(1)
    made = [
        {"user_item": SAGEConvolution(4, Mean(), "tanh"), "item_user": PinSageConvolution(5, 6)},
        {"item_user": SAGEConvolution(3, Concat([Mean(), Mean()]), None, normalize=True)},
    ]
    dims = {each: world.vectors[each].shape[1] for each in PAIRS}
    for layer in made:
        for name, convolution in layer.items():
            own, near = name.split("_")
            convolution.build((None, dims[own]), (None, None, dims[near]))
        dims = {name.split("_")[0]: convolution.dim for name, convolution in layer.items()}
    folder = tmp_path_factory.mktemp("layers")
    save_layers(made, folder)
    return made, folder


def same(found, wanted):
    assert sorted(found) == sorted(wanted)
    for row, vector in wanted.items():
        np.testing.assert_allclose(found[row], vector, atol=1e-5)


@pytest.mark.parametrize("rows_per_shard", [16, 1000])
def test_it_is_the_loop_over_nodes_and_edges(world, layers, tmp_path, rows_per_shard):
    made, folder = layers
    done = layerwise(
        **world.paths, layers=folder, out=tmp_path / "out", rows_per_shard=rows_per_shard
    )
    assert list(done["vectors"]) == ["item"]
    same(read(done["vectors"]["item"]), world.twin(made)[1]["item"])
    same(read(tmp_path / "out" / "layer-1" / "user" / "*"), world.twin(made)[0]["user"])
    assert done["finished"] == {
        "layer-1": {"rows": 71 + 50, "edges": 460},
        "layer-2": {"rows": 50, "edges": 230},
    }
    assert len(list((tmp_path / "out" / "layer-2" / "item").iterdir())) == (
        4 if rows_per_shard == 16 else 1
    )


def test_it_is_the_layerwise_of_one_machine(tmp_path):
    rng = np.random.default_rng(2)
    convolution = PinSageConvolution(8, 16)
    convolution.build((None, 8), (None, None, 8))
    save_layers([{"item_item": convolution}] * 2, tmp_path / "layers")
    vectors = rng.normal(size=(300, 8)).astype(np.float32)
    graph = Graph.from_edges(
        1 + rng.permutation(2000) % 299, rng.integers(1, 300, 2000), rng.random(2000), 300
    )
    sources = np.repeat(np.arange(300), graph.degrees)
    edges = pa.table({"source": sources, "target": graph.targets, "weight": graph.weights})
    paths = (
        write(vector_table(np.arange(300), vectors), tmp_path / "nodes"),
        write(edges, tmp_path / "edges"),
    )
    done = layerwise(
        {"item": paths[0]}, {("item", "item"): paths[1]}, tmp_path / "layers", tmp_path / "out", 70
    )
    wanted = on_one_machine(
        {"item": vectors},
        [{"item_item": convolution}] * 2,
        TypedGraph([Relation("item", "item", graph)]),
    )
    same(read(done["vectors"]["item"]), dict(enumerate(wanted[-1]["vectors"]["item"])))


def test_by_hand(tmp_path):
    # Item 1 hears 2 with weight 1 and 3 with weight 3: (10 + 3 * 20) / 4 = 17.5; new = 2 * 17.5 + 1
    # * own 5 = 40. Item 2 hears 1 once, an edge of weight 0 is none: 2 * 5 + 10 = 20. Item 3 hears
    # nobody: its own 20.
    convolution = SAGEConvolution(1, Mean(), None)
    convolution.build((None, 1), (None, None, 1))
    convolution.set_weights([np.array([[2.0]]), np.array([[1.0]])])
    save_layers([{"item_item": convolution}], tmp_path / "layers")
    nodes = write(vector_table([1, 2, 3, 4], [[5], [10], [20], [np.inf]]), tmp_path / "nodes")
    edges = pa.table({"source": [1, 1, 2, 2], "target": [2, 3, 1, 4], "weight": [1, 3, 1, 0]})
    edges = write(edges, tmp_path / "edges")
    done = layerwise(
        {"item": nodes}, {("item", "item"): edges}, tmp_path / "layers", tmp_path / "out", 2
    )
    assert read(done["vectors"]["item"]) == {1: [40.0], 2: [20.0], 3: [20.0], 4: [np.inf]}


def test_layers_come_back_as_they_were(layers, tmp_path):
    made, folder = layers
    for layer, both in zip(made, load_layers(folder), strict=True):
        loaded = both.convolutions
        assert not both.combinations
        for each in layer:
            assert json.dumps(loaded[each].get_config()) == json.dumps(layer[each].get_config())
            for a, b in zip(loaded[each].get_weights(), layer[each].get_weights(), strict=True):
                np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="layer 1 of 'item' has no weights yet"):
        save_layers([{"item": SAGEConvolution(3, Mean())}], tmp_path / "b")
    with pytest.raises(FileNotFoundError, match="layers.json is missing: save_layers writes"):
        load_layers(tmp_path)
    save_layers(made[1:], tmp_path / "c")
    (tmp_path / "c" / "layers.json").write_bytes((folder / "layers.json").read_bytes())
    with pytest.raises(ValueError, match="weights.npz is damaged, or does not belong to"):
        load_layers(tmp_path / "c")


def small(folder, nodes=None, edges=None, aggregator=None):
    """A run over three items with one thing changed."""
    convolution = SAGEConvolution(2, aggregator or Mean())
    convolution.build((None, 2), (None, None, 2))
    save_layers([{"item_item": convolution}], folder / "layers")
    nodes = write(
        vector_table([0, 1, 2], np.ones([3, 2])) if nodes is None else nodes, folder / "nodes", 1
    )
    edges = write(
        pa.table({"source": [1, 2], "target": [2, 1]}) if edges is None else edges,
        folder / "edges",
        1,
    )
    return layerwise(
        {"item": nodes}, {("item", "item"): edges}, folder / "layers", folder / "out", 2
    )


def test_interrupted_and_run_again_nothing_is_lost_or_doubled(world, layers, tmp_path, monkeypatch):
    made, folder = layers
    out, write_table, written = tmp_path / "out", tables.write_table, []

    def fragile(path, columns):
        """Fails at the twelfth file: 5 + 4 are the first layer's."""
        if len(written) == 11:
            raise MemoryError("the worker is gone")
        written.append(path)
        write_table(path, columns)

    monkeypatch.setattr(tables, "write_table", fragile)
    with pytest.raises((MemoryError, RuntimeError), match="the worker is gone"):
        layerwise(**world.paths, layers=folder, out=out, rows_per_shard=16)
    first = {path: path.stat().st_mtime_ns for path in (out / "layer-1").rglob("*.parquet")}
    assert len(first) == 5 + 4 and len(list((out / "layer-2").rglob("*.parquet"))) == 2

    monkeypatch.setattr(tables, "write_table", write_table)
    # Other shards than before: what the interrupted run left of the second layer must not stay
    # among them.
    done = layerwise(**world.paths, layers=folder, out=out, rows_per_shard=30)
    same(read(done["vectors"]["item"]), world.twin(made)[1]["item"])
    assert {path: path.stat().st_mtime_ns for path in first} == first
    assert layerwise(**world.paths, layers=folder, out=out) == done

    other = World(tmp_path / "other").paths
    with pytest.raises(
        ValueError,
        match="was begun with other inputs, these differ: nodes of 'user'. Choose another",
    ):
        nodes = {**world.paths["nodes"], "user": other["nodes"]["user"]}
        layerwise(nodes, world.paths["edges"], folder, out)
    save_layers(made[:1], tmp_path / "less")
    with pytest.raises(
        ValueError, match="these differ: layers. Choose another folder, or delete this one"
    ):
        layerwise(**world.paths, layers=tmp_path / "less", out=out)


def test_on_the_command_line(world, layers, tmp_path, capsys):
    _, folder = layers
    given = [f"--nodes={each}={path}" for each, path in world.paths["nodes"].items()]
    given += [f"--edges={':'.join(pair)}={path}" for pair, path in world.paths["edges"].items()]
    given += ["--layers", str(folder), "--out", str(tmp_path / "out")]
    workers = [
        "--runner=FnApiRunner",
        "--direct_num_workers=2",
        "--direct_running_mode=multi_threading",
    ]
    main([*given, "--rows-per-shard", "30", *workers])
    done = json.loads(capsys.readouterr().out)
    same(read(done["vectors"]["item"]), world.twin(layers[0])[1]["item"])
    with pytest.raises(SystemExit):
        main(["--nodes", "items", *given])
    assert "--nodes TYPE=PARQUET, got 'items'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--edges", "item=there", *given])
    assert "--edges TYPE:NEIGHBOR[:NAME]=PARQUET, got 'item=there'" in capsys.readouterr().err


LISTS = pa.list_(pa.float32())
ODD = pa.table({"row": [1, 2, 3], "vector": pa.array([[1, 2], [1, 2], [1, 2, 3]], LISTS)})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"nodes": pa.table({"row": [1]})},
            r"nodes of 'item': .*0.parquet lacks the column 'vector'; it has",
        ),
        (
            {"nodes": pa.table({"row": ["1"], "vector": [[1.0]]})},
            r"column 'row' of .* must hold whole numbers, not",
        ),
        (
            {"nodes": vector_table([1, 2], np.ones([2, 2]))[:0]},
            r"nodes of 'item': there are no rows in",
        ),
        (
            {"nodes": vector_table([1, 2], np.ones([2, 3]))},
            r"built for vectors of 'item' of length 2, and .* have 3",
        ),
        ({"nodes": vector_table([1, 2, 1, 5], np.ones([4, 2]))}, r"row 1 comes more than once"),
        (
            {"nodes": vector_table([1, 2, None], np.ones([3, 2]))},
            r"column 'row' has rows without a value",
        ),
        ({"nodes": ODD}, r"nodes of 'item': the vectors are of unequal length, 2 to 3"),
        (
            {"edges": pa.table({"source": [1], "to": [2]})},
            r"edges of 'item' to 'item': .* lacks the column 'target'",
        ),
        (
            {"edges": pa.table({"source": [1], "target": [9]})},
            r"an edge has the target 9, and no node has this row",
        ),
        (
            {"nodes": vector_table([0, 2, 4], np.ones([3, 2]))},
            r"an edge has the (target|source) 1, and no node has this",
        ),
        (
            {"edges": pa.table({"source": [8], "target": [1]})},
            r"an edge has the source 8, and no node has this row",
        ),
        (
            {"edges": pa.table({"source": [1], "target": [2], "weight": [-1.0]})},
            r"at least 0; \(1, 2\) has -1.0",
        ),
        (
            {"aggregator": MaxPool(3)},
            r"layer 1 of 'item_item', SAGEConvolution, cannot be summed in parts: allowed are",
        ),
    ],
)
def test_bad_input_is_named(tmp_path, given, message):
    with pytest.raises((ValueError, RuntimeError), match=message):
        small(tmp_path, **given)


def test_what_the_layers_need_must_be_there(world, layers, tmp_path):
    _, folder = layers
    nodes, edges = world.paths["nodes"], world.paths["edges"]
    with pytest.raises(
        ValueError, match="layer 1 needs vectors of 'item', there are those of .'user'."
    ):
        layerwise({"user": nodes["user"]}, edges, folder, tmp_path / "out")
    with pytest.raises(ValueError, match="layer 1 needs edges 'item_user' of nodes to their"):
        layerwise(nodes, {("user", "item"): edges["user", "item"]}, folder, tmp_path / "out")
    twice = {**edges, ("user", "user", "user_item"): edges["user", "item"]}
    with pytest.raises(ValueError, match="two relations 'user_item'; give one a name"):
        layerwise(nodes, twice, folder, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="no files .*nowhere"):
        layerwise({**nodes, "user": str(tmp_path / "nowhere")}, edges, folder, tmp_path / "out")
    with pytest.raises(ValueError, match="rows_per_shard must be at least 1, got 0"):
        layerwise(nodes, edges, folder, tmp_path / "out", rows_per_shard=0)
    assert not (tmp_path / "out").exists()
