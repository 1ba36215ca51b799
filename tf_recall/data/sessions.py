"""Sessions: sequences of a user's items in time order, cut from interactions by a recipe."""

from dataclasses import dataclass
from numbers import Real

import keras
import numpy as np
import pandas as pd

from tf_recall.data import tables
from tf_recall.data.catalog import Catalog
from tf_recall.data.histories import by_user
from tf_recall.data.interactions import Interactions, times_of
from tf_recall.data.ranges import Column, NumberFrom0


@dataclass(frozen=True, eq=False)
class Sessions:
    """Sequences of item rows, one after another: session `s` is `items[offsets[s]:offsets[s + 1]]`.

    The arrays may be memory maps: sessions are read by block.

    Args:
        offsets: `[S + 1]` int64.
        items: `[N]` int32, rows of the catalog, above 0.
        users: `[S]` int32, the user of each session; 0 where the catalog does not know them.
        conversion: `[S]` int32, the item that the session led to, 0 for none; or None.

    Raises:
        ValueError: the arrays do not fit together.

    Example:
        >>> items, users = np.array([4, 7, 7, 1, 4], np.int32), np.array([1, 2], np.int32)
        >>> sessions = Sessions(np.array([0, 2, 5]), items, users)
        >>> len(sessions)
        2
    """

    offsets: np.ndarray
    items: np.ndarray
    users: np.ndarray
    conversion: np.ndarray | None = None

    def __post_init__(self):
        num = len(self.offsets) - 1
        if num < 0 or self.offsets[0] != 0 or self.offsets[-1] != len(self.items):
            raise ValueError(
                f"offsets must go from 0 to the number of items, {len(self.items)}, got "
                f"{self.offsets}."
            )
        for name in ("users", "conversion"):
            if getattr(self, name) is not None and len(getattr(self, name)) != num:
                raise ValueError(
                    f"{name} has {len(getattr(self, name))} entries for {num} sessions."
                )

    def __len__(self) -> int:
        return len(self.offsets) - 1


