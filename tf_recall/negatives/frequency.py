"""Estimates of how often an item is a positive: from counts, or from the training stream."""

import keras
import numpy as np
import tensorflow as tf

from tf_recall.data.ranges import Rate, Seed, WholeFrom1

PRIME = 2**31 - 1  # above any row id; the product of two numbers below it fits an int64


def check_counts(counts: np.ndarray, name: str = "counts") -> np.ndarray:
    """Checks counts, or weights by another `name`, and gives them as float64 `[V]`.

    Raises:
        ValueError: no counts, a negative one, or none above zero.
    """
    counts = np.asarray(counts, np.float64)
    if counts.ndim != 1 or not np.all(counts >= 0) or not 0 < counts.sum() < np.inf:
        raise ValueError(
            f"{name} must be [V], finite, none negative, not all zero; not {counts.shape}: {counts}"
        )
    return counts


class Frequency(keras.layers.Layer):
    """The base of estimates of each item's share of the positives."""

    def adapt(self, counts: np.ndarray) -> None:
        """Starts from counts.

        Args:
            counts: `[V]`, how often each row is the positive of a training example; row 0 is the
                unknown one.

        Raises:
            ValueError: no counts, a negative one, or none above zero.
        """
        raise NotImplementedError

    def update(self, positives: tf.Tensor) -> None:
        """Updates the estimate by one training step; without effect where counts are fixed.

        Args:
            positives: `[B]` item rows, those of all replicas.
        """

    def log_q(self, ids: tf.Tensor) -> tf.Tensor:
        """The log probability that a random positive is the item: `[...]` rows -> float32 `[...]`.

        Raises:
            ValueError: `adapt` was never called.
        """
        raise NotImplementedError

    def _check_adapted(self):
        if not self.built:
            name = type(self).__name__
            raise ValueError(
                f"{name} has no probabilities yet: call adapt(counts) with the items' counts in "
                "training"
            )


@keras.saving.register_keras_serializable("tf_recall")
class Counts(Frequency):
    """Each item's share of the counts, fixed before training.

    log_q[row] = log( max(counts[row], 1) / sum(counts) )

    A row without counts (the unknown row, an item without interactions) counts as one, so that its
    log q is finite. For popularity that changes during training use `Streaming`.

    Call `adapt` once before training; the probabilities are a weight and survive a save.

    Example:
        >>> frequency = Counts()
        >>> frequency.adapt([0, 3, 1])
        >>> tf.exp(frequency.log_q([1, 2])).numpy()
        array([0.75, 0.25], dtype=float32)
    """

    def adapt(self, counts: np.ndarray) -> None:
        counts = check_counts(counts)
        if not self.built:
            self.build_from_config({"num_rows": len(counts)})
        self.log_probability.assign(np.log(np.maximum(counts, 1)) - np.log(counts.sum()))

    def log_q(self, ids: tf.Tensor) -> tf.Tensor:
        self._check_adapted()
        return tf.gather(self.log_probability.value, ids)

    def get_build_config(self) -> dict | None:
        return {"num_rows": self.log_probability.shape[0]} if self.built else None

    def build_from_config(self, config: dict) -> None:
        shape = (config["num_rows"],)
        self.log_probability = self.add_weight(
            name="log_probability", shape=shape, dtype="float32", trainable=False, autocast=False
        )
        self.built = True


