"""Tensors of gRPC: checked before memory is taken for them."""

import numpy as np
import pytest
import tensorflow as tf

from tf_recall.serving.arrays import check, of_protos, to_proto
from tf_recall.serving.endpoint import Endpoint
from tf_recall.serving.limits import Limits
from tf_recall.serving.refusal import Refusal

SPECS = {
    "user_id": tf.TensorSpec([None], tf.string),
    "age": tf.TensorSpec([None], tf.float64),
    "exclude": tf.TensorSpec([None, None], tf.string),
    "vector": tf.TensorSpec([None, 3], tf.float32),
}
ENDPOINT = Endpoint("serving_default", SPECS, {})
LIMITS = Limits(rows=4, ids=5)


def protos(**changes):
    values = {
        "user_id": ["u", "v"],
        "age": [1, 2],
        "exclude": [["a"], [""]],
        "vector": [[0.0] * 3] * 2,
    }
    values |= changes
    return {
        name: value
        if isinstance(value, tf.compat.v1.TensorInfo | type(tf.make_tensor_proto(0)))
        else tf.make_tensor_proto(value, SPECS[name].dtype)
        for name, value in values.items()
    }


def refused(**changes):
    with pytest.raises(Refusal) as error:
        of_protos(ENDPOINT, protos(**changes), LIMITS)
    assert error.value.code == "INVALID_ARGUMENT" and "\n" not in str(error.value)
    return str(error.value)


def test_tensors_become_arrays():
    arrays = of_protos(ENDPOINT, protos(), LIMITS)
    assert arrays["user_id"].tolist() == [b"u", b"v"] and arrays["vector"].shape == (2, 3)
    assert (
        of_protos(ENDPOINT, protos(exclude=np.empty((2, 0), object)), LIMITS)["exclude"].size == 0
    )
    back = to_proto(np.array([["ü", b"x"]], object), tf.string)
    assert tf.make_ndarray(back).tolist() == [["ü".encode(), b"x"]]


def test_one_value_for_a_huge_shape_takes_no_memory():
    bomb = tf.make_tensor_proto(np.zeros(1), tf.float64)
    bomb.tensor_shape.dim[0].size = 2**40
    assert "too large" in refused(age=bomb)
    bomb.tensor_shape.dim[0].size = -1
    assert "too large, or none" in refused(age=bomb)


def test_damaged_tensors_are_refused():
    short = tf.make_tensor_proto(np.zeros(2), tf.float64)
    short.tensor_content = short.tensor_content[:9]
    assert "age is damaged" in refused(age=short)
    unknown = tf.make_tensor_proto(np.zeros(2), tf.float64)
    unknown.tensor_shape.unknown_rank = True
    assert "age has no shape" in refused(age=unknown)
    strange = tf.make_tensor_proto(np.zeros(2), tf.float64)
    strange.dtype = 999
    assert "must be float64; got number 999" in refused(age=strange)


def test_other_shapes_types_and_names_are_refused():
    assert "age must be float64; got float32" in refused(age=tf.make_tensor_proto([1.0, 2.0]))
    assert "vector must have the shape [?, 3]; got [2, 2]" in refused(vector=[[0.0] * 2] * 2)
    assert "age must have the shape [?]; got []" in refused(age=1.0)
    assert "age has 3 rows, and those before it 2" in refused(age=[1.0] * 3)
    assert "lists of 6 ids; at most 5" in refused(exclude=[["a"] * 6] * 2)
    given = protos()
    given["color"] = given.pop("age")
    with pytest.raises(Refusal, match=r"Sent extra: {color}. Missing but required: {age}"):
        of_protos(ENDPOINT, given, LIMITS)


def test_none_and_too_many_rows_are_refused():
    endpoint = Endpoint("embed", {"user_id": SPECS["user_id"]}, {})
    for rows, says in ((0, "no rows"), (5, "5 rows; at most 4")):
        with pytest.raises(Refusal, match=says):
            check(endpoint, {"user_id": np.empty(rows, object)}, LIMITS)
