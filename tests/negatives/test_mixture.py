"""Several samplers as one: log q and counts by hand, draws against log q, easy and hard by their
ratio.
"""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tf_recall.negatives import (
    CrossBatch,
    Curriculum,
    EasyHard,
    Given,
    HighestInBatch,
    InBatch,
    LogUniform,
    Mixture,
    Popularity,
    SameGroup,
    Uniform,
)

COUNTS = np.array([0, 40, 1, 90, 5, 12, 30])
ROWS = tf.range(len(COUNTS))
TABLE = pd.DataFrame({"city": ["a", "a", "a", "b", "b", "b"]})


def adapted(sampler, counts=COUNTS, table=TABLE):
    sampler.adapt(counts, table, dim=4)
    return sampler


def ids(sampler, batch):
    return [candidates.ids.numpy() for candidates in sampler.draw(batch)]


def stream(steps, size):
    return np.random.default_rng(0).choice(len(COUNTS), [steps, size], p=COUNTS / COUNTS.sum())


def test_log_q_by_hand(batch_of):
    sampler = adapted(Mixture([Uniform(30), Popularity(10, power=1)]), [0, 1, 3], None)
    # 3/4 * 1/2 + 1/4 * 1/4 = 7/16 and 3/4 * 1/2 + 1/4 * 3/4 = 9/16: the mean of the shares, not of
    # their log q
    np.testing.assert_allclose(
        sampler.log_q([[1], [2]], batch_of([1])), np.log([[7 / 16], [9 / 16]]), rtol=1e-6
    )


def test_the_batch_counts_by_its_size(batch_of):
    sampler = adapted(Mixture([InBatch(), Uniform(12)]), [0, 1, 3], None)
    # 12 : 4 as above; 1/2 * (1/4 + 1/2)
    for size, expected in (
        (4, [7 / 16, 9 / 16]),
        (12, [3 / 8, 5 / 8]),
    ):
        np.testing.assert_allclose(
            sampler.log_q([1, 2], batch_of([1] * size)), np.log(expected), rtol=1e-6
        )


def test_a_batch_of_unknown_size(batch_of):
    sampler = adapted(
        EasyHard(
            Mixture([InBatch(), CrossBatch(4, warm_up=0), Uniform(12)]),
            Curriculum(HighestInBatch(), wait=0),
            8,
        )
    )

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)])
    def step(positives):
        table = tf.random.stateless_normal([10, 4], [0, 0])
        items = tf.gather(table, positives)
        batch = batch_of([1])._replace(query=items, positives=positives, items=items)
        candidates = sampler.draw(batch)
        return tf.shape(candidates[-1].ids), sampler.log_q(ROWS, batch), sampler.max_draws(batch)

    shape, logs, most = step(tf.constant([1, 2, 3, 4] * 4))
    np.testing.assert_array_equal(shape, [16, 4])  # (16 + 4 + 12) / 8
    assert most == 36
    # 16 of the batch, nothing yet of the cache, 12 from everywhere, 1 let in of the hard ones,
    # which are the batch's
    share = np.maximum(COUNTS, 1) / COUNTS.sum()
    np.testing.assert_allclose(np.exp(logs), (17 * share + 12 / 6) / 29, rtol=1e-5)


def test_draws_match_log_q(batch_of, assert_drawn):
    sampler = adapted(Mixture([InBatch(), Uniform(700), Popularity(300), LogUniform(500)]))
    batches = [batch_of(rows, step=step) for step, rows in enumerate(stream(80, 1000))]
    drawn = np.concatenate([rows for batch in batches for rows in ids(sampler, batch)])
    assert (
        len(drawn) == 200_000
        and sampler.max_draws(batches[0]) == float(sampler.num_draws(batches[0])) == 2500
    )
    assert_drawn(drawn, sampler.log_q(ROWS, batches[0]))


@pytest.mark.parametrize("warm_up", [0, 3])
def test_the_partition_function_is_not_biased(warm_up, batch_of, partition):
    scores = np.random.default_rng(0).normal(0, 1, len(COUNTS))
    sampler = adapted(Mixture([InBatch(), Uniform(300), CrossBatch(900, warm_up)]))
    batches = [batch_of(rows, step=step) for step, rows in enumerate(stream(100, 300))]
    mean, error = partition(sampler, batches, scores)
    assert abs(mean - np.exp(scores[1:]).sum()) < 4 * error


def test_a_mixture_of_mixtures_is_a_mixture(batch_of):
    flat = adapted(Mixture([InBatch(), Uniform(6), Popularity(2)]))
    nested = adapted(Mixture([InBatch(), Mixture([Uniform(6), Popularity(2)])]))
    batch = batch_of([1, 2, 3])
    np.testing.assert_allclose(nested.log_q(ROWS, batch), flat.log_q(ROWS, batch), rtol=1e-5)
    assert nested.max_draws(batch) == flat.max_draws(batch) == 11


