"""Sessions by gap, column and user: who follows whom, what is left out, and what a session led
to.
"""

import keras
import numpy as np
import pytest

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.sessions import ByColumn, ByGap, ByUser, Sessions, WithConversion

# Ann's lines are not in time order. By time: a at 0, b at 50, a at 60, c at 200. Bob's: c at 10,
# and b and a at 20.
LOG = {
    "user_id": ["ann", "bob", "ann", "bob", "bob", "ann", "ann"],
    "item_id": ["b", "c", "a", "b", "a", "c", "a"],
    "timestamp": [50, 10, 0, 20, 20, 200, 60],
    "invoice": [1, 1, 1, 2, 2, 3, 1],
    "booking": [1, 0, 0, 1, 1, 0, 0],
}


def read(without=(), **changes):
    given = {name: values for name, values in {**LOG, **changes}.items() if name not in without}
    return Interactions.from_columns(**given)


def cut(recipe, interactions=None, catalog=None):
    """The sessions as `{(user, items): booked item}`."""
    interactions = read() if interactions is None else interactions
    catalog = Catalog.fit(interactions) if catalog is None else catalog
    sessions = recipe(interactions, catalog)
    assert (
        sessions.offsets.dtype == np.int64
        and sessions.items.dtype == sessions.users.dtype == np.int32
    )
    names = catalog.users.decode(sessions.users).tolist()
    parts = np.split(catalog.items.decode(sessions.items), sessions.offsets[1:-1])
    booked = (
        [None] * len(names)
        if sessions.conversion is None
        else catalog.items.decode(sessions.conversion).tolist()
    )
    return {
        (name, "".join(items)): item for name, items, item in zip(names, parts, booked, strict=True)
    }


def test_by_user_follows_the_time_and_the_line_among_equal_times():
    assert set(cut(ByUser())) == {("ann", "abac"), ("bob", "cba")}


def test_by_user_without_times_follows_the_lines():
    assert set(cut(ByUser(), read(without=["timestamp"]))) == {("ann", "baca"), ("bob", "cba")}


@pytest.mark.parametrize(
    ("gap", "sessions"),
    [
        (50, {("ann", "aba"), ("ann", "c"), ("bob", "cba")}),  # 50 does not exceed 50; 140 does
        (49, {("ann", "a"), ("ann", "ba"), ("ann", "c"), ("bob", "cba")}),
        (0, {("ann", "a"), ("ann", "b"), ("ann", "c"), ("bob", "c"), ("bob", "ba")}),
        (140, {("ann", "abac"), ("bob", "cba")}),
    ],
)
def test_by_gap_cuts_where_the_gap_is_exceeded(gap, sessions):
    assert set(cut(ByGap(gap))) == sessions


def test_by_column_keeps_users_apart_that_share_a_value():
    assert set(cut(ByColumn("invoice"))) == {
        ("ann", "aba"),
        ("ann", "c"),
        ("bob", "c"),
        ("bob", "ba"),
    }


def test_unknown_items_hold_a_session_together_and_are_left_out():
    """Without b, a at 0 and a at 60 are 60 apart: they are one session all the same, since b came
    at 50.
    """
    known = Catalog.fit(read().select([1, 2, 4, 5, 6]))
    assert known.items.size == 3
    assert set(cut(ByGap(50), catalog=known)) == {("ann", "aa"), ("ann", "c"), ("bob", "ca")}


def test_a_session_of_unknown_items_does_not_stay():
    known = Catalog.fit(read(item_id=["b", "b", "a", "b", "a", "b", "a"]))
    assert set(cut(ByGap(50), catalog=known)) == {("ann", "aba"), ("bob", "ba")}


def test_booked_items_stay_with_their_sessions_where_others_do_not_stay():
    """Without c two of the four invoices are gone."""
    known = Catalog.fit(read().select([0, 2, 3, 4]))
    found = cut(WithConversion(ByColumn("invoice"), "booking"), catalog=known)
    assert found == {("ann", "aba"): "b", ("bob", "ba"): "a"}


def test_unknown_users_are_not_thrown_together():
    """Catalog of others: both users are unknown, row 0, and still two sessions."""
    known = Catalog.fit(read(user_id=["eve"] * 7))
    sessions = ByUser()(read(), known)
    assert sessions.users.tolist() == [0, 0] and sorted(np.diff(sessions.offsets)) == [3, 4]


