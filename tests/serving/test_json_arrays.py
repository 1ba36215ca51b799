"""TensorFlow Serving's JSON by hand: both formats, bytes, NaN, and what is refused."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tf_recall.serving import json_arrays
from tf_recall.serving.endpoint import Endpoint
from tf_recall.serving.refusal import Refusal

SPECS = {
    "user_id": tf.TensorSpec([None], tf.string),
    "age": tf.TensorSpec([None], tf.float64),
    "count": tf.TensorSpec([None], tf.int64),
    "seen": tf.TensorSpec([None], tf.bool),
    "exclude": tf.TensorSpec([None, None], tf.string),
    "vector": tf.TensorSpec([None, 2], tf.float32),
}
ENDPOINT = Endpoint("serving_default", SPECS, {})
ROW = {"user_id": "ü", "age": 1, "count": 7, "seen": True, "exclude": ["a", "b"], "vector": [1, 2]}
COLUMNS = {name: [value] for name, value in ROW.items()}


def arrays_of(request):
    return json_arrays.arrays_of(json_arrays.read(json.dumps(request).encode()), ENDPOINT)


def refused(request):
    with pytest.raises(Refusal) as error:
        arrays_of(request)
    assert error.value.status == 400 and "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("request_", [{"inputs": COLUMNS}, {"instances": [ROW]}])
def test_both_formats_give_the_same_arrays(request_):
    arrays, in_rows = arrays_of(request_)
    assert in_rows == ("instances" in request_)
    assert arrays["user_id"].tolist() == ["ü".encode()]
    assert arrays["exclude"].tolist() == [[b"a", b"b"]]
    assert arrays["vector"].dtype == np.float32 and arrays["vector"].shape == (1, 2)
    assert arrays["age"].dtype == np.float64 and arrays["count"].dtype == np.int64
    assert arrays["seen"].dtype == bool


def test_bytes_nan_and_empty_lists():
    given = {**ROW, "user_id": {"b64": "AP8"}, "age": float("nan"), "exclude": []}
    arrays, _ = arrays_of({"instances": [given, {**given, "age": float("inf")}]})
    assert arrays["user_id"].tolist() == [b"\0\xff"] * 2  # the padding "=" may lack
    assert np.isnan(arrays["age"][0]) and np.isinf(arrays["age"][1])
    assert arrays["exclude"].shape == (2, 0)


def test_a_single_input_needs_no_name():
    endpoint = Endpoint("embed", {"item_id": SPECS["user_id"]}, {})
    for request in ({"instances": ["a", "b"]}, {"inputs": ["a", "b"]}):
        arrays, _ = json_arrays.arrays_of(request, endpoint)
        assert arrays["item_id"].tolist() == [b"a", b"b"]
    arrays, _ = json_arrays.arrays_of({"instances": [{"b64": "YQ=="}]}, endpoint)
    assert arrays["item_id"].tolist() == [b"a"]


@pytest.mark.parametrize(
    "change, says",
    [
        ({"user_id": 7}, "not of expected type: string"),
        ({"user_id": None}, "not of expected type: string"),
        ({"user_id": {"b64": "!"}}, "base64"),
        ({"user_id": "\ud800"}, "not Unicode"),
        ({"age": "1"}, "not of expected type: float64"),
        ({"age": True}, "not of expected type: float64"),
        ({"age": 10**400}, "does not fit float64"),
        ({"count": 1.5}, "not of expected type: int64"),
        ({"count": 2**63}, "does not fit int64"),
        ({"seen": 1}, "not of expected type: bool"),
        ({"vector": [1e300, 0]}, "does not fit float32"),
        ({"exclude": ["a", ["b"]]}, "mixed"),
    ],
)
def test_values_of_another_type_are_refused(change, says):
    assert says in refused({"instances": [{**ROW, **change}]})
    columns = {name: [value] for name, value in {**ROW, **change}.items()}
    assert says in refused({"inputs": columns})


@pytest.mark.parametrize(
    "request_, says",
    [
        ([], "Is not object"),
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"inputs": COLUMNS, "instances": [ROW]}, "only one of"),
        ({"instances": []}, "No values"),
        ({"instances": ROW}, "to be an list/array"),
        ({"instances": ["u"]}, "expecting list of objects"),
        ({"instances": [ROW, "u"]}, "Expecting object but got value/list at item 1"),
        ({"instances": [ROW, {"user_id": "u"}]}, "keys must be equal to: age,count,"),
        ({"inputs": ["u"]}, "expecting an object"),
        ({"inputs": {"user_id": ["u"]}}, "Missing named input: age"),
        ({"instances": [ROW, {**ROW, "exclude": ["a"]}]}, "unexpected size"),
    ],
)
def test_requests_of_another_form_are_refused(request_, says):
    assert says in refused(request_)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe{", b"[" * 100_000, b'{"a": 1' + b"0" * 5000]
)
def test_what_is_no_json_is_refused(body):
    with pytest.raises(Refusal, match="JSON Parse error"):
        json_arrays.read(body)


def test_answers_in_both_formats():
    outputs = {
        "item_id": np.array([[b"a", b""], [b"\xc3\xbc", b"b"]], object),
        "score": np.array([[1, -np.inf], [0.5, 0.25]], np.float32),
    }
    columns = json.loads(json_arrays.answer(outputs, False))["outputs"]
    assert columns["item_id"] == [["a", ""], ["ü", "b"]]
    assert columns["score"] == [[1, -np.inf], [0.5, 0.25]]
    rows = json.loads(json_arrays.answer(outputs, True))["predictions"]
    assert rows[1] == {"item_id": ["ü", "b"], "score": [0.5, 0.25]}
    alone = {"picture_bytes": np.array([b"a"], object)}
    assert json.loads(json_arrays.answer(alone, True)) == {"predictions": [{"b64": "YQ=="}]}
    empty = {"item_id": np.empty((2, 0), object)}
    assert json.loads(json_arrays.answer(empty, False)) == {"outputs": [[], []]}
