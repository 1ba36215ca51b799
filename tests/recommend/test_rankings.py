"""Lists for everybody: the right order, nothing left out comes up, distinct scores; by hand and
against a loop.
"""

import numpy as np
import pandas as pd
import pytest

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.recommend.filters import seen_pairs
from tf_recall.recommend.rankings import Operational, Popularity, Recent, Trending


@pytest.fixture
def catalog():
    """tea has 3 interactions, gin and rum 2 each (a tie, by id), ale none."""
    train = Interactions.from_columns(
        user_id=["ann", "ann", "bob", "bob", "cid", "cid", "cid"],
        item_id=["tea", "rum", "tea", "gin", "tea", "gin", "rum"],
        items=pd.DataFrame({"item_id": ["ale", "gin", "rum", "tea"], "color": "brown"}),
    )
    return Catalog.fit(train)


def test_everyone_gets_the_same(catalog):
    item_id, score = Popularity().fit(None, catalog).recommend(["ann", "nobody"], k=4)
    assert item_id.tolist() == [["tea", "gin", "rum", "ale"]] * 2
    assert score.tolist() == [np.float32([1, 1 / 2, 1 / 3, 1 / 4]).tolist()] * 2


def test_without_seen(catalog):
    item_id, score = (
        Popularity()
        .fit(None, catalog)
        .recommend(["ann", "bob", "nobody", "cid"], k=3, exclude_seen=True)
    )
    assert item_id.tolist() == [
        ["gin", "ale", ""],
        ["rum", "ale", ""],
        ["tea", "gin", "rum"],
        ["ale", "", ""],
    ]
    third, fourth, inf = np.float32(1 / 3), 1 / 4, np.inf
    assert score.tolist() == [
        [0.5, fourth, -inf],
        [third, fourth, -inf],
        [1, 0.5, third],
        [fourth, -inf, -inf],
    ]


def test_context_has_no_part(catalog):
    popular = Popularity().fit(None, catalog)
    rows, score = popular.recommend_rows(["ann"], 2, exclude_seen=True)
    assert rows.dtype == np.int32 and score.dtype == np.float32
    assert catalog.items.decode(rows).tolist() == [["gin", "ale"]]
    assert popular.query_columns == {}
    with pytest.raises(ValueError, match="Popularity takes no device; it takes allow, exclude, "):
        popular.recommend_rows(["ann"], 2, device=["tv"])


@pytest.mark.parametrize("k", [0, 5])
def test_k_out_of_range(catalog, k):
    with pytest.raises(ValueError, match=f"k must be a whole number from 1 to 4, .*; got {k}"):
        Popularity().fit(None, catalog).recommend_rows(["ann"], k)


@pytest.mark.parametrize("k", [1, 7, 50])
def test_against_a_loop(k):
    rng = np.random.default_rng(k)
    users, items = rng.integers(0, 40, 900), np.minimum(rng.geometric(0.05, 900), 50)
    catalog = Catalog.fit(
        Interactions.from_columns(
            user_id=users, item_id=items, items=pd.DataFrame({"item_id": np.arange(1, 51)})
        )
    )
    asked = rng.integers(0, 45, 200)  # some unknown, some repeatedly
    rows, score = Popularity().fit(None, catalog).recommend_rows(asked, k, exclude_seen=True)
    order = sorted(range(1, 51), key=lambda row: (-catalog.items.counts[row], row))
    for user, line, values in zip(asked, rows, score, strict=True):
        had = set(catalog.items.encode(items[users == user]))
        left = [
            (row, np.float32(1 / (rank + 1))) for rank, row in enumerate(order) if row not in had
        ][:k]
        left += [(0, -np.inf)] * (k - len(left))
        assert list(zip(line.tolist(), values.tolist(), strict=True)) == left


def test_counts_that_do_not_fall_along_the_rows(catalog):
    catalog.items.counts[:] = [0, 1, 9, 4, 4]
    rows, _ = (
        Popularity().fit(None, catalog).recommend_rows(["nobody", "cid"], 4, exclude_seen=True)
    )
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
    assert catalog.items.decode(rows).tolist() == [
        "tea",
        "gin",
        "rum",
        "tea",
        "rum",
        "tea",
        "gin",
        "rum",
    ]


def dated():
    """Days of interactions: tea 0, 9, 10; gin 3, 10; rum 8; none of ale."""
    train = Interactions.from_columns(
        user_id=["ann", "bob", "cid", "ann", "bob", "cid"],
        item_id=["tea", "tea", "tea", "gin", "gin", "rum"],
        timestamp=[86_400 * day for day in (0, 9, 10, 3, 10, 8)],
        items=pd.DataFrame(
            {
                "item_id": ["ale", "gin", "rum", "tea"],
                "year": [1990, 2020, np.nan, 2001],
                "day": pd.to_datetime(["2024-03-01", None, "2024-01-01", "2024-02-01"]),
                "shares": [0.0, 7.0, 9.0, 8.0],
                "maker": ["x", "y", "z", "x"],
                "empty": None,
            }
        ),
    )
    return train, Catalog.fit(train)


