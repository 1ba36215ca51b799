"""EASE by hand, against a dense inverse and the problem that it solves, and its limits."""

import math

import numpy as np
import pytest

from tf_recall.channels import ease
from tf_recall.channels.ease import EASE
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.likes import Likes


def log_of(pairs):
    users, items = zip(*pairs, strict=True)
    return Interactions.from_columns(user_id=list(users), item_id=list(items))


def drawn(seed=0, num_users=60, num_items=40, events=600):
    rng = np.random.default_rng(seed)
    return Interactions.from_columns(
        user_id=[f"u{at}" for at in rng.integers(0, num_users, events)],
        item_id=[f"i{at}" for at in np.minimum(rng.geometric(0.07, events), num_items)],
        timestamp=rng.permutation(events) * 3600,
        weight=rng.integers(1, 6, events).astype(float),
    )


def fitted(train, **settings):
    return EASE(**settings).fit(train, Catalog.fit(train))


def test_by_hand():
    """u likes a and b, v likes b: X' X + I = [[2, 1], [1, 3]], its inverse [[3, -1], [-1, 2]] / 5.

    B(a, b) = (1/5) / (2/5) = 1/2, B(b, a) = (1/5) / (3/5) = 1/3: b foretold from a is the ridge
    solution 1 / (1 + 1), a from b 1 / (2 + 1).
    """
    channel = fitted(log_of([("u", "a"), ("u", "b"), ("v", "b")]), l2=1.0)
    item_id, score = channel.recommend(["u", "v", "nobody"], 2)
    assert item_id.tolist() == [["b", "a"], ["a", ""], ["", ""]]
    np.testing.assert_allclose(
        score, [[1 / 2, 1 / 3], [1 / 3, -np.inf], [-np.inf, -np.inf]], rtol=1e-6
    )
    assert channel.explain("u", "b") == [{"kind": "item", "id": "a", "share": 1.0}]
    similar, score = channel.similar(["a", "b"], 1)
    assert similar.tolist() == [["b"], ["a"]]
    np.testing.assert_allclose(score, [[1 / 2], [1 / 3]], rtol=1e-6)


@pytest.mark.parametrize("block", [7, 1024])
@pytest.mark.parametrize("shape", [(60, 40), (25, 60)])
@pytest.mark.parametrize(
    "settings", [{"l2": 3.0}, {"l2": 50.0, "last": 4}, {"l2": 1.0, "user_limit": 5, "half_life": 5}]
)
def test_against_a_dense_inverse(settings, shape, block, monkeypatch):
    monkeypatch.setattr(ease, "BLOCK", block)
    train = drawn(1, *shape)
    channel = fitted(train, **settings)
    catalog, likes = channel.catalog, Likes.fit(train, channel.catalog, settings.get("half_life"))
    x = (likes.last(settings.get("user_limit")).toarray() > 0).astype(float)
    inverse = np.linalg.inv(x.T @ x + settings["l2"] * np.eye(x.shape[1]))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    np.testing.assert_allclose(channel.weights, weights, rtol=1e-4, atol=1e-6)
    expected = likes.last(settings.get("last")).toarray() @ weights
    rows, score = channel.recommend_rows(catalog.users.ids, catalog.num_items)
    for line, values, wanted in zip(rows, score, expected[1:], strict=True):
        there = line > 0
        assert set(line[there]) >= set(np.flatnonzero(wanted > 1e-5))
        np.testing.assert_allclose(values[there], wanted[line[there]], rtol=1e-4, atol=1e-5)


def test_no_other_weights_foretell_better():
    """B minimizes |X - X B|^2 + l2 |B|^2 among those with a diagonal of 0."""
    train = drawn(2, 30, 15, 200)
    channel = fitted(train, l2=4.0)
    x = (channel.likes.toarray() > 0).astype(float)

    def loss(weights):
        return ((x - x @ weights) ** 2).sum() + 4.0 * (weights**2).sum()

    best, rng = loss(channel.weights.astype(float)), np.random.default_rng(0)
    for size in (1e-3, 1e-2, 1e-1):
        for _ in range(20):
            step = size * rng.standard_normal(channel.weights.shape)
            np.fill_diagonal(step, 0)
            assert loss(channel.weights + step) > best


def test_what_is_never_liked_together_counts_against():
    # who likes a likes b or c as well, never both
    pairs = [(f"{other}{at}", item) for other in "bc" for at in range(5) for item in ("a", other)]
    channel = fitted(log_of([*pairs, *((f"z{at}", "z") for at in range(3))]), l2=1.0)
    one, both = (
        channel.recommend(["nobody"], 4, history=given, exclude_seen=True)
        for given in (["a"], ["a", "b"])
    )
    assert set(one[0][0]) == {"b", "c", ""}
    assert "c" not in both[0][0] or both[1][0][both[0][0] == "c"] < one[1][0][one[0][0] == "c"]
    assert channel.effects(channel.catalog.items.encode(["b"]), channel.catalog.known_item("c")) < 0


def test_chains_of_items_are_told_from_what_is_popular():
    # item n leads to n + 1; everybody likes "hit"
    pairs = []
    for at in range(60):
        pairs += [(f"u{at}", f"i{at % 12}"), (f"u{at}", f"i{(at + 1) % 12}"), (f"u{at}", "hit")]
    channel = fitted(log_of(pairs), l2=5.0)
    for at in range(12):
        found, _ = channel.recommend(["nobody"], 2, history=[f"i{at}", "hit"], exclude_seen=True)
        assert set(found[0]) == {f"i{(at + 1) % 12}", f"i{(at - 1) % 12}"}


def test_a_catalog_that_is_too_large_is_refused_with_what_to_take():
    train = drawn(3)
    num = Catalog.fit(train).num_items
    with pytest.raises(ValueError, match=f"{num} items are more than max_items 20, .*graph_filter"):
        fitted(train, max_items=20)
    assert fitted(train, max_items=num).weights.shape == (num + 1, num + 1)
    rows = Interactions.from_columns(user_id=[1] * 30_000, item_id=np.arange(30_000))
    with pytest.raises(ValueError, match="30,000 items are more than max_items 20,000.* 10 GiB"):
        fitted(rows)


def test_from_a_folder_mapped_or_read(tmp_path):
    channel = fitted(drawn(4), l2=9.0)
    channel.save(tmp_path)
    users = channel.catalog.users.ids
    expected = channel.recommend(users, 15)
    for mmap in (False, True):
        again = EASE(l2=9.0).load(tmp_path, channel.catalog, mmap=mmap)
        assert isinstance(again.weights, np.memmap) == mmap and again.weights.dtype == np.float32
        for one, other in zip(again.recommend(users, 15), expected, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"l2": 0.0}, "l2 is a number above 0, got 0.0"),
        ({"l2": math.inf}, "l2 is a number above 0, got inf"),
        ({"last": 0}, "last is a whole number of at least 1, got 0"),
        ({"max_items": -1}, "max_items is a whole number of at least 1, got -1"),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        EASE(**settings)
