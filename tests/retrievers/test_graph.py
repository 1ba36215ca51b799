"""The binder of the graph models: what it may see, what it serves, and how its graph grows."""

import functools
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.features import Id, MultiValued
from tf_recall.graph import stream
from tf_recall.graph.bipartite import AttributeEdges, UserEdges
from tf_recall.graph.csr import Graph
from tf_recall.graph.neighbors import ImportantNeighbors
from tf_recall.graph.stream import GraphBatches
from tf_recall.graph.typed import Relation, TypedGraph
from tf_recall.losses import Hinge, SampledSoftmax
from tf_recall.models.graph_sage import GraphSAGE
from tf_recall.models.graph_sage_i2i import GraphSAGEI2I
from tf_recall.models.graph_tr import GraphTR
from tf_recall.models.multi_bi_sage import MultiBiSage
from tf_recall.models.pin_sage import PinSage
from tf_recall.negatives import (
    EasyHard,
    InBatch,
    Mixture,
    Popularity,
    RankWindow,
    SameGroup,
    Uniform,
)
from tf_recall.negatives.base import Batch
from tf_recall.positives import ItemPairs, WalkPairs
from tf_recall.recommend.service import Service
from tf_recall.retrievers.graph import ahead
from tf_recall.retrievers.keras_hooks import sublayers
from tf_recall.retrievers.optimizers import LazyAdam
from tf_recall.towers.convolutions import Residual
from tf_recall.towers.features import FeatureTower

NUM_USERS, NUM_ITEMS = 40, 60


def log_of(users, items, num_items=NUM_ITEMS):
    """A log, and the items' genres: two of six, by the item's number."""
    genres = [f"g{n % 6}|g{n // 10}" for n in range(num_items)]
    table = pd.DataFrame({"item_id": [f"i{n}" for n in range(num_items)], "genres": genres})
    ids = {"user_id": [f"u{n}" for n in users], "item_id": [f"i{n}" for n in items]}
    return Interactions.from_columns(**ids, timestamp=np.arange(len(users)), items=table)


def noise(seed=0, num=400):
    rng = np.random.default_rng(seed)
    return log_of(rng.integers(0, NUM_USERS, num), rng.integers(0, NUM_ITEMS, num))


