"""Weighted sums in parts: from blocks of edges, and added up again, so that no node has too many
neighbors.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse


class Nodes(NamedTuple):
    """Vectors of some nodes: rows `[n]` int64, vectors `[n, D]` float32."""

    rows: np.ndarray
    vectors: np.ndarray


class Edges(NamedTuple):
    """Edges from sources to targets `[E]` int64, their weights float32, at least 0."""

    sources: np.ndarray
    targets: np.ndarray
    weights: np.ndarray


class Sums(NamedTuple):
    """A part of what nodes hear: distinct rows `[n]`, sums `[n, M]` float32 of weight * message,
    weights `[n]`.
    """

    rows: np.ndarray
    sums: np.ndarray
    weights: np.ndarray


def merged(blocks, title: str) -> Nodes:
    """The nodes of several blocks, by row.

    Raises:
        ValueError: a row comes twice, or vectors are of unequal length.
    """
    lengths = {block.vectors.shape[1] for block in blocks}
    if len(lengths) > 1:
        raise ValueError(
            f"{title}: the vectors are of unequal length, {min(lengths)} to {max(lengths)}"
        )
    if not blocks:
        return Nodes(np.empty(0, np.int64), np.empty((0, 0), np.float32))
    rows = np.concatenate([block.rows for block in blocks])
    order = np.argsort(rows, kind="stable")
    rows = rows[order]
    twice = np.flatnonzero(rows[1:] == rows[:-1])
    if twice.size:
        raise ValueError(f"{title}: row {rows[twice[0]]} comes more than once")
    return Nodes(rows, np.concatenate([block.vectors for block in blocks])[order])


def places(rows: np.ndarray, wanted: np.ndarray, title: str, end: str) -> np.ndarray:
    """Where in the rising `rows` the wanted ones are.

    Raises:
        ValueError: one is not there.
    """
    at = np.searchsorted(rows, wanted)
    missing = (
        np.flatnonzero(np.append(rows, -1)[at] != wanted) if len(rows) else np.arange(len(wanted))
    )
    if missing.size:
        raise ValueError(
            f"{title}: an edge has the {end} {wanted[missing[0]]}, and no node has this row"
        )
    return at


def summed(edges: Edges, at: np.ndarray, messages: np.ndarray) -> Sums:
    """What the sources hear along these edges, whose targets say `messages[at]`, `[m, M]` float64.

    sums_v = sum over the edges (v, u) of weight * messages_u;  weights_v = sum of the weights
    """
    rows, hears = np.unique(edges.sources, return_inverse=True)
    matrix = sparse.csr_array(
        (edges.weights.astype(np.float64), (hears, at)), shape=(len(rows), len(messages))
    )
    return Sums(
        rows, (matrix @ messages).astype(np.float32), np.bincount(hears, edges.weights, len(rows))
    )


class Pool:
    """What the nodes `rows` hear, added up part by part in float64: their number is no matter.

    pooled_v = sum of the parts' sums_v / sum of the parts' weights_v, 0 where nobody speaks
    """

    def __init__(self, rows: np.ndarray, message_dim: int, title: str):
        self._rows, self._title = rows, title
        self._sums, self._weights = np.zeros((len(rows), message_dim)), np.zeros(len(rows))

    def add(self, part: Sums) -> None:
        """Adds a part.

        Raises:
            ValueError: it is of a row that no node has.
        """
        at = places(self._rows, part.rows, self._title, "source")
        self._sums[at] += part.sums  # the rows of a part are distinct
        self._weights[at] += part.weights

    @property
    def mean(self) -> np.ndarray:
        """float32 `[n, M]`."""
        weights = self._weights[:, None]
        return np.divide(
            self._sums, weights, out=np.zeros_like(self._sums), where=weights > 0
        ).astype(np.float32)


def shards(rows: np.ndarray, num_shards: int):
    """The shards of rows and where in `rows` each has its own: `[(shard, places)]`.

    shard = row modulo num_shards

    Vocabularies are often ordered by frequency: so each shard gets its part of the busy rows, and
    holes do no harm.
    """
    of = rows % num_shards
    order = np.argsort(of, kind="stable")
    found, starts = np.unique(of[order], return_index=True)
    return list(zip(found.tolist(), np.split(order, starts)[1:], strict=True))