@pytest.mark.parametrize(
    ("channel", "order"),
    [
        # of half-life 1: tea 2^-10 + 2^-1 + 1, gin 2^-7 + 1, rum 2^-2
        (Trending(1), ["tea", "gin", "rum", "ale"]),
        (Recent(), ["rum", "gin", "tea", ""]),  # first on days 8, 3, 0
        (Recent("year"), ["gin", "tea", "ale", ""]),
        (Recent("day"), ["ale", "tea", "rum", ""]),
        (Operational("shares"), ["rum", "tea", "gin", "ale"]),
    ],
)
def test_orders(channel, order):
    train, catalog = dated()
    item_id, score = channel.fit(train, catalog).recommend(["ann", "nobody"], k=4)
    assert item_id.tolist() == [order] * 2
    expected = [1 / (rank + 1) if item else -np.inf for rank, item in enumerate(order)]
    np.testing.assert_array_equal(score, np.float32([expected] * 2))
    kept = [item for item in order if item not in ("", "tea", "gin")]  # what ann has
    found = channel.recommend(["ann"], k=4, exclude_seen=True)[0][0].tolist()
    assert found == kept + [""] * (4 - len(kept))


def test_what_is_late_trends():
    def first(half_life):
        users, items = np.arange(12), ["old"] * 7 + ["new"] * 5
        train = Interactions.from_columns(
            user_id=users, item_id=items, timestamp=[0] * 7 + [86_400 * 10] * 5
        )
        return Trending(half_life).fit(train, Catalog.fit(train)).recommend([1], k=1)[0][0, 0]

    # old 7 * 2^(-10 / 20) = 4.95, or of a longer half-life 7 * 2^(-10 / 21) = 5.03; new 5
    assert first(7) == first(20) == "new" and first(21) == first(1000) == "old"


@pytest.mark.parametrize("allow", [True, False])
@pytest.mark.parametrize("k", [1, 5, 30])
def test_requests_against_a_loop(k, allow):
    rng = np.random.default_rng(k)
    users, items = rng.integers(0, 20, 150), np.minimum(rng.geometric(0.08, 150), 30)
    table = pd.DataFrame({"item_id": np.arange(1, 31), "shares": rng.permutation(30).astype(float)})
    table.loc[rng.choice(30, 6), "shares"] = np.nan
    train = Interactions.from_columns(user_id=users, item_id=items, items=table)
    channel = Operational("shares").fit(train, Catalog.fit(train))
    order = [
        item for item, shares in sorted(table.dropna().values.tolist(), key=lambda line: -line[1])
    ]
    asked, barring = rng.integers(0, 23, 40), rng.random(40) < 0.5
    lists = {
        name: [rng.integers(1, 34, rng.integers(0, longest)).tolist() for _ in asked]
        for name, longest in (("exclude", 6), ("history", 4), ("allow", 12))
    }
    if not allow:
        del lists["allow"]
    found, score = channel.recommend(asked, k, exclude_seen=barring, **lists)
    for at, user in enumerate(asked):
        out = set(lists["exclude"][at])
        if barring[at]:
            out |= set(items[users == user]) | set(lists["history"][at])
        among = set(lists["allow"][at]) if allow and lists["allow"][at] else set(order)
        kept = [
            (item, np.float32(1 / (1 + rank)))
            for rank, item in enumerate(order)
            if item in among - out
        ][:k]
        kept += [(-1, -np.inf)] * (k - len(kept))
        assert list(zip(found[at].tolist(), score[at].tolist(), strict=True)) == kept


def test_an_allow_list_of_unknown_items_leaves_nothing():
    train, catalog = dated()
    found = Popularity().fit(train, catalog).recommend(["ann"], k=2, allow=["milk"])[0]
    assert found.tolist() == [["", ""]]


def test_reasons_and_a_folder(tmp_path):
    train, catalog = dated()
    for channel, id in (
        (Popularity(), None),
        (Trending(), None),
        (Recent(), None),
        (Recent("year"), "year"),
    ):
        reasons = channel.fit(train, catalog).explain("ann", "tea")
        assert reasons == [{"kind": channel.kind, "id": id, "share": 1.0}]
        channel.save(tmp_path)
        again = type(channel)().load(tmp_path, catalog)
        for exclude_seen in (False, True):
            one, other = (
                each.recommend(["ann", "x"], 4, exclude_seen=exclude_seen)
                for each in (channel, again)
            )
            np.testing.assert_array_equal(one[0], other[0])
            np.testing.assert_array_equal(one[1], other[1])
    assert channel.explain("ann", "rum") == []  # of no year: not on the list
    with pytest.raises(ValueError, match="item 'milk' is unknown"):
        channel.explain("ann", "milk")
    with pytest.raises(ValueError, match="in .* and this catalog do not go together"):
        train = Interactions.from_columns(user_id=["ann"] * 2, item_id=["tea", "gin"])
        channel.load(tmp_path, Catalog.fit(train))
    (tmp_path / "order.npy").write_bytes(b"no array")
    with pytest.raises(ValueError, match="order.npy is damaged"):
        channel.load(tmp_path, catalog)


@pytest.mark.parametrize(
    ("channel", "message"),
    [
        (
            Operational("stock"),
            "the item table has no column 'stock'; it has year, day, shares, maker, empty",
        ),
        (
            Operational("maker"),
            "column 'maker' of the item table must hold numbers or datetimes, got 'x'",
        ),
        (Recent("empty"), "column 'empty' of the item table is empty"),
    ],
)
def test_bad_columns(channel, message):
    with pytest.raises(ValueError, match=message):
        channel.fit(*dated())


def test_without_times(catalog):
    train = Interactions.from_columns(user_id=["ann"], item_id=["tea"])
    with pytest.raises(
        ValueError, match=r"Recent\(\) needs the interactions' timestamp, and they have none"
    ):
        Recent().fit(train, catalog)
    with pytest.raises(ValueError, match="half_life needs the interactions' timestamp"):
        Trending().fit(train, catalog)
    with pytest.raises(ValueError, match="half_life is a number of days above 0, got 0"):
        Trending(0)
