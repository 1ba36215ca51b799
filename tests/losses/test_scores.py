"""Score arithmetic: temperature, then log q, then mask; whose negatives are whose; and merging
equal negatives.
"""

import numpy as np
import pytest
import tensorflow as tf

from tf_recall.losses import SampledSoftmax
from tf_recall.losses.scores import Scores
from tf_recall.negatives.base import Candidates

LOG_Q = np.log([1, 1 / 2, 1 / 4, 1 / 8, 1 / 8]).astype("float32")


def log_q_of(ids):
    return tf.gather(LOG_Q, ids)


def vectors(seed, *shape):
    return tf.constant(np.random.default_rng(seed).normal(size=shape), tf.float32)


def test_by_hand_with_temperature_and_log_q():
    # Temperature 1/2, so scores are twice the product, plus log 2 for item 1 and log 4 for item 2,
    # whole: row 0 (item 1): 2 * 0 + log 2, and item 2 at 2 * 1/2 + log 4; row 1 (item 2): 2 * 1 +
    # log 4, item 1 at -2 + log 2.
    query, item = tf.constant([[0.0, 0.5], [-1.0, 1.0]]), tf.eye(2)
    ids = tf.constant([1, 2])
    scores, mask = Scores.of(query, item, ids, [Candidates(ids, item)], 0.5, log_q_of).table()
    log2, log4 = np.log(2), np.log(4)
    assert mask.numpy().tolist() == [[False, True], [True, False]]
    np.testing.assert_allclose(scores[:, 0], [log2, 2 + log4], rtol=1e-6)
    np.testing.assert_allclose(scores[:, 1:].numpy()[mask], [1 + log4, -2 + log2], rtol=1e-6)


def test_by_hand_without_log_q():
    query, item, ids = tf.constant([[0.0, 0.5], [-1.0, 1.0]]), tf.eye(2), tf.constant([1, 2])
    scores, mask = Scores.of(query, item, ids, [Candidates(ids, item)], 0.5).table()
    np.testing.assert_allclose(scores[:, 0], [0, 2], rtol=1e-6)
    np.testing.assert_allclose(scores[:, 1:].numpy()[mask], [1, -2], rtol=1e-6)


def test_by_hand_with_own_negatives():
    # Row 0 (item 1) has items 3 and 1, a hit, as its own; row 1 (item 2) has item 1 and, not valid,
    # item 4. Temperature 1/4: 4 * (2 * 1) + log 8; 4 * (3 * -1) + log 2.
    query = tf.constant([[2.0, 0.0], [0.0, 3.0]])
    own = tf.constant([[[1.0, 5.0], [7.0, 7.0]], [[9.0, -1.0], [7.0, 7.0]]])
    ids, valid = tf.constant([[3, 1], [1, 4]]), tf.constant([[True, True], [True, False]])
    scores, mask = Scores.of(
        query, tf.eye(2), tf.constant([1, 2]), [Candidates(ids, own, valid)], 0.25, log_q_of
    ).table()
    assert mask.numpy().tolist() == [[True, False], [True, False]]
    np.testing.assert_allclose(
        scores[:, 1:].numpy()[mask], [8 + np.log(8), -12 + np.log(2)], rtol=1e-6
    )


@pytest.mark.parametrize("with_log_q", [True, False])
def test_matches_the_slow_twin(with_log_q):
    rng = np.random.default_rng(0)
    query, item, ids = vectors(1, 6, 3), vectors(2, 6, 3), rng.integers(0, 5, 6, "int32")
    drawn = [tf.constant(rng.integers(0, 5, shape), tf.int32) for shape in (4, (6, 2), (6, 3))]
    sets = [
        Candidates(tf.constant(ids), item),
        Candidates(drawn[0], vectors(3, 4, 3), tf.constant([True, False, True, True]), fresh=False),
        Candidates(drawn[1], vectors(4, 6, 2, 3)),
        Candidates(drawn[2], vectors(5, 6, 3, 3), tf.constant(rng.random((6, 3)) < 0.6)),
    ]
    scores, mask = Scores.of(
        query, item, tf.constant(ids), sets, 0.3, log_q_of if with_log_q else None
    ).table()
    log_q = LOG_Q if with_log_q else 0 * LOG_Q
    assert scores.shape == (6, 1 + 6 + 4 + 2 + 3) and mask.shape == (6, 15)
    for i in range(6):
        assert scores[i, 0].numpy() == pytest.approx(
            np.dot(query[i], item[i]) / 0.3 - log_q[ids[i]], rel=1e-4, abs=1e-5
        )
        at = 0
        for c in sets:
            own = (
                c
                if c.shared
                else Candidates(*(part if part is None else part[i] for part in c[:3]))
            )
            for j, (other, vector) in enumerate(
                zip(own.ids.numpy(), own.vectors.numpy(), strict=True)
            ):
                counts = other != ids[i] and (own.valid is None or own.valid.numpy()[j])
                assert mask[i, at].numpy() == counts
                if counts:
                    expected = np.dot(query[i], vector) / 0.3 - log_q[other]
                    assert scores[i, 1 + at].numpy() == pytest.approx(expected, rel=1e-4, abs=1e-5)
                at += 1


