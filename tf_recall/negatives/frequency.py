"""How often an item comes as a positive: once and for all from counts, or followed through the
training stream.
"""

import keras
import numpy as np
import tensorflow as tf

PRIME = 2**31 - 1  # above any row id; the product of two numbers below it fits an int64


def check_counts(counts, name="counts"):
    """Counts, or weights by another `name`, as float64 `[V]`.

    Raises:
        ValueError: no counts, a negative one, or none above zero.
    """
    counts = np.asarray(counts, np.float64)
    if counts.ndim != 1 or not np.all(counts >= 0) or not 0 < counts.sum() < np.inf:
        raise ValueError(
            f"{name} must be [V], finite, none negative, not all zero; not {counts.shape}: {counts}"
        )
    return counts


class _Frequency(keras.layers.Layer):
    """What estimates of an item's share of the positives have in common: no price before
    `adapt`.
    """

    def adapt(self, counts):
        """Starts from counts.

        Args:
            counts: `[V]`, how often each row is the positive of a training example; row 0 is the
                unknown one.

        Raises:
            ValueError: no counts, a negative one, or none above zero.
        """
        raise NotImplementedError

    def update(self, positives):
        """Learns from one training step, if it learns at all.

        Args:
            positives: `[B]` item rows, those of all replicas.
        """

    def log_q(self, ids):
        """The log probability that one random positive is the item at `ids` `[...]`: float32
        `[...]`.

        Raises:
            ValueError: `adapt` was never called.
        """
        raise NotImplementedError

    def _check_adapted(self):
        if not self.built:
            name = type(self).__name__
            raise ValueError(
                f"{name} has no prices yet: call adapt(counts) with the items' counts in training"
            )


@keras.saving.register_keras_serializable("tf_recall")
class Counts(_Frequency):
    """An item's share of the counts.

    log_q[row] = log( max(counts[row], 1) / sum(counts) )

    A row never counted (the unknown row, an item without interactions) is priced as if counted
    once, so that it stays finite. For data that do not change while they are trained on; else
    `Streaming`.

    Call `adapt` once before training; the prices are a weight and survive a save.

    Example:
        >>> frequency = Counts()
        >>> frequency.adapt([0, 3, 1])
        >>> frequency.log_q([1, 2])  # log 3/4, log 1/4
    """

    def adapt(self, counts):
        counts = check_counts(counts)
        if not self.built:
            self.build_from_config({"num_rows": len(counts)})
        self.prices.assign(np.log(np.maximum(counts, 1)) - np.log(counts.sum()))

    def log_q(self, ids):
        self._check_adapted()
        return tf.gather(self.prices.value, ids)

    def get_build_config(self):
        return {"num_rows": self.prices.shape[0]} if self.built else None

    def build_from_config(self, config):
        shape = (config["num_rows"],)
        self.prices = self.add_weight(
            name="prices", shape=shape, dtype="float32", trainable=False, autocast=False
        )
        self.built = True


