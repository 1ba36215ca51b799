"""User CF by hand, against a loop over users, and for somebody unknown."""

import math

import numpy as np
import pytest
from scipy import sparse

from tf_recall.channels.user_cf import UserCF
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions


def fitted(log, **settings):
    users, items, *weight = zip(*log, strict=True)
    weight = {"weight": list(weight[0])} if weight else {}
    train = Interactions.from_columns(user_id=list(users), item_id=list(items), **weight)
    catalog = Catalog.fit(train)
    return UserCF(**settings).fit(train, catalog), catalog


def test_the_worked_example():
    """Similarities (0.9, 0.5, 0.5, 0.3), likes (0, 4, 2, 0): 0 + 2 + 1 + 0 = 3."""
    channel, catalog = fitted(
        [("u", "a", 1.0), ("p", "a", 1.0), ("q", "x", 4.0), ("r", "x", 2.0), ("s", "a", 1.0)]
    )
    similar = np.zeros((6, 6), np.float32)
    u, *others = catalog.users.encode(["u", "p", "q", "r", "s"])
    similar[u, others] = [0.9, 0.5, 0.5, 0.3]
    channel.users = sparse.csr_matrix(similar)
    item_id, score = channel.recommend(["u"], k=1, exclude_seen=True)
    assert item_id.tolist() == [["x"]] and score.tolist() == [[3.0]]
    reasons = channel.explain("u", "x")
    assert [(reason["kind"], reason["id"]) for reason in reasons] == [("user", "q"), ("user", "r")]
    np.testing.assert_allclose([reason["share"] for reason in reasons], [2 / 3, 1 / 3], rtol=1e-6)


def test_similarities_by_hand():
    # n_a = 3, n_b = 2; ann has a and b, bob a and b and c, cid a
    channel, catalog = fitted(
        [("ann", "a"), ("ann", "b"), ("bob", "a"), ("bob", "b"), ("bob", "c"), ("cid", "a")]
    )
    ann, bob, cid = catalog.users.encode(["ann", "bob", "cid"])
    a, b = 1 / math.log(4), 1 / math.log(3)
    found = channel.users.toarray()
    np.testing.assert_allclose(found[ann, bob], (a + b) / math.sqrt(2 * 3), rtol=1e-6)
    np.testing.assert_allclose(found[ann, cid], a / math.sqrt(2 * 1), rtol=1e-6)
    np.testing.assert_allclose(found, found.T, rtol=1e-6)
    assert not found.diagonal().any()


@pytest.mark.parametrize("settings", [{}, {"top": 4}, {"last": 3}, {"item_limit": 12}])
def test_against_a_loop(settings):
    rng = np.random.default_rng(1)
    pairs = zip(
        rng.integers(0, 30, 400).tolist(),
        np.minimum(rng.geometric(0.06, 400), 40).tolist(),
        strict=True,
    )
    log = [(f"u{user}", f"i{item}", float(rng.integers(1, 5))) for user, item in pairs]
    channel, catalog = fitted(log, **settings)
    likes, kept = channel.likes.toarray(), channel.right.toarray()
    liked = [set(np.flatnonzero(line)) for line in likes]
    count = (likes > 0).sum(0)
    rows, score = channel.recommend_rows(catalog.users.ids, k=30, exclude_seen=True)
    for user in range(1, catalog.users.size):
        similar = {}
        for other in range(1, catalog.users.size):
            common = [
                i
                for i in liked[user] & liked[other]
                if count[i] <= settings.get("item_limit", 1000)
            ]
            if other != user and common:
                norm = math.sqrt(len(liked[user]) * len(liked[other]))
                similar[other] = sum(1 / math.log(1 + count[i]) for i in common) / norm
        near = sorted(similar, key=lambda other: -similar[other])[: settings.get("top", 100)]
        expected = sum((similar[other] * kept[other] for other in near), np.zeros(kept.shape[1]))
        expected[list(liked[user])] = 0
        there = rows[user - 1] > 0
        assert there.sum() == min(30, (expected > 0).sum())
        np.testing.assert_allclose(
            score[user - 1][there], np.sort(expected)[::-1][: there.sum()], rtol=1e-4
        )
        np.testing.assert_allclose(
            score[user - 1][there], expected[rows[user - 1][there]], rtol=1e-4
        )


def test_what_everybody_likes_says_little():
    # ann shares the popular item with ten people, and the rare one with zoe alone
    log = [("ann", "hit"), ("ann", "rare"), ("zoe", "rare"), ("zoe", "pearl")]
    log += [(f"p{at}", item) for at in range(10) for item in ("hit", f"own{at}")]
    channel, _ = fitted(log)
    assert channel.recommend(["ann"], k=1, exclude_seen=True)[0].tolist() == [["pearl"]]


def test_somebody_unknown_is_compared_by_his_history():
    log = [
        ("ann", "a"),
        ("ann", "b"),
        ("ann", "x"),
        ("bob", "c"),
        ("bob", "y"),
        ("cid", "a"),
        ("cid", "b"),
    ]
    channel, _ = fitted(log)
    item_id, _ = channel.recommend(["nobody", "cid"], k=2, exclude_seen=True, history=[["c"], []])
    assert item_id.tolist() == [["y", ""], ["x", ""]]
    known, _ = fitted([*log, ("new", "a"), ("new", "b")])
    expected = known.recommend(["new"], k=1, exclude_seen=True)[0]
    assert (
        channel.recommend(["nobody"], k=1, exclude_seen=True, history=["a", "b"])[0].tolist()
        == expected.tolist()
    )
    assert channel.explain("nobody", "y", history=["c"]) == [
        {"kind": "user", "id": "bob", "share": 1.0}
    ]


def test_a_limit_that_leaves_nothing_finds_nobody():
    channel, _ = fitted([("ann", "a"), ("bob", "a"), ("bob", "b")], item_limit=1)
    assert channel.recommend(["ann"], k=1)[0].tolist() == [[""]]
    with pytest.raises(ValueError, match="item_limit is a whole number of at least 1, got 0"):
        UserCF(item_limit=0)
