"""What an approximate index finds of what exact search finds."""

import logging

import numpy as np
import tensorflow as tf

from tf_recall.index.base import Index
from tf_recall.index.exact import Exact

logger = logging.getLogger("tf_recall")

DEPTH = 100


class Truth:
    """The true nearest 100 of some queries, and the share of them in an answer.

        recall@k = mean over queries of |{answers whose score is no less than the true k-th}| / k

    Answers are compared by score: an item as good as the one it displaced is no miss, so duplicates
    cost nothing.

    Args:
        vectors: [V, D].
        queries: [Q, D].
    """

    def __init__(self, vectors: np.ndarray, queries: np.ndarray):
        self.depth = min(DEPTH, len(vectors))
        scores, positions = Exact().build(vectors).search(queries, self.depth)
        self.queries, self.scores, self.positions = (
            queries,
            scores.numpy(),
            positions.numpy(),
        )  # [Q, depth]
        reach = np.linalg.norm(queries, axis=1) * np.linalg.norm(vectors, axis=1).max()
        self.rounding = 1e-5 * reach[:, None]  # [Q, 1]

    def recall(self, scores, k: int) -> float:
        """Of answers with `scores` [Q, k or more], best first."""
        return float(
            np.mean(np.asarray(scores)[:, :k] >= self.scores[:, k - 1 : k] - self.rounding)
        )

    def measure(self, index: Index) -> float:
        """Logs recall@10 and recall@100 of an index that has stored its vectors, and returns the
        latter.
        """
        search = tf.function(lambda queries: index.find(queries, tf.constant(self.depth), None)[0])
        scores = search(self.queries).numpy()
        shallow = self.recall(scores, min(10, self.depth))
        recall = self.recall(scores, self.depth)
        if recall < index.min_recall:
            logger.warning(
                "%s finds %.3f of the true nearest %d, under the wanted %g",
                index,
                recall,
                self.depth,
                index.min_recall,
            )
        logger.info(
            "%s: recall@10 %.3f, recall@%d %.3f against exact search",
            index,
            shallow,
            self.depth,
            recall,
        )
        return recall
