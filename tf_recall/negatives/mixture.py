"""Negatives from several samplers, priced as one."""

import keras
import tensorflow as tf

from tf_recall.negatives.base import Sampler
from tf_recall.negatives.hard import HardSampler


@keras.saving.register_keras_serializable("tf_recall")
class Mixture(Sampler):
    """All that its samplers draw, priced by the share of each: METHODS.md N5.

    log_q[t] = log sum_k num_draws_k / num_draws * exp(log_q_k[t])

    So an item that two samplers may draw costs the same whichever drew it.

    Args:
        samplers: a list of samplers, mixtures too.

    Raises:
        ValueError: the list is empty.

    Example:
        >>> Mixture([InBatch(), Uniform(num=1024), CrossBatch(size=4096)])

    Yang et al., "Mixed Negative Sampling for Learning Two-tower Neural Networks in
    Recommendations", WWW 2020, section 3.3.
    """

    def __init__(self, samplers, **kwargs):
        super().__init__(**kwargs)
        if not samplers:
            raise ValueError("a mixture needs at least one sampler")
        self.samplers = list(samplers)

    @property
    def num_given(self):
        return max(sampler.num_given for sampler in self.samplers)

    @property
    def gives_own(self):
        return any(sampler.gives_own for sampler in self.samplers)

    @property
    def from_batch(self):
        return any(sampler.from_batch for sampler in self.samplers)

    def adapt(self, counts, table=None, dim=None):
        for sampler in self.samplers:
            sampler.adapt(counts, table, dim)
        self.built = True

    def draw(self, batch):
        places = [batch._replace(place=(*batch.place, k)) for k in range(len(self.samplers))]
        return [
            c for sampler, at in zip(self.samplers, places, strict=True) for c in sampler.draw(at)
        ]

    def ahead(self, step, place=()):
        return [
            rows
            for k, sampler in enumerate(self.samplers)
            for rows in sampler.ahead(step, (*place, k))
        ]

    def log_q(self, ids, batch=None):
        return mix(
            [(sampler.num_draws(batch), sampler.log_q(ids, batch)) for sampler in self.samplers]
        )

    def max_draws(self, batch):
        return sum(sampler.max_draws(batch) for sampler in self.samplers)

    def num_draws(self, batch):
        return sum(tf.cast(sampler.num_draws(batch), tf.float32) for sampler in self.samplers)

    def get_config(self):
        return {
            **super().get_config(),
            "samplers": [keras.saving.serialize_keras_object(s) for s in self.samplers],
        }

    @classmethod
    def from_config(cls, config):
        samplers = [
            keras.saving.deserialize_keras_object(sampler) for sampler in config["samplers"]
        ]
        return cls(**{**config, "samplers": samplers})


@keras.saving.register_keras_serializable("tf_recall")
class EasyHard(Sampler):
    """Many easy negatives and a few hard ones, `ratio` to one.

    num_hard = max(1, round(num_easy / ratio))
    log_q[t] = log( (num_easy exp(log_q_easy[t]) + num_hard exp(log_q_hard[t])) / (num_easy +
    num_hard) )

    Hard ones alone teach what tells neighbors apart and forget the rest of the catalog.

    Args:
        easy: a sampler.
        hard: a hard sampler, or a `Curriculum` of one.
        ratio: easy negatives for each hard one, above 0.

    Raises:
        ValueError: `ratio` is not above 0, `hard` is none.

    Example:
        >>> EasyHard(Mixture([InBatch(), Uniform(1024)]), SameGroup("city"), ratio=100)

    Huang et al., "Embedding-based Retrieval in Facebook Search", KDD 2020, section 6.1: 100 to 1.
    """

    gives_own = True

    def __init__(self, easy, hard, ratio=100, **kwargs):
        super().__init__(**kwargs)
        if not 0 < ratio < float("inf"):
            raise ValueError(f"ratio must be a number above 0, not {ratio!r}")
        if not isinstance(hard, HardSampler):
            raise ValueError(
                f"hard must be a hard sampler, such as SameGroup, not {type(hard).__name__}"
            )
        self.easy, self.hard, self.ratio = easy, hard, ratio

    @property
    def num_given(self):
        return max(self.easy.num_given, self.hard.num_given)

    @property
    def from_batch(self):
        return self.easy.from_batch or self.hard.from_batch

    def adapt(self, counts, table=None, dim=None):
        self.easy.adapt(counts, table, dim)
        self.hard.adapt(counts, table, dim)
        self.built = True

    def draw(self, batch):
        return [*self.easy.draw(batch), *self.hard.draw(batch, self._num_hard(batch))]

    def ahead(self, step, place=()):
        return [*self.easy.ahead(step, place), *self.hard.ahead(step, place)]

    def _num_hard(self, batch):
        num = self.easy.max_draws(batch) / self.ratio
        return (
            tf.maximum(1, tf.cast(tf.round(num), tf.int32))
            if tf.is_tensor(num)
            else max(1, round(num))
        )

    def log_q(self, ids, batch=None):
        num_hard = self.hard.num_draws(batch, self._num_hard(batch))
        easy = self.easy.num_draws(batch), self.easy.log_q(ids, batch)
        return mix([easy, (num_hard, self.hard.log_q(ids, batch))])

    def max_draws(self, batch):
        return self.easy.max_draws(batch) + self.hard.max_draws(batch, self._num_hard(batch))

    def num_draws(self, batch):
        num_hard = self.hard.num_draws(batch, self._num_hard(batch))
        return tf.cast(self.easy.num_draws(batch), tf.float32) + tf.cast(num_hard, tf.float32)

    def get_config(self):
        parts = {
            key: keras.saving.serialize_keras_object(getattr(self, key)) for key in ("easy", "hard")
        }
        return {**super().get_config(), **parts, "ratio": self.ratio}

    @classmethod
    def from_config(cls, config):
        parts = {
            key: keras.saving.deserialize_keras_object(config[key]) for key in ("easy", "hard")
        }
        return cls(**{**config, **parts})


def mix(parts):
    """The log price of a mixture from pairs `(how many draws, log_q [...])`; where none has any,
    all count alike.
    """
    sizes = tf.stack([tf.cast(size, tf.float32) for size, _ in parts])
    sizes = tf.where(tf.reduce_any(sizes > 0), sizes, 1)
    shares = tf.math.log(sizes / tf.reduce_sum(sizes))  # [parts]
    return tf.reduce_logsumexp(
        tf.stack([shares[k] + log_q for k, (_, log_q) in enumerate(parts)]), axis=0
    )
