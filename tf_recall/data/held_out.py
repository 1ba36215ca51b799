"""Which rows a share of validation takes from the train side, and in which order parts stand."""

import logging
from dataclasses import replace

import numpy as np
import pandas as pd

from tf_recall.data.interactions import Interactions
from tf_recall.data.tables import numbered

COARSE = 0.05  # of users whose last event in train has the time of a held-out one
log = logging.getLogger("tf_recall")


def latest(times: np.ndarray, share: float) -> np.ndarray:
    """The rows of the latest times, as nearly the share as whole times allow; bool `[n]`.

    Raises:
        ValueError: all rows are of one time.
    """
    wanted = share * len(times)
    first = max(0, len(times) - 1 - int(wanted))
    moment = np.partition(times, first)[first]  # of the wanted share, or just before it
    from_here_on = times >= moment
    after = times > moment
    if from_here_on.all() and not after.any():
        raise ValueError(
            f"by_time cannot cut {len(times)} events that all happened at the same time."
        )
    too_many = np.count_nonzero(from_here_on) - wanted
    too_few = wanted - np.count_nonzero(after)
    if from_here_on.all() or (after.any() and too_few < too_many):
        return after
    return from_here_on


def last_of_each(users: pd.Series, position: np.ndarray, share: float, seed: int) -> np.ndarray:
    """The share of each user's positions from 0 on, but never the last; bool `[n]`.

    A user with n positions has share * n of them held out, rounded up with the probability that
    makes it so on average: of two events each, a tenth takes one from every fifth user.

    Args:
        users: `[n]` ids.
        position: `[n]` whole numbers from 0, without gaps for any user; several rows may have one.
        share: how much to hold out, below 1.
        seed: of the rounding; the same users get the same, whatever the order of the rows.
    """
    user, num_users = numbered(users)
    count = np.zeros(num_users, int)
    np.maximum.at(count, user, position + 1)
    held = np.floor(share * count + np.random.default_rng(seed).random(num_users))
    return position < np.minimum(held, count - 1)[user]


def as_the_test(train: Interactions, test: Interactions, share: float, seed: int) -> np.ndarray:
    """The rows of train to hold out, as `files` says: in the way that the test was; bool `[n]`."""
    users = train.frame["user_id"]
    position = np.random.default_rng(seed).permutation(len(users))  # from the end of an order
    if "timestamp" in train.frame and "timestamp" in test.frame:
        times = train.frame["timestamp"].to_numpy()
        if times.max() < test.frame["timestamp"].min() and times.min() < times.max():
            return latest(times, share)
        if _follows(train.frame, test.frame):
            position[np.argsort(times, kind="stable")[::-1]] = np.arange(len(users))
    own = pd.Series(index=position, data=users.to_numpy()).sort_index()
    from_last = own.groupby(own, sort=False).cumcount().to_numpy()[position]
    return last_of_each(users, from_last, share, seed)


def in_line_order(train: Interactions, *held: Interactions) -> list[Interactions]:
    """The parts of a split, their times in order of lines where it was lines that told them apart.

    They did where no user who is in both has a held-out event before one of train, and more than
    every twentieth of these users has one at the very time of the last of train: the times are
    coarse, such as dates. Then a model learns what follows what by lines too, or it would never
    see what the held-out events ask. Each event of a user at an equal time comes a little after
    the one before (`Interactions.in_order`), those of train before those of the other parts.

    Args:
        train: what models learn from.
        held: the other parts, the earlier first.
    """
    parts = [train, *held]
    frames = [part.frame for part in parts]
    dated = all("timestamp" in frame for frame in frames)
    if not dated:
        return parts
    ends = _ends(train.frame)
    if not any(_told_by_lines(ends, frame) for frame in frames[1:]):
        return parts
    frames = [frame[["user_id", "item_id", "timestamp"]] for frame in frames]
    try:
        times = Interactions(pd.concat(frames, ignore_index=True)).in_order().times
    except ValueError as error:
        log.warning("Events of one time stay simultaneous, though lines order them: %s", error)
        return parts
    cuts = np.cumsum([len(part) for part in parts])[:-1]
    each = zip(parts, np.split(times, cuts), strict=True)
    return [replace(part, frame=part.frame.assign(timestamp=own)) for part, own in each]


def _told_by_lines(ends, held):
    ends, begins = _meeting(ends, held)
    return bool((ends <= begins).all()) and (ends == begins).sum() > COARSE * len(ends)


def _follows(train, test):
    """Whether no user who is in both has an event of test before one of train."""
    ends, begins = _meeting(_ends(train), test)
    return len(ends) > 0 and bool((ends <= begins).all())


def _ends(train):
    """The last time in train of each user."""
    return train.groupby("user_id")["timestamp"].max()


def _meeting(ends, test):
    """The last time in train and the first in test of each user who is in both."""
    begins = test.groupby("user_id")["timestamp"].min()
    return ends.align(begins, join="inner")
