"""Towers of several interests: what makes their vectors, and what is there without a history."""

import numpy as np
import pytest
import tensorflow as tf

import tf_recall as tr
from tf_recall.features import History, Id, InterestAttention, MeanPooling
from tf_recall.towers.features import FeatureTower
from tf_recall.towers.interests import InterestTower

LOG = tr.Interactions.from_columns(
    user_id=list("uuuvvw"), item_id=list("abcadb"), timestamp=[1, 2, 3, 1, 2, 1]
)
CATALOG = tr.Catalog.fit(LOG)


def made(*profile, **kwargs):
    """An adapted tower of two interests, whose weights are of no default."""
    history = History(3, length=4, pooling=InterestAttention(2))
    tower = InterestTower("user", [history, *profile], **kwargs)
    tower.adapt(LOG, CATALOG)
    rng = np.random.default_rng(0)
    for weight in tower.trainable_variables:
        weight.assign(rng.standard_normal(weight.shape))
    return tower


def test_each_interest_and_the_profile_go_through_one_mlp():
    tower = made(Id(2, unknown_rate=0), units=[5, 3])
    assert (tower.interests, tower.dim, tower.width) == (2, 3, 5)
    users = {"user": tf.constant([1, 2, 0])}
    history, profile = (each.numpy() for each in tower.vectors(users))
    assert history.shape == (3, 6)
    (one, two), found = tower.dense, tower(users).numpy()
    for user in range(3):
        for k in range(2):
            x = np.concatenate([history[user, 3 * k : 3 * k + 3], profile[user]])
            hidden = np.maximum(x @ one.kernel.numpy() + one.bias.numpy(), 0)
            x = hidden @ two.kernel.numpy() + two.bias.numpy()
            np.testing.assert_allclose(found[user, k], x / np.linalg.norm(x), rtol=1e-4)


def test_without_a_history_every_interest_is_learned():
    tower = made()
    found = tower(tower.inputs_from_raw(tf.constant([0]), {}, tf.zeros([1, 0], tf.int32))).numpy()
    empty = tower.features[0].empty.numpy().reshape(2, 3)
    expected = empty / np.linalg.norm(empty, axis=1, keepdims=True)
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tower({"user": tf.constant([0])}) ** 3)
    assert (tape.gradient(loss, tower.features[0].empty.value).numpy() != 0).all()


def test_the_newest_are_kept_and_the_unknown_skipped():
    tower = made()

    def vectors(history):
        return tower(tower.inputs_from_raw(tf.constant([0]), {}, tf.constant([history]))).numpy()

    expected = vectors([1, 2, 3, 4])
    np.testing.assert_array_equal(vectors([3, 3, 1, 2, 3, 4]), expected)
    np.testing.assert_array_equal(vectors([1, 0, 2, 3, 0, 4, 0]), expected)
    assert (vectors([4, 3, 2, 1]) != expected).any()  # places matter


def test_shares_are_of_the_items_of_the_request():
    tower = made()
    rows, weight = tower.shares(tower.inputs_from_raw(tf.constant([0]), {}, tf.constant([[2, 4]])))
    assert rows.numpy().tolist() == [[0, 0, 2, 4]]
    assert not weight.numpy()[:, :, :2].any()
    np.testing.assert_allclose(weight.numpy().sum(2), [[1, 1]], rtol=1e-6)


def test_dropout_draws_anew_for_each_interest():
    tower = made(dropout=0.5, seed=3)
    history = tower.features[0].empty
    history.assign(tf.tile(history[:3], [2]))  # two equal interests
    one = tower({"user": tf.zeros([40], tf.int32)}, training=True).numpy()[0]
    assert (one[0] != one[1]).any()
    two = tower({"user": tf.zeros([40], tf.int32)}).numpy()[0]
    np.testing.assert_allclose(two[0], two[1], rtol=1e-6)


def test_it_grows_with_the_catalog():
    tower = made(Id(2))
    more = tr.Interactions.from_columns(user_id=list("xxu"), item_id=list("abd"))
    catalog = CATALOG.grown(more)
    grown = tower.grown(more, catalog)
    assert grown.interests == 2 and grown.num_rows == catalog.users.size
    assert grown({"user": tf.range(grown.num_rows)}).shape == [5, 2, 5]


def test_errors():
    for features in ([Id(4)], [History(4, pooling=MeanPooling())], [Id(2), History(4)]):
        with pytest.raises(ValueError, match="begins with a History whose pooling makes several"):
            InterestTower("user", features)
    with pytest.raises(ValueError, match="an item has one vector, and this item tower gives 2"):
        tower = InterestTower("user", [History(4, pooling=InterestAttention(2))])
        tr.TwoTower(tower, tower)
    with pytest.raises(ValueError, match="the towers must end in one size, not 4 and 5"):
        tower = InterestTower("user", [History(4, pooling=InterestAttention(2))])
        tr.TwoTower(tower, FeatureTower("item", [Id(5)]))


def test_one_interest_is_one_vector():
    tower = InterestTower("user", [History(3, pooling=InterestAttention(1))])
    tower.adapt(LOG, CATALOG)
    assert tower.interests == 1 and tower({"user": tf.range(3)}).shape == [3, 3]


def test_any_other_tower_takes_the_interests_as_one_long_vector():
    tower = FeatureTower("user", [History(3, pooling=InterestAttention(2))], units=[4])
    tower.adapt(LOG, CATALOG)
    assert tower.interests == 1 and tower({"user": tf.range(3)}).shape == [3, 4]
