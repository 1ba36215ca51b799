"""The alias method: by hand, its exact probabilities, and what it draws."""

import numpy as np
import pytest
import tensorflow as tf

from tf_recall.negatives.alias_table import alias_draw, alias_table

GENERATOR = np.random.default_rng(0)
WEIGHTS = {
    "random": GENERATOR.random(1_000),
    "zipf": GENERATOR.permutation(1 / np.arange(1, 200_001)),
    "steep": GENERATOR.permutation(1 / np.arange(1, 1_001) ** 3.0),
    "zeros": np.where(GENERATOR.random(1_000) < 0.5, 0, GENERATOR.random(1_000)),
    "small_counts": GENERATOR.poisson(1.0, 5_000),
    "heavy_first": [9, 1, 1, 1],
    "heavy_last": [0, 1, 2, 3],
    "constant": np.full(49, 0.1),
    "one_hot": np.eye(7)[4],
    "one_hot_first": np.eye(7)[0],
    "single": [0.3],
    "huge": np.full(10, 1e300),
    "tiny": [1e-300, 3e-300],
    "rounded": [0.1] * 20
    + [1.9] * 20
    + [1 - 2e-16],  # the heavy ones have nothing left for the last one
}


def probabilities(keep, alias):
    """Row by row, what the table says."""
    share = np.zeros(len(keep))
    for bucket, (own, other) in enumerate(zip(keep.astype(np.float64), alias, strict=True)):
        share[bucket] += own / len(keep)
        share[other] += (1 - own) / len(keep)
    return share


def test_by_hand():
    # In buckets: w = 4 * [1, 4, 1, 2] / 8 = [0.5, 2, 0.5, 1]. Row 1 has 1 to give and fills up rows
    # 0 and 2 with 0.5 each. Nobody asks row 3.
    keep, alias = alias_table([1, 4, 1, 2])
    assert (keep.dtype, alias.dtype) == (np.float32, np.int32)
    np.testing.assert_array_equal(keep, [0.5, 1, 0.5, 1])
    np.testing.assert_array_equal(alias[[0, 2]], [1, 1])


def test_a_heavy_row_that_gave_too_much_by_hand():
    # w = 4 * [1, 10, 2, 11] / 24 = [1/6, 5/3, 1/3, 11/6]. Row 1 has 2/3 to give, but row 0 takes
    # 5/6: row 1 keeps 5/6 of its bucket, and row 3 gives the other 1/6, and 2/3 to row 2. The last
    # one's bucket is its own.
    keep, alias = alias_table([1, 10, 2, 11])
    np.testing.assert_allclose(keep, [1 / 6, 5 / 6, 1 / 3, 1], rtol=1e-6)
    np.testing.assert_array_equal(alias, [1, 3, 3, 3])


@pytest.mark.parametrize("name", WEIGHTS)
def test_exact_probabilities(name):
    weights = np.asarray(WEIGHTS[name], np.float64)
    keep, alias = alias_table(weights)
    expected = weights / weights.sum()
    np.testing.assert_allclose(probabilities(keep, alias), expected, rtol=1e-6, atol=1e-12)
    assert np.all((keep >= 0) & (keep <= 1))
    # No rounding lets a row of weight 0 be drawn.
    assert np.all(keep[weights == 0] == 0) and np.all(weights[alias[keep < 1]] > 0)


@pytest.mark.parametrize("name", ["zipf", "zeros", "steep"])
def test_draws_match_the_weights(name):
    weights = np.asarray(WEIGHTS[name], np.float64)
    draw = tf.function(alias_draw)(
        *map(tf.constant, alias_table(weights)), [1_000_000], tf.constant([1, 2])
    )
    count = np.bincount(draw, minlength=len(weights))
    expected = weights / weights.sum() * 1_000_000
    assert np.all(count[weights == 0] == 0)
    often = expected >= 5
    observed = np.append(count[often], count[~often].sum())  # the rare ones together
    expected = np.append(expected[often], max(expected[~often].sum(), 1))
    chi_square, freedom = np.sum((observed - expected) ** 2 / expected), often.sum()
    assert abs(chi_square - freedom) < 5 * np.sqrt(2 * freedom)


def test_one_hot_and_single_draws():
    for weights, row in ((np.eye(7)[4], 4), ([2.0], 0)):
        np.testing.assert_array_equal(
            alias_draw(*alias_table(weights), [1_000], tf.constant([0, 0])), row
        )


def test_no_coin_is_too_small_for_a_row_of_weight_zero(monkeypatch):
    monkeypatch.setattr(
        "tf_recall.negatives.alias_table.unit",
        lambda shape, seed: tf.constant([0, 0.25, 0.5, 0.75], tf.float64),
    )
    np.testing.assert_array_equal(alias_draw(*alias_table([0, 1]), [4], tf.constant([0, 0])), 1)


@pytest.mark.parametrize("shape", [[5], [3, 4], [2, 3, 4]])
def test_shape_and_type(shape):
    draw = alias_draw(*alias_table([1, 2, 3]), shape, tf.constant([0, 0]))
    assert draw.dtype == tf.int32 and draw.shape == shape


def test_the_seed_is_all_that_matters():
    table = alias_table(np.arange(1.0, 1_000))
    drawn = {
        seed: alias_draw(*table, [100], tf.constant(seed, tf.int64)).numpy()
        for seed in [(0, 1), (1, 0), (0, 0)]
    }
    np.testing.assert_array_equal(
        alias_draw(*table, [100], tf.constant([0, 1], tf.int32)), drawn[0, 1]
    )
    for one, other in [((0, 1), (1, 0)), ((0, 1), (0, 0)), ((1, 0), (0, 0))]:
        assert np.mean(drawn[one] == drawn[other]) < 0.1


def test_same_draws_under_xla():
    table = [tf.Variable(part) for part in alias_table(WEIGHTS["zipf"])]
    plain, compiled = (
        tf.function(lambda seed: alias_draw(*table, [300, 7], seed), jit_compile=jit)(
            tf.constant([3, 4], tf.int64)
        )
        for jit in (False, True)
    )
    np.testing.assert_array_equal(plain, compiled)


def test_more_rows_than_a_float32_can_count():
    # 2^25 buckets, of which row 0 has 0.3 and the bucket's own row 0.7. In float32 no odd bucket
    # could be drawn.
    rows = 2**25
    draw = alias_draw(
        tf.fill([rows], 0.7), tf.zeros([rows], tf.int32), [100_000], tf.constant([0, 0])
    ).numpy()
    assert np.mean(draw == 0) == pytest.approx(0.3, abs=5 * np.sqrt(0.21 / 100_000))
    assert np.mean(draw[draw > 0] % 2) == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(70_000))


@pytest.mark.parametrize("weights", [[], [0, 0], [1, -1], [1, np.nan], [1, np.inf], [[1, 2]], 3])
def test_refuses_weights_that_name_no_row(weights):
    with pytest.raises(ValueError, match="weights must be"):
        alias_table(weights)
