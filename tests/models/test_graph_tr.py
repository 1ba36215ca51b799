"""GraphTR: relations that only together know what a new item is; values as nodes; refusals."""

import keras
import numpy as np
import pandas as pd
import pytest

import tf_recall as tr
from tf_recall.features import Categorical, Id, MultiValued, Numeric, Text

BROAD = 48  # users who take items of a cluster whatever their brand; others are of one brand too
NUM_USERS, NUM_ITEMS = BROAD + 64, 160


def group(numbers):
    """Cluster and brand, four of each: only edges tell the cluster, only the table the brand."""
    return numbers % 4, numbers // 4 % 4


def log_of(users, items, num_items):
    table = {"item_id": [f"i{n}" for n in range(num_items)]}
    table |= {"brand": [f"b{group(n)[1]}" for n in range(num_items)]}
    table |= {"title": [f"Thing {'abcd'[group(n)[1]]}" for n in range(num_items)], "price": 1.0}
    ids = {"user_id": [f"u{n}" for n in users], "item_id": [f"i{n}" for n in items]}
    times = np.arange(len(users))
    return tr.Interactions.from_columns(**ids, timestamp=times, items=pd.DataFrame(table))


def planted(num=4000):
    rng = np.random.default_rng(0)
    users = rng.integers(0, NUM_USERS, num)
    cluster, brand = group(users)
    brand = np.where(users < BROAD, rng.integers(0, 4, num), brand)
    return users, cluster + 4 * brand + 16 * rng.integers(0, NUM_ITEMS // 16, num)


def model_of(attributes):
    keras.utils.set_random_seed(0)
    users, items = planted()
    log = log_of(users, items, NUM_ITEMS)
    towers = [tr.FeatureTower(side, [Id(16, unknown_rate=0.3)]) for side in ("user", "item")]
    catalog = tr.Catalog.fit(log)
    model = tr.GraphTR(*towers, attributes, dim=16, fan_outs=[5]).adapt(log, catalog)
    model.compile()
    batches = model.batches(log, catalog, 256)
    steps = batches.steps_per_epoch
    model.fit(batches.dataset(), steps_per_epoch=steps, epochs=12, verbose=0, shuffle=False)
    # one new item of each group, taken by broad users alone, and one that nobody took
    new = np.arange(NUM_ITEMS, NUM_ITEMS + 16)
    fans = np.concatenate([np.arange(n % 4, BROAD, 4) for n in new])
    users = np.concatenate([users, fans])
    items = np.concatenate([items, np.repeat(new, BROAD // 4)])
    return model.attached(log_of(users, items, NUM_ITEMS + 32), catalog)


def right(service, items):
    """The share of what is most like new items that is of their cluster and brand."""
    found, _ = service.similar([f"i{n}" for n in items], k=5)
    numbers = np.array([[int(item[1:]) for item in line] for line in found])
    return np.mean(numbers % 16 == np.asarray(items)[:, None] % 16)


@pytest.fixture(scope="module")
def both():
    return model_of([Categorical("brand", 8)])


@pytest.mark.slow
def test_one_relation_alone_fails_where_two_together_find(both):
    service = tr.Service.build(*both)
    taken, alone = np.arange(160, 176), np.arange(176, 192)
    assert right(service, taken) > 0.7  # by chance 1/16
    assert right(service, alone) < 0.45  # their brand is known, their cluster is not
    users_alone = tr.Service.build(*model_of([]))
    assert right(users_alone, taken) < 0.45  # their cluster is known, their brand is not


@pytest.mark.slow
def test_values_are_nodes_and_stay_as_the_graph_grows(both):
    model, catalog = both
    assert model.graph.sizes == {"user": 113, "item": 193, "brand": 5}
    brands = model.graph["item_brand"].graph
    assert (brands.degrees[1:] == 1).all() and brands.targets.max() == 4
    vocabulary = model.node_features[0].vocabulary
    rows = catalog.items.encode(["i3", "i4"])
    found = [vocabulary.ids[brands.targets[brands.offsets[row]] - 1] for row in rows]
    assert found == ["b0", "b1"]
    assert np.isfinite(model.embed_catalog()).all()  # of items without edges too
    with pytest.raises(ValueError, match="graph needs 'brand' of the item table, and the catalog"):
        log = tr.Interactions.from_columns(["a"], ["b"])
        model.make_graph(log, tr.Catalog.fit(log))


def test_lists_and_words_are_edges_too():
    table = {"item_id": ["a", "b", "c"], "tags": ["x|y", "y", ""]}
    table |= {"title": ["Tea set", "set of SETS", "tea"]}
    log = tr.Interactions.from_columns(
        ["u", "v", "u", "v"], ["a", "b", "b", "c"], items=pd.DataFrame(table)
    )
    catalog = tr.Catalog.fit(log)
    model = tr.GraphTR(node_features=[MultiValued("tags"), Text("title")], dim=4).adapt(
        log, catalog
    )

    def edges(name, feature):
        graph = model.graph[name].graph
        items = np.repeat(np.arange(graph.num_nodes), graph.degrees)
        values = feature.vocabulary.ids[graph.targets - 1]
        return set(zip(catalog.items.decode(items).tolist(), values.tolist(), strict=True))

    tags, title = model.node_features
    assert edges("item_tags", tags) == {("a", "x"), ("a", "y"), ("b", "y")}
    words = {("a", "tea"), ("a", "set"), ("b", "set"), ("b", "of"), ("b", "sets"), ("c", "tea")}
    assert edges("item_title", title) == words
    with pytest.raises(ValueError, match=r"columns of the item table, \['tags', 'title'\], got"):
        tr.GraphTR(node_features=[Categorical("color")]).adapt(log, catalog)


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="is a Categorical, MultiValued or Text, got Numeric"):
        tr.GraphTR(node_features=[Numeric("price")])
    with pytest.raises(ValueError, match="the column 'user' is called as the users'"):
        tr.GraphTR(node_features=[Categorical("user")])
    with pytest.raises(ValueError, match="fan_outs must name a number"):
        tr.GraphTR(fan_outs=[])
