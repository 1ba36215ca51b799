"""Random numbers that depend on nothing but the seed, with and without XLA."""

import keras
import tensorflow as tf

BITS = 52  # of a float64
GAMMA = -0x61C8864680B583EB  # 2^64 over the golden ratio, as a signed number


def unit(shape: list[int], seed: tf.Tensor) -> tf.Tensor:
    """Draws uniform numbers from [0, 1): float64 of `shape`.

    u = (an integer of 52 random bits) / 2^52

    TensorFlow's own stateless floats differ under XLA; its integers do not.

    Args:
        shape: the shape of the draw.
        seed: integers `[2]`. Equal seeds draw equal numbers.

    Example:
        >>> unit([2, 3], seed=[7, 0]).shape
        TensorShape([2, 3])
    """
    bits = tf.random.stateless_uniform(
        shape, seed, minval=None, maxval=None, dtype=tf.int64, alg="philox"
    )
    return tf.cast(tf.bitwise.bitwise_and(bits, 2**BITS - 1), tf.float64) / 2**BITS


def unit_of(ids: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Draws a uniform number from [0, 1) for each id: float64, the shape of `ids`.

    Equal ids draw equal numbers, so a draw does not depend on how a batch is ordered, deduplicated
    or split between devices.

    Args:
        ids: int32 or int64.
        seed: integers `[2]`.

    Example:
        >>> first, second, third = unit_of(tf.constant([4, 9, 4]), seed=[7, 0])
        >>> bool(first == third), bool(first == second)
        (True, False)

    Paper: Steele et al. 2014, "Fast Splittable Pseudorandom Number Generators", for SplitMix64.
    """
    start = _mix(tf.cast(seed[0], tf.int64) + GAMMA) + tf.cast(seed[1], tf.int64) * GAMMA
    z = _mix(_mix(start) + tf.cast(ids, tf.int64) * GAMMA)
    return tf.cast(tf.bitwise.bitwise_and(z, 2**BITS - 1), tf.float64) / 2**BITS


def counter_of(layer: keras.layers.Layer) -> keras.Variable:
    """Adds a layer's counter of its draws, an int32 that starts at 0.

    It is a weight, so that a resumed run continues the draws; Keras saves no SeedGenerator.
    """
    return layer.add_weight(
        name="draws",
        shape=(),
        dtype="int32",
        trainable=False,
        initializer="zeros",
        aggregation="only_first_replica",
    )


def _mix(z):
    for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15)):
        z = tf.bitwise.bitwise_xor(z, _shifted(z, shift)) * factor
    return tf.bitwise.bitwise_xor(z, _shifted(z, 31))


def _shifted(z, shift):
    """`z` shifted to the right, filled with zeros."""
    return tf.bitwise.bitwise_and(
        tf.bitwise.right_shift(z, tf.cast(shift, tf.int64)), 2 ** (64 - shift) - 1
    )
