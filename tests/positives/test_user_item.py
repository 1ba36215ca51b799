"""A user and each item interacted with: which pairs there are, how often, with what beside them."""

import sys

import keras
import numpy as np
import pandas as pd
import pytest

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.features import Categorical, Id
from tf_recall.features.needs import Needs
from tf_recall.positives import UserItem, user_item
from tf_recall.towers.features import FeatureTower

FRAME = pd.DataFrame(
    {
        "user_id": ["u", "v", "u"],
        "item_id": ["a", "a", "b"],
        "device": ["ios", "web", "ios"],
        "weight": [1.0, 2.0, 0.5],
    }
)


def columns(frame=FRAME, of=FRAME, num_negatives=0):
    train = Interactions.from_frame(frame)
    catalog = Catalog.fit(train)
    tower = FeatureTower("user", [Id(2), Categorical("device")])
    tower.adapt(train, catalog)
    needs = tower.needs().also(negatives=num_negatives)
    return user_item(Interactions.from_frame(of), catalog, needs), catalog


def test_every_interaction_is_a_pair_of_rows():
    pairs, catalog = columns()
    assert catalog.users.decode(pairs["query"]["user"]).tolist() == ["u", "v", "u"]
    assert catalog.items.decode(pairs["item"]["item"]).tolist() == ["a", "a", "b"]
    assert pairs["query"]["categorical_device"].tolist() == [1, 2, 1]
    assert pairs["weight"].tolist() == [1.0, 2.0, 0.5]
    assert {pairs["query"]["user"].dtype, pairs["item"]["item"].dtype} == {np.dtype("int32")}


def test_pairs_of_unknown_items_are_left_out_with_all_their_columns():
    pairs, _ = columns(of=FRAME.assign(item_id=["a", "unheard of", "b"]))
    assert pairs["item"]["item"].tolist() == [1, 2]
    assert pairs["query"]["categorical_device"].tolist() == [1, 1]
    assert pairs["weight"].tolist() == [1.0, 0.5]


def test_negatives_come_in_rows_of_one_length():
    for lists in (["b", "", "unheard of|a|b"], [["b"], None, ("unheard of", "a", "b")]):
        of = FRAME.assign(negatives=pd.Series(lists, dtype=object))
        pairs, catalog = columns(of=of, num_negatives=2)
        assert pairs["negatives"].dtype == np.int32
        assert pairs["negatives"].tolist() == [[catalog.items.encode(["b"])[0], 0], [0, 0], [0, 1]]
        assert "negatives" not in columns(of=of)[0]


def test_negatives_of_integer_ids_may_be_text():
    frame = FRAME.assign(item_id=[7, 7, 8])
    pairs, _ = columns(frame, frame.assign(negatives=["8", "", "7|8"]), num_negatives=1)
    assert pairs["negatives"].tolist() == [[2], [0], [1]]


def test_negatives_that_are_not_there_are_asked_for():
    with pytest.raises(ValueError, match="needs negatives"):
        columns(num_negatives=1)


def batches(positives, frame, batch_size=1, **arguments):
    """The batches that a model of ids gets, and the catalog."""
    train = Interactions.from_frame(frame)
    catalog = Catalog.fit(train)
    return positives.batches(train, catalog, Needs("user"), batch_size, **arguments), catalog


def items_of(found, catalog, epoch=0):
    steps = range(epoch * found.steps_per_epoch, (epoch + 1) * found.steps_per_epoch)
    return catalog.items.decode(np.concatenate([found.at(step)["item"]["item"] for step in steps]))


def test_every_pair_once_an_epoch():
    found, catalog = batches(UserItem(), FRAME)
    assert found.steps_per_epoch == 3
    assert (
        sorted(items_of(found, catalog))
        == sorted(items_of(found, catalog, epoch=1))
        == ["a", "a", "b"]
    )


def test_the_batches_follow_size_and_seed():
    frame = pd.DataFrame({"user_id": range(40), "item_id": [str(item) for item in range(40)]})
    one, again, other = (batches(UserItem(), frame, 8, seed=seed)[0] for seed in (0, 0, 1))
    assert one.batch_size == 8 and one.steps_per_epoch == 5
    first = one.at(0)["item"]["item"]
    assert np.array_equal(first, again.at(0)["item"]["item"])
    assert not np.array_equal(first, other.at(0)["item"]["item"])


