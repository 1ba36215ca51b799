"""Splits of interactions into train, validation and test.

Split first: then nothing is fitted to what is held out.

Every split takes `validation`, which means the same in all of them:

    0.1            this share of the train side, of what the test leaves, held out in the way in
                   which the split holds out its test; 0 for none
    val.csv        this file, as it is, or Interactions: nothing is taken from the train side
    true           (`leave_last_out`, `leave_last_session_out`) as much as the test: the last but
                   one of each user

A file is read by `Interactions.from_file`: with the columns user_id, item_id and so on, unless the
split is `files`, which has `columns` for all of its files.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from tf_recall.data.held_out import as_the_test, in_line_order, last_of_each, latest
from tf_recall.data.interactions import Interactions
from tf_recall.data.ranges import Column, Seed, Share, ShareAbove0
from tf_recall.data.split import Split
from tf_recall.data.tables import numbered

Validation = Share | str | Path | Interactions | None


def by_time(
    interactions: Interactions, test: ShareAbove0 = 0.1, validation: Validation = 0.0
) -> Split:
    """Splits by time: the latest events are the test, those just before them the validation.

        train < cut_1 <= validation < cut_2 <= test      (times)

    This is the situation of serving. No event of train is later than one of test: events of the
    same time stay in one part, so the shares are met as nearly as the times allow.

    Args:
        interactions: with timestamps.
        test: share of the events to test on.
        validation: the latest share of the rest to validate on, 0 for none; or a file.

    Raises:
        ValueError: no timestamps, a share out of range, or a part that would be empty.

    Example:
        >>> split = by_time(interactions, test=0.1, validation=0.1)
    """
    _check_shares(test, validation)
    tested = latest(_times(interactions, "by_time"), test)

    def hold(train, share):
        return latest(train.frame["timestamp"].to_numpy(), share)

    return _split(interactions, tested, validation, hold)


def leave_last_out(
    interactions: Interactions, validation: bool | Validation = False, seed: Seed = 0
) -> Split:
    """Splits off each user's last event as the test, and with `validation` events before it.

    The usual protocol of sequence models. Of events at the same time the later line counts as the
    later event, for what models learn too: where times are coarse, such as dates, the parts have
    them in order of lines (`Interactions.in_order`). Every user keeps at least one event in train:
    users with one event have no test, those with two no validation.

    Args:
        interactions: with timestamps.
        validation: true: each user's last but one; a share: the last events of each user's rest, as
            many as the share of it, rounded up for some users and down for others, so that few
            events count too; 0 or false: none; or a file.
        seed: of whose number is rounded up; it does not depend on the order of the lines.

    Raises:
        ValueError: no timestamps, a share out of range, or a part that would be empty.

    Example:
        >>> split = leave_last_out(interactions, validation=True)
    """
    times = _times(interactions, "leave_last_out")
    order = np.argsort(times, kind="stable")
    users = pd.Series(numbered(interactions.frame["user_id"])[0])
    histories = users.iloc[order].groupby(users, sort=False)
    later = histories.cumcount().sort_index().to_numpy() > 0
    from_last = histories.cumcount(ascending=False).sort_index().to_numpy()
    return _in_line_order(_split_last(interactions, later, from_last, validation, seed, "events"))


def leave_last_session_out(
    interactions: Interactions,
    column: Column,
    validation: bool | Validation = False,
    seed: Seed = 0,
) -> Split:
    """Splits off each user's last session as the test, and with `validation` those before it.

    A session is all events of a user with one value of `column` (an invoice, a visit), and ends
    with its last event. This is the protocol of baskets and of session models: no part of the
    tested session is in train. Of sessions that end at the same time the one with the later line is
    the later. Every user keeps at least one session in train: users with one session have no test,
    those with two no validation.

    Args:
        interactions: with timestamps.
        column: the column whose values are a user's sessions.
        validation, seed: as of `leave_last_out`, a share being one of each user's sessions.

    Raises:
        ValueError: no timestamps, no such column or one with missing values, a share out of range,
            or a part that would be empty.

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
    users = pd.Series(numbered(frame["user_id"])[0])
    end = position.groupby([users, numbered(frame[column])[0]]).transform("max")
    from_last = end.groupby(users).rank(method="dense", ascending=False).to_numpy() - 1
    later = (end > end.groupby(users).transform("min")).to_numpy()
    return _split_last(interactions, later, from_last.astype(int), validation, seed, "sessions")


