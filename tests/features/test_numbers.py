import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tf_recall.features import Buckets, LogNumeric, Numeric, Pretrained, Timestamp


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
