"""Catalogs that grow: whose row is whose, who goes, and which events are new."""

import numpy as np
import pandas as pd
import pytest

from tf_recall.data.catalog import Catalog
from tf_recall.data.growth import DAY, active, joined
from tf_recall.data.interactions import Interactions
from tf_recall.features.needs import Needs
from tf_recall.positives import ItemPairs, NextItem, UserHalves, UserItem, Windows

FIRST = Interactions.from_columns(["ann", "ann", "bob"], ["x", "y", "x"], timestamp=[1, 2, 3])
LATER = Interactions.from_columns(["bob", "cid"], ["z", "x"], timestamp=[4, 5])


def test_known_ids_keep_their_rows_and_new_ones_come_from_none():
    catalog = Catalog.fit(FIRST)
    grown = catalog.grown(joined(FIRST, LATER))
    assert grown.users.ids.tolist() == ["ann", "bob", "cid"]
    assert grown.items.ids.tolist() == ["x", "y", "z"]
    assert grown.items.counts.tolist() == [0, 3, 1, 1]
    assert grown.origin.identity == catalog.identity
    assert grown.side("user").origin.tolist() == [0, 1, 2, 0]
    assert not grown.origin.moved


def test_who_is_named_nowhere_keeps_the_row_or_goes():
    catalog = Catalog.fit(FIRST)
    assert catalog.grown(LATER).users.ids.tolist() == ["ann", "bob", "cid"]
    gone = catalog.grown(LATER, keep=False)
    assert gone.users.ids.tolist() == ["bob", "cid"]
    assert gone.side("user").origin.tolist() == [0, 2, 0]
    assert gone.side("item").origin.tolist() == [0, 1, 0]
    assert gone.origin.moved


def test_a_side_table_keeps_what_nobody_has():
    table = pd.DataFrame({"item_id": ["x", "y", "z"], "color": list("rgb")})
    log = Interactions(LATER.frame, items=table)
    assert Catalog.fit(FIRST).grown(log, keep=False).items.ids.tolist() == ["x", "y", "z"]


def test_an_age_drops_users_and_items_without_a_younger_event():
    days = np.array([0, 50, 100, 100])
    table = pd.DataFrame({"item_id": [1, 2, 3, 4], "color": list("rgby")})
    log = Interactions.from_columns(
        ["a", "b", "b", "c"], [1, 2, 2, 3], timestamp=days * DAY, items=table
    )
    left = active(log, 60)
    assert left.frame["user_id"].tolist() == ["b", "b", "c"]
    assert left.items["item_id"].tolist() == [2, 3, 4]  # nobody had 4 yet
    assert len(active(log, 1)) == 3  # their last event counts, not their first
    with pytest.raises(ValueError, match="above 0, got 0"):
        active(log, 0)


def test_a_catalog_gives_its_interactions_back():
    catalog = Catalog.fit(FIRST)
    again = Catalog.fit(catalog.interactions())
    assert again.identity == catalog.identity
    for name in ("offsets", "items", "times"):
        expected = getattr(catalog.histories, name)
        np.testing.assert_array_equal(getattr(again.histories, name), expected)


def test_of_two_logs_the_later_is_learned_and_its_tables_count():
    one = Interactions(FIRST.frame, items=pd.DataFrame({"item_id": ["x", "y"], "c": [1, 2]}))
    two = Interactions(LATER.frame, items=pd.DataFrame({"item_id": ["x", "z"], "c": [7, 3]}))
    both = joined(one, two)
    assert both.learned.tolist() == [False, False, False, True, True]
    assert both.items.set_index("item_id")["c"].to_dict() == {"y": 2, "x": 7, "z": 3}
    assert both.to_learn.frame.equals(LATER.frame) and both.to_learn.learned is None
    assert both.select([0, 4]).learned.tolist() == [False, True]


def test_ids_of_digits_are_text_where_the_known_ones_are():
    digits = Interactions.from_columns([7, 8], [1, 2], timestamp=[4, 5])
    assert joined(FIRST, digits).frame["user_id"].tolist() == ["ann", "ann", "bob", "7", "8"]
    with pytest.raises(ValueError, match="user_id of the new log are strings"):
        joined(digits, FIRST)
    with pytest.raises(ValueError, match="the new log has no timestamps"):
        joined(FIRST, Interactions.from_columns(["a"], ["x"]))


@pytest.fixture
def both():
    log = joined(FIRST, LATER)
    return log, Catalog.fit(log)


def test_positives_are_new_events_and_histories_all(both):
    log, catalog = both
    columns = UserItem().batches(log, catalog, Needs("user"), 2).at(0)
    assert set(catalog.users.decode(columns["query"]["user"])) == {"bob", "cid"}
    batch = NextItem().batches(log, catalog, Needs("user", history=3), 1).at(0)
    assert catalog.items.decode(batch["query"]["history"]).tolist() == [["", "", "x"]]
    assert catalog.items.decode(batch["item"]["item"]).tolist() == ["z"]
    counts = UserItem().counts(log, catalog)
    assert counts["item"].sum() == 2 and counts["user"][catalog.users.encode(["ann"])] == 0


def test_positives_of_sessions_and_halves_are_of_new_events(both):
    log, catalog = both
    halves = UserHalves(per_user=1).batches(log, catalog, Needs("user", history=2), 1).at(0)
    assert catalog.users.decode(halves["query"]["user"]).tolist() == ["bob"]
    later = joined(FIRST, Interactions.from_columns(["bob"] * 2, ["z", "y"], timestamp=[4, 5]))
    catalog = Catalog.fit(later)
    pairs = ItemPairs().batches(later, catalog, Needs("item"), 2).at(0)
    assert set(catalog.items.decode(pairs["item"]["item"])) == {"y", "z"}
    assert Windows().batches(later, catalog, Needs("item"), 64).at(0)["item"].max() > 0
