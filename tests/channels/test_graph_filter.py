"""The graph filter by hand, against dense matrices, what it is for, and its vectors in indexes."""

import math

import numpy as np
import pytest
from scipy import sparse

from tf_recall.channels import spectrum
from tf_recall.channels.graph_filter import GraphFilter
from tf_recall.channels.item_cf import ItemCF
from tf_recall.channels.similarity import Cosine
from tf_recall.channels.spectrum import leading_vectors
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.likes import Likes
from tf_recall.index import IVF, Exact


def log_of(pairs):
    users, items = zip(*pairs, strict=True)
    return Interactions.from_columns(user_id=list(users), item_id=list(items))


def drawn(seed=0, num_users=60, num_items=40, events=600):
    """Interactions with times and weights, popular items first."""
    rng = np.random.default_rng(seed)
    return Interactions.from_columns(
        user_id=[f"u{at}" for at in rng.integers(0, num_users, events)],
        item_id=[f"i{at}" for at in np.minimum(rng.geometric(0.07, events), num_items)],
        timestamp=rng.permutation(events) * 3600,
        weight=rng.integers(1, 6, events).astype(float),
    )


def fitted(train, **settings):
    return GraphFilter(**settings).fit(train, Catalog.fit(train))


def test_by_hand():
    """u likes a and b, v likes b.

    R~ = [[1 / sqrt(2 * 1), 1 / sqrt(2 * 2)], [0, 1 / sqrt(1 * 2)]]
    near = R~' R~ = [[1/2, 1 / sqrt(8)], [1 / sqrt(8), 1/4 + 1/2]]

    With one vector, V = (1, sqrt(2)) / sqrt(3), of singular value 1: smooth(j, i) is i's share of
    the likes, 1/3 or 2/3. With two, V V' = I: smooth is 1 for an item itself and 0 for others.
    """
    train = log_of([("u", "a"), ("u", "b"), ("v", "b")])
    pair = 1 / math.sqrt(8)
    one = fitted(train, dim=1, alpha=0.3)
    item_id, score = one.recommend(["u", "v", "nobody"], 2)
    assert item_id.tolist() == [["b", "a"], ["b", "a"], ["", ""]]
    expected = [
        [pair + 3 / 4 + 0.3 * (2 / 3 + 2 / 3), 1 / 2 + pair + 0.3 * (1 / 3 + 1 / 3)],
        [3 / 4 + 0.3 * 2 / 3, pair + 0.3 / 3],
        [-np.inf, -np.inf],
    ]
    np.testing.assert_allclose(score, expected, rtol=1e-6)
    two = fitted(train, dim=2, alpha=0.3)
    _, score = two.recommend(["u", "v"], 2)
    expected = [[pair + 3 / 4 + 0.3, 1 / 2 + pair + 0.3], [3 / 4 + 0.3, pair]]
    np.testing.assert_allclose(score, expected, rtol=1e-6)
    # u's b comes from b by 3/4 + 0.2, from a by 1 / sqrt(8) + 0.2
    reasons = one.explain("u", "b")
    assert [reason["id"] for reason in reasons] == ["b", "a"]
    np.testing.assert_allclose(
        [reason["share"] for reason in reasons],
        np.array([0.95, pair + 0.2]) / (1.15 + pair),
        rtol=1e-6,
    )
    similar, score = one.similar(["a"], 2)
    assert similar.tolist() == [["b", ""]]
    np.testing.assert_allclose(score[0, 0], pair + 0.2, rtol=1e-6)


def twin(counted, likes, dim, alpha, top):
    """All scores by the docstring's formula, dense, in float64."""
    users, items = counted.sum(1), counted.sum(0)
    normal = counted / np.sqrt(np.maximum(users, 1))[:, None] / np.sqrt(np.maximum(items, 1))
    square = normal.T @ normal
    near = np.diag(np.diag(square))
    for j, line in enumerate(square - near):
        best = np.argsort(-line, kind="stable")[:top]
        near[j, best] += line[best]
    vectors = np.linalg.svd(normal)[2][:dim].T
    ratio = np.sqrt(items[None, :] / np.maximum(items, 1)[:, None])
    return likes @ (near + alpha * (vectors @ vectors.T) * ratio)


