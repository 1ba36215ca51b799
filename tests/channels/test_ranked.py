"""Popularity: the right order, nothing seen, distinct scores; against a loop, and on what it is given."""

import numpy as np
import pandas as pd
import pytest

from tf_recall.channels.base import seen_pairs
from tf_recall.channels.ranked import Popularity
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions


@pytest.fixture
def catalog():
    """tea has 3 interactions, gin and rum 2 each (a tie, by id), ale none."""
    train = Interactions.from_columns(
        user_id=["ann", "ann", "bob", "bob", "cid", "cid", "cid"],
        item_id=["tea", "rum", "tea", "gin", "tea", "gin", "rum"],
        items=pd.DataFrame({"item_id": ["ale", "gin", "rum", "tea"], "colour": "brown"}),
    )
    return Catalog.fit(train)


def test_everyone_gets_the_same(catalog):
    item_id, score = Popularity().fit(None, catalog).recommend(["ann", "nobody"], k=4)
    assert item_id.tolist() == [["tea", "gin", "rum", "ale"]] * 2
    assert score.tolist() == [np.float32([1, 1 / 2, 1 / 3, 1 / 4]).tolist()] * 2


def test_without_seen(catalog):
    item_id, score = Popularity().fit(None, catalog).recommend(["ann", "bob", "nobody", "cid"], k=3, exclude_seen=True)
    assert item_id.tolist() == [["gin", "ale", ""], ["rum", "ale", ""], ["tea", "gin", "rum"], ["ale", "", ""]]
    third, fourth, inf = np.float32(1 / 3), 1 / 4, np.inf
    assert score.tolist() == [[0.5, fourth, -inf], [third, fourth, -inf], [1, 0.5, third], [fourth, -inf, -inf]]


def test_context_plays_no_part(catalog):
    rows, score = Popularity().fit(None, catalog).recommend_rows(["ann"], 2, exclude_seen=True, device=["tv"])
    assert rows.dtype == np.int32 and score.dtype == np.float32
    assert catalog.items.decode(rows).tolist() == [["gin", "ale"]]


@pytest.mark.parametrize("k", [0, 5])
def test_k_out_of_range(catalog, k):
    with pytest.raises(ValueError, match=f"k is {k}; the catalogue allows 1 to 4"):
        Popularity().fit(None, catalog).recommend_rows(["ann"], k)


@pytest.mark.parametrize("k", [1, 7, 50])
def test_against_a_loop(k):
    rng = np.random.default_rng(k)
    users, items = rng.integers(0, 40, 900), np.minimum(rng.geometric(0.05, 900), 50)
    catalog = Catalog.fit(
        Interactions.from_columns(user_id=users, item_id=items, items=pd.DataFrame({"item_id": np.arange(1, 51)}))
    )
    asked = rng.integers(0, 45, 200)  # some unknown, some repeatedly
    rows, score = Popularity().fit(None, catalog).recommend_rows(asked, k, exclude_seen=True)
    order = sorted(range(1, 51), key=lambda row: (-catalog.items.counts[row], row))
    for user, line, values in zip(asked, rows, score, strict=True):
        had = set(catalog.items.encode(items[users == user]))
        left = [(row, np.float32(1 / (place + 1))) for place, row in enumerate(order) if row not in had][:k]
        left += [(0, -np.inf)] * (k - len(left))
        assert list(zip(line.tolist(), values.tolist(), strict=True)) == left


def test_counts_that_do_not_fall_along_the_rows(catalog):
    catalog.items.counts[:] = [0, 1, 9, 4, 4]
    rows, _ = Popularity().fit(None, catalog).recommend_rows(["nobody", "cid"], 4, exclude_seen=True)
    assert rows.tolist() == [[2, 3, 4, 1], [4, 0, 0, 0]]


def test_scores_stay_distinct_far_down_the_list():
    ids = np.arange(200_000)
    catalog = Catalog.fit(Interactions.from_columns(user_id=np.zeros_like(ids), item_id=ids))
    _, score = Popularity().fit(None, catalog).recommend_rows([7], 200_000)
    assert (np.diff(score[0]) < -1e-6 * score[0][:-1]).all()


def test_seen_pairs(catalog):
    users = catalog.users.encode(["cid", "nobody", "ann", "cid"])
    query, rows = seen_pairs(catalog.seen, users)
    assert query.tolist() == [0, 0, 0, 2, 2, 3, 3, 3]
    assert catalog.items.decode(rows).tolist() == ["tea", "gin", "rum", "tea", "rum", "tea", "gin", "rum"]
