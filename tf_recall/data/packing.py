"""Sequences of many lengths side by side in rows of one width, so that short ones cost little."""

import numpy as np


def packed(lengths: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Packs sequences into rows: each one's row and the place where it starts there, int64 `[n]`.

    The longest come first, and each goes into the first row that has room for it; sequences of one
    length are placed together.

    Args:
        lengths: int `[n]`, from 1 to `width`.
        width: places of a row.

    Example:
        >>> rows, starts = packed(np.array([2, 4, 1]), width=5)
        >>> rows.tolist(), starts.tolist()
        ([1, 0, 0], [0, 0, 4])

    Paper: Johnson 1973, "Near-optimal bin packing algorithms", for first fit decreasing.
    """
    rows = np.zeros(len(lengths), np.int64)
    starts = np.zeros(len(lengths), np.int64)
    free = np.zeros(0, np.int64)  # places that are left in each row
    order = np.argsort(-lengths, kind="stable")
    ends = np.flatnonzero(np.diff(lengths[order], append=0)) + 1
    begin = 0
    for end in ends.tolist():
        those = order[begin:end]  # all of one length
        length = int(lengths[those[0]])
        missing = max(0, len(those) - int((free // length).sum()))
        free = np.append(free, np.full(-(-missing // (width // length)), width))
        room = free // length
        filled = np.cumsum(room)
        number = np.arange(len(those))
        row = np.searchsorted(filled, number, side="right")
        rows[those] = row
        starts[those] = width - free[row] + (number - filled[row] + room[row]) * length
        free -= length * np.bincount(row, minlength=len(free))
        begin = end
    return rows, starts
