"""Several relations at a type of nodes, such as users and brands at items: in memory, on maps, in
batches and on Beam.
"""

from dataclasses import replace

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from tf_recall.graph.csr import Graph
from tf_recall.graph.expand import expand
from tf_recall.graph.layerwise import layerwise
from tf_recall.graph.neighbors import ImportantNeighbors, UniformNeighbors
from tf_recall.graph.typed import Relation, TypedGraph, both_ways
from tf_recall.towers.aggregators import Mean
from tf_recall.towers.base import Tower
from tf_recall.towers.combinations import (
    ConcatCombination,
    FMCombination,
    MeanCombination,
    SumCombination,
    TransformerCombination,
)
from tf_recall.towers.convolutions import PinSageConvolution, SAGEConvolution
from tf_recall.towers.graph import GraphEncoder
from tf_recall.towers.readouts import LastLayer, MeanOfLayers

SIZES = {"user": 23, "item": 31, "brand": 7}


def drawn(rng, of, near, num):
    """Weighted edges; the last two nodes of either side have none."""
    ends = rng.integers(1, SIZES[of] - 2, num), rng.integers(1, SIZES[near] - 2, num)
    return Graph.from_edges(*ends, rng.integers(1, 5, num), SIZES[of], SIZES[near])


def make_graph():
    """Users and brands are neighbors of items, and other items by two relations."""
    rng = np.random.default_rng(0)
    return TypedGraph(
        [
            *both_ways("user", "item", drawn(rng, "user", "item", 90)),
            *both_ways("item", "brand", drawn(rng, "item", "brand", 40)),
            Relation("item", "item", drawn(rng, "item", "item", 60), "with"),
        ]
    )


GRAPH = make_graph()
OVER = {each.name: each.ends for each in GRAPH.relations}


class Table(Tower):
    """Vectors by row."""

    dim = 4

    def __init__(self, entity):
        super().__init__(entity)
        self.built = True
        self.num_rows = SIZES[entity]
        size = self.num_rows * self.dim
        self.vectors = tf.sin(1.7 * tf.reshape(tf.range(size, dtype=tf.float32), [-1, self.dim]))

    def call(self, inputs, training=False):
        return tf.gather(self.vectors, inputs[self.entity])


def encoder_of(combine, readout=None, num=2):
    """Two layers; brands are computed by the first alone."""
    keras.utils.set_random_seed(3)
    layers = [
        {
            name: SAGEConvolution(4, Mean(), "tanh") if of != "brand" else PinSageConvolution(4, 5)
            for name, (of, _) in OVER.items()
            if of != "brand" or not layer
        }
        for layer in range(num)
    ]
    bases = {of_type: Table(of_type) for of_type in SIZES}
    encoder = GraphEncoder(bases, layers, OVER, None, combine, readout)
    encoder.build_from_config({})
    return encoder


COMBINE = {
    "sum": (SumCombination, lambda each, _: sum(each)),
    "mean": (MeanCombination, lambda each, _: sum(each) / len(each)),
    "fm": (
        FMCombination,
        lambda each, _: sum(each) + sum(a * b for at, a in enumerate(each) for b in each[at + 1 :]),
    ),
    "transformer": (lambda: TransformerCombination(2, 8), lambda each, own: of_block(each, own)),
}


def of_block(each, layer):
    """METHODS.md M15's transformer of one node's vectors, by loops: `[R, D]` -> `[D]`."""
    weights = layer.block.weights
    find = {"/".join(weight.path.split("/")[-2:]): weight.numpy() for weight in weights}
    norms = [each.get_weights() for each in layer.block.norms]
    qkv, out, w1, b1, w2, b2 = (
        find[name]
        for name in ("QKV/kernel", "O/kernel", "W1/kernel", "W1/bias", "W2/kernel", "W2/bias")
    )

    def norm(x, scale, shift):
        return (x - x.mean()) / np.sqrt(x.var() + 1e-6) * scale + shift

    x = [np.asarray(v) + place for v, place in zip(each, layer.places.numpy(), strict=True)]
    queries, keys, values = zip(*(np.split(norm(v, *norms[0]) @ qkv, 3) for v in x), strict=True)
    new, size = [], len(x[0]) // 2
    for v, query in zip(x, queries, strict=True):
        heads = []
        for part in (slice(0, size), slice(size, 2 * size)):
            scores = np.array([query[part] @ key[part] for key in keys]) / size**0.5
            shares = np.exp(scores) / np.exp(scores).sum()
            heads.append(sum(s * value[part] for s, value in zip(shares, values, strict=True)))
        y = v + np.concatenate(heads) @ out
        new.append(y + np.maximum(norm(y, *norms[1]) @ w1 + b1, 0) @ w2 + b2)
    return sum(new) / len(new)


