"""The recall of an approximate index against exact search."""

import logging

import numpy as np
import tensorflow as tf

from tf_recall.data.tracing import traced
from tf_recall.index.base import Index
from tf_recall.index.exact import Exact

logger = logging.getLogger("tf_recall")

DEPTH = 100


class Truth:
    """The true nearest 100 of some queries, and the share of them in an answer.

        recall@k = mean over queries of |{answers whose score is no less than the true k-th}| / k

    Answers are compared by score: an item that scores as high as the one it displaced is no miss,
    so duplicates cost nothing.

    Args:
        vectors: [V, D].
        queries: [Q, D].
    """

    def __init__(self, vectors: np.ndarray, queries: np.ndarray):
        self.depth = min(DEPTH, len(vectors))
        scores, positions = Exact().build(vectors).search(queries, self.depth)
        self.queries = queries
        self.scores = scores.numpy()  # [Q, depth]
        self.positions = positions.numpy()  # [Q, depth]
        reach = np.linalg.norm(queries, axis=1) * np.linalg.norm(vectors, axis=1).max()
        self.rounding = 1e-5 * reach[:, None]  # [Q, 1]

    def recall(self, scores: np.ndarray | tf.Tensor, k: int) -> float:
        """The recall@k of answers with `scores` [Q, k or more], best first."""
        least = self.scores[:, k - 1 : k] - self.rounding  # [Q, 1]
        return float(np.mean(np.asarray(scores)[:, :k] >= least))

    def measure(self, index: Index) -> float:
        """The recall@100 of an index that has stored its vectors; logs it, and its recall@10."""
        search = traced(lambda queries: index.find(queries, tf.constant(self.depth), None)[0])
        scores = search(self.queries).numpy()
        shallow = self.recall(scores, min(10, self.depth))
        recall = self.recall(scores, self.depth)
        if recall < index.min_recall:
            logger.warning(
                "%s finds %.3f of the true nearest %d, below min_recall, %g",
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
