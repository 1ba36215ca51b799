"""The base of all losses: vectors of queries, positives and negatives in, one number out."""

import math
from collections.abc import Callable
from numbers import Real

import keras
import tensorflow as tf

from tf_recall.data.ranges import NumberAbove0
from tf_recall.losses.scores import Scores
from tf_recall.losses.temperature import LearnedTemperature
from tf_recall.negatives.base import Candidates, Sampler

SPAN = 1.2  # log V times the temperature, of unit vectors
LOWEST = 1e-3  # the lowest temperature of a schedule: some end at 0


# a number, a schedule or a learned one
Temperature = NumberAbove0 | keras.optimizers.schedules.LearningRateSchedule | LearnedTemperature


class Loss:
    """The loss of queries, their positives and negatives, by which a model trains.

    loss = sum_i weight[i] * loss[i] / B

    A model calls `of_vectors`, or `of_windows` where a row has several positives. Most losses are
    functions of the scores alone: they derive from `ScoreLoss`.

    Args:
        temperature: scores are divided by it: a number above 0, a schedule of
            `keras.optimizers.schedules` (kept at 0.001 or above), or `LearnedTemperature()`. The
            smaller it is, the more the negatives of the highest scores count. None: by what a model
            adapts to. Scores of vectors of length 1 lie between -1 and 1, and to tell one item from
            V others they must span log V: the temperature is 1.2 / log V, 0.11 for 40,000 items and
            0.15 for 3,000. For vectors of any length it is 1.

    Raises:
        ValueError: the temperature is not above 0, or a schedule that does not know its steps.

    Attributes:
        corrected: whether log q is subtracted from the scores.
        merges: whether a negative that occurs `count` times may be one with `+ log(count)`.
        several_positives: whether it has `of_windows`.
        scale_free: whether it scales the scores of unit vectors by itself, so that their
            temperature is 1 where none is given.
        unit_length: whether both towers must give vectors of length 1.
    """

    corrected = False
    merges = False
    several_positives = False
    scale_free = False
    unit_length = False

    tunable: dict = {"temperature": [0.03, 2.0, "log"]}

    def __init__(self, temperature: Temperature | None = None) -> None:
        if temperature is not None and not callable(temperature):
            check("temperature", temperature, "a number above 0, a schedule or learned")
        if getattr(temperature, "steps", 1) is None:
            raise ValueError(
                f"temperature: {type(temperature).__name__} needs its steps here: a config fills "
                "in those of the run for train.optimizer.learning_rate alone"
            )
        self.temperature = temperature

    def temperature_at(self, step: int | tf.Tensor) -> float | tf.Tensor:
        """The temperature of a training step."""
        if self.temperature is None:
            return 1.0
        if not callable(self.temperature):
            return self.temperature
        return tf.maximum(self.temperature(step), LOWEST)

    def fitted(self, unit_length: bool, num_items: int, positives: float) -> "Loss":
        """The loss with the settings that it takes from the data; itself where there are none.

        Args:
            unit_length: whether queries and items have length 1.
            num_items: the size of the catalog.
            positives: how many a query has, in the mean.
        """
        if self.temperature is not None or self.scale_free or not unit_length:
            return self
        temperature = SPAN / math.log(max(num_items, 10))
        return type(self).from_config({**self.get_config(), "temperature": temperature})

    def check_negatives(self, negatives: Sampler) -> None:
        """Raises a ValueError where the loss cannot take the negatives of a sampler."""

    def of_vectors(
        self,
        query: tf.Tensor,
        item: tf.Tensor,
        ids: tf.Tensor,
        candidates: list[Candidates],
        step: int | tf.Tensor = 0,
        log_q: Callable | None = None,
        weight: tf.Tensor | None = None,
        merge: bool = False,
    ) -> tf.Tensor:
        """The loss of rows with one positive each: a float32 scalar, their mean.

        Args:
            query: `[B, D]`.
            item: `[B, D]`, the rows' positives.
            ids: `[B]`, the positives' ids.
            candidates: a list of `Candidates`, the negatives.
            step: of the training, for the temperature.
            log_q: `ids [...] -> [...]`, the log of an item's sampling probability; None: no
                correction.
            weight: `[B]`; None: all one. The mean divides by B, as Keras does, not by their sum.
            merge: whether equal negatives may be merged, so that their number varies by step.
        """
        raise NotImplementedError

    def of_windows(
        self,
        query: tf.Tensor,
        contexts: tf.Tensor,
        ids: tf.Tensor,
        valid: tf.Tensor,
        candidates: list[Candidates],
        extra: Candidates | None = None,
        step: int | tf.Tensor = 0,
        log_q: Callable | None = None,
    ) -> tf.Tensor:
        """The loss of centers with several contexts each: a float32 scalar, their mean.

        Args:
            query: `[G, I, D]`, the centers, in G segments of I.
            contexts: `[G, J, D]`, the contexts that a segment has.
            ids: `[G, J]`, the contexts' ids.
            valid: bool `[G, I, J]`, which are contexts of which center: at most J - I of each.
            candidates: a list of `Candidates`, the negatives.
            extra: `Candidates` `[G * I, E]`, further positives of each center; None: none.
            step, log_q: as in `of_vectors`.
        """
        raise NotImplementedError

    def get_config(self) -> dict:
        temperature = self.temperature
        if callable(temperature):
            temperature = keras.saving.serialize_keras_object(temperature)
        return {"temperature": temperature}

    @classmethod
    def from_config(cls, config: dict) -> "Loss":
        temperature = config["temperature"]
        if isinstance(temperature, dict):
            temperature = keras.saving.deserialize_keras_object(temperature)
        return cls(**{**config, "temperature": temperature})


