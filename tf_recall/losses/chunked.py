"""The softmax of many rows against many shared negatives, for a chunk of rows at a time."""

import tensorflow as tf

from tf_recall.losses.scores import Scores, masked_scores

CHUNK = 2**24  # scores in memory at once: 64 MiB; less would write the items' gradients too often


def softmax_loss(scores: Scores, weight: tf.Tensor) -> tf.Tensor:
    """The softmax loss of `Scores`, over shared negatives and each row's own.

    sum_i weight[i] * -log( exp positive[i] / (exp positive[i] + sum_j exp negative[i, j]) )

    Scores exist for a few rows at a time, and their gradients are formed while they do: the memory
    is O(B + N + `CHUNK`), and nothing is computed twice (a second derivative is not defined).

    Args:
        scores: `Scores` of B rows, N shared negatives and H own ones.
        weight: `[B]` float32; no gradient flows to it.

    Returns:
        A float32 scalar; its gradients reach `query`, `positive`, `own` and `items`.
    """
    alone = tf.concat([scores.positive[:, None], scores.own], axis=1)
    inputs = scores.query, scores.items, alone
    loss, *gradients = _in_chunks(
        *map(tf.stop_gradient, inputs), scores.ids, scores.item_ids, scores.shift, weight
    )
    # These terms are 0 and carry the gradients. `tf.custom_gradient` would do the same, but keep
    # every traced graph, with its model's tables, until the process ends.
    moves = [
        tf.reduce_sum(g * (x - tf.stop_gradient(x))) for g, x in zip(gradients, inputs, strict=True)
    ]
    return loss + tf.add_n(moves)


def _in_chunks(query, items, alone, ids, item_ids, shift, weight):
    """The loss and its gradients, by query `[B, D]`, items `[N, D]` and alone `[B, 1 + H]`."""
    num_rows = _length(query)
    num_chunks, rows = _cut(num_rows, _length(items))
    missing = num_chunks * rows - num_rows  # the last chunk is filled up with rows of weight 0

    def chunks(values):
        filled = tf.pad(values, [[0, missing], *[[0, 0]] * (values.shape.rank - 1)])
        return tf.reshape(filled, tf.concat([[num_chunks, rows], tf.shape(values)[1:]], axis=0))

    query = chunks(query)
    alone = chunks(alone)
    ids = chunks(ids)
    weight = chunks(weight)

    def step(at, loss, by_query, by_items, by_alone):
        part = _chunk(query[at], items, alone[at], ids[at], item_ids, shift, weight[at])
        return (
            at + 1,
            loss + part[0],
            by_query.write(at, part[1]),
            by_items + part[2],
            by_alone.write(at, part[3]),
        )

    empty = [
        tf.TensorArray(tf.float32, num_chunks, element_shape=values.shape[1:])
        for values in (query, alone)
    ]
    start = 0, 0.0, empty[0], tf.zeros_like(items), empty[1]
    _, loss, by_query, by_items, by_alone = tf.while_loop(
        lambda at, *_: at < num_chunks, step, start, parallel_iterations=1
    )
    return loss, by_query.concat()[:num_rows], by_items, by_alone.concat()[:num_rows]


def _chunk(query, items, alone, ids, item_ids, shift, weight):
    logits = masked_scores(query, items, ids, item_ids, shift)  # [R, N]
    top = tf.reduce_max(alone, axis=1)
    top = tf.maximum(top, tf.reduce_max(logits, axis=1))[:, None]  # [R, 1]
    negatives = tf.exp(logits - top)
    alone_exp = tf.exp(alone - top)
    total = tf.reduce_sum(negatives, axis=1) + tf.reduce_sum(alone_exp, axis=1)  # [R]
    gap = top[:, 0] - alone[:, 0]  # before the log, which a large `top` would round off
    loss = tf.reduce_sum(weight * (tf.math.log(total) + gap))
    scale = (weight / total)[:, None]
    by_query = scale * tf.matmul(negatives, items)
    by_items = tf.matmul(negatives, query * scale, transpose_a=True)
    by_positive = tf.pad(weight[:, None], [[0, 0], [0, tf.shape(alone)[1] - 1]])
    return loss, by_query, by_items, alone_exp * scale - by_positive


def _cut(num_rows, num_items):
    """How many chunks, and how many rows each has."""
    # B times N is not computed: it may be above 2^31
    most = 1 + CHUNK // (1 + num_items)
    num_chunks = -(-num_rows // most)
    return num_chunks, -(-num_rows // num_chunks)


def _length(values):
    return tf.shape(values)[0] if values.shape[0] is None else values.shape[0]
