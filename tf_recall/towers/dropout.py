"""Dropout of which a row's draw is the same wherever in a step the row is encoded."""

import zlib

import keras
import tensorflow as tf

from tf_recall.data.draws import counter_of, unit_of

WIDEST = 2**20  # numbers of a vector
ROWS = 2**31
DEPTHS = 256  # layers that may share a dropout of places


class RowDropout(keras.layers.Layer):
    """Leaves out a share of the numbers of each row's vector, in training.

    output[b, n] = vectors[b, n] / (1 - rate) where kept[rows[b], n], else 0

    A draw is a function of the seed, the step, the row and the number: not of the place in the
    batch, so that an item that is one row's positive and another's negative has one vector in a
    step, on every replica, and a resumed run continues the draws.

    Args:
        rate: the share to leave out, from 0 to below 1.
        seed: of the draws.
        entity: whose rows they are; one user and one item of the same row differ.

    Call: vectors `[B, D]`, rows `[B]`; `depth` counts the layers that share it -> `[B, D]`.

    Raises:
        ValueError: a rate out of its range.

    Paper: Srivastava et al. 2014, "Dropout: A Simple Way to Prevent Neural Networks from
        Overfitting", section 4.
    """

    carried = ("draws",)

    def __init__(self, rate: float, seed: int, entity: str, **kwargs) -> None:
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"dropout must be a share from 0 to below 1, not {rate!r}")
        self.rate = rate
        self.seed = seed + zlib.crc32(entity.encode())
        if rate:
            self.draws = counter_of(self)
        self.built = True

    def call(
        self, vectors: tf.Tensor, rows: tf.Tensor, depth: int = 0, training: bool = False
    ) -> tf.Tensor:
        if not (training and self.rate):
            return vectors
        first = (tf.cast(rows, tf.int64) + depth * ROWS) * WIDEST  # [B]
        each = first[:, None] + tf.range(vectors.shape[1], dtype=tf.int64)  # [B, D]
        kept = unit_of(each, [self.seed, self.draws.value]) >= self.rate
        return tf.where(kept, vectors / (1 - self.rate), 0)

    def end_step(self) -> None:
        """Ends a training step: the next one leaves out others."""
        if self.rate:
            self.draws.assign_add(1)


class PlaceDropout(keras.layers.Layer):
    """Dropout of vectors at places of sequences, where no row stands for what is drawn.

    output = x / (1 - rate) where kept, else 0

    A draw is a function of the seed, the step, the depth and the place in the batch, so that a
    resumed run continues the draws.

    Args:
        rate: the share to leave out, from 0 to below 1.
        seed: of the draws.

    Call: x of any shape; `depth` counts the layers that share it -> the same shape.

    Raises:
        ValueError: a rate out of its range.
    """

    carried = ("draws",)

    def __init__(self, rate: float, seed: int, **kwargs) -> None:
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"dropout must be a share from 0 to below 1, not {rate!r}")
        self.rate = rate
        self.seed = seed
        if rate:
            self.draws = counter_of(self)
        self.built = True

    def call(self, x: tf.Tensor, depth: int = 0, training: bool = False) -> tf.Tensor:
        if not (training and self.rate):
            return x
        seed = tf.stack([tf.constant(self.seed * DEPTHS + depth, tf.int32), self.draws.value])
        bits = tf.random.stateless_uniform(tf.shape(x), seed, None, None, tf.int32, alg="philox")
        lowest = round((self.rate - 0.5) * 2**32)  # the integers lie between -2^31 and 2^31
        return tf.where(bits >= lowest, x / (1 - self.rate), 0)

    def end_step(self) -> None:
        """Ends a training step: the next one leaves out others."""
        if self.rate:
            self.draws.assign_add(1)
