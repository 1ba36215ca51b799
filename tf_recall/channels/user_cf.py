"""User CF: items that similar users like."""

import functools

import numpy as np
from scipy import sparse

from tf_recall.channels.item_cf import check_counts
from tf_recall.data.likes import Likes
from tf_recall.data.ranges import Column, NumberAbove0, WholeFrom1
from tf_recall.recommend.products import together, top, without_diagonal
from tf_recall.recommend.sparse import SparseChannel


class UserCF(SparseChannel):
    """Recommends what the users most similar to a user like (METHODS.md C4).

        sim(u, v) = sum over the items l of both of 1 / log(1 + n_l) / sqrt(|J_u| |J_v|)
        score(u, i) = sum over the `top` users v most similar to u of sim(u, v) * like(v, i),
            where i is among the `last` items of v

    with J_u the items that u likes and n_l the number of users who like l: an item that everybody
    likes counts little. Two indexes: user to their last items, user to the users most similar to
    them. Unknown users are compared by the history in the request.

    Args:
        top: how many similar users to keep of each.
        last: how many of a user's latest items to recommend to others; None: all.
        item_limit: items of more users than this are left out of the comparison: comparing costs
            the square of it. None: none is.
        weight: the column of how much a user likes an item; without a column `weight` every
            interaction is 1.
        half_life: days after which a like counts half in scores; None: all count alike.

    Paper: Breese et al. 1998, "Empirical Analysis of Predictive Algorithms for Collaborative
        Filtering", section 2.2.2.
    """

    kind = "user"
    arrays = ("likes", "right", "users")

    tunable = {
        "top": [20, 500, "log"],
        "last": {"choices": [None, 10, 20, 50, 100]},
    }

    def __init__(
        self,
        top: WholeFrom1 = 100,
        last: WholeFrom1 | None = None,
        item_limit: WholeFrom1 | None = None,
        half_life: NumberAbove0 | None = None,
        weight: Column = "weight",
    ):
        check_counts(top=top, last=last, item_limit=item_limit)
        self.top, self.last, self.item_limit = top, last, item_limit
        self.half_life, self.weight = half_life, weight

    def _fit(self, train):
        likes = Likes.fit(train, self.catalog, self.half_life, self.weight)
        self.likes, self.right = likes.matrix, likes.last(self.last)
        near = top(self._profiles, self._by_item, self.top + 1, "users like each user")
        self.users = without_diagonal(near, self.top)

    def left(self, users, likes):
        """As `SparseChannel.left`; unknown users are compared by the likes given."""
        known, unknown = self.users[users], np.flatnonzero(users == 0)
        if not len(unknown):
            return known
        return together(known, unknown, top(self._profile(likes[unknown]), self._by_item, self.top))

    def names(self, middle):
        return self.catalog.users.decode(middle).tolist()

    @functools.cached_property
    def _weights(self):
        """`[item rows]` 1 / log(1 + n_l), 0 for items of too many users."""
        count = np.bincount(self.likes.indices, minlength=self.likes.shape[1])
        counted = (count > 0) & (count <= (self.item_limit or np.inf))
        return np.divide(1, np.log1p(count), out=np.zeros(len(count)), where=counted)

    @functools.cached_property
    def _profiles(self):
        return self._profile(self.likes)

    @functools.cached_property
    def _by_item(self):
        return self._profiles.T.tocsr()

    def _profile(self, likes):
        """Rows whose products are similarities."""
        size = np.repeat(np.diff(likes.indptr), np.diff(likes.indptr))
        values = np.sqrt(self._weights[likes.indices] / np.maximum(size, 1)).astype(np.float32)
        return sparse.csr_matrix((values, likes.indices, likes.indptr), likes.shape)
