"""Samplers that draw from the catalog: log q by hand, draws against log q, seeds."""

import numpy as np
import pytest
import tensorflow as tf

from tf_recall.negatives import LogUniform, Popularity, Uniform, WholeCatalog

NUM = 200_000
# row 0 is the unknown one; not in the order of popularity
COUNTS = np.array([7, 5, 1, 0, 40, 2, 16, 3, 90, 1, 12])
SAMPLERS = {
    "uniform": Uniform,
    "power 0": lambda num, seed=0: Popularity(num, 0, seed),
    "power 0.75": Popularity,
    "power 1": lambda num, seed=0: Popularity(num, 1, seed),
    "log-uniform": LogUniform,
}
ROWS = tf.range(len(COUNTS))


@pytest.fixture(params=SAMPLERS)
def make(request):
    """Makes a sampler that knows `COUNTS`."""

    def adapted(num, **arguments):
        sampler = SAMPLERS[request.param](num, **arguments)
        sampler.adapt(COUNTS)
        return sampler

    return adapted


def ids(sampler, batch):
    (candidates,) = sampler.draw(batch)
    return candidates.ids.numpy()


def adapted(sampler, counts):
    sampler.adapt(counts)
    return sampler


@pytest.mark.parametrize("sampler", [Uniform(3), WholeCatalog()], ids=["uniform", "whole"])
def test_uniform_log_q_by_hand(sampler):
    sampler.adapt([0, 9, 0, 1])
    np.testing.assert_allclose(sampler.log_q([[1, 2]]), np.log([[1 / 3, 1 / 3]]), rtol=1e-6)


@pytest.mark.parametrize(
    "power, expected",
    [
        (0, [1 / 3, 1 / 3, 1 / 3]),
        # 16^0.75 = 8, 81^0.75 = 27; a row never counted counts as 1
        (
            0.75,
            [8 / 36, 1 / 36, 27 / 36],
        ),
        (1, [16 / 98, 1 / 98, 81 / 98]),
    ],
)
def test_popularity_by_hand(power, expected):
    sampler = adapted(Popularity(3, power), [0, 16, 0, 81])
    np.testing.assert_allclose(sampler.log_q([1, 2, 3]), np.log(expected), rtol=1e-6)


def test_log_uniform_by_hand():
    sampler = adapted(LogUniform(3), [0, 1, 9, 4])  # ranks 2, 0, 1; V + 1 = 4
    expected = np.array(
        [np.log(4) - np.log(3), np.log(2) - np.log(1), np.log(3) - np.log(2)]
    ) / np.log(4)
    np.testing.assert_allclose(sampler.log_q([1, 2, 3]), np.log(expected), rtol=1e-6)
    np.testing.assert_allclose(sampler.log_q([2]), np.log([1 / 2]), rtol=1e-6)


def test_log_uniform_is_what_tensorflow_draws_of_sorted_ids():
    sampler = adapted(LogUniform(3), [0, 50, 40, 30, 20, 10])
    ours = np.exp(sampler.log_q(tf.range(1, 6)))
    theirs = tf.random.log_uniform_candidate_sampler(
        tf.range(5, dtype=tf.int64)[None], 5, 1, False, 5
    )
    np.testing.assert_allclose(ours, theirs.true_expected_count[0], rtol=1e-4)


def test_draws_match_log_q(make, batch_of, assert_drawn):
    sampler = make(NUM)
    assert_drawn(ids(sampler, batch_of([1])), sampler.log_q(ROWS))


def test_candidates_are_encoded_in_the_step(make, batch_of):
    table = tf.random.stateless_normal([len(COUNTS), 3], [1, 2])
    (candidates,) = make(50).draw(batch_of([1, 2], table))
    assert candidates.shared and candidates.valid is None and candidates.fresh
    assert candidates.ids.dtype == tf.int32
    np.testing.assert_array_equal(candidates.vectors, tf.gather(table, candidates.ids))


def test_the_seed_and_the_step_decide(make, batch_of):
    first = ids(make(1000), batch_of([1], step=3))
    np.testing.assert_array_equal(
        first, ids(make(1000), batch_of([2], step=tf.constant(3, tf.int64)))
    )
    agreement = np.mean(np.exp(make(1000).log_q(first)))  # how often two independent draws agree
    for other in (
        ids(make(1000), batch_of([1], step=4)),
        ids(make(1000, seed=1), batch_of([1], step=3)),
        ids(make(1000), batch_of([1], step=3, position=(1,))),
    ):
        assert np.mean(first == other) < agreement + 0.1


def test_samplers_of_equal_seed_draw_differently(batch_of):
    one = ids(adapted(Uniform(1000), COUNTS), batch_of([1]))
    other = ids(adapted(Popularity(1000, power=0), COUNTS), batch_of([1]))
    assert np.mean(one == other) < 0.2


def test_same_draws_under_xla(make, batch_of):
    sampler = make(1000)
    plain, compiled = (
        tf.function(lambda step: sampler.draw(batch_of([1], step=step))[0].ids, jit_compile=jit)(
            tf.constant(7)
        )
        for jit in (False, True)
    )
    np.testing.assert_array_equal(plain, compiled)


def test_adapt_again_follows_the_counts(make, batch_of, assert_drawn):
    sampler = make(NUM)
    num_weights = len(sampler.weights)
    sampler.adapt(COUNTS[::-1])
    assert len(sampler.weights) == num_weights
    assert_drawn(ids(sampler, batch_of([1])), sampler.log_q(ROWS))
    fresh = make(1)
    if not np.allclose(fresh.log_q([1]), fresh.log_q([8])):
        assert not np.allclose(sampler.log_q(ROWS), fresh.log_q(ROWS))


def test_the_partition_function_is_not_biased(make, batch_of, partition):
    scores = np.random.default_rng(0).normal(0, 1, len(COUNTS))
    mean, error = partition(make(500), (batch_of([1], step=step) for step in range(100)), scores)
    assert abs(mean - np.exp(scores[1:]).sum()) < 4 * error


def test_whole_catalog_is_every_item_once(batch_of):
    sampler = adapted(WholeCatalog(), COUNTS)
    np.testing.assert_array_equal(ids(sampler, batch_of([1])), np.arange(1, len(COUNTS)))
    assert sampler.max_draws(batch_of([1])) == len(COUNTS) - 1


@pytest.mark.parametrize("sampler", [Uniform, Popularity, LogUniform])
def test_refuses_to_draw_nothing(sampler):
    with pytest.raises(
        ValueError, match=f"{sampler.__name__} must draw at least 1 item, not num=0"
    ):
        sampler(0)


@pytest.mark.parametrize("power", [-0.1, np.inf, np.nan])
def test_refuses_a_power_that_is_none(power):
    with pytest.raises(ValueError, match="power must be a number of at least 0"):
        Popularity(1, power)


@pytest.mark.parametrize("counts", [[0, 0], [1, -1], [[1, 2]]])
def test_refuses_counts_that_give_no_probability(make, counts):
    with pytest.raises(ValueError, match="counts must be"):
        make(1).adapt(counts)
