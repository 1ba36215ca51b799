"""What a loss is: vectors of queries, positives and negatives in, one number out."""

from numbers import Real

import keras
import tensorflow as tf

from tf_recall.losses.scores import Scores

LOWEST = 1e-3  # temperature that a schedule may reach: some end at 0


class Loss:
    """What ties query, positive and negatives: the contract that a model trains by.

    loss = sum_i weight[i] * loss[i] / B

    A model calls `of_vectors`, or `of_windows` where a row has several positives. Most losses are
    functions of the scores alone: they derive from `ScoreLoss`.

    Args:
        temperature: what scores are divided by: a number above 0, a schedule of
            `keras.optimizers.schedules` (held above 0.001), or `LearnedTemperature()`. The smaller
            it is, the more the negatives of the highest scores count.

    Raises:
        ValueError: the temperature is not above 0.
    """

    corrected = False  # whether log q is subtracted from the scores
    merges = False  # whether a negative that comes `count` times may be one with `+ log(count)`
    several_positives = False  # whether it has `of_windows`

    def __init__(self, temperature=1.0):
        if not callable(temperature):
            check("temperature", temperature, "a number above 0, a schedule or learned")
        self.temperature = temperature

    def temperature_at(self, step):
        """The temperature of a training step."""
        if not callable(self.temperature):
            return self.temperature
        return tf.maximum(self.temperature(step), LOWEST)

    def check_negatives(self, negatives):
        """Raises a ValueError where the loss cannot take what a sampler draws."""

    def of_vectors(
        self, query, item, ids, candidates, step=0, log_q=None, weight=None, merge=False
    ) -> tf.Tensor:
        """The loss of rows with one positive each: a float32 scalar, their mean.

        Args:
            query: `[B, D]`.
            item: `[B, D]`, the rows' positives.
            ids: `[B]`, the positives' ids.
            candidates: a list of `Candidates`, the negatives.
            step: of the training, for the temperature.
            log_q: `ids [...] -> [...]`, the log of an item's sampling probability.
            weight: `[B]`; None: all one. The mean divides by B, as Keras does, not by their sum.
            merge: whether the number of negatives may become known only at run time.
        """
        raise NotImplementedError

    def of_windows(
        self, query, contexts, ids, valid, candidates, extra=None, step=0, log_q=None
    ) -> tf.Tensor:
        """The loss of centers with several positives each, their contexts: a float32 scalar, the
        mean over the G * I centers.

        Args:
            query: `[G, I, D]`, the centers, in G segments of I.
            contexts: `[G, J, D]`, the contexts that a segment has.
            ids: `[G, J]`, the contexts' ids.
            valid: bool `[G, I, J]`, which are contexts of which center: at most J - I of each.
            candidates: a list of `Candidates`, the negatives.
            extra: `Candidates` `[G * I, E]`, positives of a center besides; None: none.
            step, log_q: as in `of_vectors`.
        """
        raise NotImplementedError

    def get_config(self):
        temperature = self.temperature
        if not isinstance(temperature, Real):
            temperature = keras.saving.serialize_keras_object(temperature)
        return {"temperature": temperature}

    @classmethod
    def from_config(cls, config):
        temperature = config["temperature"]
        if isinstance(temperature, dict):
            temperature = keras.saving.deserialize_keras_object(temperature)
        return cls(**{**config, "temperature": temperature})


class ScoreLoss(Loss):
    """A loss of scores `[B, 1 + N]`: a row's positive, then its negatives. A subclass has `rows`.

    Args: `temperature`, see `Loss`.

    Call: scores `[B, 1 + N]`, already divided by the temperature; mask `[B, N]`, which negatives
        count (None: all); weight `[B]` (None: all one) -> a scalar.
    """

    def __call__(self, scores, mask=None, weight=None):
        scores = tf.cast(scores, tf.float32)
        mask = tf.ones_like(scores[:, 1:], tf.bool) if mask is None else mask
        return weighted_mean(self.rows(scores[:, 0], scores[:, 1:], mask), weight)

    def rows(self, positive, negatives, mask) -> tf.Tensor:
        """Each row's loss `[B]`, of `positive` `[B]`, `negatives` `[B, N]`, `mask` `[B, N]`."""
        raise NotImplementedError

    def of(self, scores: Scores, weight=None) -> tf.Tensor:
        """The loss of `Scores`."""
        return self(*scores.table(), weight)

    def of_vectors(
        self, query, item, ids, candidates, step=0, log_q=None, weight=None, merge=False
    ):
        temperature = self.temperature_at(step)
        log_q = log_q if self.corrected else None
        merge = merge and self.merges
        scores = Scores.of(query, item, ids, candidates, temperature, log_q, merge)
        return self.of(scores, weight)


def weighted_mean(rows, weight):
    """The mean of `rows` `[B]` times `weight` `[B]`; None: all one."""
    return tf.reduce_mean(rows if weight is None else rows * tf.cast(weight, tf.float32))


def check(name, value, allowed="a number above 0"):
    if not (isinstance(value, Real) and 0 < value < float("inf")):
        raise ValueError(f"{name} must be {allowed}, not {value!r}")


def mean(losses, mask):
    """Over the negatives that count: `[B, N]` -> `[B]`, 0 where none does."""
    count = tf.reduce_sum(tf.cast(mask, tf.float32), axis=1)
    return tf.reduce_sum(tf.where(mask, losses, 0), axis=1) / tf.maximum(count, 1)
