"""Rankings, lists that are the same for everybody: popular, trending, recent, by a column.

The column is one of the item table.
"""

from pathlib import Path

import numpy as np

from tf_recall.data.interactions import Interactions
from tf_recall.data.likes import decay
from tf_recall.data.ranges import Column, NumberAbove0
from tf_recall.data.values import column_of
from tf_recall.recommend.filters import among, left_out, pairs
from tf_recall.recommend.sparse import SparseChannel


class Ranking(SparseChannel):
    """Recommends the first items of one list to everybody (METHODS.md C1).

    Items that a request filters out are passed over.

        score(item) = 1 / rank(item),   rank 1 = the item of the largest value

    Items of equal value come in the order of their rows, so ranks, and scores, are strictly
    distinct. The score tells the order and nothing else. An item without a value, NaN, is not on
    the list, and is never recommended. A history matters to `exclude_seen` alone.

    A subclass has `values(train)`, and `kind`, what `explain` calls the list.

    Attributes:
        order: `[V + 1]` int32, the item rows by rank; 0 where the list has ended.
    """

    arrays = ("order",)
    history_length = 0
    counts_ranks = True
    column: str | None = None

    def values(self, train: Interactions) -> np.ndarray:
        """What the list is sorted by: `[V]` numbers, of the item rows from 1 on."""
        raise NotImplementedError

    def load(self, directory, catalog, mmap=False):
        """As `CountedChannel.load`."""
        super().load(directory, catalog, mmap)
        listed = self.order[self.order != 0]
        within = (listed > 0) & (listed < len(self.order))
        once = self.order.ndim == 1 and len(np.unique(listed)) == len(listed)
        if not within.all() or not once or self.order[-1] != 0:
            raise ValueError(f"{Path(directory) / 'order.npy'} is damaged: it is no order of items")
        self._set(self.order)
        return self

    @property
    def _item_rows(self):
        return len(self.order)

    def _explain(self, request, item, num):
        """The list, and the column that it is sorted by if any."""
        if not self.order[self._positions[item]]:
            return []
        return [{"kind": self.kind, "id": self.column, "share": 1.0}][:num]

    def _fit(self, train):
        values = self.values(train)
        rows = np.argsort(-values, kind="stable") + 1  # NaN comes last
        self._set(np.append(np.where(np.isnan(values[rows - 1]), 0, rows), 0).astype(np.int32))

    def _set(self, order):
        """Keeps the order, and each row's position in it; rows that are not on the list get
        positions behind it, distinct too.
        """
        self.order = order
        listed = order[order > 0]
        others = np.setdiff1d(np.arange(len(order)), listed)
        self._positions = np.empty(len(order), np.int64)  # by row
        self._positions[np.concatenate([listed, others])] = np.arange(len(order))

    def _answer(self, request, k):
        batch, rows = left_out(request)
        positions = np.broadcast_to(np.arange(k), (len(request), k))
        if len(batch):
            positions = positions + self._left_out_above(batch, rows, len(request), k)
        restricted = request.restricted
        if restricted.any():
            allowed = self._allowed(request.allow, batch << 32 | rows, k)
            positions = np.where(restricted[:, None], allowed, positions)
        rows = self.order[np.minimum(positions, len(self.order) - 1)]
        return rows, np.where(rows > 0, 1.0 / (1 + positions), -np.inf).astype(np.float32)

    def _ranks(self, request, line, item, most):
        """The items' positions in the list, less the items left out that come before."""
        batch, rows = left_out(request)
        positions = self._positions[item]
        absent = np.sort(pairs(batch, self._positions[rows]))
        asked = pairs(line, positions)
        before = np.searchsorted(absent, asked) - np.searchsorted(absent, pairs(line, 0))
        gone = among(asked, absent) | (self.order[positions] == 0)
        return np.where(gone, max(most, len(self.order)), positions - before), np.zeros_like(before)

    def _left_out_above(self, batch, rows, size, k):
        """How many items left out come before each user's j-th other one, `[B, k]`.

        Let s_0 < s_1 < ... be the positions of a user's items left out. The m-th of them has
        s_m - m others before it, so it comes before the other at j exactly when s_m - m <= j: a
        histogram of s_m - m, summed up along j.

        Args:
            batch, rows: `[n]` as of `left_out`.
            size: B.
        """
        number = np.bincount(batch, minlength=size)
        positions = self._positions[rows]
        near = positions < k + number[batch]  # nothing further down can matter
        pairs = np.sort(batch[near] << 32 | positions[near], kind="stable")
        batch, positions = pairs >> 32, pairs & 0xFFFFFFFF
        first = np.searchsorted(batch, np.arange(size))
        jump = positions - (np.arange(len(pairs)) - first[batch])
        within = jump < k
        jumps = np.bincount(batch[within] * k + jump[within], minlength=size * k)
        return np.cumsum(jumps.reshape(-1, k), axis=1)  # [B, k]

    def _allowed(self, allow, left_out, k):
        """The positions of the first k items of each `allow` list that are not left out, `[B, k]`;
        the last position of all for none.

        Args:
            allow: `[B, L]` rows, 0 for none.
            left_out: `[n]` pairs of a position in the batch and a row, as one number.
        """
        batch, column = np.nonzero(allow)
        pairs = batch << 32 | allow[batch, column]
        pairs = pairs[~np.isin(pairs, left_out)]
        pairs = np.unique(pairs >> 32 << 32 | self._positions[pairs & 0xFFFFFFFF])
        batch, positions = pairs >> 32, pairs & 0xFFFFFFFF
        number = np.arange(len(pairs)) - np.searchsorted(batch, batch)
        best = np.full((len(allow), k), len(self.order) - 1)
        best[batch[number < k], number[number < k]] = positions[number < k]
        return best  # [B, k]


