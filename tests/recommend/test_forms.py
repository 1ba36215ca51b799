"""The forms in which a request may be given, one by one, and what is refused."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import tensorflow as tf

from tf_recall.recommend.arrays import batch

INPUTS = {
    "user_id": tf.TensorSpec([None], tf.string),
    "age": tf.TensorSpec([None], tf.float64),
    "city": tf.TensorSpec([None], tf.string),
    "taste": tf.TensorSpec([None, 2], tf.float32),
    "exclude": tf.TensorSpec([None, None], tf.string),
    "exclude_seen": tf.TensorSpec([None], tf.bool),
}
NUMBERS = {"user_id": tf.TensorSpec([None], tf.int64)}
TABLE = np.array([["i1", ""], ["i2", "i3"]])
FORMS = [  # of lists for two users, and what they say
    (["i1", "i2"], [["i1", "i2"]] * 2),
    ([], [[], []]),
    ([["i1"], []], [["i1"], []]),
    ((("i1",), range(0)), [["i1"], []]),
    (["i1\0", "i1"], [["i1\0", "i1"]] * 2),
    ([b"i1", "ü".encode()], [["i1", "ü"]] * 2),
    ({"i1"}, [["i1"]] * 2),
    ([{"i1"}, ["i2"]], [["i1"], ["i2"]]),
    (np.array(["i1", "i2"]), [["i1", "i2"]] * 2),
    (TABLE, [["i1"], ["i2", "i3"]]),
    (TABLE.astype(object), [["i1"], ["i2", "i3"]]),
    (np.ma.masked_array(["i1", "i2"]), [["i1", "i2"]] * 2),
    (pd.Series(["i1", "i2"], index=[7, 3]), [["i1", "i2"]] * 2),
    (pd.Series([["i1"], ["i2", "i3"]], index=[1, 0]), [["i1"], ["i2", "i3"]]),
    (pd.Series(["i1"], dtype="category"), [["i1"]] * 2),
    (pd.Index(["i1"]), [["i1"]] * 2),
    (pl.Series([["i1"], ["i2", "i3"]]), [["i1"], ["i2", "i3"]]),
    (pa.array([["i1"], []]), [["i1"], []]),
    (pa.chunked_array([["i1"], ["i2"]]), [["i1", "i2"]] * 2),
    (tf.constant(["i1\0"]), [["i1\0"]] * 2),
    (tf.constant([["i1"], ["i2"]]), [["i1"], ["i2"]]),
    (tf.ragged.constant([["i1"], []]), [["i1"], []]),
]


@pytest.mark.parametrize("lists, says", FORMS)
def test_the_forms_of_lists(lists, says):
    found = batch(INPUTS, "user_id", {"user_id": ["a", "b"], "exclude": lists})["exclude"]
    assert [[one for one in line if one] for line in found.tolist()] == says
    assert tf.constant(found, tf.string).shape == found.shape


@pytest.mark.parametrize(
    "lists",
    [
        *([["i1"], "i2"], [["i1"], None], [None], ["i1", None], [["i1", np.nan], []]),
        *("i1", b"i1", np.array("i1"), {"i1": 1}, iter(["i1"]), [iter(["i1"]), []], 5, object()),
        *([[["i1"]], []], np.array([[["i1"]]] * 2), [["i1"]], [[], [], []], [True], [1], [-1]),
        *(["\ud800"], [b"\xff"], [b"i1", "i2"], np.ma.masked_array(["i1", "i2"], [0, 1])),
    ],
)
def test_other_forms_of_lists_are_refused(lists):
    with pytest.raises((TypeError, ValueError), match="^exclude .*") as caught:
        batch(INPUTS, "user_id", {"user_id": ["a", "b"], "exclude": lists})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "ids, says",
    [
        *(("u\0", ["u\0"]), (b"u\0", ["u\0"]), (tf.constant("u\0"), ["u\0"]), (None, [""])),
        *((np.array("u"), ["u"]), (pl.Series(["u", None]), ["u", ""]), ([np.nan], [""]), ((), [])),
        *(([["u"]], TypeError), (np.array([["u"]]), TypeError), ({"u"}, TypeError)),
        *((True, TypeError), (7, TypeError), ([1, "u"], TypeError), ("\ud800", ValueError)),
        *((np.datetime64("2024"), TypeError), ({"u": 1}, TypeError), (-1, TypeError)),
    ],
)
def test_the_forms_of_text_ids(ids, says):
    if isinstance(says, list):
        assert batch(INPUTS, "user_id", {"user_id": ids})["user_id"].tolist() == says
    else:
        with pytest.raises(says, match="user_id must"):
            batch(INPUTS, "user_id", {"user_id": ids})


@pytest.mark.parametrize(
    "ids, says",
    [
        *((7, [7]), (7.0, [7]), (2**63 - 1, [2**63 - 1]), (np.uint8([1, 2]), [1, 2])),
        *((None, [-1]), ([3, None], [3, -1]), ([3.0, pd.NA], [3, -1]), (np.nan, [-1])),
        *((pd.Series([2**60 + 1, None], dtype="Int64"), [2**60 + 1, -1]),),
        *((pl.Series([2**60 + 1, None]), [2**60 + 1, -1]),),
        *((2**63, ValueError), (-(2**63) - 1, ValueError), (np.uint64(2**63), ValueError)),
        *(
            ([10**400, 0.0], ValueError),
            (1.5, TypeError),
            (2.0**60, TypeError),
            (np.inf, TypeError),
        ),
        *(("7", TypeError), (True, TypeError), ([7, True], TypeError), ([7, "7"], TypeError)),
        *(("", [-1]), ([7, ""], [7, -1])),
        *((np.timedelta64(1, "s"), TypeError), (1 + 0j, TypeError), (np.inf, TypeError)),
    ],
)
def test_the_forms_of_whole_ids(ids, says):
    if isinstance(says, list):
        assert batch(NUMBERS, "user_id", {"user_id": ids})["user_id"].tolist() == says
    else:
        with pytest.raises(says, match="user_id must"):
            batch(NUMBERS, "user_id", {"user_id": ids})


@pytest.mark.parametrize(
    "name, value, says",
    [
        ("city", 7, ["7", "7"]),
        ("city", [2**60 + 1, None], [str(2**60 + 1), ""]),
        ("city", ["x\0", b"x"], ["x\0", "x"]),
        ("city", pd.Series(["x", True], index=[4, 4]), ["x", "True"]),
        ("age", ["30", 1e40], [30, np.nan]),
        ("age", [10**400, 30], [np.nan, 30]),
        ("age", [" 7 ", "Infinity"], [7, np.nan]),
        ("age", np.array([3.5e38, -3.4e38]), [np.nan, -3.4e38]),
        ("age", [pd.Timestamp(5, unit="s"), None], [5, np.nan]),
        ("age", np.array(2), [2, 2]),
        ("taste", [[1, 2], None], [[1, 2], [np.nan] * 2]),
        ("taste", [None, None], [[np.nan] * 2] * 2),
        ("taste", [1, 1e40], [[np.nan] * 2] * 2),
        ("taste", pl.Series([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        ("exclude_seen", np.array([True, False]), [True, False]),
        ("exclude_seen", pd.Series([True, False], dtype="boolean"), [True, False]),
        ("exclude_seen", None, [False, False]),
        ("city", [["x"], ["y"]], TypeError),
        ("city", {"x"}, TypeError),
        ("city", 1 + 2j, TypeError),
        ("city", "\ud800", ValueError),
        ("city", b"\xff", ValueError),
        ("age", [[1], [2]], TypeError),
        ("age", np.timedelta64(1, "s"), TypeError),
        ("age", "nan", ValueError),
        ("taste", ["1", "2"], TypeError),
        ("taste", [[1], [2, 3]], TypeError),
        ("taste", [[1, 2]], ValueError),
        ("taste", {1, 2}, TypeError),
        ("exclude_seen", "false", TypeError),
        ("exclude_seen", [1, 0], TypeError),
        ("exclude_seen", np.array([1, 0]), TypeError),
        ("exclude_seen", [True, None], TypeError),
    ],
)
def test_the_forms_of_columns_and_flags(name, value, says):
    request = {"user_id": ["a", "b"], name: value}
    if isinstance(says, list):
        expected = np.array(says, INPUTS[name].dtype.as_numpy_dtype)
        np.testing.assert_array_equal(batch(INPUTS, "user_id", request)[name], expected)
    else:
        with pytest.raises(says, match=name) as caught:
            batch(INPUTS, "user_id", request)
        assert "\n" not in str(caught.value)