class ScoreLoss(Loss):
    """A loss of scores `[B, 1 + N]`, a row's positive first; a subclass defines `rows`.

    Args:
        temperature: as `Loss`.

    Call: scores `[B, 1 + N]`, already divided by the temperature; mask `[B, N]`, which negatives
        count (None: all); weight `[B]` (None: all one) -> a scalar.
    """

    def __call__(
        self, scores: tf.Tensor, mask: tf.Tensor | None = None, weight: tf.Tensor | None = None
    ) -> tf.Tensor:
        scores = tf.cast(scores, tf.float32)
        mask = tf.ones_like(scores[:, 1:], tf.bool) if mask is None else mask
        return weighted_mean(self.rows(scores[:, 0], scores[:, 1:], mask), weight)

    def rows(self, positive: tf.Tensor, negatives: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Each row's loss `[B]`, of `positive` `[B]`, `negatives` `[B, N]`, `mask` `[B, N]`."""
        raise NotImplementedError

    def of(self, scores: Scores, weight: tf.Tensor | None = None) -> tf.Tensor:
        """The loss of `Scores` with weights `[B]`; None: all one."""
        return self(*scores.table(), weight)

    def of_vectors(
        self, query, item, ids, candidates, step=0, log_q=None, weight=None, merge=False
    ):
        temperature = self.temperature_at(step)
        log_q = log_q if self.corrected else None
        merge = merge and self.merges
        scores = Scores.of(query, item, ids, candidates, temperature, log_q, merge)
        return self.of(scores, weight)


def weighted_mean(rows: tf.Tensor, weight: tf.Tensor | None) -> tf.Tensor:
    """The mean of `rows` `[B]` times `weight` `[B]`; None: all one."""
    return tf.reduce_mean(rows if weight is None else rows * tf.cast(weight, tf.float32))


def check(name: str, value: float, allowed: str = "a number above 0") -> None:
    """Raises a ValueError where the value of an argument is not a number above 0."""
    if not (isinstance(value, Real) and 0 < value < float("inf")):
        raise ValueError(f"{name} must be {allowed}, not {value!r}")


def check_fresh(loss: Loss, negatives: Sampler) -> None:
    """Raises a ValueError where no negative of a sampler gets a gradient."""
    if negatives.stale:
        raise ValueError(
            f"{type(loss).__name__} learns how high scores are, and the negatives of "
            f"{type(negatives).__name__} are vectors of earlier steps, which get no gradient: use "
            "it in a Mixture with InBatch or another sampler of fresh negatives, or a softmax loss"
        )


def mean(losses: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """The mean over the negatives that count, by `mask`: `[B, N]` -> `[B]`, 0 where none does."""
    count = tf.reduce_sum(tf.cast(mask, tf.float32), axis=1)
    return tf.reduce_sum(tf.where(mask, losses, 0), axis=1) / tf.maximum(count, 1)
