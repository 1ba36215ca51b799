"""Evaluation cases: the queries that are asked and the held-out items that count as right
answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tf_recall.data.catalog import Catalog, Seen
from tf_recall.data.interactions import Interactions


@dataclass(frozen=True)
class Cases:
    """Queries and their relevant items: those of case `c` are `rows[offsets[c]:offsets[c + 1]]`,
    sorted and distinct.

    Args:
        user_id: `[n]` raw ids.
        context: what else is known at the time of the query, by name, `[n]` each.
        offsets: `[n + 1]` int64.
        rows: `[num_pairs]` int32 item rows, each known to the catalog.
        num_unknown: `[n]` int64, how many further relevant items the catalog does not know. No
            recommender can reach them; they stay in the denominators.
    """

    user_id: np.ndarray
    context: dict[str, np.ndarray]
    offsets: np.ndarray
    rows: np.ndarray
    num_unknown: np.ndarray

    def __len__(self) -> int:
        return len(self.user_id)

    @property
    def owner(self) -> np.ndarray:
        """The case of each pair, `[num_pairs]`."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def without_seen(self, catalog: Catalog) -> "Cases":
        """Without the items that a user has in the training part already, and without cases that
        have nothing left.
        """
        users = catalog.users.encode(self.user_id)
        keep = ~_has_seen(catalog.seen, users[self.owner], self.rows)
        count = np.bincount(self.owner[keep], minlength=len(self))
        left = count + self.num_unknown > 0
        context = {name: values[left] for name, values in self.context.items()}
        return Cases(
            self.user_id[left],
            context,
            _offsets(count[left]),
            self.rows[keep],
            self.num_unknown[left],
        )


def cases_by_user(
    test: Interactions, catalog: Catalog, context: Sequence[str] | None = None
) -> Cases:
    """One case per held-out user: all its held-out items are relevant, the context is that of its
    first held-out event.

    First is by timestamp where there is one, else by line. A user is asked about once, whatever the
    number of its events.

    Args:
        test: the held-out interactions.
        catalog: fitted on the training part.
        context: the columns that go along with a query; by default `timestamp` and each column that
            `Interactions` does not name itself.

    Raises:
        ValueError: `test` is empty, or has no such column.
    """
    _check_not_empty(test)
    frame = test.frame
    owner, _ = pd.factorize(frame["user_id"])
    times = frame["timestamp"].to_numpy() if "timestamp" in frame else np.arange(len(frame))
    order = np.argsort(times, kind="stable")
    first = order[np.unique(owner[order], return_index=True)[1]]  # case -> line
    return _cases(test, catalog, context, owner, first)


def cases_by_row(
    test: Interactions, catalog: Catalog, context: Sequence[str] | None = None
) -> Cases:
    """One case per held-out interaction: its own context, its item the only relevant one. Arguments
    as `cases_by_user`.

    What a next-event protocol asks: `recall@k`, equal to `hit_rate@k`, is then top-k accuracy over
    events.
    """
    _check_not_empty(test)
    lines = np.arange(len(test.frame))
    return _cases(test, catalog, context, lines, lines)


def _cases(
    test: Interactions, catalog: Catalog, context, owner: np.ndarray, first: np.ndarray
) -> Cases:
    frame = test.frame
    if context is None:
        context = [name for name in frame.columns if name not in ("user_id", "item_id", "weight")]
    if missing := [name for name in context if name not in frame.columns]:
        raise ValueError(
            f"the held-out interactions have no column {', '.join(missing)}; they have "
            f"{', '.join(frame.columns)}"
        )
    rows = catalog.items.encode(frame["item_id"])
    unknown = rows == 0
    pairs = _distinct(owner[~unknown], rows[~unknown])
    strangers = _distinct(owner[unknown], pd.factorize(frame["item_id"][unknown])[0])
    count = np.bincount(pairs >> 32, minlength=len(first))
    lines = frame.iloc[first]
    return Cases(
        user_id=lines["user_id"].to_numpy(),
        context={name: lines[name].to_numpy() for name in context},
        offsets=_offsets(count),
        rows=(pairs & 0xFFFFFFFF).astype(np.int32),
        num_unknown=np.bincount(strangers >> 32, minlength=len(first)),
    )


def _has_seen(seen: Seen, users: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Whether `users[i]` has seen `rows[i]`: a binary search in each user's sorted rows, all pairs
    a step at a time.
    """
    low, end = seen.offsets[users], seen.offsets[users + 1]
    high = end
    while (low < high).any():
        middle = (low + high) // 2
        below = (low < high) & (seen.rows[np.minimum(middle, len(seen.rows) - 1)] < rows)
        low, high = np.where(below, middle + 1, low), np.where(below, high, middle)
    found = low < end
    found[found] = seen.rows[low[found]] == rows[found]
    return found


def _key(owner: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return owner.astype(np.int64) << 32 | rows.astype(np.int64)


def _distinct(owner: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.sort(pd.unique(_key(owner, rows)))


def _offsets(count: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(count)]).astype(np.int64)


def _check_not_empty(test: Interactions) -> None:
    if not len(test.frame):
        raise ValueError(
            "there is nothing to evaluate: the held-out interactions are empty. Hold out more in "
            "the split."
        )