def twin(encoder, combine):
    """Loops over nodes, relations and edges, from the formula: `[{type: [V, D]}]` by layer."""
    layers = [{of: encoder.base_vectors(of) for of in SIZES}]
    for number, convolutions in enumerate(encoder.convolutions):
        below, new = layers[-1], {}
        for of_type in dict.fromkeys(OVER[name][0] for name in convolutions):
            rows = []
            for node in range(SIZES[of_type]):
                own, each = below[of_type][node : node + 1], []
                for name in encoder.relations(number, of_type):
                    relation, convolution = GRAPH[name], convolutions[name]
                    edges = slice(*relation.graph.offsets[node : node + 2])
                    weights = relation.graph.weights[edges]
                    near = below[relation.near][relation.graph.targets[edges]]
                    pool = np.zeros((1, convolution.pool_dim), np.float32)
                    if len(near):
                        said = np.asarray(convolution.messages(near))
                        pool[0] = (weights[:, None] * said).sum(axis=0) / weights.sum()
                    each.append(convolution.update(own, pool).numpy()[0])
                combination = encoder.combinations[number].get(of_type)
                rows.append(combine(each, combination) if len(each) > 1 else each[0])
            new[of_type] = np.array(rows, np.float32)
        layers.append(new)
    return layers


@pytest.mark.parametrize("kind", COMBINE)
def test_layer_by_layer_it_is_the_loop(kind, tmp_path):
    part, combine = COMBINE[kind]
    encoder = encoder_of(part())
    if kind == "transformer":
        for each in encoder.combinations:
            for weight in each["item"].weights:
                weight.assign(weight + 0.5 * tf.random.normal(weight.shape))
    expected = twin(encoder, combine)
    maps = []
    for each in GRAPH.relations:
        each.graph.save(tmp_path / each.name)
        maps.append(replace(each, graph=Graph.load(tmp_path / each.name)))
    for graph in (GRAPH, TypedGraph(maps)):
        found = encoder.over_all(graph)
        assert set(found[1]["vectors"]) == {"user", "item"} and len(found) == 2
        assert set(found[0]["pooled"]) == set(OVER)
        for one, other in zip(found, expected[1:], strict=True):
            for of_type, vectors in one["vectors"].items():
                assert np.isfinite(vectors).all()  # of nodes without neighbors too
                np.testing.assert_allclose(vectors, other[of_type], atol=1e-5)


@pytest.mark.parametrize("readout", [LastLayer(), MeanOfLayers()])
def test_a_batch_with_all_neighbors_is_layer_by_layer(readout):
    encoder = encoder_of(FMCombination(), readout)
    near = [
        {name: ImportantNeighbors(GRAPH[name].graph, 99) for name in layer}
        for layer in encoder.convolutions
    ]
    seeds = {of: np.arange(1, SIZES[of]) for of in ("user", "item")}
    subgraph = expand(seeds, near, OVER, np.random.default_rng(0))
    vectors = encoder(tf.nest.map_structure(tf.constant, subgraph))
    layers = [each["vectors"] for each in encoder.over_all(GRAPH)]
    layers = [{of: encoder.base_vectors(of) for of in SIZES}, *layers]
    for of_type, rows in seeds.items():
        last = layers[-1][of_type]
        if isinstance(readout, MeanOfLayers):
            last = sum(layer[of_type] for layer in layers) / 3
        last = last / np.linalg.norm(last, axis=1, keepdims=True)
        np.testing.assert_allclose(vectors[of_type][: len(rows)], last[1:], atol=1e-5)


def test_own_positives_are_removed_from_every_relation_between_the_two_types():
    rng = np.random.default_rng(1)
    graph = TypedGraph(
        [
            Relation("item", "item", drawn(rng, "item", "item", 200), "with"),
            Relation("item", "item", drawn(rng, "item", "item", 200), "after"),
            *both_ways("item", "brand", drawn(rng, "item", "brand", 40)),
        ]
    )
    over = {each.name: each.ends for each in graph.relations}
    near = {each.name: UniformNeighbors(each.graph, 20) for each in graph.relations}
    items = np.arange(1, SIZES["item"] - 2)
    others = np.roll(items, 1)
    found = expand({"item": items}, [near], over, rng, [(("item", "item"), items, others)])
    kept = 0
    for name in ("with", "after"):
        layer = found["layers"]["1"][name]
        seen = found["rows"]["item"][layer["position"]]
        for item, other in [*zip(items, others, strict=True), *zip(others, items, strict=True)]:
            at = int(np.flatnonzero(items == item)[0])
            assert not ((seen[at] == other) & (layer["weight"][at] > 0)).any()
        kept += np.count_nonzero(layer["weight"])
    assert kept > 300
    brands = found["layers"]["1"]["item_brand"]["weight"][: len(items)]
    assert (brands.any(axis=1) == (graph["item_brand"].graph.degrees[items] > 0)).all()


