"""Next items: what a row holds, by hand and against a slow twin; whose examples, and how many."""

import numpy as np
import pandas as pd
import pytest

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.features.needs import Needs
from tf_recall.positives import NextItem, UserItem

# ann: a, b, then c and d at one time, then a again; bob: d alone; eve: b, c
FRAME = pd.DataFrame(
    [("ann", "a", 1), ("ann", "b", 2), ("ann", "c", 3), ("ann", "d", 3), ("ann", "a", 4)]
    + [("bob", "d", 9), ("eve", "b", 5), ("eve", "c", 6)],
    columns=["user_id", "item_id", "timestamp"],
)


def rows_of(positives, frame=FRAME, length=3, batch_size=100):
    """The rows of an epoch as `{(user, item): history}`, in raw ids."""
    train = Interactions.from_frame(frame)
    catalog = Catalog.fit(train)
    batches = positives.batches(train, catalog, Needs(history=length), batch_size)
    found = []
    for step in range(batches.steps_per_epoch):
        batch = batches.at(step)
        users = catalog.users.decode(batch["query"]["user"])
        items = catalog.items.decode(batch["item"]["item"])
        for user, item, history in zip(users, items, batch["query"]["history"], strict=True):
            past = catalog.items.decode(history)
            assert (past[: length - (history > 0).sum()] == "").all(), "padded in front"
            found.append((user, item, "".join(past)))
    return sorted(found)


def test_by_hand():
    # a is first; b after a; c and d at one time, each after a, b; a again, without itself
    assert rows_of(NextItem()) == [
        ("ann", "a", "bcd"),
        ("ann", "b", "a"),
        ("ann", "c", "ab"),
        ("ann", "d", "ab"),
        ("eve", "c", "b"),
    ]
    assert rows_of(NextItem(), length=1)[0] == ("ann", "a", "d")


def test_user_item_brings_the_same_pasts_and_first_events_too():
    assert rows_of(UserItem()) == sorted(
        [*rows_of(NextItem()), ("ann", "a", ""), ("bob", "d", ""), ("eve", "b", "")]
    )
    assert rows_of(NextItem(min_history=0)) == rows_of(UserItem())
    assert [row[:2] for row in rows_of(NextItem(min_history=2))] == [
        ("ann", "a"),
        ("ann", "c"),
        ("ann", "d"),
    ]


def test_without_times_a_pair_brings_what_else_the_user_did():
    undated = FRAME.drop(columns="timestamp")
    assert rows_of(UserItem(), undated) == [
        ("ann", "a", "bcd"),
        ("ann", "a", "bcd"),
        ("ann", "b", "cda"),
        ("ann", "c", "bda"),
        ("ann", "d", "bca"),
        ("bob", "d", ""),
        ("eve", "b", "c"),
        ("eve", "c", "b"),
    ]
    in_order = {row[:2]: row[2] for row in rows_of(NextItem(), undated, 9)}
    assert in_order["eve", "c"] == "b" and ("eve", "b") not in in_order


def test_the_past_may_hold_what_does_not_count():
    """Only what was bought is a positive; what was merely looked at is history all the same."""
    frame = FRAME.assign(bought=[0, 0, 1, 0, 0, 1, 0, 1])
    assert rows_of(NextItem(where="bought"), frame) == [("ann", "c", "ab"), ("eve", "c", "b")]


def test_so_many_examples_of_each_user():
    """A thousand events of one user, ten of another: with per_user 10 each has ten an epoch."""
    frame = pd.DataFrame(
        {
            "user_id": ["much"] * 1001 + ["little"] * 11,
            "item_id": [f"i{n % 40}" for n in range(1012)],
            "timestamp": np.arange(1012),
        }
    )
    train = Interactions.from_frame(frame)
    catalog = Catalog.fit(train)
    positives = NextItem(per_user=10)
    batches = positives.batches(train, catalog, Needs(history=3), 20)
    assert (batches.batch_size, batches.steps_per_epoch) == (20, 1)
    epochs = [np.bincount(batches.at(epoch)["query"]["user"], minlength=3) for epoch in range(50)]
    assert np.abs(np.mean(epochs, axis=0) - [0, 10, 10]).max() < 0.5
    users = [set(batches.at(epoch)["item"]["item"].tolist()) for epoch in range(2)]
    assert users[0] != users[1]  # other ones in each
    counts = positives.counts(train, catalog)
    assert counts["user"].tolist()[1:] == [10, 10]


def test_counts_are_those_of_the_examples():
    train = Interactions.from_frame(FRAME)
    catalog = Catalog.fit(train)
    counts = NextItem().counts(train, catalog)["item"]
    of_item = dict(zip(catalog.items.ids, counts[1:].tolist(), strict=True))
    assert of_item == {"a": 1, "b": 1, "c": 2, "d": 1}


def test_a_batch_is_a_function_of_the_seed_and_the_step():
    train = synthetic(30, 40, 600).interactions
    catalog = Catalog.fit(train)
    one, same, other = (
        NextItem().batches(train, catalog, Needs(history=5), 64, seed) for seed in (0, 0, 1)
    )
    np.testing.assert_equal(one.at(7), same.at(7))
    assert (one.at(7)["item"]["item"] != other.at(7)["item"]["item"]).any()
    for start in (0, 5):
        read = next(iter(one.dataset(start).take(1).as_numpy_iterator()))
        np.testing.assert_equal(read, one.at(start))


def test_rows_of_their_own_negatives_and_weights_come_along():
    frame = FRAME.assign(weight=np.arange(8) + 1.0, negatives=["b|c"] * 8)
    train = Interactions.from_frame(frame)
    batches = NextItem().batches(train, Catalog.fit(train), Needs(history=2, negatives=2), 5)
    batch = batches.at(0)
    assert sorted(batch["weight"]) == [2, 3, 4, 5, 8] and batch["negatives"].shape == (5, 2)


def test_errors():
    with pytest.raises(ValueError, match="per_user must be a number above 0"):
        NextItem(per_user=0)
    with pytest.raises(ValueError, match="min_history must be at least 0"):
        NextItem(min_history=-1)
    with pytest.raises(ValueError, match="no user has 9 events before another one"):
        rows_of(NextItem(min_history=9))
