"""Losses of how far a negative scores above the positive."""

import keras
import tensorflow as tf

from tf_recall.losses.base import Loss, check, mean


class _Pairwise(Loss):
    """The mean over a row's negatives of a loss of `gap[i, j] = s[i, j] - s[i, +]`; a row without
    negatives has loss 0.
    """

    def rows(self, positive, negatives, mask):
        gap = tf.where(mask, negatives - positive[:, None], 0)
        return mean(self.pairs(gap), mask)

    def pairs(self, gap):
        raise NotImplementedError


@keras.saving.register_keras_serializable("tf_recall")
class Hinge(_Pairwise):
    """Every negative at least a margin below the positive: METHODS.md L5.

    loss[i] = mean_j max(0, margin + s[i, j] - s[i, +])

    Args:
        margin: above 0, in units of the score.
        temperature: see `Loss`.

    Raises:
        ValueError: the margin or the temperature is not above 0.

    Ying et al., "Graph Convolutional Neural Networks for Web-Scale Recommender Systems", KDD 2018,
    section 3.3.
    """

    def __init__(self, margin=0.1, temperature=1.0):
        super().__init__(temperature)
        check("margin", margin)
        self.margin = margin

    def pairs(self, gap):
        return tf.nn.relu(self.margin + gap)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin}


@keras.saving.register_keras_serializable("tf_recall")
class BPR(_Pairwise):
    """The log odds that the positive ranks above a negative: METHODS.md L6.

    loss[i] = mean_j log( 1 + exp(s[i, j] - s[i, +]) )

    Args: `temperature`, see `Loss`. Between unit vectors scores differ by 2 at most: give it one
        well below 1.

    Rendle et al., "BPR: Bayesian Personalized Ranking from Implicit Feedback", UAI 2009, section 4.
    """

    def pairs(self, gap):
        return tf.nn.softplus(gap)


@keras.saving.register_keras_serializable("tf_recall")
class TripletLogistic(_Pairwise):
    """A hinge with a soft knee: METHODS.md L8.

    loss[i] = mean_j log( 1 + exp(sigma * (s[i, j] - s[i, +])) )

    Args:
        sigma: above 0, how steep.
        temperature: see `Loss`.

    Raises:
        ValueError: sigma or the temperature is not above 0.
    """

    def __init__(self, sigma=10.0, temperature=1.0):
        super().__init__(temperature)
        check("sigma", sigma)
        self.sigma = sigma

    def pairs(self, gap):
        return tf.nn.softplus(self.sigma * gap)

    def get_config(self):
        return {**super().get_config(), "sigma": self.sigma}
