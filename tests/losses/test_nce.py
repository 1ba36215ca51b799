"""NEG and NCE: by hand, against loops and TensorFlow's own loss, and what each of them learns."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_recall.losses import NCE, NEG
from tf_recall.losses.scores import Scores
from tf_recall.negatives import LogUniform, Popularity, Uniform
from tf_recall.negatives.base import Candidates

COUNTS = [0, 9, 0, 40, 2, 5, 1, *range(20)]
log, exp, log1p = math.log, math.exp, math.log1p


@pytest.fixture(params=[Uniform, Popularity, LogUniform])
def sampler(request):
    made = request.param(num=12)
    made.adapt(COUNTS)
    return made


def softplus(x):
    return max(x, 0) + log1p(exp(-abs(x)))


def test_by_hand_with_temperature_and_log_q():
    # Temperature 1/2: the scores are 2 * 0 of row 0 (item 1) with its own item and 2 * 1/2 with
    # item 2, 2 * 1 of row 1 (item 2) with its own and -2 with item 1. Of the two draws, items 1 and
    # 2, one is a hit in either row.
    query, item, ids = tf.constant([[0.0, 0.5], [-1.0, 1.0]]), tf.eye(2), tf.constant([1, 2])
    drawn = [Candidates(ids, item)]
    # 2 draws stand for 3 negatives: the loss of one draw counts 3/2 times.
    expected = [log(2) + 1.5 * log(1 + exp(1)), log(1 + exp(-2)) + 1.5 * log(1 + exp(-2))]
    value = NEG(negatives=3).of(Scores.of(query, item, ids, drawn, 0.5)).numpy()
    assert value == pytest.approx(sum(expected) / 2, rel=1e-6)
    # Q is 1/3 and 1/6, 3 Q is 1 and 1/2: item 2 scores log 2 more, whole, whatever the temperature.
    log_q = tf.constant([9, -log(3), -log(6)])
    expected = [log(2) + 1.5 * log(1 + 2 * exp(1)), log(1 + exp(-2) / 2) + 1.5 * log(1 + exp(-2))]
    scores = Scores.of(query, item, ids, drawn, 0.5, lambda rows: tf.gather(log_q, rows))
    assert NCE(negatives=3).of(scores).numpy() == pytest.approx(sum(expected) / 2, rel=1e-6)


def test_a_rows_own_negatives_count_once():
    # The two draws of both rows score 0 and log 3, and stand for 3: 3/2 (log 2 + log 4). Row 0 has
    # own ones of log 2 and log 4, row 1 of log 2 and one that is its own item. To NCE, at a uniform
    # probability of 1/3, all four are draws.
    query, item, ids = tf.constant([[1.0], [1.0]]), tf.constant([[0.0], [0.0]]), tf.constant([1, 2])
    shared = Candidates(tf.constant([3, 4]), tf.constant([[0.0], [log(3)]]))
    own = Candidates(tf.constant([[5, 6], [5, 2]]), tf.math.log([[[2.0], [4.0]], [[2.0], [4.0]]]))
    args = query, item, ids, [own, shared], 1.0
    drawn = 1.5 * (log(2) + log(4))
    expected = [log(2) + drawn + log(3) + log(5), log(2) + drawn + log(3)]
    assert NEG(negatives=3).of(Scores.of(*args)).numpy() == pytest.approx(
        sum(expected) / 2, rel=1e-6
    )
    drawn = 0.75 * (log(2) + log(4))
    expected = [log(2) + drawn + 0.75 * (log(3) + log(5)), log(2) + drawn + 0.75 * log(3)]
    scores = Scores.of(*args, lambda rows: tf.fill(tf.shape(rows), np.float32(-log(3))))
    assert NCE(negatives=3).of(scores).numpy() == pytest.approx(sum(expected) / 2, rel=1e-6)


def test_several_positives_by_hand():
    # exp of the positives is (2, 4) and (3, 9), of the negatives (1, 3, 7) and (5, 1, 2); the 9
    # does not count. In row 0 the draws are negatives of 2, 1, 0 positives, in row 1 of 1, 0, 1. 6
    # negatives by 3 draws: each twice.
    positives, valid = np.log([[2.0, 4.0], [3.0, 9.0]]), np.array([[1.0, 1.0], [1.0, 0.0]])
    negatives, times = (
        np.log([[1.0, 3.0, 7.0], [5.0, 1.0, 2.0]]),
        np.array([[2.0, 1.0, 0.0], [1.0, 0.0, 1.0]]),
    )
    args = [tf.constant(x, tf.float32) for x in (positives, valid, negatives, times)]
    first = log(3 / 2) + log(5 / 4) + 2 * (2 * log(2) + log(4))
    second = log(4 / 3) + 2 * (log(6) + log(3))
    np.testing.assert_allclose(NEG(negatives=6).several(*args), [first, second], rtol=1e-6)
    # NCE takes 6 from under every exp: (1/3, 2/3) and (1/2, -), the negatives (1/6, 1/2, -) and
    # (5/6, -, 1/3).
    first = log(4) + log(5 / 2) + 2 * (2 * log(7 / 6) + log(3 / 2))
    second = log(3) + 2 * (log(11 / 6) + log(4 / 3))
    np.testing.assert_allclose(NCE(negatives=6).several(*args), [first, second], rtol=1e-6)


def slow(positives, valid, negatives, times, num, shift):
    """The loss of each positive as of a row of its own, draw by draw."""
    total = 0.0
    for positive, counts in zip(positives, valid, strict=True):
        total += softplus(shift - positive) if counts else 0
    for negative, many in zip(negatives, times, strict=True):
        for _ in range(many):
            total += num / len(negatives) * softplus(negative - shift)
    return total


@pytest.mark.parametrize("make, shift", [(NEG, 0), (NCE, log(2.5))])
def test_matches_the_slow_twin(make, shift):
    rng = np.random.default_rng(0)
    positives, negatives = rng.normal(size=(5, 3), scale=3), rng.normal(size=(5, 4), scale=3)
    valid, times = rng.integers(0, 2, (5, 3)), rng.integers(0, 4, (5, 4))
    args = [tf.constant(x, tf.float32) for x in (positives, valid, negatives, times)]
    expected = [
        slow(*row, 2.5, shift) for row in zip(positives, valid, negatives, times, strict=True)
    ]
    np.testing.assert_allclose(make(negatives=2.5).several(*args), expected, rtol=1e-5)


@pytest.mark.parametrize("make", [NEG, NCE])
def test_without_draws_the_positives_are_left(make):
    loss = make(negatives=1.0)
    assert loss(tf.constant([[0.0], [log(3)]])).numpy() == pytest.approx(
        (log(2) + log(4 / 3)) / 2, rel=1e-6
    )


@pytest.mark.parametrize("make", [NEG, NCE])
def test_what_is_masked_cannot_move_the_loss(make):
    mask = tf.constant([[True, False, True], [False, False, False]])

    def value_and_gradient(score):
        scores = tf.Variable([[1.0, 2.0, score, -1.0], [0.5, score, score, score]])
        with tf.GradientTape() as tape:
            value = make()(scores, mask)
        return value.numpy(), tape.gradient(value, scores).numpy()

    value, gradient = value_and_gradient(0.0)
    assert (
        not gradient[:, 1:][~mask.numpy()].any() and gradient[0, [0, 1, 3]].all() and gradient[1, 0]
    )
    for score in 50.0, 1e4, 1e30, -1e30:
        again = value_and_gradient(score)
        assert again[0] == value
        np.testing.assert_array_equal(again[1], gradient)


def tensorflow_and_ours(sampler, loss, labels, values, temperature=0.5):
    """Values and gradients by query and table, of `tf.nn.nce_loss` and of a loss on `Scores`."""
    rng = np.random.default_rng(1)
    query = tf.Variable(rng.normal(size=(len(labels), 3)), dtype=tf.float32)
    table = tf.Variable(rng.normal(size=(len(COUNTS), 3)), dtype=tf.float32)
    ids, drawn = tf.constant(labels), tf.cast(values[0], tf.int32)
    size = len(COUNTS)
    with tf.GradientTape(persistent=True) as tape:
        theirs = tf.reduce_mean(
            tf.nn.nce_loss(
                table,
                tf.zeros([size]),
                ids[:, None],
                query / temperature,
                sampler.num,
                size,
                sampled_values=values,
                remove_accidental_hits=True,
            )
        )
        candidates = [Candidates(drawn, tf.gather(table, drawn))]
        log_q = sampler.log_q if loss.corrected else None
        ours = loss.of(Scores.of(query, tf.gather(table, ids), ids, candidates, temperature, log_q))
    for value in theirs, ours:
        gradients = tape.gradient(value, [query, table])
        yield [value.numpy(), *(tf.convert_to_tensor(gradient).numpy() for gradient in gradients)]


def labels_of(sampled):
    """Items drawn once, which are accidental hits, and items not drawn."""
    rows, count = np.unique(sampled, return_counts=True)
    hits, others = rows[count == 1][:4], np.setdiff1d(np.arange(1, len(COUNTS)), rows)[:3]
    assert len(hits) > 1 and len(others) == 3
    return np.concatenate([hits, others, hits[:1]]).astype("int32")


def assert_same(pair):
    for one, other in zip(*pair, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_nce_is_tensorflows(sampler):
    labels = labels_of(sampler.rows([12], seed=[3, 4]))
    values = sampler.sampled_values(labels[:, None], seed=[3, 4])
    assert_same(tensorflow_and_ours(sampler, NCE(negatives=12), labels, values))


def test_neg_is_tensorflows_with_expected_counts_of_one(sampler):
    labels = labels_of(sampler.rows([12], seed=[3, 4]))
    sampled, *counts = sampler.sampled_values(labels[:, None], seed=[3, 4])
    values = sampled, *map(tf.ones_like, counts)
    assert_same(tensorflow_and_ours(sampler, NEG(negatives=12), labels, values))


def test_tensorflow_removes_one_of_two_draws():
    """The trap: of two draws of the true class, at a score of 1, one still counts as a negative."""
    values = tf.constant([1, 1]), tf.ones([1, 1]), tf.ones([2])
    args = tf.ones([2, 1]), tf.zeros([2]), tf.constant([[1]]), tf.ones([1, 1]), 2, 2, 1, values
    found = tf.nn.nce_loss(*args, remove_accidental_hits=True).numpy()
    np.testing.assert_allclose(found, [softplus(-1) + softplus(1)], rtol=1e-6)


def test_sampled_values_are_a_draw_and_its_expected_counts(sampler):
    true = tf.constant([[1, 2], [3, 6]])
    sampled, of_true, of_sampled = sampler.sampled_values(true, seed=[1, 2])
    assert sampled.dtype == tf.int64 and of_true.dtype == of_sampled.dtype == tf.float32
    assert sampled.shape == of_sampled.shape == [12] and of_true.shape == [2, 2]
    np.testing.assert_array_equal(sampled, sampler.sampled_values(true, seed=[1, 2])[0])
    assert not np.array_equal(sampled, sampler.sampled_values(true, seed=[1, 3])[0])
    rows = np.arange(1, len(COUNTS))
    expected = np.concatenate(
        [[0], sampler.sampled_values(rows[:, None], seed=[0, 0])[1].numpy()[:, 0]]
    )
    # so many draws are to be expected of all items together
    assert expected.sum() == pytest.approx(12, rel=1e-5)
    np.testing.assert_allclose(of_true, expected[true.numpy()], rtol=1e-6)
    np.testing.assert_allclose(of_sampled, expected[sampled.numpy()], rtol=1e-6)
    many = np.concatenate([sampler.sampled_values(true, seed=[0, at])[0] for at in range(300)])
    found = np.bincount(many, minlength=len(COUNTS)) / 300
    assert np.all(np.abs(found - expected) <= 6 * np.sqrt(expected / 300))  # six deviations


def test_sampled_softmax_of_tensorflow_takes_them():
    sampler = Uniform(num=2)
    sampler.adapt(COUNTS)
    one, other = sampler.rows([2], seed=[0, 0]).numpy()
    labels, table = np.array([[one], [23]]), tf.zeros([len(COUNTS), 2])
    assert len({one, other, 23}) == 3
    # All logits are equal, log q too. Row 0 has one negative beside its own item, row 1 has
    # two.
    args = table, tf.zeros([len(COUNTS)]), labels, tf.ones([2, 2]), 2, len(COUNTS)
    found = tf.nn.sampled_softmax_loss(
        *args, sampled_values=sampler.sampled_values(labels, seed=[0, 0])
    )
    np.testing.assert_allclose(found, [log(2), log(3)], rtol=1e-6)


def test_tensorflow_halves_the_target_of_two_classes():
    """The trap: a cross-entropy with target 1/2 for each of two contexts, not the loss of two
    pairs.
    """
    sampler = Popularity(num=3)
    sampler.adapt(COUNTS)
    rng = np.random.default_rng(2)
    labels, query, table = (
        np.array([[1, 3], [5, 6]]),
        rng.normal(size=(2, 3)),
        rng.normal(size=(len(COUNTS), 3)),
    )
    sampled = np.array([2, 4, 4])  # none of them a hit
    args = [tf.constant(x, tf.float32) for x in (table, np.zeros(len(COUNTS)))]
    values = tf.constant(sampled), tf.ones([2, 2]), tf.ones([3])
    query_ = tf.constant(query, tf.float32)
    found = tf.nn.nce_loss(*args, tf.constant(labels), query_, 3, len(COUNTS), 2, values).numpy()
    for i in range(2):
        positives, negatives = table[labels[i]] @ query[i], table[sampled] @ query[i]
        # With target 1/2 the loss of a class is -log(sigmoid(s)) / 2 - log(1 - sigmoid(s)) / 2
        halved = sum(softplus(-s) / 2 + softplus(s) / 2 for s in positives) + sum(
            softplus(s) for s in negatives
        )
        assert found[i] == pytest.approx(halved, rel=1e-5)
        row = [
            tf.constant(x, tf.float32)
            for x in ([positives], np.ones((1, 2)), [negatives], np.full((1, 3), 2))
        ]
        by_pair = NEG(negatives=3).several(*row)[0].numpy()
        assert by_pair == pytest.approx(
            sum(softplus(-s) for s in positives) + 2 * sum(map(softplus, negatives)), rel=1e-5
        )
        assert abs(by_pair - found[i]) > 0.5


P = np.array([[0.5, 0.3, 0.2], [0.1, 0.6, 0.3]])  # of item t for query i
DRAWS = np.array([0, 0, 1, 2])  # as often as Q = (1/2, 1/4, 1/4) says
Q = np.array([1 / 2, 1 / 4, 1 / 4])
LEARNED = {NEG: np.log(P / (2 * Q)), NCE: np.log(P)}


@pytest.mark.parametrize("make", LEARNED)
def test_what_it_learns(make):
    """Every query with every item, by weight P, against a draw of exactly Q: where the loss is
    lowest over a table.
    """
    table = tf.Variable(tf.zeros([2, 3]))
    query, item = np.divmod(np.arange(6), 3)
    loss, weight = make(negatives=2.0), tf.constant(6 * P.reshape(-1), tf.float32)
    log_q = tf.constant(np.log(Q), tf.float32) if loss.corrected else tf.zeros([3])
    sgd = keras.optimizers.SGD(2.0)
    sgd.build([table])

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            scores = tf.gather(table - log_q, query)  # [6, 3]
            scores = tf.concat(
                [tf.gather(scores, item, batch_dims=1)[:, None], tf.gather(scores, DRAWS, axis=1)],
                1,
            )
            value = loss(scores, None, weight)
        sgd.apply(tape.gradient(value, [table]), [table])

    for _ in range(300):
        step()
    np.testing.assert_allclose(table.numpy(), LEARNED[make], atol=1e-3)
