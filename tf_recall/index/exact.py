"""Exact search: the score of every item, in blocks of bounded memory."""

import numpy as np
import tensorflow as tf

from tf_recall.index.base import MOST_SCORES, Index, in_parts

BLOCK = 1 << 18  # items scored at a time
GROUP = 64
MANY = 1 << 15


class Exact(Index):
    """Scores every item: the right answer, against which approximate indexes are measured.

        scores = queries @ vectors.T;  top k of each row, the lower position first of equal scores

    From 32,768 items on the top k is found in two steps: the k groups of 64 items with the highest
    maxima, then the k best among their members. No other group can hold one of the k best: the same
    answer, several times sooner.

    Example:
        >>> vectors = np.random.default_rng(0).normal(size=(1000, 8))
        >>> seen = [[3, 8], [5, -1]]
        >>> scores, positions = Exact().build(vectors).search(vectors[:2], k=10, exclude=seen)
    """

    def _store(self, vectors, queries):
        self.vectors = tf.Variable(vectors, trainable=False, name="vectors")
        self.recall = 1.0

    def vectors_at(self, positions: np.ndarray | tf.Tensor) -> tf.Tensor:
        # From the value: a gather from the variable itself would make TensorFlow copy all of it at
        # each later read.
        return tf.gather(self.vectors.value(), tf.maximum(positions, 0))

    def find(
        self, queries: tf.Tensor, k: tf.Tensor, exclude: tf.Tensor | None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        rows = MOST_SCORES // min(self.num_items, BLOCK)
        return in_parts(
            lambda queries, exclude: self._find(queries, k, exclude), rows, queries, exclude
        )

    def _find(self, queries, k, exclude):
        rows = tf.shape(queries)[0]
        if self.num_items < MANY:  # one block, nothing to merge
            scores, positions = self._block(queries, self.vectors.value(), k, exclude, 0, _top_k)
            short = [[0, 0], [0, tf.maximum(k - self.num_items, 0)]]
            scores = tf.pad(scores, short, constant_values=-np.inf)
            return scores, tf.pad(positions, short, constant_values=-1)
        best = tf.fill([rows, k], -np.inf), tf.fill([rows, k], -1)  # [B, k] each
        whole = self.num_items // GROUP * GROUP
        best = self._scan(best, queries, exclude, 0, whole, _grouped_top_k)
        if whole < self.num_items:
            best = self._scan(best, queries, exclude, whole, self.num_items, _top_k)
        return best

    def _scan(self, best, queries, exclude, first: int, last: int, top_k):
        """Merges the items from position `first` to `last` into `best`, a block at a time."""
        k = tf.shape(best[0])[1]
        vectors = self.vectors.value()

        def step(start, scores, positions):
            stop = tf.minimum(start + BLOCK, last)
            block = self._block(queries, vectors[start:stop], k, exclude, start, top_k)
            scores = tf.concat([scores, block[0]], 1)
            positions = tf.concat([positions, block[1]], 1)
            scores, order = tf.math.top_k(scores, k)
            return stop, scores, tf.gather(positions, order, batch_dims=1)

        shapes = [tf.TensorShape([]), *[tf.TensorShape([None, None])] * 2]
        return tf.while_loop(lambda start, *_: start < last, step, [first, *best], shapes)[1:]

    def _block(self, queries, vectors, k, exclude, start, top_k):
        """Scores and positions, [B, up to k], of the best of `vectors`, which begin at `start`."""
        scores = tf.matmul(queries, vectors, transpose_b=True)  # [B, block]
        if exclude is not None:
            scores = tf.cond(
                tf.size(exclude) > 0, lambda: _masked(scores, exclude - start), lambda: scores
            )
        scores, order = top_k(scores, k)
        return scores, order + start


def _masked(scores: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """`scores` with -inf in each row's `columns` [B, E]; columns outside of it mean nothing."""
    where = tf.where((columns >= 0) & (columns < tf.shape(scores)[1]))  # [X, 2]
    cells = tf.stack([tf.cast(where[:, 0], tf.int32), tf.gather_nd(columns, where)], 1)
    return tf.tensor_scatter_nd_update(scores, cells, tf.fill([tf.shape(cells)[0]], -np.inf))


def _top_k(scores: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.math.top_k(scores, tf.minimum(k, tf.shape(scores)[1]))


def _grouped_top_k(scores: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    rows = tf.shape(scores)[0]
    scores = tf.reshape(scores, [rows, -1, GROUP])  # [B, block / 64, 64]
    # in order of position, for ties
    groups = tf.sort(_top_k(tf.reduce_max(scores, 2), k)[1], axis=1)
    scores = tf.reshape(tf.gather(scores, groups, batch_dims=1), [rows, -1])
    columns = tf.reshape(groups[:, :, None] * GROUP + tf.range(GROUP), [rows, -1])
    scores, order = _top_k(scores, k)
    return scores, tf.gather(columns, order, batch_dims=1)
