"""What every feature is: a Keras layer that learns from the training part, encodes raw values and embeds the codes."""

import re

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

BLOCK = 100_000  # values encoded at once
RESERVED = ("user_id", "item_id", "exclude", "allow", "exclude_seen", "k")  # what else a request says


class Feature(keras.layers.Layer):
    """One column of one side, on its way from raw values to a vector.

    The way has two halves. `encode` turns raw values into numbers with stock TensorFlow ops: it runs once per row when
    a table or a log is read, and again inside the exported model, so training and serving cannot disagree. `call`
    turns those numbers into vectors, and is all that the training step does.

    Args:
        column: the column of the side table or of the interactions.

    Call: encoded `[B, ...]`, as `encode` gives it -> `[B, dim]` float.
    """

    raw_dtype = tf.string
    raw_shape = ()
    code_dtype = "int32"
    width = None  # the length of the trained vectors, until they are built; None where the code itself is the vector

    def __init__(self, column, name=None, **kwargs):
        super().__init__(name=name or f"{type(self).__name__.lower()}_{column}", **kwargs)
        if column is not None:
            check_column(column)
        self.column = column

    @property
    def code_shape(self):
        """The shape of one encoded value."""
        return ()

    @property
    def dim(self):
        """The length of the vector."""
        raise NotImplementedError

    def to_raw(self, values):
        """A column as the raw array that `encode` takes: text with "" for missing, or numbers with NaN."""
        return to_text(pd.Series(values))

    def adapt(self, raw):
        """Learns the state from `raw` values of the training part."""
        raise NotImplementedError

    def encode(self, raw):
        """Raw values `[B]` -> codes `[B, *code_shape]`; a missing or unseen value has a code too."""
        raise NotImplementedError

    def missing(self, raw):
        """Which raw values `[B]` say nothing: bool `[B]`."""
        return tf.equal(raw, "")

    def advance(self):
        """Ends a training step, for features that draw at random in each."""

    def encode_column(self, raw):
        """`encode` over a long array, by blocks: -> NumPy `[n, *code_shape]`."""
        blocks = [self.encode(tf.constant(raw[at : at + BLOCK])).numpy() for at in range(0, len(raw), BLOCK)]
        return np.concatenate(blocks) if blocks else np.zeros((0, *self.code_shape), self.code_dtype)

    def get_config(self):
        return {**super().get_config(), "column": self.column}


def check_column(name: str) -> None:
    """Refuses a feature's column that cannot be an input of its own.

    Raises:
        ValueError: the name means something else in a request, or is none that a graph's input can have.
    """
    if name in RESERVED or not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name):
        raise ValueError(
            f"a request cannot carry a column {name!r}: rename it to letters, digits and underscores, a letter first, "
            f"and to none of {', '.join(RESERVED)}"
        )


def to_text(series):
    """A column as an object array of str, "" for missing.

    Whole floats lose their ".0": pandas adds it where an integer column has a missing value.
    """
    missing = series.isna().to_numpy()
    if pd.api.types.is_float_dtype(series):
        numbers = series[~missing]
        if (numbers == numbers.round()).all():
            series = series.astype("Int64")
    text = series.map(lambda value: value.decode() if isinstance(value, bytes) else str(value), na_action="ignore")
    text = text.to_numpy(dtype=object, copy=True)
    text[missing] = ""
    return text


def to_number(series, column):
    """A column as float64, NaN for missing; dates become seconds since 1970.

    Raises:
        ValueError: a value is no number.
    """
    if pd.api.types.is_datetime64_any_dtype(series):
        seconds = (series.dt.tz_localize(None) if series.dt.tz else series) - pd.Timestamp(0)
        return seconds.dt.total_seconds().to_numpy(dtype=np.float64)
    try:
        return pd.to_numeric(series).to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError) as error:
        raise ValueError(f"column {column!r} must hold numbers: {error}. For words use Categorical or Text.") from None
