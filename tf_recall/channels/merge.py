"""The merge of several channels' lists into one."""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from tf_recall.data.ranges import WholeFrom0

BLOCK = 1024  # lists merged at once


class Merged(NamedTuple):
    """One list for each request, and which channels had its items.

    Args:
        rows: `[B, k]` int32, distinct item rows, best first; 0 where the channels had no more.
        ranks: `[B, k, C]` int32, the item's rank in each channel's list, from 1; 0 where the
            channel did not have it.
    """

    rows: np.ndarray
    ranks: np.ndarray

    @property
    def score(self) -> np.ndarray:
        """`[B, k]` float32, 1 / rank in this list; -inf for none.

        It tells the order and nothing else.
        """
        rank = np.arange(1, self.rows.shape[1] + 1)
        return np.where(self.rows > 0, 1 / rank, -np.inf).astype(np.float32)


class Merge:
    """Merges the lists of several channels into one.

    Each row is merged by itself: what else is in the batch plays no part. A subclass has `_best`,
    and settings by channel in `named`.
    """

    named: dict = {}

    def check(self, names: Collection[str]) -> None:
        """Refuses channels that do not fit the settings.

        Raises:
            ValueError: there is no channel, or a setting names one that is not there.
        """
        if not names:
            raise ValueError("there is no channel to merge")
        if unknown := [name for name in self.named if name not in names]:
            raise ValueError(
                f"{type(self).__name__} names the channel {', '.join(map(repr, unknown))}; there "
                "are: " + ", ".join(map(repr, names))
            )

    def counts(self, name: str) -> bool:
        """Whether a channel's list decides anything, or only fills up what others leave."""
        return True

    def merge(
        self,
        lists: dict[str, np.ndarray],
        k: int,
        begins: np.ndarray | None = None,
        scores: dict[str, np.ndarray] | None = None,
    ) -> Merged:
        """Merges the channels' lists; an item that several have comes once, with its rank in each.

        Args:
            lists: item rows `[B, W]` by channel, best first, of any W; 0 is padding, which may
                be anywhere. Of an item that a list repeats its first rank counts.
            k: the length of the merged lists.
            begins: `[B]`, the number of the channel whose turn is first; None: that of the first
                channel.
            scores: `[B, W]` by channel, those of the items, for a merge that goes by them.

        Raises:
            ValueError: no channels, a setting that names another, lists of different lengths, a k
                below 1, scores of another shape than the lists.
        """
        self.check(list(lists))
        if k < 1:
            raise ValueError(f"k is {k}; it must be 1 or more")
        stacked = stack(lists)  # [B, C, W]
        levels = None if scores is None else levels_of(stacked, lists, scores)  # [B, C, W]
        count, num = stacked.shape[:2]
        begins = np.zeros(count, np.int64) if begins is None else np.asarray(begins)
        if begins.shape != (count,) or ((begins < 0) | (begins >= num)).any():
            raise ValueError(
                f"begins must hold, for each of the {count} rows, a number from 0 to {num - 1}"
            )
        rows, ranks = np.zeros((count, k), np.int32), np.zeros((count, k, num), np.int32)
        for start in range(0, count, BLOCK):
            block = slice(start, start + BLOCK)
            items, codes, ranks_of = code(stacked[block])
            level = None if scores is None else level_by_code(levels[block], ranks_of)
            best = self._best(codes, ranks_of, k, begins[block], list(lists), level)  # [B, <= k]
            rows[block, : best.shape[1]] = np.take_along_axis(items, best, axis=1)
            ranks[block, : best.shape[1]] = np.take_along_axis(ranks_of, best[..., None], axis=1)
        return Merged(rows, ranks)

    def _best(self, codes, ranks, k, begins, names, level) -> np.ndarray:
        """The codes of the merged lists, `[B, k]` or shorter; 0 where there is nothing.

        Args:
            codes: `[B, C, W]` the lists, each row's items numbered from 1; 0 is nothing.
            ranks: `[B, U, C]` by code, as in `Merged`.
            k: the length of the merged lists.
            begins: `[B]`, the number of the channel whose turn is first.
            names: of the channels.
            level: `[B, U, C]` by code, where the item's score is between the list's highest, 1, and
                its lowest, 0; None where no scores are given.
        """
        raise NotImplementedError