def test_booked_is_the_last_marked_item_of_each_session():
    """Ann booked b; Bob booked b, then, a line later, a."""
    assert cut(WithConversion(ByUser(), "booking")) == {("ann", "abac"): "b", ("bob", "cba"): "a"}
    found = cut(WithConversion(ByColumn("invoice"), "booking"))
    assert found == {("ann", "aba"): "b", ("ann", "c"): "", ("bob", "c"): "", ("bob", "ba"): "a"}


def test_booked_takes_booleans_and_missing_is_no():
    log = read(booking=[True, None, None, True, False, None, False])
    assert cut(WithConversion(ByUser(), "booking"), log) == {
        ("ann", "abac"): "b",
        ("bob", "cba"): "b",
    }


def test_an_unknown_booked_item_is_none():
    """The booked a of Bob is not in the catalog, b is."""
    known = Catalog.fit(read().select([0, 1, 3, 5]))
    assert cut(WithConversion(ByUser(), "booking"), catalog=known) == {
        ("ann", "bc"): "b",
        ("bob", "cb"): "b",
    }


@pytest.mark.parametrize(
    "recipe", [ByUser(), ByGap(60), ByColumn("invoice"), WithConversion(ByGap(7), "booking")]
)
def test_a_recipe_comes_back_from_its_config(recipe):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(recipe))
    assert type(again) is type(recipe) and again.get_config() == recipe.get_config()
    assert cut(again) == cut(recipe)


def test_against_a_slow_twin():
    rng = np.random.default_rng(0)
    users, items, times = (
        rng.integers(0, 20, 1000),
        rng.integers(0, 50, 1000),
        rng.integers(0, 20_000, 1000),
    )
    log = Interactions.from_columns(user_id=users, item_id=items, timestamp=times)
    catalog = Catalog.fit(log)
    expected = []
    for user in range(20):
        lines = sorted(np.flatnonzero(users == user), key=lambda line: (times[line], line))
        session = [lines[0]]
        for line in lines[1:]:
            if times[line] - times[session[-1]] > 300:
                expected.append((user, items[session].tolist()))
                session = []
            session.append(line)
        expected.append((user, items[session].tolist()))
    found = ByGap(300)(log, catalog)
    parts = np.split(catalog.items.decode(found.items), found.offsets[1:-1])
    pairs = [
        (user, part.tolist())
        for user, part in zip(catalog.users.decode(found.users).tolist(), parts, strict=True)
    ]
    assert sorted(pairs) == sorted(expected) and len(found) == len(expected)


@pytest.mark.parametrize(
    ("recipe", "changes", "message"),
    [
        (ByGap(), {"without": ["timestamp"]}, "no timestamp, only"),
        (ByColumn("basket"), {}, "no column 'basket', only"),
        (
            ByColumn("invoice"),
            {"invoice": [1, None, 1, 2, None, 3, 1]},
            "2 of 7 invoice are missing",
        ),
        (WithConversion(ByUser(), "sold"), {}, "no column 'sold'"),
        (
            WithConversion(ByUser(), "booking"),
            {"booking": ["1", "no", "0", "1", "0", "0", "0"]},
            "got 'no' in row 1",
        ),
    ],
)
def test_what_cannot_be_cut_is_named(recipe, changes, message):
    with pytest.raises(ValueError, match=message):
        cut(recipe, read(**changes))


@pytest.mark.parametrize("gap", [-1, float("nan"), "an hour", True, None])
def test_a_gap_is_seconds(gap):
    with pytest.raises(ValueError, match="gap must be a number of seconds"):
        ByGap(gap)


def test_sessions_fit_together():
    items, users = np.array([1, 2, 3], np.int32), np.array([1, 1], np.int32)
    assert len(Sessions(np.array([0, 1, 3]), items, users)) == 2
    with pytest.raises(ValueError, match="offsets must go from 0 to the number of items, 3"):
        Sessions(np.array([0, 1, 2]), items, users)
    with pytest.raises(ValueError, match="conversion has 1 entries for 2 sessions"):
        Sessions(np.array([0, 1, 3]), items, users, conversion=users[:1])
