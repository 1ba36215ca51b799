"""`NCELoss`: TensorFlow's own, equal to `NCE` where both are defined; the contexts of centers."""

import functools
import math

import numpy as np
import pytest
import tensorflow as tf

from tf_recall.losses import NCE, NCELoss
from tf_recall.losses.temperature import LearnedTemperature
from tf_recall.negatives import EasyHard, Mixture, Popularity, SameGroup, Uniform
from tf_recall.negatives.base import Candidates
from tf_recall.retrievers.skip_gram import in_window

B, N, DIM, ITEMS = 9, 6, 4, 8
LOG_Q = np.log(np.random.default_rng(0).dirichlet(np.ones(ITEMS))).astype("float32")
log_q = functools.partial(tf.gather, LOG_Q)
log, exp = math.log, math.exp


def softplus(x):
    return max(x, 0) + math.log1p(exp(-abs(x)))


def vectors(rng, *shape):
    return tf.constant(rng.normal(size=shape), tf.float32)


def ids(rng, *shape):
    return tf.constant(rng.integers(0, ITEMS, shape), tf.int32)


def data(seed):
    """Rows, and draws of which some come twice and some are a row's own positive."""
    rng = np.random.default_rng(seed)
    positives = vectors(rng, B, DIM), vectors(rng, B, DIM), ids(rng, B)
    shared = Candidates(ids(rng, N), vectors(rng, N, DIM))
    some = Candidates(ids(rng, N), vectors(rng, N, DIM), tf.constant(rng.random(N) < 0.6), False)
    return positives, [shared, some], tf.constant(rng.exponential(size=B), tf.float32)


def gradients_of(function, inputs):
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = function()
    return [value, *map(tf.convert_to_tensor, tape.gradient(value, inputs))]


def rows_of(loss, positives, candidates, **others):
    query, item, rows = positives
    inputs = [query, item, *(drawn.vectors for drawn in candidates)]
    function = functools.partial(loss.of_vectors, query, item, rows, candidates, 0, log_q, **others)
    return gradients_of(function, inputs)