def clusters(seed=0, num=2000):
    """Users and items of four clusters; an item's cluster is its number modulo 4, its genres say
    nothing of it.
    """
    rng = np.random.default_rng(seed)
    users = rng.integers(0, NUM_USERS, num)
    return log_of(users, rng.integers(0, NUM_ITEMS // 4, num) * 4 + users % 4)


def item_tower():
    return FeatureTower("item", [Id(16, unknown_rate=0.2), MultiValued("genres", 8)], [16])


def graph_sage(fan_outs=(5, 4), **arguments):
    users = FeatureTower("user", [Id(16, unknown_rate=0.2)])
    arguments = {"own_dropout": 0.1, **arguments}  # as genres say nothing, edges must
    return GraphSAGE(users, item_tower(), 16, fan_outs, **arguments)


def graph_tr(**arguments):
    users = FeatureTower("user", [Id(16, unknown_rate=0.2)])
    genres = [MultiValued("genres", 8)]
    return GraphTR(users, item_tower(), genres, 16, [5, 4], **arguments)


def multi_bi_sage(**arguments):
    relations = [UserEdges(), AttributeEdges("genres")]
    arguments = {"loss": Hinge(0.1), **arguments}
    layers = {"num_layers": 2, "num_neighbors": 6, "num_walks": 30}
    return MultiBiSage(item_tower(), relations, 16, 32, **layers, **arguments)


MODELS = {
    "graph_sage": graph_sage,
    "graph_sage_i2i": lambda **arguments: GraphSAGEI2I(item_tower(), None, 16, [5, 4], **arguments),
    "graph_tr": lambda **arguments: graph_tr(**arguments),
    "multi_bi_sage": lambda **arguments: multi_bi_sage(**arguments),
    "pin_sage": lambda **arguments: PinSage(
        item_tower(), 16, 32, num_neighbors=6, num_walks=30, **arguments
    ),
}


@pytest.fixture(scope="module", params=MODELS)
def make(request):
    return MODELS[request.param]


@pytest.fixture(scope="module")
def of_clusters():
    """`of_clusters(make)`: such a model of the clusters, and its catalog; nobody changes them."""
    return functools.cache(lambda make: fitted(make(), clusters(), 12)[:2])


@pytest.fixture(scope="module")
def trained(make, of_clusters):
    return of_clusters(make)


def fitted(model, log, epochs, batch_size=128, gate=0.0, **compiled):
    keras.utils.set_random_seed(0)
    catalog = Catalog.fit(log)
    model.adapt(log, catalog).compile(**compiled)
    for layer in sublayers(model.encoder):
        if isinstance(layer, Residual):
            layer.gate.assign(tf.fill(layer.gate.shape, gate))
    batches = model.batches(log, catalog, batch_size)
    steps = batches.steps_per_epoch
    history = model.fit(
        batches.dataset(), steps_per_epoch=steps, epochs=epochs, shuffle=False, verbose=0
    )
    return model, catalog, history.history["loss"]


def test_what_is_served_is_what_a_batch_computes_of_all_neighbors(make):
    """With every neighbor in the batch, training's way and layer by layer are the same sum."""
    log = noise()
    keras.utils.set_random_seed(1)
    model, catalog = make(), Catalog.fit(log)
    model.adapt(log, catalog)
    whole = [
        {each.name: ImportantNeighbors(each.graph, 99) for each in model.graph.relations}
        for _ in range(2)
    ]
    rows = {
        t: np.arange(1, base.num_rows, dtype=np.int32) for t, base in model.encoder.bases.items()
    }
    subgraph = stream.expand(rows, whole, model.encoder.over, np.random.default_rng(0))
    vectors = model.encoder(tf.nest.map_structure(tf.constant, subgraph))
    np.testing.assert_allclose(
        model.embed_catalog(), vectors["item"][: catalog.num_items], atol=1e-5
    )
    if model.query_type == "user":
        served = model.query_tower({"user": tf.constant(rows["user"])})
        np.testing.assert_allclose(served, vectors["user"][: len(rows["user"])], atol=1e-5)


def test_a_node_left_alone_is_what_a_graph_without_edges_makes_of_it():
    log = noise()
    model, catalog = graph_sage(neighbor_dropout=0.5, own_dropout=0.0), Catalog.fit(log)
    model.adapt(log, catalog)
    for layer in sublayers(model.encoder):
        if isinstance(layer, Residual):
            layer.gate.assign(tf.ones_like(layer.gate))
    subgraph = model.batches(log, catalog, 64).at(0)["subgraph"]
    vectors = model.encoder(tf.nest.map_structure(tf.constant, subgraph))
    bare = [
        Relation(
            each.of,
            each.near,
            Graph.from_edges([], [], None, each.graph.num_nodes, each.graph.num_targets),
            each.name,
        )
        for each in model.graph.relations
    ]
    for of_type, last in model.encoder.over_all(TypedGraph(bare))[-1]["vectors"].items():
        (name,) = [each.name for each in model.graph.over(of_type)]
        seeds = subgraph["seeds"][of_type]
        alone = ~subgraph["layers"]["2"][name]["weight"].any(axis=1)[: len(seeds)]
        alone &= seeds < 2**31 - 1
        expected = model.encoder.finish(last)
        found = vectors[of_type].numpy()[: len(seeds)]
        np.testing.assert_allclose(found[alone], expected.numpy()[seeds[alone]], atol=1e-5)
        heard = ~alone & (seeds < 2**31 - 1)
        assert alone.sum() > 5 and heard.sum() > 5
        assert np.abs(found[heard] - expected.numpy()[seeds[heard]]).max(axis=1).min() > 1e-3


def test_a_node_shown_as_unknown_keeps_its_neighbors_and_is_not_left_alone():
    log = noise()
    settings = {"neighbor_dropout": 0.3, "own_dropout": 0.4}
    model, catalog = graph_sage(**settings), Catalog.fit(log)
    model.adapt(log, catalog)
    subgraph = model.batches(log, catalog, 64).at(0)["subgraph"]
    for of_type, seeds in subgraph["seeds"].items():
        (name,) = [each.name for each in model.graph.over(of_type)]
        seeds = seeds[seeds < 2**31 - 1]
        rows = subgraph["rows"][of_type][: len(seeds)]
        heard = subgraph["layers"]["2"][name]["weight"].any(axis=1)[: len(seeds)]
        unknown = rows != seeds
        assert not rows[unknown].any() and heard[unknown].all()
        assert 0.2 < unknown.mean() < 0.6 and 0.1 < np.mean(~heard) < 0.5
        assert np.mean(heard & ~unknown) > 0.1


def test_shares_of_different_nodes_are_at_most_all():
    with pytest.raises(ValueError, match="at most 1 together, not 0.8 and 0.3"):
        graph_sage(neighbor_dropout=0.8, own_dropout=0.3)


def test_batches_of_other_replicas_are_refused():
    log = noise()
    model, catalog = graph_sage(), Catalog.fit(log)
    model.adapt(log, catalog).compile()
    batch = GraphBatches(
        model.batches(log, catalog, 64)._pairs,
        model.neighbors(),
        model.encoder.over,
        lambda step: [],
        num_replicas=2,
    ).at(0)
    with pytest.raises(ValueError, match="these batches are of 2 replicas, not of 1: give fit the"):
        model(tf.nest.map_structure(tf.constant, batch))


def test_noise_cannot_be_learned_but_by_its_own_edges(make, monkeypatch):
    """Users who took items at random: a model that sees a row's positive among its neighbors finds
    it, the leak. The gates are open: in a few steps they would not. Several relations through a
    transformer learn little of it, and slowly.
    """
    model = {"loss": SampledSoftmax(0.2), "negatives": InBatch(), "neighbor_dropout": 0.0}
    rate, epochs = 0.01, 8
    if isinstance(make().positives, ItemPairs):
        model["positives"] = ItemPairs()  # side by side
    if isinstance(make(), MultiBiSage):
        rate, epochs = 0.003, 30

    def losses():
        keras.utils.set_random_seed(0)
        settings = {"gate": 1.0, "optimizer": LazyAdam(rate)}
        _, _, found = fitted(make(**model), noise(num=300), epochs, **settings)
        return found[0], found[-1]

    first, honest = losses()
    expand = stream.expand
    monkeypatch.setattr(stream, "expand", lambda *arguments, without: expand(*arguments))
    _, leaking = losses()
    assert leaking < honest - 0.1 * (first - leaking)


def test_it_learns_who_goes_with_whom(trained):
    model, catalog = trained
    service = Service.build(model, catalog)
    ids, _ = service.recommend(["u0", "u1", "u2", "u3"], k=10)
    own = [[int(item[1:]) % 4 == user for item in line] for user, line in enumerate(ids)]
    assert np.mean(own) > 0.9  # by chance 0.25
    ids, _ = service.similar(["i0", "i5", "i10", "i15"], k=10)
    assert np.mean([[int(item[1:]) % 4 == n for item in line] for n, line in enumerate(ids)]) > 0.9


def test_a_history_says_what_edges_would(of_clusters):
    """A user of the log's rows, asked as nobody with those items as history, comes near the vector
    of the graph; a vector of their own nobody has.
    """
    model, catalog = of_clusters(graph_sage)
    service = Service.build(model, catalog)
    taken = catalog.items.decode(catalog.seen.of(catalog.users.encode(["u6"])[0])).tolist()
    ids, _ = service.recommend(["nobody"], k=10, history=[taken])
    assert np.mean([int(item[1:]) % 4 == 2 for item in ids[0]]) > 0.9
    by_history = service.embed_query(["nobody"], history=[taken])[0]
    known, nobody = service.embed_query(["u6", "nobody"])
    assert by_history @ known > 0.6 and by_history @ known > nobody @ known + 0.1
    itself = service.embed_query(["u6"], history=[taken])[0]
    assert itself @ known > 0.99  # repeated items weigh more in the graph


def test_new_nodes_are_attached_and_found(trained):
    """An item that the model has never seen, taken now by users of cluster 1, and another with no
    edges at all.
    """
    log, (model, catalog) = clusters(), trained
    before = model.embed_catalog()
    users = np.flatnonzero(np.arange(NUM_USERS) % 4 == 1)
    fans = np.repeat(users, 2)
    new = np.where(
        np.arange(len(fans)) % 2, NUM_ITEMS, 4 * np.arange(len(fans)) % NUM_ITEMS // 4 * 4 + 1
    )
    old = log.frame["user_id"].str[1:].astype(int), log.frame["item_id"].str[1:].astype(int)
    grown = log_of(
        np.concatenate([old[0], fans, [99]]),
        np.concatenate([old[1], new, [NUM_ITEMS]]),
        NUM_ITEMS + 2,
    )
    attached, larger = model.attached(grown, catalog)
    assert larger.num_items == NUM_ITEMS + 2 and larger.users.size == catalog.users.size + 1
    np.testing.assert_array_equal(larger.items.ids[:NUM_ITEMS], catalog.items.ids)
    service = Service.build(attached, larger)
    ids, scores = service.similar([f"i{NUM_ITEMS}"], k=10)
    assert np.mean([int(item[1:]) % 4 == 1 for item in ids[0]]) > 0.8
    ids, _ = service.recommend([f"u{n}" for n in users], k=16)
    assert np.mean([f"i{NUM_ITEMS}" in line for line in ids]) > 0.5  # of 62 items
    assert np.isfinite(service.embed_item([f"i{NUM_ITEMS + 1}"])).all()
    np.testing.assert_array_equal(model.embed_catalog(), before)  # the first model is as it was
    for a, b in zip(model.trainable_variables, attached.trainable_variables, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_graph_of_memory_maps_is_as_good(tmp_path):
    log = clusters()
    catalog = Catalog.fit(log)
    maps = []
    for each in TypedGraph.user_item(log, catalog).relations:
        each.graph.save(tmp_path / each.name)
        maps.append(replace(each, graph=Graph.load(tmp_path / each.name)))
    vectors = []
    for graph in (None, TypedGraph(maps)):
        keras.utils.set_random_seed(0)
        model = graph_sage().adapt(log, catalog, graph)
        batch = model.batches(log, catalog, 64).at(3)
        vectors.append((model.embed_catalog(), *tf.nest.flatten(batch)))
    assert all(np.array_equal(a, b) for a, b in zip(*vectors, strict=True))


def test_a_saved_model_answers_without_its_graph(trained, tmp_path):
    model, catalog = trained
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.graph is None
    users = tf.range(catalog.users.size)
    np.testing.assert_array_equal(
        again.query_tower({"user": users}), model.query_tower({"user": users})
    )
    np.testing.assert_array_equal(again.embed_catalog(), model.embed_catalog())
    log = clusters()
    assert again.batches(log, catalog, 64).at(0)["subgraph"]["step"] == 0  # and goes on to learn


@pytest.mark.parametrize(
    "negatives",
    [
        Uniform(32),
        Mixture([InBatch(), Uniform(16), Uniform(8)]),
        EasyHard(Uniform(50), RankWindow(3, 2, 9), ratio=20),
    ],
    ids=["uniform", "mixture", "rank window"],
)
def test_what_a_sampler_will_draw_is_in_the_batch(negatives):
    model, catalog = (
        GraphSAGEI2I(item_tower(), None, 16, [5, 4], negatives=negatives),
        Catalog.fit(clusters()),
    )
    model.adapt(clusters(), catalog)
    batches = model.batches(clusters(), catalog, 64)
    for step in (0, 5):
        seeds = set(batches.at(step)["subgraph"]["seeds"]["item"])
        batch = batches.at(step)
        drawing = stream_batch(batch, lambda rows: tf.zeros([*rows.shape, 16]))
        rows = {
            int(row) for candidates in negatives.draw(drawing) for row in np.ravel(candidates.ids)
        }
        assert rows <= seeds and len(rows) > 3


def test_draws_for_many_steps_at_once_are_those_of_each_step():
    negatives = Mixture([InBatch(), Uniform(16), Popularity(8)])
    negatives.adapt(np.arange(50))
    drawn = ahead(negatives)
    for step in (40, 0, 15, 16, 33, 15):
        for one, other in zip(drawn(step), negatives.ahead(step), strict=True):
            np.testing.assert_array_equal(one, other)
    assert ahead(InBatch())(7) == []


def stream_batch(batch, embed):
    rows = tf.constant(batch["item"]["item"])
    vectors = embed(rows)
    return Batch(
        vectors,
        rows,
        vectors,
        embed,
        step=batch["subgraph"]["step"],
        negatives=batch.get("negatives"),
    )


def test_the_window_of_ranks_is_between_the_nearest_and_the_far():
    """A star of chains: walks from node 1 visit 2 more than 3, 3 more than 4, and so on."""
    chain = np.arange(1, 12)
    graph = Graph.from_edges(chain, chain + 1, None, 13)
    model = GraphSAGEI2I(
        item_tower(), negatives=EasyHard(Uniform(50), RankWindow(4, low=1, high=3), ratio=50)
    )
    model.hops = lambda train, catalog: [graph]
    catalog = Catalog.fit(noise())
    catalog.items.size = 13
    negatives = model._rank_window(None, catalog, 0)
    nodes = np.array([1, 4, 10, 11, 12])
    batch = {"query": {"item": nodes}, "item": {"item": nodes}}
    drawn = negatives(batch, np.random.default_rng(0))
    assert drawn.shape == (5, 4)
    assert set(drawn[0]) <= {3, 4} and set(drawn[1]) <= {6, 7}
    assert set(drawn[2]) == {12}  # after 11, which is left out, nothing else is visited
    assert not drawn[3].any() and not drawn[4].any()  # 11 leads to 12 alone, 12 nowhere


@pytest.mark.parametrize(
    "precision, jit_compile",
    [
        ("mixed_bfloat16", False),
        # by default `test_convolutions` trains what it is made of under XLA
        pytest.param("float32", True, marks=pytest.mark.slow),
    ],
)
def test_it_learns_in_half_precision_and_under_xla(precision, jit_compile):
    log, before = clusters(), keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        model, catalog, _ = fitted(graph_sage([5]), log, 6, jit_compile=jit_compile)
    finally:
        keras.config.set_dtype_policy(before)
    ids, _ = Service.build(model, catalog).recommend(["u0", "u1"], k=10)
    assert (
        np.mean([[int(item[1:]) % 4 == user for item in line] for user, line in enumerate(ids)])
        > 0.9
    )


@pytest.mark.slow
def test_walks_teach_without_labels():
    model, catalog, losses = fitted(graph_sage(positives=WalkPairs(num_walks=40)), clusters(), 10)
    ids, _ = Service.build(model, catalog).recommend(["u0", "u1"], k=10)
    assert (
        np.mean([[int(item[1:]) % 4 == user for item in line] for user, line in enumerate(ids)])
        > 0.8
    )


def test_what_does_not_fit_is_refused():
    log = noise()
    with pytest.raises(ValueError, match="SameGroup draws items that are not known"):
        graph_sage(negatives=EasyHard(InBatch(), SameGroup("genres"))).adapt(log, Catalog.fit(log))
    with pytest.raises(ValueError, match="fan_outs must name .* not \\[\\]"):
        GraphSAGE(FeatureTower("user", [Id(16)]), item_tower(), 16, [])
    with pytest.raises(ValueError, match="window must have 0 <= low < high"):
        RankWindow(low=5, high=5)
    with pytest.raises(ValueError, match="'multivalued_timestamp' comes with a request alone"):
        tower = FeatureTower("user", [Id(16), MultiValued("timestamp")])
        GraphSAGE(tower, item_tower()).adapt(log, Catalog.fit(log))
