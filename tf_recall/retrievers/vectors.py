"""The vectors of a batch, as `Retriever.encode` returns them."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf


class Encoded(NamedTuple):
    """The vectors of a batch of T queries, and how to compute the loss from them.

    Args:
        query: `[T, D]`.
        ids: `[T]`, the rows that samplers use as positives.
        vectors: `[T, D]`, their vectors; None where the model refuses samplers of the batch.
        embed: rows `[M]` -> `[M, D]`, for the items that a sampler draws.
        loss: from `(candidates, log_q)` to the batch's loss, a scalar.
        step: of the training, int64.
    """

    query: tf.Tensor
    ids: tf.Tensor
    vectors: tf.Tensor | None
    embed: Callable
    loss: Callable
    step: tf.Tensor


def nearest(queries: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    """Of each row's several queries the one that its positive is nearest to: it alone learns.

    query[b] = queries[b, argmax_k queries[b, k] . items[b]]

    Args:
        queries: `[B, K, D]`; where they are `[B, D]` there is nothing to choose.
        items: `[B, D]`, the positives.

    Returns:
        `[B, D]`.
    """
    if queries.shape.rank == 2:
        return queries
    scores = tf.einsum("bkd,bd->bk", tf.cast(queries, tf.float32), tf.cast(items, tf.float32))
    return tf.gather(queries, tf.argmax(scores, axis=1), batch_dims=1)  # [B, D]
