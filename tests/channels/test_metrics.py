"""Posterior metrics by hand, that rarity earns nothing, and what they refuse."""

import numpy as np
import pandas as pd
import pytest

from tf_recall.channels.metrics import Count, MeanWeight, Rate
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions


def world(**columns):
    """Interactions of tea (3), gin (2), rum (1) and none of ale; gin has no line among the
    items.
    """
    items = pd.DataFrame({"item_id": ["ale", "rum", "tea"], **columns})
    train = Interactions.from_columns(
        user_id=["ann", "bob", "cid", "ann", "bob", "ann"],
        item_id=["tea", "tea", "tea", "gin", "gin", "rum"],
        rating=[4.0, 5.0, 3.0, 2.0, 1.0, 5.0],
        items=items,
    )
    return train, Catalog.fit(train)


def by_item(metric, train, catalog):
    values = metric(train, catalog)
    assert values.dtype == np.float32 and values.shape == (catalog.items.size,) and values[0] == 0
    return dict(zip(catalog.items.ids, values[1:].tolist(), strict=True))


def test_count():
    assert by_item(Count(), *world()) == {"tea": 3, "gin": 2, "rum": 1, "ale": 0}


def test_rate():
    # overall (0 + 6 + 30) / (0 + 20 + 70) = 0.4; of strength 10 it adds 4 successes to 10 trials
    found = by_item(
        Rate("clicks", "shown", strength=10), *world(clicks=[0, 6, 30], shown=[0, 20, 70])
    )
    expected = {
        "tea": (30 + 4) / (70 + 10),
        "rum": (6 + 4) / (20 + 10),
        "ale": 4 / 10,
        "gin": 4 / 10,
    }
    assert found == pytest.approx(expected)


def test_mean_weight():
    # overall (4 + 5 + 3 + 2 + 1 + 5) / 6 = 10 / 3; of strength 3 it adds 10 to the sum of ratings
    found = by_item(MeanWeight("rating", strength=3), *world())
    expected = {
        "tea": (12 + 10) / (3 + 3),
        "gin": (3 + 10) / (2 + 3),
        "rum": (5 + 10) / (1 + 3),
        "ale": 10 / 3,
    }
    assert found == pytest.approx(expected)


def test_a_rare_item_does_not_win_by_luck():
    # rum: 1 of 1, ale: 900 of 1000, tea: 300 of 2000
    found = by_item(Rate("clicks", "shown"), *world(clicks=[900, 1, 300], shown=[1000, 1, 2000]))
    assert found["ale"] > 0.8 > found["rum"] > found["tea"]
    users, items = np.arange(301), np.array(["good"] * 100 + ["bad"] * 200 + ["rare"])
    train = Interactions.from_columns(
        user_id=users, item_id=items, stars=[4.5] * 100 + [2.0] * 200 + [5.0]
    )
    found = by_item(MeanWeight("stars"), train, Catalog.fit(train))
    assert found["good"] > found["rare"] > found["bad"]


def test_strength_draws_towards_the_average():
    train, catalog = world(clicks=[0, 6, 30], shown=[0, 20, 70])
    spread = [
        np.ptp(Rate("clicks", "shown", strength)(train, catalog)[1:])
        for strength in (0.01, 10, 1e6)
    ]
    assert spread[0] > spread[1] > spread[2] and spread[2] < 1e-3
    assert by_item(Rate("clicks", "shown", 1e-6), train, catalog)["tea"] == pytest.approx(
        30 / 70, rel=1e-5
    )


@pytest.mark.parametrize(
    ("clicks", "shown", "message"),
    [
        ([0, 6, 71], [0, 20, 70], "clicks of an item is no more than its shown, got 71.0 of 'tea'"),
        (
            [0, -6, 30],
            [0, 20, 70],
            "clicks of an item is a number of at least 0, got -6.0 of 'rum'",
        ),
        (
            [0, 6, 30],
            [0, 20, np.inf],
            "shown of an item is a number of at least 0, got inf of 'tea'",
        ),
        (
            [0, np.nan, 30],
            [0, 20, 70],
            "clicks of an item is a number of at least 0, got nan of 'rum'",
        ),
        (
            [0, 6, 30],
            [np.nan, 20, 70],
            "shown of an item is a number of at least 0, got nan of 'ale'",
        ),
        ([0, 0, 0], [0, 0, 0], "nothing was tried: column 'shown' of the item table holds 0 alone"),
        (
            [0, "many", 30],
            [0, 20, 70],
            "column 'clicks' of the item table must hold numbers or datetimes, got 'many'",
        ),
        ([None] * 3, [0, 20, 70], "column 'clicks' of the item table is empty"),
    ],
)
def test_bad_rates(clicks, shown, message):
    with pytest.raises(ValueError, match=message):
        Rate("clicks", "shown")(*world(clicks=clicks, shown=shown))


def test_absent_columns_and_bad_weights():
    with pytest.raises(ValueError, match="the item table has no column 'shares'; it has clicks"):
        Rate("clicks", "shares")(*world(clicks=[1, 2, 3]))
    with pytest.raises(
        ValueError, match="the item table has no column 'clicks'; it has no columns"
    ):
        Rate("clicks", "shown")(*world())
    with pytest.raises(
        ValueError,
        match="weight names the column 'stars'; the interactions have user_id, item_id, rat",
    ):
        MeanWeight("stars")(*world())
    for bad, shown in ((np.nan, "nan"), (-1.0, "-1.0")):
        train = Interactions.from_columns(user_id=["a", "b"], item_id=["x", "y"], stars=[1.0, bad])
        with pytest.raises(
            ValueError,
            match=f"stars of an interaction is a number of at least 0, got {shown} in row 1",
        ):
            MeanWeight("stars")(train, Catalog.fit(train))


@pytest.mark.parametrize("strength", [0, -1, np.nan])
def test_bad_strength(strength):
    for make in (lambda: Rate("clicks", "shown", strength), lambda: MeanWeight(strength=strength)):
        with pytest.raises(ValueError, match="strength is a number above 0"):
            make()