@pytest.mark.parametrize(
    "settings",
    [
        {"dim": 5},
        {"dim": 5, "alpha": 0.0, "top": None},
        {"dim": 12, "alpha": 2.0, "last": 3},
        {"dim": 1, "user_limit": 4},
        {"dim": 3, "half_life": 5.0, "weight": "weight", "top": 1000},
    ],
)
@pytest.mark.parametrize("shape", [(60, 40), (25, 60)])
def test_against_dense_matrices(settings, shape):
    train = drawn(1, *shape)
    channel = fitted(train, **settings)
    catalog, likes = channel.catalog, Likes.fit(train, channel.catalog, settings.get("half_life"))
    counted = likes.last(settings.get("user_limit")).toarray() > 0
    top = settings.get("top", 500) or 1000
    expected = twin(
        counted.astype(float),
        likes.last(settings.get("last")).toarray(),
        settings["dim"],
        settings.get("alpha", 0.3),
        top,
    )
    for user in range(1, catalog.users.size):
        expected[user, catalog.seen.of(user)] = -1
    expected[:, 0] = -1
    rows, score = channel.recommend_rows(catalog.users.ids, catalog.num_items, exclude_seen=True)
    for line, values, wanted in zip(rows, score, expected[1:], strict=True):
        there = line > 0
        assert set(line[there]) >= set(np.flatnonzero(wanted > 1e-5))
        np.testing.assert_allclose(values[there], wanted[line[there]], rtol=1e-4, atol=1e-5)


def test_few_similar_items_are_kept_of_each():
    train = drawn(2)
    channel = fitted(train, top=3)
    others = channel.near - sparse.diags_array(channel.near.diagonal())
    others.eliminate_zeros()
    assert np.diff(others.tocsr().indptr).max() == 3 and (channel.near.diagonal()[1:] > 0).all()


def test_the_sparse_part_is_item_cf_of_users_weighed():
    train = drawn(3)
    channel = fitted(train, alpha=0.0, top=7)
    item_cf = ItemCF(Cosine(user_power=1.0), top=7).fit(train, channel.catalog)
    near = channel.near.toarray()
    np.testing.assert_allclose(near - np.diag(np.diag(near)), item_cf.right.toarray(), rtol=1e-6)
    items = channel.catalog.items.ids
    np.testing.assert_allclose(
        channel.similar(items, 7)[1], item_cf.similar(items, 7)[1], rtol=1e-6
    )


@pytest.mark.parametrize("small", [0, 2000])
@pytest.mark.parametrize("shape", [(300, 90), (90, 300)])
def test_the_leading_vectors(shape, small, monkeypatch):
    monkeypatch.setattr(spectrum, "SMALL", small)  # 0: by ARPACK
    rng = np.random.default_rng(0)
    matrix = sparse.random(*shape, 0.1, "csr", rng=rng)
    found = leading_vectors(matrix, 20)
    exact = np.linalg.svd(matrix.toarray())[2][:20].T
    np.testing.assert_allclose(found.T @ found, np.eye(20), atol=1e-6)
    np.testing.assert_allclose(found @ found.T, exact @ exact.T, atol=1e-5)
    np.testing.assert_allclose(np.abs((found * exact).sum(0)), 1, atol=1e-5)  # in that order
    np.testing.assert_array_equal(leading_vectors(matrix, 20), found)


@pytest.mark.parametrize("transposed", [False, True])
def test_no_more_vectors_than_the_rank(transposed):
    # two groups of users, each of whom likes all of the group: rank 2
    pairs = [(f"u{user}", f"i{item}") for user in range(6) for item in range(user % 2, 10, 2)]
    if transposed:
        pairs = [(item, user) for user, item in pairs]
    channel = fitted(log_of(pairs))
    assert channel.vectors.shape[1] == channel.embed_catalog().shape[1] == 2
    found = channel.recommend_rows(channel.catalog.users.ids, channel.catalog.num_items)[0]
    assert (found > 0).sum() == len(pairs)  # the own group, and nothing of the other


def test_the_whole_graph_speaks_for_pairs_that_nobody_has_in_common():
    # two worlds of 20 items in a ring; users like neighbors: items far apart share no user
    pairs = []
    for world in "ab":
        for at in range(20):
            pairs += [(f"{world}{at}", f"{world}{(at + step) % 20}") for step in (0, 1, 2)]
    train = log_of(pairs)
    history = ["a0", "a1"]
    alone = fitted(train, dim=8, alpha=0.0).recommend(["nobody"], 40, history=history)[0][0]
    assert set(alone[alone != ""]) == {"a18", "a19", "a0", "a1", "a2", "a3"}
    whole = fitted(train, dim=8, alpha=1.0).recommend(["nobody"], 40, history=history)[0][0]
    found = [item for item in whole if item]
    assert len(found) > len(set(alone)) and {"a17", "a4"} <= set(found[:8])
    assert not [item for item in found if item.startswith("b")]