@keras.saving.register_keras_serializable("tf_recall")
class Streaming(Frequency):
    """Each item's share of the positives, estimated during training in hashed buckets.

    a = 1 - (1 - rate)^count
    gap[bucket] = (1 - a) * gap[bucket] + a * (now - last[bucket]) / count
    log_q[id] = -log max over hash functions of ( gap[bucket] + rate * (now - last[bucket]) )

    A gap is the number of positives between two occurrences of an item, and 1 / gap the item's
    share. `now` counts the positives so far, `last` is `now` at the bucket's last occurrence,
    `count` the bucket's positives in the step. Memory does not grow with the number of items, and
    the estimate follows a popularity that changes. Two items in one bucket look more frequent than
    they are, hence the largest gap of several hash functions.

    Departs from the paper, whose unit of time is the step, so that an item of every batch has gap 1
    however often it occurs: here the unit is the positive, and `count` occurrences share the time
    since the last. The share of an item that does not occur falls, as the mean under a prior worth
    1 / rate occurrences does; right after an occurrence it is the paper's 1 / gap. The gaps start
    from counts instead of at a constant.

    Args:
        num_buckets: buckets of each hash function; use several times as many as there are items.
        num_hashes: how many hash functions.
        rate: weight of the newest occurrence in a gap. The probability varies by about
            sqrt(rate / 2), 7% at 0.01.
        seed: the seed of the hash functions.

    Raises:
        ValueError: `num_buckets` or `num_hashes` is not positive, or `rate` is not in (0, 1].

    Example:
        >>> frequency = Streaming(rate=0.05)
        >>> frequency.adapt(counts)
        >>> frequency.update(tf.constant([3, 3, 5]))
        >>> log_q = frequency.log_q([3, 5])

    Paper: Yi et al. 2019, "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item
        Recommendations", section 4, Algorithm 2.
    Paper: Carter and Wegman 1979, "Universal Classes of Hash Functions".
    """

    carried = ("gaps", "last", "now")  # where rows stay what they are
    of_rows = True

    def __init__(
        self,
        num_buckets: WholeFrom1 = 2**20,
        num_hashes: WholeFrom1 = 2,
        rate: Rate = 0.01,
        seed: Seed = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if num_buckets < 1 or num_hashes < 1:
            raise ValueError(
                f"num_buckets and num_hashes must be at least 1, not {num_buckets} and {num_hashes}"
            )
        if not 0 < rate <= 1:
            raise ValueError(f"rate must be above 0 and at most 1, not {rate}")
        self.num_buckets = num_buckets
        self.num_hashes = num_hashes
        self.rate = rate
        self.seed = seed
        rng = np.random.default_rng(seed)
        self._factors, self._offsets = rng.integers(1, PRIME, [2, num_hashes])
        self._segments = num_buckets * np.arange(num_hashes)

    def adapt(self, counts: np.ndarray) -> None:
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

    def update(self, positives: tf.Tensor) -> None:
        self._check_adapted()
        # Sorted, the positives of one bucket are a segment. Each of them carries the bucket's new
        # state: it is written twice, not added twice.
        buckets = tf.sort(tf.reshape(self._buckets(positives), [-1]))  # [B * num_hashes]
        ends = tf.cast(buckets != tf.roll(buckets, -1, axis=0), tf.int32)
        segment = tf.cumsum(ends, exclusive=True)
        sizes = tf.math.unsorted_segment_sum(tf.ones_like(segment), segment, tf.size(segment))
        count = tf.cast(tf.gather(sizes, segment), tf.float32)
        now = self.now.value + tf.size(positives, tf.int64)
        a = 1 - (1 - self.rate) ** count
        gap = tf.gather(self.gaps.value, buckets)
        gap += a * (self._since(now, buckets) / count - gap)
        self.gaps.value.scatter_update(tf.IndexedSlices(gap, buckets))
        self.last.value.scatter_update(tf.IndexedSlices(tf.fill(tf.shape(buckets), now), buckets))
        self.now.assign(now)

    def log_q(self, ids: tf.Tensor) -> tf.Tensor:
        self._check_adapted()
        buckets = self._buckets(ids)
        gap = tf.gather(self.gaps.value, buckets) + self.rate * self._since(self.now.value, buckets)
        return -tf.math.log(tf.maximum(tf.reduce_max(gap, axis=-1), 1))

    def _since(self, now, buckets):
        """Positives since the last occurrence, float32."""
        # the difference of int64: float32 counts to 2^24 only
        return tf.cast(now - tf.gather(self.last.value, buckets), tf.float32)

    def _buckets(self, ids):
        """Each hash function's bucket, in its own segment: `[...]` -> `[..., num_hashes]`."""
        ids = tf.cast(ids, tf.int64)[..., None]
        return (ids * self._factors + self._offsets) % PRIME % self.num_buckets + self._segments

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "num_buckets": self.num_buckets,
            "num_hashes": self.num_hashes,
            "rate": self.rate,
            "seed": self.seed,
        }

    def get_build_config(self) -> dict | None:
        return {"num_buckets": self.num_buckets} if self.built else None

    def build_from_config(self, config: dict) -> None:
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
