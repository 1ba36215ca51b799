"""Channels and their merge, compared: what each finds, what only it finds, and its time."""

import time
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from scipy import sparse
from tqdm import tqdm

from tf_recall.data.catalog import Catalog
from tf_recall.evaluation.asking import Asker
from tf_recall.evaluation.cases import Cases
from tf_recall.recommend.base import Recommender

MERGED = "merged"  # the line of the merge
ONES = 20  # users asked one at a time, at most


@dataclass(frozen=True)
class ChannelReport:
    """Figures of channels and of their merge, all at the same k; `compare` makes one.

    Args:
        k: the length of the lists.
        cases: how many were asked.
        lines: by channel, and `merged`: `recall`; `marginal`, the recall that only this channel
            brings, which the union loses without it (None for the merge); `coverage`, the share of
            the catalog that is in anybody's list; `ms_batch` and `ms_one`, milliseconds a user when
            asked in batches, and one at a time (the median).
        union: recall of all the channels' lists together: no merge of these lists finds more.
        overlap: by channel A, then B, `merged` among them: the mean over users of |A and B| / |A|,
            how much of A's list is in B's; None where all lists of A are empty.

    Example:
        >>> report = compare(multi.channels, multi, cases, catalog, k=100)
        >>> print(report)
        >>> report.plot("channels.png")
    """

    k: int
    cases: int
    lines: dict[str, dict[str, float | None]]
    union: float
    overlap: dict[str, dict[str, float | None]]

    def to_dict(self) -> dict:
        """Plain dicts and numbers, fit for JSON."""
        return asdict(self)

    def to_frame(self) -> pd.DataFrame:
        """The lines as a table by channel, the overlap beside them in columns
        `overlap_<channel>`.
        """
        overlap = pd.DataFrame(self.overlap).T.add_prefix("overlap_")
        return pd.DataFrame(self.lines).T.join(overlap).astype(float).rename_axis("channel")

    def __str__(self) -> str:
        wide = max(24, *(len(name) + 2 for name in self.lines))
        titles = (f"recall@{self.k}", "marginal", "coverage", "ms a user", "ms alone")
        lines = [f"{self.cases:,} cases, lists of {self.k}", "", _line(wide, "", titles)]
        for name, line in self.lines.items():
            cells = [*(_number(line[key], 4) for key in ("recall", "marginal", "coverage"))]
            lines.append(
                _line(
                    wide, name, [*cells, _number(line["ms_batch"], 3), _number(line["ms_one"], 2)]
                )
            )
        lines.append(_line(wide, "union of the channels", [f"{self.union:.4f}"]))
        lines += ["", "share of a line's list that is in the column's", _line(wide, "", self.lines)]
        for name, shares in self.overlap.items():
            lines.append(_line(wide, name, [_number(share, 2) for share in shares.values()]))
        return "\n".join(lines)

    def plot(self, path) -> None:
        """Writes a PNG: bars of recall and of what only each channel finds, and the overlap as a
        heat map.

        Raises:
            ImportError: matplotlib is not installed.
        """
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError(
                f"a plot needs matplotlib ({error}): pip install 'tf-recall[plot]'"
            ) from error
        names, at = list(self.lines), np.arange(len(self.lines))
        figure = Figure(figsize=(6 + 0.9 * len(names), 2 + 0.5 * len(names)), layout="constrained")
        FigureCanvasAgg(figure)
        bars, heat = figure.subplots(1, 2)
        bars.barh(at - 0.2, [self.lines[name]["recall"] for name in names], 0.4, label="recall")
        bars.barh(
            at + 0.2,
            [self.lines[name]["marginal"] or 0 for name in names],
            0.4,
            label="only this one finds",
        )
        bars.axvline(self.union, color="gray", linestyle=":", label="union of the channels")
        bars.set_yticks(at, names)
        bars.invert_yaxis()
        bars.set(xlabel=f"recall@{self.k}, {self.cases:,} cases", xlim=(0, None))
        bars.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)
        share = pd.DataFrame(self.overlap).T.to_numpy(float)
        heat.imshow(share, vmin=0, vmax=1, cmap="Blues")
        for (line, column), value in np.ndenumerate(share):
            if not np.isnan(value):
                heat.text(
                    column,
                    line,
                    f"{value:.2f}",
                    ha="center",
                    va="center",
                    color="white" if value > 0.6 else "k",
                )
        heat.set_xticks(at, names, rotation=45, ha="right")
        heat.set_yticks(at, names)
        heat.set(title="share of a line's list in the column's")
        figure.savefig(path, dpi=110, format="png")


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
        k: the length of the lists.

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
    if not 1 <= k <= catalog.num_items:
        raise ValueError(f"k is {k}; the catalog allows 1 to {catalog.num_items}")
    asked = cases.without_seen(catalog) if exclude_seen else cases
    if not len(asked):
        raise ValueError(
            "there are no cases, or every held-out item is in its user's training part already. "
            "Hold out more."
        )
    askers = {
        name: Asker(name, recommender, asked, catalog.num_items, k, exclude_seen)
        for name, recommender in {**channels, MERGED: merged}.items()
    }
    alone = {name: _seconds_alone(asker, len(asked)) for name, asker in askers.items()}
    hits = np.zeros((len(askers), len(asked.rows)), bool)
    spent = np.zeros(len(askers))
    contents = _Contents(len(askers), catalog.num_items)
    for start in tqdm(
        range(0, len(asked), batch_size), "comparing channels", unit="batch", delay=3, leave=False
    ):
        lists = []
        for number, asker in enumerate(askers.values()):
            begun = time.perf_counter()
            rows, scores = asker.lists(start, batch_size)
            spent[number] += time.perf_counter() - begun
            pair, rank = asker.hits(start, rows, scores)
            hits[number, pair[rank < k]] = True
            lists.append(rows[:, :k])
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
    asker.lists(0, 1)  # whatever is done once is done before time is taken
    seconds = []
    for one in np.unique(np.linspace(0, num_cases - 1, ONES).astype(int)):
        begun = time.perf_counter()
        asker.lists(one, 1)
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


def _number(value, digits):
    return "-" if value is None else f"{value:.{digits}f}"


def _line(wide, name, cells):
    return f"{name:<{wide}}" + "".join(f"{cell:>{max(12, len(cell) + 2)}}" for cell in cells)
