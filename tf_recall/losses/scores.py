"""Score arithmetic, in one place: temperature, then price, then mask."""

from typing import NamedTuple

import tensorflow as tf

from tf_recall.negatives.base import Candidates

MASKED = -1e30  # a finite "never": exp of it is 0, and it makes no NaN


class Scores(NamedTuple):
    """A batch's scores, as what they are made of, so that `[B, N]` need not exist at once.

    positive[i] = query[i] . item[i] / temperature - log_q[item i]
    negative[i, j] = query[i] . item[j] / temperature - log_q[item j],  masked where id[j] == id[i]
    or j is not valid

    The price is subtracted *after* the division, and only where the loss is `corrected`. Use `of`;
    the fields are

    Args:
        query: `[B, dim]` float32, divided by the temperature.
        positive: `[B]`.
        ids: `[B]`, the positives' ids.
        own: `[B, H]`, scores of each row's own negatives, masked.
        items: `[N, dim]`, the negatives that all rows share.
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
            merge: make one negative of those with one id and one vector, with `+ log(count)`: the
                same to a softmax, and less work. The number of negatives is known at run time only.
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
        own = tf.concat(
            [positive[:, None][:, :0], *(_own(query, ids, c, log_q) for c in owned)], axis=1
        )
        return cls(query, positive, ids, own, items, item_ids, shift)

    def table(self):
        """The scores `[B, 1 + N + H]`, a row's positive first, and which negatives count: bool
        `[B, N + H]`.
        """
        negatives = self.own
        # where none are shared, a product of no columns would crash oneDNN
        if self.items.shape[0] != 0:
            shared = tf.matmul(self.query, self.items, transpose_b=True) + self.shift  # [B, N]
            shared = tf.where(self.ids[:, None] == self.item_ids, MASKED, shared)
            negatives = tf.concat([shared, self.own], axis=1)  # [B, N + H]
        return tf.concat([self.positive[:, None], negatives], axis=1), negatives > MASKED / 2


class WindowScores(NamedTuple):
    """Scores where a row, a center, has several positives: its contexts, of which the neighbors
    have some too.

    positive[t, p] = query[t] . item[p] / temperature - log_q[item p],  valid where p is a context
    of t negative[t, j] = query[t] . item[j] / temperature - log_q[item j]
    times[t, j] = how many contexts of t there are whose id is not id[j];  0 where j is not valid

    T centers stand in G segments of I, T = G * I, and each segment has its J places of contexts in
    common.

    Args:
        positive: `[T, J]`.
        valid: `[T, J]`, 1 or 0.
        negatives: `[T, N + H]`, the N that all rows share, then each row's own.
        times: `[T, N + H]`.
        num_own: H.
    """

    positive: tf.Tensor
    valid: tf.Tensor
    negatives: tf.Tensor
    times: tf.Tensor
    num_own: tf.Tensor

    @classmethod
    def of(cls, query, contexts, ids, valid, candidates, extra=None, temperature=1.0, log_q=None):
        """From vectors.

        Args:
            query: `[G, I, dim]`, the centers.
            contexts: `[G, J, dim]`.
            ids: `[G, J]`, the contexts' ids.
            valid: bool `[G, I, J]`, whether a place is a context of a center.
            candidates: a list of `Candidates`.
            extra: `Candidates` `[T, E]`, positives that a center has beside its window; None: none.
            temperature: above 0.
            log_q: `ids [...] -> [...]`; None: no correction.
        """
        query, valid = tf.cast(query, tf.float32) / temperature, tf.cast(valid, tf.float32)
        flat = tf.reshape(query, [-1, query.shape[2]])  # [T, dim]
        positive = tf.matmul(query, tf.cast(contexts, tf.float32), transpose_b=True)  # [G, I, J]
        positive = _flat(_priced(positive, ids[:, None], log_q))
        num = tf.reshape(tf.reduce_sum(valid, axis=2), [-1, 1])  # [T, 1]
        if extra is not None:
            positive = tf.concat([positive, _matched(flat, extra, log_q)], axis=1)
            num += tf.reduce_sum(tf.cast(extra.valid, tf.float32), axis=1, keepdims=True)
        negatives, times = [], []
        for drawn in sorted(candidates, key=lambda drawn: not drawn.shared):
            if drawn.shared:
                vectors, _, shift = _shared(drawn, log_q)
                negatives.append(tf.matmul(flat, vectors, transpose_b=True) + shift)  # [T, N]
            else:
                negatives.append(_matched(flat, drawn, log_q))
            left = num - _hits(valid, ids, extra, drawn)
            times.append(left if drawn.valid is None else tf.where(drawn.valid, left, 0))
        valid = _flat(valid)
        if extra is not None:
            valid = tf.concat([valid, tf.cast(extra.valid, tf.float32)], axis=1)
        num_own = sum(tf.shape(drawn.ids)[1] for drawn in candidates if not drawn.shared)
        return cls(positive, valid, tf.concat(negatives, axis=1), tf.concat(times, axis=1), num_own)


def _flat(x):
    """`[G, I, N] -> [G * I, N]`."""
    return tf.reshape(x, [-1, tf.shape(x)[2] if x.shape[2] is None else x.shape[2]])


def _matched(query, candidates, log_q):
    """Scores `[T, H]` of each row's own candidates, whatever their ids."""
    scores = tf.linalg.matvec(tf.cast(candidates.vectors, tf.float32), query)
    return _priced(scores, candidates.ids, log_q)


def _hits(valid, ids, extra, drawn):
    """How many of a center's positives are each of the drawn items: `[T, N]`.

    A place of a segment is compared with a draw once, for all centers of the segment.
    """
    size = valid.shape[1]
    if drawn.shared:
        hits = _flat(tf.matmul(valid, tf.cast(ids[:, :, None] == drawn.ids, tf.float32)))  # [T, N]
    else:
        own = tf.reshape(drawn.ids, [-1, size, tf.shape(drawn.ids)[1]])  # [G, I, H]
        hit = tf.cast(ids[:, None, :, None] == own[:, :, None], tf.float32)  # [G, I, J, H]
        hits = _flat(tf.einsum("gij,gijh->gih", valid, hit))  # [T, H]
    if extra is None:
        return hits
    negatives = drawn.ids[None] if drawn.shared else drawn.ids  # [1 or T, N]
    same = tf.cast(extra.ids[:, :, None] == negatives[:, None], tf.float32)  # [T, E, N]
    return hits + tf.einsum("te,ten->tn", tf.cast(extra.valid, tf.float32), same)


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
    scores = _matched(query, candidates, log_q)
    valid = candidates.ids != positives[:, None]
    return tf.where(valid if candidates.valid is None else valid & candidates.valid, scores, MASKED)
