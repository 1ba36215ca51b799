"""Rates of what was shown, by hand and planted: smoothed, of trials alone, beside their length."""

import numpy as np
import pandas as pd
import pytest

from tf_recall.channels.best import Best
from tf_recall.channels.consumption import ShownRate, WatchedShare
from tf_recall.channels.inverted_index import InvertedIndex
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.lengths import LengthCurve
from tf_recall.data.splits import by_time


def world(**changes):
    """Of tea 4 shown, 3 clicked and 1 liked; of gin 2, 1, 1; of rum 2, 1, 0; none of ale."""
    columns = {
        "user_id": list("abcdabab"),
        "item_id": ["tea"] * 4 + ["gin"] * 2 + ["rum"] * 2,
        "clicked": [1, 1, 1, 0, 1, 0, 1, 0],
        "liked": [1, 0, 0, 0, 1, 0, 0, 0],
        "seconds": [30.0, 60, 90, 0, 10, 0, 40, 0],
        **changes,
    }
    items = pd.DataFrame({"item_id": ["tea", "gin", "rum", "ale"], "length": [60, 10, 80, 10]})
    items["zero"] = 0.0
    items["genre"] = ["hot", "cold", "cold", "cold"]
    shown = Interactions.from_columns(**columns, timestamp=np.arange(8), items=items)
    train = shown.where("clicked")
    return train, Catalog.fit(train)


def by_item(metric, train, catalog):
    values = metric(train, catalog)
    assert values.dtype == np.float32 and values.shape == (catalog.items.size,) and values[0] == 0
    return dict(zip(catalog.items.ids, values[1:].tolist(), strict=True))


def test_clicks_per_impression_and_likes_per_click():
    # overall 5 / 8; of strength 8 it adds 5 clicks to 8 impressions
    found = by_item(ShownRate("clicked", strength=8), *world())
    assert found == pytest.approx({"tea": 8 / 12, "gin": 6 / 10, "rum": 6 / 10, "ale": 5 / 8})
    # of 5 clicks 2 were liked; of strength 5 it adds 2 likes to 5 clicks
    found = by_item(ShownRate("liked", of="clicked", strength=5), *world())
    assert found == pytest.approx({"tea": 3 / 8, "gin": 3 / 6, "rum": 2 / 6, "ale": 2 / 5})


def test_a_log_without_impressions_is_of_interactions():
    train, _ = world()
    shown = Interactions(train.impressions, items=train.items)
    assert by_item(ShownRate("clicked", strength=8), shown, Catalog.fit(shown)) == pytest.approx(
        by_item(ShownRate("clicked", strength=8), *world())
    )


def test_finish_rates_by_hand():
    # of clicks: tea 30, 60, 90 of 60 s: 0.5, 1, 1; gin 10 of 10: 1; rum 40 of 80: 0.5
    # the curve falls: 1 at 10 s, 2.5 / 3 at 60, 0.5 at 80; so shares are 0.6, 1.2, 1.2, 1, 1
    found = by_item(WatchedShare("seconds", "length", of="clicked", strength=5), *world())
    assert found == pytest.approx({"tea": 8 / 8, "gin": 6 / 6, "rum": 6 / 6, "ale": 1.0})
    found = by_item(WatchedShare("seconds", "length", of="clicked", strength=1e-6), *world())
    assert found == pytest.approx({"tea": 1.0, "gin": 1.0, "rum": 1.0, "ale": 1.0}, abs=1e-4)