def test_twins_of_one_seed_draw_differently(batch_of):
    sampler = adapted(
        Mixture([Uniform(1000), Uniform(1000), Mixture([Uniform(1000), Uniform(1000)])])
    )
    drawn = ids(sampler, batch_of([1]))
    for k in range(4):
        for other in range(k):
            assert np.mean(drawn[k] == drawn[other]) < 1 / 6 + 0.1
    for ours, theirs in zip(drawn, ids(sampler, batch_of([1])), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_an_empty_cache_weighs_nothing(batch_of):
    sampler = adapted(Mixture([Uniform(2), CrossBatch(4, warm_up=0)]), [0, 1, 3], None)
    # share of the cache: 0, then 2 of 4, then 4 of 6 draws
    for step, cached in enumerate([0, 1 / 2, 2 / 3, 2 / 3]):
        batch = batch_of([1, 2], step=step)
        sampler.draw(batch)
        expected = (1 - cached) * np.array([1 / 2, 1 / 2]) + cached * np.array([1 / 4, 3 / 4])
        np.testing.assert_allclose(np.exp(sampler.log_q([1, 2], batch)), expected, rtol=1e-5)


def test_log_q_is_finite_where_nothing_is_drawn(batch_of):
    sampler, batch = adapted(Mixture([CrossBatch(4)])), batch_of([1])
    sampler.draw(batch)
    np.testing.assert_allclose(
        np.exp(sampler.log_q([1, 3], batch)), COUNTS[[1, 3]] / COUNTS.sum(), rtol=1e-5
    )


@pytest.mark.parametrize(
    "num, ratio, expected",
    # round(1.5) = 2, round(3.5) = 4
    [
        (100, 100, 1),
        (300, 100, 3),
        (12, 8, 2),
        (10, 1000, 1),
        (4, 0.5, 8),
        (7, 2, 4),
    ],
)
def test_hard_ones_by_the_ratio(num, ratio, expected, batch_of):
    sampler = adapted(EasyHard(Uniform(num), SameGroup("city"), ratio))
    batch = batch_of([1, 2, 3])
    easy, hard = ids(sampler, batch)
    assert easy.shape == (num,) and hard.shape == (3, expected)
    assert sampler.max_draws(batch) == float(sampler.num_draws(batch)) == num + expected


def test_easy_and_hard_log_q_by_hand(batch_of):
    sampler = adapted(EasyHard(Uniform(8), HighestInBatch(), ratio=2), [0, 1, 3], None)
    # 8 of 12 uniform, 4 of 12 as the batch: 2/3 * 1/2 + 1/3 * 1/4 = 5/12
    np.testing.assert_allclose(
        np.exp(sampler.log_q([1, 2], batch_of([1]))), [5 / 12, 7 / 12], rtol=1e-5
    )


def test_a_curriculum_moves_log_q(batch_of):
    sampler = adapted(
        EasyHard(Uniform(8), Curriculum(HighestInBatch(), wait=1, grow=2), ratio=2), [0, 1, 3], None
    )
    for epoch, hard in enumerate([0, 2, 4, 4]):  # of at most 8 / 2
        batch = batch_of([1, 2], epoch=tf.constant(epoch))
        share = hard / (8 + hard)
        expected = (1 - share) * np.array([1 / 2, 1 / 2]) + share * np.array([1 / 4, 3 / 4])
        np.testing.assert_allclose(np.exp(sampler.log_q([1, 2], batch)), expected, rtol=1e-5)
        assert float(sampler.num_draws(batch)) == 8 + hard and sampler.max_draws(batch) == 12


def test_hard_ones_in_a_mixture_bring_their_own_number(batch_of):
    sampler = adapted(Mixture([Uniform(6), SameGroup("city", num=2)]))
    batch = batch_of([1, 4])
    easy, hard = ids(sampler, batch)
    assert (
        hard.shape == (2, 2)
        and np.isin(hard[0], [1, 2, 3]).all()
        and np.isin(hard[1], [4, 5, 6]).all()
    )
    assert sampler.max_draws(batch) == 8


def test_rivals_are_asked_for():
    assert Mixture([InBatch(), Given(3)]).num_given == 3
    assert EasyHard(InBatch(), Curriculum(Given(2))).num_given == 2
    assert EasyHard(EasyHard(InBatch(), Given(4)), SameGroup("city")).num_given == 4
    assert Mixture([InBatch(), Uniform(1)]).num_given == 0


def test_adapt_again_reaches_all(batch_of):
    sampler = adapted(EasyHard(Mixture([InBatch(), Popularity(4)]), SameGroup("city")))
    num_weights, batch = len(sampler.weights), batch_of([1])
    adapted(sampler, COUNTS[::-1].copy())
    fresh = adapted(
        EasyHard(Mixture([InBatch(), Popularity(4)]), SameGroup("city")), COUNTS[::-1].copy()
    )
    np.testing.assert_array_equal(sampler.log_q(ROWS, batch), fresh.log_q(ROWS, batch))
    assert len(sampler.weights) == num_weights


def test_refuses_what_cannot_be_mixed():
    with pytest.raises(ValueError, match="a mixture needs at least one sampler"):
        Mixture([])
    with pytest.raises(
        ValueError, match="hard must be a hard sampler, such as SameGroup, not Uniform"
    ):
        EasyHard(InBatch(), Uniform(1))


@pytest.mark.parametrize("ratio", [0, -1, np.inf, np.nan])
def test_refuses_a_ratio_that_is_none(ratio):
    with pytest.raises(ValueError, match="ratio must be a number above 0"):
        EasyHard(InBatch(), SameGroup("city"), ratio)
