"""Channels that score every item, a block of users at a time."""

import numpy as np
from scipy import sparse

from tf_recall.recommend.counted import CountedChannel, indicator, padded
from tf_recall.recommend.explanations import largest_shares
from tf_recall.recommend.filters import flat, left_out
from tf_recall.recommend.products import first, ordered
from tf_recall.recommend.ranks import counted_ranks

SCORES = 2**24  # held in memory at once: 64 MB


class ScoredChannel(CountedChannel):
    """Recommends the items of highest score, a sum over what a user likes.

        score(u, i) = sum over the liked items j of like(u, j) * effect(j, i)

    All items are scored, since all pairs of items may have an effect. Those of positive score are
    recommended; equal scores come in the order of the item rows. Similar to an item are those that
    a user who likes nothing else is recommended. An item is explained by the liked items that speak
    for it.

    A subclass has `_fit(train)`, which sets the `arrays`, `likes` among them; `scores(likes)`; and
    `effects(items, item)`.
    """

    answers_items = True
    counts_ranks = True

    def scores(self, likes: sparse.csr_matrix) -> np.ndarray:
        """The score of every item for users who like these items.

        Args:
            likes: `[B, item rows]` CSR float32.

        Returns:
            `[B, item rows]` float32. A row is the same to the bit whatever the other rows are; that
            of a user without likes, and the column of the unknown item, are 0.
        """
        raise NotImplementedError

    def effects(self, items: np.ndarray, item: int) -> np.ndarray:
        """What a like of each of the items `[n]` adds to the score of an item: `[n]`."""
        raise NotImplementedError

    def _recommend(self, request, k):
        return self._in_blocks(request, k, self._block_size, self._answer)

    def _similar(self, request, k):
        return self._in_blocks(request, k, self._block_size, self._near)

    def _explain(self, request, item, num):
        _, likes = self._liked(request)
        weights = np.maximum(likes.data * self.effects(likes.indices, item), 0)
        names = self.catalog.items.decode
        return largest_shares(
            "item", weights, lambda best: names(likes.indices[best]).tolist(), num
        )

    def _ranks(self, request, line, item, most):
        _, likes = self._liked(request)
        shape = len(request), self._item_rows
        exact = np.zeros(len(request), np.float32)  # a row is the same in any company
        return counted_ranks(
            lambda at: self.scores(likes[at]),
            shape,
            (line, item),
            left_out(request),
            most,
            exact,
            floor=0.0,
        )

    @property
    def _block_size(self):
        """How many users are answered at once."""
        return max(1, SCORES // self._item_rows)

    def _answer(self, request, k):
        _, likes = self._liked(request)
        return _best(self.scores(likes), request, k)

    def _near(self, request, k):
        known = np.flatnonzero(request.rows)
        itself = known, request.rows[known]
        score = self.scores(indicator(*itself, (len(request), self._item_rows)))
        score[itself] = 0
        return _best(score, request, k)


def largest(score: np.ndarray, num: int) -> sparse.csr_matrix:
    """The `num` largest positive entries of each row.

    Args:
        score: `[B, V]` float32.
        num: how many in a row, at most.

    Returns:
        `[B, V]` CSR; the entries of a row are in falling order, equal ones by column.
    """
    num = min(num, score.shape[1])
    least = np.partition(score, -num, axis=1)[:, -num, None]  # [B, 1]
    row, column = np.nonzero((score >= least) & (score > 0))
    offsets = np.searchsorted(row, np.arange(len(score) + 1))
    found = sparse.csr_matrix((score[row, column], column, offsets), score.shape)
    return first(ordered(found), num)


def _best(score, request, k):
    """The k best items that a request lets through, and their scores; changes `score`."""
    score[left_out(request)] = 0
    restricted = np.flatnonzero(request.restricted)
    if len(restricted):
        among = flat(request.allow[restricted])
        allowed = np.zeros((len(restricted), score.shape[1]), bool)
        allowed[among] = True
        score[restricted] = np.where(allowed, score[restricted], 0)
    return padded(largest(score, k), k)