class Popularity(Ranking):
    """Recommends the items of most training interactions (METHODS.md C1).

    It is the baseline that any trained model has to beat.

        value(item) = training interactions of the item

    It reads the counts of the catalog; items without interactions come last.

    Example:
        >>> channel = Popularity().fit(split.train, catalog)
        >>> item_id, score = channel.recommend(["u1", "a new user"], k=10, exclude_seen=True)
    """

    kind = "popular"

    def values(self, train):
        return self.catalog.items.counts[1:].astype(np.float64)


class Trending(Ranking):
    """Recommends the items of most recent interactions (METHODS.md C1).

        value(item) = sum over its interactions of 0.5 ** (age / half_life)

    with the age in days before the last interaction of all. Items without interactions come last.

    Args:
        half_life: days after which an interaction counts half.

    Raises:
        ValueError: a half-life that is not above 0; when fitted, interactions without a timestamp.
    """

    kind = "trending"

    tunable = {"half_life": [1.0, 60.0, "log"]}

    def __init__(self, half_life: NumberAbove0 = 7):
        if not half_life > 0:
            raise ValueError(f"half_life is a number of days above 0, got {half_life!r}")
        self.half_life = half_life

    def values(self, train):
        rows = train.rows("item", self.catalog.items)
        return np.bincount(rows, decay(train.frame, self.half_life), self.catalog.items.size)[1:]


class Recent(Ranking):
    """Recommends the newest items (METHODS.md C1).

        value(item) = its number or date in the column, or the time of its first interaction

    Args:
        column: of the item table, numbers or dates, such as a year or a day of release; an item
            without one is not on the list. None: the time of the item's first interaction; an item
            without any is not on the list.

    Raises:
        ValueError: when fitted, a column that is absent, empty, or neither numbers nor dates;
            without a column, interactions without a timestamp.
    """

    kind = "recent"

    def __init__(self, column: Column | None = None):
        self.column = column

    def values(self, train):
        if self.column is not None:
            return column_of(self.catalog, self.column)
        if "timestamp" not in train.frame:
            raise ValueError(
                "Recent() needs the interactions' timestamp, and they have none: name a column "
                "of items"
            )
        first = np.full(self.catalog.items.size, np.inf)
        np.minimum.at(
            first,
            train.rows("item", self.catalog.items),
            train.frame["timestamp"].to_numpy(),
        )
        return np.where(np.isinf(first), np.nan, first)[1:]


class Operational(Ranking):
    """Recommends the items with the largest numbers in a column (METHODS.md C1).

    The column is one of the item table, such as shares or stock.

        value(item) = its number in the column

    An item without a number is not on the list.

    Args:
        column: of the item table; numbers or dates.

    Raises:
        ValueError: when fitted, a column that is absent, empty, or neither numbers nor dates.
    """

    kind = "operational"

    def __init__(self, column: Column):
        self.column = column

    def values(self, train):
        return column_of(self.catalog, self.column)
