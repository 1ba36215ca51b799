"""A history as a feature: pooled by hand, cut in training, overridden by a request."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.features import ExampleAge, History, Id, LastPooling, MeanPooling
from tf_recall.features.history import latest
from tf_recall.towers.features import FeatureTower

FRAME = pd.DataFrame(
    [("u", "a", 1), ("u", "b", 2), ("u", "c", 3), ("v", "b", 4), ("w", "c", 5), ("w", "c", 9)],
    columns=["user_id", "item_id", "timestamp"],
)
TRAIN = Interactions.from_frame(FRAME)
CATALOG = Catalog.fit(TRAIN)
TABLE = np.array([[9.0, 9.0], [1.0, 0.0], [0.0, 2.0], [4.0, 4.0]])  # of the unknown, c, b, a


def tower(*features, **kwargs):
    made = FeatureTower("user", features, normalize=False, **kwargs)
    made.adapt(TRAIN, CATALOG)
    return made


def history(**kwargs):
    made = tower(History(2, **kwargs))
    made.features[0].table.embeddings.assign(TABLE)
    return made


def test_the_rows_are_what_this_file_says():
    assert CATALOG.items.decode([1, 2, 3]).tolist() == ["c", "b", "a"]


def test_the_mean_of_what_is_stored_by_hand():
    users = CATALOG.users.encode(["u", "v", "w"])
    found = history()({"user": users}).numpy()
    # u: a, b, c: (5, 6) / 3; v: b; w: c twice
    np.testing.assert_allclose(found, [[5 / 3, 2], [0, 2], [1, 0]], rtol=1e-6)
    found = history(length=2)({"user": users}).numpy()
    np.testing.assert_allclose(found[0], [0.5, 1], rtol=1e-6)  # of b and c


def test_the_last_alone():
    found = history(pooling=LastPooling())({"user": CATALOG.users.encode(["u", "w"])}).numpy()
    np.testing.assert_allclose(found, [[1, 0], [1, 0]])


@pytest.mark.parametrize("pooling", [MeanPooling(), LastPooling()])
def test_poolings_see_what_is_valid_alone(pooling):
    rng = np.random.default_rng(0)
    vectors, valid = rng.normal(size=(4, 5, 3)), rng.random((4, 5)) < 0.6
    valid[2] = False
    found = pooling(tf.constant(vectors), tf.constant(valid)).numpy()
    for row in range(4):
        there = vectors[row][valid[row]] if valid[row].any() else np.zeros([1, 3])
        expected = there.mean(axis=0) if isinstance(pooling, MeanPooling) else there[-1]
        np.testing.assert_allclose(found[row], expected, rtol=1e-5, atol=1e-6)
    vectors[~valid] = 1e6
    np.testing.assert_array_equal(pooling(tf.constant(vectors), tf.constant(valid)), found)


def test_a_batch_brings_its_own_and_an_empty_one_is_not_filled_from_what_is_stored():
    """In training an empty past must stay empty: what is stored holds the event itself."""
    made = history()
    users = tf.constant(CATALOG.users.encode(["u", "u"]))
    found = made({"user": users, "history": tf.constant([[0, 2], [0, 0]])}).numpy()
    np.testing.assert_allclose(found[0], [0, 2])
    np.testing.assert_allclose(found[1], made.features[0].empty.numpy())


def test_training_shows_a_share_of_the_histories_as_empty():
    made = History(4, length=3, unknown_rate=0.3, pooling=LastPooling())
    made.build_from_config({"num_items": 5001})
    rows = np.random.default_rng(0).integers(1, 5001, [4000, 3])
    rows[:, 0] = 0
    rows[2000:] = rows[:2000]
    hidden = []
    for _ in range(2):
        vectors = made(tf.constant(rows), training=True).numpy()
        hidden.append((vectors == made.empty.numpy()).all(axis=1))
        assert (made.known(tf.constant(rows), training=True).numpy() != hidden[-1]).all()
        np.testing.assert_array_equal(hidden[-1][2000:], hidden[-1][:2000])  # equal ones alike
        made.end_step()
    assert hidden[0][:2000].mean() == pytest.approx(0.3, abs=0.03)
    assert (hidden[0] & hidden[1])[:2000].mean() == pytest.approx(0.09, abs=0.02)  # drawn anew
    served = made(tf.constant(rows)).numpy()
    np.testing.assert_array_equal(served, made.table(tf.constant(rows[:, -1])).numpy())


def test_a_share_of_all_is_refused():
    with pytest.raises(ValueError, match=r"unknown_rate must be in \[0, 1\), not 1"):
        History(unknown_rate=1)


def test_a_request_overrides_what_is_stored_and_an_empty_one_does_not():
    made = history(length=3)
    rows = tf.constant(CATALOG.users.encode(["u", "u", "stranger"]))
    given = tf.constant([[1, 0, 0, 2, 0], [0, 0, 0, 0, 0], [0, 3, 0, 0, 0]])
    found = made(made.inputs_from_raw(rows, {}, given)).numpy()
    stored = made({"user": rows}).numpy()
    np.testing.assert_allclose(found, [[0.5, 1], stored[1], [4, 4]], rtol=1e-6)
    np.testing.assert_allclose(made(made.inputs_from_raw(rows, {})).numpy(), stored)
    np.testing.assert_allclose(stored[2], made.features[0].empty.numpy())


def test_of_a_long_history_the_newest_are_kept():
    given = tf.constant([[1, 2, 0, 3], [0, 0, 0, 1], [1, 0, 0, 0]])
    assert latest(given, 2).numpy().tolist() == [[2, 3], [0, 1], [0, 1]]
    assert latest(given, 6).numpy().tolist() == [
        [0, 0, 0, 1, 2, 3],
        [0, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 1],
    ]
    assert latest(given[:, :0], 2).numpy().tolist() == [[0, 0]] * 3


def test_two_of_one_tower_look_at_one_history():
    made = tower(History(2, name="all"), History(2, length=1, name="last"))
    assert made.needs().history == 50 and made.takes_history and made.history_length == 50
    for feature in made.features:
        feature.table.embeddings.assign(TABLE)
    given = {"user": tf.constant([1]), "history": tf.constant([[3, 1]])}
    np.testing.assert_allclose(made(given).numpy(), [[2.5, 2, 1, 0]])


def test_items_may_be_those_of_a_tower():
    items = FeatureTower("item", [Id(2, unknown_rate=0)])
    made = tower(History(items=items))
    items.features[0].table.embeddings.assign(TABLE)
    found = made({"user": CATALOG.users.encode(["u"])}).numpy()
    # of length 1: a (1, 1) / sqrt 2, b (0, 1), c (1, 0)
    np.testing.assert_allclose(found, [[(1 + 0.5**0.5) / 3] * 2], rtol=1e-6)
    assert len(made.trainable_variables) == 2  # the items' table and the empty vector


def test_what_is_learned_reaches_the_items_looked_at_alone():
    made = history()
    variable = made.features[0].table.embeddings
    with tf.GradientTape() as tape:
        found = made({"user": tf.constant([1]), "history": tf.constant([[0, 2, 1]])})
        loss = tf.reduce_sum(found)
    gradient = tf.convert_to_tensor(tape.gradient(loss, variable.value)).numpy()
    assert gradient[3].tolist() == [0, 0] and (gradient[1:3] == 0.5).all()


def test_the_age_of_an_example_by_hand():
    made = tower(Id(2), ExampleAge())
    (age,) = made.needs().context
    assert age.name == "example_age" and not made.raw_columns
    codes = age.encode_column(age.to_raw(FRAME["timestamp"]))  # from 1 to 9
    np.testing.assert_allclose(codes[:, 0], [1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 0])
    vectors = made({"user": tf.constant([1, 1]), "example_age": tf.constant([[0.25], [0.0]])})
    np.testing.assert_allclose(vectors.numpy()[:, 2:], [[0.25, 0.5, 0.0625], [0, 0, 0]])
    served = made(made.inputs_from_raw(tf.constant([1]), {})).numpy()
    np.testing.assert_array_equal(served, made({"user": tf.constant([1])}).numpy())
    np.testing.assert_array_equal(served[0], vectors.numpy()[1])


def test_it_survives_the_config():
    made = tower(Id(2), History(2, length=3, pooling=LastPooling()))
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(made))
    assert again.get_config() == made.get_config()
    again.set_weights(made.get_weights())
    users = {"user": tf.range(4)}
    np.testing.assert_array_equal(again(users), made(users))


def test_errors():
    with pytest.raises(ValueError, match="dim and length must be at least 1, not 2 and 0"):
        History(2, length=0)
    with pytest.raises(ValueError, match="a History is a user's"):
        FeatureTower("item", [History(2)]).adapt(TRAIN, CATALOG)
    made = tower(Id(2))
    with pytest.raises(ValueError, match="adapted already"):
        made.adapt(TRAIN, CATALOG)


def test_gaps_by_hand():
    """User u: a, b, c are 2, 1 and 0 seconds before the newest: log2(1 + s) = 1.58, 1, 0.

    Buckets 2, 2 and 1, of at most 2; user w's are 4 and 0 seconds: 2 and 1.
    """
    made = tower(History(2, length=3, gaps=2))
    (feature,) = made.features
    assert made.needs().gaps
    assert feature.buckets(tf.constant([-1.0, 0, 1, 3, 1e9])).numpy().tolist() == [0, 1, 2, 2, 2]
    users = CATALOG.users.encode(["u", "v", "w"])
    stored = tf.gather(made.tables["history"].value, users).numpy()
    assert stored[..., 0].tolist() == [[3, 2, 1], [0, 0, 2], [0, 1, 1]]
    assert stored[..., 1].tolist() == [[2, 2, 1], [0, 0, 1], [0, 2, 1]]
    assert feature.usual.numpy().tolist() == [2, 2, 1]
    feature.table.embeddings.assign(TABLE)
    feature.gap_table.embeddings.assign([[50.0, 50.0], [0.0, 10.0], [0.0, 30.0]])
    found = made({"user": users}).numpy()
    np.testing.assert_allclose(found, [[5 / 3, 2 + 70 / 3], [0, 12], [1, 20]], rtol=1e-6)
    # rows bring their own; a request brings items alone, and has the usual gaps
    given = {"user": users[:1], "history": tf.constant([[3, 2]])}
    own = made({**given, "history_gaps": tf.constant([[0.0, 0.0]])}).numpy()
    np.testing.assert_allclose(own, [[2, 3 + 10]], rtol=1e-6)
    np.testing.assert_allclose(made(given).numpy(), [[2, 3 + 20]], rtol=1e-6)
    asked = made.inputs_from_raw(users[:1], {}, tf.constant([[3, 0, 2]]))
    np.testing.assert_allclose(made(asked).numpy(), [[2, 3 + 20]], rtol=1e-6)
    asked = made.inputs_from_raw(users, {}, tf.zeros([3, 0], tf.int32))
    np.testing.assert_allclose(made(asked).numpy(), found, rtol=1e-6)


def test_the_gaps_of_rows_are_those_of_their_histories():
    begin, cut = np.array([0, 0, 3]), np.array([3, 2, 3])
    histories = CATALOG.histories
    at = histories.positions(begin, cut, 2, np.array([2, 9, 9]))
    assert at.tolist() == [[0, 2], [0, 1], [-1, -1]]  # of the first line b is left out
    assert histories.gaps(at).tolist() == [[2, 0], [1, 0], [-1, -1]]
