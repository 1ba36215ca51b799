"""Similarities of items, computed from the users who like them."""

import numpy as np
from scipy import sparse

from tf_recall.data.likes import binary
from tf_recall.data.ranges import NumberFrom0
from tf_recall.recommend.products import top, top_changed, without_diagonal


class Similarity:
    """How similar two items are. A subclass has `neighbors(likes, num)`."""

    def neighbors(self, likes: sparse.csr_matrix, num: int) -> sparse.csr_matrix:
        """Each item's `num` most similar others, of positive similarity.

        Args:
            likes: `[U, V]` CSR float32.
            num: how many, at most.

        Returns:
            `[V, V]` CSR float32; the entries of a row are in falling order.
        """
        raise NotImplementedError


class WeightedCosine(Similarity):
    """The cosine of two items' columns of likes (METHODS.md C2).

        sim(i, j) = sum_u like(u, i) like(u, j) |J_u| ** -user_power
            / sqrt(sum_u like(u, i)^2  sum_u like(u, j)^2)

    with J_u the items that u likes.

    Args:
        user_power: at least 0; the larger, the less users count who like many items. At 0 all count
            alike; at 1 a user's pairs count together as much as their likes.
    """

    tunable = {"user_power": [0.0, 1.0]}

    def __init__(self, user_power: NumberFrom0 = 0.0):
        if not 0 <= user_power < np.inf:
            raise ValueError(f"user_power is a number of at least 0, got {user_power!r}")
        self.user_power = user_power

    def neighbors(self, likes, num):
        left, right = _sides(_unit(likes, self.user_power))
        itself = sparse.identity(likes.shape[1], format="csr")  # an item is not its own neighbor
        left = sparse.hstack([left, -2 * itself], "csr")
        right = sparse.vstack([right, itself], "csr")
        near = top(left, right, num, "items like each item")
        near.data = near.data.astype(np.float32)  # the matrix's own `astype` would sort the columns
        return near


class Cosine(WeightedCosine):
    """The cosine of two items' sets of users (METHODS.md C2).

        sim(i, j) = sum of |J_u| ** -user_power over the users of both / sqrt(|W_i| |W_j|)

    with W_i the users who like i and J_u the items that u likes; without `user_power` the sum is
    |W_i and W_j|. At 1 it is the sparse part of the graph filter (METHODS.md C6), without the
    items' similarity to themselves.

    Args:
        user_power: as of `WeightedCosine`.

    Paper: Deshpande and Karypis 2004, "Item-Based Top-N Recommendation Algorithms", section 4.1.1,
        whose users' rows of length 1 are a `user_power` of 1.
    """

    def neighbors(self, likes, num):
        return super().neighbors(binary(likes), num)


class Jaccard(Similarity):
    """The share of the users of either item who like both (METHODS.md C2).

    sim(i, j) = |W_i and W_j| / |W_i or W_j|
    """

    def neighbors(self, likes, num):
        likes = binary(likes)
        users = np.bincount(likes.indices, minlength=likes.shape[1]).astype(np.float32)

        def change(both, i, j):
            return both / (users[i] + users[j] - both)

        return without_diagonal(
            top_changed(*_sides(likes), num + 1, change, "items like each item"), num
        )


class Pearson(Similarity):
    """The correlation of two items' likes over their users (METHODS.md C2).

        x(u, i) = like(u, i) - mean of i's likes, 0 where u has not interacted with i
        sim(i, j) = sum_u x(u, i) x(u, j) / (sqrt(sum_u x(u, i)^2  sum_u x(u, j)^2) + shrinkage)

    A user of only one of the two counts as average for the other; so two items with few users in
    common are not very similar, as they may be where the sums run over the common users alone. An
    item that all like equally is similar to nothing: without weights use `Cosine`.

    Args:
        shrinkage: how much evidence two items need, in squared likes; at 0, two items that the same
            two users interacted with are at 1 or -1, and rare items come first.
    """

    tunable = {"shrinkage": [1.0, 100.0, "log"]}

    def __init__(self, shrinkage: NumberFrom0 = 10.0):
        if not shrinkage >= 0:
            raise ValueError(f"shrinkage is a number of at least 0, got {shrinkage!r}")
        self.shrinkage = shrinkage

    def neighbors(self, likes, num):
        users = np.maximum(np.bincount(likes.indices, minlength=likes.shape[1]), 1)
        mean = np.bincount(likes.indices, likes.data, likes.shape[1]) / users
        values = (likes.data - mean[likes.indices]).astype(np.float32)
        centered = sparse.csr_matrix((values, likes.indices, likes.indptr), likes.shape)
        length = np.sqrt(np.bincount(likes.indices, values.astype(np.float64) ** 2, likes.shape[1]))

        def change(both, i, j):
            norm = length[i] * length[j] + self.shrinkage
            return np.divide(both, norm, out=np.zeros(len(both)), where=norm > 0)

        return without_diagonal(
            top_changed(*_sides(centered), num + 1, change, "items like each item"), num
        )


class Euclidean(Similarity):
    """The closeness of two items' columns of likes (METHODS.md C2).

        sim(i, j) = 1 / (1 + sqrt(sum_u (like(u, i) - like(u, j))^2))

    Only items with a user in common are neighbors. Popular items share few of their users with any
    other and so are far from all: it prefers rare ones.
    """

    def neighbors(self, likes, num):
        square = np.bincount(likes.indices, likes.data.astype(np.float64) ** 2, likes.shape[1])

        def change(both, i, j):
            return 1 / (1 + np.sqrt(np.maximum(square[i] + square[j] - 2.0 * both, 0)))

        return without_diagonal(
            top_changed(*_sides(likes), num + 1, change, "items like each item"), num
        )


def _sides(likes):
    """The two factors of the product that sums, over users, two items' likes multiplied."""
    return likes.T.tocsr(), likes


def _unit(likes, user_power):
    """The likes with columns of length 1, then a user's scaled by |J_u| ** (-user_power / 2).

    In float64, since a popular item's sum has tens of thousands of equal terms.
    """
    length = np.sqrt(np.bincount(likes.indices, likes.data.astype(np.float64) ** 2, likes.shape[1]))
    scale = np.divide(1, length, out=np.zeros_like(length), where=length > 0)
    values = likes.data * scale[likes.indices]
    if user_power:
        size = np.diff(likes.indptr)
        values *= np.repeat(np.maximum(size, 1) ** (-user_power / 2), size)
    return sparse.csr_matrix((values, likes.indices, likes.indptr), likes.shape)