def random(
    interactions: Interactions,
    test: ShareAbove0 = 0.2,
    validation: Validation = 0.0,
    seed: Seed = 0,
) -> Split:
    """Splits events at random.

    The easiest split: the model learns from events that are later than the tested ones. Report
    `by_time` beside it.

    Args:
        interactions: timestamps are not needed.
        test: share of the events to test on.
        validation: share of the rest to validate on, 0 for none; or a file.
        seed: the same seed gives the same split.

    Raises:
        ValueError: a share out of range, or a part that would be empty.
    """
    order = np.random.default_rng(seed).permutation(len(interactions))
    return _split_first(interactions, order, test, validation, "interactions")


def by_user(
    interactions: Interactions,
    test: ShareAbove0 = 0.1,
    validation: Validation = 0.0,
    seed: Seed = 0,
) -> Split:
    """Splits users at random, each with all events: measures users that training has not seen.

    Args:
        interactions: timestamps are not needed.
        test: share of the users to test on.
        validation: share of the other users to validate on, 0 for none; or a file.
        seed: the same seed and users give the same split, whatever the order of the lines.

    Raises:
        ValueError: a share out of range, or a part that would be empty.

    Example:
        >>> split = by_user(interactions, test=0.1)
    """
    users, num_users = numbered(interactions.frame["user_id"])
    order = np.random.default_rng(seed).permutation(num_users)[users]
    return _split_first(interactions, order, test, validation, "users")


def files(
    interactions: Interactions,
    test: str | Path | Interactions,
    validation: Validation = 0.0,
    columns: dict[str, Column] | None = None,
    missing: Sequence[str] = (),
    time_unit: str | None = None,
    where: Column | None = None,
    seed: Seed = 0,
) -> Split:
    """A split that was made before: `interactions` are the train part, the test is a file.

    A share of validation is held out in the way in which the test was, as the times tell:

        all of the test is later than all of train     the latest events, as `by_time` does
        no user's test is before their train           each user's last events, as `leave_last_out`
        else, and without times                        events of each user at random

    The last is how public sets come that have no times. Of each user it takes the share, rounded up
    for some and down for others, and never the only event.

    Where users' tests begin at the very time at which their train ends, such as on one date, it was
    lines that told the parts apart, and what models learn is in order of lines too
    (`Interactions.in_order`).

    Args:
        interactions: the train part; its side tables serve the other parts too.
        test: path of a CSV or Parquet file, or Interactions.
        validation: a share of the train part, which it is taken from, 0 for none; or a file.
        columns, missing, time_unit: of the files, as in `Interactions.from_frame`.
        where: of the files, as in `Interactions.where`: a column that is true where a user took
            what was shown.
        seed: of the share; the same lines give the same split.

    Raises:
        OSError: no such file, or a folder.
        ValueError: a file that is damaged, or that `Interactions` refuses; a share out of range, or
            a part that would be empty.

    Example:
        >>> split = files(split.train, split.test, validation=0.1)
    """
    _check_shares(validation=validation)

    def read(path):
        log = Interactions.from_file(path, columns, missing=missing, time_unit=time_unit)
        return log if where is None else log.where(where)

    train, test = _alike(interactions, read(test) if isinstance(test, (str, Path)) else test)

    def hold(train, share):
        return as_the_test(train, test, share, seed)

    reason = f"{validation} of each user's events is none, since a user keeps one"
    return _in_line_order(_validated(train, test, validation, hold, reason, read))


