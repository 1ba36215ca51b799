"""Cases: who is asked, with which context, and which rows count as right."""

import numpy as np
import pandas as pd
import pytest

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.evaluation import cases_by_row, cases_by_user


@pytest.fixture
def catalog():
    """Rows by falling count: tea 1, rum 2, gin 3; ale stands in the item table only: row 4."""
    train = Interactions.from_columns(
        user_id=["ann", "ann", "bob", "bob", "cid", "cid"],
        item_id=["tea", "rum", "tea", "gin", "tea", "rum"],
        items=pd.DataFrame({"item_id": ["tea", "rum", "gin", "ale"], "color": "brown"}),
    )
    return Catalog.fit(train)


def test_rows(catalog):
    assert catalog.items.ids.tolist() == ["tea", "rum", "gin", "ale"]


def test_by_user_groups_and_takes_the_first_events_context(catalog):
    test = Interactions.from_columns(
        user_id=["bob", "ann", "bob", "bob", "ann", "bob"],
        item_id=["ale", "gin", "rum", "ale", "absinthe", "absinthe"],
        timestamp=[30, 20, 10, 40, 25, 50],
        device=["tv", "web", "app", "tv", "tv", "web"],
        weight=[1, 1, 1, 1, 1, 1],
    )
    cases = cases_by_user(test, catalog)
    assert cases.user_id.tolist() == ["bob", "ann"]
    assert cases.offsets.tolist() == [0, 2, 3]
    # bob: rum and ale (twice held out, once relevant); ann: gin
    assert cases.rows.tolist() == [
        2,
        4,
        3,
    ]
    assert cases.num_unknown.tolist() == [1, 1]  # absinthe
    assert {name: values.tolist() for name, values in cases.context.items()} == {
        "timestamp": [10, 20],  # bob's first event is his third line
        "device": ["app", "web"],
    }
    assert cases.owner.tolist() == [0, 0, 1]


def test_by_user_without_timestamps_takes_the_first_line(catalog):
    test = Interactions.from_columns(
        user_id=["bob", "ann", "bob"], item_id=["rum", "gin", "ale"], device=["a", "b", "c"]
    )
    assert cases_by_user(test, catalog).context["device"].tolist() == ["a", "b"]


def test_unknown_items_are_counted_once_each(catalog):
    test = Interactions.from_columns(user_id=["ann"] * 4, item_id=["port", "sake", "port", "gin"])
    cases = cases_by_user(test, catalog)
    assert cases.num_unknown.tolist() == [2] and cases.rows.tolist() == [3]


def test_by_row_asks_every_line(catalog):
    test = Interactions.from_columns(
        user_id=["ann", "bob", "ann"],
        item_id=["gin", "port", "gin"],
        timestamp=[3, 2, 1],
        device=["x", "y", "z"],
    )
    cases = cases_by_row(test, catalog)
    assert cases.user_id.tolist() == ["ann", "bob", "ann"]
    assert cases.offsets.tolist() == [0, 1, 1, 2] and cases.rows.tolist() == [3, 3]
    assert cases.num_unknown.tolist() == [0, 1, 0]
    assert cases.context["device"].tolist() == ["x", "y", "z"]


def test_chosen_context(catalog):
    test = Interactions.from_columns(user_id=["ann"], item_id=["gin"], timestamp=[3], device=["x"])
    assert list(cases_by_user(test, catalog, context=["device"]).context) == ["device"]
    with pytest.raises(
        ValueError, match="no column mood; they have user_id, item_id, timestamp, device"
    ):
        cases_by_row(test, catalog, context=["mood"])


def test_without_seen(catalog):
    test = Interactions.from_columns(
        user_id=["ann", "ann", "bob", "dan", "cid", "cid"],
        item_id=["tea", "ale", "gin", "tea", "rum", "port"],
        device=list("uvwxyz"),
    )
    left = cases_by_user(test, catalog).without_seen(catalog)
    # bob had his gin; cid is left with an unknown item
    assert left.user_id.tolist() == [
        "ann",
        "dan",
        "cid",
    ]
    assert left.offsets.tolist() == [0, 1, 2, 2] and left.rows.tolist() == [4, 1]
    assert left.num_unknown.tolist() == [0, 0, 1]
    assert left.context["device"].tolist() == ["u", "x", "y"]


@pytest.mark.parametrize("make", [cases_by_user, cases_by_row])
def test_some_of_the_cases(catalog, make):
    test = Interactions.from_columns(
        user_id=["ann", "ann", "bob", "dan", "cid", "cid"],
        item_id=["tea", "ale", "gin", "tea", "rum", "port"],
        device=list("uvwxyz"),
    )
    cases = make(test, catalog)
    some = cases.select(np.array([1, 3]))
    assert len(some) == 2 and some.user_id.tolist() == cases.user_id[[1, 3]].tolist()
    for one, each in enumerate([1, 3]):
        line = slice(cases.offsets[each], cases.offsets[each + 1])
        ours = slice(some.offsets[one], some.offsets[one + 1])
        assert some.rows[ours].tolist() == cases.rows[line].tolist()
        assert some.context["device"][one] == cases.context["device"][each]
        assert some.num_unknown[one] == cases.num_unknown[each]
    whole = cases.select(np.arange(len(cases)))
    assert whole.rows.tolist() == cases.rows.tolist() and (whole.past is None) == (
        cases.past is None
    )


@pytest.mark.parametrize("seed", range(3))
def test_without_seen_against_sets(seed):
    rng = np.random.default_rng(seed)
    train = Interactions.from_columns(
        user_id=rng.integers(0, 30, 400), item_id=rng.integers(0, 40, 400)
    )
    test = Interactions.from_columns(
        user_id=rng.integers(0, 40, 300), item_id=rng.integers(0, 50, 300)
    )
    catalog = Catalog.fit(train)
    left = cases_by_user(test, catalog).without_seen(catalog)
    seen = set(zip(train.frame["user_id"], train.frame["item_id"], strict=True))
    pairs = set(zip(test.frame["user_id"], test.frame["item_id"], strict=True)) - seen
    known = {(user, item) for user, item in pairs if item in set(catalog.items.ids)}
    assert set(zip(left.user_id[left.owner], catalog.items.decode(left.rows), strict=True)) == known
    assert len(left.rows) == len(known) and left.num_unknown.sum() == len(pairs) - len(known)
    assert sorted(left.user_id) == sorted({user for user, _ in pairs})


@pytest.mark.parametrize("make", [cases_by_user, cases_by_row])
def test_empty_test(catalog, make):
    some = Interactions.from_columns(user_id=["ann"], item_id=["gin"])
    with pytest.raises(
        ValueError, match="nothing to evaluate: the held-out interactions are empty"
    ):
        make(some.select([False]), catalog)