def assert_same(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_by_hand_with_temperature_and_log_q():
    # Temperature 1/2, two draws of shares 1/2 (item 1) and 1/4 (item 2): 1 and 1/2 are expected.
    # Row 0 (item 1) scores 0 - log 1 with its own and 1 + log 2 with item 2; row 1 (item 2)
    # 2 + log 2 with its own and -2 with item 1.
    query, item, rows = tf.constant([[0.0, 0.5], [-1.0, 1.0]]), tf.eye(2), tf.constant([1, 2])
    shares = functools.partial(tf.gather, np.log([1, 1 / 2, 1 / 4]).astype("float32"))
    first = log(2) + log(1 + 2 * exp(1))
    second = log(1 + exp(-2) / 2) + log(1 + exp(-2))
    args = query, item, rows, [Candidates(rows, item)], 0, shares
    assert NCELoss(0.5).of_vectors(*args).numpy() == pytest.approx((first + second) / 2, rel=1e-5)
    weighted = NCELoss(0.5).of_vectors(*args, weight=tf.constant([3, 1]))
    assert weighted.numpy() == pytest.approx((3 * first + second) / 2, rel=1e-5)


@pytest.mark.parametrize("num", [1, 2], ids=["shared", "not all valid"])
@pytest.mark.parametrize("weighted", [True, False])
def test_equals_our_own_with_as_many_negatives_as_draws(num, weighted):
    for seed in range(3):
        positives, candidates, weight = data(seed)
        args = positives, candidates[:num]
        weight = weight if weighted else None
        expected = rows_of(NCE(negatives=num * N, temperature=0.4), *args, weight=weight)
        assert all(np.abs(gradient).max() > 1e-2 for gradient in expected)
        assert_same(rows_of(NCELoss(0.4), *args, weight=weight), expected)


@pytest.mark.parametrize("jit", [False, True])
def test_the_same_in_a_graph_and_under_xla(jit):
    positives, candidates, weight = data(3)
    function = functools.partial(rows_of, NCELoss(0.4), positives, candidates, weight=weight)
    compiled = tf.function(function, autograph=False, jit_compile=jit)
    assert_same(compiled(), function())


def test_it_is_tensorflows_own():
    """From a whole table by id, with the sampler's `sampled_values`. No draw is a positive here."""
    sampler = Popularity(num=12)
    sampler.adapt(np.arange(30))
    rng = np.random.default_rng(2)
    table, query = vectors(rng, 30, DIM), vectors(rng, B, DIM)
    drawn = sampler.rows([12], seed=[3, 4])
    rows = tf.constant(np.setdiff1d(np.arange(1, 30), drawn)[:B], tf.int32)
    args = tf.zeros([30]), rows[:, None], query / 0.5, 12, 30
    values = sampler.sampled_values(rows[:, None], seed=[3, 4])
    expected = gradients_of(
        lambda: tf.reduce_mean(tf.nn.nce_loss(table, *args, sampled_values=values)), [table]
    )
    found = gradients_of(
        lambda: NCELoss(0.5).of_vectors(
            query,
            tf.gather(table, rows),
            rows,
            [Candidates(drawn, tf.gather(table, drawn))],
            0,
            sampler.log_q,
        ),
        [table],
    )
    assert_same(found, expected)


def test_no_copy_of_a_rows_own_positive_is_its_negative():
    """TensorFlow's `remove_accidental_hits` leaves the second of these two draws of item 1."""
    ones = tf.ones([2, 1])
    rows, drawn = tf.constant([1, 2]), Candidates(tf.constant([1, 1]), tf.ones([2, 1]))
    even = lambda ids: tf.fill(tf.shape(ids), -log(2))  # noqa: E731  expected once each
    first, second = softplus(-1), softplus(-1) + 2 * softplus(1)
    found = NCELoss().of_vectors(ones, ones, rows, [drawn], 0, even).numpy()
    assert found == pytest.approx((first + second) / 2, rel=1e-6)
    table, values = tf.ones([3, 1]), (drawn.ids, tf.ones([2, 1]), tf.ones([2]))
    args = table, tf.zeros([3]), rows[:, None], ones, 2, 3, 1, values
    theirs = tf.nn.nce_loss(*args, remove_accidental_hits=True).numpy()
    np.testing.assert_allclose(theirs, [first + softplus(1), second], rtol=1e-6)


@pytest.mark.parametrize("score", [-1e3, 0.0, 60.0])
def test_what_is_removed_moves_nothing_for_scores_below_80(score):
    query, item = tf.ones([2, 1]), tf.zeros([2, 1])
    rows, valid = tf.constant([1, 2]), tf.constant([True, True, False])
    drawn = Candidates(tf.constant([1, 2, 3]), tf.fill([3, 1], score), valid)
    value, _, _, gradient = rows_of(NCELoss(), (query, item, rows), [drawn])
    shares = 3 * np.exp(LOG_Q)
    # row 0 has the second draw as a negative, row 1 the first
    expected = sum(softplus(log(shares[i])) + softplus(score - log(shares[3 - i])) for i in (1, 2))
    assert value.numpy() == pytest.approx(expected / 2, rel=1e-5)
    assert abs(gradient.numpy()[2, 0]) < 1e-10


G, SIZE, WINDOW = 3, 4, 2
J, P = SIZE + 2 * WINDOW, 2 * WINDOW


def windows(seed):
    rng = np.random.default_rng(seed)
    rows = ids(rng, G, J)
    left, right = (tf.constant(rng.integers(0, WINDOW + 1, (G, SIZE)), tf.int32) for _ in "lr")
    query, contexts = vectors(rng, G, SIZE, DIM), vectors(rng, G, J, DIM)
    drawn = Candidates(ids(rng, N), vectors(rng, N, DIM))
    T = G * SIZE
    extra = Candidates(
        ids(rng, T, 1), vectors(rng, T, 1, DIM), tf.constant(rng.random((T, 1)) < 0.5)
    )
    return query, contexts, rows, in_window(rows, left, right), [drawn], extra


def slow_score(query, item, vector, temperature):
    return query @ vector / temperature - log(N * exp(LOG_Q[item]))


def twin(query, contexts, ids, valid, candidates, extra, temperature):
    """A center at a time, from the docstring's formula."""
    drawn, total = candidates[0], 0.0
    num_true = P + (extra is not None)
    for t in range(G * SIZE):
        g, i = divmod(t, SIZE)
        near = [(int(ids[g, j]), contexts[g, j].numpy()) for j in range(J) if valid[g, i, j]]
        if extra is not None and extra.valid[t, 0]:
            near.append((int(extra.ids[t, 0]), extra.vectors[t, 0].numpy()))
        if not near:
            continue

        center = query[g, i].numpy()
        for p in range(num_true):
            score = slow_score(center, *near[p % len(near)], temperature)
            total += softplus(-score) / num_true + softplus(score) * (1 - 1 / num_true)
        for item, vector in zip(drawn.ids.numpy(), drawn.vectors.numpy(), strict=True):
            if item not in [context for context, _ in near]:
                total += softplus(slow_score(center, item, vector, temperature))
    return total / (G * SIZE)


@pytest.mark.parametrize("beside", [True, False])
def test_windows_match_the_slow_twin(beside):
    for seed in range(4):
        *args, extra = windows(seed)
        args.append(extra if beside else None)
        found = NCELoss(0.6).of_windows(*args, log_q=log_q).numpy()
        assert found == pytest.approx(twin(*args, 0.6), rel=1e-4)


def test_windows_under_xla():
    args = windows(5)
    function = functools.partial(NCELoss(0.6).of_windows, *args, log_q=log_q)
    inputs = [args[0], args[1], args[4][0].vectors]
    compiled = tf.function(functools.partial(gradients_of, function, inputs), jit_compile=True)
    assert_same(compiled(), gradients_of(function, inputs))


def test_one_context_each_is_our_own_loss_and_several_are_not():
    """TensorFlow halves the target of two contexts, ours is the loss of two pairs."""
    rng = np.random.default_rng(6)
    query, contexts = vectors(rng, G, SIZE, DIM), vectors(rng, G, SIZE + 2, DIM)
    rows, drawn = ids(rng, G, SIZE + 2), [Candidates(ids(rng, N), vectors(rng, N, DIM))]
    one, two = (
        tf.constant([[[j in (i, i + most) for j in range(SIZE + 2)] for i in range(SIZE)]] * G)
        for most in (0, 2)
    )

    def both(valid):
        for loss in NCELoss(0.5), NCE(negatives=N, temperature=0.5):
            yield loss.of_windows(query, contexts, rows, valid, drawn, log_q=log_q).numpy()

    # a center's one context is repeated, since two are allowed, and half of each is a negative
    score = np.einsum("gid,gid->gi", query, contexts[:, :SIZE]) / 0.5
    score -= log(N) + LOG_Q[rows.numpy()[:, :SIZE]]
    theirs, ours = both(one)
    assert theirs == pytest.approx(ours + np.vectorize(softplus)(score).mean(), rel=1e-4)
    theirs, ours = both(two)
    assert abs(theirs - ours) > 0.1


def test_a_center_without_contexts_has_no_loss():
    query, contexts, rows, valid, drawn, _ = windows(7)
    none = tf.constant([True, False, False])[:, None, None]
    args = contexts, rows, valid & ~none, drawn

    def value(query):
        return NCELoss().of_windows(query, *args, log_q=log_q)

    found, gradient = gradients_of(lambda: value(query), [query])
    assert not gradient.numpy()[0].any() and gradient.numpy()[1:].any()
    away = tf.where(none, 10.0, query)
    assert value(away).numpy() == pytest.approx(found.numpy(), rel=1e-6)


def test_what_is_no_context_moves_nothing():
    query, contexts, rows, valid, drawn, extra = windows(8)
    nobody = tf.constant(np.arange(J) == 3)
    valid = valid & ~nobody
    args = valid, drawn, extra, 0, log_q
    found = NCELoss().of_windows(query, contexts, rows, *args).numpy()
    away = tf.where(nobody[:, None], 1e2, contexts)
    again = NCELoss().of_windows(query, away, tf.where(nobody, 0, rows), *args).numpy()
    assert again == pytest.approx(found, rel=1e-6)


def test_a_learned_temperature_gets_its_gradient():
    (query, item, rows), candidates, _ = data(9)
    gradients = []
    for make in NCELoss, functools.partial(NCE, negatives=2 * N):
        loss = make(temperature=LearnedTemperature(0.3))
        with tf.GradientTape() as tape:
            value = loss.of_vectors(query, item, rows, candidates, 0, log_q)
        gradients.append(tape.gradient(value, loss.temperature.log.value).numpy())
    assert abs(gradients[1]) > 1e-2
    assert gradients[0] == pytest.approx(gradients[1], rel=1e-4)


@pytest.mark.parametrize(
    "sampler",
    [
        SameGroup("city"),
        EasyHard(Uniform(8), SameGroup("city")),
        Mixture([Uniform(8), SameGroup("city")]),
    ],
    ids=lambda sampler: type(sampler).__name__,
)
def test_refuses_samplers_of_a_rows_own_negatives(sampler):
    with pytest.raises(ValueError, match=f"{type(sampler).__name__} draws each row its own: use"):
        NCELoss().check_negatives(sampler)
    NCELoss().check_negatives(Mixture([Uniform(8), Popularity(8)]))
