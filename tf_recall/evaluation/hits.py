"""From recommended lists to hits: which relevant items were found, and at which rank."""

import numpy as np

from tf_recall.recommend.ranks import TIE

BLOCK = 1 << 14  # pairs compared with their lists at once: what fits in cache


def find_hits(
    rows: np.ndarray, scores: np.ndarray, offsets: np.ndarray, relevant: np.ndarray, complete: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The relevant items found in the lists and their ranks.

    Items in a run of equal scores have no order of their own, so each run is read with its other
    items first and its relevant ones last:

        rank = last position of the run - (how many relevant items of the run come after it)

    A run that reaches the end of the list may go on outside of it, without bound: its relevant
    items are misses. So a model whose scores are all the same finds nothing, where a lucky order
    would have looked like skill.

    Args:
        rows: `[B, W]` distinct item rows (see `drop_repeats`), best first; row 0 is padding.
        scores: `[B, W]`, falling; -inf is padding.
        offsets, relevant: the relevant rows of each list, as in `Cases`.
        complete: the lists hold every item there is, so no run goes on outside.

    Returns:
        pair `[H]`, positions in `relevant`, and rank `[H]`, from 0.
    """
    width = rows.shape[1]
    owner = np.repeat(np.arange(len(rows)), np.diff(offsets))
    found = [np.empty((2, 0), np.int64)]
    for start in range(0, len(relevant), BLOCK):
        block = slice(start, start + BLOCK)
        equal = np.flatnonzero(rows[owner[block]] == relevant[block, None])
        pair, position = np.divmod(equal, width)
        found.append(np.stack([pair + start, position]))
    pair, position = np.concatenate(found, axis=1)
    order = np.argsort(owner[pair] * width + position, kind="stable")
    pair, position = pair[order], position[order]
    line = owner[pair]
    ends = np.flatnonzero(_run_ends(scores))
    end = ends[np.searchsorted(ends, line * width + position)]  # of the hit's run, [H]
    behind = np.searchsorted(end, end, side="right") - np.arange(len(end)) - 1
    closed = (end % width < width - 1) | complete
    return pair[closed], (end - behind - line * width)[closed]


def drop_repeats(rows: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lists with each item once, where it came first; what followed moves up.

    The positions set free at the end hold row 0 at the list's last score: what might have been
    there is not known, and a run of equal scores that reached the end of the list still does.
    """
    ordered = np.sort(rows, axis=1)
    lines = np.flatnonzero(((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] > 0)).any(axis=1))
    if not len(lines):
        return rows, scores
    some = rows[lines]
    order = np.argsort(some, axis=1, kind="stable")
    ordered = np.take_along_axis(some, order, axis=1)
    repeated = np.zeros(some.shape, bool)
    np.put_along_axis(
        repeated, order[:, 1:], (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] > 0), axis=1
    )
    order = np.argsort(repeated, axis=1, kind="stable")
    repeated = np.take_along_axis(repeated, order, axis=1)
    rows, scores = rows.copy(), scores.copy()
    rows[lines] = np.where(repeated, 0, np.take_along_axis(some, order, axis=1))
    last = scores[lines, -1:]
    scores[lines] = np.where(repeated, last, np.take_along_axis(scores[lines], order, axis=1))
    return rows, scores


def check_lists(
    rows: np.ndarray, scores: np.ndarray, shape: tuple[int, int], num_items: int
) -> None:
    """Refuses malformed lists.

    Raises:
        ValueError: a wrong shape, rows outside the catalog, NaN, or scores that rise along a list.
    """
    if rows.shape != shape or scores.shape != shape:
        raise ValueError(
            f"recommend_rows gave rows {rows.shape} and scores {scores.shape}; both must be {shape}"
        )
    if rows.min() < 0 or rows.max() > num_items:
        raise ValueError(
            f"recommend_rows gave rows from {rows.min()} to {rows.max()}; rows are 0 (padding) to "
            f"{num_items}"
        )
    if np.isnan(scores).any():
        raise ValueError(
            "recommend_rows gave NaN scores: the model has diverged, or a feature is NaN"
        )
    if (scores[:, :-1] < scores[:, 1:]).any():
        raise ValueError(
            "recommend_rows gave lists whose scores rise along the list; they must come best first"
        )


def _run_ends(scores: np.ndarray) -> np.ndarray:
    """Whether a run of equal scores ends at each position, `[B, W]`; padding belongs to no run."""
    ends = np.ones(scores.shape, bool)
    size, higher, lower = np.abs(scores), scores[:, :-1], scores[:, 1:]
    with np.errstate(invalid="ignore"):  # -inf beside -inf
        ends[:, :-1] = (higher - lower > TIE * np.maximum(size[:, :-1], size[:, 1:])) | (
            lower == -np.inf
        )
    return ends
