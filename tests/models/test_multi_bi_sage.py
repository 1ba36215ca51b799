"""MultiBiSage: what connects items, stacks that do not mix, and graphs that know only together."""

from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest

import tf_recall as tr
from tf_recall.features import Id
from tf_recall.graph.bipartite import AttributeEdges, SessionEdges, UserEdges, WordEdges
from tf_recall.graph.csr import Graph
from tf_recall.graph.layerwise import layerwise
from tf_recall.graph.typed import Relation, TypedGraph
from tf_recall.towers.convolutions import PinSageConvolution
from tf_recall.towers.stacks import PartConvolution

BROAD = 48  # users who take items of a cluster whatever their brand; others are of one brand too
NUM_USERS, NUM_ITEMS = BROAD + 64, 160


def log_of(users, items, num_items):
    """Only edges tell the cluster of an item, n % 4, and only the table its brand, n // 4 % 4."""
    table = pd.DataFrame({"item_id": [f"i{n}" for n in range(num_items)]})
    table["brand"] = [f"b{n // 4 % 4}" for n in range(num_items)]
    ids = {"user_id": [f"u{n}" for n in users], "item_id": [f"i{n}" for n in items]}
    return tr.Interactions.from_columns(**ids, timestamp=np.arange(len(users)), items=table)


def planted(num=4000):
    rng = np.random.default_rng(0)
    users = rng.integers(0, NUM_USERS, num)
    brand = np.where(users < BROAD, rng.integers(0, 4, num), users // 4 % 4)
    return users, users % 4 + 4 * brand + 16 * rng.integers(0, NUM_ITEMS // 16, num)


def service_of(relations, epochs):
    """Of a model on a graph that has a new item of each group, taken by broad users alone."""
    keras.utils.set_random_seed(0)
    users, items = planted()
    log = log_of(users, items, NUM_ITEMS)
    tower = tr.FeatureTower("item", [Id(16, unknown_rate=0.3)])
    catalog = tr.Catalog.fit(log)
    model = tr.MultiBiSage(tower, relations, 16, 32, num_neighbors=20, num_walks=30)
    model.adapt(log, catalog).compile(optimizer=tr.LazyAdam(0.01))
    batches = model.batches(log, catalog, 256)
    steps = batches.steps_per_epoch
    model.fit(batches.dataset(), steps_per_epoch=steps, epochs=epochs, verbose=0, shuffle=False)
    new = np.arange(NUM_ITEMS, NUM_ITEMS + 16)
    users = np.concatenate([users, *(np.arange(n % 4, BROAD, 4) for n in new)])
    items = np.concatenate([items, np.repeat(new, BROAD // 4)])
    return tr.Service.build(*model.attached(log_of(users, items, NUM_ITEMS + 16), catalog))


def right(service):
    """The share of what is most like new items that is of their cluster and brand."""
    new = np.arange(NUM_ITEMS, NUM_ITEMS + 16)
    found, _ = service.similar([f"i{n}" for n in new], k=5)
    numbers = np.array([[int(item[1:]) for item in line] for line in found])
    return np.mean(numbers % 16 == new[:, None] % 16)


@pytest.mark.slow
def test_one_relation_alone_fails_where_two_together_find():
    users, brands = UserEdges(), AttributeEdges("brand")
    assert right(service_of([users, brands], epochs=25)) > 0.65  # by chance 1/16
    assert right(service_of([users], epochs=15)) < 0.45  # the cluster is known, the brand is not


@pytest.mark.slow
def test_brands_alone_do_not_find_the_cluster():
    assert right(service_of([AttributeEdges("brand")], epochs=15)) < 0.45


TABLE = {"item_id": ["a", "b", "c"], "tags": ["x|y", "y", ""], "year": [1999, 1999, None]}
TABLE |= {"title": ["Tea set", "set of SETS", None]}
LOG = tr.Interactions.from_columns(
    ["u", "u", "v", "u", "v"],
    ["a", "b", "b", "c", "b"],
    timestamp=[0, 10, 0, 9000, 5000],
    items=pd.DataFrame(TABLE),
)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (UserEdges(), {("a", "b"), ("a", "c"), ("b", "c")}),
        (AttributeEdges("tags"), {("a", "b")}),
        (AttributeEdges("tags", separator=","), set()),
        (AttributeEdges("year"), {("a", "b")}),
        (WordEdges("title"), {("a", "b")}),
        (SessionEdges(), {("a", "b")}),
        (SessionEdges(tr.ByUser()), {("a", "b"), ("a", "c"), ("b", "c")}),
    ],
)
def test_what_connects_items_by_hand(part, expected):
    catalog = tr.Catalog.fit(LOG)
    there, back = part.hops(LOG, catalog)
    assert there.num_nodes == catalog.items.size == back.num_targets
    found = set()
    for row in range(1, catalog.items.size):
        for other in there.targets[there.offsets[row] : there.offsets[row + 1]]:
            near = back.targets[back.offsets[other] : back.offsets[other + 1]]
            pairs = catalog.items.decode([[row, each] for each in near]).reshape(-1, 2)
            found |= {(one, two) for one, two in pairs.tolist() if one < two}
    assert found == expected


def test_stacks_do_not_mix():
    """Other edges of one relation change nothing of what the other aggregates, layers later."""
    catalog = tr.Catalog.fit(LOG)
    model = tr.MultiBiSage(relations=[UserEdges(), AttributeEdges("tags")], dim=4, num_layers=3)
    model.adapt(LOG, catalog)
    user, tags = model.graph.relations
    none = Graph(np.zeros(5, np.int64), np.zeros(0, np.int32))
    other = TypedGraph([user, replace(tags, graph=none)])
    one, two = (model.encoder.over_all(graph)[-1]["pooled"] for graph in (model.graph, other))
    np.testing.assert_array_equal(one["user"], two["user"])
    assert np.abs(one["attribute_tags"] - two["attribute_tags"]).max() > 1e-6
    assert np.isfinite(model.embed_catalog()).all()  # c has no tag


def test_a_convolution_of_some_numbers_is_that_of_these_numbers():
    rng = np.random.default_rng(0)
    inner = PinSageConvolution(3, 5)
    graph = Graph.from_edges([1, 1, 2], [2, 3, 1], [1, 2, 3], 4)
    graph = TypedGraph([Relation("item", "item", graph)])
    vectors = rng.normal(size=(4, 7)).astype(np.float32)
    part = PartConvolution(inner, start=2, size=4)
    assert part.additive
    found = layerwise({"item": vectors}, [{"item_item": part}], graph)[0]["vectors"]["item"]
    own = {"item": vectors[:, 2:6]}
    expected = layerwise(own, [{"item_item": inner}], graph)[0]["vectors"]["item"]
    np.testing.assert_array_equal(found, expected)
    again = PartConvolution.from_config(part.get_config())
    assert again.get_config() == part.get_config()
    with pytest.raises(ValueError, match="vectors have 5 numbers, and 2 to 6 are to be read"):
        PartConvolution(PinSageConvolution(3, 5), 2, 4).build((None, 5), (None, None, 7))


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"names that differ, got \['user', 'user'\]"):
        tr.MultiBiSage(relations=[UserEdges(), UserEdges()])
    with pytest.raises(ValueError, match=r"one or more with names that differ, got \[\]"):
        tr.MultiBiSage(relations=[])
    with pytest.raises(ValueError, match=r"no column 'color' to connect items by; it has \['tags'"):
        tr.MultiBiSage(relations=[AttributeEdges("color")]).adapt(LOG, tr.Catalog.fit(LOG))
