"""`RetrievalTask`: TensorFlow Recommenders itself, and equal to `SampledSoftmax` where both are
defined.
"""

import functools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_recall.losses import RetrievalTask, SampledSoftmax, UncorrectedSoftmax
from tf_recall.losses.retrieval_task import load_tfrs
from tf_recall.losses.temperature import LearnedTemperature
from tf_recall.negatives.base import Candidates

B, N, H, DIM, ITEMS = 9, 5, 3, 4, 7
LOG_Q = np.log(np.random.default_rng(0).dirichlet(np.ones(ITEMS))).astype("float32")
log_q = functools.partial(tf.gather, LOG_Q)
log, exp = math.log, math.exp


def vectors(rng, *shape):
    return tf.constant(rng.normal(size=shape), tf.float32)


def ids(rng, *shape):
    return tf.constant(rng.integers(0, ITEMS, shape), tf.int32)


def data(seed):
    rng = np.random.default_rng(seed)
    positives = vectors(rng, B, DIM), vectors(rng, B, DIM), ids(rng, B)
    shared = Candidates(ids(rng, N), vectors(rng, N, DIM))
    some = Candidates(ids(rng, N), vectors(rng, N, DIM), tf.constant(rng.random(N) < 0.6), False)
    own = Candidates(ids(rng, B, H), vectors(rng, B, H, DIM))
    some_own = own._replace(valid=tf.constant(rng.random((B, H)) < 0.6))
    weight = tf.constant(rng.exponential(size=B), tf.float32)
    return positives, {"shared": shared, "some": some, "own": own, "some own": some_own}, weight


def value_and_gradients(loss, positives, candidates, **others):
    """Of query, positives, and candidates' vectors."""
    query, item, rows = positives
    with tf.GradientTape() as tape:
        watched = [query, item, *(drawn.vectors for drawn in candidates)]
        tape.watch(watched)
        value = loss.of_vectors(query, item, rows, candidates, log_q=log_q, **others)
    zeros = tf.UnconnectedGradients.ZERO
    return [value, *tape.gradient(value, watched, unconnected_gradients=zeros)]


