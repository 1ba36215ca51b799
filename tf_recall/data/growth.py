"""Catalogs that grow: which row of the one before each row was, and who has left."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tf_recall.data.ids import kind_of
from tf_recall.data.interactions import Interactions

DAY = 86_400  # seconds


@dataclass(frozen=True, eq=False)
class Origin:
    """From which rows of an earlier catalog those of a grown one come.

    Args:
        identity: the earlier catalog's.
        rows: by entity, `[V]` int64: the row there; 0 for what is new, and for row 0.
        sizes: by entity, how many rows there were.
    """

    identity: dict[str, str]
    rows: dict[str, np.ndarray]
    sizes: dict[str, int]

    @property
    def moved(self) -> bool:
        """Whether any row means another id than it did."""
        return any(
            not np.array_equal(self.rows[entity][:size], np.arange(size))
            for entity, size in self.sizes.items()
        )


def active(interactions: Interactions, days: float) -> Interactions:
    """The interactions without users and items whose last event is too long ago.

    What a side table describes and nobody had yet stays.

    Args:
        interactions: with timestamps.
        days: how long before the newest event of all a last event may be.

    Raises:
        ValueError: no timestamps, or days that are not above 0.

    Example:
        >>> log = Interactions.from_columns(["a", "b"], [7, 8], timestamp=[0, 100 * 86400])
        >>> active(log, days=90).frame["item_id"].tolist()
        [8]
    """
    if not days > 0:
        raise ValueError(f"an age in days is above 0, got {days!r}")
    frame = interactions.frame
    if "timestamp" not in frame:
        raise ValueError("who has left is told by timestamps, and the interactions have none")
    least = frame["timestamp"].max() - days * DAY
    kept = np.ones(len(frame), bool)
    tables = {}
    for key, name in (("user_id", "users"), ("item_id", "items")):
        last = frame.groupby(key, sort=False)["timestamp"].max()
        left = last.index[last < least]
        kept &= ~frame[key].isin(left).to_numpy()
        table = getattr(interactions, name)
        if table is not None:
            tables[name] = table[~table[key].isin(left)].reset_index(drop=True)
    return replace(interactions.select(kept), **tables)


def joined(earlier: Interactions, later: Interactions) -> Interactions:
    """Two logs as one, of which the later is what a model learns from (`Interactions.learned`).

    Where both have a side table of one kind, the later's line of an id counts.

    Args:
        earlier: what is known already.
        later: what is new.

    Raises:
        ValueError: one of them has timestamps, and the other has none; or known ids are integers,
            and new ones are not.
    """
    later = _alike(earlier, later)
    if ("timestamp" in earlier.frame) != ("timestamp" in later.frame):
        without = "the new log" if "timestamp" in earlier.frame else "what is known already"
        raise ValueError(f"{without} has no timestamps, and the other has: give both, or neither")
    frame = pd.concat([earlier.frame, later.frame], ignore_index=True)
    tables = {
        name: _together(getattr(earlier, name), getattr(later, name), key)
        for key, name in (("user_id", "users"), ("item_id", "items"))
    }
    learned = np.arange(len(frame)) >= len(earlier.frame)
    return Interactions(frame, **tables, learned=learned)


def _alike(earlier, later):
    """The later log with ids of the earlier one's kind: of a file where all are digits, as text."""
    for key in ("user_id", "item_id"):
        known, now = (kind_of(each.frame[key].to_numpy()) for each in (earlier, later))
        if known == "int64" != now:
            raise ValueError(f"{key} of the new log are strings, and those that are known integers")
        if known != now:
            later = later.with_string_ids(key)
    return later


def _together(earlier, later, key):
    if earlier is None or later is None:
        return later if earlier is None else earlier
    table = pd.concat([earlier, later], ignore_index=True)
    return table.drop_duplicates(key, keep="last", ignore_index=True)
