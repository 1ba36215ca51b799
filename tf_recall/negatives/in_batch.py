"""Negatives without encoding: the items that this batch, or earlier ones, encoded already."""

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from tf_recall.data.ranges import WholeFrom0, WholeFrom1
from tf_recall.negatives.base import Batch, Candidates, Sampler
from tf_recall.negatives.frequency import Counts, Frequency


class _Positives(Sampler):
    """The base of samplers that draw an item as often as it is a positive.

    Args:
        frequency: the estimate of each item's share of the positives, by default `Counts()`.
    """

    from_batch = True

    def __init__(self, frequency: Frequency | None = None, **kwargs):
        super().__init__(**kwargs)
        self.frequency = Counts() if frequency is None else frequency

    def adapt(
        self, counts: np.ndarray, table: pd.DataFrame | None = None, dim: int | None = None
    ) -> None:
        self.frequency.adapt(counts)
        self.built = True

    def ahead(self, step: int | tf.Tensor, position: tuple = ()) -> list[tf.Tensor]:
        return []

    def log_q(self, ids: tf.Tensor, batch: Batch | None = None) -> tf.Tensor:
        return self.frequency.log_q(ids)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "frequency": keras.saving.serialize_keras_object(self.frequency),
        }

    @classmethod
    def from_config(cls, config: dict) -> "_Positives":
        return cls(
            **{**config, "frequency": keras.saving.deserialize_keras_object(config["frequency"])}
        )


@keras.saving.register_keras_serializable("tf_recall")
class InBatch(_Positives):
    """The positives of the batch's other rows: METHODS.md N4.

    log_q[t] = log(share of t among the positives)

    Popular items are drawn often; the loss subtracts `log_q` to correct for that.

    Args:
        frequency: how often an item is a positive: `Counts()`, or `Streaming()` where popularity
            changes.

    Example:
        >>> negatives = InBatch()
        >>> negatives.adapt([0, 3, 1])
        >>> tf.exp(negatives.log_q([1, 2])).numpy()
        array([0.75, 0.25], dtype=float32)

    Paper: Yi et al. 2019, "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item
        Recommendations", section 3.
    """

    other_rows_only = True

    def draw(self, batch: Batch) -> list[Candidates]:
        if batch.training:
            self.frequency.update(batch.positives)
        return [Candidates(batch.positives, batch.items)]

    def max_draws(self, batch: Batch) -> int | tf.Tensor:
        return batch.size


@keras.saving.register_keras_serializable("tf_recall")
class CrossBatch(_Positives):
    """The positives of recent batches, with the vectors that they had then: METHODS.md N5.

    log_q[t] = log(share of t among the positives)

    The cache is a ring of the last `size` vectors and their ids. They cost a product, but no
    encoding. They are stale, though only slightly once the first steps are over: that is what
    `warm_up` waits for.

    N5 gives every item of the cache the probability 1 / size, that of a slot *given* the cache's
    content. Here it is the item's share of the positives: with it the negatives' sum is an unbiased
    estimate of the catalog's, and it is known for items outside the cache too.

    Stale vectors get no gradient, so no item is pushed away: mix them with fresh negatives. `NCE`
    and `NCELoss`, whose scores have a level to learn, refuse stale ones alone.

    Args:
        size: how many vectors are kept, all of them negatives.
        warm_up: steps before the cache is used.
        frequency: how often an item is a positive: `Counts()`, or `Streaming()` where popularity
            changes.

    Raises:
        ValueError: `size` is not positive, or `warm_up` is negative.

    Example:
        >>> Mixture([InBatch(), CrossBatch(size=8192)])

    Paper: Wang et al. 2021, "Cross-Batch Negative Sampling for Training Two-Tower Recommenders",
        section 3.2.
    """

    carried = ("vectors", "ids", "pushed")
    of_rows = True
    starts_empty = True  # before the warm-up is over, and until something is in the cache
    stale = True

    tunable = {"size": [1024, 65_536, "log"]}

    def __init__(
        self,
        size: WholeFrom1,
        warm_up: WholeFrom0 = 100,
        frequency: Frequency | None = None,
        **kwargs,
    ):
        super().__init__(frequency, **kwargs)
        if size < 1 or warm_up < 0:
            raise ValueError(
                f"size must be at least 1 and warm_up at least 0, not {size} and {warm_up}"
            )
        self.size = size
        self.warm_up = warm_up

    def adapt(
        self, counts: np.ndarray, table: pd.DataFrame | None = None, dim: int | None = None
    ) -> None:
        super().adapt(counts)
        self.build_from_config({"dim": dim})

    def draw(self, batch: Batch) -> list[Candidates]:
        ids = tf.identity(self.ids.value)
        vectors = tf.identity(self.vectors.value)
        if batch.training:
            self.frequency.update(batch.positives)
            self._push(batch.positives, tf.cast(batch.items, tf.float32))
        return [Candidates(ids, vectors, valid=(ids > 0) & self._warm(batch), fresh=False)]

    def max_draws(self, batch: Batch) -> int | tf.Tensor:
        return self.size

    def num_draws(self, batch: Batch) -> int | tf.Tensor:
        filled = self.pushed.value
        if batch.training:  # `draw` has pushed this batch already, but not drawn from it
            filled = filled - tf.cast(tf.minimum(batch.size, self.size), tf.int64)
        filled = tf.clip_by_value(filled, 0, self.size)
        return tf.where(self._warm(batch), tf.cast(filled, tf.float32), 0.0)

    def _warm(self, batch):
        return tf.cast(batch.step, tf.int64) >= self.warm_up

    def _push(self, ids, vectors):
        ids = ids[-self.size :]
        vectors = vectors[-self.size :]
        count = tf.shape(ids, tf.int64)[0]
        slots = ((self.pushed.value + tf.range(count)) % self.size)[:, None]
        self.ids.assign(tf.tensor_scatter_nd_update(self.ids.value, slots, tf.cast(ids, tf.int32)))
        self.vectors.assign(tf.tensor_scatter_nd_update(self.vectors.value, slots, vectors))
        self.pushed.assign_add(count)

    def get_config(self) -> dict:
        return {**super().get_config(), "size": self.size, "warm_up": self.warm_up}

    def get_build_config(self) -> dict | None:
        return {"dim": self.vectors.shape[1]} if self.built else None

    def build_from_config(self, config: dict) -> None:
        state = {
            "trainable": False,
            "autocast": False,
            "initializer": "zeros",
            "aggregation": "only_first_replica",
        }
        if not hasattr(self, "vectors"):
            self.vectors = self.add_weight(
                name="vectors", shape=(self.size, config["dim"]), dtype="float32", **state
            )
            self.ids = self.add_weight(name="ids", shape=(self.size,), dtype="int32", **state)
            self.pushed = self.add_weight(name="pushed", shape=(), dtype="int64", **state)
        self.built = True