def assert_same(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_by_hand_with_temperature_and_log_q():
    # Temperature 1/2 and log q of 1/2 (item 1) and 1/4 (item 2). Row 0 (item 1) scores 0 + log 2
    # with its own and 1 + log 4 with item 2; row 1 (item 2) 2 + log 4 and -2 + log 2.
    query, item, rows = tf.constant([[0.0, 0.5], [-1.0, 1.0]]), tf.eye(2), tf.constant([1, 2])
    shares = functools.partial(tf.gather, np.log([1, 1 / 2, 1 / 4]).astype("float32"))
    first = log(1 + 4 * exp(1) / 2)
    second = log(1 + 2 * exp(-2) / (4 * exp(2)))
    args = query, item, rows, [Candidates(rows, item)]
    value = RetrievalTask(0.5).of_vectors(*args, log_q=shares)
    assert value.numpy() == pytest.approx((first + second) / 2, rel=1e-5)
    value = RetrievalTask(0.5).of_vectors(*args, log_q=shares, weight=tf.constant([3, 1]))
    assert value.numpy() == pytest.approx((3 * first + second) / 2, rel=1e-5)
    first, second = log(1 + exp(1)), log(1 + exp(-4))
    value = RetrievalTask(0.5, corrected=False).of_vectors(*args, log_q=shares)
    assert value.numpy() == pytest.approx((first + second) / 2, rel=1e-5)


def test_it_is_tensorflow_recommenders_own():
    """The same arguments, given to `tfrs.tasks.Retrieval`: the batch, then the extra ones."""
    (query, item, rows), others, weight = data(1)
    shared = others["shared"]
    all_ids, all_vectors = (
        tf.concat([rows, shared.ids], axis=0),
        tf.concat([item, shared.vectors], axis=0),
    )
    task = load_tfrs().tasks.Retrieval(temperature=0.3, remove_accidental_hits=True)
    shares = tf.exp(log_q(all_ids))
    expected = task(query, all_vectors, weight, shares, all_ids, compute_metrics=False) / B
    candidates = [Candidates(rows, item), shared]
    found = RetrievalTask(0.3).of_vectors(query, item, rows, candidates, 0, log_q, weight)
    assert found.numpy() == pytest.approx(expected.numpy(), rel=1e-6)


MIXES = [
    ["shared"],
    ["own"],
    ["shared", "some"],
    ["some own"],
    ["shared", "some", "own", "some own"],
]


@pytest.mark.parametrize("in_batch", [True, False])
@pytest.mark.parametrize("mix", [[], *MIXES], ids=str)
@pytest.mark.parametrize("weighted", [True, False])
def test_equals_our_own_softmax(in_batch, mix, weighted):
    if not in_batch and not mix:
        pytest.skip("no negatives")
    positives, others, weight = data(len(mix))
    candidates = [Candidates(positives[2], positives[1])] * in_batch
    candidates += [others[name] for name in mix]
    args = positives, candidates
    weight = weight if weighted else None
    expected = value_and_gradients(SampledSoftmax(0.3), *args, weight=weight)
    assert all(np.abs(gradient).max() > 1e-4 for gradient in expected)
    assert_same(value_and_gradients(RetrievalTask(0.3), *args, weight=weight), expected)
    plain = RetrievalTask(0.3, corrected=False)
    expected = value_and_gradients(UncorrectedSoftmax(0.3), *args, weight=weight)
    assert_same(value_and_gradients(plain, *args, weight=weight), expected)


@pytest.mark.parametrize("log_share", [-20.0, -40.0])
def test_a_sampling_probability_below_one_millionth_counts_as_that(log_share):
    # Scores 0, log q 0 and -20: row 0 has log(1 + e^20), row 1 log(1 + e^-20), 10 on average. There
    # the probability is held at 1e-6, whose log is -13.8.
    zeros, rows = tf.zeros([2, 3]), tf.constant([0, 1])
    shares = functools.partial(tf.gather, [0.0, log_share])
    args = zeros, zeros, rows, [Candidates(rows, zeros)], 0, shares
    assert SampledSoftmax().of_vectors(*args).numpy() == pytest.approx(-log_share / 2, rel=1e-6)
    assert RetrievalTask().of_vectors(*args).numpy() == pytest.approx(-log(1e-6) / 2, rel=1e-5)


def test_accidental_hits_are_left_out_unless_asked_for():
    # Both rows have item 1, at scores 0: without hits nothing is left to lose against
    rows, zeros = tf.constant([1, 1]), tf.zeros([2, 3])
    args = zeros, zeros, rows, [Candidates(rows, zeros)], 0, log_q
    assert RetrievalTask().of_vectors(*args).numpy() == pytest.approx(0, abs=1e-6)
    with_hits = RetrievalTask(remove_accidental_hits=False).of_vectors(*args)
    assert with_hits.numpy() == pytest.approx(log(2), rel=1e-6)


def test_what_a_row_does_not_see_moves_nothing():
    """Other rows' positives where none draws them, other rows' own negatives, what is not valid."""
    (query, item, rows), others, _ = data(4)
    some, own = others["some"], others["some own"]
    third = tf.range(B) == 2
    only = tf.cast(third, tf.float32)
    args = RetrievalTask(0.3), (query, item, rows), [some, own]
    value, _, by_item, by_some, by_own = value_and_gradients(*args, weight=only)
    seen_own = third[:, None] & own.valid
    for gradient, seen in (by_item, third), (by_some, some.valid), (by_own, seen_own):
        assert not gradient.numpy()[~seen.numpy()].any() and gradient.numpy()[seen.numpy()].any()

    def away(vectors, seen):
        return tf.where(seen[..., None], vectors, 1e3)

    item = away(item, third)
    some = some._replace(vectors=away(some.vectors, some.valid))
    own = own._replace(vectors=away(own.vectors, seen_own))
    again = RetrievalTask(0.3).of_vectors(query, item, rows, [some, own], 0, log_q, only)
    assert again.numpy() == pytest.approx(value.numpy(), rel=1e-6)


def test_the_order_of_negatives_changes_nothing():
    positives, others, weight = data(5)
    order = np.random.default_rng(0).permutation(N)
    shared = others["shared"]
    shuffled = Candidates(tf.gather(shared.ids, order), tf.gather(shared.vectors, order))
    one, other = (
        RetrievalTask(0.2).of_vectors(*positives, [drawn], 0, log_q, weight).numpy()
        for drawn in (shared, shuffled)
    )
    assert one == pytest.approx(other, rel=1e-5)


def in_a_graph(jit, loss, positives, candidates, **others):
    """As Keras 3 does: without AutoGraph."""
    function = functools.partial(value_and_gradients, loss, positives, candidates, **others)
    return tf.function(function, autograph=False, jit_compile=jit)()


@pytest.mark.parametrize("jit", [False, True])
def test_the_same_without_autograph_and_under_xla(jit):
    positives, others, weight = data(6)
    args = RetrievalTask(0.3), positives, [*others.values()]
    expected = value_and_gradients(*args, weight=weight)
    assert_same(in_a_graph(jit, *args, weight=weight), expected)


def test_a_learned_temperature_gets_its_gradient():
    (query, item, rows), others, _ = data(7)
    gradients = []
    for make in RetrievalTask, SampledSoftmax:
        loss = make(temperature=LearnedTemperature(0.3))
        with tf.GradientTape() as tape:
            value = loss.of_vectors(query, item, rows, [others["shared"]], 0, log_q)
        gradients.append(tape.gradient(value, loss.temperature.log.value).numpy())
    assert abs(gradients[1]) > 1e-2
    assert gradients[0] == pytest.approx(gradients[1], rel=1e-4)


def test_no_metric_is_computed_and_nothing_is_trained():
    loss = RetrievalTask(keras.optimizers.schedules.ExponentialDecay(0.5, 100, 0.9))
    (query, item, rows), others, _ = data(8)
    with tf.GradientTape() as tape:
        loss.of_vectors(query, item, rows, [others["shared"]], 3, log_q)
    assert not tape.watched_variables()
