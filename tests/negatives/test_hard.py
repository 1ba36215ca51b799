"""Each row's own negatives: those the data names, the batch's highest, and how a curriculum lets
them in.
"""

import numpy as np
import pytest
import tensorflow as tf

from tf_recall.negatives import (
    Curriculum,
    EasyHard,
    Given,
    HighestInBatch,
    InBatch,
    SameGroup,
    Uniform,
)

COUNTS = np.array([0, 3, 1, 4, 2])


def adapted(sampler, counts=COUNTS):
    sampler.adapt(counts)
    return sampler


def drawn(sampler, batch, *num):
    (candidates,) = sampler.draw(batch, *num)
    assert not candidates.shared
    return candidates


def test_given_by_hand(batch_of):
    sampler = adapted(Given(3))
    batch = batch_of([1, 2], negatives=tf.constant([[3, 0, 0], [4, 1, 3]]))
    candidates = drawn(sampler, batch)
    np.testing.assert_array_equal(candidates.ids, [[3, 0, 0], [4, 1, 3]])
    np.testing.assert_array_equal(candidates.valid, [[True, False, False], [True, True, True]])
    np.testing.assert_array_equal(candidates.vectors, batch.embed(candidates.ids))
    np.testing.assert_allclose(sampler.log_q([[1, 4]]), np.log([[1 / 4, 1 / 4]]), rtol=1e-6)
    assert sampler.max_draws(batch) == sampler.num_draws(batch) == sampler.num_given == 3


def test_given_gives_no_more_than_asked_for(batch_of):
    batch = batch_of([1, 2], negatives=tf.constant([[3, 1, 4], [4, 1, 3]]))
    np.testing.assert_array_equal(drawn(adapted(Given(2)), batch).ids, [[3, 1], [4, 1]])
    assert drawn(adapted(Given(3)), batch, 1).ids.shape == (2, 1)
    # 10 hard ones, of which the data names 2
    sampler = adapted(EasyHard(Uniform(10), Given(2), ratio=1))
    assert sampler.draw(batch)[-1].ids.shape == (2, 2) and sampler.max_draws(batch) == 12


def test_given_in_a_batch_of_unknown_size(batch_of):
    sampler = adapted(EasyHard(InBatch(), Given(2), ratio=1))

    @tf.function(
        input_signature=[tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, 2], tf.int32)]
    )
    def step(positives, negatives):
        batch = batch_of([1])._replace(positives=positives, negatives=negatives)
        return sampler.draw(batch)[-1].ids, sampler.num_draws(batch)

    ids, num = step(tf.constant([1, 2, 3]), tf.constant([[4, 0], [1, 3], [0, 0]]))
    np.testing.assert_array_equal(ids, [[4, 0], [1, 3], [0, 0]])
    assert num == 5


def test_given_misses_the_negatives(batch_of):
    with pytest.raises(ValueError, match="Given needs negatives: .* a column 'negatives'"):
        adapted(Given(1)).draw(batch_of([1]))


def test_the_highest_of_the_batch(batch_of):
    generator = np.random.default_rng(0)
    positives = generator.integers(1, 30, 50)  # many twice
    table, query = (
        generator.normal(size=[30, 4]).astype("f"),
        generator.normal(size=[50, 4]).astype("f"),
    )
    candidates = drawn(
        adapted(HighestInBatch(7)), batch_of(positives, tf.constant(table), tf.constant(query))
    )
    assert candidates.ids.shape == (50, 7) and np.all(candidates.valid)
    np.testing.assert_array_equal(candidates.vectors, table[candidates.ids])
    for row, ids in enumerate(candidates.ids.numpy()):
        others = positives[positives != positives[row]]
        best = others[np.argsort(-(table[others] @ query[row]), kind="stable")][:7]
        np.testing.assert_array_equal(ids, best)


def test_the_highest_are_never_the_positive(batch_of):
    batch = batch_of([1, 1, 2, 1], query=tf.random.stateless_normal([4, 4], [1, 1]))
    candidates = drawn(adapted(HighestInBatch(3)), batch)
    # rows of item 1 have one negative, that of item 2 has three
    np.testing.assert_array_equal(np.sum(candidates.valid, axis=1), [1, 1, 3, 1])
    assert set(candidates.ids[0][candidates.valid[0]].numpy()) == {2}
    assert set(candidates.ids[2].numpy()) == {1}


def test_more_than_the_batch_has(batch_of):
    assert drawn(adapted(HighestInBatch(9)), batch_of([1, 2, 3])).ids.shape == (3, 3)


def test_gradients_flow_through_the_highest_not_through_the_choice(batch_of):
    table = tf.constant([[0.0, 0], [1, 0], [0, 1], [0.5, 0.5]])
    query = tf.constant([[1.0, 0], [1.0, 0], [0, 1.0]])
    with tf.GradientTape() as tape:
        tape.watch([table, query])
        candidates = drawn(adapted(HighestInBatch()), batch_of([1, 2, 3], table, query))
        # scores (., 0, .5), (1, ., .5), (0, 1, .)
        np.testing.assert_array_equal(candidates.ids, [[3], [1], [2]])
        loss = tf.reduce_sum(candidates.vectors * [[[1.0]], [[10.0]], [[100.0]]])
    by_table, by_query = tape.gradient(loss, [table, query])
    np.testing.assert_array_equal(tf.convert_to_tensor(by_table)[:, 0], [0, 10, 100, 1])
    assert by_query is None


def test_the_highest_cost_what_the_batch_does():
    np.testing.assert_allclose(
        np.exp(adapted(HighestInBatch()).log_q([1, 3])), [3 / 10, 4 / 10], rtol=1e-5
    )


@pytest.mark.parametrize(
    "wait, grow, expected",
    [
        (1, 1, [0, 1, 2, 3, 3]),
        (0, 1, [1, 2, 3, 3, 3]),
        (2, 2, [0, 0, 2, 3, 3]),
        (0, 9, [3, 3, 3, 3, 3]),
    ],
)
def test_a_curriculum_by_hand(wait, grow, expected, batch_of):
    sampler = adapted(Curriculum(HighestInBatch(3), wait, grow))
    for epoch, count in enumerate(expected):
        batch = batch_of([1, 2, 3, 4], epoch=tf.constant(epoch))
        candidates = drawn(sampler, batch)
        np.testing.assert_array_equal(candidates.valid, np.tile(np.arange(3) < count, [4, 1]))
        np.testing.assert_array_equal(candidates.ids, drawn(sampler.hard, batch).ids)
        assert int(sampler.num_draws(batch)) == count and sampler.max_draws(batch) == 3
    np.testing.assert_array_equal(sampler.log_q([1, 2]), sampler.hard.log_q([1, 2]))


def test_a_curriculum_lets_in_no_padding(batch_of):
    batch = batch_of([1, 2], negatives=tf.constant([[3, 0, 4], [0, 0, 0]]), epoch=1)
    candidates = drawn(adapted(Curriculum(Given(3), wait=0)), batch)
    np.testing.assert_array_equal(candidates.valid, [[True, False, False], [False, False, False]])


@pytest.mark.parametrize("make", [Given, HighestInBatch, lambda num: SameGroup("city", num)])
def test_refuses_no_negatives(make):
    with pytest.raises(ValueError, match="must draw at least 1 item a row, not num=0"):
        make(0)


@pytest.mark.parametrize("wait, grow", [(-1, 1), (0, 0)])
def test_refuses_a_curriculum_that_is_none(wait, grow):
    with pytest.raises(ValueError, match="wait must be at least 0 and grow at least 1"):
        Curriculum(Given(), wait, grow)
