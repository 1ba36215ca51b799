"""Ranks by products of vectors, without lists."""

import functools

import numpy as np
import tensorflow as tf

from tf_recall.recommend.ranks import Cells, bars, counted_ranks, within_reach

ROUNDING = 1e-5  # of unit vectors' products, each computed in other company: some 100 roundings
SHARE = 8  # one of so many items is scored first


def ranks_of_products(
    queries: np.ndarray, vectors: tf.Tensor, asked: Cells, absent: Cells, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """`count_above` of the scores `queries @ vectors.T`; of several queries a line the highest.

    The first items are scored first, in a catalog the most popular: where enough of them are above
    the best of the items asked for, the others cannot bring it within reach.

    Args:
        queries: `[B, D]`, or `[B, K, D]`.
        vectors: `[V, D]`.
        asked, absent, most: of `count_above`; a line's cells stand for a query and an item.

    Returns:
        above and near, as `count_above`.
    """
    columns = tf.transpose(vectors)  # [D, V]: products of few rows are then sooner done
    vectors = np.asarray(vectors)
    queries = queries[:, None] if queries.ndim == 2 else queries  # [B, K, D]
    longest = np.linalg.norm(queries, axis=2).max(axis=1)
    slack = ROUNDING * np.linalg.norm(vectors, axis=1).max() * longest
    slack = np.nan_to_num(slack, nan=np.inf)
    line, item = asked
    own = np.einsum("pkd,pd->pk", queries[line], vectors[item]).max(axis=1)
    bar = np.full(len(queries), -np.inf, np.float32)  # of a line without an item: it is out
    with np.errstate(invalid="ignore"):  # NaN stays, and the list says so
        np.maximum.at(bar, line, bars(own, slack[line])[0])
    away = np.bincount(absent[0], minlength=len(queries))
    num_first = -(-len(vectors) // SHARE)
    first = columns[:, :num_first]
    kept = within_reach(lambda at: _highest(queries[at], first), bar, most + away, num_first)
    queries = queries[kept]
    some, rest = (_among(cells, kept) for cells in (asked, absent))
    above = np.full(len(line), max(most, len(vectors)))
    near = np.zeros(len(line), np.int64)
    above[some[0]], near[some[0]] = counted_ranks(
        lambda at: _highest(queries[at], columns),
        (len(queries), len(vectors)),
        some[1],
        rest[1],
        most,
        slack[kept],
    )
    return above, near


def _highest(queries, columns):
    """The scores of each line, `[b, V]`: the highest of its queries."""
    each = (np.asarray(tf.matmul(query, columns)) for query in queries.swapaxes(0, 1))
    return functools.reduce(np.maximum, each)


def _among(cells, lines):
    """The cells of some lines: which they are, and the same in a matrix of these lines alone."""
    line, column = cells
    at = np.minimum(np.searchsorted(lines, line), max(len(lines) - 1, 0))
    which = np.flatnonzero(lines[at] == line) if len(lines) else np.zeros(0, int)
    return which, (at[which], column[which])
