"""Each user's items in order of time: what they have seen, did last, and did before an event."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

EVENTS = 2**24  # that are sorted at once
LENGTH = 50  # items of a history that models look at, unless they say otherwise


@dataclass(frozen=True)
class Seen:
    """Each user's distinct items, sorted: user `u` has seen `rows[offsets[u]:offsets[u + 1]]`.

    Args:
        offsets: `[U + 1]` int64, U the number of user rows.
        rows: `[num_distinct_pairs]` int32 item rows.
    """

    offsets: np.ndarray
    rows: np.ndarray

    @classmethod
    def fit(cls, users: np.ndarray, items: np.ndarray, num_users: int) -> "Seen":
        """From the pairs `(users[n], items[n])`; those with an unknown side (row 0) are left out.

        Args:
            users, items: `[n]` rows.
            num_users: U, the unknown user's row included.
        """
        known = (users > 0) & (items > 0)
        pairs = np.sort(users[known].astype(np.int64) << 32 | items[known].astype(np.int64))
        pairs = pairs[np.diff(pairs, prepend=-1) > 0]  # sorted and distinct, sooner than np.unique
        counts = np.bincount(pairs >> 32, minlength=num_users)
        return cls(offsets_of(counts), (pairs & 0xFFFFFFFF).astype(np.int32))

    def of(self, user: int) -> np.ndarray:
        """The item rows of one user row."""
        return self.rows[self.offsets[user] : self.offsets[user + 1]]


@dataclass(frozen=True)
class Histories:
    """Each user's items in order of time: user `u` has `items[offsets[u]:offsets[u + 1]]`.

    Among equal times the order is that of the lines. What a user has seen, their last items, and
    what they did before an event are views of it.

    Args:
        offsets: `[U + 1]` int64, U the number of user rows; row 0, the unknown user, has nothing.
        items: `[N]` int32 item rows, above 0.
        times: `[N]` seconds, int64 or float64; or None where interactions have no timestamp.

    Example:
        >>> catalog.histories.last(3).shape == (catalog.users.size, 3)
        True
    """

    offsets: np.ndarray
    items: np.ndarray
    times: np.ndarray | None = None

    @classmethod
    def fit(
        cls, users: np.ndarray, items: np.ndarray, times: np.ndarray | None, num_users: int
    ) -> "Histories":
        """From events by line; those with an unknown side (row 0) are left out.

        Args:
            users, items: `[n]` rows.
            times: `[n]` seconds, or None: events are in order of their lines.
            num_users: U, the unknown user's row included.
        """
        return cls.with_lines(users, items, times, num_users)[0]

    @classmethod
    def with_lines(
        cls, users: np.ndarray, items: np.ndarray, times: np.ndarray | None, num_users: int
    ) -> tuple["Histories", np.ndarray]:
        """As `fit`, and the line `[N]` that each event came from."""
        lines = by_user(users, times, num_users)
        lines = lines[(users[lines] > 0) & (items[lines] > 0)]
        offsets = offsets_of(np.bincount(users[lines], minlength=num_users))
        ordered = None if times is None else times[lines]
        return cls(offsets, items[lines].astype(np.int32), ordered), lines

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def users(self) -> np.ndarray:
        """The user row of each event, `[N]` int64."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def of(self, user: int) -> np.ndarray:
        """The item rows of one user row, the oldest first."""
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    def seen(self) -> Seen:
        """Each user's distinct items."""
        counts, rows = zip(*self.seen_in_blocks(), strict=True)
        return Seen(offsets_of(np.concatenate(counts)), np.concatenate(rows))

    def seen_in_blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """How many distinct items each user has, and their rows, of some users after the others."""
        for first, last in user_blocks(self.offsets):
            lengths = np.diff(self.offsets[first : last + 1])
            users = np.repeat(np.arange(1, last - first + 1), lengths)
            items = self.items[self.offsets[first] : self.offsets[last]]
            seen = Seen.fit(users, items, last - first + 1)
            yield np.diff(seen.offsets)[1:], seen.rows

    def last(self, num: int) -> np.ndarray:
        """Each user's last items: `[U, num]` int32, the oldest first, padded in front with 0."""
        return self.before(self.offsets[:-1], self.offsets[1:], num)

    def cuts(self) -> np.ndarray:
        """Where each event's past ends: `[N]` int64; events of the very same time are not past.

        cut[n] = the position of the first event of the same user and time
        """
        position = np.arange(len(self.items))
        if self.times is None:
            return position
        first = np.zeros(len(position), bool)
        first[self.offsets[:-1][np.diff(self.offsets) > 0]] = True
        first[1:] |= self.times[1:] != self.times[:-1]
        return np.maximum.accumulate(np.where(first, position, 0))

    def before(
        self, begin: np.ndarray, cut: np.ndarray, num: int, without: np.ndarray | None = None
    ) -> np.ndarray:
        """The last items at positions from `begin` to before `cut` (METHODS.md P6).

        Args:
            begin, cut: `[B]` positions in `items`; `begin` is where the user's events begin.
            num: L, how many items at most.
            without: `[B]` an item row of each line that is left out, however often it stands there.

        Returns:
            `[B, L]` int32 item rows, the oldest first, padded in front with 0.
        """
        return self.at(self.positions(begin, cut, num, without))

    def positions(
        self, begin: np.ndarray, cut: np.ndarray, num: int, without: np.ndarray | None = None
    ) -> np.ndarray:
        """Where in `items` those of `before` stand: `[B, L]` int64, padded in front with -1."""
        window = _window(begin, cut, num)
        if without is None:
            return window
        hit = np.flatnonzero((self.at(window) == without[:, None]).any(axis=1))
        width = num
        while len(hit):  # as many more items as were left out, from further back
            width = 2 * width
            wider = _window(begin[hit], cut[hit], width)
            kept = (wider >= 0) & (self.at(wider) != without[hit, None])
            from_end = np.cumsum(kept[:, ::-1], axis=1)[:, ::-1]  # 1 for the last one kept
            chosen = kept & (from_end <= num)
            line, _ = np.nonzero(chosen)
            window[hit] = -1
            window[hit[line], num - from_end[chosen]] = wider[chosen]
            short = (from_end[:, 0] < num) & (cut[hit] - begin[hit] > width)
            hit = hit[short]
        return window

    def at(self, positions: np.ndarray) -> np.ndarray:
        """The items `[B, L]` int32 at positions, 0 at -1."""
        if not len(self.items):
            return np.zeros(positions.shape, np.int32)
        return np.where(positions >= 0, self.items.take(positions, mode="clip"), 0).astype(np.int32)

    def gaps(self, positions: np.ndarray) -> np.ndarray:
        """How long before the newest event of its line each event was.

        Args:
            positions: `[B, L]`, as `positions` gives them, L 1 or more.

        Returns:
            Seconds `[B, L]` float32, 0 for the newest; -1 where there is no event, or no time.
        """
        if self.times is None or not len(self.items):
            return np.full(positions.shape, -1, np.float32)
        times = self.times.take(positions, mode="clip")
        return np.where(positions >= 0, times[:, -1:] - times, -1).astype(np.float32)


