"""The two halves against a slow factorization machine, by hand, and in what they must not learn."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.export.load import load
from tf_recall.export.write import save
from tf_recall.features import Buckets, Categorical, Id, MultiValued, Numeric, Timestamp
from tf_recall.losses import BPR
from tf_recall.models import TwoTower
from tf_recall.recommend.service import Service
from tf_recall.towers.fm import FMItemTower, FMQueryTower

FACTORS = 3
GENRES = [["war", "art"], ["art"], ["fun", "war", "art"], ["fun"], []]
PRICES = [1.0, 4.0, 2.0, np.nan, 9.0]
USERS = pd.DataFrame(
    {"user_id": ["u1", "u2", "u3"], "country": ["de", "ch", None], "age": [20, 40, 60]}
)
ITEMS = pd.DataFrame(
    {"item_id": list("abcde"), "genres": GENRES, "price": PRICES, "brand": list("xyxyz")}
)
LOG = Interactions.from_columns(
    user_id=["u1", "u1", "u2", "u3", "u3"], item_id=list("aabcd"), users=USERS, items=ITEMS
)


@pytest.fixture
def machine():
    """A machine of arbitrary weights: towers begin too small to tell one mistake from another."""
    keras.utils.set_random_seed(0)
    query = FMQueryTower(
        "user", [Id(), Categorical("country"), Buckets("age", num_buckets=3)], FACTORS
    )
    features = [Id(), MultiValued("genres"), Numeric("price"), Categorical("brand")]
    model = TwoTower(query, FMItemTower("item", features, FACTORS), loss=BPR()).adapt(
        LOG, Catalog.fit(LOG)
    )
    rng = np.random.default_rng(0)
    for weight in model.trainable_variables:
        weight.assign(rng.normal(size=weight.shape))
    return model


def said(tower, row):
    """What the active features of one row contribute, `[F, size]`, read from the tables one value
    at a time.
    """
    found = []
    for feature in tower.features:
        code = tower.tables[feature.name].numpy()[row]
        if isinstance(feature, Numeric):
            found.append(code[0] * tower.maps[feature.name].kernel.numpy()[0])
            continue
        table = feature.table.embeddings.numpy()
        values = (
            [value for value in code if value > 0] if isinstance(feature, MultiValued) else [code]
        )
        found.append(
            np.mean([table[value] for value in values], axis=0) if values else 0 * table[0]
        )
    return np.array(found)


def test_the_dot_product_is_the_whole_machine_up_to_a_constant_per_user(machine):
    users, items = tf.range(4), tf.range(6)  # the unknown ones too
    found = tf.matmul(
        machine.query_tower({"user": users}), machine.item_tower({"item": items}), transpose_b=True
    )
    full = np.zeros((4, 6))
    for user in range(4):
        own = said(machine.query_tower, user)
        for item in range(6):
            other = said(machine.item_tower, item)
            # the user's w may be anything
            weights = [
                *np.linspace(-2, 1, len(own)) * (user + 1),
                *other[:, 0],
            ]
            vectors = [*own, *other[:, 1:]]
            pairs = [vectors[i] @ vectors[j] for j in range(len(vectors)) for i in range(j)]
            full[user, item] = 0.5 + np.sum(weights) + np.sum(pairs)
    constant = full - found.numpy()
    np.testing.assert_allclose(constant, np.repeat(constant[:, :1], 6, axis=1), atol=1e-4)
    assert np.ptp(full, axis=1).min() > 1 and np.ptp(constant[:, 0]) > 1


def test_vectors_by_hand():
    item = FMItemTower("item", [Id(), Categorical("brand")], num_factors=2)
    item.adapt(LOG, Catalog.fit(LOG))
    a, z = item.features[0].table, item.features[1].table
    a.embeddings.assign([[0, 0, 0]] * 4 + [[7, 1, 2], [5, 0, 1]])  # first number w, then v
    z.embeddings.assign([[0, 0, 0], [3, 4, -1], [1, 1, 1]])
    rows, brands = tf.constant([4, 4]), tf.constant([1, 2])
    # w 7 + 3, v (1, 2).(4, -1) = 2, sum (5, 1);  w 7 + 1, v (1, 2).(1, 1) = 3, sum (2, 3)
    expected = [[12, 5, 1], [11, 2, 3]]
    inputs = {"item": rows, "categorical_brand": brands}
    assert item(inputs).numpy().tolist() == expected
    assert item.as_query(item(inputs)).numpy().tolist() == [[0, 5, 1], [0, 2, 3]]
    query = FMQueryTower("user", [Id()], num_factors=2)
    query.adapt(LOG, Catalog.fit(LOG))
    query.features[0].table.embeddings.assign([[0, 0], [1, 2], [3, 4], [5, 6]])
    assert query({"user": tf.constant([1, 3])}).numpy().tolist() == [[1, 1, 2], [1, 5, 6]]


def test_more_like_this_does_not_ask_how_popular(machine):
    vectors = machine.item_tower({"item": tf.range(6)})
    queries = machine.item_tower.as_query(vectors).numpy()
    # item 2 is suddenly liked by everybody
    popular = vectors.numpy() + [100, 0, 0, 0] * np.eye(6)[:, 2:3]
    np.testing.assert_allclose(queries @ popular.T, queries @ vectors.numpy().T, rtol=1e-5)


def test_scores_start_near_zero_and_every_weight_learns():
    query = FMQueryTower("user", [Id(unknown_rate=0), Numeric("age")])
    item = FMItemTower("item", [Id(unknown_rate=0), MultiValued("genres"), Timestamp("price")])
    catalog = Catalog.fit(LOG)
    query.adapt(LOG, catalog)
    item.adapt(LOG, catalog)
    with tf.GradientTape() as tape:
        pairs = {"user": tf.constant([1, 2, 3])}, {"item": tf.constant([1, 2, 3])}
        score = tf.reduce_sum(
            query(pairs[0], training=True) * item(pairs[1], training=True), axis=1
        )
        loss = tf.reduce_sum(tf.nn.softplus(-score) * [1.0, 2.0, 3.0])
    # three weights w, even in +-0.05, and V and the dot product of smaller numbers
    assert np.abs(score).max() < 0.7
    weights = [*query.trainable_variables, *item.trainable_variables]
    for weight, gradient in zip(
        weights, tape.gradient(loss, [w.value for w in weights]), strict=True
    ):
        # every column
        assert np.abs(tf.convert_to_tensor(gradient)).max(axis=0).min() > 0, weight.path


@pytest.fixture
def half_precision():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy(policy)


def test_half_precision_ends_in_float32(half_precision):
    item = FMItemTower("item", [Id(), Numeric("price")])
    item.adapt(LOG, Catalog.fit(LOG))
    assert item.features[0](tf.constant([1])).dtype == tf.float16
    assert item({"item": tf.range(6)}).dtype == tf.float32


def test_round_trips(machine, tmp_path):
    for tower in (machine.query_tower, machine.item_tower):
        again = type(tower).from_config(keras.saving.serialize_keras_object(tower)["config"])
        assert again.get_config() == tower.get_config()
        assert again.dim == tower.dim == FACTORS + 1
    machine.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.embed_catalog(), machine.embed_catalog())
    users = {"user": tf.range(4)}
    np.testing.assert_array_equal(again.embed_query(users), machine.embed_query(users))


@pytest.mark.slow
def test_requests_and_exports(machine, tmp_path):
    service = Service.build(machine, Catalog.fit(LOG))
    stored = service.embed_query(["u1", "u2", "new"])
    given = service.embed_query(
        ["u1", "u2", "new"], country=["", "de", "de"], age=[np.nan, np.nan, 20]
    )
    np.testing.assert_array_equal(given[0], stored[0])  # it says nothing
    assert np.abs(given[1:] - stored[1:]).max(axis=1).min() > 0.1
    known, country, age = (
        feature.table.embeddings.numpy() for feature in machine.query_tower.features
    )
    de, twenty = machine.query_tower.tables["categorical_country"].numpy()[1], 1
    np.testing.assert_allclose(given[2], [1, *(known[0] + country[de] + age[twenty])], rtol=1e-5)
    served = load(save(service, tmp_path / "fm"))
    np.testing.assert_allclose(
        served.embed_query(["new"], country="de", age=20), given[2:], rtol=1e-5
    )
    assert (
        served.recommend(["new"], 3, age=20)[0].tolist()
        == service.recommend(["new"], 3, age=20)[0].tolist()
    )


def test_errors():
    with pytest.raises(ValueError, match="num_factors must be at least 1, not 0"):
        FMItemTower("item", [Id()], num_factors=0)
    with pytest.raises(ValueError, match="one size, not 4 and 5"):
        TwoTower(FMQueryTower("user", [Id()], 3), FMItemTower("item", [Id()], 4))
