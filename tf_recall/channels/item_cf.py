"""Item CF: items similar to those that a user likes."""

import numpy as np

from tf_recall.channels.similarity import Cosine, Similarity
from tf_recall.data.likes import Likes
from tf_recall.data.ranges import Column, NumberAbove0, WholeFrom1
from tf_recall.recommend.counted import padded
from tf_recall.recommend.filters import Filter
from tf_recall.recommend.products import first
from tf_recall.recommend.sparse import SparseChannel


class ItemToItem(SparseChannel):
    """From the items that a user likes to items similar to them: `right` holds the similarities."""

    kind = "item"
    answers_items = True

    def left(self, users, likes):
        return likes

    def _similar(self, request, k):
        near = self.right[request.rows]
        position = np.repeat(np.arange(len(request)), np.diff(near.indptr))
        return padded(first(near, k, Filter(request)(position, near.indices)), k)


class ItemCF(ItemToItem):
    """Recommends the items most similar to those that a user likes (METHODS.md C2).

        score(u, i) = sum over the `last` items j of u of like(u, j) * sim(i, j),
            where i is among the `top` of j

    Two indexes: user to their last items, item to the items most similar to it. All items similar
    to any of a user's are scored, and by all of the user's items that they are similar to.

    Args:
        similarity: `Cosine()`, `WeightedCosine()`, `Jaccard()`, `Pearson()`, `Euclidean()`.
        top: how many similar items to keep of each.
        last: how many of a user's latest items to recommend from; None: all.
        user_limit: how many of a user's latest items count towards similarities, so that a few very
            active users neither dominate nor cost much; None: all.
        weight: the column of how much a user likes an item; without a column `weight` every
            interaction is 1.
        half_life: days after which a like counts half, in similarities and in scores; None: all
            count alike.

    Example:
        >>> channel = ItemCF(last=50).fit(split.train, catalog)
        >>> item_id, score = channel.recommend(["u17"], k=10, exclude_seen=True)
        >>> channel.explain("u17", item_id[0, 0])
        [{'kind': 'item', 'id': '...', 'share': ...}, ...]

    Paper: Sarwar et al. 2001, "Item-Based Collaborative Filtering Recommendation Algorithms",
        section 3.
    Paper: Deshpande and Karypis 2004, "Item-Based Top-N Recommendation Algorithms", section 4.
    """

    tunable = {
        "similarity": {"choices": ["cosine", "weighted_cosine", "jaccard", "pearson"]},
        "top": [20, 500, "log"],
        "last": {"choices": [None, 10, 20, 50, 100]},
    }

    def __init__(
        self,
        similarity: Similarity | None = None,
        top: WholeFrom1 = 100,
        last: WholeFrom1 | None = None,
        user_limit: WholeFrom1 | None = None,
        half_life: NumberAbove0 | None = None,
        weight: Column = "weight",
    ):
        check_counts(top=top, last=last, user_limit=user_limit)
        self.similarity = similarity or Cosine()
        self.top, self.last, self.user_limit = top, last, user_limit
        self.half_life, self.weight = half_life, weight

    def _fit(self, train):
        likes = Likes.fit(train, self.catalog, self.half_life, self.weight)
        self.likes = likes.last(self.last)
        self.right = self.similarity.neighbors(likes.last(self.user_limit), self.top)


def check_counts(**counts) -> None:
    """Refuses what is neither None nor a whole number of at least 1.

    Raises:
        ValueError: with the name of it.
    """
    for name, count in counts.items():
        if count is not None and (not isinstance(count, int) or count < 1):
            raise ValueError(f"{name} is a whole number of at least 1, got {count!r}")