class RoundRobin(Merge):
    """Channels take turns, each giving its best item not yet given (METHODS.md C5).

    They do so until k items are there. A channel that has no more is passed over. So as long as
    channels have something to give, the numbers that they gave differ by at most one, whatever
    their order, and the first n items hold each channel's n // C best. Where k is below the number
    of channels, C, those whose turn does not come give nothing to this list; `begins` makes another
    channel the first for other users, so that over all users each gets its share.

    The first k of each channel's list are enough: when a channel's turn comes, fewer than k items
    are taken, so one of its first k is left.

    Example:
        4 of `item_cf`, 5 of `popular`, then 6 of `item_cf`, since 4 and 5 are in the list already,
        and 9 of `popular`:

        >>> rows, ranks = RoundRobin().merge({"item_cf": [[4, 5, 6]], "popular": [[5, 4, 9]]}, k=4)
        >>> rows
        array([[4, 5, 6, 9]], dtype=int32)
        >>> ranks[0, 0].tolist()
        [1, 2]
    """

    def _best(self, codes, ranks, k, begins, names, level):
        return _take_turns(codes, k, begins, [np.full(len(names), k)])


class Quotas(Merge):
    """Channels take turns until each gave its quota; then all take turns, as in `RoundRobin`.

    An item counts for the channel that gave it, not for others that have it too. What channels
    could not fill is filled by all; a channel without a quota, or with quota 0, gives only then.
    Where the quotas together are more than k, the turns end at k: each channel gave its quota, or
    as many as any other. As in `RoundRobin` the first k of each list are enough.

    Args:
        quotas: how many items each gives, by channel.

    Raises:
        ValueError: a quota that is no whole number of at least 0.

    Example:
        >>> Quotas({"item_cf": 60, "popular": 10}).merge(lists, k=100)
    """

    def __init__(self, quotas: dict[str, WholeFrom0]):
        if wrong := {
            name: quota for name, quota in quotas.items() if not isinstance(quota, int) or quota < 0
        }:
            raise ValueError(f"a quota is a whole number of at least 0, got {wrong}")
        self.quotas = self.named = dict(quotas)

    def _best(self, codes, ranks, k, begins, names, level):
        quotas = np.array([self.quotas.get(name, 0) for name in names])
        return _take_turns(codes, k, begins, [quotas, np.full(len(names), k)])


def _take_turns(codes, k, begins, limits):
    """Round after round, each channel gives its first item not yet taken.

    Args:
        codes: `[B, C, W]`, as for `Merge._best`.
        begins: `[B]`, whose turn is first.
        limits: in each stage, how many each channel may give, `[C]`; a stage ends when no channel
            may give more, or has more.
    """
    count, num, width = codes.shape
    length = np.where(codes > 0, np.arange(1, width + 1), 0).max(axis=2, initial=0)  # [B, C]
    codes = np.pad(codes, [(0, 0), (0, 0), (0, 1)])  # at the end of a list there is nothing
    taken = np.zeros((count, num * width + 1), bool)
    taken[:, 0] = True
    best = np.zeros((count, k), np.int64)
    filled = np.zeros(count, np.int64)
    at = np.zeros((count, num), np.int64)  # the position of each channel in its list
    for limit in limits:
        gave = np.zeros((count, num), np.int64)
        turn = begins.copy()
        passed = np.zeros(count, np.int64)
        row = np.flatnonzero(filled < k)
        while len(row):  # each row looks at one item, at the position that it has come to
            channel = turn[row]
            position = at[row, channel]
            code = codes[row, channel, position]
            over = (position >= length[row, channel]) | (gave[row, channel] >= limit[channel])
            fresh = ~over & ~taken[row, code]
            at[row, channel] += ~over
            some, item = row[fresh], code[fresh]
            best[some, filled[some]] = item
            taken[some, item] = True
            filled[some] += 1
            gave[some, channel[fresh]] += 1
            turn[row] = (channel + (fresh | over)) % num
            passed[row] = np.where(fresh, 0, passed[row] + over)
            row = row[(filled[row] < k) & (passed[row] < num)]
    return best


