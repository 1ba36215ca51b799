"""Scores of windows: against a loop over pairs, by hand, and by what moves them and what cannot."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from tf_recall.losses import NCE
from tf_recall.losses.window_scores import WindowScores
from tf_recall.negatives.base import Candidates

G, SIZE, J, T = 3, 4, 6, 12  # segments, centers and places of one, centers in all
NUM_ITEMS, DIM = 7, 3
LOG_Q = np.log(np.arange(1, NUM_ITEMS + 1) / 28).astype("float32")


def price(ids):
    return tf.gather(LOG_Q, ids)


def vectors(seed, *shape):
    return tf.constant(np.random.default_rng(seed).normal(size=shape), tf.float32)


def ids(seed, *shape):
    return tf.constant(np.random.default_rng(seed).integers(0, NUM_ITEMS, shape), tf.int32)


def some(seed, *shape):
    return tf.constant(np.random.default_rng(seed).random(shape) < 0.6)


SHARED = Candidates(ids(1, 5), vectors(1, 5, DIM))
SOME_SHARED = Candidates(ids(2, 4), vectors(2, 4, DIM), some(2, 4))
OWN = Candidates(ids(3, T, 2), vectors(3, T, 2, DIM))
SOME_OWN = Candidates(ids(4, T, 3), vectors(4, T, 3, DIM), some(4, T, 3))
EXTRA = Candidates(ids(5, T, 2), vectors(5, T, 2, DIM), some(5, T, 2))
STRETCHES = {
    "query": vectors(6, G, SIZE, DIM),
    "contexts": vectors(7, G, J, DIM),
    "ids": ids(8, G, J),
    "valid": some(9, G, SIZE, J),
}


def row_of(candidates, t):
    """A center's candidates one by one: id, vector, whether it counts."""
    own = (
        candidates
        if candidates.shared
        else Candidates(*(None if part is None else part[t] for part in candidates[:3]))
    )
    valid = np.ones(len(own.ids), bool) if own.valid is None else own.valid.numpy()
    return list(zip(own.ids.numpy(), own.vectors.numpy(), valid, strict=True))


def slow_score(query, temperature, log_q, item, vector):
    return np.dot(query, vector) / temperature - log_q[item]


def twin(query, contexts, ids, valid, candidates, extra, temperature, log_q):
    """A center at a time: its positives (id, score, counts) and its negatives (score, of how many
    it is one).
    """
    for t in range(T):
        g, i = divmod(t, SIZE)
        places = list(zip(ids[g].numpy(), contexts[g].numpy(), valid[g, i].numpy(), strict=True))
        places += [] if extra is None else row_of(extra, t)
        score = functools.partial(slow_score, query[g, i].numpy(), temperature, log_q)
        positives = [(score(item, vector), counts) for item, vector, counts in places]
        negatives = [
            (
                score(drawn, vector),
                sum(item != drawn for item, _, counts in places if counts) if drawn_counts else 0,
            )
            for part in sorted(candidates, key=lambda part: not part.shared)
            for drawn, vector, drawn_counts in row_of(part, t)
        ]
        yield positives, negatives


