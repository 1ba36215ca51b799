"""Several channels and their merge, as one recommender."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import tensorflow as tf

from tf_recall.channels.merge import Merge, RoundRobin
from tf_recall.channels.rank_fusion import MarginalRank
from tf_recall.data.catalog import Catalog
from tf_recall.data.identity import check_same
from tf_recall.evaluation.cases import Cases
from tf_recall.evaluation.protocol import checked_ks
from tf_recall.recommend.base import Recommender
from tf_recall.recommend.filters import Filter

ASKED = 1024  # cases asked at once
LEARNED = 3000  # cases that a merge learns from
EXPLAINED = 100  # items of each channel that `explain` looks at, where the depth is not set


class MultiChannel(Recommender):
    """Asks several channels and merges their lists into one (METHODS.md C5).

        score(item) = 1 / rank(item),   rank 1 = the first of the merged list

    Ranks, and so scores, are strictly distinct; the score tells the order and nothing else. Every
    channel gets the same request, as far as it takes it: a history, and the features in its
    `query_columns`. Whatever a channel makes of it, nothing comes through that is excluded, not
    allowed or, with `exclude_seen`, seen.

    Whose turn is first depends on the user's id alone. So over all users each channel is the first
    as often as any other, and the same request always gets the same answer, whatever else is in the
    batch. `explain` gives each channel's rank of the item, and its reasons.

    Args:
        channels: recommenders by name, trained, loaded or counted, over one catalog.
        catalog: that catalog.
        merge: one of `RoundRobin()`, `Quotas({...})`, `ReciprocalRank()`, `MarginalRank()`.
        depth: how many items each channel is asked for; None: k, all that `RoundRobin` and `Quotas`
            can use: when a channel's turn comes fewer than k items are taken, so one of its first k
            is left. `ReciprocalRank` sees more of what channels agree on where lists are longer. No
            channel is asked for more than its own `k_max`.

    Raises:
        ValueError: no channels, a merge that names another, a channel over another catalog, two
            that take a column in different forms, a depth below 1.

    Example:
        >>> multi = MultiChannel({"item_cf": channel, "two_tower": service}, catalog)
        >>> item_id, score = multi.recommend(["u17"], k=100, exclude_seen=True)
        >>> multi.explain("u17", item_id[0, 0])
        [{'channel': '...', 'rank': ..., 'reasons': [{'kind': 'item', 'id': '...', 'share': ...}]}]
    """

    takes_history = True
    explains = True

    def __init__(
        self,
        channels: dict[str, Recommender],
        catalog: Catalog,
        merge: Merge | None = None,
        depth: int | None = None,
    ):
        self.channels, self.catalog = dict(channels), catalog
        self.merge, self.depth = merge or RoundRobin(), depth
        self.merge.check(list(self.channels))
        if depth is not None and (not isinstance(depth, int) or depth < 1):
            raise ValueError(f"depth is a whole number of at least 1, or None for k; got {depth!r}")
        for name, channel in self.channels.items():
            check_same(f"the channel {name!r}", channel.identity, catalog.identity)
        self.query_columns = _union(self.channels)

    def fit(
        self, cases: Cases, ks: Sequence[int] = (20, 100), exclude_seen: bool = True
    ) -> "MultiChannel":
        """Lets a `MarginalRank` learn how much each channel counts; returns the merge itself.

        The channels are asked as an evaluation asks them, and as deep as the merge asks them for
        the longest of `ks`. Of many cases it looks at 3,000, from all parts of them.

        Args:
            cases: that are neither trained nor tested on, such as those of the validation part.
            ks: the list lengths at which recall counts, all alike.
            exclude_seen: as for `evaluate`.

        Raises:
            ValueError: a merge that does not learn; no cases, or none left without the seen items;
                a k below 1.
        """
        if not isinstance(self.merge, MarginalRank):
            raise ValueError(f"{type(self.merge).__name__} does not learn; MarginalRank does")
        ks = checked_ks(ks)
        asked = cases.without_seen(self.catalog) if exclude_seen else cases
        if not len(asked):
            raise ValueError("there are no cases to learn from whose items users have not seen")
        asked = asked.select(np.unique(np.linspace(0, len(asked) - 1, LEARNED).astype(int)))
        depth = self.depth or max(ks)
        answers = []
        for start in range(0, len(asked), ASKED):
            batch = slice(start, start + ASKED)
            given = asked.request(batch, self, self.catalog, exclude_seen)
            answers.append(self._lists(self.request_for_users(**given), depth))
        lists, scores = (
            {name: np.concatenate([each[name] for each in side]) for name in self.channels}
            for side in zip(*answers, strict=True)
        )
        num_relevant = np.diff(asked.offsets) + asked.num_unknown
        self.merge.fit(lists, scores, asked.offsets, asked.rows, ks, num_relevant)
        return self

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(self.channels)

    def _recommend(self, request, k):
        rows, score, _ = self._ranked(request, k)
        return rows, score

    def _ranked(self, request, k):
        first = pd.util.hash_array(request.ids, categorize=False) % len(self.channels)
        lists, scores = self._lists(request, self.depth or k)
        merged = self.merge.merge(lists, k, first.astype(np.int64), scores)
        return merged.rows, merged.score, merged.ranks

    def _explain(self, request, item, num):
        """The channels that have the item, by rank; then those that have reasons alone.

        Those that only fill up are named where no other has it.
        """
        found = []
        lists, _ = self._lists(request, self.depth or EXPLAINED)
        for name, rows in lists.items():
            channel, at = self.channels[name], np.flatnonzero(rows[0] == item)
            rank = int(at[0]) + 1 if len(at) else None
            reasons = channel.answer_reasons(request.to(channel), item, num)
            if rank or reasons:
                found.append({"channel": name, "rank": rank, "reasons": reasons})
        counted = [each for each in found if self.merge.counts(each["channel"])]
        if any(each["rank"] for each in counted):
            found = counted
        return sorted(found, key=lambda each: each["rank"] or np.inf)

    def _lists(self, request, depth):
        """The item rows `[B, W]` that each channel recommends, and their scores.

        The row is 0 where an item must not come through.
        """
        passes, position = Filter(request), np.arange(len(request))[:, None]
        lists, scores = {}, {}
        for name, channel in self.channels.items():
            k = min(depth, self.catalog.num_items, channel.k_max)
            rows, score = channel.answer_rows(request.to(channel), k)
            kept = (score > -np.inf) & passes(position, rows)
            lists[name], scores[name] = np.where(kept, rows, 0), score
        return lists, scores


def _union(channels: dict[str, Recommender]) -> dict[str, tf.TensorSpec]:
    """The query columns of all channels.

    Raises:
        ValueError: two channels take a column in different forms.
    """
    columns, owner = {}, {}
    for name, channel in channels.items():
        for column, spec in channel.query_columns.items():
            known = columns.setdefault(column, spec)
            if (known.dtype, known.shape.as_list()) != (spec.dtype, spec.shape.as_list()):
                raise ValueError(
                    f"the channels {owner[column]!r} and {name!r} take {column!r} in different "
                    f"forms, {known.dtype.name} {known.shape} and {spec.dtype.name} {spec.shape}"
                )
            owner.setdefault(column, name)
    return columns
