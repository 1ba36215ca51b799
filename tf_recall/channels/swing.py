"""Swing: items that the same users like together, users who have little else in common."""

import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy import sparse
from tqdm import tqdm

from tf_recall.channels.item_cf import ItemToItem, check_counts
from tf_recall.data.likes import Likes, binary
from tf_recall.data.ranges import Column, NumberAbove0, NumberFrom0, WholeFrom1
from tf_recall.recommend.products import THREADS, top

MANY = 100  # users of an item that is summed by itself
# Share of an item's users who like another item too: above it, dense rows are faster than lists.
SHARE = 1 / 16
TILE = 2**17  # pairs of users whose overlaps are held at once: what fits a core's cache
ROWS = 64  # of a tile, at least
HELD = 2**22  # pairs of users on lists, held in memory at once

logger = logging.getLogger(__name__)


class Swing(ItemToItem):
    """Recommends the items of highest Swing similarity to those that a user likes (METHODS.md C3).

        sim(i, j) = sum over pairs of users u < v, both in W_i and W_j, of
            1 / (alpha + |J_u and J_v|)
        score(u, i) = sum over the `last` items j of u of like(u, j) * sim(i, j),
            where i is among the `top` of j

    with W_i the users who like i and J_u the items that u likes. Two users who like the same two
    items are evidence that these belong together; they are less evidence, the more else they both
    like, as in a small circle of friends, or among all who like what is popular. Nothing is divided
    by popularity: the sum itself grows with the number of pairs.

    All pairs of an item's users are summed: the cost grows as the square of the number of users of
    popular items, and `item_limit` bounds it. The limits thin out the likes before anything is
    counted, by users, then by items, so W and J are of the same matrix and the similarities are
    symmetric; how many likes are left out goes to the log.

    Args:
        alpha: at least 0; the larger, the less the overlap of two users matters. (At 0 nothing is
            divided by 0: users who count for two items have these two in common.)
        top: how many similar items to keep of each.
        last: how many of a user's latest items to recommend from; None: all.
        user_limit: how many of a user's latest items count towards similarities; None: all.
        item_limit: how many of an item's latest users count, of those that `user_limit` leaves;
            None: all.
        weight: the column of how much a user likes an item, in scores; without a column
            `weight` every interaction is 1. In similarities a pair counts or does not.
        half_life: days after which a like counts half in scores; None: all count alike.

    Raises:
        ValueError: an argument out of its range; from `fit`, as `Likes.fit`.

    Example:
        >>> channel = Swing(alpha=1.0, item_limit=1000).fit(split.train, catalog)
        >>> item_id, score = channel.recommend(["u17"], k=10, exclude_seen=True)
        >>> channel.similar("tea", k=5)

    Paper: Yang et al. 2020, "Large Scale Product Graph Construction for Recommendation in
        E-commerce", section 2.
    """

    tunable = {
        "alpha": [0.1, 100.0, "log"],
        "top": [20, 500, "log"],
        "last": {"choices": [None, 10, 20, 50, 100]},
    }

    def __init__(
        self,
        alpha: NumberFrom0 = 1.0,
        top: WholeFrom1 = 100,
        last: WholeFrom1 | None = None,
        user_limit: WholeFrom1 | None = None,
        item_limit: WholeFrom1 | None = None,
        half_life: NumberAbove0 | None = None,
        weight: Column = "weight",
    ):
        check_counts(top=top, last=last, user_limit=user_limit, item_limit=item_limit)
        if not 0 <= alpha < np.inf:
            raise ValueError(f"alpha is a number of at least 0, got {alpha!r}")
        self.alpha, self.top, self.last = alpha, top, last
        self.user_limit, self.item_limit = user_limit, item_limit
        self.half_life, self.weight = half_life, weight

    def _fit(self, train):
        likes = Likes.fit(train, self.catalog, self.half_life, self.weight)
        counted, num = likes.thinned(self.user_limit, self.item_limit), likes.matrix.nnz
        logger.info(
            "%d of %d likes are beyond the limits and left out of the similarities",
            num - counted.nnz,
            num,
        )
        self.likes = likes.last(self.last)
        self.right = swinging(counted, self.alpha, self.top)


