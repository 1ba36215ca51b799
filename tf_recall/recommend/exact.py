"""Products of vectors that are the same to the bit on every machine and in any company."""

import numpy as np
import tensorflow as tf

MANTISSA = 53  # bits of float64
TILE = 4096  # items multiplied at once: what fits a core's cache


def rounded(vectors: np.ndarray) -> np.ndarray:
    """The vectors with so few bits that every sum in their products is exact in float64.

    Each becomes a whole multiple of a power of two of its own: of vectors of 256 numbers 22 bits
    are left, nearly as many as float32 has. A machine may then add in any order.

    Args:
        vectors: `[n, D]` float.

    Returns:
        `[n, D]` float32.
    """
    bits = (MANTISSA - int(np.ceil(np.log2(max(vectors.shape[1], 1))))) // 2
    _, exponent = np.frexp(np.abs(vectors).max(axis=1, keepdims=True, initial=0))
    unit = np.ldexp(1.0, exponent - min(bits, 23))  # [n, 1]
    return (np.rint(vectors / unit) * unit).astype(np.float32)


def exact_product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The products of all vectors with all others, exact but for one rounding to float32.

        product[b, v] = sum_d(left[b, d] * right[v, d])

    A product of floats is added up in another order for one row than for many, so that an answer
    would depend on which others are asked for beside it; sums that are exact have no order.
    TensorFlow multiplies: NumPy's threads spin for each tile where others want the cores too.

    Args:
        left: `[B, D]`, as `rounded` returns.
        right: `[V, D]` likewise.

    Returns:
        `[B, V]` float32.
    """
    product = np.empty((len(left), len(right)), np.float32)
    with tf.device("CPU"):
        left = tf.constant(left, tf.float64)
        for start in range(0, len(right), TILE):
            tile = slice(start, start + TILE)
            items = tf.cast(right[tile], tf.float64)
            product[:, tile] = tf.matmul(left, items, transpose_b=True).numpy()
    return product
