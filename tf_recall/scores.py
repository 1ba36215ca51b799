"""Score arithmetic, in one place: temperature, then price, then mask."""

from typing import NamedTuple

import tensorflow as tf

from tf_recall.negatives.base import Candidates

MASKED = -1e30  # a finite "never": exp of it is 0, and it makes no NaN


class Scores(NamedTuple):
    """A batch's scores, as what they are made of, so that `[B, N]` need not exist at once.

    positive[i] = query[i] . item[i] / temperature - log_q[item i]
    rival[i, j] = query[i] . item[j] / temperature - log_q[item j],  masked where id[j] == id[i] or j is not valid

    The price is subtracted *after* the division, and only where the loss is `corrected`. Use `of`; the fields are

    Args:
        query: `[B, dim]` float32, divided by the temperature.
        positive: `[B]`.
        ids: `[B]`, the positives' ids.
        own: `[B, H]`, scores of each row's own rivals, masked.
        items: `[N, dim]`, the rivals that all rows share.
        item_ids: `[N]`.
        shift: `[N]`, what is added to `query . item`: minus log q, or `MASKED`.
    """

    query: tf.Tensor
    positive: tf.Tensor
    ids: tf.Tensor
    own: tf.Tensor
    items: tf.Tensor
    item_ids: tf.Tensor
    shift: tf.Tensor

    @classmethod
    def of(cls, query, item, ids, candidates, temperature=1.0, log_q=None, merge=False):
        """From vectors.

        Args:
            query, item: `[B, dim]`, the rows' queries and positives.
            ids: `[B]`, the positives' ids.
            candidates: a list of `Candidates`.
            temperature: above 0.
            log_q: `ids [...] -> [...]`; None: no correction.
            merge: make one rival of those with one id and one vector, with `+ log(count)`: the same to a softmax,
                and less work. The number of rivals is known at run time only.
        """
        query, item = tf.cast(query, tf.float32) / temperature, tf.cast(item, tf.float32)
        owned = [c for c in candidates if not c.shared]
        alone = [c for c in candidates if c.shared and not (merge and c.fresh and c.valid is None)]
        alike = [c for c in candidates if c.shared and merge and c.fresh and c.valid is None]
        none = Candidates(tf.zeros([0], ids.dtype), tf.zeros([0, item.shape[1]]))
        parts = [_shared(none, log_q), *(_shared(c, log_q) for c in alone)]
        parts += [_merged(alike, log_q)] if alike else []
        items, item_ids, shift = (tf.concat(part, axis=0) for part in zip(*parts, strict=True))
        positive = _priced(tf.reduce_sum(query * item, axis=1), ids, log_q)
        own = tf.concat([positive[:, None][:, :0], *(_own(query, ids, c, log_q) for c in owned)], axis=1)
        return cls(query, positive, ids, own, items, item_ids, shift)

    def table(self):
        """The scores `[B, 1 + N + H]`, a row's positive first, and which rivals count: bool `[B, N + H]`."""
        rivals = self.own
        if self.items.shape[0] != 0:  # where none are shared, a product of no columns would crash oneDNN
            shared = tf.matmul(self.query, self.items, transpose_b=True) + self.shift  # [B, N]
            shared = tf.where(self.ids[:, None] == self.item_ids, MASKED, shared)
            rivals = tf.concat([shared, self.own], axis=1)  # [B, N + H]
        return tf.concat([self.positive[:, None], rivals], axis=1), rivals > MASKED / 2


def _priced(scores, ids, log_q):
    return scores if log_q is None else scores - log_q(ids)


def _shared(candidates, log_q):
    """Vectors `[N, dim]`, ids `[N]` and shift `[N]`."""
    shift = _priced(tf.zeros(tf.shape(candidates.ids)), candidates.ids, log_q)
    if candidates.valid is not None:
        shift = tf.where(candidates.valid, shift, MASKED)
    return tf.cast(candidates.vectors, tf.float32), candidates.ids, shift


def _merged(candidates, log_q):
    """The same of all of `candidates`, each id once."""
    ids = tf.concat([c.ids for c in candidates], axis=0)
    ids, place, count = tf.unique_with_counts(ids)
    first = tf.math.unsorted_segment_min(tf.range(tf.size(place)), place, tf.size(ids))
    vectors = tf.gather(tf.concat([c.vectors for c in candidates], axis=0), first)
    vectors, ids, shift = _shared(Candidates(ids, vectors), log_q)
    return vectors, ids, shift + tf.math.log(tf.cast(count, tf.float32))


def _own(query, positives, candidates, log_q):
    """Scores `[B, H]` of each row's own candidates."""
    scores = tf.linalg.matvec(tf.cast(candidates.vectors, tf.float32), query)
    scores = _priced(scores, candidates.ids, log_q)
    valid = candidates.ids != positives[:, None]
    return tf.where(valid if candidates.valid is None else valid & candidates.valid, scores, MASKED)