def test_popular_items_less_often():
    # "a" is 80 of 100 pairs, "b" 15, "c" 5. With alpha = 0.05: sqrt(0.05 / 0.8) = 1/4, sqrt(0.05 /
    # 0.15) = 0.577, 1.
    frame = pd.DataFrame({"user_id": range(100), "item_id": ["a"] * 80 + ["b"] * 15 + ["c"] * 5})
    found, catalog = batches(UserItem(alpha=0.05), frame)
    assert found.steps_per_epoch == 33  # 20 + 8.66 + 5
    epochs = [items_of(found, catalog, epoch) for epoch in range(200)]
    num = {item: np.mean([np.sum(items == item) for items in epochs]) for item in "abc"}
    # Six deviations of a binomial over 200 epochs, and the 0.66 of a pair that rounding down takes.
    assert num["a"] == pytest.approx(20, abs=6 * np.sqrt(20 * 0.75 / 200) + 0.66)
    assert num["b"] == pytest.approx(8.66, abs=6 * np.sqrt(8.66 * 0.42 / 200) + 0.66)
    assert num["c"] == pytest.approx(5, abs=0.15)


def test_the_share_is_that_of_the_pairs_that_count():
    # Of the 4 booked pairs "a" is 1, below alpha; of all it would be 97 of 100.
    frame = pd.DataFrame({"user_id": range(100), "item_id": ["a"] * 97 + ["b", "c", "d"]}).assign(
        booked=0
    )
    frame.loc[96:, "booked"] = 1
    found, catalog = batches(UserItem(alpha=0.25, where="booked"), frame)
    assert sorted(items_of(found, catalog)) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    "booked", [[True, False, True], [1, 0, 2], [0.5, 0.0, 1.0], [1, None, 1], [True, None, True]]
)
@pytest.mark.filterwarnings("error")
def test_only_where_the_column_says_so(booked):
    found, catalog = batches(UserItem(where="booked"), FRAME.assign(booked=booked))
    assert sorted(items_of(found, catalog)) == ["a", "b"]
    users = np.concatenate([found.at(step)["query"]["user"] for step in range(2)])
    assert catalog.users.decode(users).tolist() == ["u", "u"]
    assert sorted(found.at(step)["weight"].item() for step in range(2)) == [0.5, 1]


def test_refuses_columns_that_say_nothing():
    with pytest.raises(ValueError, match="no column 'booked', only .*'item_id'"):
        batches(UserItem(where="booked"), FRAME)
    with pytest.raises(ValueError, match="'booked' is true nowhere"):
        batches(UserItem(where="booked"), FRAME.assign(booked=[0, None, 0]))


@pytest.mark.parametrize("alpha", [0, -0.1, float("nan"), float("inf"), "0.1"])
def test_refuses_what_is_no_share(alpha):
    with pytest.raises(ValueError, match="alpha must be a share above 0"):
        UserItem(alpha=alpha)


def test_it_survives_the_config():
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(UserItem(0.02, "booked"))
    )
    assert type(again) is UserItem and (again.alpha, again.where) == (0.02, "booked")


def test_counts_are_of_the_pairs_that_count():
    """a is in three of five pairs, and counts in one; with alpha 0.1 a share of 0.6 stays sqrt(1 /
    6) of the time.
    """
    frame = pd.DataFrame({"user_id": range(5), "item_id": list("aaabb"), "booked": [1, 0, 0, 1, 0]})
    train = Interactions.from_frame(frame)
    catalog = Catalog.fit(train)
    found = UserItem(where="booked").counts(train, catalog)
    assert found["item"][catalog.items.encode(["a", "b"])].tolist() == [1, 1]
    assert found["user"].sum() == 2
    counted = catalog.with_counts(found)
    assert counted.items.counts.tolist() == found["item"].tolist()
    assert counted.items.ids.tolist() == catalog.items.ids.tolist()
    many = Interactions.from_frame(pd.concat([frame] * 100).assign(user_id=range(500)))
    catalog = Catalog.fit(many)
    found = UserItem(alpha=0.1).counts(many, catalog)
    a, b = 300 * np.sqrt(0.1 / 0.6), 200 * np.sqrt(0.1 / 0.4)
    assert found["item"][catalog.items.encode(["a", "b"])].tolist() == [np.ceil(a), np.ceil(b)]
    catalog = Catalog.fit(train)
    found = UserItem().counts(train, catalog)
    assert found["user"] is catalog.users.counts and found["item"] is catalog.items.counts


def test_more_rows_than_are_shuffled_one_by_one_are_read_in_runs(monkeypatch):
    module = sys.modules[UserItem.__module__]
    monkeypatch.setattr(module, "SHUFFLED", 100)
    monkeypatch.setattr(module, "NEIGHBORS", 8)
    ids = np.arange(160)
    train = Interactions.from_columns(user_id=ids % 20, item_id=ids)
    catalog = Catalog.fit(train)
    batches = UserItem().batches(train, catalog, Needs("user"), 8)
    rows = np.concatenate([batches.at(step)["item"]["item"] for step in range(len(batches))])
    assert sorted(rows) == sorted(catalog.items.encode(ids))  # each once
    assert batches._order._run == 8
