"""Question four: the loss that ties query, positive and rivals. Losses see scores only."""

import math
from numbers import Real

import keras
import tensorflow as tf

from tf_recall.softmax import softmax_loss

LOWEST = 1e-3  # temperature that a schedule may reach: some end at 0


class Loss:
    """A loss of scores `[B, 1 + N]`: a row's positive, then its rivals.

    loss = sum_i weight[i] * loss[i] / B

    Args:
        temperature: what scores are divided by before the loss sees them: a number above 0, a schedule of
            `keras.optimizers.schedules` (held above 0.001), or `LearnedTemperature()`. A small one punishes every near
            rival hard.

    Call: scores `[B, 1 + N]`, mask `[B, N]` which rivals count (None: all), weight `[B]` (None: all one) -> scalar. The
        mean divides by B, as Keras does, not by the weights' sum.

    Raises:
        ValueError: the temperature is not above 0.
    """

    corrected = False  # whether scores have log q subtracted
    merges = False  # whether a rival that comes `count` times may be one with `+ log(count)`

    def __init__(self, temperature=1.0):
        if not callable(temperature):
            _check("temperature", temperature, "a number above 0, a schedule or learned")
        self.temperature = temperature

    def temperature_at(self, step):
        """The temperature of a step of the training."""
        return tf.maximum(self.temperature(step), LOWEST) if callable(self.temperature) else self.temperature

    def __call__(self, scores, mask=None, weight=None):
        scores = tf.cast(scores, tf.float32)
        mask = tf.ones_like(scores[:, 1:], tf.bool) if mask is None else mask
        rows = self.rows(scores[:, 0], scores[:, 1:], mask)  # [B]
        return tf.reduce_mean(rows if weight is None else rows * tf.cast(weight, tf.float32))

    def of(self, scores, weight=None):
        """The loss of `Scores`."""
        return self(*scores.table(), weight)

    def rows(self, positive, rivals, mask):
        """Each row's loss `[B]`, from `positive` `[B]`, `rivals` `[B, N]` and `mask` `[B, N]`."""
        raise NotImplementedError

    def get_config(self):
        number = isinstance(self.temperature, Real)
        return {"temperature": self.temperature if number else keras.saving.serialize_keras_object(self.temperature)}

    @classmethod
    def from_config(cls, config):
        if isinstance(config["temperature"], dict):
            config = {**config, "temperature": keras.saving.deserialize_keras_object(config["temperature"])}
        return cls(**config)


@keras.saving.register_keras_serializable("tf_recall")
class FullSoftmax(Loss):
    """Softmax of the positive against its rivals as they come: METHODS.md L1, where they are the `WholeCatalogue`.

    loss[i] = -log( exp s[i, +] / (exp s[i, +] + sum_j exp s[i, j]) )

    Nothing is subtracted for how likely a rival was to be drawn. With drawn rivals it therefore learns the score less
    the log of their shares, and recommends what is popular too seldom: that is what `SampledSoftmax` mends.

    Args: `temperature`, see `Loss`.

    Example:
        >>> TwoTower(query_tower, item_tower, WholeCatalogue(), FullSoftmax(temperature=0.1))

    Covington, Adams, Sargin, "Deep Neural Networks for YouTube Recommendations", RecSys 2016, section 3.1.
    """

    merges = True

    def rows(self, positive, rivals, mask):
        gap = tf.where(mask, rivals - positive[:, None], rivals.dtype.min)  # small, where log-sums of scores are not
        return tf.reduce_logsumexp(tf.pad(gap, [[0, 0], [1, 0]]), axis=1)

    def of(self, scores, weight=None):
        if scores.items.shape[0] == 0:
            return super().of(scores, weight)
        size = tf.shape(scores.query)[0]
        weight = tf.ones([size]) if weight is None else tf.cast(weight, tf.float32)
        return softmax_loss(scores, weight / tf.cast(size, tf.float32))


