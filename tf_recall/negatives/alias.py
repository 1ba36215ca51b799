"""Draws from any distribution over rows, at a cost that does not depend on how many rows there are."""

import numpy as np
import tensorflow as tf

from tf_recall.draws import unit
from tf_recall.negatives.frequency import check_counts


def alias_table(weights):
    """Walker's table: V buckets of equal size, each of which holds a row's own part and a part of one other row.

    probability[row] = ( keep[row] + sum( 1 - keep[bucket] over buckets with alias[bucket] = row ) ) / V

    With w = V * weights / sum(weights), the heavy rows (w >= 1) fill up the buckets of the light ones, in order: one
    starts where the one before ran out. A heavy row that gave more than it had is filled up by the next.

    Args:
        weights: `[V]`, how often each row is to be drawn, in any unit; a row of weight 0 never is.

    Returns:
        keep: float32 `[V]`, the row's own part of its bucket.
        alias: int32 `[V]`, whose the rest of the bucket is.

    Raises:
        ValueError: no weights, a negative or infinite one, or none above zero.

    Example:
        >>> keep, alias = alias_table(counts**0.75)
        >>> alias_draw(keep, alias, [1024], seed=tf.constant([7, step]))

    Walker, "An Efficient Method for Generating Discrete Random Variables with General Distributions", ACM TOMS 1977;
    the sweep in order is that of Hübschle-Schneider, Sanders, "Parallel Weighted Random Sampling", ESA 2019, section 4.
    """
    weights = check_counts(weights, "weights")
    w = weights / weights.sum() * len(weights)
    keep, alias = np.minimum(w, 1), np.arange(len(w))
    is_heavy = w >= min(1, w.max())  # equal weights may all be rounded down
    (light,), (heavy,) = np.nonzero(~is_heavy), np.nonzero(is_heavy)
    asked = np.concatenate([[0], np.cumsum(1 - w[light])])  # asked[i]: by the first i lights together
    given = np.cumsum(w[heavy] - 1)  # given[j]: the first j + 1 heavies together can give that much
    giver = np.searchsorted(given, asked[:-1], side="right")
    served = np.searchsorted(giver, np.arange(len(heavy)), side="right")  # lights that are full when a heavy is done
    keep[heavy] = np.clip(1 - asked[served] + given, 0, 1)
    alias[heavy[:-1]] = heavy[1:]
    # What rounding leaves over at the end, where both sums should be equal, is the last heavy's, its own bucket too.
    alias[light] = heavy[np.minimum(giver, len(heavy) - 1)]
    return keep.astype(np.float32), alias.astype(np.int32)


def alias_draw(keep, alias, shape, seed):
    """Rows drawn from a table of `alias_table`, with replacement.

    y = V * u,  bucket = floor(y),  row = bucket if y - bucket < keep[bucket] else alias[bucket]

    One random number is both the bucket and the coin: of the 52 bits of `u`, 28 are left for the coin at 10 million
    rows, where the 24 of float32 would leave rows out.

    Args:
        keep: float32 `[V]`.
        alias: int32 `[V]`.
        shape: of the draw, static.
        seed: integers `[2]`. Equal seeds draw equal rows, under XLA too.

    Returns:
        int32 rows of `shape`.
    """
    y = unit(shape, seed) * keep.shape[0]
    bucket = tf.cast(y, tf.int32)
    coin = tf.cast(y - tf.cast(bucket, tf.float64), tf.float32)
    return tf.where(coin < tf.gather(keep, bucket), bucket, tf.gather(alias, bucket))
