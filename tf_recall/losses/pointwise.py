"""Losses that classify each pair by itself as positive or negative."""

import math

import keras
import tensorflow as tf

from tf_recall.data.ranges import NumberAbove0
from tf_recall.losses.base import (
    Loss,
    ScoreLoss,
    Temperature,
    check,
    check_fresh,
    mean,
    weighted_mean,
)
from tf_recall.losses.window_scores import WindowScores


@keras.saving.register_keras_serializable("tf_recall")
class PointwiseCrossEntropy(ScoreLoss):
    """The cross-entropy of each pair by itself, positive or negative (METHODS.md L9).

    loss[i] = log(1 + exp(-s[i, +])) + ratio * mean_j log(1 + exp(s[i, j]))

    Args:
        ratio: the weight of the mean over the negatives, as of so many of them; above 0.
        temperature: as `Loss`.

    Raises:
        ValueError: the ratio or the temperature is not above 0.

    Example:
        >>> TwoTower(users, items, negatives=Uniform(num=512), loss=PointwiseCrossEntropy(ratio=3))
    """

    tunable = {**ScoreLoss.tunable, "ratio": [0.5, 20.0, "log"]}

    def __init__(self, ratio: NumberAbove0 = 3.0, temperature: Temperature | None = None) -> None:
        super().__init__(temperature)
        check("ratio", ratio)
        self.ratio = ratio

    def rows(self, positive, negatives, mask):
        of_negatives = mean(tf.nn.softplus(tf.where(mask, negatives, 0)), mask)  # [B]
        return tf.nn.softplus(-positive) + self.ratio * of_negatives

    def get_config(self) -> dict:
        return {**super().get_config(), "ratio": self.ratio}


@keras.saving.register_keras_serializable("tf_recall")
class SquaredError(Loss):
    """How far the score of a pair seen is from its label; negatives do not count (METHODS.md L10).

    loss[i] = (y[i] - s[i, +])^2

    The label is the row's weight, such as a rating, or 1 where there is none. It is the loss of
    matrix completion, which foretells labels; what was never seen it says nothing about.

    Example:
        >>> MatrixCompletion(dim=16, loss=SquaredError())
    """

    scale_free = True
    tunable: dict = {}

    def __init__(self) -> None:
        super().__init__()

    def of_vectors(
        self, query, item, ids, candidates, step=0, log_q=None, weight=None, merge=False
    ):
        score = tf.reduce_sum(tf.cast(query, tf.float32) * tf.cast(item, tf.float32), axis=1)
        label = 1.0 if weight is None else tf.cast(weight, tf.float32)
        return tf.reduce_mean(tf.square(label - score))

    def get_config(self) -> dict:
        return {}

    @classmethod
    def from_config(cls, config: dict) -> "SquaredError":
        return cls(**config)


