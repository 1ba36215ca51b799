"""Means over what is known: by hand, against a slow twin, for items that training has not seen."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tf_recall.data.catalog import Catalog
from tf_recall.data.histories import Histories
from tf_recall.data.interactions import Interactions
from tf_recall.data.vocabulary import Vocabulary
from tf_recall.export.load import load
from tf_recall.export.write import save
from tf_recall.features import (
    Buckets,
    Categorical,
    Id,
    LogNumeric,
    MultiValued,
    Numeric,
    Pretrained,
    Text,
    Timestamp,
)
from tf_recall.models import TwoTower
from tf_recall.recommend.service import Service
from tf_recall.towers.side_info import MeanTower, WeightedTower

ITEMS = Vocabulary(["a", "b", "c", "cold", "blank"], [5, 2, 1, 0, 0])
TABLE = pd.DataFrame(
    {"brand": ["x", "y", None, "x", "new"], "genres": ["p|q", None, "q", "q", None]}
)
KNOWN = [  # id, brand, genres, for the unknown row 0 and the five items
    [False, False, False],
    [True, True, True],
    [True, True, False],
    [True, False, True],
    [False, True, True],
    [False, False, False],
]
TRAIN = Interactions.from_columns(user_id=["u"], item_id=["a"])


def catalog(items=ITEMS, table=TABLE):
    """A catalog of made-up items and of no users."""
    histories = Histories(np.zeros(2, np.int64), np.zeros(0, np.int32))
    return Catalog(Vocabulary.fit([]), items, pd.DataFrame(), table, histories)


def tower(kind, dim=3, **kwargs):
    """A tower of arbitrary weights."""
    features = [Id(dim, unknown_rate=0), Categorical("brand", dim), MultiValued("genres", dim)]
    item = kind("item", features, normalize=False, **kwargs)
    item.adapt(TRAIN, catalog())
    rng = np.random.default_rng(0)
    for weight in item.trainable_variables:
        weight.assign(rng.normal(size=weight.shape))
    return item


def twin(item, row, weights):
    """The formula of `WeightedTower`, a feature at a time."""
    id_, brand, genres = (feature.table.embeddings.numpy() for feature in item.features)
    named = [value for value in item.tables["multivalued_genres"].numpy()[row] if value]
    vectors = [
        id_[row],
        brand[item.tables["categorical_brand"].numpy()[row]],
        sum(genres[value] for value in named) / max(len(named), 1),
    ]
    terms = [
        (np.exp(a), vector)
        for a, vector, known in zip(weights, vectors, KNOWN[row], strict=True)
        if known
    ]
    return (
        sum(a * vector for a, vector in terms) / sum(a for a, _ in terms)
        if terms
        else np.zeros(item.dim)
    )


@pytest.mark.parametrize("kind", [MeanTower, WeightedTower])
def test_agrees_with_a_slow_twin(kind):
    item = tower(kind)
    found = item({"item": tf.range(6)}).numpy()
    for row in range(6):
        weighed = kind is WeightedTower and row in (1, 2, 3)  # seen in training
        weights = 0.1 * item.weigh.embeddings.numpy()[row] if weighed else np.zeros(3)
        np.testing.assert_allclose(found[row], twin(item, row, weights), rtol=1e-5, atol=1e-6)
    assert found[[0, 5]].tolist() == [[0, 0, 0]] * 2  # nothing is known
    unit = kind.from_config({**item.get_config(), "normalize": True})
    unit.adapt(TRAIN, catalog())
    np.testing.assert_allclose(
        np.linalg.norm(unit({"item": tf.range(6)}), axis=1), [0, 1, 1, 1, 1, 0], rtol=1e-5
    )


def test_weights_by_hand():
    item = tower(WeightedTower, dim=2)
    for feature, vector in zip(item.features, ([1, 0], [0, 1], [5, 5]), strict=True):
        feature.table.embeddings.assign(np.tile(vector, (feature.table.num_rows, 1)))
    item.weigh.embeddings.assign(
        [[0, 9, 0], [0, 0, 0], [10 * np.log(3), 0, 7], [0, 0, 0], [0, 9, 0], [0, 0, 0]]
    )
    # a: (1+0+5)/3, (0+1+5)/3;  b: shares 3/4 and 1/4, no genres;  c: (1+5)/2, 5/2;  cold: the mean,
    # brand and genres
    expected = [[0, 0], [2, 2], [0.75, 0.25], [3, 2.5], [2.5, 3], [0, 0]]
    np.testing.assert_allclose(item({"item": tf.range(6)}), expected, rtol=1e-6)


def test_begins_as_the_mean():
    keras.utils.set_random_seed(0)
    weighted = WeightedTower("item", [Id(3), Categorical("brand", 3)], normalize=False)
    weighted.adapt(TRAIN, catalog())
    mean = MeanTower("item", weighted.features, normalize=False)
    mean.tables, mean.num_rows, mean.built = weighted.tables, 6, True
    rows = {"item": tf.range(6)}
    np.testing.assert_allclose(weighted(rows), mean(rows), rtol=1e-6)
    assert np.abs(weighted(rows)).max(axis=1).tolist()[1:4] > [0] * 3


def test_only_weights_of_items_seen_learn_and_by_row():
    item = tower(WeightedTower)
    item.weigh.embeddings.assign(np.zeros((6, 3)))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(
            item({"item": tf.constant([1, 4, 0, 2])}, training=True) * [1.0, 2.0, -3.0]
        )
    gradient = tape.gradient(loss, item.weigh.embeddings.value)
    assert isinstance(gradient, tf.IndexedSlices) and gradient.indices.numpy().tolist() == [
        1,
        4,
        0,
        2,
    ]
    moved = gradient.values.numpy() != 0
    assert moved.tolist() == [[True] * 3, [False] * 3, [False] * 3, [True, True, False]]


def test_an_id_shown_as_unknown_takes_no_part():
    item = MeanTower("item", [Id(2, unknown_rate=0.5), Categorical("brand", 2)], normalize=False)
    items = Vocabulary([f"i{at}" for at in range(400)], [1] * 400)
    item.adapt(TRAIN, catalog(items, pd.DataFrame({"brand": ["x"] * 400})))
    # row 0 too: it must not be read
    item.features[0].table.embeddings.assign(np.tile([7, 7], (401, 1)))
    item.features[1].table.embeddings.assign([[0, 0], [1, 1]])
    found = item({"item": tf.range(1, 401)}, training=True).numpy()[:, 0]
    assert set(found) == {1, 4} and abs((found == 1).mean() - 0.5) < 0.1  # deviation 0.025
    assert set(item({"item": tf.range(1, 401)}).numpy()[:, 0]) == {4}


@pytest.mark.parametrize(
    "feature, column, expected",
    [
        (Categorical("x"), ["a", None, "new"], [True, False, False]),
        (MultiValued("x"), ["b|a", None, "new"], [True, False, False]),
        (Text("x"), ["A b!", None, "new"], [True, False, False]),
        (Buckets("x", num_buckets=2), [1.0, None, 99.0], [True, False, True]),
        (Numeric("x"), [1.0, None, 99.0], [True, True, True]),
        (LogNumeric("x"), [1.0, None, 99.0], [True, True, True]),
        (Timestamp("x"), [1.0, None, 99.0], [True, True, True]),
        (Pretrained("x"), [[0.0, 1.0], None, [2.0, -2.0]], [True, False, True]),
    ],
)
def test_what_each_feature_calls_known(feature, column, expected):
    raw = feature.to_raw(column)
    feature.adapt(raw[:2])
    assert feature.known(feature.encode_column(raw)).numpy().tolist() == expected


def test_the_id_known_is_one_seen_in_training():
    feature = Id(2)
    feature.build_from_config({"num_rows": 3})
    assert feature.known(tf.constant([0, 2])).numpy().tolist() == [False, True]


@pytest.mark.slow
def test_saved_served_and_asked_about_a_new_item(tmp_path):
    table = TABLE.assign(item_id=ITEMS.ids)
    log = Interactions.from_columns(
        user_id=["u1", "u1", "u2"], item_id=["a", "b", "c"], items=table
    )
    catalog = Catalog.fit(log)
    features = [Id(3), Categorical("brand", 3), MultiValued("genres", 3)]
    towers = (
        MeanTower("user", [Id(3)], normalize=False),
        WeightedTower("item", features, normalize=False),
    )
    model = TwoTower(*towers).adapt(log, catalog)
    for weight in model.trainable_variables:
        weight.assign(np.random.default_rng(1).normal(size=weight.shape))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.embed_catalog(), model.embed_catalog())
    assert again.item_tower.get_config() == model.item_tower.get_config()

    service = Service.build(model, catalog)
    asked = {"item_id": ["new", "a", "a"], "brand": ["y", "", "y"], "genres": ["", "", "p|q"]}
    found = service.embed_item(**asked)
    np.testing.assert_allclose(
        found[0], model.item_tower.features[1].table.embeddings.numpy()[2], rtol=1e-5
    )
    np.testing.assert_allclose(found[1], service.embed_item(["a"])[0], rtol=1e-5)
    assert np.abs(found[2] - found[1]).max() > 0.1  # the brand given overrides the one stored
    np.testing.assert_allclose(
        load(save(service, tmp_path / "m")).embed_item(**asked), found, rtol=1e-5
    )


def test_half_precision_ends_in_float32():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        item = tower(WeightedTower)
    finally:
        keras.config.set_dtype_policy(policy)
    assert item.features[0](tf.constant([1])).dtype == tf.float16
    found = item({"item": tf.range(6)})
    assert found.dtype == tf.float32 and np.isfinite(found).all()


def test_errors():
    with pytest.raises(ValueError, match="one dim, and have {'id': 4, 'text_title': 8}"):
        MeanTower("item", [Id(4), Text("title", 8)])
    item = WeightedTower("item", [Id(4), Numeric("price")])
    with pytest.raises(ValueError, match="one dim, and have {'id': 4, 'numeric_price': 1}"):
        item.adapt(TRAIN, catalog(table=pd.DataFrame({"price": [1, 2, 3, 4, 5]})))
    with pytest.raises(ValueError, match="needs features"):
        MeanTower("item", [])
    # before the picture's length is known
    assert MeanTower("item", [Pretrained("picture"), Id(4)]).dim == 4
