"""Softmax of the positive against its negatives."""

import keras
import tensorflow as tf

from tf_recall.losses.base import Loss
from tf_recall.losses.chunked import softmax_loss


@keras.saving.register_keras_serializable("tf_recall")
class UncorrectedSoftmax(Loss):
    """Softmax of the positive against its negatives as they come: METHODS.md L1, where they are the
    `WholeCatalog`.

    loss[i] = -log( exp s[i, +] / (exp s[i, +] + sum_j exp s[i, j]) )

    Nothing is subtracted for how likely a negative was to be drawn. With drawn negatives it
    therefore learns the score less the log of their shares, and recommends what is popular too
    seldom: that is what `SampledSoftmax` mends.

    Args: `temperature`, see `Loss`.

    Example:
        >>> TwoTower(query_tower, item_tower, WholeCatalog(), UncorrectedSoftmax(temperature=0.1))

    Covington, Adams, Sargin, "Deep Neural Networks for YouTube Recommendations", RecSys 2016,
    section 3.1.
    """

    merges = True

    def rows(self, positive, negatives, mask):
        # small, where log-sums of scores are not
        gap = tf.where(mask, negatives - positive[:, None], negatives.dtype.min)
        return tf.reduce_logsumexp(tf.pad(gap, [[0, 0], [1, 0]]), axis=1)

    def of(self, scores, weight=None):
        if scores.items.shape[0] == 0:
            return super().of(scores, weight)
        size = tf.shape(scores.query)[0]
        weight = tf.ones([size]) if weight is None else tf.cast(weight, tf.float32)
        return softmax_loss(scores, weight / tf.cast(size, tf.float32))


@keras.saving.register_keras_serializable("tf_recall")
class SampledSoftmax(UncorrectedSoftmax):
    """Softmax against drawn negatives, corrected for how likely each was to be drawn:
    METHODS.md L4; L7 with `InBatch`.

    G[i, j] = query[i] . item[j] / temperature - log_q[j]
    loss[i] = -log( exp G[i, +] / (exp G[i, +] + sum_j exp G[i, j]) )

    In the mean over draws it learns what the softmax over the whole catalog would. Over negatives
    that all rows share, its value and gradients are those of
    `tensorflow_recommenders.tasks.Retrieval`, for prices below 1e-6 too, and memory does not grow
    with B times N.

    Args: `temperature`, see `Loss`.

    Example:
        >>> TwoTower(query_tower, item_tower, InBatch(), SampledSoftmax(temperature=0.05))

    Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations",
    RecSys 2019, section 3.
    """

    corrected = True