def _in_line_order(split):
    held = [part for part in (split.validation, split.test) if part is not None]
    train, *held = in_line_order(split.train, *held)
    if train is split.train:
        return split
    return replace(split, train=train, test=held[-1], validation=held[0] if held[1:] else None)


def _times(interactions: Interactions, name: str) -> np.ndarray:
    if "timestamp" not in interactions.frame:
        raise ValueError(
            f"{name} needs timestamps, and the interactions have columns "
            f"{list(interactions.frame.columns)}: name one with columns={{'timestamp': ...}}, or "
            "split by random, by_user or files."
        )
    return interactions.frame["timestamp"].to_numpy()


def _split_first(interactions, order, test, validation, what: str) -> Split:
    """Splits off what is first in an order as the test, and what is next as the validation.

    Args:
        order: `[n]`, of each row its number in the order, from 0; rows of one number stay together.
        what: has the numbers, for an error.
    """
    _check_shares(test, validation)
    count = int(order.max()) + 1
    num_tested = round(count * test)
    tested = order < num_tested

    def hold(train, share):
        return order[~tested] < num_tested + round((count - num_tested) * share)

    return _split(interactions, tested, validation, hold, f"{count} {what} are too few")


def _split_last(interactions, later, from_last, validation, seed, what: str) -> Split:
    """Splits off what is last of each user, and before it, but for the first that they have."""
    if validation is not True:
        _check_shares(validation=validation)
    tested = later & (from_last == 0)
    most = int(from_last.max()) + 1
    reason = f"a user needs two {what} for a test, three for a validation, and none has over {most}"

    def hold(train, share):
        if share is True:
            return (later & (from_last == 1))[~tested]
        position = np.maximum(from_last - 1, 0)[~tested]  # the last is tested, but an only one
        return last_of_each(train.frame["user_id"], position, share, seed)

    return _split(interactions, tested, validation, hold, reason)


def _split(
    interactions: Interactions, tested: np.ndarray, validation, hold: Callable, reason: str = ""
) -> Split:
    _check_filled({"test": tested, "train": ~tested}, reason)
    train, test = interactions.select(~tested), interactions.select(tested)
    return _validated(train, test, validation, hold, reason)


def _validated(
    train, test, validation, hold: Callable, reason: str, read: Callable = Interactions.from_file
) -> Split:
    """The split with a validation part.

    Args:
        validation: as the module says.
        hold: a function of the train side and of the share: which rows to hold out.
        reason: why a part would be empty.
        read: reads a file.
    """
    if isinstance(validation, (str, Path)):
        validation = read(validation)
    if isinstance(validation, Interactions):
        return Split(*_alike(train, test, validation))
    if not validation:
        return Split(train, test)
    held = hold(train, validation)
    _check_filled({"train": ~held, "validation": held}, reason)
    return Split(train.select(~held), test, train.select(held), held)


def _alike(*parts: Interactions) -> list[Interactions]:
    """The parts with ids of one kind, and the side tables of the first."""
    for key in ("user_id", "item_id"):
        if len({part.frame[key].dtype for part in parts}) > 1:
            parts = [part.with_string_ids(key) for part in parts]
    train, *others = parts
    return [train, *(replace(part, items=train.items, users=train.users) for part in others)]


def _check_shares(test=None, validation=None):
    if test is not None and not 0 < test < 1:
        raise ValueError(f"test is a share above 0 that leaves some for train, got {test!r}")
    if isinstance(validation, (str, Path, Interactions)) or not validation:
        return
    if validation is True or not 0 < validation < 1:
        raise ValueError(
            "validation is a share of the train side that leaves some for train, from 0 to below "
            f"1, or a file; got {validation!r}"
        )


def _check_filled(masks, reason):
    if empty := [name for name, mask in masks.items() if not mask.any()]:
        raise ValueError(f"The {' and '.join(empty)} part would be empty: {reason}.")
