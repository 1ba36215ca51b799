"""Losses of the difference between a negative's score and the positive's."""

import keras
import tensorflow as tf

from tf_recall.data.ranges import NumberAbove0
from tf_recall.losses.base import ScoreLoss, Temperature, check, mean


class _Pairwise(ScoreLoss):
    """The mean over a row's negatives of a loss of `gap[i, j] = s[i, j] - s[i, +]`, else 0."""

    def rows(self, positive, negatives, mask):
        gap = tf.where(mask, negatives - positive[:, None], 0)
        return mean(self.pairs(gap), mask)

    def pairs(self, gap: tf.Tensor) -> tf.Tensor:
        """The loss of each pair, `[B, N]`, of their gaps `[B, N]`."""
        raise NotImplementedError


@keras.saving.register_keras_serializable("tf_recall")
class Hinge(_Pairwise):
    """The margin loss: a negative should score a margin below the positive (METHODS.md L5).

    loss[i] = mean_j max(0, margin + s[i, j] - s[i, +])

    Args:
        margin: above 0, in units of the score.
        temperature: as `Loss`.

    Raises:
        ValueError: the margin or the temperature is not above 0.

    Example:
        >>> TwoTower(users, items, negatives=Uniform(num=512), loss=Hinge(margin=0.1))

    Paper: Ying et al. 2018, "Graph Convolutional Neural Networks for Web-Scale Recommender
        Systems", section 3.3.
    """

    tunable = {"margin": [0.02, 1.0, "log"]}  # a temperature would only scale it

    scale_free = True  # the margin is one of cosines

    def __init__(self, margin: NumberAbove0 = 0.1, temperature: Temperature | None = None) -> None:
        super().__init__(temperature)
        check("margin", margin)
        self.margin = margin

    def pairs(self, gap):
        return tf.nn.relu(self.margin + gap)

    def get_config(self) -> dict:
        return {**super().get_config(), "margin": self.margin}


class _Logistic(_Pairwise):
    """loss[i] = mean_j log( 1 + exp(sigma * (s[i, j] - s[i, +])) )"""

    sigma = 1.0

    def pairs(self, gap):
        return tf.nn.softplus(self.sigma * gap)


@keras.saving.register_keras_serializable("tf_recall")
class BPR(_Logistic):
    """The logistic loss of the positive ranking above each negative (METHODS.md L6).

    loss[i] = mean_j log( 1 + exp(s[i, j] - s[i, +]) )

    Args:
        temperature: as `Loss`.

    Raises:
        ValueError: the temperature is not above 0.

    Example:
        >>> FM(users, items, negatives=Popularity(num=256), loss=BPR())

    Paper: Rendle et al. 2009, "BPR: Bayesian Personalized Ranking from Implicit Feedback",
        section 4.
    """


@keras.saving.register_keras_serializable("tf_recall")
class TripletLogistic(_Logistic):
    """A smooth hinge: `BPR` with a steepness (METHODS.md L8).

    loss[i] = mean_j log( 1 + exp(sigma * (s[i, j] - s[i, +])) )

    Args:
        sigma: the steepness, above 0.
        temperature: as `Loss`.

    Raises:
        ValueError: sigma or the temperature is not above 0.

    Example:
        >>> TwoTower(users, items, negatives=InBatch(), loss=TripletLogistic(sigma=10))
    """

    tunable = {"sigma": [1.0, 50.0, "log"]}  # a temperature would only scale it

    scale_free = True  # sigma does what a temperature would

    def __init__(self, sigma: NumberAbove0 = 10.0, temperature: Temperature | None = None) -> None:
        super().__init__(temperature)
        check("sigma", sigma)
        self.sigma = sigma

    def get_config(self) -> dict:
        return {**super().get_config(), "sigma": self.sigma}
