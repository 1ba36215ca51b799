"""Swing: by hand, against loops, on a planted world, with limits; and what a channel does with
it.
"""

import logging
from itertools import combinations

import numpy as np
import pytest
from scipy import sparse

from tf_recall.channels import swing
from tf_recall.channels.item_cf import ItemCF
from tf_recall.channels.swing import Swing, swinging
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.likes import Likes

DRINKS = {
    "ann": ["gin", "rum", "tea"],
    "bob": ["gin", "rum", "tea"],
    "cid": ["gin", "rum"],
    "dan": ["rum", "ale"],
}


def interactions(baskets):
    pairs = [(user, item) for user, items in baskets.items() for item in items]
    return Interactions.from_columns(
        user_id=[user for user, _ in pairs], item_id=[item for _, item in pairs]
    )


def fitted(channel, baskets):
    train = interactions(baskets)
    return channel.fit(train, Catalog.fit(train))


def similarities(channel):
    """By pair of ids, each way."""
    ids = channel.catalog.items.decode(np.arange(channel.right.shape[0])).tolist()
    found = channel.right.tocoo()
    return {
        (ids[i], ids[j]): value
        for i, j, value in zip(found.row, found.col, found.data.tolist(), strict=True)
    }


def zipf_likes(seed=0, users=90, items=40, mean=6):
    rng = np.random.default_rng(seed)
    columns = np.exp(rng.random(users * mean) * np.log(items)).astype(int)
    pairs = np.unique(np.stack([rng.integers(1, users, users * mean), columns]), axis=1)
    return sparse.csr_matrix(
        (np.ones(pairs.shape[1], np.float32), tuple(pairs)), (users, items + 1)
    )


def twin(likes, alpha):
    """The formula, one pair of users after another."""
    liked = [set(row.indices.tolist()) for row in likes]
    sim = np.zeros((likes.shape[1],) * 2)
    for u, v in combinations(range(len(liked)), 2):
        both = sorted(liked[u] & liked[v])
        for i, j in combinations(both, 2):
            sim[i, j] += 1 / (alpha + len(both))
    return sim + sim.T


def test_by_hand():
    # overlaps: ann and bob 3, ann and cid 2, bob and cid 2; dan shares only rum with others, which
    # is no pair of items alpha 1: gin and rum, by all three pairs: 1/4 + 1/3 + 1/3 = 11/12; gin and
    # tea, rum and tea, by ann and bob: 1/4
    channel = fitted(Swing(), DRINKS)
    # fmt: skip
    assert similarities(channel) == pytest.approx(
        {
            (a, b): s
            for x, y, s in [("gin", "rum", 11 / 12), ("gin", "tea", 1 / 4), ("rum", "tea", 1 / 4)]
            for a, b in [(x, y), (y, x)]
        }
    )
    # alpha 0: 1/3 + 1/2 + 1/2 = 4/3 and 1/3
    channel = fitted(Swing(alpha=0), DRINKS)
    assert similarities(channel)["gin", "rum"] == pytest.approx(4 / 3)
    assert similarities(channel)["tea", "rum"] == pytest.approx(1 / 3)


