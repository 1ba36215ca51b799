"""A value's code is a function of the value and of what was learned: alone, among others, in every
library, as the text of a request, and in an exported graph.
"""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import tensorflow as tf

from tf_recall import features as module
from tf_recall.data.values import to_text
from tf_recall.features import (
    Buckets,
    Categorical,
    Crossed,
    ExampleAge,
    LogNumeric,
    MultiValued,
    Numeric,
    Pretrained,
    Text,
    Timestamp,
)
from tf_recall.recommend.arrays import batch

DAY = datetime.datetime(2024, 1, 31)
COLUMNS = {  # what a column holds; its first value is asked for alone
    "floats": [40.0, 38.5, 40.0, None, 38.0, 1e20],
    "large": [2**53 + 1, None, 2**53, -3, 7, 0],
    "singles": [np.float32(0.1), 0.5, np.float32(0.1), 7, None, 1.0],
    "booleans": [True, False, True, None, True, False],
    "mixed": [1, True, "1", 1.0, "True", None],
    "dates": [DAY.date(), None, *[DAY.date() + datetime.timedelta(n) for n in range(4)]],
    "times": [DAY, DAY.replace(hour=12), None, *[DAY.replace(hour=n) for n in range(3)]],
    "texts": ["Café e\u0301te\u0301", "Cafe\u0301 été", "हिन्दी किताब", "", None, "straße"],
    "lists": [["b", 40.0], ["a", 38.5], [], None, ["b"], [True, "40"]],
    "sizes": [1.5, 1e40, np.inf, None, -7.0, 1.5],
    "vectors": [[1.0, 2.0], None, [1e40, 1.0], [3.0, None], [0.5, 0.5], [9.0, 9.0]],
}
WORDS = ["floats", "large", "singles", "booleans", "mixed", "dates", "times", "texts"]
NUMBERS = ["floats", "large", "singles", "booleans", "dates", "times", "sizes"]
FEATURES = [
    *[Categorical(column) for column in WORDS],
    *[Text(column) for column in ("texts", "floats")],
    *[MultiValued(column) for column in ("lists", "texts", "mixed")],
    *[Numeric(column) for column in NUMBERS],
    *[of("sizes") for of in (LogNumeric, Timestamp, ExampleAge)],
    *[Buckets(column, 3, 4) for column in ("sizes", "times")],
    Pretrained("vectors"),
    Crossed(["floats", "booleans", {"column": "sizes", "quantiles": 2}]),
    Crossed(["times", {"column": "floats", "edges": [38.2, 39]}, "texts"]),
]


def frame(columns=COLUMNS):
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})


def column_of(feature, columns):
    of_table = isinstance(feature, Crossed)
    return frame(columns)[feature.columns] if of_table else columns[feature.column]


def codes_of(feature, columns=COLUMNS):
    return feature.encode_column(feature.to_raw(column_of(feature, columns)))


@pytest.fixture(scope="module", autouse=True)
def adapted():
    for feature in FEATURES:
        feature.adapt(feature.to_raw(column_of(feature, COLUMNS)))


each = pytest.mark.parametrize(
    "feature", FEATURES, ids=lambda feature: f"{type(feature).__name__}-{feature.column}"
)


def test_every_feature_that_reads_a_column_is_here():
    kinds = {getattr(module, name) for name in module.__all__}
    read = {kind for kind in kinds if hasattr(kind, "encode_column")}
    assert read - {type(feature) for feature in FEATURES} == {module.Id, module.History}


@each
def test_alone_and_among_others(feature):
    together = codes_of(feature)
    for row in range(6):
        alone = {name: values[row : row + 1] for name, values in COLUMNS.items()}
        np.testing.assert_array_equal(codes_of(feature, alone)[0], together[row])
    other = {name: values[2::-1] for name, values in COLUMNS.items()}
    np.testing.assert_array_equal(codes_of(feature, other), together[2::-1])


@each
def test_in_every_library(feature):
    if isinstance(feature, Crossed):
        return  # its parts are the features above
    together = codes_of(feature)
    values = COLUMNS[feature.column]
    columns = [pd.Series(values, dtype=object), np.array([*values, None], dtype=object)[:-1]]
    if feature.column not in ("mixed", "singles"):  # of several types
        lists = feature.column in ("lists", "vectors")
        texts = feature.column == "lists"
        given = [value and to_text(value).tolist() for value in values] if texts else values
        columns += [pa.array(given), pl.Series(given, strict=False)]
        columns += [pd.Series(pd.arrays.ArrowExtensionArray(pa.array(given)))]
        if not lists:
            columns += [pd.Series(values, dtype=object).astype("category")]
    if feature.column in ("floats", "sizes"):
        columns += [pd.Series(values, dtype=float), pd.Series(values, dtype="Float64")]
    for column in columns:
        np.testing.assert_array_equal(feature.encode_column(feature.to_raw(column)), together)


def kind_of(feature):
    return "text" if feature.raw_dtype == tf.string else "number"


def parts_of(feature):
    return getattr(feature, "parts", [feature])


# what a server is sent of each column: the text of its values, or their numbers
RAW = {f"{part.column}_{kind_of(part)}": part for feature in FEATURES for part in parts_of(feature)}
SERVED = [
    feature
    for feature in FEATURES
    if feature.column in ("texts", "lists", "sizes", "vectors") or isinstance(feature, Crossed)
]


class Exported(tf.Module):
    """The codes of features, from raw values."""

    def __init__(self):
        parts = [part for feature in SERVED for part in parts_of(feature)]
        self.tables = [each.table() for part in parts for each in part.vocabularies()]
        self.states = [weight.value for part in [*parts, *SERVED] for weight in part.weights]

    def codes(self, **raw):
        of = {
            feature: {part.column: raw[f"{part.column}_{kind_of(part)}"] for part in parts}
            for feature, parts in ((feature, parts_of(feature)) for feature in SERVED)
        }
        return {
            str(number): feature.encode_request(of[feature])
            for number, feature in enumerate(SERVED)
        }


def test_in_an_exported_graph(tmp_path):
    exported = Exported()
    raw = {name: tf.constant(part.to_raw(COLUMNS[part.column])) for name, part in RAW.items()}
    specs = {
        name: tf.TensorSpec([None, *values.shape[1:]], values.dtype, name)
        for name, values in raw.items()
    }
    codes = tf.function(exported.codes).get_concrete_function(**specs)
    tf.saved_model.save(exported, str(tmp_path), signatures={"serving_default": codes})
    serve = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    together = serve(**raw)
    alone = [serve(**{name: of[row : row + 1] for name, of in raw.items()}) for row in range(6)]
    for number, feature in enumerate(SERVED):
        expected = codes_of(feature)
        np.testing.assert_array_equal(together[str(number)], expected)
        for row in range(6):
            np.testing.assert_array_equal(alone[row][str(number)][0], expected[row])


@each
def test_in_a_request(feature):
    if not feature.raw_specs or isinstance(feature, (Crossed, MultiValued, Pretrained)):
        return  # asked for nothing, for its parts, or for arrays
    inputs = {"user_id": tf.TensorSpec([None], tf.string), **feature.raw_specs}
    values = COLUMNS[feature.column]
    users = list("abcdef")
    arrays = batch(inputs, "user_id", {"user_id": users, feature.column: values})
    np.testing.assert_array_equal(feature.encode_column(arrays[feature.column]), codes_of(feature))
    one = batch(inputs, "user_id", {"user_id": users[:2], feature.column: values[0]})
    np.testing.assert_array_equal(
        feature.encode_column(one[feature.column]), codes_of(feature)[[0, 0]]
    )
