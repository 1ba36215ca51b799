"""Scores of queries and items: divided by the temperature, corrected by log q, masked."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tf_recall.negatives.base import Candidates

MASKED = -1e30  # finite, so that it makes no NaN; exp of it is 0


class Scores(NamedTuple):
    """A batch's scores by their factors, so that `[B, N]` need not exist at once.

    positive[i] = query[i] . item[i] / temperature - log_q[item i]
    negative[i, j] = query[i] . item[j] / temperature - log_q[item j],
        masked where id[j] == id[i] or j is not valid

    log q is subtracted *after* the division. Make it by `of`.

    Args:
        query: `[B, D]` float32, divided by the temperature.
        positive: `[B]`.
        ids: `[B]`, the positives' ids.
        own: `[B, H]`, scores of each row's own negatives, masked.
        items: `[N, D]`, the negatives that all rows share.
        item_ids: `[N]`.
        shift: `[N]`, is added to `query . item`: minus log q, or `MASKED`.
    """

    query: tf.Tensor
    positive: tf.Tensor
    ids: tf.Tensor
    own: tf.Tensor
    items: tf.Tensor
    item_ids: tf.Tensor
    shift: tf.Tensor

    @classmethod
    def of(
        cls,
        query: tf.Tensor,
        item: tf.Tensor,
        ids: tf.Tensor,
        candidates: list[Candidates],
        temperature: float | tf.Tensor = 1.0,
        log_q: Callable | None = None,
        merge: bool = False,
    ) -> "Scores":
        """Computes the scores of vectors.

        Args:
            query, item: `[B, D]`, the rows' queries and positives.
            ids: `[B]`, the positives' ids.
            candidates: a list of `Candidates`.
            temperature: above 0.
            log_q: `ids [...] -> [...]`; None: no correction.
            merge: make one negative of those with one id and one vector, with `+ log(count)`: the
                same for a softmax, and less work. The number of negatives then varies by step.
        """
        query = scaled(query, temperature)
        item = tf.cast(item, tf.float32)
        positive = corrected(tf.reduce_sum(query * item, axis=1), ids, log_q)  # [B]

        none = Candidates(tf.zeros([0], ids.dtype), tf.zeros([0, item.shape[1]]))
        own = [positive[:, None][:, :0]]  # no columns, where no row has negatives of its own
        shared = [_shared(none, log_q)]
        equal = []  # those of one id have one vector, so that they may be merged
        for drawn in candidates:
            if not drawn.shared:
                scores = own_scores(query, drawn, log_q)
                own.append(masked(scores, drawn.ids != ids[:, None]))
            elif merge and drawn.fresh and drawn.valid is None:
                equal.append(drawn)
            else:
                shared.append(_shared(drawn, log_q))
        if equal:
            shared.append(_merged(equal, log_q))
        items, item_ids, shift = (tf.concat(part, axis=0) for part in zip(*shared, strict=True))
        return cls(query, positive, ids, tf.concat(own, axis=1), items, item_ids, shift)

    def table(self) -> tuple[tf.Tensor, tf.Tensor]:
        """All scores, a row's positive first: `[B, 1 + N + H]`; and a mask of negatives.

        The mask, bool `[B, N + H]`, is true for negatives that count.
        """
        negatives = self.own
        # where none are shared, a product of no columns would crash oneDNN
        if self.items.shape[0] != 0:
            shared = masked_scores(self.query, self.items, self.ids, self.item_ids, self.shift)
            negatives = tf.concat([shared, self.own], axis=1)  # [B, N + H]
        return tf.concat([self.positive[:, None], negatives], axis=1), negatives > MASKED / 2


def scaled(query: tf.Tensor, temperature: float | tf.Tensor) -> tf.Tensor:
    """Queries `[..., D]` divided by the temperature, so that their products are: float32."""
    return tf.cast(query, tf.float32) / temperature


def corrected(scores: tf.Tensor, ids: tf.Tensor, log_q: Callable | None) -> tf.Tensor:
    """Scores less the log q of their items; as they are where `log_q` is None."""
    return scores if log_q is None else scores - log_q(ids)


def masked(scores: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
    """Scores, and `MASKED` where they do not count; `counts` is bool of their shape."""
    return tf.where(counts, scores, MASKED)


def masked_scores(
    query: tf.Tensor, items: tf.Tensor, ids: tf.Tensor, item_ids: tf.Tensor, shift: tf.Tensor
) -> tf.Tensor:
    """Scores `[R, N]` of shared negatives, masked where one is the row's own positive.

    Args:
        query: `[R, D]`, divided by the temperature.
        items: `[N, D]`.
        ids: `[R]`, the positives' ids.
        item_ids: `[N]`.
        shift: `[N]`, is added to the products.
    """
    return masked(shifted_scores(query, items, shift), ids[:, None] != item_ids)


def shifted_scores(query: tf.Tensor, items: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    """Scores `[R, N]` of queries `[R, D]` and shared items `[N, D]`, plus shift `[N]`."""
    return tf.matmul(query, items, transpose_b=True) + shift


def own_scores(query: tf.Tensor, candidates: Candidates, log_q: Callable | None) -> tf.Tensor:
    """Scores `[B, H]` of each row's own candidates, masked where one is not valid."""
    scores = tf.linalg.matvec(tf.cast(candidates.vectors, tf.float32), query)
    scores = corrected(scores, candidates.ids, log_q)
    return scores if candidates.valid is None else masked(scores, candidates.valid)


def shared_vectors(candidates: Candidates, log_q: Callable | None) -> tuple[tf.Tensor, tf.Tensor]:
    """Vectors `[N, D]` and shift `[N]` of shared candidates."""
    shift = corrected(tf.zeros(tf.shape(candidates.ids)), candidates.ids, log_q)
    if candidates.valid is not None:
        shift = masked(shift, candidates.valid)
    return tf.cast(candidates.vectors, tf.float32), shift


def _shared(candidates, log_q):
    vectors, shift = shared_vectors(candidates, log_q)
    return vectors, candidates.ids, shift


def _merged(candidates, log_q):
    """As `_shared`, of several candidates together, each id once."""
    ids = tf.concat([drawn.ids for drawn in candidates], axis=0)
    ids, position, count = tf.unique_with_counts(ids)
    first = tf.math.unsorted_segment_min(tf.range(tf.size(position)), position, tf.size(ids))
    vectors = tf.gather(tf.concat([drawn.vectors for drawn in candidates], axis=0), first)
    vectors, ids, shift = _shared(Candidates(ids, vectors), log_q)
    return vectors, ids, shift + tf.math.log(tf.cast(count, tf.float32))
