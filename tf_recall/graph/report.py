"""Figures of a graph: how many edges its nodes have, and what may be wrong with them."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from tf_recall.graph.csr import Graph
from tf_recall.graph.edges import edges_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUANTILES = {0.0: "fewest", 0.25: "25% at most", 0.5: "half at most"}
QUANTILES |= {0.75: "75% at most", 0.9: "90% at most", 0.99: "99% at most", 1.0: "most"}
HUBS = 0.01  # of all nodes: those with the most edges
BLOCK_EDGES = 2**20  # counted at a time


@dataclass(frozen=True)
class Degrees:
    """How many edges the nodes of one side have; row 0, the unknown, does not count.

    Args:
        mean: edges a node.
        quantiles: `{share of nodes: degree that they do not exceed}`.
        histogram: `{lowest degree: nodes}`, in steps that double: 0, 1, 2 to 3, 4 to 7, ...
        hubs: share of the edges at the hundredth of the nodes that has the most.
    """

    mean: float
    quantiles: dict[float, int]
    histogram: dict[int, int]
    hubs: float

    @classmethod
    def of(cls, degrees: np.ndarray) -> "Degrees":
        """The figures of `[n]` degrees, without the unknown's."""
        if not len(degrees):
            return cls(0.0, dict.fromkeys(QUANTILES, 0), {}, 0.0)
        ranked = np.sort(degrees)
        at = [int(np.ceil(share * len(ranked))) - 1 for share in QUANTILES]
        # 0 for degree 0, 1 for 1, 2 for 2 and 3, 3 for 4 to 7
        _, steps = np.frexp(ranked.astype(np.float64))
        counts = np.bincount(steps)
        hubs = ranked[len(ranked) - int(np.ceil(HUBS * len(ranked))) :].sum()
        return cls(
            float(ranked.mean()),
            {share: int(ranked[max(rank, 0)]) for share, rank in zip(QUANTILES, at, strict=True)},
            {(1 << step >> 1): int(count) for step, count in enumerate(counts)},
            float(hubs / max(ranked.sum(), 1)),
        )


@dataclass(frozen=True)
class GraphReport:
    """What `report` counts in a graph.

    Args:
        num_nodes, num_targets: rows of either side, without the unknown.
        num_edges: edges.
        total_weight: of all of them.
        leading, reached: degrees of the nodes, by edges that lead from them, and of the targets, by
            those that reach them.
        self_loops: edges from a node to itself; None where the two sides are of different types.
        isolated: nodes that no edge leads from, nor to where both sides are of one type.
        one_way: edges whose reverse is missing; None where there is no graph to look for it in.

    Example:
        >>> print(report(graph))
        >>> report(graph).plot().savefig("degrees.png")
        >>> json.dumps(report(graph).to_dict())
    """

    num_nodes: int
    num_targets: int
    num_edges: int
    total_weight: float
    leading: Degrees
    reached: Degrees
    self_loops: int | None
    isolated: int
    one_way: int | None

    def to_dict(self) -> dict:
        """Plain dicts and numbers, fit for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [
            f"{self.num_edges:,} edges from {self.num_nodes:,} nodes to {self.num_targets:,}, "
            f"weight {self.total_weight:,.6g} in all",
            f"{self.isolated:,} nodes ({self.isolated / max(self.num_nodes, 1):.1%}) are isolated",
        ]
        if self.self_loops is not None:
            lines.append(f"{self.self_loops:,} edges lead from a node to itself")
        if self.one_way is not None:
            share = self.one_way / max(self.num_edges, 1)
            lines.append(f"{self.one_way:,} edges ({share:.1%}) are missing their reverse")
        sides = self.leading, self.reached
        lines += ["", _line("edges of a node", "leading away", "reaching it")]
        lines += [_line("mean", *(f"{side.mean:,.2f}" for side in sides))]
        for share, name in QUANTILES.items():
            lines.append(_line(name, *(f"{side.quantiles[share]:,}" for side in sides)))
        lines += [_line(f"share of the top {HUBS:.0%}", *(f"{side.hubs:.1%}" for side in sides))]
        lines += ["", _line("nodes with", "leading away", "reaching them")]
        for low in max((side.histogram for side in sides), key=len):
            name = f"{low:,}" if low < 2 else f"{low:,} to {2 * low - 1:,}"
            lines.append(_line(name, *(f"{side.histogram.get(low, 0):,}" for side in sides)))
        return "\n".join(lines)

    def plot(self) -> "Figure":
        """A matplotlib figure of the histogram of degrees, both axes by powers.

        Raises:
            ImportError: matplotlib is not installed.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError(
                f"A plot needs matplotlib ({error}): pip install 'tf_recall[plot]'"
            ) from error
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        for side, name in ((self.leading, "leading away"), (self.reached, "reaching it")):
            axes.plot(list(side.histogram), list(side.histogram.values()), marker="o", label=name)
        axes.set(
            xscale="symlog",
            yscale="symlog",
            xlabel="edges of a node, from",
            ylabel="nodes",
            xlim=0,
            ylim=0,
        )
        axes.legend()
        return figure


