"""Ranks without lists: how many items score above one, counted over the scores of all."""

from collections.abc import Callable

import numpy as np

from tf_recall.recommend.filters import among, pairs

TIE = 1e-6  # scores closer than this, relative to the larger, are equal: a few roundings of float32
FAR = 2 * TIE  # relative to either: what is farther apart is surely no tie
CACHED = 1 << 20  # scores counted at once: what fits in cache
LEAST = 64  # rows scored at once, so that a large catalog is not read for each
MOST = 1 << 26  # scores in memory at once: 256 MB

Cells = tuple[np.ndarray, np.ndarray]  # some lines and columns of a matrix, by line


def counted_ranks(
    scores: Callable[[slice], np.ndarray],
    shape: tuple[int, int],
    asked: Cells,
    absent: Cells,
    most: int,
    slack: np.ndarray,
    floor: float = -np.inf,
) -> tuple[np.ndarray, np.ndarray]:
    """`count_above` in blocks of lines, whose scores fit in cache.

    Args:
        scores: from some lines to their scores, `[b, V]` float32.
        shape: how many lines there are, and V.
        asked, absent, most, slack, floor: of `count_above`.
    """

    def part(at):
        inside = [slice(*np.searchsorted(line, [at.start, at.stop])) for line, _ in (asked, absent)]
        cells = [
            (line[within] - at.start, column[within])
            for (line, column), within in zip((asked, absent), inside, strict=True)
        ]
        return count_above(scores(at), *cells, most, slack[at], floor)

    none = np.zeros((2, 0), np.int64)
    above, near = np.concatenate([none, *_in_blocks(part, *shape)], axis=1)
    return above, near


def count_above(
    scores: np.ndarray,
    asked: Cells,
    absent: Cells,
    most: int,
    slack: np.ndarray,
    floor: float = -np.inf,
) -> tuple[np.ndarray, np.ndarray]:
    """How many items score above some items, and how many others nearly the same.

        far   = 2 TIE |score(i)| + slack
        above = |{j: score(j) > score(i) + far}|
        near  = |{j: |score(j) - score(i)| <= far}| - 1

    over the items j that may be recommended. Where `near` is 0 nothing is tied with the item, and
    `above` is its rank. The items of a line are looked at from the best down, until one is out of
    reach: those below are too.

    Args:
        scores: `[B, V]` float32.
        asked: `[P]` which items, as distinct cells.
        absent: `[A]` what may not be recommended, as sorted cells.
        most: a rank from which on it does not matter.
        slack: `[B]`, by how much two scores of a line may be off, one against the other, where the
            lists have computed them otherwise; infinite where nothing is known.
        floor: what scores this or less is not recommended.

    Returns:
        above and near, int64 `[P]`. Out of reach `above` is `most` or more and `near` 0; what is
        NaN has a `near` other than 0.
    """
    line = asked[0]
    own, others = scores[asked], scores[absent]
    high, low = bars(own, slack[line])
    above, near = np.full(len(line), max(most, scores.shape[1])), np.zeros(len(line), np.int64)
    possible = ~((own <= floor) | among(pairs(*asked), pairs(*absent)))
    order = np.lexsort([-own, line])
    order = order[possible[order]]
    best_first = np.append(line[order], -1)
    now = np.flatnonzero(np.diff(best_first[:-1], prepend=-1))  # the best of each line
    while len(now):
        here = order[now]
        over = _count(np.greater, scores, line[here], high[here], absent[0], others)
        within = over < most
        now, here, over = now[within], here[within], over[within]
        least = _count(np.greater_equal, scores, line[here], low[here], absent[0], others)
        above[here], near[here] = over, least - over - 1
        now = now[best_first[now + 1] == line[here]] + 1
    return above, near


def within_reach(
    scores: Callable[[slice], np.ndarray], bar: np.ndarray, most: np.ndarray, num_columns: int
) -> np.ndarray:
    """The lines in which fewer than `most` of the first columns are above the bar.

    Most lines have more already among the first columns, so that the others need not be scored.

    Args:
        scores: from some lines to the scores of their first columns.
        bar, most: `[B]`, of each line.
        num_columns: how many columns that are.
    """

    def part(at):
        return _passed(np.greater, scores(at), bar[at]) < most[at]

    found = _in_blocks(part, len(bar), num_columns)
    return np.flatnonzero(np.concatenate([np.zeros(0, bool), *found]))


def bars(own: np.ndarray, slack: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two bars by a score: what is over the first is surely above, under the second below."""
    far = np.float32(FAR) * np.abs(own) + slack
    return own + far, own - far


def _in_blocks(part, num_lines, num_columns):
    """What `part` gives for slices of the lines, whose scores fit in cache."""
    size = max(1, min(max(CACHED // num_columns, LEAST), MOST // num_columns))
    starts = range(0, num_lines, size)
    return [part(slice(start, min(start + size, num_lines))) for start in starts]


def _count(compare, scores, lines, bar, out, others):
    """How many scores of some lines pass the bar, less those of the absent ones that do."""
    some = scores if len(lines) == len(scores) else scores[lines]
    bars = np.full(len(scores), np.inf, np.float32)
    bars[lines] = bar
    less = np.bincount(out[compare(others, bars[out])], minlength=len(scores))[lines]
    return _passed(compare, some, bar) - less


def _passed(compare, scores, bar):
    """How many scores of each line pass its bar."""
    bits = np.packbits(compare(scores, bar[:, None]), axis=1)  # eight to a byte
    return np.bitwise_count(bits).sum(axis=1, dtype=np.int64)
