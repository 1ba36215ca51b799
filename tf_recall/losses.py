"""Question four: the loss that ties query, positive and rivals."""

import functools
from numbers import Real

import keras
import tensorflow as tf
import tensorflow_recommenders as tfrs


@keras.saving.register_keras_serializable("tf_recall")
class InBatchSoftmax:
    """Softmax of each row's positive against the other rows' positives: METHODS.md L7 with N4.

    G[i, j] = query[i] . item[j] / temperature - log_q[j]
    loss[i] = -log( exp G[i, i] / (exp G[i, i] + sum_{j: id[j] != id[i]} exp G[i, j]) )
    loss = sum_i weight[i] * loss[i] / B

    Two computations of one value and gradient. Calling the loss works on the batch's *distinct* items: popular items
    repeat, and a rival that came `count` times is one column with `+ log(count)`. `reference` is
    `tensorflow_recommenders.tasks.Retrieval` on the B rows as they are, whose shapes are static.

    Args:
        temperature: above 0; a small one punishes every near rival hard.

    Call: query `[B, dim]`, item `[M, dim]` the distinct items, positive `[B]` the position in `item` of each row's
        positive, count `[M]` how often each item is a positive in the batch, log_q `[M]` (None: no correction),
        weight `[B]` (None: all one) -> float32 scalar. The mean divides by B, as Keras does, not by the weights' sum.

    Raises:
        ValueError: the temperature is not above 0.

    Example:
        >>> rows, positive, count = tf.unique_with_counts(batch_rows)
        >>> loss = InBatchSoftmax(temperature=0.05)
        >>> loss(query, item_tower({"item": rows}), positive, count, log_q=negatives.log_q(rows))

    Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", RecSys 2019, section 3.
    """

    def __init__(self, temperature=1.0):
        if not isinstance(temperature, Real) or not 0 < temperature < float("inf"):
            raise ValueError(f"temperature must be a number above 0, not {temperature!r}")
        self.temperature = temperature

    def __call__(self, query, item, positive, count, log_q=None, weight=None):
        query, item = tf.cast(query, tf.float32), tf.cast(item, tf.float32)
        copies = tf.math.log(tf.cast(count, tf.float32))  # [M]
        shift = copies if log_q is None else copies - log_q
        logits = tf.matmul(query / self.temperature, item, transpose_b=True) + shift  # [B, M]
        own = tf.stack([tf.range(tf.size(positive)), tf.cast(positive, tf.int32)], axis=1)  # [B, 2]
        logits = tf.tensor_scatter_nd_sub(logits, own, tf.gather(copies, positive))
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=positive, logits=logits)  # [B]
        return tf.reduce_mean(loss if weight is None else loss * tf.cast(weight, tf.float32))

    def reference(self, query, item, ids, log_q=None, weight=None):
        """The same loss by TFRS.

        Args:
            query, item: `[B, dim]`, a row's query and its positive.
            ids: `[B]`, the positives' ids; those of equal id are no rivals.
            log_q: `[B]` or None.
            weight: `[B]` or None.
        """
        query, item = tf.cast(query, tf.float32), tf.cast(item, tf.float32)
        if log_q is not None:
            # TFRS clips probabilities at 1e-6, so log q enters as a column of the vectors instead, exactly.
            query = tf.concat([query, tf.fill([tf.shape(query)[0], 1], self.temperature)], axis=1)
            item = tf.concat([item, -tf.cast(log_q, tf.float32)[:, None]], axis=1)
        total = _tfrs_retrieval(self.temperature)(query, item, sample_weight=weight, candidate_ids=ids)
        return total / tf.cast(tf.shape(query)[0], tf.float32)

    def get_config(self):
        return {"temperature": self.temperature}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@functools.cache
def _tfrs_retrieval(temperature):
    task = tfrs.tasks.Retrieval(temperature=temperature, remove_accidental_hits=True)
    return tf.function(task, reduce_retracing=True)  # it relies on AutoGraph, which Keras 3 does not apply in `fit`
