"""Which color each item of a map has: by a column of the items' table, or by popularity."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tf_recall.serving.items import Items

POPULARITY = "popularity"
GROUPS = 11  # the most frequent values, each with a color; all others share one
STEPS = 8  # of a number
SEPARATORS = ("|", ";")  # of several values in one text; the first counts


@dataclass(frozen=True)
class Colors:
    """A group for each item.

    Args:
        group: uint8 `[V]`, by row.
        labels: of the groups.
        ordered: whether groups are steps of a number, rising.
    """

    group: np.ndarray
    labels: list[str]
    ordered: bool


def columns_of(items: Items) -> list[str]:
    """The columns that items may be colored by."""
    found = [name for name in items.columns if name != items.title and _tells(items.column(name))]
    return [*found, *[POPULARITY] * (items.counts is not None)]


def colors_of(items: Items, name: str) -> Colors:
    """The groups of items by a column.

    Raises:
        ValueError: items cannot be colored by it.
    """
    if name not in (known := columns_of(items)):
        by = ", ".join(known) or "nothing"
        raise ValueError(f"items cannot be colored by {name!r}; they can by: {by}")
    if name == POPULARITY:
        return _of_numbers(items.counts.astype(float))
    column = items.column(name).combine_chunks()
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        return _of_numbers(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
    return _of_texts(_texts(column))


def _tells(column):
    """Whether a column makes groups: numbers do, texts where they repeat."""
    some = column.slice(0, 5000).drop_null().combine_chunks()
    if pa.types.is_floating(some.type) or pa.types.is_integer(some.type):
        return len(some.unique()) > 1
    texts = _texts(some)
    return len(texts) > 1 and 1 < len(texts.unique()) <= max(2, 0.5 * len(texts))


def _texts(column):
    """One text for each item: of several the first."""
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        some = pc.greater(pc.list_value_length(column), 0)
        column = pc.list_element(pc.if_else(some, column, pa.scalar([""], column.type)), 0)
        return pc.if_else(some, column, None)
    column = column.cast(pa.string())
    for each in SEPARATORS:
        column = pc.list_element(pc.split_pattern(column, each, max_splits=1), 0)
    return column


def _of_texts(texts):
    coded = pc.fill_null(texts, "").dictionary_encode()
    codes = coded.indices.to_numpy()
    names = coded.dictionary.to_pylist()
    counts = np.bincount(codes, minlength=len(names))
    order = [at for at in np.argsort(-counts, kind="stable") if names[at]]
    kept = order[:GROUPS]
    group = np.full(len(names), len(kept), np.uint8)
    group[kept] = np.arange(len(kept))
    rest = "others" if len(order) > GROUPS else "unknown"
    labels = [names[at] for at in kept]
    return Colors(group[codes], [*labels, rest] if len(kept) < len(names) else labels, False)


def _of_numbers(values):
    known = np.isfinite(values)
    edges = np.unique(np.quantile(values[known], np.linspace(0, 1, STEPS + 1), method="lower"))
    group = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, max(0, len(edges) - 2))
    labels = [f"{low:,.6g} to {high:,.6g}" for low, high in zip(edges, edges[1:], strict=False)]
    labels = labels or [f"{edges[0]:,.6g}"]
    if not known.all():
        group[~known] = len(labels)
        labels.append("unknown")
    return Colors(group.astype(np.uint8), labels, True)