def swinging(
    likes: sparse.csr_matrix, alpha: float, num: int, items: np.ndarray | None = None
) -> sparse.csr_matrix:
    """The `num` other items of highest Swing similarity to each item.

    Items of many users are summed one by one, the others in blocks, by all threads; only the best
    similarities of an item are kept.

    Args:
        likes: `[U, V]` CSR float32, an entry where a user likes an item.
        alpha: at least 0.
        num: how many, at most.
        items: `[n]` columns to find others for; None: all. The rows of all users who like them
            must be whole.

    Returns:
        `[n, V]` CSR float32; the entries of a row are in falling order.
    """
    likes = binary(likes)
    columns, itself = likes.tocsc(), sparse.identity(likes.shape[1], np.float32, "csr")
    count, size = np.diff(columns.indptr), np.diff(likes.indptr)
    items = np.arange(len(count)) if items is None else np.asarray(items)
    order = np.argsort(-count[items], kind="stable")
    many, few = np.split(items[order], [np.count_nonzero(count[items] >= MANY)])
    # at least the pairs on lists
    work = count * np.bincount(likes.indices, np.repeat(size, size), len(count))
    blocks = np.split(few, np.flatnonzero(np.diff(np.cumsum(work[few]) // HELD)) + 1)

    def best(block):
        sums = _sums if isinstance(block, np.ndarray) else _sums_of_one
        return top(sums(likes, columns, block, alpha), itself, num)

    with ThreadPoolExecutor(THREADS) as pool:
        parts = pool.map(best, [*many.tolist(), *blocks])
        bar = tqdm(
            parts, "Swing similarities", len(many) + len(blocks), unit="block", delay=3, leave=False
        )
        return sparse.vstack(list(bar), "csr")[np.argsort(order)]


def _sums(likes, columns, items, alpha):
    """`sim` of a few items, `[items, V]` CSR.

    A line is a user of one of the items. The users of an item who like j too are a list of lines; a
    pair of lines on the same list is a pair of users with j in common.
    """
    count = np.diff(columns.indptr)[items].astype(np.int64)
    item, before = np.repeat(np.arange(len(items)), count), np.cumsum(count) - count
    near = likes[columns[:, items].indices].tocsc()
    line = near.indices.astype(np.int64)
    other = np.repeat(np.arange(near.shape[1]), np.diff(near.indptr))
    start = np.flatnonzero(
        (np.diff(other, prepend=-1) != 0) | (np.diff(item[line], prepend=-1) != 0)
    )
    row, column, length = item[line[start]], other[start], np.diff(start, append=len(line))
    after = np.repeat(start + length, length) - 1 - np.arange(len(line))
    after[np.repeat(items[row] == column, length)] = 0
    entry = np.flatnonzero(after)

    squares = np.cumsum(count**2) - count**2  # where the pairs of an item's users begin
    of, at = item[line[entry]], line[entry]
    pair, first = _pairs(
        line, after, entry, squares[of] + (at - before[of]) * count[of] - before[of]
    )
    weight = 1 / (alpha + 1 + np.bincount(pair, minlength=(count**2).sum()))  # 1: the item itself
    which = np.repeat(np.arange(len(start)), length)[entry]
    sums = np.bincount(which, _sums_from(weight, pair, first), len(start))
    kept = sums > 0
    shape = (len(items), near.shape[1])
    return sparse.csr_matrix((sums[kept].astype(np.float32), (row[kept], column[kept])), shape)


def _sums_of_one(likes, columns, item, alpha):
    """`sim` of an item of many users, `[1, V]` CSR, summed over tiles of pairs of its users.

    Other items that many of these users like have a dense row each, over which overlaps and sums
    run at the speed of memory; the users of the rest are on lists, as in `_sums`.
    """
    users = columns.indices[columns.indptr[item] : columns.indptr[item + 1]]
    near = likes[users].tocsc()
    num, share = len(users), np.diff(near.indptr)
    share[item] = 0
    common = np.flatnonzero(share > SHARE * num)
    rare = np.flatnonzero((share > 1) & (share <= SHARE * num))
    sums = np.zeros(len(share))
    by_user, rows = near[:, common].tocsr(), near[:, common].T.toarray()
    lists = near[:, rare]
    line, length = lists.indices.astype(np.int64), np.diff(lists.indptr)
    after = np.repeat(lists.indptr[1:], length) - 1 - np.arange(len(line))
    column = np.repeat(rare, length)
    entry = np.argsort(line, kind="stable")
    entry = entry[after[entry] > 0]
    offsets = np.searchsorted(line[entry], np.arange(num + 1))
    listed = np.concatenate([[0], np.cumsum(after[entry])])[offsets]

    start = 0
    while start < num:
        width = num - start
        most = int(np.searchsorted(listed, listed[start] + HELD, side="right")) - 1
        stop = min(start + max(ROWS, TILE // width), max(start + 1, most))
        some, others = by_user[start:stop], np.ascontiguousarray(rows[:, start:])
        weight = some @ others  # [users of the tile, users from its first on]
        here = entry[offsets[start] : offsets[stop]]
        pair, first = _pairs(line, after, here, (line[here] - start) * width - start)
        np.add.at(weight.ravel(), pair, np.float32(1))
        np.reciprocal(weight + np.float32(alpha + 1), out=weight)
        weight[:, : stop - start] = np.triu(weight[:, : stop - start], 1)
        sums[common] += np.einsum("ij,ij->i", some.T.tocsr() @ weight, others)
        sums += np.bincount(column[here], _sums_from(weight.ravel(), pair, first), len(sums))
        start = stop
    return sparse.csr_matrix(sums.astype(np.float32)[None])


def _pairs(line, after, entry, base):
    """The pairs of each given entry of a list with the entries after it on the same list.

    Args:
        line: `[E]` the entries of all lists.
        after: `[E]` how many of its list follow.
        entry: positions of the entries that are followed by others.
        base: for each of them, what to add to the other's line.

    Returns:
        `base + line of the other` of each pair, and for each entry where its pairs begin.
    """
    many = after[entry]
    first = np.cumsum(many) - many
    pair = line[np.arange(many.sum()) + np.repeat(entry + 1 - first, many)]
    pair += np.repeat(base, many)
    return pair, first


def _sums_from(weight, pair, first):
    """The sum of the pairs' weights for each entry."""
    return np.add.reduceat(weight[pair], first, dtype=np.float64) if len(pair) else np.zeros(0)
