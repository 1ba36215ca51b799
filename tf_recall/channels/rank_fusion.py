"""Merges by rank: reciprocal ranks, with weights that are given or learned."""

import numbers
from collections.abc import Sequence
from typing import Literal

import numpy as np

from tf_recall.channels.merge import Merge
from tf_recall.channels.weighing import Table, reciprocal, weigh
from tf_recall.data.ranges import NumberAbove0, NumberFrom0


class ReciprocalRank(Merge):
    """Sorts items by their ranks in all lists together.

        score(i) = sum over the channels that have i of weight / (constant + rank of i)

    What several channels agree on comes first. Of equal scores the item of the best rank comes
    first, and of equal ranks that of the channel whose turn is sooner. An item below the end of a
    list counts as one that the channel does not have; longer lists than k may therefore change the
    first k.

    Args:
        constant: how little the very first ranks stand out.
        weights: what a channel's ranks count, by channel; 1 where not named.

    Raises:
        ValueError: a constant below 0, a weight that is not above 0.

    Paper: Cormack et al. 2009, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank
        Learning Methods", section 2.
    """

    tunable = {"constant": [1, 200, "log"]}

    def __init__(self, constant: NumberFrom0 = 60, weights: dict[str, NumberAbove0] | None = None):
        if not isinstance(constant, numbers.Real) or not 0 <= constant < np.inf:
            raise ValueError(f"constant is a number of at least 0, got {constant!r}")
        weights = dict(weights or {})
        if wrong := {name: weight for name, weight in weights.items() if not _above_0(weight)}:
            raise ValueError(f"a weight is a number above 0, got {wrong}")
        self.constant, self.weights, self.named = constant, weights, weights

    def counts(self, name):
        return self.weights.get(name, 1) > 0

    def _best(self, codes, ranks, k, begins, names, level):
        weights = np.array([self.weights.get(name, 1) for name in names], np.float64)
        # Rounded: equal sums stay equal, whatever order they are added in.
        score = np.round((weights * self._terms(ranks, level)).sum(axis=2), 12)  # [B, U]
        num = len(names)
        wait = (np.arange(num) - begins[:, None]) % num  # turns until a channel's, [B, C]
        none = np.iinfo(np.int64).max
        turn = ranks.astype(np.int64) * num + wait[:, None]
        first = np.where(ranks > 0, turn, none).min(axis=2)  # [B, U]
        order = np.lexsort((first, -score), axis=1)[:, :k]
        return np.where(np.take_along_axis(first, order, axis=1) < none, order, 0)

    def _terms(self, ranks, level):
        """What each channel says for each item, before its weight: `[B, U, C]`."""
        return reciprocal(ranks, self.constant)


class MarginalRank(ReciprocalRank):
    """Sorts items by ranks or by scores, with weights learned: never below the best channel.

        score(i) = sum over the channels that have i of weight * term(i)
        by ranks:   term(i) = (constant + 1) / (constant + rank of i)
        by scores:  term(i) = (score of i - lowest) / (highest - lowest), of the channel's list

    Weights are learned on cases that are neither trained nor tested on, by `MultiChannel.fit`, and
    grow with what a list adds to the others: channels whose lists are much the same share one
    weight, and those that add nothing have 0. From there the weights go, in steps, back to the
    single channel that finds most. Of all these, by ranks and by scores, the one that finds more
    than that channel, and most surely so, is taken; where none does, that channel alone
    (`weighing.weigh`). What a channel of weight 0 has comes after all that others have.

    Args:
        constant: as of `ReciprocalRank`.
        weights: those of an earlier `fit`, by channel; 1 where not named.
        by: "ranks" or "scores", as an earlier `fit` found.

    Raises:
        ValueError: a constant or a weight below 0; scores are needed, and not given.

    Example:
        >>> multi = MultiChannel(channels, catalog, MarginalRank(), depth=400)
        >>> cases = cases_by_user(split.validation, catalog)
        >>> multi.fit(cases, ks=[20, 100]).merge.weights
        {...}
    """

    def __init__(
        self,
        constant: NumberFrom0 = 60,
        weights: dict[str, NumberFrom0] | None = None,
        by: Literal["ranks", "scores"] = "ranks",
    ):
        super().__init__(constant)
        weights = dict(weights or {})
        if wrong := {name: each for name, each in weights.items() if each and not _above_0(each)}:
            raise ValueError(f"a weight is a number of at least 0, got {wrong}")
        if by not in ("ranks", "scores"):
            raise ValueError(f"by is 'ranks' or 'scores', got {by!r}")
        self.by, self.weights, self.named = by, weights, weights

    def fit(
        self,
        lists: dict[str, np.ndarray],
        scores: dict[str, np.ndarray],
        offsets: np.ndarray,
        rows: np.ndarray,
        ks: Sequence[int] = (20, 100),
        num_relevant: np.ndarray | None = None,
    ) -> "MarginalRank":
        """Learns the weights, and whether to go by ranks or by scores; returns itself.

        Args:
            lists, scores: of each case, as for `merge`.
            offsets, rows: the relevant items, of case c `rows[offsets[c]:offsets[c + 1]]`.
            ks: the list lengths at which recall counts, all alike.
            num_relevant: `[B]`, with those that no list can have; by default none is such.
        """
        names = list(lists)
        table = Table.of(lists, scores, self.constant, offsets, rows, num_relevant)
        weights, self.by = weigh(table, ks)
        self.weights = self.named = dict(zip(names, weights.tolist(), strict=True))
        return self

    def _terms(self, ranks, level):
        if self.by == "ranks":
            return super()._terms(ranks, level)
        if level is None:
            raise ValueError("the merge has learned to go by scores: give the scores of the lists")
        return level


def _above_0(weight):
    return isinstance(weight, numbers.Real) and 0 < weight < np.inf
