"""What every pooling of the registry keeps to: it never sees the candidate, nor what is padding."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_recall as tr
from tf_recall.data import notation
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.features import Categorical, History, Text
from tf_recall.registry import REGISTRY, part

PARTS = notation.read((Path(__file__).parents[1] / "parts.yaml").read_text(), "parts.yaml")


@pytest.fixture(scope="module")
def world():
    log = synthetic(60, 40, 900, seed=1).interactions
    users = log.users.assign(gender=np.arange(len(log.users)) % 2)
    frame = log.frame.assign(search=[f"word{n % 5}" for n in range(len(log.frame))])
    train = tr.Interactions(frame, items=log.items, users=users)
    return train, tr.Catalog.fit(train)


def queries(model, batch):
    return model.encode(tf.nest.map_structure(tf.constant, batch), training=True).query.numpy()


def check_blind(model, world):
    """Another candidate, and other vectors of the candidates, move no query."""
    train, catalog = world
    model.adapt(train, catalog)
    batch = model.batches(train, catalog, batch_size=256).at(0)
    before = queries(model, batch)
    other = {**batch, "item": {"item": batch["item"]["item"][::-1].copy()}}
    np.testing.assert_array_equal(queries(model, other), before)
    table = model.item_tower.features[0].table.embeddings
    moved = 0
    for row, candidate in enumerate(batch["item"]["item"][:3]):
        old = table[candidate]
        assert candidate not in batch["query"]["history"][row]
        table.assign(tf.tensor_scatter_nd_add(table.value, [[candidate]], [10 * tf.ones(8)]))
        found = queries(model, batch)
        np.testing.assert_array_equal(found[row], before[row])
        moved += (found != before).any()  # of rows that have it in their past
        table.assign(tf.tensor_scatter_nd_update(table.value, [[candidate]], [old]))
    assert moved


@pytest.mark.parametrize("name", REGISTRY["pooling"])
def test_no_pooling_sees_the_candidate(name, world):
    keras.utils.set_random_seed(0)
    pooling = part("pooling", {"name": name, **PARTS["pooling"][name]})
    features = [Categorical("gender", 3), Text("search", 4)]
    check_blind(tr.YouTubeDNN(dim=8, length=6, pooling=pooling, features=features), world)


def test_nor_does_sdm(world):
    keras.utils.set_random_seed(0)
    attributes = [Categorical("genres", 4)]
    features = [Categorical("gender", 3), Text("search", 4)]
    check_blind(tr.SDM(8, features, attributes, session=3, length=6), world)


@pytest.mark.parametrize("name", REGISTRY["pooling"])
def test_padding_in_front_changes_nothing(name):
    rng = np.random.default_rng(0)
    pooling = part("pooling", {"name": name, **PARTS["pooling"][name]})
    vectors = rng.normal(size=(3, 4, 5)).astype(np.float32)
    given = [] if pooling.asks is None else [tf.constant(rng.normal(size=(3, 2)), tf.float32)]
    valid = np.ones([3, 4], bool)
    pooling.build((None, 6, 5), (None, 6), *[(None, 2) for _ in given])
    found = pooling(tf.constant(vectors), tf.constant(valid), *given)
    assert found.shape == (3, pooling.dim(5))
    wide = np.concatenate([np.full([3, 2, 5], 1e3, np.float32), vectors], axis=1)
    padded = np.pad(valid, [[0, 0], [2, 0]])
    again = pooling(tf.constant(wide), tf.constant(padded), *given)
    np.testing.assert_allclose(again, found, rtol=1e-5, atol=1e-5)
    nothing = pooling(tf.constant(wide), tf.constant(np.zeros_like(padded)), *given)
    np.testing.assert_array_equal(nothing, np.zeros_like(found))


def test_items_with_features_of_every_kind_are_a_history_too(world):
    """Side columns come through the item tower, whatever pools them."""
    train, catalog = world
    items = tr.FeatureTower(
        "item",
        [tr.features.Id(8), Categorical("genres", 4), Text("title"), tr.features.Numeric("year")],
        units=[8],
    )
    history = History(length=6, pooling=tr.features.ProfileAttention(), items=items)
    model = tr.TwoTower(tr.FeatureTower("user", [history, tr.features.Id(4)], units=[8]), items)
    model.adapt(train, catalog).compile()
    batches = model.batches(train, catalog, batch_size=64)
    model.fit(batches.dataset(), steps_per_epoch=3, verbose=0, shuffle=False)
    service = tr.Service.build(model, catalog, k_max=5)
    ids = service.recommend(["nobody"], 5, history=[catalog.items.ids[3]])[0]
    assert (ids != "").all()