def _window(begin, cut, num):
    at = cut[:, None] + np.arange(-num, 0)  # [B, L]
    return np.where(at >= begin[:, None], at, -1)


def user_blocks(offsets: np.ndarray) -> Iterator[tuple[int, int]]:
    """Cuts users into runs `(first, last)`, of not many more than `EVENTS` events.

    Args:
        offsets: `[U + 1]`, where each user's events begin.
    """
    first = 0
    while first < len(offsets) - 1:
        last = int(np.searchsorted(offsets, offsets[first] + EVENTS, side="right")) - 1
        last = max(first + 1, last)
        yield first, last
        first = last


def by_user(users: np.ndarray, times: np.ndarray | None, num_users: int) -> np.ndarray:
    """The lines by user, then by time, then as they stand: `[n]` int64.

    Args:
        users: `[n]` numbers from 0.
        times: `[n]`, or None.
        num_users: above all of them.
    """
    if times is not None and (times[1:] < times[:-1]).any():
        start, span = int(times.min()), int(times.max()) - int(times.min()) + 1
        if times.dtype.kind == "i" and num_users * span < 2**63:
            return _stable_order(users.astype(np.int64) * span + (times - start))
        lines = np.argsort(times, kind="stable")
    else:
        lines = np.arange(len(users))
    # Counting users takes one pass, where sorting by them takes log n: coo to csr keeps the order.
    shape = (num_users, max(1, len(users)))
    counted = sparse.coo_array((lines, (users[lines], np.arange(len(lines)))), shape).tocsr()
    return counted.data


def _stable_order(keys):
    """The lines by rising key, equal ones as they stand: sooner than a stable sort."""
    order = np.argsort(keys)
    keys = keys[order]
    same = np.zeros(len(keys) + 1, bool)  # whether a position has the key of the one before
    same[1:-1] = keys[1:] == keys[:-1]
    tied = np.flatnonzero(same[:-1] | same[1:])
    run = np.cumsum(~same[:-1])[tied]
    lines = order[tied]
    order[tied] = lines[np.lexsort((lines, run))]
    return order


def offsets_of(counts: np.ndarray) -> np.ndarray:
    """Where each of n runs begins, and the last one ends: lengths `[n]` -> `[n + 1]` int64."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
