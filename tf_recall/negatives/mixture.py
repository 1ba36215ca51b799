"""Mixtures of samplers, with one log q for all that they draw."""

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from tf_recall.data.ranges import Filled, NumberAbove0
from tf_recall.negatives.base import Batch, Candidates, Sampler
from tf_recall.negatives.hard import HardSampler


@keras.saving.register_keras_serializable("tf_recall")
class Mixture(Sampler):
    """The negatives of several samplers together: METHODS.md N5.

    log_q[t] = log sum_k num_draws_k / num_draws * exp(log_q_k[t])

    So an item that two samplers may draw has one log q, whichever of them drew it.

    Args:
        samplers: a list of samplers, mixtures too.

    Raises:
        ValueError: the list is empty.

    Example:
        >>> Mixture([InBatch(), Uniform(num=1024), CrossBatch(size=4096)])

    Paper: Yang et al. 2020, "Mixed Negative Sampling for Learning Two-tower Neural Networks in
        Recommendations", section 3.3.
    """

    def __init__(self, samplers: Filled[Sampler], **kwargs):
        super().__init__(**kwargs)
        if not samplers:
            raise ValueError("a mixture needs at least one sampler")
        self.samplers = list(samplers)

    @property
    def num_given(self) -> int:
        return max(sampler.num_given for sampler in self.samplers)

    @property
    def gives_own(self) -> bool:
        return any(sampler.gives_own for sampler in self.samplers)

    @property
    def from_batch(self) -> bool:
        return any(sampler.from_batch for sampler in self.samplers)

    @property
    def other_rows_only(self) -> bool:
        return all(sampler.other_rows_only for sampler in self.samplers)

    @property
    def starts_empty(self) -> bool:
        return all(sampler.starts_empty for sampler in self.samplers)

    @property
    def stale(self) -> bool:
        return all(sampler.stale for sampler in self.samplers)

    def adapt(
        self, counts: np.ndarray, table: pd.DataFrame | None = None, dim: int | None = None
    ) -> None:
        for sampler in self.samplers:
            sampler.adapt(counts, table, dim)
        self.built = True

    def draw(self, batch: Batch) -> list[Candidates]:
        drawn = []
        for k, sampler in enumerate(self.samplers):
            drawn += sampler.draw(batch._replace(position=(*batch.position, k)))
        return drawn

    def ahead(self, step: int | tf.Tensor, position: tuple = ()) -> list[tf.Tensor]:
        rows = []
        for k, sampler in enumerate(self.samplers):
            rows += sampler.ahead(step, (*position, k))
        return rows

    def log_q(self, ids: tf.Tensor, batch: Batch | None = None) -> tf.Tensor:
        return mix(
            [(sampler.num_draws(batch), sampler.log_q(ids, batch)) for sampler in self.samplers]
        )

    def max_draws(self, batch: Batch) -> int | tf.Tensor:
        return sum(sampler.max_draws(batch) for sampler in self.samplers)

    def num_draws(self, batch: Batch) -> tf.Tensor:
        return sum(tf.cast(sampler.num_draws(batch), tf.float32) for sampler in self.samplers)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "samplers": [keras.saving.serialize_keras_object(s) for s in self.samplers],
        }

    @classmethod
    def from_config(cls, config: dict) -> "Mixture":
        samplers = [
            keras.saving.deserialize_keras_object(sampler) for sampler in config["samplers"]
        ]
        return cls(**{**config, "samplers": samplers})