def test_a_good_long_video_is_above_a_bad_short_one():
    generator = np.random.default_rng(0)
    length = generator.uniform(10, 600, 200)
    worth = generator.uniform(0.6, 1.4, 200)  # beside what the length lets expect
    item = generator.integers(0, 200, 40_000)
    share = np.clip(worth * 0.9 * np.exp(-length / 400), 0, 1)[item]
    watched = share * length[item] * generator.uniform(0.9, 1.1, len(item))
    items = pd.DataFrame({"item_id": np.arange(200), "length": length})
    users = generator.integers(0, 500, len(item))
    log = Interactions.from_columns(users, item, watched=watched, items=items)
    catalog = Catalog.fit(log)
    found = WatchedShare("watched", "length")(log, catalog)[catalog.items.encode(np.arange(200))]
    assert np.corrcoef(found, worth)[0, 1] > 0.95
    plain = log.frame.assign(share=np.minimum(1, watched / length[item]))
    plain = Interactions(plain, items=items)
    raw = ShownRate("share")(plain, catalog)[catalog.items.encode(np.arange(200))]
    assert np.corrcoef(raw, length)[0, 1] < -0.7 and abs(np.corrcoef(found, length)[0, 1]) < 0.15


def test_the_curve_falls_and_is_flat_outside():
    generator = np.random.default_rng(1)
    length = generator.uniform(0, 100, 2000)
    share = np.exp(-length / 50) + generator.normal(0, 0.1, 2000)
    curve = LengthCurve.fit(length, np.clip(share, 0, 1))
    at = curve(np.linspace(-50, 200, 100))
    assert (np.diff(at) <= 1e-12).all() and at[0] == at[10] and at[-1] == at[-20]
    np.testing.assert_allclose(curve(np.array([25.0, 50.0])), np.exp([-0.5, -1.0]), atol=0.05)
    with pytest.raises(ValueError, match="nothing was finished"):
        LengthCurve.fit(np.array([1.0]), np.array([0.0]))


def test_lists_by_a_rate():
    train, catalog = world()
    channel = Best(ShownRate("liked", of="clicked", strength=5)).fit(train, catalog)
    assert channel.recommend(["x"], k=4)[0].tolist() == [["gin", "ale", "tea", "rum"]]
    index = InvertedIndex(["genre"], metric=ShownRate("liked", of="clicked", strength=5))
    items, _ = index.fit(train, catalog).recommend(["x"], k=3, allow=["ale", "gin", "rum"])
    assert items[0].tolist() == ["", "", ""]  # of nobody nothing is known
    frame = train.frame.assign(user_id=["a", "b", "c", "cold", "cold"])  # who likes what is cold
    train = Interactions(frame, items=train.items, impressions=train.impressions)
    items, _ = index.fit(train, Catalog.fit(train)).recommend(["cold"], k=3)
    assert items[0].tolist() == ["gin", "ale", "rum"]


def test_what_comes_later_counts_for_nothing():
    train, _ = world(clicked=[1, 1, 1, 0, 1, 0, 1, 1])
    split = by_time(train, test=0.3)
    catalog = Catalog.fit(split.train)
    found = by_item(ShownRate("clicked", strength=1e-6), split.train, catalog)
    assert found["gin"] == pytest.approx(1.0) and found["tea"] == pytest.approx(0.75)


@pytest.mark.parametrize(
    "metric, says",
    [
        (ShownRate("shared"), "the log has no column 'shared'; it has user_id"),
        (ShownRate("clicked", of="seen"), "the log has no column 'seen'"),
        (ShownRate("seconds"), "seconds is true, false or a share from 0 to 1, got 30.0 in row 0"),
        (WatchedShare("seconds", "duration"), "the item table has no column 'duration'"),
        (WatchedShare("below", "length"), "below is a number of at least 0, got -1.0 in row 0"),
        (WatchedShare("nothing", "length"), "nothing was finished"),
        (WatchedShare("seconds", "zero"), "zero is above 0, got 0.0 of 'tea'"),
        (ShownRate("clicked", of="nothing"), "nothing was tried: column 'nothing' is true nowhere"),
    ],
)
def test_what_is_no_rate_is_refused(metric, says):
    train, catalog = world(below=[-1] * 8, nothing=[0] * 8)
    with pytest.raises(ValueError, match=says):
        metric(train, catalog)
    with pytest.raises(ValueError, match="strength is a number above 0, got 0"):
        ShownRate("a", strength=0)
