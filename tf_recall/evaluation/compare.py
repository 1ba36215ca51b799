"""Channels and their merge, compared: what each finds, what only it finds, and its time."""

import time

import numpy as np
from scipy import sparse
from tqdm import tqdm

from tf_recall.data.catalog import Catalog
from tf_recall.evaluation.asking import Asker
from tf_recall.evaluation.cases import Cases
from tf_recall.evaluation.channel_report import ChannelReport
from tf_recall.evaluation.protocol import checked_ks
from tf_recall.recommend.base import Recommender

MERGED = "merged"  # the line of the merge
ONES = 20  # users asked one at a time, at most


def compare(
    channels: dict[str, Recommender],
    merged: Recommender,
    cases: Cases,
    catalog: Catalog,
    k: int = 100,
    exclude_seen: bool = True,
    batch_size: int = 1024,
) -> ChannelReport:
    """Compares channels with one another and with their merge, on the same cases.

        recall(A)   = mean over cases of |relevant items in A's list| / |relevant items|
        union       = the same of all the channels' lists together
        marginal(A) = union - union of the lists of the other channels

    Ties never count as hits (`hits.find_hits`). So where a channel's list ends among equal scores,
    a merge, whose ranks are all distinct, may find what does not count for the channel.

    Args:
        channels: recommenders by name, as for `evaluate`.
        merged: the recommender that merges them, such as a `MultiChannel`; its time includes
            theirs.
        cases, catalog, exclude_seen, batch_size: as for `evaluate`.
        k: the length of the lists; one beyond the catalog means the whole catalog.

    Raises:
        ValueError: no channels, or one called "merged"; no cases, or none left without the seen
            items; a k below 1, or that is not below a recommender's `k_max`; malformed lists.

    Example:
        >>> cases = cases_by_user(split.test, catalog)
        >>> print(compare(multi.channels, multi, cases, catalog, k=100))
    """
    if not channels or MERGED in channels:
        raise ValueError(
            f"give one channel or more, none of them called {MERGED!r}; got {list(channels)}"
        )
    (k,) = checked_ks([k])
    width = min(k, catalog.num_items)
    asked = cases.without_seen(catalog) if exclude_seen else cases
    if not len(asked):
        raise ValueError(
            "there are no cases, or every held-out item is in its user's training part already. "
            "Hold out more."
        )
    askers = {
        name: Asker(name, recommender, asked, catalog, width, exclude_seen)
        for name, recommender in {**channels, MERGED: merged}.items()
    }
    alone = {name: _seconds_alone(asker, len(asked)) for name, asker in askers.items()}
    hits = np.zeros((len(askers), len(asked.rows)), bool)
    spent = np.zeros(len(askers))
    contents = _Contents(len(askers), catalog.num_items)
    for start in tqdm(
        range(0, len(asked), batch_size), "comparing channels", unit="batch", delay=3, leave=False
    ):
        batch = np.arange(start, min(start + batch_size, len(asked)))
        lists = []
        for number, asker in enumerate(askers.values()):
            begun = time.perf_counter()
            rows, scores = asker.lists(batch)
            spent[number] += time.perf_counter() - begun
            pair, rank = asker.hits(batch, rows, scores)
            hits[number, pair[rank < width]] = True
            lists.append(rows[:, :width])
        contents.add(lists)
    of_channels = hits[:-1].sum(axis=0)
    lines = {
        name: {
            "recall": _recall(asked, hits[number]),
            "marginal": None
            if name == MERGED
            else _recall(asked, hits[number] & (of_channels == 1)),
            "coverage": float(contents.anywhere[number, 1:].mean()),
            "ms_batch": float(1000 * spent[number] / len(asked)),
            "ms_one": 1000 * alone[name],
        }
        for number, name in enumerate(askers)
    }
    return ChannelReport(
        k, len(asked), lines, _recall(asked, of_channels > 0), contents.overlap(list(askers))
    )


def _seconds_alone(asker, num_cases):
    """The median time of one case asked alone."""
    asker.lists(np.arange(1))  # whatever is done once is done before time is taken
    seconds = []
    for one in np.unique(np.linspace(0, num_cases - 1, ONES).astype(int)):
        begun = time.perf_counter()
        asker.lists(np.array([one]))
        seconds.append(time.perf_counter() - begun)
    return float(np.median(seconds))


class _Contents:
    """The items in the lists of each recommender, right or wrong, added up over batches."""

    def __init__(self, num, num_items):
        self.anywhere = np.zeros((num, num_items + 1), bool)
        self.shared = np.zeros((num, num))  # sums of shares
        self.some = np.zeros(num)  # users with a list

    def add(self, lists):
        """Takes a batch, each recommender's lists of distinct rows `[B, k]`."""
        held = []
        for number, rows in enumerate(lists):
            self.anywhere[number, rows] = True
            line, _ = np.nonzero(rows)
            there = np.ones(len(line), np.float32), (line, rows[rows > 0])
            held.append(sparse.csr_matrix(there, (len(rows), self.anywhere.shape[1])))
        for a, one in enumerate(held):
            size = np.diff(one.indptr)
            self.some[a] += np.count_nonzero(size)
            for b, other in enumerate(held):
                both = np.asarray(one.multiply(other).sum(axis=1)).ravel()
                self.shared[a, b] += (both / np.maximum(size, 1)).sum()

    def overlap(self, names):
        """The mean shares, by name; None where all lists of a recommender are empty."""
        return {
            one: {
                other: float(self.shared[a, b] / self.some[a]) if self.some[a] else None
                for b, other in enumerate(names)
            }
            for a, one in enumerate(names)
        }


def _recall(cases, found):
    """The mean over cases of the share of their relevant items that is found; `found` is
    `[num_pairs]` bool.
    """
    relevant = np.diff(cases.offsets) + cases.num_unknown
    hits = np.bincount(cases.owner[found], minlength=len(cases))
    return float(np.mean(hits[relevant > 0] / relevant[relevant > 0]))
