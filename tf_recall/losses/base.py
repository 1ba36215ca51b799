"""What a loss is: scores, a mask and weights in, one number out."""

from numbers import Real

import keras
import tensorflow as tf

LOWEST = 1e-3  # temperature that a schedule may reach: some end at 0


class Loss:
    """A loss of scores `[B, 1 + N]`: a row's positive, then its negatives.

    loss = sum_i weight[i] * loss[i] / B

    Args:
        temperature: what scores are divided by before the loss sees them: a number above 0, a
            schedule of `keras.optimizers.schedules` (held above 0.001), or `LearnedTemperature()`.
            A small one punishes every near negative hard.

    Call: scores `[B, 1 + N]`, mask `[B, N]` which negatives count (None: all), weight `[B]` (None:
        all one) -> scalar. The mean divides by B, as Keras does, not by the weights' sum.

    Raises:
        ValueError: the temperature is not above 0.
    """

    corrected = False  # whether scores have log q subtracted
    merges = False  # whether a negative that comes `count` times may be one with `+ log(count)`

    def __init__(self, temperature=1.0):
        if not callable(temperature):
            check("temperature", temperature, "a number above 0, a schedule or learned")
        self.temperature = temperature

    def temperature_at(self, step):
        """The temperature of a step of the training."""
        return (
            tf.maximum(self.temperature(step), LOWEST)
            if callable(self.temperature)
            else self.temperature
        )

    def __call__(self, scores, mask=None, weight=None):
        scores = tf.cast(scores, tf.float32)
        mask = tf.ones_like(scores[:, 1:], tf.bool) if mask is None else mask
        rows = self.rows(scores[:, 0], scores[:, 1:], mask)  # [B]
        return tf.reduce_mean(rows if weight is None else rows * tf.cast(weight, tf.float32))

    def of(self, scores, weight=None):
        """The loss of `Scores`."""
        return self(*scores.table(), weight)

    def rows(self, positive, negatives, mask):
        """Each row's loss `[B]`, from `positive` `[B]`, `negatives` `[B, N]` and `mask`
        `[B, N]`.
        """
        raise NotImplementedError

    def get_config(self):
        number = isinstance(self.temperature, Real)
        return {
            "temperature": self.temperature
            if number
            else keras.saving.serialize_keras_object(self.temperature)
        }

    @classmethod
    def from_config(cls, config):
        if isinstance(config["temperature"], dict):
            config = {
                **config,
                "temperature": keras.saving.deserialize_keras_object(config["temperature"]),
            }
        return cls(**config)


def check(name, value, allowed="a number above 0"):
    if not (isinstance(value, Real) and 0 < value < float("inf")):
        raise ValueError(f"{name} must be {allowed}, not {value!r}")


def mean(losses, mask):
    """Over the negatives that count: `[B, N]` -> `[B]`, 0 where none does."""
    count = tf.reduce_sum(tf.cast(mask, tf.float32), axis=1)
    return tf.reduce_sum(tf.where(mask, losses, 0), axis=1) / tf.maximum(count, 1)
