"""Splits of interactions into train, validation and test; made first, so that nothing is fitted on
what is held out.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from tf_recall.data.interactions import Interactions


@dataclass(frozen=True, eq=False)
class Split:
    """Three tables of one log: what is learned from, what is reported, what early stopping and
    tuning may look at.
    """

    train: Interactions
    test: Interactions
    validation: Interactions | None = None


def by_time(interactions: Interactions, test: float = 0.1, validation: float = 0.0) -> Split:
    """The latest events are the test, those just before them the validation: what serving will
    meet.

        train < cut_1 <= validation < cut_2 <= test      (times)

    The future never leaks into the past, not even within one second: events of the same time stay
    on one side, so the shares are met as nearly as the times allow.

    Args:
      interactions: with timestamps.
      test: share of the events to test on.
      validation: share to validate on, 0 for none.

    Raises:
      ValueError: no timestamps, a share out of range, or a side that would be empty.

    Example:
      >>> split = by_time(interactions, test=0.1, validation=0.1)
    """
    _check_shares(test, validation)
    times = _times(interactions, "by_time")
    last_cut = _cut(times, test * len(times))
    if not validation:
        return _split(interactions, times >= last_cut)
    first_cut = _cut(times[times < last_cut], validation * len(times))
    return _split(interactions, times >= last_cut, (times >= first_cut) & (times < last_cut))


def leave_last_out(interactions: Interactions, validation: bool = False) -> Split:
    """Each user's last event is the test, and with `validation` the one before that the validation.

    The usual protocol of sequence models. Of events at the same time the later line counts as the
    later event. A user keeps at least one event in train: those with a single one are not tested,
    those with two are not validated on.

    Args:
      interactions: with timestamps.
      validation: whether to validate on the events before the last.

    Raises:
      ValueError: no timestamps, or a side that would be empty.
    """
    times = _times(interactions, "leave_last_out")
    order = np.argsort(times, kind="stable")
    histories = (
        interactions.frame["user_id"].iloc[order].groupby(interactions.frame["user_id"], sort=False)
    )
    later = histories.cumcount().sort_index().to_numpy() > 0
    from_last = histories.cumcount(ascending=False).sort_index().to_numpy()
    return _split(
        interactions, later & (from_last == 0), later & (from_last == 1) if validation else None
    )


def leave_last_session_out(
    interactions: Interactions, column: str, validation: bool = False
) -> Split:
    """Each user's last session is the test, whole, and with `validation` the one before that the
    validation.

    A session is all that a user did under one value of `column` (an invoice, a visit), and ends
    with its last event: the protocol of baskets and of session models, which leaves no part of the
    tested session in train. Of sessions that end at the same time the one with the later line is
    the later. A user keeps at least one session in train: those with a single one are not tested,
    those with two are not validated on.

    Args:
      interactions: with timestamps.
      column: the column that tells the sessions of a user apart.
      validation: whether to validate on the sessions before the last.

    Raises:
      ValueError: no timestamps, no such column or one with missing values, or a side that would be
          empty.

    Example:
      >>> split = leave_last_session_out(online_retail("downloads"), "invoice")
    """
    times, frame = _times(interactions, "leave_last_session_out"), interactions.frame
    if column not in frame:
        raise ValueError(
            f"leave_last_session_out needs the column {column!r}; there are {list(frame.columns)}."
        )
    if missing := int(frame[column].isna().sum()):
        raise ValueError(
            f"{missing} of {len(frame)} rows have no {column!r}, so they are in no session: drop "
            "them."
        )
    place = pd.Series(
        index=np.argsort(times, kind="stable"), data=np.arange(len(times))
    ).sort_index()
    end = place.groupby([frame["user_id"], frame[column]]).transform("max")
    from_last = end.groupby(frame["user_id"]).rank(method="dense", ascending=False).to_numpy() - 1
    later = (end > end.groupby(frame["user_id"]).transform("min")).to_numpy()
    return _split(
        interactions, later & (from_last == 0), later & (from_last == 1) if validation else None
    )


def random(
    interactions: Interactions, test: float = 0.2, validation: float = 0.0, seed: int = 0
) -> Split:
    """Events at random. The easiest split: it lets a model look into the future, so report
    `by_time` beside it.

    Args:
      interactions: timestamps are not needed.
      test: share of the events to test on.
      validation: share to validate on, 0 for none.
      seed: the same seed gives the same split.

    Raises:
      ValueError: a share out of range, or a side that would be empty.
    """
    _check_shares(test, validation)
    place = np.random.default_rng(seed).permutation(len(interactions))
    return _split(interactions, *_first_shares(place, len(interactions), test, validation))


def by_user(
    interactions: Interactions, test: float = 0.1, validation: float = 0.0, seed: int = 0
) -> Split:
    """Users at random, each with all events: how well those are served whom training never met.

    Args:
      interactions: timestamps are not needed.
      test: share of the users to test on.
      validation: share to validate on, 0 for none.
      seed: the same seed and users give the same split, whatever the order of the lines.

    Raises:
      ValueError: a share out of range, or a side that would be empty.
    """
    _check_shares(test, validation)
    users, known = pd.factorize(interactions.frame["user_id"], sort=True)
    place = np.random.default_rng(seed).permutation(len(known))[users]
    return _split(interactions, *_first_shares(place, len(known), test, validation))


def files(interactions: Interactions, test, validation=None, columns: dict | None = None) -> Split:
    """A split that was made before: `interactions` are the train side, the others come from files.

    Args:
      interactions: the train side; its side tables serve the other sides too.
      test: path of a CSV or Parquet file, or Interactions.
      validation: the same, or None.
      columns: our names to the files' own, as in `Interactions.from_frame`.

    Raises:
      FileNotFoundError: no such file.
      ValueError, TypeError: a file that `Interactions` refuses.
    """
    sides = [interactions] + [
        Interactions.from_file(side, columns) if isinstance(side, (str, Path)) else side
        for side in (test, validation)
        if side is not None
    ]
    for key in ("user_id", "item_id"):
        if len({side.frame[key].dtype for side in sides}) > 1:
            sides = [side.with_string_ids(key) for side in sides]
    train, *others = sides
    return Split(train, *(replace(side, items=train.items, users=train.users) for side in others))


def _check_shares(test: float, validation: float) -> None:
    if not (0 < test < 1 and 0 <= validation < 1 and test + validation < 1):
        raise ValueError(
            f"test and validation are shares that leave some for train, got {test} and "
            f"{validation}."
        )


def _times(interactions: Interactions, name: str) -> np.ndarray:
    if "timestamp" not in interactions.frame:
        raise ValueError(
            f"{name} needs timestamps, and the interactions have columns "
            f"{list(interactions.frame.columns)}: "
            "name one with columns={'timestamp': ...}, or split by random, by_user or files."
        )
    return interactions.frame["timestamp"].to_numpy()


def _cut(times: np.ndarray, wanted: float) -> int:
    """The time from which on the events are nearest to `wanted` in number, and at least one is left
    before it.
    """
    moments, counts = np.unique(times, return_counts=True)
    if len(moments) < 2:
        raise ValueError(
            f"by_time cannot cut {len(times)} events that all happened at the same time."
        )
    from_here_on = np.cumsum(counts[::-1])[::-1]
    return moments[1 + np.argmin(np.abs(from_here_on[1:] - wanted))]


def _first_shares(place: np.ndarray, size: int, test: float, validation: float):
    tested, validated = round(size * test), round(size * (test + validation))
    return place < tested, (place >= tested) & (place < validated) if validation else None


def _split(
    interactions: Interactions, held_out: np.ndarray, validated: np.ndarray | None = None
) -> Split:
    sides = {"test": held_out, "train": ~held_out}
    if validated is not None:
        sides |= {"train": ~(held_out | validated), "validation": validated}
    empty = [name for name, mask in sides.items() if not mask.any()]
    if empty:
        raise ValueError(
            f"The {' and '.join(empty)} side would be empty: {len(interactions)} interactions are "
            "too few."
        )
    return Split(**{name: interactions.select(mask) for name, mask in sides.items()})
