"""Random numbers: even, repeatable, the same under XLA, and of an id whatever stands beside it."""

import numpy as np
import pytest
import tensorflow as tf

from tf_recall.data.draws import unit, unit_of

DRAWS = [lambda seed: unit([100_000], seed), lambda seed: unit_of(tf.range(100_000), seed)]
both = pytest.mark.parametrize("draw", DRAWS, ids=["unit", "unit_of"])


@both
def test_even_and_without_pattern(draw):
    u = draw([1, 2]).numpy()
    assert u.dtype == np.float64 and u.min() >= 0 and u.max() < 1
    counts = np.histogram(u, 100, (0, 1))[0]
    # chi-square, 99 degrees of freedom
    assert np.sum((counts - 1000) ** 2 / 1000) < 99 + 5 * np.sqrt(2 * 99)
    for other in (np.roll(u, 1), draw([1, 3]).numpy(), draw([2, 2]).numpy(), draw([2, 1]).numpy()):
        assert abs(np.corrcoef(u, other)[0, 1]) < 5 / np.sqrt(len(u))


@both
def test_a_function_of_the_seed_under_xla_too(draw):
    np.testing.assert_array_equal(draw([1, 2]), draw([1, 2]))
    np.testing.assert_array_equal(tf.function(draw, jit_compile=True)([1, 2]), draw([1, 2]))


def test_an_id_draws_the_same_wherever_it_stands():
    all_ids = unit_of(tf.range(10), [5, 6]).numpy()
    np.testing.assert_array_equal(
        unit_of(tf.constant([[7, 3], [7, 0]], tf.int64), [5, 6]), all_ids[[[7, 3], [7, 0]]]
    )


def test_splitmix_by_its_published_numbers():
    # SplitMix64 from state 1234567 begins with 6457827717110365317 and 3203168211198807973. Id i of
    # a start s is the number of state s + i gamma, so consecutive ids are consecutive numbers of
    # one generator.
    from tf_recall.data.draws import GAMMA, _mix

    state = tf.constant(1234567, tf.int64) + GAMMA * tf.constant([1, 2], tf.int64)
    assert [int(z) % 2**64 for z in _mix(state)] == [6457827717110365317, 3203168211198807973]
