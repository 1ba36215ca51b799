"""Similarities of items: by hand, against loops over users, and what each is for."""

import math

import numpy as np
import pytest
from scipy import sparse

from tf_recall.channels.similarity import Cosine, Euclidean, Jaccard, Pearson, WeightedCosine
from tf_recall.recommend import products

ALL = [Cosine(), WeightedCosine(), Jaccard(), Pearson(0), Pearson(3.0), Euclidean()]
WEIGHED = [Cosine(user_power=1.0), Cosine(0.5), WeightedCosine(user_power=1.5)]


def matrix(dense):
    return sparse.csr_matrix(np.array(dense, np.float32))


def twin(kind, likes, i, j):
    """The similarity of two items by its docstring, from the dense likes `[U][V]`."""
    ours = [user for user in range(len(likes)) if likes[user][i] > 0]
    theirs = [user for user in range(len(likes)) if likes[user][j] > 0]
    both = sorted(set(ours) & set(theirs))
    if not both:
        return 0.0
    counts = {u: sum(like > 0 for like in likes[u]) for u in both}
    power = -getattr(kind, "user_power", 0)
    if isinstance(kind, Cosine):
        weight = sum(count**power for count in counts.values())
        return weight / math.sqrt(len(ours) * len(theirs))
    if isinstance(kind, Jaccard):
        return len(both) / len(set(ours) | set(theirs))
    if isinstance(kind, Euclidean):
        return 1 / (1 + math.sqrt(sum((user[i] - user[j]) ** 2 for user in likes)))
    mean = {i: 0.0, j: 0.0}
    if isinstance(kind, Pearson):
        mean = {
            i: sum(likes[u][i] for u in ours) / len(ours),
            j: sum(likes[u][j] for u in theirs) / len(theirs),
        }
    product = sum(
        (likes[u][i] - mean[i]) * (likes[u][j] - mean[j]) * counts[u] ** power for u in both
    )
    length = math.sqrt(sum((likes[u][i] - mean[i]) ** 2 for u in ours))
    length *= math.sqrt(sum((likes[u][j] - mean[j]) ** 2 for u in theirs))
    length += kind.shrinkage if isinstance(kind, Pearson) else 0
    return product / length if length > 0 else 0.0


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("kind", [*ALL, *WEIGHED], ids=lambda kind: type(kind).__name__)
def test_against_a_loop(kind, blocks, monkeypatch):
    if blocks:
        monkeypatch.setattr(products, "MULTIPLICATIONS", 40)
        monkeypatch.setattr(products, "HELD", 40)
    rng = np.random.default_rng(0)
    likes = (
        rng.uniform(0.5, 5, (40, 15)) * (rng.random((40, 15)) < np.linspace(0.6, 0.05, 15))
    ).astype(np.float32)
    found = kind.neighbors(matrix(likes), 6)
    assert found.shape == (15, 15) and found.dtype == np.float32
    for i in range(15):
        expected = [(j, twin(kind, likes.tolist(), i, j)) for j in range(15) if j != i]
        expected = sorted((-value for _, value in expected if value > 1e-7))[:6]
        line = slice(*found.indptr[i : i + 2])
        np.testing.assert_allclose(
            found.data[line], [-value for value in expected], rtol=2e-4, atol=1e-6
        )
        values = [twin(kind, likes.tolist(), i, j) for j in found.indices[line]]
        np.testing.assert_allclose(found.data[line], values, rtol=2e-4, atol=1e-6)


def test_by_hand():
    # users a, b, c; items 0, 1, 2: a likes 0 (2) and 1 (1); b likes 0 (1), 1 (3) and 2 (2); c likes
    # 0 (2)
    likes = matrix([[2, 1, 0], [1, 3, 2], [2, 0, 0]])
    found = {type(kind).__name__: kind.neighbors(likes, 5).toarray()[0] for kind in ALL}
    np.testing.assert_allclose(
        found["Cosine"], [0, 2 / math.sqrt(3 * 2), 1 / math.sqrt(3 * 1)], rtol=1e-6
    )
    np.testing.assert_allclose(found["Jaccard"], [0, 2 / 3, 1 / 3], rtol=1e-6)
    # lengths: 3, sqrt 10, 2; products: 2 * 1 + 1 * 3 = 5 and 1 * 2 = 2
    np.testing.assert_allclose(
        found["WeightedCosine"], [0, 5 / (3 * math.sqrt(10)), 2 / (3 * 2)], rtol=1e-6
    )
    # squared distances: 9 + 10 - 10 = 9 and 9 + 4 - 4 = 9
    np.testing.assert_allclose(found["Euclidean"], [0, 1 / 4, 1 / 4], rtol=1e-6)


