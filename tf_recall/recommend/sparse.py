"""Sparse channels: from a user to what they are tied to, from there to items."""

import functools

import numpy as np
from scipy import sparse

from tf_recall.recommend.counted import CountedChannel, indicator, padded
from tf_recall.recommend.explanations import largest_shares
from tf_recall.recommend.filters import Filter, among, flat, left_out, pairs
from tf_recall.recommend.products import first, together, top_changed, top_in_order, top_of_one

BLOCK = 4096  # users answered at once
OUT = np.float32(-1e30)  # the score of an item that is filtered out


class SparseChannel(CountedChannel):
    """Recommends in two steps: from a user to what is tied to them, from there to items.

    METHODS.md, part 5:

        score(u, i) = sum over m of left(u, m) * right(m, i)

    In the middle, m, are liked items, similar users, tags. All items tied to any of them are
    candidates, and each gets the whole sum. Those of positive score are recommended; equal scores
    come in the order of the item rows.

    A subclass has `kind`, what is in the middle; `_fit(train)`, which sets `right` among the
    `arrays`; `left(users, likes)`; and `names(middle)`, the raw ids or names of rows in the middle.

    Attributes:
        right: `[M, item rows]` CSR float32.
    """

    kind = ""
    arrays: tuple[str, ...] = ("likes", "right")

    def left(self, users: np.ndarray, likes: sparse.csr_matrix) -> sparse.csr_matrix:
        """How much each user is tied to what is in the middle.

        Args:
            users: `[B]` rows; 0 for unknown users, and for those with a history in the request.
            likes: `[B, item rows]` what they like, the history where there is one.

        Returns:
            `[B, M]` CSR float32.
        """
        raise NotImplementedError

    def names(self, middle: np.ndarray) -> list:
        """The raw ids or names of rows in the middle."""
        return self.catalog.items.decode(middle).tolist()

    def _recommend(self, request, k):
        return self._in_blocks(request, k, BLOCK, self._answer)

    def _explain(self, request, item, num):
        left = self._left(request).sorted_indices()
        right = self.right[left.indices][:, [item]].toarray().ravel()
        return largest_shares(
            self.kind, left.data * right, lambda best: self.names(left.indices[best]), num
        )

    @property
    def _item_rows(self):
        return self.right.shape[1]

    def _left(self, request):
        """`left`, with a history in place of the user where there is one."""
        return self.left(*self._liked(request))

    @functools.cached_property
    def _with_filter(self):
        """`right`, and below it a line for each item that takes the item out."""
        out = OUT * sparse.identity(self.right.shape[1], np.float32)
        return sparse.vstack([self.right, out], "csr")

    def _answer(self, request, k):
        left = self._left(request)
        if len(request) == 1:
            passes = functools.partial(Filter(request), 0)
            return padded(top_of_one(left, self.right, k, passes), k)
        shape = (len(request), self.right.shape[1])
        left = sparse.hstack([left, indicator(*left_out(request), shape)], "csr")
        best = top_in_order(left, self._with_filter, k)
        restricted = np.flatnonzero(request.restricted)
        if len(restricted):
            allow = request.allow[restricted]
            among = self._among(left[restricted], allow)
            best = together(best, restricted, first(among, k))
        return padded(best, k)

    def _among(self, left, allow):
        """The items of positive score among those allowed, `[B, item rows]` CSR, best first."""
        allowed = np.unique(pairs(*flat(allow)))

        def only_allowed(values, row, column):
            return np.where(among(pairs(row, column), allowed), values, 0)

        return top_changed(left, self._with_filter, max(1, allow.shape[1]), only_allowed)
