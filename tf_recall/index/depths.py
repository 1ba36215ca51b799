"""How much a search must look at, by how many items it asks for and how many it filters out.

The further down a query's true ranking an item is, the further its list is from the query: where
the best 500 are excluded, lists that hold 95 % of the best 100 hold far less of the next 100. So an
index measures at its build what it takes for each depth and each number of exclusions.
"""

import numpy as np
import tensorflow as tf

DEPTHS = 100 * 2 ** np.arange(8)  # up to so many items asked for: 100, ..., 12,800
SPARES = 2 ** np.arange(14)  # and so many filtered out: 1, ..., 8,192
MEASURED = 1 << 14  # ranks that are measured; beyond them all items are looked at
ERRORS = 2  # standard errors by which the measured recall must exceed what is wanted


class Ranking:
    """The true best items of some queries, to as many ranks as are measured.

    Args:
        vectors: [V, D].
        queries: [Q, D].

    Attributes:
        positions, scores: [Q, N], best first.
        rounding: [Q], by how much a score may differ by its computation.
    """

    def __init__(self, vectors: np.ndarray, queries: np.ndarray):
        self.num_items = len(vectors)
        self.depth = min(MEASURED, len(vectors))
        reach = np.linalg.norm(queries, axis=1) * np.linalg.norm(vectors, axis=1).max()
        self.rounding = 1e-5 * reach
        self.positions = np.empty([len(queries), self.depth], np.int32)
        self.scores = np.empty([len(queries), self.depth], np.float32)
        for row, query in enumerate(queries):
            scores = -(vectors @ query)
            best = np.arange(len(scores))
            if self.depth < len(scores):
                best = np.argpartition(scores, self.depth - 1)[: self.depth]
            best = best[np.argsort(scores[best], kind="stable")]
            self.positions[row] = best
            self.scores[row] = -scores[best]

    def ranks(self, spares: np.ndarray, depths: np.ndarray, at: tuple[int, int]) -> range | None:
        """The ranks that a cell of a table is about, from 0; None where they are not measured.

        Args:
            spares, depths: the table's axes.
            at: the cell.
        """
        # one excluded item of 100 changes nothing
        first = 0 if at[0] == 0 else int(spares[at[0]])
        end = min(first + int(depths[at[1]]), self.num_items)
        return range(first, end) if first < end <= self.depth else None


def surely(shares: np.ndarray) -> np.ndarray:
    """What the mean over queries exceeds but for chance: [Q, ...] -> [...]."""
    return shares.mean(0) - ERRORS * shares.std(0) / np.sqrt(len(shares))


def probe_table(
    ranking: Ranking, ranks: np.ndarray, num_lists: int, plain: int, min_recall: float
) -> np.ndarray:
    """Lists to visit for each of `SPARES` and `DEPTHS`, and beyond them: int32 `[15, 9]`.

        found[q, p] = share of the true ranks spare + 1 ... spare + depth of q in its first p lists
        probes = the fewest p at which mean_q found - 2 standard errors reaches min_recall

    It rises along both axes. Searches for up to 100 without exclusions visit `plain` lists: they
    are measured and tuned by themselves.

    Args:
        ranking: of the queries.
        ranks: `[Q, N]`, the place of the list of a query's true n-th item in the query's order of
            lists, from 0.
        num_lists: of the index.
        plain: lists that a search for up to 100 visits.
        min_recall: the recall to reach.
    """
    table = np.full([len(SPARES) + 1, len(DEPTHS) + 1], num_lists, np.int32)
    for at in np.ndindex(len(SPARES), len(DEPTHS)):
        own = ranking.ranks(SPARES, DEPTHS, at)
        if own:
            table[at] = _fewest(ranks[:, own.start : own.stop], num_lists, min_recall)
    table[0, 0] = plain
    return np.maximum.accumulate(np.maximum.accumulate(table, axis=0), axis=1)


def looked_up(
    table: tf.Tensor, spares: np.ndarray, depths: np.ndarray, spare: tf.Tensor, k: tf.Tensor
) -> tf.Tensor:
    """The cell of a table for `k` items where up to `spare` more are filtered out.

    Args:
        table: `[len(spares) + 1, len(depths) + 1, ...]`.
        spares, depths: the numbers up to which its rows and columns hold; the last ones hold for
            all above.
        spare, k: scalars.
    """
    row = tf.searchsorted(tf.constant(spares, tf.int32), spare[None])[0]
    column = tf.searchsorted(tf.constant(depths, tf.int32), k[None])[0]
    return table[row, column]


def _fewest(ranks, num_lists, min_recall):
    number, depth = ranks.shape
    cells = (np.arange(number)[:, None] * num_lists + ranks).ravel()
    counts = np.bincount(cells, minlength=number * num_lists).reshape(number, num_lists)
    enough = surely(np.cumsum(counts, axis=1) / depth) >= min_recall  # [C]
    return 1 + int(np.argmax(enough)) if enough.any() else num_lists
