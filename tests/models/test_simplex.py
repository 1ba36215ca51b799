"""SimpleX: what makes a query, for users known and unknown."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_recall as tr
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.features import Categorical, History, Id
from tf_recall.towers.blend import BlendTower
from tf_recall.towers.features import FeatureTower


@pytest.fixture(scope="module")
def world():
    split = tr.by_time(synthetic(150, 80, 4000, seed=1).interactions, test=0.1)
    return split, tr.Catalog.fit(split.train)


@pytest.fixture(scope="module")
def model(world):
    keras.utils.set_random_seed(0)
    split, catalog = world
    model = tr.SimpleX(dim=8, share=0.25, length=5).adapt(split.train, catalog)
    model.compile()
    batches = model.batches(split.train, catalog, batch_size=256)
    steps = batches.steps_per_epoch
    model.fit(batches.dataset(), steps_per_epoch=steps, epochs=2, verbose=0, shuffle=False)
    return model


def unit(vector):
    return vector / np.linalg.norm(vector)


def test_a_query_is_the_blend_that_the_formula_says(model, world):
    _, catalog = world
    own, history = model.query_tower.features
    items = model.embed_catalog()
    kernel = model.query_tower.dense.kernel.numpy()
    table = own.table.embeddings.numpy()
    for user in (1, 7):
        past = items[catalog.histories.of(user)[-5:] - 1].mean(axis=0)
        expected = unit(0.25 * table[user] + 0.75 * past @ kernel)
        found = model.embed_query({"user": tf.constant([user])}).numpy()[0]
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert history.items is model.item_tower


def test_a_stranger_is_their_history_alone(model, world):
    _, catalog = world
    service = tr.Service.build(model, catalog, k_max=20)
    items = catalog.items.ids[[3, 30]].tolist()
    vector = service.embed_query(["nobody"], history=items)[0]
    past = model.embed_catalog()[[3, 30]].mean(axis=0)
    expected = unit(past @ model.query_tower.dense.kernel.numpy())
    np.testing.assert_allclose(vector, expected, atol=1e-5)
    known = service.embed_query([catalog.users.ids[0]], history=items)[0]
    assert np.abs(known - vector).max() > 1e-3  # of a known user the own vector counts too


def test_a_history_is_near_its_own_items_before_anything_is_learned(world):
    split, catalog = world
    fresh = tr.SimpleX(dim=8).adapt(split.train, catalog)
    items = catalog.items.ids[[3, 30]].tolist()
    vector = tr.Service.build(fresh, catalog).embed_query(["nobody"], history=items)[0]
    expected = unit(fresh.embed_catalog()[[3, 30]].mean(axis=0))
    np.testing.assert_allclose(vector, expected, atol=1e-5)


@pytest.mark.parametrize(
    "features, message",
    [
        ([Id(4)], r"blends \[Id, History\], not \[Id\]"),
        ([History(4), Id(4)], r"not \[History, Id\]"),
        ([Id(4), Categorical("city")], r"not \[Id, Categorical\]"),
        ([Id(4), History(5)], r"one length, not of \[4, 5\]"),
    ],
)
def test_other_features_are_refused(features, message):
    with pytest.raises(ValueError, match=message):
        BlendTower("user", features)


def test_a_share_of_all_is_refused():
    with pytest.raises(ValueError, match="share must be from 0 to below 1, not 1"):
        BlendTower("user", [Id(4), History(items=FeatureTower("item", [Id(4)]))], share=1)