def report(graph: Graph, back: Graph | None = None) -> GraphReport:
    """Counts through a graph, block by block, so that a mapped one need not fit in memory.

    Args:
        graph: of one type or two.
        back: where each edge's reverse should be, as of `typed["item_user"].graph` beside those
            of ("user", "item"); None: the graph itself if it is square, which then counts as one of
            one type.

    Raises:
        ValueError: `back` is not between the same two types.

    Example:
        >>> print(report(typed["user_item"].graph, typed["item_user"].graph))
    """
    square = back is None and graph.num_nodes == graph.num_targets
    if square:
        back = graph
    if back is not None and (back.num_nodes, back.num_targets) != (
        graph.num_targets,
        graph.num_nodes,
    ):
        raise ValueError(
            f"The reverse of edges from {graph.num_nodes} rows to {graph.num_targets} leads from "
            f"{graph.num_targets} to {graph.num_nodes}, got a graph from {back.num_nodes} to "
            f"{back.num_targets}."
        )
    back = None if back is None else _rising(back)
    reached = np.zeros(graph.num_targets, np.int64)
    total_weight = 0.0
    self_loops = one_way = 0
    for block in edges_of(graph, BLOCK_EDGES):
        np.add.at(reached, block.targets, 1)
        weights = np.ones(len(block)) if block.weights is None else block.weights
        total_weight += float(weights.sum(dtype=np.float64))
        self_loops += int(np.sum(block.sources == block.targets))
        if back is not None:
            one_way += int(np.sum(~_has_edges(back, block.targets, block.sources)))
    alone = graph.degrees[1:] == 0
    return GraphReport(
        num_nodes=graph.num_nodes - 1,
        num_targets=graph.num_targets - 1,
        num_edges=graph.num_edges,
        total_weight=total_weight,
        leading=Degrees.of(graph.degrees[1:]),
        reached=Degrees.of(reached[1:]),
        self_loops=self_loops if square else None,
        isolated=int(np.sum(alone & (reached[1:] == 0) if square else alone)),
        one_way=None if back is None else one_way,
    )


def _rising(graph):
    """The graph with targets that rise within each node, which those of a table do not."""
    last = -1, -1
    for block in edges_of(graph, BLOCK_EDGES):
        keys = block.sources.astype(np.int64) << 32 | block.targets
        if keys[0] < last[-1] or np.any(np.diff(keys) < 0):
            return graph.reverse().reverse()
        last = keys[-1:]
    return graph


def _has_edges(graph, sources, targets):
    """Whether the graph has these edges, bool `[n]`: one binary search for all of them."""
    low = graph.offsets[sources]
    high = ends = graph.offsets[sources.astype(np.int64) + 1]
    reached = np.asarray(graph.targets)
    while np.any(low < high):
        middle = (low + high) // 2
        before = (low < high) & (reached.take(middle, mode="clip") < targets)
        low = np.where(before, middle + 1, low)
        high = np.where(before, high, np.minimum(middle, high))
    if not len(reached):
        return low < ends
    return (low < ends) & (reached.take(low, mode="clip") == targets)


def _line(name: str, *cells: str) -> str:
    return f"{name:<24}" + "".join(f"{cell:>16}" for cell in cells)
