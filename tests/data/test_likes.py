"""Likes by hand: summed, decayed, and each user's latest."""

import numpy as np
import pytest

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.likes import Likes, binary

DAY = 86_400


def fit(half_life=None, column="weight", **columns):
    train = Interactions.from_columns(**columns)
    catalog = Catalog.fit(train)
    return Likes.fit(train, catalog, half_life, column), catalog


def as_dict(matrix, catalog):
    rows, columns = matrix.nonzero()
    ids = zip(catalog.users.decode(rows), catalog.items.decode(columns), strict=True)
    return dict(zip(ids, matrix[rows, columns].A1.tolist(), strict=True))


def test_interactions_of_a_pair_are_added_up():
    likes, catalog = fit(
        user_id=["ann", "bob", "ann", "ann"],
        item_id=["tea", "tea", "tea", "rum"],
        weight=[1.0, 0.0, 2.5, 4.0],
    )
    # bob's weight is 0
    assert as_dict(likes.matrix, catalog) == {
        ("ann", "tea"): 3.5,
        ("ann", "rum"): 4,
    }
    assert set(binary(likes.matrix).data) == {1}
    assert likes.matrix.shape == (3, 3) and likes.matrix.dtype == np.float32


def test_without_weights_each_counts_one():
    likes, catalog = fit(user_id=["ann", "ann", "bob"], item_id=["tea", "tea", "tea"])
    assert as_dict(likes.matrix, catalog) == {("ann", "tea"): 2, ("bob", "tea"): 1}


def test_old_interactions_count_less():
    # half-life 10 days: today's 1, ten days ago 1/2, twenty days ago 2 * 1/4
    likes, catalog = fit(
        half_life=10,
        user_id=["ann", "ann", "bob"],
        item_id=["tea", "tea", "rum"],
        timestamp=[100 * DAY, 90 * DAY, 80 * DAY],
        weight=[1.0, 1.0, 2.0],
    )
    assert as_dict(likes.matrix, catalog) == {("ann", "tea"): 1.5, ("bob", "rum"): 0.5}


def test_the_latest_by_time_then_by_line():
    likes, catalog = fit(
        user_id=["ann"] * 5 + ["bob"],
        item_id=["tea", "rum", "gin", "ale", "tea", "rum"],
        timestamp=[5, 9, 9, 1, 2, 3],  # gin stands after rum; tea was taken at 5 last; ale at 1
    )
    assert set(as_dict(likes.last(1), catalog)) == {("ann", "gin"), ("bob", "rum")}
    assert set(as_dict(likes.last(3), catalog)) == {("ann", i) for i in ("gin", "rum", "tea")} | {
        ("bob", "rum")
    }
    assert as_dict(likes.last(3), catalog)["ann", "tea"] == 2
    assert (likes.last(4) != likes.matrix).nnz == (likes.last(None) != likes.matrix).nnz == 0


def test_the_latest_by_line_where_there_is_no_time():
    likes, catalog = fit(user_id=["ann"] * 3, item_id=["tea", "rum", "tea"])
    assert set(as_dict(likes.last(1), catalog)) == {("ann", "tea")}


def test_another_column_says_how_much():
    likes, catalog = fit(
        column="stars", user_id=["ann", "bob"], item_id=["tea", "tea"], stars=[3, 4]
    )
    assert as_dict(likes.matrix, catalog) == {("ann", "tea"): 3, ("bob", "tea"): 4}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"half_life": 0}, "half_life is a number of days above 0, got 0"),
        ({"half_life": 5}, "half_life needs the interactions' timestamp, and they have none"),
        (
            {"column": "stars"},
            "weight names the column 'stars'; the interactions have user_id, item_id",
        ),
        (
            {"column": "stars", "stars": [-1.0]},
            "stars is how much .*: numbers of at least 0, none missing",
        ),
        ({"column": "stars", "stars": [np.nan]}, "numbers of at least 0, none missing"),
        ({"column": "stars", "stars": ["many"]}, "numbers of at least 0, none missing"),
        (
            {"column": "stars", "stars": [0]},
            "no interaction has a weight above 0: nobody likes anything",
        ),
    ],
)
def test_what_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        fit(user_id=["ann"], item_id=["tea"], **settings)
