"""Draws rows from any distribution, at the same cost for any number of rows."""

import numpy as np
import tensorflow as tf

from tf_recall.data.alias import alias_tables
from tf_recall.data.draws import unit
from tf_recall.negatives.frequency import check_counts


def alias_table(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Walker's alias table of a distribution: V equal buckets, each shared by at most two rows.

    p[row] = ( keep[row] + sum( 1 - keep[bucket] over buckets with alias[bucket] = row ) ) / V

    Args:
        weights: `[V]`, how often to draw each row, in any unit; a row of weight 0 is never drawn.

    Returns:
        keep: float32 `[V]`, the share of bucket r that belongs to row r.
        alias: int32 `[V]`, the row to which the rest of the bucket belongs.

    Raises:
        ValueError: no weights, a negative or infinite one, or none above zero.

    Example:
        >>> keep, alias = alias_table(counts**0.75)
        >>> alias_draw(keep, alias, [1024], seed=[7, 0]).shape
        TensorShape([1024])

    Paper: Walker 1977, "An Efficient Method for Generating Discrete Random Variables with General
        Distributions".
    """
    weights = check_counts(weights, "weights")
    keep, alias = alias_tables(np.array([0, len(weights)]), weights)
    return keep.astype(np.float32), alias.astype(np.int32)


def alias_draw(keep: tf.Tensor, alias: tf.Tensor, shape: list[int], seed: tf.Tensor) -> tf.Tensor:
    """Draws rows from a table of `alias_table`, with replacement.

    y = V * u,  bucket = floor(y),  row = bucket if y - bucket < keep[bucket] else alias[bucket]

    One random number is both the bucket and the coin: of the 52 bits of `u`, 28 are left for the
    coin at 10 million rows; the 24 bits of float32 would leave rows out.

    Args:
        keep: float32 `[V]`.
        alias: int32 `[V]`.
        shape: the shape of the draw, static.
        seed: integers `[2]`. Equal seeds draw equal rows, under XLA too.

    Returns:
        int32 rows of `shape`.
    """
    y = unit(shape, seed) * keep.shape[0]
    bucket = tf.cast(y, tf.int32)
    coin = tf.cast(y - tf.cast(bucket, tf.float64), tf.float32)
    return tf.where(coin < tf.gather(keep, bucket), bucket, tf.gather(alias, bucket))
