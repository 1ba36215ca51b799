"""What a comparison of channels found, for reading, for JSON and as a plot."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class ChannelReport:
    """Figures of channels and of their merge, all at the same k; `compare` makes one.

    Args:
        k: the length of the lists, as it was asked for; at most the catalog's size was.
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
        """The lines as a table by channel, with the overlap in columns `overlap_<channel>`."""
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

    def plot(self, path: str | Path) -> None:
        """Writes a PNG: bars of recall and of what only each channel finds, and the overlap.

        The overlap is a heat map.

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


def _number(value, digits):
    return "-" if value is None else f"{value:.{digits}f}"


def _line(wide, name, cells):
    return f"{name:<{wide}}" + "".join(f"{cell:>{max(12, len(cell) + 2)}}" for cell in cells)
