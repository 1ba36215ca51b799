"""Softmax losses: the positive against its negatives."""

import keras
import tensorflow as tf

from tf_recall.losses.base import ScoreLoss
from tf_recall.losses.chunked import softmax_loss


@keras.saving.register_keras_serializable("tf_recall")
class UncorrectedSoftmax(ScoreLoss):
    """The softmax of the positive against its negatives, without log q (METHODS.md L1).

    loss[i] = -log( exp s[i, +] / (exp s[i, +] + sum_j exp s[i, j]) )

    With `WholeCatalog` as the negatives it is L1, the softmax over the catalog. With drawn
    negatives it learns the score less log q, and recommends popular items too seldom:
    `SampledSoftmax` corrects that.

    Args:
        temperature: as `Loss`.

    Raises:
        ValueError: the temperature is not above 0.

    Example:
        >>> TwoTower(users, items, negatives=WholeCatalog(), loss=UncorrectedSoftmax(0.1))

    Paper: Covington et al. 2016, "Deep Neural Networks for YouTube Recommendations", section 3.1.
    """

    merges = True

    def rows(self, positive, negatives, mask):
        # differences stay small, and the log-sum exact
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
    """The softmax against drawn negatives, corrected by log q (METHODS.md L4; with `InBatch` L7).

    G[i, j] = query[i] . item[j] / temperature - log_q[j]
    loss[i] = -log( exp G[i, +] / (exp G[i, +] + sum_j exp G[i, j]) )

    In the mean over draws it learns the same scores as the softmax over the whole catalog. Its
    value and gradients are those of `RetrievalTask`, which is TensorFlow Recommenders'; besides, it
    is exact for sampling probabilities below 1e-6, and over shared negatives its memory does not
    grow with B times N.

    Args:
        temperature: as `Loss`.

    Raises:
        ValueError: the temperature is not above 0.

    Example:
        >>> TwoTower(users, items, negatives=InBatch(), loss=SampledSoftmax(temperature=0.05))

    Paper: Yi et al. 2019, "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item
        Recommendations", section 3.
    """

    corrected = True