def test_users_of_many_items_count_less_by_hand():
    # as above: a has 2 items, b 3, c 1; items 0 and 1 share a and b, items 0 and 2 share b
    likes = matrix([[2, 1, 0], [1, 3, 2], [2, 0, 0]])
    found = Cosine(user_power=1.0).neighbors(likes, 5).toarray()[0]
    np.testing.assert_allclose(
        found, [0, (1 / 2 + 1 / 3) / math.sqrt(3 * 2), 1 / 3 / math.sqrt(3 * 1)], rtol=1e-6
    )
    found = WeightedCosine(user_power=2.0).neighbors(likes, 5).toarray()[0]
    np.testing.assert_allclose(
        found, [0, (2 / 4 + 3 / 9) / (3 * math.sqrt(10)), 2 / 9 / (3 * 2)], rtol=1e-6
    )


def test_pearson_by_hand():
    # means 2, 3, 3; item 0 deviates by 1, -1, 0; item 1 by 2, -2; item 2 by -1, 1
    likes = matrix([[3, 5, 2], [1, 1, 4], [2, 0, 0]])
    found = Pearson(shrinkage=0).neighbors(likes, 5).toarray()
    # product 0 with 1: 2 + 2 = 4, lengths sqrt 2 and sqrt 8: 1; with 2: -2, opposite: left out
    np.testing.assert_allclose(found[0], [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(
        Pearson(shrinkage=4).neighbors(likes, 5).toarray()[0, 1], 4 / (4 + 4), rtol=1e-6
    )


def test_pearson_needs_likes_that_differ():
    assert Pearson(0).neighbors(matrix(np.ones((5, 4))), 3).nnz == 0


def test_weights_play_a_part_where_they_should():
    likes, scaled = matrix([[2, 1], [1, 5]]), matrix([[20, 10], [10, 50]])
    for kind in (Cosine(), Jaccard()):
        assert (kind.neighbors(likes, 1) != kind.neighbors(binary_of(likes), 1)).nnz == 0
    assert WeightedCosine().neighbors(likes, 1)[0, 1] < Cosine().neighbors(likes, 1)[0, 1]
    np.testing.assert_allclose(
        WeightedCosine().neighbors(scaled, 1).data,
        WeightedCosine().neighbors(likes, 1).data,
        rtol=1e-6,
    )


def binary_of(likes):
    return matrix((likes.toarray() > 0).astype(np.float32))


def test_sums_of_many_equal_terms_are_exact():
    likes = matrix(np.ones((50_000, 2)))
    likes.data[1] = 0  # the first user has not item 1
    likes.eliminate_zeros()
    found = Cosine().neighbors(likes, 1)[0, 1]
    assert found == pytest.approx(49_999 / math.sqrt(50_000 * 49_999), rel=2e-7)


def test_a_popular_item_is_not_like_everything():
    # all 100 users have item 0; item 2 shares 10 of its 10 users with 0, and 8 with item 1, which
    # has 10 as well
    likes = np.zeros((100, 3), np.float32)
    likes[:, 0] = likes[:10, 2] = likes[2:12, 1] = 1
    for kind in (Cosine(), Jaccard()):
        assert kind.neighbors(matrix(likes), 1)[[2]].indices.tolist() == [1]


def test_identical_items_are_neighbors_and_none_is_its_own():
    likes = matrix(np.ones((3, 6)))
    for kind in (Cosine(), Jaccard(), WeightedCosine(), Euclidean()):
        found = kind.neighbors(likes, 5)
        assert not found.diagonal().any() and np.diff(found.indptr).tolist() == [5] * 6
        np.testing.assert_allclose(found.data, 1, rtol=1e-6)


@pytest.mark.parametrize("power", [-0.5, math.nan, math.inf])
def test_a_power_below_zero_is_refused(power):
    with pytest.raises(ValueError, match=f"user_power is a number of at least 0, got {power}"):
        WeightedCosine(user_power=power)


def test_a_shrinkage_below_zero_is_refused():
    with pytest.raises(ValueError, match="shrinkage is a number of at least 0, got -1"):
        Pearson(-1)
