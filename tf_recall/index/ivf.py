"""Approximate search in plain TensorFlow ops: lists of items around centroids."""

import numpy as np
import tensorflow as tf

from tf_recall.data.ranges import Seed, ShareTo1, WholeFrom1
from tf_recall.index.base import MOST_SCORES, Index, checked_settings, in_parts
from tf_recall.index.depths import DEPTHS, SPARES, Ranking, looked_up, probe_table
from tf_recall.index.lists import directions, partition
from tf_recall.index.recall import Truth

GROUP = 16


class IVF(Index):
    """Scores only the lists of items whose centroids score highest; runs on any TensorFlow server.

        x_v = (vector_v, sqrt(longest^2 - |vector_v|^2))
        list(v) = argmax_c direction(x_v) . centroid_c
        search: the `num_probes` lists of highest query . centroid, every item in them scored
            exactly, top k

    The extra coordinate makes all x_v equally long, so that nearest by angle is best by dot
    product, for vectors of any length (a query has 0 there); for unit vectors it is 0. A list over
    twice the mean length is halved until none is. Queries that visit the same list are scored by
    one matrix product that reads it once: search in batches.

    Args:
        num_lists: about how many lists; sqrt(V) by default.
        num_probes: how many lists a query visits; by default the fewest that find `min_recall` of
            the true nearest 100, and more for searches that ask for more or exclude items, as
            measured at the build. With a number of its own every search visits so many, and more
            only where they hold too few items.
        min_recall: the recall to reach, at any k and with any exclusions; a warning is logged where
            a fixed `num_probes` misses it.
        seed: of the k-means.

    Example:
        >>> vectors = np.random.default_rng(0).normal(size=(1000, 8))
        >>> index = IVF().build(vectors)            # logs its recall, and keeps it as index.recall
        >>> scores, positions = index.search(vectors[:2], k=100)

    Paper: Sivic and Zisserman 2003, "Video Google: A Text Retrieval Approach to Object Matching in
        Videos", section 4: lists around centroids of k-means.
    Paper: Bachrach et al. 2014, "Speeding Up the Xbox Recommender System Using a Euclidean
        Transformation for Inner-Product Spaces", section 3: the extra coordinate.
    """

    def __init__(
        self,
        num_lists: WholeFrom1 | None = None,
        num_probes: WholeFrom1 | None = None,
        min_recall: ShareTo1 = 0.95,
        seed: Seed = 0,
    ):
        super().__init__()
        checked_settings(min_recall, num_lists=num_lists, num_probes=num_probes)
        if not 0 <= seed < 1 << 32:
            raise ValueError(f"seed must be between 0 and {(1 << 32) - 1}, got {seed}")
        self.num_lists = num_lists
        self.num_probes = num_probes
        self.min_recall = min_recall
        self.seed = seed

    def get_config(self) -> dict:
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
        held = np.cumsum(np.sort(lengths))  # [C], by any 1, 2, ... lists, at least
        self.held = _constant(held, "held")
        self.vectors = _constant(vectors[order], "vectors")  # [V, D], list after list
        self.positions = _constant(order, "positions")  # [V] of each slot
        self.slots = _constant(np.argsort(order), "slots")  # [V] of each position
        if self.num_probes:
            table = np.full([len(SPARES) + 1, len(DEPTHS) + 1], min(self.num_probes, len(members)))
        else:
            table = self._table(vectors, queries)
        self.probes = int(table[0, 0])
        self.table = _constant(table, "probes")
        self.recall = Truth(vectors, queries).measure(self)

    def _table(self, vectors, queries):
        """The fewest lists that hold `min_recall` of what searches ask for, as `probe_table`."""
        ranking = Ranking(vectors, queries)
        scores = queries @ self.centroids.numpy().T  # [Q, C]
        rank = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1)
        slots = self.slots.numpy()[ranking.positions]
        lists = np.searchsorted(self.starts, slots, side="right") - 1  # [Q, N]
        ranks = np.take_along_axis(rank, lists, 1)
        plain = int(np.quantile(ranks[:, : DEPTHS[0]], self.min_recall, method="higher")) + 1
        return probe_table(ranking, ranks, self.centroids.shape[0], plain, self.min_recall)

    def vectors_at(self, positions: np.ndarray | tf.Tensor) -> tf.Tensor:
        slots = tf.gather(self.slots.value(), tf.maximum(positions, 0))
        return tf.gather(self.vectors.value(), slots)

    def _nearest(self, queries, k, spare):
        wanted = self._wanted(k, spare)
        hold = 1 + tf.searchsorted(self.held.value(), wanted[None])[0]
        probes = tf.maximum(looked_up(self.table.value(), SPARES, DEPTHS, spare, k), hold)
        probes = tf.minimum(probes, self.centroids.shape[0])
        rows = tf.maximum(MOST_SCORES // (probes * self.width), 1)
        return in_parts(lambda queries, _: self._visit(queries, wanted, probes), rows, queries)

    def _visit(self, queries, k, probes):
        """The k best, [B, k], of the `probes` lists whose centroids score highest for a query."""
        by_centroid = tf.matmul(queries, self.centroids, transpose_b=True)  # [B, C]
        lists = tf.math.top_k(by_centroid, probes)[1]  # [B, P]
        scores, scored = self._scan(queries, lists)  # [B * P, width], [B, P]
        scores = tf.reshape(scores, [-1, GROUP])  # [B * P * groups, 16]
        groups = tf.range(self.width // GROUP)
        shape = [tf.shape(queries)[0], probes * tf.size(groups)]  # [B, P * groups]
        rows = tf.reshape(scored[:, :, None] * tf.size(groups) + groups, shape)  # of scores
        starts = tf.gather(self.starts.value(), lists)[:, :, None]  # [B, P, 1]
        slots = tf.reshape(starts + groups * GROUP, shape)
        # as in exact search: the k groups of highest maxima hold the k best
        best = tf.math.top_k(tf.gather(tf.reduce_max(scores, 1), rows), tf.minimum(k, shape[1]))[1]
        scores = tf.gather(scores, tf.gather(rows, best, batch_dims=1))  # [B, k, 16]
        slots = tf.gather(slots, best, batch_dims=1)[:, :, None] + tf.range(GROUP)
        flat = [shape[0], tf.shape(best)[1] * GROUP]
        scores, order = tf.math.top_k(tf.reshape(scores, flat), k)
        slots = tf.gather(tf.reshape(slots, flat), order, batch_dims=1)
        return scores, tf.gather(self.positions.value(), tf.minimum(slots, self.num_items - 1))

    def _scan(self, queries, lists):
        """Scores [B * P, width], by list, and which row of them is of each query's list, [B, P].

        A row ends in -inf where its list is shorter than the longest.
        """
        flat = tf.reshape(lists, [-1])
        order = tf.argsort(flat, stable=True)
        visited, _, visitors = tf.unique_with_counts(tf.gather(flat, order))
        rows = order // tf.shape(lists)[1]
        ends = tf.cumsum(visitors)
        vectors = self.vectors.value()
        starts = self.starts.value()

        def step(i, scores):
            start, stop = starts[visited[i]], starts[visited[i] + 1]
            visiting = tf.gather(queries, rows[ends[i] - visitors[i] : ends[i]])
            found = tf.matmul(visiting, vectors[start:stop], transpose_b=True)
            short = self.width - (stop - start)
            found = tf.pad(found, [[0, 0], [0, short]], constant_values=-np.inf)
            return i + 1, scores.write(i, found)

        number = tf.size(visited)
        scores = tf.TensorArray(
            tf.float32, number, infer_shape=False, element_shape=[None, self.width]
        )
        scores = tf.while_loop(lambda i, _: i < number, step, [0, scores])[1].concat()
        return scores, tf.reshape(tf.math.invert_permutation(order), tf.shape(lists))

    def __str__(self):
        lists = f"{self.centroids.shape[0]:,} lists, {self.probes} visited"
        return f"IVF({self.num_items:,} vectors in {lists})"


def _constant(values: np.ndarray, name: str) -> tf.Variable:
    dtype = tf.float32 if values.dtype.kind == "f" else tf.int32
    return tf.Variable(values, trainable=False, dtype=dtype, name=name)
