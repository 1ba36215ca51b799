"""Evaluation cases: the queries that are asked, and the held-out items that are right answers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from tf_recall.data.catalog import Catalog
from tf_recall.data.histories import Seen, offsets_of
from tf_recall.data.identity import check_same
from tf_recall.data.ids import MISSING
from tf_recall.data.interactions import Interactions
from tf_recall.evaluation.past import Past, past_of, past_of_users
from tf_recall.recommend.base import Recommender


@dataclass(frozen=True)
class Cases:
    """Queries and their relevant items.

    Those of case `c` are `rows[offsets[c]:offsets[c + 1]]`, sorted and distinct.

    Args:
        user_id: `[n]` raw ids.
        context: what else is known at the time of the query, by name, `[n]` each.
        offsets: `[n + 1]` int64.
        rows: `[num_pairs]` int32 item rows, each known to the catalog.
        num_unknown: `[n]` int64, how many further relevant items the catalog does not know. No
            recommender can reach them; they stay in the denominators.
        past: what each case's user did before the query, or None: what training kept.
        identity: the `identity` of the catalog that the rows are of, where it is known.
    """

    user_id: np.ndarray
    context: dict[str, np.ndarray]
    offsets: np.ndarray
    rows: np.ndarray
    num_unknown: np.ndarray
    past: Past | None = None
    identity: dict[str, str] | None = None

    def __len__(self) -> int:
        return len(self.user_id)

    @property
    def owner(self) -> np.ndarray:
        """The case of each pair, `[num_pairs]`."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def pairs_of(self, cases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The pairs of some cases, rising, and for each the position of its case among them.

        Args:
            cases: numbers of cases `[B]`, rising.
        """
        start, count = self.offsets[cases], np.diff(self.offsets)[cases]
        line = np.repeat(np.arange(len(cases)), count)
        return np.arange(len(line)) + (start - np.cumsum(count) + count)[line], line

    def without_seen(self, catalog: Catalog) -> "Cases":
        """Without the items that a user has seen before, and without cases with nothing left.

        Seen is what the user has in the training part and, where the cases have a past, in that.

        Raises:
            ValueError: the cases are of another catalog.
        """
        check_same("the cases", self.identity, catalog.identity)
        users = catalog.users.encode(self.user_id)
        keep = ~_has_seen(catalog.seen, users[self.owner], self.rows)
        if self.past is not None:
            keep &= ~self.past.holds(self.owner, self.rows)
        count = np.bincount(self.owner[keep], minlength=len(self))
        left = count + self.num_unknown > 0
        return Cases(
            self.user_id[left],
            {name: values[left] for name, values in self.context.items()},
            offsets_of(count[left]),
            self.rows[keep],
            self.num_unknown[left],
            self.past and self.past.select(left),
            self.identity,
        )

    def select(self, lines: np.ndarray) -> "Cases":
        """Those at some positions, rising."""
        kept = np.zeros(len(self), bool)
        kept[lines] = True
        return Cases(
            self.user_id[kept],
            {name: values[kept] for name, values in self.context.items()},
            offsets_of(np.diff(self.offsets)[kept]),
            self.rows[kept[self.owner]],
            self.num_unknown[kept],
            self.past and self.past.select(kept),
            self.identity,
        )

    def request(
        self, at: slice | np.ndarray, recommender: Recommender, catalog: Catalog, exclude_seen: bool
    ) -> dict:
        """Some cases as the arguments of `recommender.recommend_rows`.

        Where the cases have a past, the recommender gets as much of it as it looks at, and what is
        seen is left out whether it looks at it or not.

        Args:
            at: which cases.
            recommender: whom to ask; it gets the context that it takes.
            catalog: of the training part.
            exclude_seen: whether items that users have seen are left out.
        """
        user_id = self.user_id[at]
        names = set(self.context) & set(recommender.query_columns)
        given = {name: self.context[name][at] for name in names} | {"exclude_seen": exclude_seen}
        if self.past is None:
            return {"user_id": user_id, **given}
        past, length = self.past.select(at), recommender.history_length
        if exclude_seen and "exclude" in recommender.filters:
            given["exclude"] = past.items.decode(past.held.rows())
        if recommender.takes_history and length != 0:
            given["history"] = past.items.decode(past.every.rows(length))
            # Without a history a known user would be answered from what training kept: later too.
            nobody = np.asarray(MISSING[catalog.users.dtype], user_id.dtype)
            user_id = np.where(past.every.cut > past.every.begin, user_id, nobody)
        given = {name: value for name, value in given.items() if np.ndim(value) < 2 or value.size}
        return {"user_id": user_id, **given}


def cases_by_user(
    test: Interactions,
    catalog: Catalog,
    context: Sequence[str] | None = None,
    earlier: Interactions | None = None,
) -> Cases:
    """One case per held-out user: all their held-out items are relevant.

    The context is that of the user's first held-out event.

    First is by timestamp where there is one, else by line. A user is asked about once, whatever the
    number of its events. With `earlier`, each is asked with all that they did in the training part
    and in it, and has seen the items of both, as when the model is served after the split; without,
    with what training kept.

    Args:
        test: the held-out interactions.
        catalog: fitted on the training part.
        context: the columns that go along with a query; by default `timestamp` and each column that
            `Interactions` does not name itself.
        earlier: further interactions between the training part and `test`, such as the validation
            part.

    Raises:
        ValueError: `test` is empty, or has no such column.
    """
    _check_not_empty(test)
    frame = test.frame
    owner, _ = pd.factorize(frame["user_id"])
    times = frame["timestamp"].to_numpy() if "timestamp" in frame else np.arange(len(frame))
    order = np.argsort(times, kind="stable")
    first = order[np.unique(owner[order], return_index=True)[1]]  # case -> line
    cases = _cases(test, catalog, context, owner, first)
    if earlier is None:
        return cases
    return replace(cases, past=past_of_users(cases.user_id, catalog, earlier))


def cases_by_row(
    test: Interactions,
    catalog: Catalog,
    context: Sequence[str] | None = None,
    earlier: Interactions | None = None,
) -> Cases:
    """One case per held-out interaction: its own context, its item the only relevant one.

    Each event is asked with the user's history at that moment: what they did strictly before it, in
    the training part, in `earlier`, and in the held-out part itself. No event sees itself, one of
    the same time, or what came later. Without timestamps the held-out lines follow one another.

    What a next-event protocol asks: `recall@k`, equal to `hit_rate@k`, is then top-k accuracy over
    events.

    Args:
        test, catalog, context: as for `cases_by_user`.
        earlier: further interactions between the training part and `test`, such as the validation
            part.
    """
    _check_not_empty(test)
    lines = np.arange(len(test.frame))
    cases = _cases(test, catalog, context, lines, lines)
    return replace(cases, past=past_of(test, catalog, earlier))


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
    rows = test.rows("item", catalog.items)
    unknown = rows == 0
    pairs = _distinct(owner[~unknown], rows[~unknown])
    strangers = _distinct(owner[unknown], pd.factorize(frame["item_id"][unknown])[0])
    count = np.bincount(pairs >> 32, minlength=len(first))
    lines = frame.iloc[first]
    return Cases(
        user_id=lines["user_id"].to_numpy(),
        context={name: lines[name].to_numpy() for name in context},
        offsets=offsets_of(count),
        rows=(pairs & 0xFFFFFFFF).astype(np.int32),
        num_unknown=np.bincount(strangers >> 32, minlength=len(first)),
        identity=catalog.identity,
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


def _check_not_empty(test: Interactions) -> None:
    if not len(test.frame):
        raise ValueError(
            "there is nothing to evaluate: the held-out interactions are empty. Hold out more in "
            "the split."
        )
