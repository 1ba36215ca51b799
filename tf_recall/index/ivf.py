"""Approximate search in stock TensorFlow operations: an inverted file of lists around centroids."""

import numpy as np
import tensorflow as tf

from tf_recall.index.base import MOST_SCORES, Index, checked_settings, in_parts
from tf_recall.index.lists import directions, partition
from tf_recall.index.recall import Truth

GROUP = 16


class IVF(Index):
    """Scores only the lists whose centroids look best to the query; runs on any TensorFlow server.

        x_v = (vector_v, sqrt(longest^2 - |vector_v|^2))
        list(v) = argmax_c direction(x_v) . centroid_c
        search: the `num_probes` lists with the largest query . centroid, every item in them scored
            exactly, top k

    The extra coordinate makes all x_v equally long, so that nearest by angle is best by dot
    product, for vectors of any length (a query has 0 there); for unit vectors it is 0. A list over
    twice the mean length is halved until none is. Queries that visit the same list are scored by
    one matrix product that reads it once: search in batches.

    Args:
        num_lists: about how many lists; sqrt(V) by default.
        num_probes: how many a query visits; by default the fewest that find `min_recall` of the
            true nearest 100. A search for more items than so many of the smallest lists hold visits
            more.
        min_recall: the recall to reach; a fixed `num_probes` that misses it is warned of.
        seed: of the k-means.

    Example:
        index = IVF().build(vectors)                    # logs its recall and keeps it in
        index.recall scores, positions = index.search(queries, k=100)

    Reference: Sivic and Zisserman, Video Google, ICCV 2003 (lists around k-means centroids);
        Bachrach et al., Speeding
    Up the Xbox Recommender System, RecSys 2014 (the extra coordinate).
    """

    def __init__(
        self,
        num_lists: int | None = None,
        num_probes: int | None = None,
        min_recall: float = 0.95,
        seed: int = 0,
    ):
        super().__init__()
        checked_settings(min_recall, num_lists=num_lists, num_probes=num_probes)
        self.num_lists, self.num_probes, self.min_recall, self.seed = (
            num_lists,
            num_probes,
            min_recall,
            seed,
        )

    def get_config(self):
        names = ("num_lists", "num_probes", "min_recall", "seed")
        return {name: getattr(self, name) for name in names}

    def _store(self, vectors, queries):
        num_lists = min(self.num_lists or round(len(vectors) ** 0.5), len(vectors))
        centroids, members = partition(directions(vectors), num_lists, self.seed)
        lengths = np.array([len(rows) for rows in members])
        order = np.concatenate(members)
        self.width = -(-int(lengths.max()) // GROUP) * GROUP
        self.centroids = _constant(centroids[:, :-1], "centroids")  # [C, D]
        self.starts = _constant(np.append(0, np.cumsum(lengths)), "starts")  # [C + 1]
        self.held = _constant(
            np.cumsum(np.sort(lengths)), "held"
        )  # [C] by any 1, 2, ... lists, at least
        self.vectors = _constant(vectors[order], "vectors")  # [V, D], list after list
        self.positions = _constant(order, "positions")  # [V] of each slot
        self.slots = _constant(np.argsort(order), "slots")  # [V] of each position
        truth = Truth(vectors, queries)
        self.probes = min(self.num_probes or self._enough(truth), len(members))
        self.recall = truth.measure(self)

    def _enough(self, truth: Truth) -> int:
        """The fewest lists that hold `min_recall` of the true nearest items."""
        order = np.argsort(
            -truth.queries @ self.centroids.numpy().T, axis=1, kind="stable"
        )  # [Q, C]
        rank = np.argsort(order, axis=1)
        lists = (
            np.searchsorted(self.starts, self.slots.numpy()[truth.positions], side="right") - 1
        )  # [Q, depth]
        return (
            int(np.quantile(np.take_along_axis(rank, lists, 1), self.min_recall, method="higher"))
            + 1
        )

    def vectors_at(self, positions):
        slots = tf.gather(self.slots.value(), tf.maximum(positions, 0))
        return tf.gather(self.vectors.value(), slots)

    def _nearest(self, queries, k):
        probes = tf.maximum(self.probes, 1 + tf.searchsorted(self.held.value(), k[None])[0])
        probes = tf.minimum(probes, self.centroids.shape[0])
        rows = tf.maximum(MOST_SCORES // (probes * self.width), 1)
        return in_parts(lambda queries, _: self._visit(queries, k, probes), rows, queries)

    def _visit(self, queries, k, probes):
        """The k best, [B, k], of the `probes` lists whose centroids look best to each query."""
        lists = tf.math.top_k(tf.matmul(queries, self.centroids, transpose_b=True), probes)[
            1
        ]  # [B, P]
        scores, places = self._scan(queries, lists)  # [B * P, width], [B, P]
        scores = tf.reshape(scores, [-1, GROUP])  # [B * P * groups, 16]
        groups = tf.range(self.width // GROUP)
        shape = [tf.shape(queries)[0], probes * tf.size(groups)]
        rows = tf.reshape(
            places[:, :, None] * tf.size(groups) + groups, shape
        )  # [B, P * groups] of scores
        slots = tf.reshape(
            tf.gather(self.starts.value(), lists)[:, :, None] + groups * GROUP, shape
        )
        # As in exact search: the k groups with the largest maxima hold the k best.
        best = tf.math.top_k(tf.gather(tf.reduce_max(scores, 1), rows), tf.minimum(k, shape[1]))[1]
        scores = tf.gather(scores, tf.gather(rows, best, batch_dims=1))  # [B, k, 16]
        slots = tf.gather(slots, best, batch_dims=1)[:, :, None] + tf.range(GROUP)
        flat = [shape[0], tf.shape(best)[1] * GROUP]
        scores, order = tf.math.top_k(tf.reshape(scores, flat), k)
        slots = tf.gather(tf.reshape(slots, flat), order, batch_dims=1)
        return scores, tf.gather(self.positions.value(), tf.minimum(slots, self.num_items - 1))

    def _scan(self, queries, lists):
        """Scores in the order of the lists, [B * P, width], -inf past a list's end, and which row
        is whose, [B, P].
        """
        flat = tf.reshape(lists, [-1])
        order = tf.argsort(flat, stable=True)
        visited, _, visitors = tf.unique_with_counts(tf.gather(flat, order))
        rows, ends = order // tf.shape(lists)[1], tf.cumsum(visitors)
        vectors, starts = self.vectors.value(), self.starts.value()

        def step(i, scores):
            start, stop = starts[visited[i]], starts[visited[i] + 1]
            visiting = tf.gather(queries, rows[ends[i] - visitors[i] : ends[i]])
            found = tf.matmul(visiting, vectors[start:stop], transpose_b=True)
            found = tf.pad(
                found, [[0, 0], [0, self.width - (stop - start)]], constant_values=-np.inf
            )
            return i + 1, scores.write(i, found)

        number = tf.size(visited)
        scores = tf.TensorArray(
            tf.float32, number, infer_shape=False, element_shape=[None, self.width]
        )
        scores = tf.while_loop(lambda i, _: i < number, step, [0, scores])[1].concat()
        return scores, tf.reshape(tf.math.invert_permutation(order), tf.shape(lists))

    def __str__(self):
        lists = f"{self.centroids.shape[0]:,} lists, {self.probes} visited"
        sizes = f"{self.num_items:,} vectors in {lists}"
        return f"IVF({sizes})"


def _constant(values: np.ndarray, name: str) -> tf.Variable:
    dtype = tf.float32 if values.dtype.kind == "f" else tf.int32
    return tf.Variable(values, trainable=False, dtype=dtype, name=name)
