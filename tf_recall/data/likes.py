"""Likes: how much each user likes each item, as one sparse matrix of the training part."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions

DAY = 86_400


@dataclass(frozen=True)
class Likes:
    """What users like, by row, and in which order they came to it.

        like(u, i) = sum over the pair's interactions of weight * 0.5 ** (age / half_life)

    An interaction without a weight has 1; its age is counted from the last interaction of all.
    Pairs of weight 0 are left out.

    Args:
        matrix: `[user rows, item rows]` float32; row and column 0, the unknown, are empty.
        place: int64, one per pair of `matrix`: the place of its last interaction among all, by
            time, else by line.

    Example:
        >>> likes = Likes.fit(split.train, catalog, half_life=30)
        >>> likes.last(50)      # each user's fifty latest items
    """

    matrix: sparse.csr_matrix
    place: np.ndarray

    @classmethod
    def fit(
        cls,
        train: Interactions,
        catalog: Catalog,
        half_life: float | None = None,
        weight: str = "weight",
    ) -> "Likes":
        """The likes of the training part.

        Args:
            train: interactions, with `timestamp` or without.
            catalog: fitted on them.
            half_life: days after which an interaction counts half; None: all count alike.
            weight: the column that says how much; without a column `weight` each counts 1.

        Raises:
            ValueError: a half-life that is not above 0, or without a timestamp; another column that
                is not there, or holds no numbers of at least 0; no weight above 0.
        """
        frame = train.frame
        users, items = (
            catalog.users.encode(frame["user_id"]),
            catalog.items.encode(frame["item_id"]),
        )
        weight = _weights(frame, weight)
        place = np.arange(len(frame))
        if "timestamp" in frame:
            place[np.argsort(frame["timestamp"].to_numpy(), kind="stable")] = np.arange(len(frame))
        if half_life is not None:
            weight = weight * decay(frame, half_life)
        kept = np.flatnonzero((users > 0) & (items > 0) & (weight > 0))
        if not len(kept):
            raise ValueError("no interaction has a weight above 0: nobody likes anything")
        pair = users[kept].astype(np.int64) << 32 | items[kept]
        order = np.argsort(pair, kind="stable")
        pair, kept = pair[order], kept[order]
        first = np.flatnonzero(np.diff(pair, prepend=-1))
        offsets = np.searchsorted(pair[first] >> 32, np.arange(catalog.users.size + 1)).astype(
            np.int64
        )
        columns = (pair[first] & 0xFFFFFFFF).astype(np.int32)
        like = np.add.reduceat(weight[kept], first, dtype=np.float32)
        shape = (catalog.users.size, catalog.items.size)
        return cls(
            sparse.csr_matrix((like, columns, offsets), shape),
            np.maximum.reduceat(place[kept], first),
        )

    def last(self, num: int | None) -> sparse.csr_matrix:
        """The likes of each user's `num` latest items; all of them where `num` is None."""
        count = np.diff(self.matrix.indptr)
        if num is None or not len(count) or count.max() <= num:
            return self.matrix
        users = np.repeat(np.arange(len(count)), count)
        order = np.lexsort([self.place, users])
        from_end = self.matrix.indptr[1:][users] - 1 - np.arange(len(order))
        kept = np.sort(order[from_end < num])
        offsets = np.concatenate([[0], np.cumsum(np.minimum(count, num))])
        return sparse.csr_matrix(
            (self.matrix.data[kept], self.matrix.indices[kept], offsets), self.matrix.shape
        )

    def thinned(self, user_limit: int | None, item_limit: int | None) -> sparse.csr_matrix:
        """The likes of each user's latest items, and of those each item's latest users.

        `user_limit` items of a user are kept, then `item_limit` users of an item; none: all of
        them.
        """
        users = np.repeat(np.arange(self.matrix.shape[0]), np.diff(self.matrix.indptr))
        kept = np.arange(self.matrix.nnz)
        for group, limit in ((users, user_limit), (self.matrix.indices, item_limit)):
            if limit is None:
                continue
            order = kept[np.lexsort([-self.place[kept], group[kept]])]
            start = np.flatnonzero(np.diff(group[order], prepend=-1))
            place = np.arange(len(order)) - np.repeat(start, np.diff(start, append=len(order)))
            kept = np.sort(order[place < limit])
        offsets = np.searchsorted(kept, self.matrix.indptr)
        return sparse.csr_matrix(
            (self.matrix.data[kept], self.matrix.indices[kept], offsets), self.matrix.shape
        )


def decay(frame: pd.DataFrame, half_life: float) -> np.ndarray:
    """`0.5 ** (age / half_life)` of each interaction, float32.

    The age is in days, from the latest interaction.

    Raises:
        ValueError: a half-life that is not above 0, or no timestamp.
    """
    if not half_life > 0:
        raise ValueError(f"half_life is a number of days above 0, got {half_life!r}")
    if "timestamp" not in frame:
        raise ValueError("half_life asks for the interactions' timestamp, and they have none")
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
            f"{column} says how much an interaction counts: numbers of at least 0, none missing"
        )
    return weight.astype(np.float32)


def binary(likes: sparse.csr_matrix) -> sparse.csr_matrix:
    """1 where there is a like."""
    return sparse.csr_matrix((np.ones_like(likes.data), likes.indices, likes.indptr), likes.shape)