@keras.saving.register_keras_serializable("tf_recall")
class SampledSoftmax(FullSoftmax):
    """Softmax against drawn rivals, corrected for how likely each was to be drawn: METHODS.md L4; L7 with `InBatch`.

    G[i, j] = query[i] . item[j] / temperature - log_q[j]
    loss[i] = -log( exp G[i, +] / (exp G[i, +] + sum_j exp G[i, j]) )

    In the mean over draws it learns what the softmax over the whole catalogue would. Over rivals that all rows share,
    its value and gradients are those of `tensorflow_recommenders.tasks.Retrieval`, for prices below 1e-6 too, and
    memory does not grow with B times N.

    Args: `temperature`, see `Loss`.

    Example:
        >>> TwoTower(query_tower, item_tower, InBatch(), SampledSoftmax(temperature=0.05))

    Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", RecSys 2019, section 3.
    """

    corrected = True


class _Pairwise(Loss):
    """The mean over a row's rivals of a loss of `gap[i, j] = s[i, j] - s[i, +]`; a row without rivals has loss 0."""

    def rows(self, positive, rivals, mask):
        gap = tf.where(mask, rivals - positive[:, None], 0)
        return _mean(self.pairs(gap), mask)

    def pairs(self, gap):
        raise NotImplementedError


@keras.saving.register_keras_serializable("tf_recall")
class Hinge(_Pairwise):
    """Every rival at least a margin below the positive: METHODS.md L5.

    loss[i] = mean_j max(0, margin + s[i, j] - s[i, +])

    Args:
        margin: above 0, in units of the score.
        temperature: see `Loss`.

    Raises:
        ValueError: the margin or the temperature is not above 0.

    Ying et al., "Graph Convolutional Neural Networks for Web-Scale Recommender Systems", KDD 2018, section 3.3.
    """

    def __init__(self, margin=0.1, temperature=1.0):
        super().__init__(temperature)
        _check("margin", margin)
        self.margin = margin

    def pairs(self, gap):
        return tf.nn.relu(self.margin + gap)

    def get_config(self):
        return {**super().get_config(), "margin": self.margin}


