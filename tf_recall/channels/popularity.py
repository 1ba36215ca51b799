"""Popularity: every user gets the items with most training interactions."""

import numpy as np

from tf_recall.data.catalog import Catalog, Seen


class Popularity:
    """Recommends the most popular items, the baseline that any trained model has to beat (METHODS.md C1).

        score(item) = 1 / place(item),   place 1 = the item with the largest training count

    Items of equal count stand in the order of their rows, so places, and scores, are strictly distinct. The score tells
    the order and nothing else.

    Args:
        catalog: the fitted `Catalog`.

    Example:
        >>> item_id, score = Popularity(catalog).recommend(["u1", "somebody new"], k=10, exclude_seen=True)
    """

    def __init__(self, catalog: Catalog):
        self.catalog = catalog
        self._rows = np.argsort(-catalog.items.counts[1:], kind="stable").astype(np.int32) + 1  # place -> row
        self._places = np.empty(catalog.num_items + 1, np.int64)  # row -> place
        self._places[self._rows] = np.arange(catalog.num_items)

    def recommend_rows(self, user_id, k: int, exclude_seen: bool = False, **context) -> tuple[np.ndarray, np.ndarray]:
        """Item rows and scores; `context` is taken, as every recommender takes it, and plays no part.

        Args:
            user_id: `[B]` raw ids.
            k: the length of the lists.
            exclude_seen: leave out what the user has in the training part; an unknown user has nothing there.

        Returns:
            rows `[B, k]` int32 and score `[B, k]` float32, falling; row 0 and score -inf where no item is left.

        Raises:
            ValueError: k is below 1 or above the number of items.
        """
        num_items = self.catalog.num_items
        if not 1 <= k <= num_items:
            raise ValueError(f"k is {k}; the catalogue allows 1 to {num_items}")
        users = self.catalog.users.encode(user_id)
        places = np.broadcast_to(np.arange(k), (len(users), k))
        if exclude_seen:
            places = places + self._seen_above(users, k)
        left = places < num_items
        rows = np.where(left, self._rows[np.minimum(places, num_items - 1)], 0)
        return rows, np.where(left, 1.0 / (1 + places), -np.inf).astype(np.float32)

    def recommend(self, user_id, k: int = 10, exclude_seen: bool = False, **context) -> tuple[np.ndarray, np.ndarray]:
        """As `recommend_rows`, with raw item ids in place of rows."""
        rows, score = self.recommend_rows(user_id, k, exclude_seen, **context)
        return self.catalog.items.decode(rows), score

    def _seen_above(self, users: np.ndarray, k: int) -> np.ndarray:
        """How many seen items stand before each user's j-th unseen one, `[B, k]`.

        Let s_0 < s_1 < ... be the places of what a user has seen. The m-th of them has s_m - m unseen places before it,
        so it stands before unseen place j exactly when s_m - m <= j: a histogram of s_m - m, summed up along j.
        """
        query, rows = seen_pairs(self.catalog.seen, users)
        num_seen = np.bincount(query, minlength=len(users))
        places = self._places[rows]
        near = places < k + num_seen[query]  # nothing further down can matter
        pairs = np.sort(query[near] << 32 | places[near], kind="stable")
        query, places = pairs >> 32, pairs & 0xFFFFFFFF
        first = np.searchsorted(query, np.arange(len(users)))
        jump = places - (np.arange(len(pairs)) - first[query])
        within = jump < k
        jumps = np.bincount(query[within] * k + jump[within], minlength=len(users) * k)
        return np.cumsum(jumps.reshape(-1, k), axis=1)  # [B, k]


def seen_pairs(seen: Seen, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the given users have seen, flat: for each pair the position in `users` (int64, rising) and the item row."""
    start, count = seen.offsets[users], np.diff(seen.offsets)[users]
    query = np.repeat(np.arange(len(users)), count)
    before = np.cumsum(count) - count
    return query, seen.rows[np.arange(len(query)) + (start - before)[query]]
