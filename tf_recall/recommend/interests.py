"""Answers to several queries a user, one for each interest: merged, and explained."""

import numpy as np
import tensorflow as tf


def merged(score: tf.Tensor, position: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The best k of what several searches found, each item once, with its highest score.

    None of the k best is lost where each search gave its own k best: an item is as far up in the
    list of the query that it is nearest to.

    Args:
        score: `[B, K * k]`, -inf where there is none.
        position: `[B, K * k]` of the items.
        k: how many.

    Returns:
        score `[B, k]`, falling, and position `[B, k]`; of equal scores the lower position first.
    """
    best_first = tf.argsort(score, axis=1, direction="DESCENDING", stable=True)
    score, position = (tf.gather(each, best_first, batch_dims=1) for each in (score, position))
    by_item = tf.argsort(position, axis=1, stable=True)
    score, position = (tf.gather(each, by_item, batch_dims=1) for each in (score, position))
    repeated = tf.pad(position[:, 1:] == position[:, :-1], [[0, 0], [1, 0]])
    score, order = tf.math.top_k(tf.where(repeated, -np.inf, score), k)
    return score, tf.gather(position, order, batch_dims=1)