@keras.saving.register_keras_serializable("tf_recall")
class BPR(_Pairwise):
    """The log odds that the positive ranks above a rival: METHODS.md L6.

    loss[i] = mean_j log( 1 + exp(s[i, j] - s[i, +]) )

    Args: `temperature`, see `Loss`. Between unit vectors scores differ by 2 at most: give it one well below 1.

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
        _check("sigma", sigma)
        self.sigma = sigma

    def pairs(self, gap):
        return tf.nn.softplus(self.sigma * gap)

    def get_config(self):
        return {**super().get_config(), "sigma": self.sigma}


@keras.saving.register_keras_serializable("tf_recall")
class PointwiseCrossEntropy(Loss):
    """Positive or not, each pair by itself: METHODS.md L9.

    loss[i] = log(1 + exp(-s[i, +])) + ratio * mean_j log(1 + exp(s[i, j]))

    Args:
        ratio: how many rivals the mean of them all stands for, above 0.
        temperature: see `Loss`.

    Raises:
        ValueError: the ratio or the temperature is not above 0.
    """

    def __init__(self, ratio=3.0, temperature=1.0):
        super().__init__(temperature)
        _check("ratio", ratio)
        self.ratio = ratio

    def rows(self, positive, rivals, mask):
        return tf.nn.softplus(-positive) + self.ratio * _mean(tf.nn.softplus(tf.where(mask, rivals, 0)), mask)

    def get_config(self):
        return {**super().get_config(), "ratio": self.ratio}


@keras.saving.register_keras_serializable("tf_recall")
class NEG(Loss):
    """Negative sampling: positive or drawn, each pair by itself, nothing subtracted: METHODS.md L3.

    loss[i] = log(1 + exp(-s[i, +])) + negatives / N * sum_{j of the N shared} log(1 + exp(s[i, j]))
                                     + sum_{j of the row's own} log(1 + exp(s[i, j])),  masked ones left out

    It learns s = log( P(t | i) / (negatives * Q(t)) ): how much likelier than by chance the two come together. Where a
    row has several positives (the contexts of a centre), each has the loss of one row, and they share the N draws. A
    row's own negatives (a rejection, an item of the same city) are no sample of something larger: each counts once.

    Args:
        negatives: how many draws the N shared ones stand for, beside each positive; above 0. 5 is word2vec's for
            large data, up to 20 for small.
        temperature: see `Loss`.

    Raises:
        ValueError: negatives or the temperature is not above 0.

    Example:
        >>> Item2Vec(dim=64, negatives=Popularity(num=64), loss=NEG(negatives=5))

    Mikolov et al., "Distributed Representations of Words and Phrases and their Compositionality", NIPS 2013, section
    2.2.
    """

    def __init__(self, negatives=5.0, temperature=1.0):
        super().__init__(temperature)
        _check("negatives", negatives)
        self.negatives = negatives

    @property
    def shift(self):
        """What is subtracted from every score."""
        return 0.0

    def of(self, scores, weight=None):
        table, mask = scores.table()
        rows = self.several(*_one(table[:, 0], table[:, 1:], mask), tf.shape(scores.own)[1])
        return tf.reduce_mean(rows if weight is None else rows * tf.cast(weight, tf.float32))

    def rows(self, positive, rivals, mask):
        return self.several(*_one(positive, rivals, mask))

    def several(self, positives, valid, rivals, times, num_own=0):
        """Each row's loss `[B]` where it has several positives.

        Args:
            positives: `[B, P]`.
            valid: `[B, P]`, 1 where a positive counts, else 0.
            rivals: `[B, N]`.
            times: `[B, N]`, of how many of the row's positives each is a rival.
            num_own: how many of the rivals, the last ones, are the row's own.
        """
        near = tf.reduce_sum(tf.nn.softplus(self.shift - positives) * valid, axis=1)
        far = tf.linalg.matvec(tf.nn.softplus(rivals - self.shift) * times, self.shares(tf.shape(rivals)[1], num_own))
        return near + far

    def shares(self, num, num_own):
        """What each of `num` rivals weighs: `[num]`."""
        num_shared = num - num_own
        shared = tf.fill([num_shared], self.negatives / tf.cast(tf.maximum(num_shared, 1), tf.float32))
        return tf.concat([shared, tf.ones([num_own])], axis=0)

    def get_config(self):
        return {**super().get_config(), "negatives": self.negatives}


@keras.saving.register_keras_serializable("tf_recall")
class NCE(NEG):
    """Noise contrastive estimation: negative sampling corrected for how likely each item was drawn: METHODS.md L2.

    G[i, j] = s[i, j] - log( negatives * Q[j] )
    loss[i] = log(1 + exp(-G[i, +])) + negatives / N * sum_{j of N, not masked} log(1 + exp(G[i, j]))

    It learns s = log P(t | i), a normalised probability: popular items score high, where `NEG` learns the lift. With
    N = negatives its value is `tf.nn.nce_loss`'s, for one positive a row. The price is that of all draws together, so
    here a row's own negatives weigh what the shared ones do.

    Args: `negatives` and `temperature`, see `NEG`.

    Raises:
        ValueError: negatives or the temperature is not above 0.

    Gutmann, Hyvarinen, "Noise-contrastive estimation: A new estimation principle for unnormalized statistical models",
    AISTATS 2010, section 2.
    """

    corrected = True

    @property
    def shift(self):
        return math.log(self.negatives)

    def shares(self, num, num_own):
        return tf.fill([num], self.negatives / tf.cast(tf.maximum(num, 1), tf.float32))


def _check(name, value, allowed="a number above 0"):
    if not (isinstance(value, Real) and 0 < value < float("inf")):
        raise ValueError(f"{name} must be {allowed}, not {value!r}")


def _one(positive, rivals, mask):
    """The arguments of `NEG.several` for one positive a row."""
    return positive[:, None], tf.ones_like(positive[:, None]), rivals, tf.cast(mask, tf.float32)


def _mean(losses, mask):
    """Over the rivals that count: `[B, N]` -> `[B]`, 0 where none does."""
    count = tf.reduce_sum(tf.cast(mask, tf.float32), axis=1)
    return tf.reduce_sum(tf.where(mask, losses, 0), axis=1) / tf.maximum(count, 1)