class Recipe:
    """A recipe that cuts interactions into sessions; a subclass defines `cut`.

    Items that the catalog does not know are left out after sessions are cut, so that a session
    continues across them. Sessions of one item are kept: they have no pairs, but count in an item's
    share of all events. Empty ones are dropped. An item that occurs again in a session is kept each
    time.

    Call: `recipe(interactions, catalog)` -> `Sessions`.
    """

    def __call__(self, interactions: Interactions, catalog: Catalog) -> Sessions:
        return _sessions(interactions.frame, catalog, *self.cut(interactions.frame))

    def cut(self, frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Orders a frame's lines by session.

        Returns:
            The line numbers `[n]` in the order of the sessions, and bool `[n]`: whether a session
            begins at each.
        """
        raise NotImplementedError

    def get_config(self) -> dict:
        return {}

    @classmethod
    def from_config(cls, config: dict) -> "Recipe":
        return cls(**config)


@keras.saving.register_keras_serializable("tf_recall")
class ByUser(Recipe):
    """One session for each user: all their events in order of time.

    Events of equal times, or without timestamps, are in order of lines.

    Example:
        >>> sessions = ByUser()(split.train, catalog)
    """

    def cut(self, frame):
        return _grouped(frame, _codes(frame, "user_id"))


@keras.saving.register_keras_serializable("tf_recall")
class ByGap(Recipe):
    """A user's events by time, cut where the gap between two exceeds a threshold (METHODS.md P2).

    begins[n] = user[n] differs from user[n - 1], or timestamp[n] - timestamp[n - 1] > gap

    Args:
        gap: in seconds; the default is half an hour, as in web analytics.

    Raises:
        ValueError: `gap` is negative, or the interactions have no timestamp.

    Example:
        >>> sessions = ByGap(gap=3600)(split.train, catalog)
    """

    def __init__(self, gap: NumberFrom0 = 1800) -> None:
        if isinstance(gap, bool) or not isinstance(gap, Real) or not gap >= 0:
            raise ValueError(f"gap must be a number of seconds, at least 0, got {gap!r}.")
        self.gap = gap

    def cut(self, frame):
        if "timestamp" not in frame:
            raise ValueError(
                f"ByGap cuts by time, and the interactions have no timestamp, only {list(frame)}: "
                "ByUser and ByColumn need none."
            )
        lines, begins = _grouped(frame, _codes(frame, "user_id"))
        seconds = frame["timestamp"].to_numpy()[lines]
        begins[1:] |= np.diff(seconds) > self.gap
        return lines, begins

    def get_config(self) -> dict:
        return {"gap": self.gap}


@keras.saving.register_keras_serializable("tf_recall")
class ByColumn(Recipe):
    """A session for each user and value of a column, such as an invoice.

    Its events are in order of time, and of lines where times are equal.

    Args:
        column: a context column of the interactions. Two users may have the same value, for example
            where sessions are numbered from 1 for each user: those are two sessions.

    Raises:
        ValueError: the interactions have no such column, or values are missing in it.

    Example:
        >>> sessions = ByColumn("invoice")(split.train, catalog)
    """

    def __init__(self, column: Column) -> None:
        self.column = column

    def cut(self, frame):
        return _grouped(frame, _codes(frame, self.column), _codes(frame, "user_id"))

    def get_config(self) -> dict:
        return {"column": self.column}


@keras.saving.register_keras_serializable("tf_recall")
class WithConversion(Recipe):
    """Sessions of another recipe, each with the item that it led to, such as a booking.

    The item is the last one of the session whose column is true.

    Args:
        sessions: the recipe that cuts.
        column: a context column of booleans or numbers; 0 and missing values are false.

    Raises:
        ValueError: the interactions have no such column, or it holds other values.

    Example:
        >>> sessions = WithConversion(ByGap(), "booking")(split.train, catalog)
        >>> sessions.conversion[0]              # an item's row, or 0

    Paper: Grbovic and Cheng 2018, "Real-time Personalization using Embeddings for Search Ranking at
        Airbnb", section 3.1.
    """

    def __init__(self, sessions: Recipe, column: Column) -> None:
        self.sessions = sessions
        self.column = column

    def __call__(self, interactions, catalog):
        frame = interactions.frame
        return _sessions(frame, catalog, *self.cut(frame), marked=tables.flags(frame, self.column))

    def cut(self, frame):
        return self.sessions.cut(frame)

    def get_config(self) -> dict:
        return {
            "sessions": keras.saving.serialize_keras_object(self.sessions),
            "column": self.column,
        }

    @classmethod
    def from_config(cls, config: dict) -> "WithConversion":
        return cls(keras.saving.deserialize_keras_object(config["sessions"]), config["column"])


def _codes(frame, name):
    codes, _ = pd.factorize(tables.column(frame, name))
    missing = np.flatnonzero(codes < 0)
    if missing.size:
        raise ValueError(
            f"{missing.size} of {len(codes)} {name} are missing, the first in row {missing[0]}: "
            "drop those rows."
        )
    return codes


def _grouped(frame, *codes):
    """`cut` where lines of the same codes are one session."""
    group = codes[-1]
    for each in reversed(codes[:-1]):
        _, group = np.unique(group.astype(np.int64) * (each.max() + 1) + each, return_inverse=True)
    lines = by_user(group, times_of(frame), group.max() + 1)
    begins = np.arange(len(lines)) == 0
    begins[1:] |= np.diff(group[lines]) != 0
    return lines, begins


def _sessions(frame, catalog, lines, begins, marked=None):
    users = catalog.users.encode(frame["user_id"].to_numpy()[lines[begins]])
    items = catalog.items.encode(frame["item_id"])[lines]
    session = np.cumsum(begins) - 1
    known = items > 0
    lengths = np.bincount(session[known], minlength=len(users))
    stays = lengths > 0
    conversion = None
    if marked is not None:
        conversion = np.zeros(len(users), np.int32)
        chosen = known & marked[lines]
        conversion[session[chosen]] = items[chosen]  # the last one of several remains
        conversion = conversion[stays]
    offsets = np.concatenate([[0], np.cumsum(lengths[stays])])
    return Sessions(offsets, items[known], users[stays], conversion)
