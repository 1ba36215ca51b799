"""The graph filter: smooths a user's likes over the graph of users and items, without training."""

import functools
from typing import Any

import numpy as np
from scipy import sparse

from tf_recall.channels.item_cf import check_counts
from tf_recall.channels.similarity import Cosine
from tf_recall.channels.spectrum import leading_vectors
from tf_recall.data.likes import Likes, binary
from tf_recall.data.ranges import Column, NumberAbove0, NumberFrom0, WholeFrom1
from tf_recall.recommend.exact import exact_product, rounded
from tf_recall.recommend.scored import ScoredChannel


class GraphFilter(ScoredChannel):
    """Recommends what is left of a user's likes after a low-pass filter (METHODS.md C6).

    Users and items are a graph, R its edges, 1 where u likes i.

        R~(u, i) = R(u, i) / sqrt(|J_u| |W_i|)
        near(j, i) = (R~' R~)(j, i), where i is j itself or among the `top` of j
        smooth(j, i) = sum over d of V(j, d) V(i, d) * sqrt(|W_i| / |W_j|)
        score(u, i) = sum over the liked items j of like(u, j) * (near(j, i) + alpha * smooth(j, i))

    with J_u the items that u likes, W_i the users who like i, and V the right singular vectors of
    R~ of the `dim` largest singular values. `near` is item CF whose users count less, the more
    they like; `smooth` is what the whole graph knows, of pairs that no user has in common as well.
    There is nothing to train. On sparse data it is often above trained models: the one to beat.

    The two parts are kept apart, the one sparse, the other as vectors; they meet in the scores of a
    block of users. The vectors alone may stand behind any index: `embed_catalog` gives those of
    items, `embed_query` those of users, and their product is the second part of the score.

    Args:
        dim: the length of the vectors; fewer where R~ has a lower rank.
        alpha: how much `smooth` counts, at least 0.
        top: how many similar items to keep of each in `near`; None: all, which only small catalogs
            can hold.
        last: how many of a user's latest items to recommend from; None: all.
        user_limit: how many of a user's latest items count in R, so that a few very active users
            do not cost much; None: all.
        half_life: days after which a like counts half in scores; None: all count alike. In R a pair
            counts or does not.
        weight: the column of how much a user likes an item, in scores; without a column `weight`
            every interaction is 1.

    Raises:
        ValueError: an argument out of its range; from `fit`, as `Likes.fit`.

    Example:
        >>> channel = GraphFilter(dim=64).fit(split.train, catalog)
        >>> item_id, score = channel.recommend(["u17"], k=10, exclude_seen=True)
        >>> channel.explain("u17", item_id[0, 0])
        [{'kind': 'item', 'id': '...', 'share': ...}, ...]
        >>> index = IVF().build(channel.embed_catalog())
        >>> score, position = index.search(channel.embed_query(["u17"]), k=10)
        >>> item_id = catalog.items.decode(position.numpy() + 1)

    Paper: Shen et al. 2021, "How Powerful is Graph Convolution for Recommendation?", section 4.3.
    """

    arrays = ("likes", "near", "vectors", "users")

    tunable = {
        "dim": [32, 1024, "log"],
        "alpha": [0.03, 3.0, "log"],
        "top": {"choices": [None, 100, 500]},
        "last": {"choices": [None, 10, 20, 50, 100]},
    }

    def __init__(
        self,
        dim: WholeFrom1 = 256,
        alpha: NumberFrom0 = 0.3,
        top: WholeFrom1 | None = 500,
        last: WholeFrom1 | None = None,
        user_limit: WholeFrom1 | None = None,
        half_life: NumberAbove0 | None = None,
        weight: Column = "weight",
    ):
        check_counts(dim=dim, top=top, last=last, user_limit=user_limit)
        if not 0 <= alpha < np.inf:
            raise ValueError(f"alpha is a number of at least 0, got {alpha!r}")
        self.dim, self.alpha, self.top, self.last = dim, alpha, top, last
        self.user_limit, self.half_life, self.weight = user_limit, half_life, weight

    def scores(self, likes):
        smooth = exact_product(self._queries(likes), self.vectors)
        smooth *= np.float32(self.alpha) * np.sqrt(self.users)
        return (likes @ self.near).toarray() + smooth

    def effects(self, items, item):
        near = self.near[items][:, [item]].toarray().ravel()
        smooth = self.vectors[items] @ self.vectors[item] * np.sqrt(self.users[item])
        return near + self.alpha * smooth * self._scale[items]

    def embed_query(self, user_id: Any, history: Any = None) -> np.ndarray:
        """The vectors of users, whose products with those of items are `alpha * smooth` summed.

        Args:
            user_id, history: as for `recommend`.

        Returns:
            `[B, dim]` float32; zeros for an unknown user without a history.
        """
        _, likes = self._liked(self.request_for_users(user_id, history=history))
        return self._queries(likes)

    def embed_catalog(self) -> np.ndarray:
        """The vectors of all items, for an index: `[V, dim]` float32, line r of row r + 1."""
        return self.vectors[1:] * (np.float32(self.alpha) * np.sqrt(self.users[1:, None]))

    def _fit(self, train):
        likes = Likes.fit(train, self.catalog, self.half_life, self.weight)
        self.likes, counted = likes.last(self.last), binary(likes.last(self.user_limit))
        del likes
        self.users = np.bincount(counted.indices, minlength=counted.shape[1]).astype(np.float32)
        top = self.catalog.num_items if self.top is None else self.top
        normal = _normalized(counted)
        itself = np.bincount(normal.indices, normal.data**2, normal.shape[1])
        itself = sparse.diags_array(itself.astype(np.float32))
        near = Cosine(user_power=1.0).neighbors(counted, top)
        self.near = (near + itself).tocsr()
        self.vectors = rounded(leading_vectors(normal, self.dim))

    def _queries(self, likes):
        values = likes.data * self._scale[likes.indices]
        scaled = sparse.csr_matrix((values, likes.indices, likes.indptr), likes.shape)
        return rounded(scaled @ self.vectors)

    @functools.cached_property
    def _scale(self):
        """`[item rows]` float32, 1 / sqrt(|W_i|); 0 for items that nobody likes."""
        return _inverse_root(self.users).astype(np.float32)


def _normalized(counted):
    """R~, in float64: a popular item's sums have many terms."""
    size = np.diff(counted.indptr)
    scale = _inverse_root(np.bincount(counted.indices, minlength=counted.shape[1]))
    values = np.repeat(_inverse_root(size), size) * scale[counted.indices]
    return sparse.csr_matrix((values, counted.indices, counted.indptr), counted.shape)


def _inverse_root(counts):
    return np.divide(1, np.sqrt(counts), out=np.zeros(len(counts)), where=counts > 0)
