"""What users did before held-out events, so that each event is asked with the history it had."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tf_recall.data.catalog import Catalog
from tf_recall.data.histories import Histories
from tf_recall.data.interactions import Interactions, times_of
from tf_recall.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class Cut:
    """Some cases' parts of histories: those of case `c` are `histories.items[begin[c]:cut[c]]`.

    Args:
        histories: events by user, in order of time.
        begin, cut: `[n]` int64 positions in `histories.items`.
    """

    histories: Histories
    begin: np.ndarray
    cut: np.ndarray

    def select(self, kept: np.ndarray | slice) -> "Cut":
        """Those of some cases."""
        return replace(self, begin=self.begin[kept], cut=self.cut[kept])

    def rows(self, most: int | None = None) -> np.ndarray:
        """Item rows `[n, L]` int32, the oldest first, padded in front with 0.

        Args:
            most: how many items at most, the latest; None: all. L is the longest.
        """
        longest = int(np.max(self.cut - self.begin, initial=0))
        longest = longest if most is None else min(longest, most)
        return self.histories.before(self.begin, self.cut, longest)


@dataclass(frozen=True)
class Past:
    """What each case's user did strictly before the query.

    Args:
        every: all of it.
        held: what of it the training part does not hold.
        items: the vocabulary of the item rows.
    """

    every: Cut
    held: Cut
    items: Vocabulary

    def select(self, kept: np.ndarray | slice) -> "Past":
        """That of some cases."""
        return replace(self, every=self.every.select(kept), held=self.held.select(kept))

    def holds(self, case: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Whether the case `case[p]` has the item `rows[p]` in its past: bool `[p]`."""
        histories = self.every.histories
        pairs, first = np.unique(_key(histories.users, histories.items), return_index=True)
        if not len(pairs):
            return np.zeros(len(rows), bool)
        user = np.searchsorted(histories.offsets, self.every.begin[case], side="right") - 1
        asked = _key(user, rows)
        at = np.minimum(np.searchsorted(pairs, asked), len(pairs) - 1)
        return (pairs[at] == asked) & (first[at] < self.every.cut[case])


def past_of(test: Interactions, catalog: Catalog, earlier: Interactions | None = None) -> Past:
    """What the users of held-out events did before each: in training, `earlier`, and `test`.

    An event of the very same time does not count as before. Where any part has no timestamps, the
    lines of `earlier` follow the training part, and those of `test` follow them.

    Args:
        test: the held-out events, one case each.
        catalog: fitted on the training part.
        earlier: further interactions between the training part and `test`, or None.
    """
    parts = [_events_of(test.frame, test.frame["user_id"])]
    if earlier is not None:
        parts.insert(0, _events_of(earlier.frame, parts[0]["user_id"]))
    frame = pd.concat(parts, ignore_index=True)
    users, num_users = _users(frame["user_id"], catalog)
    dated = all("timestamp" in part for part in parts)
    times, every, held = _histories(frame, users, users, num_users, dated, catalog)
    asked = slice(len(frame) - len(test), None)
    cuts = [_cut(histories, users[asked], times[asked]) for histories in (every, held)]
    return Past(*cuts, catalog.items)


def past_of_users(user_id: np.ndarray, catalog: Catalog, earlier: Interactions) -> Past:
    """What users did in the training part and in `earlier`: all of it, whatever its times.

    Args:
        user_id: `[n]` raw ids, one case each.
        catalog: fitted on the training part.
        earlier: further interactions, which come before what the users are asked.
    """
    frame = _events_of(earlier.frame, user_id)
    together = pd.concat([frame["user_id"], pd.Series(user_id)], ignore_index=True)
    users, num_users = _users(together, catalog)
    done, asked = users[: len(frame)], users[len(frame) :]
    _, *both = _histories(frame, done, asked, num_users, "timestamp" in frame, catalog)
    cuts = [Cut(each, each.offsets[asked], each.offsets[asked + 1]) for each in both]
    return Past(*cuts, catalog.items)


def _users(user_id, catalog):
    """Rows of users, those that the catalog does not know too, and their number."""
    users = catalog.users.encode(user_id)
    strangers, _ = pd.factorize(user_id.where(users == 0))
    users = np.where(users > 0, users, catalog.users.size + strangers)
    return users, int(users.max(initial=0)) + catalog.users.size


def _histories(frame, users, asked, num_users, dated, catalog):
    """The times of some events, the histories that they make with those of the users `asked` in
    training, and theirs alone.
    """
    known = catalog.histories
    items = catalog.items.encode(frame["item_id"])
    trained, at = _trained(known, asked)
    if known.times is not None and dated:
        before, times = known.times[at], times_of(frame)
    else:  # these lines follow the training part
        before = np.zeros(len(at), np.int64)
        times = 1 + np.arange(len(frame))
    every = Histories.fit(
        np.concatenate([trained, users]),
        np.concatenate([known.items[at], items]),
        np.concatenate([before, times]),
        num_users,
    )
    return times, every, Histories.fit(users, items, times, num_users)


def _trained(histories, users):
    """The users and the positions of all events of some users, by user."""
    users = np.unique(users[users < len(histories)])
    start, count = histories.offsets[users], np.diff(histories.offsets)[users]
    before = np.cumsum(count) - count
    return np.repeat(users, count), np.arange(count.sum()) + np.repeat(start - before, count)


def _cut(histories, users, times):
    """Where the histories of users end before some moments."""
    moments, rank = np.unique(np.concatenate([histories.times, times]), return_inverse=True)
    events = histories.users * len(moments) + rank[: len(histories.items)]  # rising
    cut = np.searchsorted(events, users * len(moments) + rank[len(histories.items) :])
    return Cut(histories, histories.offsets[users], cut.astype(np.int64))


def _events_of(frame, user_id):
    """The events of some users, as columns of raw ids and times."""
    names = [name for name in ("user_id", "item_id", "timestamp") if name in frame]
    of_them = frame[names][frame["user_id"].isin(user_id)]
    return pd.DataFrame({name: of_them[name].to_numpy() for name in names})


def _key(users, rows):
    return users.astype(np.int64) << 32 | rows.astype(np.int64)