def test_users_of_many_items_count_less():
    # a robot likes everything; two people like a and b
    robot = [("robot", f"i{at}") for at in range(50)] + [("robot", "a")]
    train = log_of([*robot, ("p", "a"), ("p", "b"), ("q", "a"), ("q", "b")])
    near = fitted(train, alpha=0.0)
    item_id, score = near.similar(["a"], 3)
    # b: two users of 2, 1 each for sqrt(3 * 2); i0: one user of 51, for sqrt(3 * 1)
    assert item_id[0, 0] == "b"
    np.testing.assert_allclose(
        score[0, :2], [2 / 2 / math.sqrt(6), 1 / 51 / math.sqrt(3)], rtol=1e-6
    )


def test_an_unknown_user_is_answered_as_the_user_of_that_history():
    train = drawn(4)
    train = Interactions.from_columns(
        user_id=train.frame["user_id"].to_numpy(), item_id=train.frame["item_id"].to_numpy()
    )
    seen = train.frame.drop_duplicates()  # once each: a history counts an item once
    channel = fitted(Interactions.from_frame(seen), dim=6)
    users = channel.catalog.users.ids[:8]
    histories = [seen["item_id"][seen["user_id"] == user].tolist() for user in users]
    nobody = [f"nobody {at}" for at in range(8)]
    for seen_too in (False, True):
        known = channel.recommend(users, 12, exclude_seen=seen_too)
        unknown = channel.recommend(nobody, 12, exclude_seen=seen_too, history=histories)
        np.testing.assert_array_equal(known[0], unknown[0])
        np.testing.assert_array_equal(known[1], unknown[1])
    np.testing.assert_array_equal(
        channel.embed_query(users), channel.embed_query(nobody, history=histories)
    )
    assert not channel.embed_query(["nobody"]).any()


@pytest.mark.parametrize("make", [Exact, lambda: IVF(4, min_recall=1.0)], ids=["exact", "ivf"])
def test_the_vectors_behind_an_index_give_the_second_part_of_the_score(make):
    train = drawn(5, 80, 120, 2000)
    channel = fitted(train, dim=16, alpha=0.7)
    catalog, users = channel.catalog, channel.catalog.users.ids[:30]
    index = make().build(channel.embed_catalog())
    queries = channel.embed_query(users)
    assert queries.dtype == channel.embed_catalog().dtype == np.float32
    seen = [catalog.seen.of(int(row)) for row in catalog.users.encode(users)]
    exclude = np.full((30, max(map(len, seen))), -1)
    for line, rows in zip(exclude, seen, strict=True):
        line[: len(rows)] = rows - 1
    score, position = (each.numpy() for each in index.search(queries, 10, exclude))
    channel.near = 0 * channel.near  # the second part alone
    rows, expected = channel.recommend_rows(users, 10, exclude_seen=True)
    there = (rows > 0) & (score > 0)  # what scores below 0 is not recommended
    assert there.sum() > 250 and ((rows > 0) == (score > 1e-7)).mean() > 0.99
    np.testing.assert_allclose(score[there], expected[there], rtol=1e-4, atol=1e-6)
    assert (position + 1 == rows)[there].mean() > 0.99  # the rest are near ties


def test_from_a_folder_mapped_or_read(tmp_path):
    channel = fitted(drawn(6), dim=7, last=9)
    channel.save(tmp_path)
    users = channel.catalog.users.ids
    expected = channel.recommend(users, 15)
    for mmap in (False, True):
        again = GraphFilter(dim=7, last=9).load(tmp_path, channel.catalog, mmap=mmap)
        assert isinstance(again.vectors, np.memmap) == mmap
        assert again.vectors.dtype == again.near.dtype == again.users.dtype == np.float32
        for one, other in zip(again.recommend(users, 15), expected, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dim": 0}, "dim is a whole number of at least 1, got 0"),
        ({"top": 2.5}, "top is a whole number of at least 1, got 2.5"),
        ({"alpha": -0.1}, "alpha is a number of at least 0, got -0.1"),
        ({"alpha": math.nan}, "alpha is a number of at least 0, got nan"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        GraphFilter(**settings)