@keras.saving.register_keras_serializable("tf_recall")
class NEG(ScoreLoss):
    """Negative sampling: drawn items are classified as negative, uncorrected (METHODS.md L3).

    loss[i] = log(1 + exp(-s[i, +]))
              + negatives / N * sum_{j of the N shared, not masked} log(1 + exp(s[i, j]))
              + sum_{j of the row's own, not masked} log(1 + exp(s[i, j]))

    It learns s = log( P(t | i) / (negatives * Q(t)) ): how much more often than by chance the two
    occur together. Where a row has several positives (the contexts of a center), each has the loss
    of one row, and they share the N draws. A row's own negatives (a rejection, an item of the same
    city) are no sample of a larger set: each counts once.

    Args:
        negatives: the weight of the N shared draws for each positive, as of so many draws; above 0.
            Word2vec uses 5 for large data, up to 20 for small.
        temperature: as `Loss`.

    Raises:
        ValueError: negatives or the temperature is not above 0.

    Example:
        >>> Item2Vec(dim=64, negatives=Popularity(num=64), loss=NEG(negatives=5))

    Paper: Mikolov et al. 2013, "Distributed Representations of Words and Phrases and their
        Compositionality", section 2.2.
    """

    several_positives = True

    tunable = {**ScoreLoss.tunable, "negatives": [1.0, 50.0, "log"]}

    def __init__(
        self, negatives: NumberAbove0 = 5.0, temperature: Temperature | None = None
    ) -> None:
        super().__init__(temperature)
        check("negatives", negatives)
        self.negatives = negatives

    @property
    def shift(self) -> float:
        """The number that is subtracted from every score."""
        return 0.0

    def of(self, scores, weight=None):
        table, mask = scores.table()
        num_own = tf.shape(scores.own)[1]
        return weighted_mean(self._of_one(table[:, 0], table[:, 1:], mask, num_own), weight)

    def rows(self, positive, negatives, mask):
        return self._of_one(positive, negatives, mask, num_own=0)

    def _of_one(self, positive, negatives, mask, num_own):
        positives = positive[:, None]  # [B, 1]
        times = tf.cast(mask, tf.float32)
        return self.several(positives, tf.ones_like(positives), negatives, times, num_own)

    def of_windows(self, query, contexts, ids, valid, candidates, extra=None, step=0, log_q=None):
        temperature = self.temperature_at(step)
        log_q = log_q if self.corrected else None
        scores = WindowScores.of(query, contexts, ids, valid, candidates, extra, temperature, log_q)
        return tf.reduce_mean(self.several(*scores))

    def several(
        self,
        positives: tf.Tensor,
        valid: tf.Tensor,
        negatives: tf.Tensor,
        times: tf.Tensor,
        num_own: int | tf.Tensor = 0,
    ) -> tf.Tensor:
        """Each row's loss `[B]` where it has several positives.

        Args:
            positives: `[B, P]`.
            valid: `[B, P]`, 1 where a positive counts, else 0.
            negatives: `[B, N]`.
            times: `[B, N]`, of how many of the row's positives each is a negative.
            num_own: how many of the negatives, the last ones, are the row's own.
        """
        of_positives = tf.reduce_sum(tf.nn.softplus(self.shift - positives) * valid, axis=1)
        losses = tf.nn.softplus(negatives - self.shift) * times  # [B, N]
        of_negatives = tf.linalg.matvec(losses, self.shares(tf.shape(negatives)[1], num_own))
        return of_positives + of_negatives

    def shares(self, num: int | tf.Tensor, num_own: int | tf.Tensor) -> tf.Tensor:
        """The weight of each of `num` negatives, `[num]`; the last `num_own` are the row's own."""
        num_shared = num - num_own
        share = self.negatives / tf.cast(tf.maximum(num_shared, 1), tf.float32)
        shared = tf.fill([num_shared], share)
        return tf.concat([shared, tf.ones([num_own])], axis=0)

    def get_config(self) -> dict:
        return {**super().get_config(), "negatives": self.negatives}


@keras.saving.register_keras_serializable("tf_recall")
class NCE(NEG):
    """Noise contrastive estimation: `NEG`, corrected by sampling probabilities (METHODS.md L2).

    G[i, j] = s[i, j] - log( negatives * Q[j] )
    loss[i] = log(1 + exp(-G[i, +]))
              + negatives / N * sum_{j of N, not masked} log(1 + exp(G[i, j]))

    It learns s = log P(t | i), a normalized probability: popular items score high, where `NEG`
    learns the lift. With N = negatives and one positive a row its value is that of `NCELoss`, which
    is TensorFlow's. Q is an item's share of all draws together, so here a row's own negatives have
    the weight of shared ones.

    Args:
        negatives, temperature: as `NEG`.

    Raises:
        ValueError: negatives or the temperature is not above 0; in a model, a sampler of stale
            vectors alone.

    Example:
        >>> Item2Vec(dim=64, negatives=Popularity(num=64), loss=NCE(negatives=5))

    Paper: Gutmann and Hyvarinen 2010, "Noise-contrastive estimation: A new estimation principle for
        unnormalized statistical models", section 2.
    """

    corrected = True

    @property
    def shift(self):
        return math.log(self.negatives)

    def check_negatives(self, negatives):
        check_fresh(self, negatives)

    def shares(self, num, num_own):
        return tf.fill([num], self.negatives / tf.cast(tf.maximum(num, 1), tf.float32))
