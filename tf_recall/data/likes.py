"""Likes: how much each user likes each item of the training part, as one sparse matrix."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions

DAY = 86_400


@dataclass(frozen=True)
class Likes:
    """How much users like items, and in which order they interacted with them.

        like(u, i) = sum over the pair's interactions of weight * 0.5 ** (age / half_life)

    An interaction without a weight has 1; its age is counted from the last interaction of all.
    Pairs of weight 0 are left out.

    Args:
        matrix: `[user rows, item rows]` float32; row and column 0, the unknown, are empty.
        position: int64, one per pair of `matrix`: the position of its last interaction among all
            interactions in order of time, or of lines where there are no times.

    Example:
        >>> likes = Likes.fit(split.train, catalog, half_life=30)
        >>> likes.last(50)      # each user's fifty latest items
    """

    matrix: sparse.csr_matrix
    position: np.ndarray

    @classmethod
    def fit(
        cls,
        train: Interactions,
        catalog: Catalog,
        half_life: float | None = None,
        weight: str = "weight",
    ) -> "Likes":
        """Computes the likes of the training part.

        Args:
            train: interactions, with `timestamp` or without.
            catalog: fitted on them.
            half_life: days after which an interaction counts half; None: all count alike.
            weight: the column of how much an interaction counts; without a column `weight`, 1.

        Raises:
            ValueError: a half-life that is not above 0, or without a timestamp; a column of another
                name that does not exist; weights that are not numbers of at least 0; none above 0.
        """
        frame = train.frame
        users, items = train.rows("user", catalog.users), train.rows("item", catalog.items)
        weight = _weights(frame, weight)
        position = np.arange(len(frame))
        if "timestamp" in frame:
            order = np.argsort(frame["timestamp"].to_numpy(), kind="stable")
            position[order] = np.arange(len(frame))
        if half_life is not None:
            weight = weight * decay(frame, half_life)
        kept = np.flatnonzero((users > 0) & (items > 0) & (weight > 0))
        if not len(kept):
            raise ValueError("no interaction has a weight above 0: nobody likes anything")
        pair = users[kept].astype(np.int64) << 32 | items[kept]
        order = np.argsort(pair, kind="stable")
        pair = pair[order]
        kept = kept[order]
        first = np.flatnonzero(np.diff(pair, prepend=-1))
        offsets = np.searchsorted(pair[first] >> 32, np.arange(catalog.users.size + 1))
        columns = (pair[first] & 0xFFFFFFFF).astype(np.int32)
        like = np.add.reduceat(weight[kept], first, dtype=np.float32)
        shape = (catalog.users.size, catalog.items.size)
        matrix = sparse.csr_matrix((like, columns, offsets.astype(np.int64)), shape)
        return cls(matrix, np.maximum.reduceat(position[kept], first))

    def last(self, num: int | None) -> sparse.csr_matrix:
        """The likes of each user's `num` latest items; all of them where `num` is None."""
        count = np.diff(self.matrix.indptr)
        if num is None or not len(count) or count.max() <= num:
            return self.matrix
        users = np.repeat(np.arange(len(count)), count)
        order = np.lexsort([self.position, users])
        from_end = self.matrix.indptr[1:][users] - 1 - np.arange(len(order))
        kept = np.sort(order[from_end < num])
        offsets = np.concatenate([[0], np.cumsum(np.minimum(count, num))])
        return sparse.csr_matrix(
            (self.matrix.data[kept], self.matrix.indices[kept], offsets), self.matrix.shape
        )

    def thinned(self, user_limit: int | None, item_limit: int | None) -> sparse.csr_matrix:
        """The likes within limits: each user's latest items, and of these each item's latest users.

        Args:
            user_limit: how many items of a user; None: all.
            item_limit: how many users of an item; None: all.
        """
        users = np.repeat(np.arange(self.matrix.shape[0]), np.diff(self.matrix.indptr))
        kept = np.arange(self.matrix.nnz)
        for group, limit in ((users, user_limit), (self.matrix.indices, item_limit)):
            if limit is None:
                continue
            order = kept[np.lexsort([-self.position[kept], group[kept]])]
            start = np.flatnonzero(np.diff(group[order], prepend=-1))
            rank = np.arange(len(order)) - np.repeat(start, np.diff(start, append=len(order)))
            kept = np.sort(order[rank < limit])
        offsets = np.searchsorted(kept, self.matrix.indptr)
        return sparse.csr_matrix(
            (self.matrix.data[kept], self.matrix.indices[kept], offsets), self.matrix.shape
        )


def decay(frame: pd.DataFrame, half_life: float) -> np.ndarray:
    """The weight of each interaction by its age: `0.5 ** (age / half_life)`, float32 `[n]`.

    Args:
        frame: interactions with a `timestamp`; ages are in days, counted from the latest of all.
        half_life: days.

    Raises:
        ValueError: a half-life that is not above 0, or no timestamp.
    """
    if not half_life > 0:
        raise ValueError(f"half_life is a number of days above 0, got {half_life!r}")
    if "timestamp" not in frame:
        raise ValueError("half_life needs the interactions' timestamp, and they have none")
    time = frame["timestamp"].to_numpy()
    return np.exp2((time - time.max()) / (half_life * DAY)).astype(np.float32)


def _weights(frame, column):
    if column not in frame:
        if column != "weight":
            raise ValueError(
                f"weight names the column {column!r}; the interactions have {', '.join(frame)}"
            )
        return np.ones(len(frame), np.float32)
    weight = frame[column].to_numpy()
    if weight.dtype.kind not in "buif" or not (np.isfinite(weight) & (weight >= 0)).all():
        raise ValueError(
            f"{column} is how much an interaction counts: numbers of at least 0, none missing"
        )
    return weight.astype(np.float32)


def binary(likes: sparse.csr_matrix) -> sparse.csr_matrix:
    """The likes as 0 and 1: 1 where there is a like."""
    return sparse.csr_matrix((np.ones_like(likes.data), likes.indices, likes.indptr), likes.shape)
