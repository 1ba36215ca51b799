"""The planted world of searches: drawn from what it tells; hosts that reject as it says; some
without any log.
"""

import numpy as np
import pytest

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.sessions import ByColumn, WithConversion
from tf_recall.data.sources.stays import LEADS, Stays, stays, stays_log


@pytest.fixture(scope="module")
def world() -> Stays:
    return stays(num_users=800, num_items=200, num_cities=6, num_countries=3)


@pytest.fixture(scope="module")
def joined(world):
    """The clicks beside what is known of item and user."""
    log = world.interactions
    items = log.items.rename(columns={"country": "abroad"})
    return (
        log.frame.merge(items, on="item_id")
        .merge(log.users, on="user_id")
        .sort_values("timestamp", kind="stable")
    )


def test_same_seed_same_world(world):
    again, other = stays(800, 200, 6, 3), stays_log(800, 200, 6, seed=1)
    assert again.interactions.frame.equals(world.interactions.frame)
    assert again.interactions.items.equals(world.interactions.items)
    assert again.interactions.users.equals(world.interactions.users)
    assert not other.frame["item_id"].equals(world.interactions.frame["item_id"])


def test_a_search_is_one_users_run_of_clicks_mostly_in_one_city(world, joined):
    frame = world.interactions.frame
    assert frame["timestamp"].is_monotonic_increasing
    searches = joined.groupby("search")
    assert (searches["user_id"].nunique() == 1).all() and not frame.duplicated(
        ["search", "item_id"]
    ).any()
    assert searches.size().max() <= 16 and searches.size().median() >= 3
    assert searches["city"].agg(lambda city: city.value_counts().iloc[0] / len(city)).mean() > 0.9
    assert (joined["country"] == joined["abroad"]).mean() > 0.75


def test_a_booking_is_the_last_click_of_four_in_ten_searches(world):
    frame = world.interactions.frame
    last = frame.groupby("search")["timestamp"].transform("max") == frame["timestamp"]
    assert frame["booked"].dtype == bool and not (frame["booked"] & ~last).any()
    assert abs(frame["booked"].sum() / frame["search"].nunique() - LEADS) < 0.04
    sessions = WithConversion(ByColumn("search"), "booked")(
        world.interactions, Catalog.fit(world.interactions)
    )
    assert np.count_nonzero(sessions.conversion) == frame["booked"].sum()


def test_what_is_clicked_suits_the_user(joined):
    ratio = np.abs(np.log(joined["price"] / joined["budget"]))
    assert ratio.median() < 0.35 and (joined["capacity"] < joined["party"]).mean() < 0.1


def test_the_rejected_were_clicked_before_and_the_host_says_no_for_a_reason(world, joined):
    """Homes shared with the host reject nine in ten parties that fill them, all others one in
    fifty.
    """
    frame = world.interactions.frame
    named = frame[frame["negatives"].str.len() > 0]
    assert named["booked"].all() and len(named) > 0.05 * frame["booked"].sum()
    clicked = set(zip(frame["search"], frame["item_id"], strict=True))
    refused = named.explode("negatives")[["user_id", "search", "negatives"]].rename(
        columns={"negatives": "item_id"}
    )
    assert set(zip(refused["search"], refused["item_id"], strict=True)) <= clicked
    refused = refused.merge(world.interactions.items, on="item_id").merge(
        world.interactions.users, on="user_id"
    )
    booked = joined[joined["booked"]]

    def full(pairs):
        return ((pairs["kind"] != "entire") & (pairs["capacity"] <= pairs["party"])).mean()

    assert full(refused) > 0.7 > 0.1 > full(booked)


def test_bookings_follow_the_probabilities_told():
    """One user's bookings over many years: each item as often as P(booked | user) says."""
    world = stays(num_users=400, num_items=12, num_cities=2, num_countries=1, seed=3)
    frame = world.interactions.frame[world.interactions.frame["booked"]]
    expected = world.booked(frame["user_id"])  # [bookings, 12]
    np.testing.assert_allclose(expected.sum(axis=1), 1)
    found = np.bincount(frame["item_id"].str[1:].astype(int), minlength=12)
    spread = np.sqrt((expected * (1 - expected)).sum(axis=0))
    assert (np.abs(found - expected.sum(axis=0)) < 4 * spread).all() and len(frame) > 300


def test_best_is_far_above_popularity_and_no_wrong_ranking_beats_it(world):
    frame = world.interactions.frame[world.interactions.frame["booked"]]

    def hits(lists):
        return np.mean([item in row for item, row in zip(frame["item_id"], lists, strict=True)])

    best = hits(world.best(frame["user_id"], 10))
    popular = frame["item_id"].value_counts().index[:10].tolist()
    assert best > 2 * hits([popular] * len(frame))
    blunt = Stays(world.interactions, world.tastes, world.styles, world.popularity, 0.0)
    assert best > 1.1 * hits(blunt.best(frame["user_id"], 10))


def test_popularity_is_skewed_and_some_have_no_log(world):
    counts = world.interactions.frame["item_id"].value_counts()
    assert counts.iloc[:20].sum() > 0.2 * counts.sum() and counts.min() < 0.1 * counts.mean()
    users = world.interactions.frame["user_id"].nunique()
    assert 0.95 * 800 < users < 800
    searches = world.interactions.frame.groupby("user_id")["search"].nunique()
    assert (searches == 1).mean() > 0.15 and searches.max() > 10


def test_a_file_says_the_same(world, tmp_path):
    frame = world.interactions.frame.head(500)
    frame.assign(negatives=frame["negatives"].str.join("|")).to_csv(
        tmp_path / "log.csv", index=False
    )
    again = Interactions.from_csv(tmp_path / "log.csv").frame
    assert again["booked"].tolist() == frame["booked"].tolist()
    assert [
        text.split("|") if isinstance(text, str) else [] for text in again["negatives"]
    ] == frame["negatives"].tolist()


@pytest.mark.parametrize(
    "sizes", [{"num_users": 0}, {"dim": 0}, {"num_countries": 13}, {"num_items": 5}]
)
def test_impossible_sizes_are_refused(sizes):
    with pytest.raises(ValueError, match="num_countries <= num_cities <= num_items; got"):
        stays(**sizes)
