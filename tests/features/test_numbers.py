import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tf_recall.features import Buckets, ExampleAge, LogNumeric, Numeric, Pretrained, Timestamp


def adapted(feature, values):
    feature.adapt(feature.to_raw(values))
    return feature


def float64(values):
    return tf.constant(values, tf.float64)


def test_numeric_by_hand():
    feature = adapted(Numeric("x"), [1, 3, None])  # mean 2, deviation 1
    assert feature.encode(float64([1, 2, 5, np.nan])).numpy()[:, 0].tolist() == [-1, 0, 3, 0]


def test_numeric_of_large_numbers_keeps_small_differences():
    feature = adapted(Numeric("time"), [1.5e9, 1.5e9 + 2])  # float32 cannot tell these apart
    assert feature.encode(float64([1.5e9, 1.5e9 + 2])).numpy()[:, 0].tolist() == [-1, 1]


def test_a_constant_column_gives_zeros():
    assert adapted(Numeric("x"), [7, 7]).encode(float64([7])).numpy().tolist() == [[0]]


def test_log_numeric_by_hand():
    feature = adapted(LogNumeric("x"), [0, np.e**2 - 1])  # log1p: 0 and 2, mean 1, deviation 1
    codes = feature.encode(float64([np.e**2 - 1, 0, 1 - np.e**2])).numpy()[:, 0]
    np.testing.assert_allclose(codes, [1, -1, -3], rtol=1e-6)


def test_buckets_are_equally_full_and_0_is_missing():
    values = np.random.default_rng(0).lognormal(size=1000)
    feature = adapted(Buckets("x", num_buckets=4), values)
    codes = feature.encode(float64(values)).numpy()
    assert np.bincount(codes).tolist() == [0, 250, 250, 250, 250]
    assert feature.encode(float64([np.nan, -1, 1e9])).numpy().tolist() == [0, 1, 4]


def test_buckets_agree_with_a_slow_twin():
    rng = np.random.default_rng(1)
    feature = adapted(Buckets("x", num_buckets=10), rng.integers(0, 20, 500))  # with many ties
    for value in rng.integers(-5, 25, 50):
        assert feature.encode(float64([value])).numpy()[0] == 1 + sum(
            b <= value for b in feature.boundaries.numpy()
        )


def test_timestamp_circles():
    feature = adapted(Timestamp("t"), [0, 86_400])
    codes = feature.encode(float64([0, 6 * 3600, 86_400 * 7, np.nan])).numpy()
    # midnight: sines 0, cosines 1
    np.testing.assert_allclose(codes[0, 1:], [0, 0, 1, 1], atol=1e-6)
    # six o'clock: a quarter of the day
    np.testing.assert_allclose(codes[1, [1, 3]], [1, 0], atol=1e-6)
    np.testing.assert_allclose(codes[2, 1:], codes[0, 1:], atol=1e-5)  # a week later
    assert codes[3].tolist() == [0, 0, 0, 0, 0]


def test_dates_are_seconds():
    dates = pd.to_datetime(["1970-01-02", None])
    assert Numeric("t").to_raw(dates)[0] == 86_400
    assert Numeric("t").to_raw(dates.tz_localize("UTC"))[0] == 86_400


def test_pretrained_passes_vectors_on():
    feature = adapted(Pretrained("v"), [[1.0, 2.0], None, [3.0, 4.0]])
    raw = feature.to_raw([[1.0, 2.0], None])
    assert feature.dim == 2
    assert feature.missing(raw).numpy().tolist() == [False, True]
    assert feature(feature.encode(tf.constant(raw))).numpy().tolist() == [[1, 2], [0, 0]]


BEYOND = [np.nan, np.inf, -np.inf, 1e40, -1e308, 3.5e38]  # what float32 does not hold


@pytest.mark.parametrize(
    "feature", [Numeric("x"), LogNumeric("x"), Buckets("x", 3, 4), Timestamp("x"), ExampleAge("x")]
)
def test_what_float32_cannot_hold_is_missing(feature):
    known = [1.0, 2.0, 4.0, 9.0]
    adapted(feature, [*known, *BEYOND])
    alone = adapted(type(feature).from_config(feature.get_config()), known)
    asked = float64([np.nan, *BEYOND, *known])
    codes = tf.function(feature.encode)(asked).numpy()
    # nothing is learned from them, and each has the code of a missing value
    np.testing.assert_array_equal(codes, alone.encode(asked))
    assert (codes[: 1 + len(BEYOND)] == codes[0]).all() and np.isfinite(codes).all()
    vectors = feature(tf.constant(codes)).numpy()
    assert np.isfinite(vectors).all()
    if not isinstance(feature, ExampleAge):
        assert feature.missing(asked).numpy().tolist() == [True] * 7 + [False] * 4
    with pytest.raises(ValueError, match="column 'x' holds no .* in the training part"):
        adapted(type(feature).from_config(feature.get_config()), BEYOND)


