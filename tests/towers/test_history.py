"""A user as a mean of items: by hand, by which items are kept, and what a request says instead."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import tf_recall as tr
from tf_recall.data.catalog import Catalog
from tf_recall.data.histories import Histories
from tf_recall.data.interactions import Interactions
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.features import Id
from tf_recall.towers.features import FeatureTower
from tf_recall.towers.history import HistoryTower

# The items by popularity: c 4 times, a 3, b 2, d once; their rows are 1 to 4.
FRAME = pd.DataFrame(
    [("u", "a", 1), ("u", "b", 9), ("u", "a", 5), ("u", "c", 7)]
    + [("v", "c", 3), ("v", "d", 3), ("v", "c", 2)]
    + [("w", "c", 1), ("w", "a", 8), ("w", "b", 8)],
    columns=["user_id", "item_id", "timestamp"],
)
# of row 0, c, a, b, d
VECTORS = np.array([[9.0, 9.0], [5.0, 0.0], [0.0, 2.0], [-3.0, 0.0], [0.0, -4.0]])


def made(length=50, frame=FRAME, users=None, of=None):
    """An adapted tower and the catalog."""
    log = Interactions.from_frame(frame, users=users)
    train = log if of is None else Interactions.from_frame(of)
    catalog = Catalog.fit(log)
    items = FeatureTower("item", [Id(2, unknown_rate=0)])
    items.adapt(train, catalog)
    items.features[0].table.embeddings.assign(VECTORS)
    tower = HistoryTower(items, length)
    tower.adapt(train, catalog)
    return tower, catalog


def kept(tower, catalog, user):
    row = tower.histories.numpy()[catalog.users.encode([user])[0]]
    return "".join(catalog.items.decode(row[row > 0]))


def test_the_rows_are_what_this_file_says():
    assert made()[1].items.decode([1, 2, 3, 4]).tolist() == list("cabd")


def test_the_mean_direction_by_hand():
    tower, catalog = made()
    found = tower({"user": catalog.users.encode(["u", "v", "w"])}).numpy()
    # At unit length c is (1, 0), a (0, 1), b (-1, 0), d (0, -1): however long the vectors.
    # fmt: skip
    expected = np.array(
        [
            [0, 1],  # a, b, a, c: (0, 2) / 4
            [2 / np.sqrt(5), -1 / np.sqrt(5)],  # c, d, c: (2, -1) / 3
            [0, 1],  # c, a, b: (0, 1) / 3
        ]
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.float32 and tower.dim == 2


def test_the_latest_come_last_and_equal_times_by_line():
    tower, catalog = made()
    assert [kept(tower, catalog, user) for user in "uvw"] == ["aacb", "ccd", "cab"]
    tower, catalog = made(length=2)
    assert [kept(tower, catalog, user) for user in "uvw"] == ["cb", "cd", "ab"]
    assert tower.histories.shape == [4, 2]


def test_without_times_the_last_line_is_the_latest():
    tower, catalog = made(length=2, frame=FRAME.drop(columns="timestamp"))
    assert [kept(tower, catalog, user) for user in "uvw"] == ["ac", "dc", "ab"]


def test_the_order_of_the_lines_changes_nothing_but_ties():
    frame = FRAME.assign(timestamp=[1, 9, 5, 7, 4, 3, 2, 1, 6, 8])
    order = np.random.default_rng(0).permutation(len(frame))
    (one, catalog), (other, _) = (
        made(3, lines) for lines in (frame, frame.iloc[order].reset_index(drop=True))
    )
    for user in "uvw":
        row = catalog.users.encode([user])
        np.testing.assert_array_equal(one({"user": row}), other({"user": row}))


def test_a_user_with_fewer_items_than_the_length_has_their_mean():
    short, long = made(length=4)[0], made(length=50)[0]
    users = {"user": tf.constant([1, 2, 3])}
    np.testing.assert_allclose(short(users), long(users), atol=1e-6)


@pytest.mark.parametrize(
    "length, expected",
    [(1, [1, 0]), (2, [1, 1]), (3, [0, 1])],  # c; c and a; c, a and b
)
def test_of_whom_nothing_is_known_gets_the_most_popular(length, expected):
    # x is in the side table alone
    tower, catalog = made(length, users=pd.DataFrame({"user_id": ["u", "x"]}))
    (x,) = catalog.users.encode(["x"])
    assert x > 0
    found = tower({"user": tf.constant([0, x])}).numpy()
    np.testing.assert_allclose(found, [expected / np.linalg.norm(expected)] * 2, atol=1e-6)


def test_items_and_users_that_the_catalog_does_not_know_are_left_out():
    more = pd.DataFrame([("u", "new", 99), ("stranger", "b", 99)], columns=FRAME.columns)
    before = made()[0].histories.numpy()
    frame = pd.concat([FRAME, more], ignore_index=True)
    tower, catalog = made(of=frame)
    np.testing.assert_array_equal(tower.histories.numpy(), before)
    rows = catalog.users.encode(frame["user_id"]), catalog.items.encode(frame["item_id"])
    histories = Histories.fit(*rows, frame["timestamp"].to_numpy(), catalog.users.size)
    np.testing.assert_array_equal(histories.last(50), before)


def test_a_request_may_bring_a_history():
    tower, catalog = made()
    c, a, b, d = range(1, 5)
    (u,) = catalog.users.encode(["u"])
    given = tf.constant([[c, a, 0], [0, c, c], [d, 0, 0], [0, 0, 0], [0, 0, 0]])
    users = tf.constant([u, u, 0, u, 0])
    found = tower(tower.inputs_from_raw(users, {}, given)).numpy()
    np.testing.assert_allclose(found[:3], [[2**-0.5, 2**-0.5], [1, 0], [0, -1]], atol=1e-6)
    # Who brings none has what training knows: here and there in one request.
    np.testing.assert_allclose(found[3:], tower({"user": users[3:]}).numpy(), atol=1e-6)


def test_a_request_may_bring_more_than_the_length():
    tower, _ = made(length=1)
    given = tf.constant([[1, 1, 4]])
    np.testing.assert_allclose(
        tower({"user": tf.constant([1]), "history": given}), [[2 / 5**0.5, -1 / 5**0.5]], atol=1e-6
    )


def test_row_0_is_no_item():
    """What fills up a history moves nothing, whatever stands in its row."""
    tower, _ = made()
    users = {"user": tf.range(4), "history": tf.constant([[0, 0], [1, 0], [0, 0], [0, 4]])}
    before = tower(users).numpy()
    tower.item_tower.features[0].table.embeddings.assign(np.concatenate([[[-7, 1e6]], VECTORS[1:]]))
    np.testing.assert_array_equal(tower(users).numpy(), before)


def test_items_that_cancel_out_give_numbers():
    tower, _ = made()
    assert np.isfinite(
        tower({"user": tf.constant([1]), "history": tf.constant([[1, 3]])}).numpy()
    ).all()  # c and b


def test_half_precision_gives_numbers():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        found = made()[0]({"user": tf.range(4)}).numpy()
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_allclose(found, made()[0]({"user": tf.range(4)}).numpy(), atol=0.02)


@pytest.mark.parametrize("length", [0, -1])
def test_refuses_a_length_below_1(length):
    with pytest.raises(ValueError, match=f"a length of at least 1, not {length}"):
        HistoryTower(FeatureTower("item", [Id(2)]), length)


def test_it_survives_the_config_and_keeps_what_it_knows():
    tower, _ = made(length=3)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(tower))
    assert again.get_config() == tower.get_config() and again.length == 3
    again.set_weights(tower.get_weights())
    users = {"user": tf.range(4)}
    np.testing.assert_array_equal(again(users), tower(users))


@pytest.mark.slow
def test_a_two_tower_model_on_histories_trains_saves_and_exports(tmp_path):
    """Its query tower is made of the item tower: one table of items, in a file and out of it."""
    split = tr.by_time(synthetic(200, 120, 6000, seed=1).interactions, test=0.1)
    catalog = Catalog.fit(split.train)
    keras.utils.set_random_seed(0)
    items = FeatureTower("item", [Id(16)])
    model = tr.TwoTower(HistoryTower(items, length=20), items, loss=tr.SampledSoftmax(0.2))
    model.adapt(split.train, catalog).compile()
    batches = model.batches(split.train, catalog, batch_size=256)
    assert batches.at(0)["query"]["history"].shape == (256, 20)
    steps = batches.steps_per_epoch
    losses = model.fit(batches.dataset(), steps_per_epoch=steps, epochs=4, verbose=0).history
    assert losses["loss"][-1] < 0.98 * losses["loss"][0]
    assert len(model.trainable_variables) == 1
    model.save(tmp_path / "model.keras")
    again = tr.load_model(tmp_path / "model.keras")
    assert again.query_tower.item_tower is again.item_tower
    np.testing.assert_array_equal(again.embed_catalog(), model.embed_catalog())
    service = tr.Service.build(model, catalog, k_max=20)
    served = tr.load(tr.save(service, tmp_path / "saved", model=model))
    users = [*catalog.users.ids[:3], "nobody"]
    for given in ({}, {"history": catalog.items.ids[:4].tolist()}):
        ours, theirs = service.recommend(users, 10, **given), served.recommend(users, 10, **given)
        np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-5)
        assert (ours[0] == theirs[0]).all()