@pytest.mark.parametrize("part", [SumCombination(), TransformerCombination(2, 8)])
def test_on_beam_it_is_layer_by_layer(part, tmp_path):
    pytest.importorskip("apache_beam", reason="the extra beam is not installed")
    from tf_recall.beam import inputs
    from tf_recall.beam.layers import save_layers
    from tf_recall.beam.layerwise import layerwise as on_beam

    encoder = encoder_of(part)
    nodes, edges = {}, {}
    for of_type in SIZES:
        nodes[of_type] = str(tmp_path / f"{of_type}.parquet")
        pq.write_table(inputs._nodes(encoder.base_vectors(of_type)), nodes[of_type])
    for each in GRAPH.relations:
        edges[(*each.ends, each.name)] = str(tmp_path / f"{each.name}.parquet")
        sources = np.repeat(np.arange(each.graph.num_nodes), each.graph.degrees)
        columns = {"source": sources, "target": each.graph.targets, "weight": each.graph.weights}
        pq.write_table(pa.table(columns), edges[(*each.ends, each.name)])
    save_layers(encoder.convolutions, tmp_path / "layers", encoder.combinations)
    on_beam(nodes, edges, tmp_path / "layers", tmp_path / "out", rows_per_shard=9)
    for number, layer in enumerate(encoder.over_all(GRAPH), 1):
        for of_type, vectors in layer["vectors"].items():
            table = pq.read_table(tmp_path / "out" / f"layer-{number}" / of_type).to_pandas()
            found = np.stack(table.sort_values("row")["vector"])
            np.testing.assert_allclose(found, vectors, atol=1e-5)
    save_layers(encoder.convolutions, tmp_path / "less")
    with pytest.raises(ValueError, match="layer 1 has the relations .* at 'item', and no comb"):
        on_beam(nodes, edges, tmp_path / "less", tmp_path / "other")


def test_combinations_by_hand():
    vectors = tf.constant([[[1.0, 2.0], [3.0, 4.0], [5.0, -1.0]], [[0.0, 0.0]] * 3])
    assert SumCombination()(vectors).numpy().tolist() == [[9, 5], [0, 0]]
    assert MeanCombination()(vectors).numpy()[0].tolist() == [3, np.float32(5 / 3)]
    # 9 + 1*3 + 1*5 + 3*5 = 32;  5 + 2*4 - 2*1 - 4*1 = 7
    assert FMCombination()(vectors).numpy().tolist() == [[32, 7], [0, 0]]
    concat = ConcatCombination()
    assert concat(vectors).numpy()[0].tolist() == [1, 2, 3, 4, 5, -1] and concat.dim(3, 2) == 6


def test_what_does_not_go_together_is_named():
    with pytest.raises(ValueError, match=r"layer 1 has 3 relations at 'item', of dims \[4, 4, 4\]"):
        encoder_of(None)
    layers = [{name: SAGEConvolution(3 + len(name) % 2, Mean()) for name in OVER}]
    with pytest.raises(ValueError, match="they need one dim, and a combination"):
        GraphEncoder({}, layers, OVER, combine=SumCombination())
    layers = [{name: SAGEConvolution(5, Mean()) for name in OVER}]
    bases = {of_type: Table(of_type) for of_type in SIZES}
    encoder = GraphEncoder(bases, layers, OVER, None, SumCombination(), MeanOfLayers())
    with pytest.raises(ValueError, match=r"one length at every layer, got \[4, 5\]: let the"):
        encoder.build_from_config({})
    with pytest.raises(ValueError, match="heads must divide the length of the vectors, 4, not 3"):
        encoder_of(TransformerCombination(3))
    with pytest.raises(ValueError, match="no relation 'with'"):
        layerwise({}, [{"with": SAGEConvolution(3, Mean())}], TypedGraph(GRAPH.relations[:2]))
