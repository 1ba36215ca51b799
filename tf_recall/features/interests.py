"""Poolings that make several vectors of a history, one for each interest (METHODS.md M18)."""

import keras
import tensorflow as tf

from tf_recall.data.ranges import Seed, WholeFrom1
from tf_recall.features.pooling import Pooling

ABSENT = -1e9  # exp of it is 0, and its differences are no NaN
INTERESTS = 4
GAIN = 6.0


class InterestPooling(Pooling):
    """Several vectors of one sequence, in place of one; a subclass defines `routed`.

    pooled[b, k] = sum_l coefficients[b, k, l] mapped(vectors)[b, l]

    An `InterestTower` keeps them apart; any other tower takes them as one long vector. They never
    see the candidate.

    Args:
        interests: how many vectors.
        adaptive: of a short sequence fewer: K' = max(1, min(interests, floor(log2 l))) for l items;
            the others are copies of the first, which answer nothing that it does not.

    Call: as `Pooling` -> `[B, interests * D]`, interest after interest.

    Raises:
        ValueError: `interests` below 1.
    """

    def __init__(self, interests: WholeFrom1 = INTERESTS, adaptive: bool = False, **kwargs) -> None:
        super().__init__(**kwargs)
        if interests < 1:
            raise ValueError(f"interests must be at least 1, not {interests}")
        self.interests = interests
        self.adaptive = adaptive

    def dim(self, size: int) -> int:
        return self.interests * size

    def mapped(self, vectors: tf.Tensor) -> tf.Tensor:
        """The vectors `[B, L, D]` of which interests are sums."""
        return vectors

    def routed(self, vectors: tf.Tensor, valid: tf.Tensor, active: tf.Tensor) -> tf.Tensor:
        """How much each position counts in each interest: `[B, K, L]`, 0 where it is not valid.

        Args:
            vectors: `[B, L, D]` float32, as `mapped` gives them.
            valid: bool `[B, L]`.
            active: bool `[B, K]`, the interests that the sequence has.
        """
        raise NotImplementedError

    def coefficients(self, vectors: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
        """How much each position counts in each interest, of the vectors of a call: `[B, K, L]`."""
        return self._coefficients(self.mapped(tf.cast(vectors, tf.float32)), valid)

    def call(self, vectors: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
        mapped = self.mapped(tf.cast(vectors, tf.float32))
        pooled = tf.einsum("bkl,bld->bkd", self._coefficients(mapped, valid), mapped)
        return tf.reshape(pooled, [-1, self.interests * mapped.shape[2]])  # [B, K * D]

    def _coefficients(self, mapped, valid):
        active = self._active(valid)
        weights = self.routed(mapped, valid, active)
        return tf.where(active[:, :, None], weights, weights[:, :1])  # [B, K, L]

    def _active(self, valid):
        """Bool `[B, K]`: interest k where 2^(k + 1) items are there, and always the first."""
        number = tf.reduce_sum(tf.cast(valid, tf.int32), axis=1, keepdims=True)  # [B, 1]
        least = [0, *(2 ** (k + 1) for k in range(1, self.interests))]
        return number >= (least if self.adaptive else [0] * self.interests)

    def get_config(self) -> dict:
        own = {"interests": self.interests, "adaptive": self.adaptive}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("tf_recall")
class InterestAttention(InterestPooling):
    """Each interest attends to the sequence by itself (METHODS.md M18, ComiRec-SA).

    A = softmax over l of W2 tanh(W1 (H + P))    [K, L]
    pooled = A H                                 [K, D]

    P is a trained vector for each position, counted from the latest, so that an interest can prefer
    what is recent.

    Args:
        interests, adaptive: as `InterestPooling`.
        units: rows of W1; None: as many as a vector has numbers.

    Call: as `InterestPooling`.

    Example:
        >>> History(32, pooling=InterestAttention(interests=4)).dim
        128

    Paper: Cen et al. 2020, "Controllable Multi-Interest Framework for Recommendation", section 3.2;
        Lin et al. 2017, "A Structured Self-attentive Sentence Embedding", section 2.1.
    """

    def __init__(
        self,
        interests: WholeFrom1 = INTERESTS,
        adaptive: bool = False,
        units: WholeFrom1 | None = None,
        **kwargs,
    ) -> None:
        super().__init__(interests, adaptive, **kwargs)
        self.units = units

    def build(self, vectors_shape: tuple, valid_shape: tuple | None = None) -> None:
        _, length, size = vectors_shape
        units = self.units or size
        # vectors of length 1: numbers of spread 1 reach tanh, or all interests start as the mean
        wide = keras.initializers.RandomNormal(stddev=1.0)
        self.hidden = self.add_weight(name="hidden", shape=(size, units), initializer=wide)
        self.heads = self.add_weight(name="heads", shape=(units, self.interests))
        self.positions = self.add_weight(
            name="positions", shape=(length, size), initializer="zeros"
        )
        self.built = True

    def routed(self, vectors, valid, active):
        placed = vectors + tf.cast(self.positions, tf.float32)[-_length(vectors) :]
        hidden = tf.tanh(tf.einsum("bld,du->blu", placed, tf.cast(self.hidden, tf.float32)))
        logits = tf.einsum("blu,uk->blk", hidden, tf.cast(self.heads, tf.float32))
        valid = valid[:, :, None]
        weights = tf.nn.softmax(tf.where(valid, logits, ABSENT), axis=1)
        return tf.transpose(tf.where(valid, weights, 0.0), [0, 2, 1])  # [B, K, L]

    def get_config(self) -> dict:
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable("tf_recall")
class CapsuleRouting(InterestPooling):
    """Items are routed to the interests that they agree with (METHODS.md M18, MIND's B2I routing).

    b[k, l] = drawn once, from a normal distribution, by interest and position
    repeat `iterations` times:
        w = softmax over k of b;  z[k] = sum_l w[k, l] S h[l];  u[k] = squash(z[k])
        b[k, l] += u[k] . S h[l]
    squash(z) = |z|^2 / (1 + |z|^2) z / |z|

    S is one matrix for all pairs. The draws belong to the seed and are saved; gradients flow
    through the last sum alone, not through the routing.

    Args:
        interests, adaptive: as `InterestPooling`.
        iterations: how often items are routed.
        seed: of the draws.

    Call: as `InterestPooling`.

    Raises:
        ValueError: `iterations` below 1.

    Example:
        >>> History(32, pooling=CapsuleRouting(interests=4, adaptive=True)).dim
        128

    Paper: Li et al. 2019, "Multi-Interest Network with Dynamic Routing for Recommendation at
        Tmall", section 3.3; Sabour et al. 2017, "Dynamic Routing Between Capsules", section 2.
    """

    def __init__(
        self,
        interests: WholeFrom1 = INTERESTS,
        adaptive: bool = False,
        iterations: WholeFrom1 = 3,
        seed: Seed = 0,
        **kwargs,
    ) -> None:
        super().__init__(interests, adaptive, **kwargs)
        if iterations < 1:
            raise ValueError(f"iterations must be at least 1, not {iterations}")
        self.iterations = iterations
        self.seed = seed

    def build(self, vectors_shape: tuple, valid_shape: tuple | None = None) -> None:
        _, length, size = vectors_shape
        # of vectors of length 1: with a smaller gain they agree too little to move from the draws
        start = keras.initializers.Identity(gain=GAIN)
        self.bilinear = self.add_weight(name="bilinear", shape=(size, size), initializer=start)
        self.first = self.add_weight(
            name="first",
            shape=(self.interests, length),
            initializer=keras.initializers.RandomNormal(stddev=1.0, seed=self.seed),
            trainable=False,
        )
        self.built = True

    def mapped(self, vectors):
        return tf.einsum("bld,de->ble", vectors, tf.cast(self.bilinear, tf.float32))

    def routed(self, vectors, valid, active):
        fixed = tf.stop_gradient(vectors)
        logits = tf.cast(self.first, tf.float32)[None, :, -_length(vectors) :]  # [1, K, L]
        for at in range(self.iterations):
            weights = tf.nn.softmax(tf.where(active[:, :, None], logits, ABSENT), axis=1)
            weights = tf.where(valid[:, None], weights, 0.0)  # [B, K, L]
            if at < self.iterations - 1:
                capsules = squash(tf.einsum("bkl,bld->bkd", weights, fixed))
                logits += tf.einsum("bkd,bld->bkl", capsules, fixed)
        return weights

    def call(self, vectors: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
        pooled = super().call(vectors, valid)
        capsules = tf.reshape(pooled, [-1, self.interests, vectors.shape[2]])
        return tf.reshape(squash(capsules), tf.shape(pooled))

    def get_config(self) -> dict:
        return {**super().get_config(), "iterations": self.iterations, "seed": self.seed}


def squash(vectors: tf.Tensor) -> tf.Tensor:
    """Vectors `[..., D]` of the same direction, shorter than 1: |z|^2 / (1 + |z|^2) z / |z|."""
    square = tf.reduce_sum(tf.square(vectors), axis=-1, keepdims=True)
    return vectors * tf.sqrt(square + 1e-12) / (1 + square)


def _length(vectors):
    """L of vectors `[B, L, D]`: an int where tracing knows it."""
    return vectors.shape[1] or tf.shape(vectors)[1]
