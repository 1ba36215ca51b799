"""Noise contrastive estimation by TensorFlow's own `tf.nn.nce_loss`."""

import keras
import tensorflow as tf

from tf_recall.losses.base import Loss, check_fresh, weighted_mean
from tf_recall.losses.scores import scaled
from tf_recall.losses.window_scores import flat, hits

NEVER = tf.float32.max  # expected draws of an item that must not be a negative: its loss is 0


@keras.saving.register_keras_serializable("tf_recall")
class NCELoss(Loss):
    """Noise contrastive estimation, computed by `tf.nn.nce_loss` (METHODS.md L2).

    expected[t] = N * exp(log_q[t])
    G[i, j] = query[i] . item[j] / temperature - log(expected[j])
    loss[i] = sum_{p of the P positives} cross_entropy(1 / P, G[i, p])
              + sum_{j of N, not masked} log(1 + exp(G[i, j]))

    N is how many negatives the sampler draws: `Popularity(num=8)` for eight.

    With one positive a row it equals `NCE(negatives=N)`, in value and in gradients. With several,
    the contexts of a center, it is another loss than `NCE`: TensorFlow gives each context the
    target 1 / P instead of 1, and counts each draw once, not once per context. P is 2 * window, and
    one more with a conversion; a center with fewer contexts repeats them in turn, and one without
    any has loss 0.

    It needs no table of all items: the classes that TensorFlow gets are the vectors of this batch,
    of any tower. A draw that is a positive of its row is not a negative of it. TensorFlow's
    `remove_accidental_hits` is not used, since it removes one of several copies and XLA cannot
    compile it; instead the expected count of such a draw, or of one that is not valid, is 3e38: its
    loss is 0 for scores below about 80.

    Args:
        temperature: as `Loss`.

    Raises:
        ValueError: the temperature is not above 0; in a model, a sampler that draws negatives of
            each row's own, or stale vectors alone. TensorFlow's loss has one set of negatives for
            all rows; `NCE` takes both kinds.

    Example:
        >>> Item2Vec(dim=64, negatives=Popularity(num=64), loss=NCELoss())

    Paper: Gutmann and Hyvarinen 2010, "Noise-contrastive estimation: A new estimation principle for
        unnormalized statistical models", section 2.
    """

    corrected = True
    several_positives = True

    def check_negatives(self, negatives):
        if negatives.gives_own:
            raise ValueError(
                f"NCELoss has one set of negatives for all rows, and {type(negatives).__name__} "
                "draws each row its own: use Uniform, Popularity, LogUniform, InBatch or another "
                "sampler of shared negatives, or the loss NCE"
            )
        check_fresh(self, negatives)

    def of_vectors(
        self, query, item, ids, candidates, step=0, log_q=None, weight=None, merge=False
    ):
        query = scaled(query, self.temperature_at(step))
        drawn_ids, drawn_vectors, valid = _joined(candidates)
        removed = (ids[:, None] == drawn_ids) | ~valid  # [B, N]
        rows = tf.range(tf.shape(ids)[0])[:, None]  # [B, 1]
        losses = _nce(query, item, ids, rows, drawn_ids, drawn_vectors, removed, log_q)
        return weighted_mean(losses, weight)

    def of_windows(self, query, contexts, ids, valid, candidates, extra=None, step=0, log_q=None):
        query = scaled(query, self.temperature_at(step))
        dim = query.shape[2]
        num_centers = query.shape[1]
        num_contexts = ids.shape[1]
        drawn_ids, drawn_vectors, drawn_valid = _joined(candidates)
        found = [hits(tf.cast(valid, tf.float32), ids, extra, drawn) for drawn in candidates]
        removed = (tf.concat(found, axis=1) > 0) | ~drawn_valid  # [T, N]

        rows = tf.reshape(tf.range(tf.size(ids)), [-1, 1, num_contexts])  # [G, 1, J]
        rows = flat(tf.broadcast_to(rows, tf.shape(valid)))  # [T, J]
        valid = flat(valid)  # [T, J]
        items = tf.reshape(contexts, [-1, dim])
        item_ids = tf.reshape(ids, [-1])
        num_true = num_contexts - num_centers  # 2 * window
        if extra is not None:
            beside = tf.size(ids) + tf.reshape(tf.range(tf.size(extra.ids)), tf.shape(extra.ids))
            rows = tf.concat([rows, beside], axis=1)  # [T, J + E]
            valid = tf.concat([valid, extra.valid], axis=1)
            items = tf.concat([items, tf.reshape(extra.vectors, [-1, dim])], axis=0)
            item_ids = tf.concat([item_ids, tf.reshape(extra.ids, [-1])], axis=0)
            num_true += extra.ids.shape[1]

        rows = _first_valid(rows, valid, num_true)  # [T, P]
        query = tf.reshape(query, [-1, dim])  # [T, D]
        losses = _nce(query, items, item_ids, rows, drawn_ids, drawn_vectors, removed, log_q)
        return weighted_mean(losses, tf.reduce_any(valid, axis=1))


def _nce(query, items, item_ids, rows, drawn_ids, drawn_vectors, removed, log_q):
    """`tf.nn.nce_loss` of each row, `[B]`, over the vectors at hand.

    Args:
        query: `[B, D]`.
        items, item_ids: `[M, D]` and `[M]`, among them the positives.
        rows: `[B, P]`, which of the items are a row's positives.
        drawn_ids, drawn_vectors: `[N]` and `[N, D]`.
        removed: bool `[B, N]`, which draws are no negatives of a row.
        log_q: `ids [...] -> [...]`; None: every item is expected once.
    """
    num_items = tf.shape(items)[0]
    num_drawn = tf.shape(drawn_ids)[0]

    def expected(ids):
        if log_q is None:
            return tf.ones(tf.shape(ids))
        return tf.cast(num_drawn, tf.float32) * tf.exp(log_q(ids))

    sampled_values = (
        num_items + tf.range(num_drawn),
        expected(tf.gather(item_ids, rows)),
        tf.where(removed, NEVER, expected(drawn_ids)),  # [B, N]: a count for each row
    )
    vectors = [tf.cast(items, tf.float32), tf.cast(drawn_vectors, tf.float32)]
    return tf.nn.nce_loss(
        weights=tf.concat(vectors, axis=0),  # [M + N, D]
        biases=tf.zeros([num_items + num_drawn]),
        labels=rows,
        inputs=query,
        num_sampled=num_drawn,
        num_classes=num_items + num_drawn,
        num_true=rows.shape[1],
        sampled_values=sampled_values,
    )


def _joined(candidates):
    """All shared candidates as one: ids `[N]`, vectors `[N, D]`, valid bool `[N]`."""
    ids = tf.concat([drawn.ids for drawn in candidates], axis=0)
    vectors = tf.concat([tf.cast(drawn.vectors, tf.float32) for drawn in candidates], axis=0)
    valid = [
        tf.ones_like(drawn.ids, tf.bool) if drawn.valid is None else drawn.valid
        for drawn in candidates
    ]
    return ids, vectors, tf.concat(valid, axis=0)


def _first_valid(values, valid, num):
    """A row's valid values, repeated in turn until there are `num`: `[T, P] -> [T, num]`."""
    positions = tf.math.top_k(tf.cast(valid, tf.float32), num).indices  # the valid ones first
    count = tf.reduce_sum(tf.cast(valid, tf.int32), axis=1, keepdims=True)  # [T, 1]
    turns = tf.range(num) % tf.clip_by_value(count, 1, num)  # [T, num]
    return tf.gather(values, tf.gather(positions, turns, batch_dims=1), batch_dims=1)