def gradients(sets, merge, query, embedding, stale, own):
    """The softmax loss of a batch whose fresh vectors all come from `embedding`, and its
    gradients.
    """
    variables = [query, embedding, stale, own]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        ids, candidates = sets(tf.function(lambda ids: tf.gather(embedding, ids)), stale, own)
        scores = Scores.of(query, tf.gather(embedding, ids), ids, candidates, 0.4, log_q_of, merge)
        value = SampledSoftmax().of(scores)
    found = tape.gradient(value, variables, unconnected_gradients="zero")
    return scores, [value.numpy(), *(tf.convert_to_tensor(g).numpy() for g in found)]


def in_batch(embed, stale, own):
    ids = tf.constant([1, 1, 2, 1, 3, 2, 4, 1])
    return ids, [Candidates(ids, embed(ids))]


def of_two_samplers(embed, stale, own):
    ids, others = tf.constant([1, 1, 2, 1, 3, 2, 4, 1]), tf.constant([1, 0, 0, 3])
    return ids, [Candidates(ids, embed(ids)), Candidates(others, embed(others))]


def with_stale_and_own(embed, stale, own):
    ids = tf.constant([1, 1, 2, 1, 3, 2, 4, 1])
    # of other vectors than the batch's, and two of one item differ
    remembered = tf.constant([1, 2, 2, 0])
    some = Candidates(remembered, stale, valid=tf.constant([True, True, True, False]), fresh=False)
    return ids, [
        Candidates(ids, embed(ids)),
        some,
        Candidates(tf.stack([(ids + 1) % 5, ids], axis=1), own),
    ]


@pytest.mark.parametrize("sets", [in_batch, of_two_samplers, with_stale_and_own])
def test_merged_negatives_have_the_same_loss(sets):
    variables = vectors(1, 8, 3), vectors(2, 5, 3), vectors(3, 4, 3), vectors(4, 8, 2, 3)
    merged, ours = gradients(sets, True, *variables)
    whole, theirs = gradients(sets, False, *variables)
    assert merged.items.shape[0] < whole.items.shape[0]  # 8 rows hold 4 items
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_what_is_stale_or_partly_valid_is_not_merged():
    ids, item = tf.constant([1, 1, 2]), vectors(1, 3, 2)
    for candidates in (
        Candidates(ids, item, fresh=False),
        Candidates(ids, item, valid=tf.constant([True, False, True])),
    ):
        assert Scores.of(item, item, ids, [candidates], merge=True).items.shape[0] == 3


@pytest.mark.parametrize("where", ["shared", "own"])
@pytest.mark.parametrize("why", ["hit", "not valid"])
def test_what_is_masked_cannot_move_the_loss(where, why):
    query, item, ids = vectors(1, 3, 2), vectors(2, 3, 2), tf.constant([1, 1, 1])
    negatives = tf.constant([2, 1 if why == "hit" else 3, 4])
    valid = tf.constant([True, why == "hit", True])

    def loss(size):
        vectors_ = tf.concat([item[:1], tf.fill([1, 2], size), item[2:]], axis=0)
        candidates = Candidates(negatives, vectors_, valid)
        if where == "own":
            candidates = Candidates(*(tf.stack([part] * 3) for part in candidates[:3]))
        return SampledSoftmax().of(Scores.of(query, item, ids, [candidates], 0.1, log_q_of)).numpy()

    value = loss(0.0)
    assert value > 0.01 and loss(1e4) == value and loss(-1e4) == value


def test_own_negatives_alone_with_a_batch_of_unknown_size():
    own = vectors(3, 4, 2, 3)

    @tf.function(input_signature=[tf.TensorSpec([None, 3]), tf.TensorSpec([None], tf.int32)])
    def loss(query, ids):
        scores = Scores.of(
            query, query, ids, [Candidates(tf.stack([ids + 1, ids + 2], 1), own)], 0.5
        )
        assert scores.items.shape[0] == 0  # known while tracing: there is no product with nothing
        return SampledSoftmax().of(scores)

    query = vectors(1, 4, 3)
    rows = [
        np.logaddexp.reduce(
            [0, *2 * ((own[i].numpy() - query[i]) @ query[i].numpy()[:, None])[:, 0]]
        )
        for i in range(4)
    ]
    assert loss(query, tf.range(4)).numpy() == pytest.approx(np.mean(rows), rel=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_vectors_meet_in_float32(dtype):
    # 100.5 / 0.05 and its negative 99.5 / 0.05 differ by 20: 2010 and 1990 are nearly one number in
    # bfloat16.
    query, item = tf.cast([[201.0], [199.0]], dtype), tf.cast([[0.5], [0.5]], dtype)
    ids = tf.constant([0, 1])
    log_q = np.array([0, -2.001], "float32")
    for candidates in Candidates(ids, item), Candidates(tf.constant([[1], [0]]), item[::-1, None]):
        with tf.GradientTape() as tape:
            tape.watch([query, item])
            scores = Scores.of(
                query, item, ids, [candidates], 0.05, lambda ids: tf.gather(log_q, ids)
            )
            value = SampledSoftmax().of(scores)
        assert scores.table()[0].dtype == value.dtype == tf.float32
        assert value.numpy() == pytest.approx(
            (np.logaddexp(0, 2.001) + np.logaddexp(0, -2.001)) / 2, rel=1e-4
        )
        assert [g.dtype.name for g in tape.gradient(value, [query, item])] == [dtype] * 2
