"""Towers that read histories in order: no place sees a later one, and training is serving."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_recall as tr
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.features import Id
from tf_recall.features.embedding import static_shapes
from tf_recall.towers.attention import AttentionTower
from tf_recall.towers.dropout import PlaceDropout
from tf_recall.towers.recurrent import RecurrentTower

KINDS = [AttentionTower, RecurrentTower]


@pytest.fixture(scope="module")
def world():
    log = synthetic(60, 50, 1200, seed=1).interactions
    return log, tr.Catalog.fit(log)


@pytest.fixture(scope="module", params=KINDS)
def tower(request, world):
    keras.utils.set_random_seed(0)
    tower = request.param(tr.FeatureTower("item", [Id(8)]), length=6, dropout=0.3)
    tower.adapt(*world)
    return tower


def packed_of(world, tower, batch_size=200):
    return tr.Sequences().batches(*world, tower.needs(), batch_size).at(0)["query"]


def test_training_on_packed_rows_is_what_serving_computes(tower, world):
    query = packed_of(world, tower)
    trained = tower(tf.nest.map_structure(tf.constant, query)).numpy()
    history, place = query["history"].ravel(), query["place"].ravel()
    served = np.zeros((len(trained), 9), np.int32)  # wider than the tower's length
    for row, at in enumerate(query["at"]):
        if at < len(history):
            past = history[at - place[at] : at + 1]
            served[row, 9 - len(past) :] = past
    rows = {"user": tf.zeros([len(served)], tf.int32), "history": tf.constant(served)}
    np.testing.assert_allclose(tower(rows).numpy(), trained, atol=2e-6)
    with static_shapes(True):
        np.testing.assert_allclose(tower(rows).numpy(), trained, atol=2e-6)
    assert len(np.unique(trained.round(4), axis=0)) > 100


def test_no_place_sees_a_later_one_or_another_history(tower):
    """Two histories in a row: whichever item changes, it moves its own place and those behind."""
    items, place = np.array([[3, 4, 5, 6, 7, 0]]), np.array([[0, 1, 2, 0, 1, 0]])

    def vectors(items):
        given = {"history": items, "place": place, "at": np.arange(6)}
        given = {name: tf.constant(each, tf.int32) for name, each in given.items()}
        return tower(given).numpy()

    before = vectors(items)
    for at, moves in enumerate([[0, 1, 2], [1, 2], [2], [3, 4], [4]]):
        changed = items.copy()
        changed[0, at] = 30
        moved = np.abs(vectors(changed) - before).max(axis=1) > 1e-5
        assert np.flatnonzero(moved).tolist() == moves


def test_the_newest_are_kept_unknown_ones_skipped_and_an_empty_history_has_its_vector(tower):
    def served(history):
        rows = tf.zeros([1], tf.int32)
        return tower(tower.inputs_from_raw(rows, {}, tf.constant([history], tf.int32))).numpy()[0]

    long = [9, 8, 1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(served(long), served(long[-6:]), atol=1e-6)
    np.testing.assert_allclose(served([0, 4, 0, 0, 7]), served([4, 7]), atol=1e-6)
    assert np.abs(served([4, 7]) - served([7, 4])).max() > 1e-3  # order counts
    empty = tower.empty.numpy() / np.linalg.norm(tower.empty.numpy())
    np.testing.assert_allclose(served([0, 0]), empty, atol=1e-6)


@pytest.mark.parametrize("count", [0, 2, 5, 6])
def test_many_histories_are_read_in_pieces_each_as_one_alone(tower, monkeypatch, count):
    monkeypatch.setattr("tf_recall.towers.sequence.PIECE", 2)
    lengths = np.array([1, 6, 0, 2, 5, 3])[:count]
    history = np.arange(1, 37).reshape(6, 6)[:count] * (np.arange(6) >= 6 - lengths[:, None])
    rows, history = tf.zeros([count], tf.int32), tf.constant(history, tf.int32)

    @tf.function(autograph=False)
    def served(rows, history):
        return tower({"user": rows, "history": history})

    vectors = served(rows, history)
    assert vectors.shape == (count, 8)
    for at in range(count):
        one = tower({"user": rows[:1], "history": history[at : at + 1]})
        np.testing.assert_allclose(vectors[at], one[0], atol=2e-6)


def test_one_block_by_hand(world):
    """A slow twin in NumPy of one block with two heads, place by place."""
    keras.utils.set_random_seed(1)
    tower = AttentionTower(tr.FeatureTower("item", [Id(4)]), length=5, blocks=1, heads=2, units=6)
    tower.adapt(*world)
    for weight in tower.trainable_variables[2:]:
        weight.assign(np.random.default_rng(2).normal(size=weight.shape) / 2)
    items = [7, 3, 9]

    def norm(x, layer):
        gamma, beta = (np.array(each) for each in layer.weights)
        return (x - x.mean()) / np.sqrt(x.var() + 1e-6) * gamma + beta

    vectors = tower.item_tower({"item": tf.constant(items)}).numpy()
    x = [2 * vector + place for vector, place in zip(vectors, tower.places.numpy(), strict=False)]
    (attend,) = tower.attentions
    q, bq, k, bk, v, bv, out, bias = (np.array(each) for each in attend.weights)
    normed = [norm(each, tower.norms[0]) for each in x]
    after = []
    for t in range(3):
        moved = np.array(bias)
        for head in range(2):
            asked = normed[t] @ q[:, head] + bq[head]
            scores = [
                asked @ (normed[s] @ k[:, head] + bk[head]) / np.sqrt(2) for s in range(t + 1)
            ]
            shares = np.exp(scores) / np.exp(scores).sum()
            told = sum(
                share * (normed[s] @ v[:, head] + bv[head]) for s, share in enumerate(shares)
            )
            moved = moved + told @ out[head]
        y = x[t] + moved
        w1, b1 = (np.array(each) for each in tower.hidden[0].weights)
        w2, b2 = (np.array(each) for each in tower.outputs[0].weights)
        y = y + np.maximum(norm(y, tower.norms[1]) @ w1 + b1, 0) @ w2 + b2
        y = norm(y, tower.norms[2])
        after.append(y / np.linalg.norm(y))
    for t in range(3):
        history = tf.constant([items[: t + 1]])
        found = tower({"user": tf.constant([0]), "history": history}).numpy()[0]
        np.testing.assert_allclose(found, after[t], atol=1e-5)


def test_a_grown_tower_keeps_what_it_learned(tower, world):
    log, catalog = world
    grown = tower.grown(log, catalog)
    rows = {"user": tf.constant([1, 2, 0]), "history": tf.constant([[3, 4], [0, 9], [0, 0]])}
    np.testing.assert_allclose(grown(rows).numpy(), tower(rows).numpy(), atol=1e-6)


def test_dropout_of_places_is_a_function_of_the_seed_the_step_and_the_depth():
    drop = PlaceDropout(0.25, seed=3)
    x = tf.ones([50, 40])
    first, deeper = drop(x, depth=0, training=True), drop(x, depth=1, training=True)
    np.testing.assert_array_equal(first, drop(x, depth=0, training=True))
    drop.end_step()
    later = drop(x, depth=0, training=True)
    for one in (first, deeper, later):
        assert abs(float(tf.reduce_mean(tf.cast(one == 0, tf.float32))) - 0.25) < 0.04
        assert set(np.unique(one)) == {0.0, np.float32(1 / 0.75)}
    assert (first.numpy() != deeper.numpy()).any() and (first.numpy() != later.numpy()).any()
    np.testing.assert_array_equal(drop(x, training=False), x)


def test_heads_divide_the_vectors():
    with pytest.raises(ValueError, match="heads must divide .* 8, and are 3"):
        AttentionTower(tr.FeatureTower("item", [Id(8)]), heads=3)


def test_several_replicas_are_refused_by_name(tower, world, monkeypatch):
    query = tf.nest.map_structure(tf.constant, packed_of(world, tower))
    monkeypatch.setattr(
        tf.distribute, "get_strategy", lambda: SimpleNamespace(num_replicas_in_sync=2)
    )
    with pytest.raises(
        ValueError, match="several replicas cannot split: .* take the positives NextItem"
    ):
        tower(query)