@pytest.mark.parametrize("priced", [True, False])
@pytest.mark.parametrize("extra", [EXTRA, None], ids=["extra", "window"])
@pytest.mark.parametrize(
    "candidates",
    [[SHARED], [OWN], [SOME_SHARED, SHARED], [SHARED, SOME_OWN], [OWN, SOME_SHARED, SOME_OWN]],
    ids=["shared", "own", "some shared", "shared and some own", "all"],
)
def test_matches_the_slow_twin(candidates, extra, priced):
    args = *STRETCHES.values(), candidates, extra, 0.4
    scores = WindowScores.of(*args, price if priced else None)
    num = sum(part.ids.shape[-1] for part in candidates)
    assert scores.positive.shape == scores.valid.shape == (T, J + 2 * (extra is not None))
    assert scores.negatives.shape == scores.times.shape == (T, num)
    assert scores.num_own == sum(part.ids.shape[-1] for part in candidates if not part.shared)
    for t, (positives, negatives) in enumerate(twin(*args, LOG_Q if priced else 0 * LOG_Q)):
        expected, valid = zip(*positives, strict=True)
        np.testing.assert_allclose(scores.positive[t], expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(scores.valid[t], valid)
        expected, times = map(np.array, zip(*negatives, strict=True))
        np.testing.assert_array_equal(scores.times[t], times)
        np.testing.assert_allclose(
            scores.negatives[t].numpy()[times > 0], expected[times > 0], rtol=1e-4, atol=1e-4
        )


def test_by_hand_with_temperature_and_price():
    # One segment of two centers (1, 0) and (0, 2) with items 1 and 2 beside them; item 1 is a
    # context of both, item 2 of the second. Temperature 1/2: twice the products, and log 14 and log
    # 28 / 3 more, whole.
    query, contexts = (
        tf.constant([[[1.0, 0.0], [0.0, 2.0]]]),
        tf.constant([[[3.0, 1.0], [4.0, 5.0]]]),
    )
    valid = tf.constant([[[True, False], [True, True]]])
    drawn = Candidates(tf.constant([2, 4]), tf.constant([[4.0, 5.0], [-1.0, 1.0]]))
    scores = WindowScores.of(
        query, contexts, tf.constant([[1, 2]]), valid, [drawn], None, 0.5, price
    )
    one, two, four = np.log([28 / 2, 28 / 3, 28 / 5])
    np.testing.assert_allclose(
        scores.positive, [[6 + one, 8 + two], [4 + one, 20 + two]], rtol=1e-6
    )
    np.testing.assert_array_equal(scores.valid, [[1, 0], [1, 1]])
    np.testing.assert_allclose(
        scores.negatives, [[8 + two, -2 + four], [20 + two, 4 + four]], rtol=1e-6
    )
    # Item 2 is no context of the first center, so a negative of its one; of the second center's two
    # it is one itself.
    np.testing.assert_array_equal(scores.times, [[1, 1], [1, 2]])


@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
def test_a_draw_that_is_a_context_is_a_rival_of_the_others_only(own):
    # The places hold 1, 2, 1, 3. The first center has 1, 2, 1 as contexts, the second 3, and 1
    # beside its window.
    places, valid = tf.constant([[1, 2, 1, 3]]), tf.constant([[[1, 1, 1, 0], [0, 0, 0, 1]]]) > 0
    extra = Candidates(
        tf.constant([[2], [1]]), tf.zeros([2, 1, DIM]), tf.constant([[False], [True]])
    )
    drawn = tf.constant([1, 2, 3, 4])
    candidates = Candidates(drawn, tf.zeros([4, DIM]))
    if own:
        candidates = Candidates(tf.stack([drawn] * 2), tf.zeros([2, 4, DIM]))
    args = tf.zeros([1, 2, DIM]), tf.zeros([1, 4, DIM]), places, valid, [candidates]
    np.testing.assert_array_equal(WindowScores.of(*args).times, [[1, 2, 3, 3], [1, 1, 0, 1]])
    np.testing.assert_array_equal(WindowScores.of(*args, extra).times, [[1, 2, 3, 3], [1, 2, 1, 2]])


def loss(candidates, extra=EXTRA, **changed):
    scores = WindowScores.of(*(STRETCHES | changed).values(), candidates, extra, 0.4, price)
    return NCE(3).several(*scores).numpy()


def test_the_order_of_the_draws_changes_nothing():
    order = np.random.default_rng(0).permutation(5)
    shuffled = Candidates(tf.gather(SHARED.ids, order), tf.gather(SHARED.vectors, order))
    np.testing.assert_allclose(loss([SHARED]), loss([shuffled]), rtol=1e-5)
    np.testing.assert_allclose(loss([SHARED, SOME_OWN]), loss([SOME_OWN, SHARED]), rtol=1e-5)


def test_the_order_of_the_places_changes_nothing():
    order = np.random.default_rng(0).permutation(J)
    moved = {name: tf.gather(STRETCHES[name], order, axis=1) for name in ("contexts", "ids")}
    moved["valid"] = tf.gather(STRETCHES["valid"], order, axis=2)
    np.testing.assert_allclose(loss([SHARED, OWN], **moved), loss([SHARED, OWN]), rtol=1e-5)


@pytest.mark.parametrize("size", [1e3, -1e3])
def test_what_does_not_count_moves_nothing(size):
    """A place of no center, such as what fills up a segment, and draws and further contexts that
    are not valid.
    """
    nobody = np.zeros((G, J), bool)
    nobody[:, 2] = True
    valid = tf.constant(STRETCHES["valid"].numpy() & ~nobody[:, None])
    value = loss([SOME_SHARED, SOME_OWN], valid=valid)
    away = tf.where(nobody[..., None], size, STRETCHES["contexts"])
    unknown = tf.where(nobody, 0, STRETCHES["ids"])
    far = [
        c._replace(vectors=tf.where(c.valid[..., None], c.vectors, size))
        for c in (SOME_SHARED, SOME_OWN, EXTRA)
    ]
    again = loss(far[:2], far[2], valid=valid, contexts=away, ids=unknown)
    np.testing.assert_allclose(again, value, rtol=1e-6)
    # where it counts, it moves
    assert not np.allclose(loss([SOME_SHARED, SOME_OWN], contexts=away), value)


def test_half_precision_vectors_meet_in_float32():
    half = {name: tf.cast(STRETCHES[name], "bfloat16") for name in ("query", "contexts")}
    rounded = {name: tf.cast(value, tf.float32) for name, value in half.items()}
    draws = [c._replace(vectors=tf.cast(c.vectors, "bfloat16")) for c in (SHARED, OWN, EXTRA)]
    same = [c._replace(vectors=tf.cast(c.vectors, tf.float32)) for c in draws]
    np.testing.assert_allclose(
        loss(draws[:2], draws[2], **half), loss(same[:2], same[2], **rounded), rtol=1e-5
    )
