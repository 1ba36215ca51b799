"""Features of numbers: standardized, logarithmic, in buckets, times, pretrained vectors."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_recall.data.ranges import WholeFrom1, WholeFrom2
from tf_recall.data.values import as_series, is_list, to_number
from tf_recall.features.base import Feature, InputColumn
from tf_recall.features.embedding import RowEmbedding

DAY = 86_400.0
WEEK = 7 * DAY
FAR = 1e9  # deviations from the mean: the squares of what a layer makes of them are float32 still


def beyond(raw: tf.Tensor) -> tf.Tensor:
    """Which numbers count as missing: NaN, and what is not finite in float32."""
    return ~tf.math.is_finite(tf.cast(raw, tf.float32))


class NumberFeature(Feature):
    """The base of features whose raw values are float64; see `beyond` for what is missing."""

    raw_dtype = tf.float64

    def __init__(self, column: InputColumn, name: str | None = None, **kwargs) -> None:
        super().__init__(column, name, **kwargs)

    def to_raw(self, values: Any) -> np.ndarray:
        return to_number(values, self.column)

    def missing(self, raw: tf.Tensor) -> tf.Tensor:
        return beyond(raw)

    def finite(self, values: np.ndarray) -> np.ndarray:
        """Those of the training part's values that are not missing.

        Raises:
            ValueError: there are none.
        """
        values = values[~beyond(values).numpy()]
        if len(values) == 0:
            raise ValueError(f"column {self.column!r} holds no number in the training part")
        return values

    def get_build_config(self) -> dict | None:
        return {"adapted": True} if self.built else None


@keras.saving.register_keras_serializable("tf_recall")
class Numeric(NumberFeature):
    """A number, standardized by the training part; 0 where missing.

    output = (x - mean) / deviation,  at most 1e9 from 0

    Args:
        column: a column of numbers, or of dates (as seconds since 1970).

    Call: `[B, 1]` float32 -> the same.

    Example:
        >>> FeatureTower("item", [Id(), Numeric("price")])
    """

    code_dtype = "float32"

    @property
    def code_shape(self) -> tuple:
        return (1,)

    @property
    def dim(self) -> int:
        return 1

    def build_from_config(self, config: dict) -> None:
        self.mean = self.add_weight(
            name="mean", dtype="float64", trainable=False, initializer="zeros"
        )
        self.deviation = self.add_weight(
            name="deviation", dtype="float64", trainable=False, initializer="ones"
        )
        self.built = True

    def scale(self, raw: tf.Tensor) -> tf.Tensor:
        """The number on the scale on which it is standardized."""
        return raw

    def adapt(self, raw: np.ndarray) -> None:
        self.build_from_config({})
        values = self.scale(tf.constant(self.finite(raw))).numpy()
        self.mean.assign(values.mean())
        # rounding gives equal values a deviation
        self.deviation.assign(values.std() if np.ptp(values) and values.std() else 1.0)

    def encode(self, raw: tf.Tensor) -> tf.Tensor:
        scaled = (self.scale(raw) - self.mean.value) / self.deviation.value
        scaled = tf.where(~self.missing(raw), tf.clip_by_value(scaled, -FAR, FAR), 0.0)
        return tf.cast(scaled, tf.float32)[:, None]  # [B, 1]

    def known(self, codes: tf.Tensor, training: bool = False) -> tf.Tensor:
        return tf.ones([tf.shape(codes)[0]], tf.bool)  # a missing number counts as the mean

    def call(self, codes: tf.Tensor) -> tf.Tensor:
        return tf.cast(codes, self.compute_dtype)


@keras.saving.register_keras_serializable("tf_recall")
class LogNumeric(Numeric):
    """A number of many magnitudes (a price, views): its logarithm, standardized; 0 where missing.

    output = (y - mean) / deviation,  y = sign(x) * log(1 + |x|)

    Args:
        column: a column of numbers.

    Call: `[B, 1]` float32 -> the same.

    Example:
        >>> FeatureTower("item", [Id(), LogNumeric("price")])
    """

    def scale(self, raw: tf.Tensor) -> tf.Tensor:
        return tf.sign(raw) * tf.math.log1p(tf.abs(raw))


@keras.saving.register_keras_serializable("tf_recall")
class Buckets(NumberFeature):
    """A number as a bucket with a vector of its own, so that the effect need not rise or fall.

    The boundaries are quantiles of the training part: every bucket has about as many values as the
    others. Bucket 0 is for missing values.

    Args:
        column: a column of numbers or dates.
        dim: length of the vector.
        num_buckets: how many buckets, at least 2.

    Call: buckets `[B]` int32 -> `[B, dim]`.

    Raises:
        ValueError: `num_buckets` is below 2.

    Example:
        >>> FeatureTower("user", [Id(), Buckets("age", num_buckets=10)])
    """

    tunable = {"dim": [4, 64, "log"], "num_buckets": [10, 1000, "log"]}

    def __init__(
        self, column: InputColumn, dim: WholeFrom1 = 8, num_buckets: WholeFrom2 = 100, **kwargs
    ):
        super().__init__(column, **kwargs)
        if num_buckets < 2:
            raise ValueError(f"num_buckets must be at least 2, not {num_buckets}")
        self.width = dim
        self.num_buckets = num_buckets

    @property
    def dim(self) -> int:
        return self.width

    def build_boundaries(self) -> None:
        """Makes the weight of the boundaries, without the vectors."""
        shape = (self.num_buckets - 1,)
        self.boundaries = self.add_weight(
            name="boundaries", shape=shape, dtype="float64", trainable=False
        )

    def build_from_config(self, config: dict) -> None:
        self.build_boundaries()
        self.table = RowEmbedding(self.num_buckets + 1, self.width, name="table")
        self.table.build()
        self.built = True

    def adapt(self, raw: np.ndarray) -> None:
        values = self.finite(raw)
        self.build_from_config({})
        self.boundaries.assign(
            np.quantile(values, np.arange(1, self.num_buckets) / self.num_buckets)
        )

    def encode(self, raw: tf.Tensor) -> tf.Tensor:
        bucket = 1 + tf.searchsorted(self.boundaries.value, raw, side="right")
        return tf.where(self.missing(raw), 0, bucket)

    def call(self, buckets: tf.Tensor) -> tf.Tensor:
        return self.table(buckets)

    def get_config(self) -> dict:
        return {**super().get_config(), "dim": self.width, "num_buckets": self.num_buckets}


@keras.saving.register_keras_serializable("tf_recall")
class Timestamp(Numeric):
    """A time as five numbers: standardized, and the time of the day and of the week as circles.

    output = (t - mean) / deviation, sin(day), sin(week), cos(day), cos(week)

    Add `Buckets` of the same column where tastes change from month to month.

    Args:
        column: a column of seconds since 1970 (UTC), or of dates.

    Call: `[B, 5]` float32 -> the same; zeros where missing.

    Example:
        >>> FeatureTower("user", [Id(), Timestamp("timestamp")])
    """

    @property
    def code_shape(self) -> tuple:
        return (5,)

    @property
    def dim(self) -> int:
        return 5

    def encode(self, raw: tf.Tensor) -> tf.Tensor:
        turns = tf.math.floormod(raw[:, None], [DAY, WEEK]) / [DAY, WEEK] * (2 * np.pi)  # [B, 2]
        circles = tf.cast(tf.concat([tf.sin(turns), tf.cos(turns)], axis=1), tf.float32)  # [B, 4]
        circles = tf.where(self.missing(raw)[:, None], 0.0, circles)
        return tf.concat([super().encode(raw), circles], axis=1)  # [B, 5]


@keras.saving.register_keras_serializable("tf_recall")
class Pretrained(Feature):
    """A pretrained vector, such as a text or image embedding, which is not trained further.

    Args:
        column: a column with a list of numbers in every line, all of one length.

    Call: `[B, d]` float32 -> the same; zeros where missing, or where the vector's length is not
        finite in float32.

    Raises:
        ValueError: the lists differ in length, or a value is no list; at `adapt`, there are none.

    Example:
        >>> FeatureTower("item", [Id(), Pretrained("image")])
    """

    raw_dtype = tf.float32
    code_dtype = "float32"

    def __init__(self, column: InputColumn, name: str | None = None, **kwargs) -> None:
        super().__init__(column, name, **kwargs)

    @property
    def raw_shape(self) -> tuple:
        return (self.length,)

    @property
    def code_shape(self) -> tuple:
        return (self.length,)

    @property
    def dim(self) -> int:
        return self.length

    def to_raw(self, values: Any) -> np.ndarray:
        series = as_series(values)
        given = np.fromiter(map(is_list, series), bool, len(series))
        if (wrong := ~given & series.notna().to_numpy()).any():
            raise ValueError(
                f"column {self.column!r} must hold lists of numbers, got {series[wrong].iloc[0]!r}"
            )
        with np.errstate(over="ignore"):  # beyond float32 is missing
            vectors = [np.asarray(list(value), np.float32) for value in series[given]]
        lengths = {len(vector) for vector in vectors} | ({self.length} if self.built else set())
        if len(lengths) != 1:
            raise ValueError(
                f"column {self.column!r} must hold lists of one length, and holds lengths "
                f"{sorted(lengths)}"
            )
        table = np.full((len(series), *lengths), np.nan, np.float32)
        if vectors:
            table[given] = np.stack(vectors)
        return table

    def adapt(self, raw: np.ndarray) -> None:
        self.build_from_config({"length": raw.shape[1]})

    def build_from_config(self, config: dict) -> None:
        self.length = config["length"]
        self.built = True

    def get_build_config(self) -> dict | None:
        return {"length": self.length} if self.built else None

    def missing(self, raw: tf.Tensor) -> tf.Tensor:
        # a vector whose length is not finite in float32
        return ~tf.math.is_finite(tf.reduce_sum(tf.square(raw), axis=1))

    def encode(self, raw: tf.Tensor) -> tf.Tensor:
        return tf.where(self.missing(raw)[:, None], 0.0, raw)

    def known(self, codes: tf.Tensor, training: bool = False) -> tf.Tensor:
        return tf.reduce_any(codes != 0, axis=1)

    def call(self, codes: tf.Tensor) -> tf.Tensor:
        return tf.cast(codes, self.compute_dtype)
