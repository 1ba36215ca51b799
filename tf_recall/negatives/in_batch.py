"""Negatives that cost nothing to encode: what this batch, or those before it, encoded already."""

import keras
import tensorflow as tf

from tf_recall.negatives.base import Candidates, Sampler
from tf_recall.negatives.frequency import Counts


class _Positives(Sampler):
    """A sampler whose items come as often as they are positives; `frequency` says how often that
    is.
    """

    from_batch = True

    def __init__(self, frequency=None, **kwargs):
        super().__init__(**kwargs)
        self.frequency = Counts() if frequency is None else frequency

    def adapt(self, counts, table=None, dim=None):
        self.frequency.adapt(counts)
        self.built = True

    def ahead(self, step, place=()):
        return []

    def log_q(self, ids, batch=None):
        return self.frequency.log_q(ids)

    def get_config(self):
        return {
            **super().get_config(),
            "frequency": keras.saving.serialize_keras_object(self.frequency),
        }

    @classmethod
    def from_config(cls, config):
        return cls(
            **{**config, "frequency": keras.saving.deserialize_keras_object(config["frequency"])}
        )


@keras.saving.register_keras_serializable("tf_recall")
class InBatch(_Positives):
    """The other rows' positives are a row's negatives: METHODS.md N4.

    log_q[t] = log(the share of t among the positives)

    Popular items come up often; `log_q` is what the loss subtracts to undo that.

    Args:
        frequency: how often an item is a positive: `Counts()`, or `Streaming()` where popularity
            drifts.

    Example:
        >>> negatives = InBatch()
        >>> negatives.adapt([0, 3, 1])
        >>> negatives.log_q([1, 2])  # log 3/4, log 1/4

    Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations",
    RecSys 2019, section 3.
    """

    def draw(self, batch):
        if batch.training:
            self.frequency.update(batch.positives)
        return [Candidates(batch.positives, batch.items)]

    def max_draws(self, batch):
        return batch.size


@keras.saving.register_keras_serializable("tf_recall")
class CrossBatch(_Positives):
    """The positives of recent batches, with the vectors they had then: METHODS.md N5.

    A ring of the last `size` vectors and their ids. They cost a product, no encoding; they are
    stale, but slightly so once the first steps are over, which is what `warm_up` waits for.

    log_q[t] = log(the share of t among the positives)

    N5 prices what is in the cache at 1 / size, the chance of a slot *given* the cache's content. An
    item's expected share is its share of the positives: only that price makes the negatives' sum an
    unbiased estimate of the catalog's, and it is known for items that are not in the cache.

    Args:
        size: how many vectors are kept, all of them negatives.
        warm_up: steps before the cache is used.
        frequency: how often an item is a positive: `Counts()`, or `Streaming()` where popularity
            drifts.

    Raises:
        ValueError: `size` is not positive, or `warm_up` is negative.

    Example:
        >>> Mixture([InBatch(), CrossBatch(size=8192)])

    Wang, Zhu, He, "Cross-Batch Negative Sampling for Training Two-Tower Recommenders", SIGIR 2021,
    section 3.2.
    """

    def __init__(self, size, warm_up=100, frequency=None, **kwargs):
        super().__init__(frequency, **kwargs)
        if size < 1 or warm_up < 0:
            raise ValueError(
                f"size must be at least 1 and warm_up at least 0, not {size} and {warm_up}"
            )
        self.size, self.warm_up = size, warm_up

    def adapt(self, counts, table=None, dim=None):
        super().adapt(counts)
        self.build_from_config({"dim": dim})

    def draw(self, batch):
        ids, vectors = tf.identity(self.ids.value), tf.identity(self.vectors.value)
        if batch.training:
            self.frequency.update(batch.positives)
            self._push(batch.positives, tf.cast(batch.items, tf.float32))
        return [Candidates(ids, vectors, valid=(ids > 0) & self._warm(batch), fresh=False)]

    def max_draws(self, batch):
        return self.size

    def num_draws(self, batch):
        filled = self.pushed.value
        if batch.training:  # `draw` has pushed this batch already, and did not draw from it
            filled = filled - tf.cast(tf.minimum(batch.size, self.size), tf.int64)
        filled = tf.clip_by_value(filled, 0, self.size)
        return tf.where(self._warm(batch), tf.cast(filled, tf.float32), 0.0)

    def _warm(self, batch):
        return tf.cast(batch.step, tf.int64) >= self.warm_up

    def _push(self, ids, vectors):
        ids, vectors = ids[-self.size :], vectors[-self.size :]
        count = tf.shape(ids, tf.int64)[0]
        slots = ((self.pushed.value + tf.range(count)) % self.size)[:, None]
        self.ids.assign(tf.tensor_scatter_nd_update(self.ids.value, slots, tf.cast(ids, tf.int32)))
        self.vectors.assign(tf.tensor_scatter_nd_update(self.vectors.value, slots, vectors))
        self.pushed.assign_add(count)

    def get_config(self):
        return {**super().get_config(), "size": self.size, "warm_up": self.warm_up}

    def get_build_config(self):
        return {"dim": self.vectors.shape[1]} if self.built else None

    def build_from_config(self, config):
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
