"""What an evaluation found, for reading and for JSON."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Report:
    """Figures of a model beside those of popularity on the same cases.

    Args:
        metrics: the model's, by name: `{"recall@20": 0.21, ...}`; None where a figure is not
            defined.
        baseline: popularity's, under the same names.
        slices: for `cold_items` (no training interaction), `cold_users` (unknown, or fewer than
            five), `head_items` (the most popular, which together take half of the training
            interactions) and `tail_items` (all others, the cold ones among them):
            `{"cases": ..., "pairs": ..., "metrics": {...}, "baseline": {...}}`. Items outside a
            slice count neither as relevant nor as hits, while they keep their ranks in the lists.
        counts: `cases` evaluated, their relevant `pairs`, of these `unreachable` (their item is
            unknown to the catalog: always a miss) with `unreachable_share`, the `seen_pairs` left
            out since the user has them in the training part already, the `seen_cases` left out
            since nothing remained, and the catalog's `items`.

    Example:
        >>> print(report)
        >>> json.dumps(report.to_dict())
    """

    metrics: dict[str, float | None]
    baseline: dict[str, float | None]
    slices: dict[str, dict]
    counts: dict[str, int | float]

    def to_dict(self) -> dict:
        """Plain dicts and numbers, fit for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        counts = self.counts
        lines = [
            f"{counts['cases']:,} cases, {counts['pairs']:,} held-out pairs, {counts['items']:,} "
            "items in the catalog"
        ]
        if counts["unreachable"]:
            lines.append(
                f"{counts['unreachable']:,} pairs ({counts['unreachable_share']:.1%}) hold an item "
                "the catalog lacks"
            )
        if counts["seen_pairs"]:
            lines.append(
                f"{counts['seen_pairs']:,} pairs and {counts['seen_cases']:,} cases left out: seen "
                "in training"
            )
        lines += ["", _line("", "model", "popularity")]
        lines += [_line(name, value, self.baseline[name]) for name, value in self.metrics.items()]
        for name, part in self.slices.items():
            lines += ["", f"{name}: {part['cases']:,} cases, {part['pairs']:,} pairs"]
            recall = {
                key: value for key, value in part["metrics"].items() if key.startswith("recall@")
            }
            lines += [_line(key, value, part["baseline"][key]) for key, value in recall.items()]
        return "\n".join(lines)


def _line(name: str, *cells: str | float | None) -> str:
    shown = (
        "-" if cell is None else cell if isinstance(cell, str) else f"{cell:.4f}" for cell in cells
    )
    return f"{name:<24}" + "".join(f"{cell:>12}" for cell in shown)
