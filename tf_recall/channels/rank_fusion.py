"""Merges by rank: reciprocal ranks, with weights that are given or learned."""

import numbers

import numpy as np

from tf_recall.channels.merge import Merge
from tf_recall.data.ranges import NumberAbove0, NumberFrom0
from tf_recall.evaluation.channel_report import ChannelReport


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

    def _best(self, codes, ranks, k, begins, names):
        weights = np.array([self.weights.get(name, 1) for name in names], np.float64)
        # As a share of what a first rank counts, and rounded: equal sums stay equal, whatever order
        # they are added in.
        terms = weights * (self.constant + 1) / (self.constant + np.maximum(ranks, 1))
        terms = np.where(ranks > 0, terms, 0)  # [B, U, C]
        score = np.round(terms.sum(axis=2), 12)  # [B, U]
        num = len(names)
        wait = (np.arange(num) - begins[:, None]) % num  # turns until a channel's, [B, C]
        none = np.iinfo(np.int64).max
        turn = ranks.astype(np.int64) * num + wait[:, None]
        first = np.where(ranks > 0, turn, none).min(axis=2)  # [B, U]
        order = np.lexsort((first, -score), axis=1)[:, :k]
        return np.where(np.take_along_axis(first, order, axis=1) < none, order, 0)


class MarginalRank(ReciprocalRank):
    """`ReciprocalRank` with weights learned from what only one channel finds.

    A channel's weight grows with what only it finds, and with what it finds at all:

        weight(channel) = max(0.01, marginal(channel) * recall(channel) / the largest such product)

    on cases that are neither trained nor tested on; marginal is the recall that all lists together
    lose without the channel's. Channels whose lists are much the same share one weight, where equal
    weights would let their number decide; and one that finds what others do not, but seldom, does
    not crowd out the rest.

    Args:
        constant: as of `ReciprocalRank`.
        weights: those of an earlier `fit`.

    Example:
        >>> multi = MultiChannel(channels, catalog, MarginalRank(), depth=400)
        >>> cases = cases_by_user(split.validation, catalog)
        >>> multi.merge.fit(compare(channels, multi, cases, catalog))
    """

    def fit(self, report: ChannelReport) -> None:
        """Takes the weights from a `ChannelReport`."""
        channels = {
            name: line for name, line in report.lines.items() if line["marginal"] is not None
        }
        found = {name: line["marginal"] * line["recall"] for name, line in channels.items()}
        most = max(found.values()) or 1
        self.weights = self.named = {
            name: max(product / most, 0.01) for name, product in found.items()
        }


def _above_0(weight):
    return isinstance(weight, numbers.Real) and 0 < weight < np.inf