def test_as_a_channel(tmp_path):
    channel = fitted(Swing(), DRINKS)
    # cid likes gin and rum: tea gets 1/4 + 1/4; ale is similar to nothing
    item_id, score = channel.recommend(["cid", "nobody"], k=2, exclude_seen=True)
    assert item_id.tolist() == [["tea", ""], ["", ""]]
    assert score.tolist() == [[0.5, -np.inf], [-np.inf, -np.inf]]
    why = channel.explain("cid", "tea")
    assert {each["id"]: each["share"] for each in why} == pytest.approx({"gin": 0.5, "rum": 0.5})
    assert {each["kind"] for each in why} == {"item"}
    # a history stands for the user: of tea alone gin and rum are worth 1/4 each
    item_id, score = channel.recommend(["dan"], k=2, history=["tea"])
    assert set(item_id[0]) == {"gin", "rum"} and score.tolist() == [[0.25, 0.25]]
    item_id, score = channel.similar(["rum", "ale"], k=3)
    assert item_id.tolist() == [["gin", "tea", ""], ["", "", ""]]
    assert score[0] == pytest.approx([11 / 12, 1 / 4, -np.inf])

    channel.save(tmp_path)
    again = Swing().load(tmp_path, channel.catalog)
    for one, other in zip(
        again.recommend(["ann", "dan"], 4), channel.recommend(["ann", "dan"], 4), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("alpha", [0, 0.5, 1, 20])
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("many", [4, 25, 1000])
def test_against_loops(monkeypatch, alpha, seed, many):
    """Whichever items are taken one by one."""
    monkeypatch.setattr(swing, "MANY", many)
    likes = zipf_likes(seed)
    found = swinging(likes, alpha, likes.shape[1])
    np.testing.assert_allclose(found.toarray(), twin(likes, alpha), rtol=1e-6)
    np.testing.assert_allclose(found.toarray(), found.toarray().T, rtol=1e-6)
    assert all((np.diff(row.data) <= 0).all() for row in found)


def test_only_the_best_of_each():
    likes = zipf_likes()
    whole, some = twin(likes, 1), swinging(likes, 1, 5)
    assert np.diff(some.indptr).max() == 5
    np.testing.assert_allclose(
        [row.sum() for row in some], np.sort(whole)[:, -5:].sum(axis=1), rtol=1e-6
    )


@pytest.mark.parametrize(
    "changed", [{"TILE": 16, "ROWS": 3}, {"HELD": 40}, {"THREADS": 1}, {"SHARE": 0}, {"SHARE": 1}]
)
def test_blocks_change_nothing(monkeypatch, changed):
    likes = zipf_likes(users=400, items=120)
    before = swinging(likes, 1, 120).toarray()
    monkeypatch.setattr(swing, "MANY", 20)
    for name, value in changed.items():
        monkeypatch.setattr(swing, name, value)
    np.testing.assert_allclose(swinging(likes, 1, 120).toarray(), before, rtol=1e-6)


@pytest.mark.parametrize("many", [4, 1000])
def test_what_is_liked_more_counts_no_more_in_similarities(monkeypatch, many):
    monkeypatch.setattr(swing, "MANY", many)
    likes = zipf_likes()
    np.testing.assert_array_equal(
        swinging(likes * 3, 1, 40).toarray(), swinging(likes, 1, 40).toarray()
    )


@pytest.mark.parametrize(
    "user_limit,item_limit", [(3, None), (None, 8), (4, 9), (1, None), (None, 1), (100, 1000)]
)
def test_limits_thin_before_all(caplog, user_limit, item_limit):
    """Against a loop over the interactions from the last to the first."""
    rng = np.random.default_rng(3)
    user, item = rng.integers(0, 60, 700), np.exp(rng.random(700) * np.log(30)).astype(int)
    train = Interactions.from_columns(user_id=user, item_id=item, timestamp=rng.permutation(700))
    catalog = Catalog.fit(train)
    with caplog.at_level(logging.INFO, "tf_recall"):
        channel = Swing(user_limit=user_limit, item_limit=item_limit).fit(train, catalog)

    pairs = []
    for at in np.argsort(-train.frame["timestamp"].to_numpy()):
        pair = (int(catalog.users.encode(user[[at]])[0]), int(catalog.items.encode(item[[at]])[0]))
        if pair not in pairs:
            pairs.append(pair)
    num = len(pairs)
    for side, limit in ((0, user_limit), (1, item_limit)):
        kept = []
        for pair in pairs:
            if limit is None or sum(pair[side] == other[side] for other in kept) < limit:
                kept.append(pair)
        pairs = kept
    shape = (catalog.users.size, catalog.items.size)
    thinned = sparse.csr_matrix((np.ones(len(pairs)), tuple(np.transpose(pairs))), shape)
    found = Likes.fit(train, catalog).thinned(user_limit, item_limit)
    assert (
        found.has_canonical_format
        and (found != 0).toarray().tolist() == (thinned != 0).toarray().tolist()
    )
    np.testing.assert_allclose(channel.right.toarray(), twin(thinned, 1), rtol=1e-6)
    assert f"{num - len(pairs)} of {num} likes are beyond the limits" in caplog.text
    assert channel.likes.nnz == num  # recommended from are all


def test_nothing_in_common():
    channel = fitted(Swing(), {"ann": ["gin"], "bob": ["gin"], "cid": ["rum"]})
    assert channel.right.nnz == 0
    assert channel.recommend(["ann"], k=1)[0].tolist() == [[""]]


def planted():
    """Items a and b are liked by a circle of 8 who share nothing else; p and q by a crowd who all
    like 30 hits too.

    The crowd is 12: more who like both p and q than both a and b.
    """
    hits = [f"hit{each}" for each in range(30)]
    circle = {f"circle{each}": ["a", "b", f"own{each}"] for each in range(8)}
    return circle | {f"crowd{each}": ["p", "q", *hits] for each in range(12)}


def test_planted_circle():
    """Counting puts the crowd's pair first, 12 users to 8; swing the circle's: 28 pairs / 3, not 66
    / 33.
    """
    counts = {
        pair: sum(set(pair) <= set(items) for items in planted().values())
        for pair in [("a", "b"), ("p", "q")]
    }
    assert counts["p", "q"] > counts["a", "b"]
    channel = fitted(Swing(), planted())
    swung = similarities(channel)
    assert swung["a", "b"] == pytest.approx(28 / 3) and swung["p", "q"] == pytest.approx(2)
    # somebody who likes a and p gets b before all that the crowd likes; to item CF they are worth
    # the same
    assert channel.recommend(["nobody"], k=1, history=["a", "p"], exclude_seen=True)[
        0
    ].tolist() == [["b"]]
    similar = similarities(fitted(ItemCF(), planted()))
    assert similar["a", "b"] == pytest.approx(similar["p", "q"])


def test_weights_and_age_count_in_scores_only():
    day = 86_400
    train = Interactions.from_columns(
        user_id=["ann", "ann", "bob", "bob", "cid"],
        item_id=["gin", "rum", "gin", "rum", "gin"],
        weight=[1.0, 1.0, 1.0, 1.0, 3.0],
        timestamp=[0, 10 * day, 10 * day, 10 * day, 0],
    )
    channel = Swing(half_life=10).fit(train, Catalog.fit(train))
    # sim is 1 / (1 + 2); cid's like of gin is 3 / 2
    assert similarities(channel)["gin", "rum"] == pytest.approx(1 / 3)
    assert channel.recommend(["cid"], k=1, exclude_seen=True)[1] == pytest.approx(
        np.array([[1 / 2]])
    )


def test_last_items_recommend():
    channel = fitted(Swing(last=1), DRINKS)  # of cid rum only
    assert channel.recommend(["cid"], k=4, allow=["tea"])[1][0, 0] == pytest.approx(1 / 4)


@pytest.mark.parametrize("alpha", [-1, float("nan"), float("inf")])
def test_bad_alpha(alpha):
    with pytest.raises(ValueError, match=f"alpha is a number of at least 0, got {alpha}"):
        Swing(alpha=alpha)


@pytest.mark.parametrize("name", ["top", "last", "user_limit", "item_limit"])
def test_bad_counts(name):
    with pytest.raises(ValueError, match=f"{name} is a whole number of at least 1, got 0"):
        Swing(**{name: 0})
