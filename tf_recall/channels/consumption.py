"""Metrics of what users did with what they were shown: clicks, likes, how much was watched."""

import numpy as np

from tf_recall.channels.metrics import Metric, averaged, strength_above_0
from tf_recall.data.lengths import LengthCurve, lengths_of
from tf_recall.data.ranges import Column, NumberAbove0
from tf_recall.data.tables import flags
from tf_recall.data.values import numbers_of


class ShownRate(Metric):
    """How often what was shown was taken: clicks per impression, likes per click (METHODS.md C1).

        rate(i) = (sum of success over i's trials + strength * overall) / (trials(i) + strength)
        overall = sum of success / trials, over all items

    A trial is an impression, where the log has `where` (`data.where`), else an interaction; with
    `of` only where that column is true. So an item starts with `strength` trials at the rate of all
    (a Beta prior), and one that was never tried has the overall rate.

    Args:
        success: a column of the log, true or false, or a share from 0 to 1.
        of: a column that is true where it counts as a trial, such as `clicked` for likes; None: all
            do.
        strength: how many trials the overall rate weighs.

    Raises:
        ValueError: a strength that is not above 0; when called, a column that is absent, or holds
            anything else; no trial at all.

    Example:
        >>> InvertedIndex(["genres"], metric=ShownRate("liked", of="clicked", strength=50))
    """

    tunable = {"strength": [1.0, 100.0, "log"]}

    def __init__(self, success: Column, of: Column | None = None, strength: NumberAbove0 = 20.0):
        self.success, self.of, self.strength = success, of, strength_above_0(strength)

    def __call__(self, train, catalog):
        frame = _trials(train, self.of)
        _check_column(frame, self.success)
        share = numbers_of(frame[self.success], f"column {self.success!r} of the log")
        wrong = np.flatnonzero(~((share >= 0) & (share <= 1)))
        if wrong.size:
            raise ValueError(
                f"{self.success} is true, false or a share from 0 to 1, got {share[wrong[0]]} in "
                f"row {wrong[0]}"
            )
        return _of_items(catalog, frame, share, self.strength)


class WatchedShare(Metric):
    """How much of an item is watched, beside what its length lets expect (METHODS.md Y5, C1).

        share   = min(1, watched / length)
        curve   = the mean share by length, falling, fitted on the same trials
        rate(i) = (sum of share / curve(length) + strength * overall) / (trials(i) + strength)

    A short video is finished more often than a long one. Without the curve the list would be of
    short videos; with it, 1.2 means a fifth more than videos of its length.

    Args:
        watched: a column of the log, in the unit of the length.
        length: a column of the item table, above 0; trials of items without one do not count, and
            such items have the overall rate.
        of: as of `ShownRate`, such as `clicked`.
        strength: how many trials the overall rate weighs.

    Raises:
        ValueError: as `ShownRate`; a time watched below 0, a length that is not above 0, or nothing
            that was watched.
    """

    tunable = {"strength": [1.0, 100.0, "log"]}

    def __init__(
        self,
        watched: Column,
        length: Column,
        of: Column | None = None,
        strength: NumberAbove0 = 20.0,
    ):
        self.watched, self.length, self.of = watched, length, of
        self.strength = strength_above_0(strength)

    def __call__(self, train, catalog):
        frame = _trials(train, self.of)
        _check_column(frame, self.watched)
        lengths = lengths_of(catalog, self.length)[catalog.items.encode(frame["item_id"])]
        watched = numbers_of(frame[self.watched], f"column {self.watched!r} of the log")
        wrong = np.flatnonzero(~(watched >= 0) & ~np.isnan(watched))
        if wrong.size:
            raise ValueError(
                f"{self.watched} is a number of at least 0, got {watched[wrong[0]]} in row "
                f"{wrong[0]}"
            )
        known = ~np.isnan(lengths) & ~np.isnan(watched)
        share = np.minimum(1, watched[known] / lengths[known])
        share /= LengthCurve.fit(lengths[known], share)(lengths[known])
        return _of_items(catalog, frame[known], share, self.strength)


def _trials(train, of):
    """The lines that count as trials."""
    frame = train.frame if train.impressions is None else train.impressions
    if of is not None:
        _check_column(frame, of)
        frame = frame[flags(frame, of)]
    if frame.empty:
        raise ValueError(f"nothing was tried: column {of!r} is true nowhere")
    return frame


def _check_column(frame, column):
    if column not in frame:
        raise ValueError(f"the log has no column {column!r}; it has {', '.join(map(str, frame))}")


def _of_items(catalog, frame, share, strength):
    rows = catalog.items.encode(frame["item_id"])
    size = catalog.items.size
    overall = share.mean()  # items that the catalog does not know were shown too
    total, number = np.bincount(rows, share, size)[1:], np.bincount(rows, minlength=size)[1:]
    return averaged(total, number, strength, overall)
