"""EASE: the linear model of items that predicts each from all others, in closed form."""

import numpy as np
from scipy import linalg
from scipy.linalg import lapack

from tf_recall.channels.item_cf import check_counts
from tf_recall.data.likes import Likes, binary
from tf_recall.data.ranges import Column, NumberAbove0, WholeFrom1
from tf_recall.recommend.scored import ScoredChannel

BLOCK = 1024  # rows of the items' square made dense at once


class EASE(ScoredChannel):
    """Recommends what a linear model of all items foretells from those that a user likes (C7).

    METHODS.md C7:

        P = (X' X + l2 I)^-1
        B(j, i) = -P(j, i) / P(i, i), 0 where i is j
        score(u, i) = sum over the liked items j of like(u, j) * B(j, i)

    with X(u, i) 1 where u likes i. B is what minimizes |X - X B|^2 + l2 |B|^2 with a diagonal of 0:
    an item may not foretell itself. Weights may be negative: what keeps others away counts too.

    B holds a number for each pair of items, and takes the cube of their number to compute. So it is
    for small catalogs, up to some 20,000 items, where it is among the best; the graph filter has no
    such limit.

    Args:
        l2: how strongly large weights are held down, above 0; the fewer the users, the smaller.
        last: how many of a user's latest items to recommend from; None: all.
        user_limit: how many of a user's latest items count in X; None: all.
        half_life: days after which a like counts half in scores; None: all count alike. In X a pair
            counts or does not.
        weight: the column of how much a user likes an item, in scores; without a column `weight`
            every interaction is 1.
        max_items: the largest catalog that it is fitted on; fitting takes 12 bytes for each pair of
            items, an answer 4.

    Raises:
        ValueError: an argument out of its range; from `fit`, a catalog of more than `max_items`, or
            as `Likes.fit`.

    Example:
        >>> channel = EASE(l2=200.0).fit(split.train, catalog)
        >>> item_id, score = channel.recommend(["u17"], k=10, exclude_seen=True)
        >>> channel.explain("u17", item_id[0, 0])
        [{'kind': 'item', 'id': '...', 'share': ...}, ...]

    Paper: Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data", section 3.
    """

    arrays = ("likes", "weights")

    tunable = {"l2": [10.0, 5000.0, "log"], "last": {"choices": [None, 10, 20, 50, 100]}}

    def __init__(
        self,
        l2: NumberAbove0 = 500.0,
        last: WholeFrom1 | None = None,
        user_limit: WholeFrom1 | None = None,
        half_life: NumberAbove0 | None = None,
        weight: Column = "weight",
        max_items: WholeFrom1 = 20_000,
    ):
        check_counts(last=last, user_limit=user_limit, max_items=max_items)
        if not 0 < l2 < np.inf:
            raise ValueError(f"l2 is a number above 0, got {l2!r}")
        self.l2, self.last, self.user_limit = l2, last, user_limit
        self.half_life, self.weight, self.max_items = half_life, weight, max_items

    def scores(self, likes):
        return np.asarray(likes @ self.weights)

    def effects(self, items, item):
        return self.weights[items, item]

    def _fit(self, train):
        num = self.catalog.num_items
        if num > self.max_items:
            raise ValueError(
                f"EASE weighs every pair of items: {num:,} items are more than max_items "
                f"{self.max_items:,}, and would take {12 * num**2 / 2**30:,.0f} GiB. Take "
                "graph_filter (GraphFilter), which has no such limit, or item_cf (ItemCF)"
            )
        likes = Likes.fit(train, self.catalog, self.half_life, self.weight)
        self.likes = likes.last(self.last)
        self.weights = _weights(binary(likes.last(self.user_limit)), self.l2)


def _weights(counted, l2):
    """B, `[item rows, item rows]` float32, by the smaller of the two squares, X' X and X X'."""
    counted = counted[np.diff(counted.indptr) > 0].astype(np.float64)
    num_users, num_items = counted.shape
    weights = (_by_users if num_users < num_items else _by_items)(counted, l2)
    np.fill_diagonal(weights, 0)
    return weights


def _by_items(counted, l2):
    """-P(j, i) / P(i, i); one float64 matrix of the items' square is held besides."""
    num, by_item = counted.shape[1], counted.T.tocsr()
    square = np.empty((num, num), order="F")
    for block in _blocks(num):
        square[:, block] = (by_item[block] @ counted).toarray().T
    square[np.diag_indices(num)] += l2
    factor, _ = lapack.dpotrf(square, lower=1, clean=0, overwrite_a=1)
    inverse, _ = lapack.dpotri(factor, lower=1, overwrite_c=1)
    for block in _blocks(num):  # LAPACK fills the lower triangle alone
        inverse[block, block.stop :] = inverse[block.stop :, block].T
        corner = inverse[block, block]
        corner[:] = np.tril(corner) + np.tril(corner, -1).T
    weights = np.empty((num, num), np.float32)
    return np.divide(inverse, -inverse.diagonal(), out=weights, casting="same_kind")


def _by_users(counted, l2):
    """H(j, i) / (1 - H(i, i)), the same, for l2 P = I - H with H = X' (X X' + l2 I)^-1 X."""
    num, num_items = counted.shape
    square = (counted @ counted.T).toarray()
    square[np.diag_indices(num)] += l2
    factor = linalg.cho_factor(square, overwrite_a=True)
    weights, by_item = np.empty((num_items, num_items), np.float32), counted.T.tocsr()
    for block in _blocks(num_items):
        hat = by_item @ linalg.cho_solve(factor, counted[:, block].toarray())  # [V, b]
        weights[:, block] = hat / (1 - hat[block].diagonal())
    return weights


def _blocks(num):
    """Slices of so many rows or columns; the last may go beyond."""
    return [slice(start, start + BLOCK) for start in range(0, num, BLOCK)]