@keras.saving.register_keras_serializable("tf_recall")
class Streaming(_Frequency):
    """How many positives apart an item's sightings lie, followed through training in hashed
    buckets.

    a = 1 - (1 - rate)^count
    gap[bucket] = (1 - a) * gap[bucket] + a * (now - last[bucket]) / count
    log_q[id] = -log max over hash functions of ( gap[bucket] + rate * (now - last[bucket]) )

    `now` counts the positives so far, `last` is `now` at the bucket's last sighting, `count` its
    positives in the step. It needs no more memory for more items, and follows a popularity that
    changes. Two items in one bucket look more frequent than they are, hence the largest gap of
    several hash functions.

    Departs from the paper, whose unit of time is the step, so that an item of every batch has gap 1
    however often it comes: ours is the positive, and `count` sightings share the time since the
    last. An item that stays away fades, as the mean under a prior worth 1 / rate sightings would;
    right after a sighting the price is the paper's 1 / gap. The gaps start from counts instead of
    at a constant.

    Args:
        num_buckets: per hash function; several times as many as there are items keeps them apart.
        num_hashes: hash functions.
        rate: share of the newest sighting in a gap. The price varies by about sqrt(rate / 2), 7% at
            0.01.
        seed: of the hash functions.

    Raises:
        ValueError: `num_buckets` or `num_hashes` is not positive, `rate` is not in (0, 1].

    Example:
        >>> frequency = Streaming(rate=0.05)
        >>> frequency.adapt(counts)
        >>> frequency.update(tf.constant([3, 3, 5]))
        >>> frequency.log_q([3, 5])

    Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations",
    RecSys 2019, section 4, Algorithm 2. Carter, Wegman, "Universal Classes of Hash Functions", JCSS
    1979, for the hash functions.
    """

    def __init__(self, num_buckets=2**20, num_hashes=2, rate=0.01, seed=0, **kwargs):
        super().__init__(**kwargs)
        if num_buckets < 1 or num_hashes < 1:
            raise ValueError(
                f"num_buckets and num_hashes must be at least 1, not {num_buckets} and {num_hashes}"
            )
        if not 0 < rate <= 1:
            raise ValueError(f"rate must be above 0 and at most 1, not {rate}")
        self.num_buckets, self.num_hashes, self.rate, self.seed = (
            num_buckets,
            num_hashes,
            rate,
            seed,
        )
        self._factors, self._offsets = np.random.default_rng(seed).integers(
            1, PRIME, [2, num_hashes]
        )
        self._stretches = num_buckets * np.arange(num_hashes)

    def adapt(self, counts):
        counts = check_counts(counts)
        if not self.built:
            self.build_from_config({"num_buckets": self.num_buckets})
        buckets = np.ravel(self._buckets(np.arange(len(counts))))
        sums = np.bincount(
            buckets, np.repeat(counts, self.num_hashes), self.num_buckets * self.num_hashes
        )
        self.gaps.assign(counts.sum() / np.maximum(sums, 1))
        self.last.assign(tf.zeros_like(self.last.value))
        self.now.assign(0)

    def update(self, positives):
        self._check_adapted()
        # A bucket's positives stand side by side, and all carry its new state: it is written twice,
        # not added twice.
        buckets = tf.sort(tf.reshape(self._buckets(positives), [-1]))  # [B * num_hashes]
        place = tf.cumsum(
            tf.cast(buckets != tf.roll(buckets, -1, axis=0), tf.int32), exclusive=True
        )
        count = tf.gather(
            tf.math.unsorted_segment_sum(tf.ones_like(place), place, tf.size(place)), place
        )
        count = tf.cast(count, tf.float32)
        now = self.now.value + tf.size(positives, tf.int64)
        a = 1 - (1 - self.rate) ** count
        gap = tf.gather(self.gaps.value, buckets)
        gap += a * (self._since(now, buckets) / count - gap)
        self.gaps.value.scatter_update(tf.IndexedSlices(gap, buckets))
        self.last.value.scatter_update(tf.IndexedSlices(tf.fill(tf.shape(buckets), now), buckets))
        self.now.assign(now)

    def log_q(self, ids):
        self._check_adapted()
        buckets = self._buckets(ids)
        gap = tf.gather(self.gaps.value, buckets) + self.rate * self._since(self.now.value, buckets)
        return -tf.math.log(tf.maximum(tf.reduce_max(gap, axis=-1), 1))

    def _since(self, now, buckets):
        """Positives since the last sighting; int64, since float32 would lose count after 2^24."""
        return tf.cast(now - tf.gather(self.last.value, buckets), tf.float32)

    def _buckets(self, ids):
        """Each hash function's bucket, in a segment of the tables of its own: `[...]` ->
        `[..., num_hashes]`.
        """
        ids = tf.cast(ids, tf.int64)[..., None]
        return (ids * self._factors + self._offsets) % PRIME % self.num_buckets + self._stretches

    def get_config(self):
        return {
            **super().get_config(),
            "num_buckets": self.num_buckets,
            "num_hashes": self.num_hashes,
            "rate": self.rate,
            "seed": self.seed,
        }

    def get_build_config(self):
        return {"num_buckets": self.num_buckets} if self.built else None

    def build_from_config(self, config):
        shape = (self.num_hashes * self.num_buckets,)
        state = {
            "trainable": False,
            "autocast": False,
            "aggregation": "only_first_replica",
            "initializer": "zeros",
        }
        self.gaps = self.add_weight(name="gaps", shape=shape, dtype="float32", **state)
        self.last = self.add_weight(name="last", shape=shape, dtype="int64", **state)
        self.now = self.add_weight(name="now", shape=(), dtype="int64", **state)
        self.built = True