def test_values_that_float32_just_holds():
    largest = float(np.finfo(np.float32).max)
    feature = adapted(Numeric("x"), [largest, -largest])  # mean 0, deviation the largest
    codes = feature.encode(float64([largest, -largest, 0, np.nextafter(largest, np.inf)])).numpy()
    assert codes[:, 0].tolist() == [1, -1, 0, 1]  # the next float64 is rounded to the largest
    assert np.isfinite(adapted(Buckets("x"), [largest, -largest]).boundaries.numpy()).all()
    assert adapted(Numeric("x"), [1e38] * 3).deviation.numpy() == 1


def test_numbers_far_from_the_training_part_stay_finite():
    """Deviation 1: 3e38 would be 3e38, and its square no float32. Deviation 5e-21 likewise."""
    feature = adapted(Numeric("x"), [1, 3])
    assert feature.encode(float64([3e38, -3e38, 1e6])).numpy()[:, 0].tolist() == [
        1e9,
        -1e9,
        999_998,
    ]
    feature = adapted(Numeric("x"), [0, 1e-20])
    assert feature.encode(float64([1.0])).numpy().tolist() == [[1e9]]


def test_equal_numbers_have_no_deviation():
    for values in (
        [0.1] * 3,
        [1e38] * 3,
        [0, 5e-324],
    ):  # of a mean that is rounded; that underflows
        feature = adapted(Numeric("x"), values)
        codes = feature.encode(float64([values[0], values[0] + 1])).numpy()[:, 0]
        np.testing.assert_allclose(codes[0], 0, atol=1e-6)
        assert feature.deviation.numpy() == 1


def test_pretrained_vectors_that_float32_cannot_hold_are_missing():
    broken = [[1.0, None], [np.nan, 1.0], [np.inf, 1.0], [1e40, 0], [-1e39, 0.0], [2e19, 0.0]]
    feature = adapted(Pretrained("v"), [*broken, [3.0, 4.0], (5, 6), np.array([7, 8])])
    raw = feature.to_raw([*broken, None, [3.0, 4.0]])
    assert feature.missing(raw).numpy().tolist() == [True] * 7 + [False]
    codes = feature.encode(tf.constant(raw)).numpy()
    assert codes.tolist() == [[0, 0]] * 7 + [[3, 4]]
    assert feature.known(tf.constant(codes)).numpy().tolist() == [False] * 7 + [True]


def test_a_column_of_missing_vectors():
    feature = adapted(Pretrained("v"), [[1.0, 2.0], None])
    assert np.isnan(feature.to_raw([None])).all() and feature.to_raw([None]).shape == (1, 2)
    assert feature.to_raw([]).shape == (0, 2)
    with pytest.raises(ValueError, match=r"lengths \[2, 3\]"):
        feature.to_raw([[1.0, 2.0, 3.0]])
    with pytest.raises(ValueError, match="must hold lists of numbers, got '1 2'"):
        feature.to_raw([None, "1 2"])
    with pytest.raises(ValueError, match=r"one length, and holds lengths \[\]"):
        Pretrained("v").to_raw([None])


def test_a_zone_moves_a_time_to_utc():
    times = pd.to_datetime(["1970-01-02 01:00"]).tz_localize("Europe/Berlin")
    for column in (times, list(times), pd.Series(times), [times[0].to_pydatetime()]):
        assert Timestamp("t").to_raw(column).tolist() == [86_400]


def test_errors():
    with pytest.raises(ValueError, match="column 'x' must hold numbers.*Categorical or Text"):
        Numeric("x").to_raw(["a"])
    with pytest.raises(ValueError, match="no number in the training part"):
        adapted(Numeric("x"), [None, None])
    with pytest.raises(ValueError, match="num_buckets must be at least 2"):
        Buckets("x", num_buckets=1)
    with pytest.raises(ValueError, match=r"lengths \[1, 2\]"):
        Pretrained("v").to_raw([[1.0], [1.0, 2.0]])


@pytest.mark.parametrize(
    "feature", [Numeric("x"), LogNumeric("x"), Buckets("x", 3, 5), Timestamp("x"), Pretrained("x")]
)
def test_config_round_trip(feature):
    again = type(feature).from_config(keras.saving.serialize_keras_object(feature)["config"])
    assert again.get_config() == feature.get_config()
    assert getattr(again, "num_buckets", None) == getattr(feature, "num_buckets", None)