@keras.saving.register_keras_serializable("tf_recall")
class EasyHard(Sampler):
    """Many easy negatives and a few hard ones, `ratio` to one (METHODS.md N6).

    num_hard = max(1, round(num_easy / ratio))
    log_q[t] = log( (num_easy * exp(log_q_easy[t]) + num_hard * exp(log_q_hard[t]))
                    / (num_easy + num_hard) )

    Hard negatives alone teach the model to separate similar items, and it forgets the rest of the
    catalog.

    Args:
        easy: a sampler.
        hard: a hard sampler, or a `Curriculum` of one.
        ratio: how many easy negatives there are for each hard one, above 0.

    Raises:
        ValueError: `ratio` is not above 0, or `hard` is not a hard sampler.

    Example:
        >>> EasyHard(Mixture([InBatch(), Uniform(1024)]), SameGroup("city"), ratio=100)

    Paper: Huang et al. 2020, "Embedding-based Retrieval in Facebook Search", section 6.1.
    """

    gives_own = True

    tunable = {"ratio": [10, 1000, "log"]}

    def __init__(self, easy: Sampler, hard: HardSampler, ratio: NumberAbove0 = 100, **kwargs):
        super().__init__(**kwargs)
        if not 0 < ratio < float("inf"):
            raise ValueError(f"ratio must be a number above 0, not {ratio!r}")
        if not isinstance(hard, HardSampler):
            raise ValueError(
                f"hard must be a hard sampler, such as SameGroup, not {type(hard).__name__}"
            )
        self.easy = easy
        self.hard = hard
        self.ratio = ratio

    @property
    def num_given(self) -> int:
        return max(self.easy.num_given, self.hard.num_given)

    @property
    def from_batch(self) -> bool:
        return self.easy.from_batch or self.hard.from_batch

    @property
    def other_rows_only(self) -> bool:
        return self.easy.other_rows_only and self.hard.other_rows_only

    @property
    def starts_empty(self) -> bool:
        return self.easy.starts_empty and self.hard.starts_empty

    def adapt(
        self, counts: np.ndarray, table: pd.DataFrame | None = None, dim: int | None = None
    ) -> None:
        self.easy.adapt(counts, table, dim)
        self.hard.adapt(counts, table, dim)
        self.built = True

    def draw(self, batch: Batch) -> list[Candidates]:
        return [*self.easy.draw(batch), *self.hard.draw(batch, self._num_hard(batch))]

    def ahead(self, step: int | tf.Tensor, position: tuple = ()) -> list[tf.Tensor]:
        return [*self.easy.ahead(step, position), *self.hard.ahead(step, position)]

    def _num_hard(self, batch):
        num = self.easy.max_draws(batch) / self.ratio
        if tf.is_tensor(num):
            return tf.maximum(1, tf.cast(tf.round(num), tf.int32))
        return max(1, round(num))

    def log_q(self, ids: tf.Tensor, batch: Batch | None = None) -> tf.Tensor:
        num_hard = self.hard.num_draws(batch, self._num_hard(batch))
        easy = self.easy.num_draws(batch), self.easy.log_q(ids, batch)
        return mix([easy, (num_hard, self.hard.log_q(ids, batch))])

    def max_draws(self, batch: Batch) -> int | tf.Tensor:
        return self.easy.max_draws(batch) + self.hard.max_draws(batch, self._num_hard(batch))

    def num_draws(self, batch: Batch) -> tf.Tensor:
        num_hard = self.hard.num_draws(batch, self._num_hard(batch))
        return tf.cast(self.easy.num_draws(batch), tf.float32) + tf.cast(num_hard, tf.float32)

    def get_config(self) -> dict:
        parts = {
            key: keras.saving.serialize_keras_object(getattr(self, key)) for key in ("easy", "hard")
        }
        return {**super().get_config(), **parts, "ratio": self.ratio}

    @classmethod
    def from_config(cls, config: dict) -> "EasyHard":
        parts = {
            key: keras.saving.deserialize_keras_object(config[key]) for key in ("easy", "hard")
        }
        return cls(**{**config, **parts})


def mix(parts: list[tuple]) -> tf.Tensor:
    """The log q `[...]` of a mixture from pairs `(number of draws, log q [...])` of its samplers.

    Where no sampler draws anything yet, all weigh the same.
    """
    sizes = tf.stack([tf.cast(size, tf.float32) for size, _ in parts])
    sizes = tf.where(tf.reduce_any(sizes > 0), sizes, 1)
    shares = tf.math.log(sizes / tf.reduce_sum(sizes))  # [parts]
    weighted = [shares[k] + log_q for k, (_, log_q) in enumerate(parts)]
    return tf.reduce_logsumexp(tf.stack(weighted), axis=0)
