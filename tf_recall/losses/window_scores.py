"""Scores of rows with several positives: centers and their contexts."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tf_recall.losses.scores import (
    corrected,
    own_scores,
    scaled,
    shared_vectors,
    shifted_scores,
)
from tf_recall.negatives.base import Candidates


class WindowScores(NamedTuple):
    """The scores of centers with their contexts, which neighboring centers share, and negatives.

    positive[t, p] = query[t] . item[p] / temperature - log_q[item p],
        valid where p is a context of t
    negative[t, j] = query[t] . item[j] / temperature - log_q[item j]
    times[t, j] = how many contexts of t have another id than id[j];  0 where j is not valid

    T centers are in G segments of I, T = G * I, and the centers of a segment share its J contexts.

    Args:
        positive: `[T, P]`, P = J + E.
        valid: `[T, P]`, 1 or 0.
        negatives: `[T, N + H]`, the N that all rows share, then each row's own.
        times: `[T, N + H]`.
        num_own: H.
    """

    positive: tf.Tensor
    valid: tf.Tensor
    negatives: tf.Tensor
    times: tf.Tensor
    num_own: tf.Tensor

    @classmethod
    def of(
        cls,
        query: tf.Tensor,
        contexts: tf.Tensor,
        ids: tf.Tensor,
        valid: tf.Tensor,
        candidates: list[Candidates],
        extra: Candidates | None = None,
        temperature: float | tf.Tensor = 1.0,
        log_q: Callable | None = None,
    ) -> "WindowScores":
        """Computes the scores of vectors.

        Args:
            query: `[G, I, D]`, the centers.
            contexts: `[G, J, D]`.
            ids: `[G, J]`, the contexts' ids.
            valid: bool `[G, I, J]`, which are contexts of which center.
            candidates: a list of `Candidates`.
            extra: `Candidates` `[T, E]`, positives of a center outside its window; None: none.
            temperature: above 0.
            log_q: `ids [...] -> [...]`; None: no correction.
        """
        query = scaled(query, temperature)
        valid = tf.cast(valid, tf.float32)
        centers = tf.reshape(query, [-1, query.shape[2]])  # [T, D]
        positive = tf.matmul(query, tf.cast(contexts, tf.float32), transpose_b=True)  # [G, I, J]
        positive = flat(corrected(positive, ids[:, None], log_q))  # [T, J]
        num = tf.reshape(tf.reduce_sum(valid, axis=2), [-1, 1])  # [T, 1]
        if extra is not None:
            beside = own_scores(centers, extra._replace(valid=None), log_q)
            positive = tf.concat([positive, beside], axis=1)  # [T, J + E]
            num += tf.reduce_sum(tf.cast(extra.valid, tf.float32), axis=1, keepdims=True)

        negatives = []
        times = []
        for drawn in sorted(candidates, key=lambda drawn: not drawn.shared):
            if drawn.shared:
                negatives.append(shifted_scores(centers, *shared_vectors(drawn, log_q)))  # [T, N]
            else:
                negatives.append(own_scores(centers, drawn, log_q))  # [T, H]
            left = num - hits(valid, ids, extra, drawn)
            times.append(left if drawn.valid is None else tf.where(drawn.valid, left, 0))
        valid = flat(valid)
        if extra is not None:
            valid = tf.concat([valid, tf.cast(extra.valid, tf.float32)], axis=1)
        num_own = sum(tf.shape(drawn.ids)[1] for drawn in candidates if not drawn.shared)
        return cls(positive, valid, tf.concat(negatives, axis=1), tf.concat(times, axis=1), num_own)


def flat(values: tf.Tensor) -> tf.Tensor:
    """The rows of all segments: `[G, I, N] -> [G * I, N]`."""
    return tf.reshape(values, [-1, values.shape[2] or tf.shape(values)[2]])


def hits(
    valid: tf.Tensor, ids: tf.Tensor, extra: Candidates | None, drawn: Candidates
) -> tf.Tensor:
    """How many positives of a center have the id of each drawn item: `[T, N]` or `[T, H]`.

    A context of a segment is compared with a draw once, for all centers of the segment.

    Args:
        valid: `[G, I, J]` float32, 1 or 0.
        ids: `[G, J]`.
        extra: as `WindowScores.of`.
        drawn: `Candidates`.
    """
    size = valid.shape[1]
    if drawn.shared:
        hit = tf.cast(ids[:, :, None] == drawn.ids, tf.float32)  # [G, J, N]
        found = flat(tf.matmul(valid, hit))  # [T, N]
    else:
        own = tf.reshape(drawn.ids, [-1, size, tf.shape(drawn.ids)[1]])  # [G, I, H]
        hit = tf.cast(ids[:, None, :, None] == own[:, :, None], tf.float32)  # [G, I, J, H]
        found = flat(tf.einsum("gij,gijh->gih", valid, hit))  # [T, H]
    if extra is None:
        return found
    negatives = drawn.ids[None] if drawn.shared else drawn.ids  # [1 or T, N]
    same = tf.cast(extra.ids[:, :, None] == negatives[:, None], tf.float32)  # [T, E, N]
    return found + tf.einsum("te,ten->tn", tf.cast(extra.valid, tf.float32), same)
