"""Splits of interactions into train, validation and test.

Split first: then nothing is fitted to what is held out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from tf_recall.data.interactions import Interactions
from tf_recall.data.ranges import Column, Seed, Share, ShareAbove0


@dataclass(frozen=True, eq=False)
class Split:
    """The parts of one log.

    Attributes:
        train: what models learn from.
        test: what reports measure.
        validation: what early stopping and tuning may use, or None.
    """

    train: Interactions
    test: Interactions
    validation: Interactions | None = None


def by_time(interactions: Interactions, test: ShareAbove0 = 0.1, validation: Share = 0.0) -> Split:
    """Splits by time: the latest events are the test, those just before them the validation.

        train < cut_1 <= validation < cut_2 <= test      (times)

    This is the situation of serving. No event of train is later than one of test: events of the
    same time stay in one part, so the shares are met as nearly as the times allow.

    Args:
        interactions: with timestamps.
        test: share of the events to test on.
        validation: share to validate on, 0 for none.

    Raises:
        ValueError: no timestamps, a share out of range, or a part that would be empty.

    Example:
        >>> split = by_time(interactions, test=0.1, validation=0.1)
    """
    _check_shares(test, validation)
    times = _times(interactions, "by_time")
    last_cut = _cut(times, test * len(times))
    if not validation:
        return _split(interactions, times >= last_cut)
    first_cut = _cut(times[times < last_cut], validation * len(times))
    validated = (times >= first_cut) & (times < last_cut)
    return _split(interactions, times >= last_cut, validated)


def leave_last_out(interactions: Interactions, validation: bool = False) -> Split:
    """Splits off each user's last event as the test, and with `validation` the one before it.

    The usual protocol of sequence models. Of events at the same time the later line counts as the
    later event. Every user keeps at least one event in train: users with one event have no test,
    those with two no validation.

    Args:
        interactions: with timestamps.
        validation: whether to validate on the events before the last.

    Raises:
        ValueError: no timestamps, or a part that would be empty.

    Example:
        >>> split = leave_last_out(interactions, validation=True)
    """
    times = _times(interactions, "leave_last_out")
    order = np.argsort(times, kind="stable")
    users = interactions.frame["user_id"]
    histories = users.iloc[order].groupby(users, sort=False)
    later = histories.cumcount().sort_index().to_numpy() > 0
    from_last = histories.cumcount(ascending=False).sort_index().to_numpy()
    return _split_last(interactions, later, from_last, validation, "events")


def leave_last_session_out(
    interactions: Interactions, column: Column, validation: bool = False
) -> Split:
    """Splits off each user's last session as the test, and with `validation` the one before it.

    A session is all events of a user with one value of `column` (an invoice, a visit), and ends
    with its last event. This is the protocol of baskets and of session models: no part of the
    tested session is in train. Of sessions that end at the same time the one with the later line is
    the later. Every user keeps at least one session in train: users with one session have no test,
    those with two no validation.

    Args:
        interactions: with timestamps.
        column: the column whose values are a user's sessions.
        validation: whether to validate on the sessions before the last.

    Raises:
        ValueError: no timestamps, no such column or one with missing values, or a part that would
            be empty.

    Example:
        >>> split = leave_last_session_out(interactions, "invoice")
    """
    times = _times(interactions, "leave_last_session_out")
    frame = interactions.frame
    if column not in frame:
        raise ValueError(
            f"leave_last_session_out needs the column {column!r}; there are {list(frame.columns)}."
        )
    if missing := int(frame[column].isna().sum()):
        raise ValueError(
            f"{missing} of {len(frame)} rows have no {column!r}, so they are in no session: drop "
            "them."
        )
    order = np.argsort(times, kind="stable")
    position = pd.Series(index=order, data=np.arange(len(times))).sort_index()
    end = position.groupby([frame["user_id"], frame[column]]).transform("max")
    from_last = end.groupby(frame["user_id"]).rank(method="dense", ascending=False).to_numpy() - 1
    later = (end > end.groupby(frame["user_id"]).transform("min")).to_numpy()
    return _split_last(interactions, later, from_last, validation, "sessions")


def random(
    interactions: Interactions, test: ShareAbove0 = 0.2, validation: Share = 0.0, seed: Seed = 0
) -> Split:
    """Splits events at random.

    The easiest split: the model learns from events that are later than the tested ones. Report
    `by_time` beside it.

    Args:
        interactions: timestamps are not needed.
        test: share of the events to test on.
        validation: share to validate on, 0 for none.
        seed: the same seed gives the same split.

    Raises:
        ValueError: a share out of range, or a part that would be empty.
    """
    _check_shares(test, validation)
    rank = np.random.default_rng(seed).permutation(len(interactions))
    masks = _first_shares(rank, len(interactions), test, validation)
    return _split(interactions, *masks, f"{len(interactions)} interactions are too few")


def by_user(
    interactions: Interactions, test: ShareAbove0 = 0.1, validation: Share = 0.0, seed: Seed = 0
) -> Split:
    """Splits users at random, each with all events: measures users that training has not seen.

    Args:
        interactions: timestamps are not needed.
        test: share of the users to test on.
        validation: share to validate on, 0 for none.
        seed: the same seed and users give the same split, whatever the order of the lines.

    Raises:
        ValueError: a share out of range, or a part that would be empty.

    Example:
        >>> split = by_user(interactions, test=0.1)
    """
    _check_shares(test, validation)
    users, known = pd.factorize(interactions.frame["user_id"], sort=True)
    rank = np.random.default_rng(seed).permutation(len(known))[users]
    masks = _first_shares(rank, len(known), test, validation)
    return _split(interactions, *masks, f"{len(known)} users are too few")


def files(
    interactions: Interactions,
    test: str | Path | Interactions,
    validation: str | Path | Interactions | None = None,
    columns: dict[str, Column] | None = None,
    missing: Sequence[str] = (),
    time_unit: str | None = None,
) -> Split:
    """A split that was made before: `interactions` are the train part, the others are files.

    Args:
        interactions: the train part; its side tables serve the other parts too.
        test: path of a CSV or Parquet file, or Interactions.
        validation: the same, or None.
        columns, missing, time_unit: of the files, as in `Interactions.from_frame`.

    Raises:
        OSError: no such file, or a folder.
        ValueError: a file that is damaged, or that `Interactions` refuses.
    """
    parts = [interactions]
    for part in (test, validation):
        if isinstance(part, (str, Path)):
            part = Interactions.from_file(part, columns, missing=missing, time_unit=time_unit)
        if part is not None:
            parts.append(part)
    for key in ("user_id", "item_id"):
        if len({part.frame[key].dtype for part in parts}) > 1:
            parts = [part.with_string_ids(key) for part in parts]
    train, *others = parts
    return Split(train, *(replace(part, items=train.items, users=train.users) for part in others))


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
            f"{list(interactions.frame.columns)}: name one with columns={{'timestamp': ...}}, or "
            "split by random, by_user or files."
        )
    return interactions.frame["timestamp"].to_numpy()


def _cut(times: np.ndarray, wanted: float) -> int:
    """The time from which there are as nearly `wanted` events as possible; one is before it."""
    moments, counts = np.unique(times, return_counts=True)
    if len(moments) < 2:
        raise ValueError(
            f"by_time cannot cut {len(times)} events that all happened at the same time."
        )
    from_here_on = np.cumsum(counts[::-1])[::-1]
    return moments[1 + np.argmin(np.abs(from_here_on[1:] - wanted))]


def _first_shares(rank: np.ndarray, size: int, test: float, validation: float):
    """Masks of the first ranks as the test, and of those after them as the validation."""
    tested = round(size * test)
    validated = round(size * (test + validation))
    return rank < tested, (rank >= tested) & (rank < validated) if validation else None


def _split_last(interactions, later, from_last, validation: bool, what: str) -> Split:
    """Splits off what is last of each user, and before it, but for the first that they have."""
    validated = later & (from_last == 1) if validation else None
    most = int(from_last.max()) + 1
    reason = f"a user needs two {what} for a test, three for a validation, and none has over {most}"
    return _split(interactions, later & (from_last == 0), validated, reason)


def _split(
    interactions: Interactions,
    held_out: np.ndarray,
    validated: np.ndarray | None = None,
    reason: str = "",
) -> Split:
    parts = {"test": held_out, "train": ~held_out}
    if validated is not None:
        parts |= {"train": ~(held_out | validated), "validation": validated}
    if empty := [name for name, mask in parts.items() if not mask.any()]:
        raise ValueError(f"The {' and '.join(empty)} part would be empty: {reason}.")
    return Split(**{name: interactions.select(mask) for name, mask in parts.items()})