def stack(lists: dict[str, np.ndarray]) -> np.ndarray:
    """The lists as one array `[B, C, W]`, 0 where one is shorter."""
    arrays = {name: np.asarray(rows) for name, rows in lists.items()}
    count = len(next(iter(arrays.values())))
    for name, rows in arrays.items():
        if (
            rows.ndim != 2
            or len(rows) != count
            or (rows.size and (rows.dtype.kind not in "iu" or rows.min() < 0))
        ):
            raise ValueError(
                f"the lists of {name!r} must be item rows, whole numbers of at least 0, of shape "
                f"[{count}, W]; "
                f"got {rows.dtype} of shape {rows.shape}"
            )
    stacked = np.zeros(
        (count, len(arrays), max(rows.shape[1] for rows in arrays.values())), np.int32
    )
    for channel, rows in enumerate(arrays.values()):
        stacked[:, channel, : rows.shape[1]] = rows
    return stacked


def levels_of(
    stacked: np.ndarray, lists: dict[str, np.ndarray], scores: dict[str, np.ndarray]
) -> np.ndarray:
    """Where each score is between its list's highest, 1, and its lowest, 0; 1 where all are equal.

    So channels whose scores are of different sizes can be added.

    Args:
        stacked: `[B, C, W]` the item rows, 0 for nothing.
        lists, scores: as for `Merge.merge`.
    """
    levels = np.zeros(stacked.shape)
    for channel, (name, rows) in enumerate(lists.items()):
        score = np.asarray(scores[name], np.float64)
        if score.shape != np.shape(rows):
            raise ValueError(
                f"the scores of {name!r} are of shape {score.shape}, its list of {np.shape(rows)}"
            )
        there = np.asarray(rows) > 0
        high = np.max(score, axis=1, keepdims=True, where=there, initial=-np.inf)
        low = np.min(score, axis=1, keepdims=True, where=there, initial=np.inf)
        wide = high > low
        level = np.divide(score - low, high - low, out=np.ones_like(score), where=there & wide)
        levels[:, channel, : score.shape[1]] = np.where(there, level, 0)
    return levels


def level_by_code(levels: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """The levels `[B, C, W]` by code: `[B, U, C]`, 0 where the channel does not have the item."""
    position = np.maximum(ranks - 1, 0).swapaxes(1, 2)  # [B, C, U]
    return np.where(ranks > 0, np.take_along_axis(levels, position, axis=2).swapaxes(1, 2), 0)


def code(lists: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each row's distinct items, numbered from 1 by codes.

    Args:
        lists: `[B, C, W]`, item rows, 0 for nothing.

    Returns:
        The items `[B, U]` by code, their codes `[B, C, W]`, their ranks `[B, U, C]` by code.
    """
    count, num, width = lists.shape
    # with a 0, so that code 0 is padding in every row
    flat = np.pad(lists.reshape(count, -1), [(0, 0), (1, 0)])
    order = np.argsort(flat, axis=1)
    ordered = np.take_along_axis(flat, order, axis=1)
    code = np.cumsum(np.diff(ordered, axis=1, prepend=0) > 0, axis=1)
    items, codes = np.zeros_like(flat), np.empty_like(code)
    np.put_along_axis(items, code, ordered, axis=1)
    np.put_along_axis(codes, order, code, axis=1)
    codes = codes[:, 1:].reshape(lists.shape)
    ranks = np.zeros((count, flat.shape[1], num), np.int32)
    row, channel = np.arange(count)[:, None], np.arange(num)
    for position in reversed(range(width)):  # the first rank of an item is written last
        ranks[row, codes[:, :, position], channel] = position + 1
    ranks[:, 0] = 0
    return items, codes, ranks
