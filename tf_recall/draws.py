"""Random numbers that are a function of the seed alone, with and without XLA."""

import tensorflow as tf

BITS = 52  # of a float64


def unit(shape, seed):
    """Evenly drawn from [0, 1): float64 of `shape`.

    u = (an integer of 52 random bits) / 2^52

    TensorFlow's own stateless floats differ under XLA; its integers do not.

    Args:
        shape: of the draw.
        seed: integers `[2]`. Equal seeds draw equal numbers.
    """
    bits = tf.random.stateless_uniform(shape, seed, minval=None, maxval=None, dtype=tf.int64, alg="philox")
    return tf.cast(tf.bitwise.bitwise_and(bits, 2**BITS - 1), tf.float64) / 2**BITS
