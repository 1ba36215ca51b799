"""Lists that are the same for everybody: popular, trending, recent, and by a column of the item
table.
"""

import numpy as np

from tf_recall.data.interactions import Interactions
from tf_recall.data.likes import decay
from tf_recall.data.values import column_of
from tf_recall.recommend.sparse import Channel, left_out


class Ranking(Channel):
    """Recommends the first items of one list to everybody, without those that a request leaves out
    (METHODS.md C1).

        score(item) = 1 / place(item),   place 1 = the item of the largest value

    Items of equal value stand in the order of their rows, so places, and scores, are strictly
    distinct. The score tells the order and nothing else. An item without a value, NaN, is not on
    the list, and never comes up.

    A subclass has `values(train)` and `kind`, what `explain` calls the list.

    Attributes:
        order: `[V + 1]` int32, the rows from the first place on; 0 where the list has ended.
    """

    arrays = ("order",)
    history_length = 0
    column: str | None = None

    def values(self, train: Interactions) -> np.ndarray:
        """What the list is sorted by: `[V]` numbers, line r for the item of row r + 1."""
        raise NotImplementedError

    def recommend(
        self, user_id, k=10, exclude=None, allow=None, exclude_seen=False, history=None, **context
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `Channel.recommend`; `context` is taken, and plays no part. A history is only what
        `exclude_seen` bars.
        """
        return super().recommend(user_id, k, exclude, allow, exclude_seen, history)

    def recommend_rows(
        self, user_id, k=10, exclude_seen=False, exclude=None, allow=None, history=None, **context
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `recommend`, in item rows: int32 `[B, k]`, 0 where no item is left, and scores
        `[B, k]`, -inf there.
        """
        return super().recommend_rows(user_id, k, exclude_seen, exclude, allow, history)

    def explain(self, user_id, item_id, num=3, history=None) -> list[dict]:
        """The list, and the column it is sorted by if any:
        `[{"kind": "recent", "id": "year", "share": 1.0}]`.

        Empty where the item is not on the list.

        Raises:
            ValueError: an unknown item.
        """
        on_the_list = self.order[self._places[self.catalog.known_item(item_id)]] > 0
        return [{"kind": self.kind, "id": self.column, "share": 1.0}][: num if on_the_list else 0]

    def load(self, directory, catalog):
        """As `Channel.load`."""
        super().load(directory, catalog)
        self._set(self.order)
        return self

    @property
    def _item_rows(self):
        return len(self.order)

    def _fit(self, train):
        values = self.values(train)
        rows = np.argsort(-values, kind="stable") + 1  # NaN comes last
        self._set(np.append(np.where(np.isnan(values[rows - 1]), 0, rows), 0).astype(np.int32))

    def _set(self, order):
        """Keeps the order, and the place of each row; what is not on the list has places behind it,
        distinct too.
        """
        self.order = order
        listed = order[order > 0]
        self._places = np.empty(len(order), np.int64)  # row -> place
        self._places[np.concatenate([listed, np.setdiff1d(np.arange(len(order)), listed)])] = (
            np.arange(len(order))
        )

    def _answer(self, users, exclude_seen, lists, k):
        query, rows = left_out(self.catalog.seen, users, exclude_seen, lists)
        places = np.broadcast_to(np.arange(k), (len(users), k))
        if len(query):
            places = places + self._left_out_above(query, rows, len(users), k)
        if lists["asked"].any():
            asked = lists["asked"].any(axis=1)
            places = np.where(
                asked[:, None], self._allowed(lists["allow"], query << 32 | rows, k), places
            )
        rows = self.order[np.minimum(places, len(self.order) - 1)]
        return rows, np.where(rows > 0, 1.0 / (1 + places), -np.inf).astype(np.float32)

    def _left_out_above(self, query, rows, num_users, k):
        """How many items left out stand before each user's j-th other one, `[B, k]`.

        Let s_0 < s_1 < ... be the places of what a user is not to get. The m-th of them has s_m - m
        other places before it, so it stands before other place j exactly when s_m - m <= j: a
        histogram of s_m - m, summed up along j.
        """
        number = np.bincount(query, minlength=num_users)
        places = self._places[rows]
        near = places < k + number[query]  # nothing further down can matter
        pairs = np.sort(query[near] << 32 | places[near], kind="stable")
        query, places = pairs >> 32, pairs & 0xFFFFFFFF
        first = np.searchsorted(query, np.arange(num_users))
        jump = places - (np.arange(len(pairs)) - first[query])
        within = jump < k
        jumps = np.bincount(query[within] * k + jump[within], minlength=num_users * k)
        return np.cumsum(jumps.reshape(-1, k), axis=1)  # [B, k]

    def _allowed(self, allow, barred, k):
        """The places of the first k items of each list that are not barred, `[B, k]`; the last
        place of all for none.

        Args:
            allow: `[B, L]` rows, 0 for none.
            barred: pairs of a position in the batch and a row, as one number.
        """
        query, column = np.nonzero(allow)
        pairs = query << 32 | allow[query, column]
        pairs = pairs[~np.isin(pairs, barred)]
        pairs = np.unique(pairs >> 32 << 32 | self._places[pairs & 0xFFFFFFFF])
        query, place = pairs >> 32, pairs & 0xFFFFFFFF
        number = np.arange(len(pairs)) - np.searchsorted(query, query)
        best = np.full((len(allow), k), len(self.order) - 1)
        best[query[number < k], number[number < k]] = place[number < k]
        return best  # [B, k]


class Popularity(Ranking):
    """The items of most training interactions, the baseline that any trained model has to beat
    (METHODS.md C1).

    It looks at the catalog alone, where the counts are; items without interactions come last.

    Example:
        >>> channel = Popularity().fit(split.train, catalog)
        >>> item_id, score = channel.recommend(["u1", "somebody new"], k=10, exclude_seen=True)
    """

    kind = "popular"

    def values(self, train):
        return self.catalog.items.counts[1:].astype(np.float64)


class Trending(Ranking):
    """The items of most interactions of late (METHODS.md C1).

        value(item) = sum over its interactions of 0.5 ** (age / half_life)

    with the age in days, from the last interaction of all. Items without interactions come last.

    Args:
        half_life: days after which an interaction counts half.

    Raises:
        ValueError: a half-life that is not above 0; when fitted, interactions without a timestamp.
    """

    kind = "trending"

    def __init__(self, half_life: float = 7):
        if not half_life > 0:
            raise ValueError(f"half_life is a number of days above 0, got {half_life!r}")
        self.half_life = half_life

    def values(self, train):
        rows = self.catalog.items.encode(train.frame["item_id"])
        return np.bincount(rows, decay(train.frame, self.half_life), self.catalog.items.size)[1:]


class Recent(Ranking):
    """The newest items (METHODS.md C1).

    Args:
        column: of the item table, numbers or dates, such as a year or a day of release; an item
            without one is not on the list. None: the time of the item's first interaction, and an
                item without any is not on the list.

    Raises:
        ValueError: when fitted, a column that is absent, holds other things, or nothing;
            interactions without a timestamp where they are asked.
    """

    kind = "recent"

    def __init__(self, column: str | None = None):
        self.column = column

    def values(self, train):
        if self.column is not None:
            return column_of(self.catalog, self.column)
        if "timestamp" not in train.frame:
            raise ValueError(
                "Recent() asks for the interactions' timestamp, and they have none: name a column "
                "of items"
            )
        first = np.full(self.catalog.items.size, np.inf)
        np.minimum.at(
            first,
            self.catalog.items.encode(train.frame["item_id"]),
            train.frame["timestamp"].to_numpy(),
        )
        return np.where(np.isinf(first), np.nan, first)[1:]


class Operational(Ranking):
    """The items with the largest numbers in a column of the item table, such as shares or stock
    (METHODS.md C1).

    An item without a number is not on the list.

    Args:
        column: of the item table; numbers or dates.

    Raises:
        ValueError: when fitted, a column that is absent, holds other things, or nothing.
    """

    kind = "operational"

    def __init__(self, column: str):
        self.column = column

    def values(self, train):
        return column_of(self.catalog, self.column)
