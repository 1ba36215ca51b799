"""How many lists a search must visit, by how many items it asks for and how many it filters out.

The further down a query's true ranking an item is, the further its list is from the query: where
the best 500 are excluded, lists that hold 95 % of the best 100 hold far less of the next 100.
"""

import numpy as np
import tensorflow as tf

DEPTHS = 100 * 2 ** np.arange(8)  # up to so many items asked for: 100, ..., 12,800
SPARES = 2 ** np.arange(14)  # and so many filtered out: 1, ..., 8,192
MEASURED = 1 << 14  # ranks whose lists are measured; beyond them every list is visited
ERRORS = 2  # standard errors by which the measured recall must exceed what is wanted


def probe_table(ranks: np.ndarray, num_items: int, num_lists: int, plain: int, min_recall: float):
    """Lists to visit for each of `SPARES` and `DEPTHS`, and beyond them: int32 `[15, 9]`.

        found[q, p] = share of the true ranks spare + 1 ... spare + depth of q in its first p lists
        probes = the fewest p at which mean_q found - 2 standard errors reaches min_recall

    It rises along both axes. Searches without exclusions for up to 100 are those that are measured
    and tuned by themselves: they visit `plain` lists.

    Args:
        ranks: `[Q, N]`, the place of the list of a query's true n-th item in the query's order of
            lists, from 0.
        num_items, num_lists: of the index.
        plain: lists that a search for up to 100 visits.
        min_recall: the recall to reach.
    """
    table = np.full([len(SPARES) + 1, len(DEPTHS) + 1], num_lists, np.int32)
    for i, spare in enumerate(SPARES):
        spare = 0 if i == 0 else spare  # one excluded item of 100 changes nothing
        for j, depth in enumerate(DEPTHS):
            end = min(spare + depth, num_items)
            if spare < end <= ranks.shape[1]:
                table[i, j] = _fewest(ranks[:, spare:end], num_lists, min_recall)
    table[0, 0] = plain
    table = np.maximum.accumulate(np.maximum.accumulate(table, axis=0), axis=1)
    return table


def probes_of(table: tf.Tensor, k: tf.Tensor, spare: tf.Tensor) -> tf.Tensor:
    """The lists to visit for `k` items where up to `spare` more are filtered out: a scalar."""
    row = tf.searchsorted(tf.constant(SPARES, tf.int32), spare[None])[0]
    column = tf.searchsorted(tf.constant(DEPTHS, tf.int32), k[None])[0]
    return table[row, column]


def true_ranking(vectors: np.ndarray, queries: np.ndarray, depth: int) -> np.ndarray:
    """The positions of the `depth` highest products of each query, best first: `[Q, depth]`."""
    ranking = np.empty([len(queries), depth], np.int32)
    for row, query in enumerate(queries):
        scores = -(vectors @ query)
        best = np.arange(len(scores))
        if depth < len(scores):
            best = np.argpartition(scores, depth - 1)[:depth]
        ranking[row] = best[np.argsort(scores[best], kind="stable")]
    return ranking


def _fewest(ranks, num_lists, min_recall):
    number, depth = ranks.shape
    cells = (np.arange(number)[:, None] * num_lists + ranks).ravel()
    counts = np.bincount(cells, minlength=number * num_lists).reshape(number, num_lists)
    found = np.cumsum(counts, axis=1) / depth  # [Q, C]
    sure = found.mean(0) - ERRORS * found.std(0) / np.sqrt(number)
    enough = sure >= min_recall
    return 1 + int(np.argmax(enough)) if enough.any() else num_lists
