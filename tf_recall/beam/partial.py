"""Weighted sums of messages from blocks of edges, added up, so that a node may have any degree."""

from collections.abc import Sequence
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
    """Partial sums of distinct rows `[n]`: of weight * message `[n, M]`, and of weights `[n]`."""

    rows: np.ndarray
    sums: np.ndarray
    weights: np.ndarray


def merged(blocks: Sequence[Nodes], title: str) -> Nodes:
    """The nodes of several blocks, by row.

    Args:
        blocks: in any order.
        title: of the table, for errors.

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


def positions(rows: np.ndarray, wanted: np.ndarray, title: str, end: str) -> np.ndarray:
    """The positions of wanted rows among rising rows.

    Args:
        rows: rising.
        wanted: `[n]` of them.
        title, end: the table and the end of its edges that names the wanted rows, for errors.

    Raises:
        ValueError: one is missing.
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
    """The messages that the sources of some edges receive from their targets, summed.

    sums_v = sum over the edges (v, u) of weight * messages_u;  weights_v = sum of the weights

    Args:
        edges: with weights.
        at: `[E]`, the position of each target's message.
        messages: `[m, M]` float64.
    """
    rows, source = np.unique(edges.sources, return_inverse=True)
    shape = len(rows), len(messages)
    matrix = sparse.csr_array((edges.weights.astype(np.float64), (source, at)), shape=shape)
    sums = (matrix @ messages).astype(np.float32)
    return Sums(rows, sums, np.bincount(source, edges.weights, len(rows)))


class Pool:
    """The weighted mean of the messages that nodes receive, from any number of partial sums.

    pooled_v = sum of the parts' sums_v / sum of the parts' weights_v, 0 without messages

    Args:
        rows: of the nodes, rising.
        message_dim: length of a message.
        title: of the table of edges, for errors.
    """

    def __init__(self, rows: np.ndarray, message_dim: int, title: str):
        self._rows = rows
        self._title = title
        self._sums = np.zeros((len(rows), message_dim))
        self._weights = np.zeros(len(rows))

    def add(self, part: Sums) -> None:
        """Adds partial sums.

        Raises:
            ValueError: a row that no node has.
        """
        at = positions(self._rows, part.rows, self._title, "source")
        self._sums[at] += part.sums  # the rows of a part are distinct
        self._weights[at] += part.weights

    @property
    def mean(self) -> np.ndarray:
        """The means: float32 `[n, M]`."""
        weights = self._weights[:, None]
        mean = np.zeros_like(self._sums)
        np.divide(self._sums, weights, out=mean, where=weights > 0)
        return mean.astype(np.float32)


def shards(rows: np.ndarray, num_shards: int) -> list[tuple[int, np.ndarray]]:
    """The shards of rows, and the positions of each one's rows: `[(shard, positions)]`.

    shard = row modulo num_shards

    Vocabularies are often ordered by frequency: so each shard gets its part of the frequent rows.
    Rows may be missing.
    """
    shard = rows % num_shards
    order = np.argsort(shard, kind="stable")
    found, starts = np.unique(shard[order], return_index=True)
    return list(zip(found.tolist(), np.split(order, starts)[1:], strict=True))
