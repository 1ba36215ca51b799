"""TensorFlow Serving's gRPC of a real server, by its own stubs: the manual's example as written."""

import re
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

MANUAL = (Path(__file__).parents[2] / "saved_models" / "README.md").read_text()
DTYPES = {"age": tf.float64, "exclude_seen": tf.bool}


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(server.grpc) as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def request_of(inputs, name="two_tower", signature="", **spec):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = name, signature
    if "version" in spec:
        request.model_spec.version.value = spec["version"]
    if "label" in spec:
        request.model_spec.version_label = spec["label"]
    for key, value in inputs.items():
        tensor = tf.make_tensor_proto(value, DTYPES.get(key, tf.string))
        request.inputs[key].CopyFrom(tensor)
    return request


def refused(call, request):
    with pytest.raises(grpc.RpcError) as error:
        call(request, timeout=20)
    return error.value.code().name, error.value.details()


def test_the_example_of_the_manual(server, loaded):
    (code,) = [
        each
        for each in re.findall(r"```python\n(.*?)```", MANUAL, re.DOTALL)
        if "import grpc" in each
    ]
    names = {}
    exec(code.replace("localhost:8500", server.grpc).replace("timeout=1.0", "timeout=20"), names)
    items, scores = loaded.recommend(["u1"], k=6, exclude_seen=True)
    assert [each.decode() for each in names["item_id"][0]] == items[0].tolist()
    np.testing.assert_allclose(names["score"], scores, rtol=1e-5)


def test_an_answer_says_which_version_it_is_of(stub, columns):
    request = request_of(columns(["u1", "u2"]), version=1)
    request.output_filter.append("score")
    answer = stub.Predict(request, timeout=20)
    spec = answer.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == (
        "two_tower",
        1,
        "serving_default",
    )
    assert list(answer.outputs) == ["score"]
    assert tf.make_ndarray(answer.outputs["score"]).shape == (2, 6)


def test_channels_answer(stub, columns):
    inputs = columns(history=[["i3"]])
    answer = stub.Predict(request_of(inputs, "several"), timeout=20)
    assert tf.make_ndarray(answer.outputs["item_id"]).shape == (1, 8)
    assert set(answer.outputs) == {"item_id", "score"}


def test_status_and_metadata(channel, stub):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "two_tower"
    call = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus
    (status,) = call(request, timeout=20).model_version_status
    assert (status.version, status.state) == (1, get_model_status_pb2.ModelVersionStatus.AVAILABLE)
    request.model_spec.name = "nobody"
    assert refused(call, request) == ("NOT_FOUND", "Could not find any versions of model nobody")
    asked = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    asked.model_spec.name = "several"
    answer = stub.GetModelMetadata(asked, timeout=20)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(signatures)
    signature = signatures.signature_def["channels/towers/embed_query"]
    assert signature.outputs["embedding"].dtype == tf.float32.as_datatype_enum
    asked.metadata_field[:] = ["other"]
    assert refused(stub.GetModelMetadata, asked)[0] == "INVALID_ARGUMENT"


def test_what_is_refused(stub, columns):
    inputs = columns()
    call = stub.Predict
    assert refused(call, request_of(inputs, "nobody"))[0] == "NOT_FOUND"
    assert refused(call, request_of(inputs, version=9))[0] == "NOT_FOUND"
    assert refused(call, request_of(inputs, label="best"))[0] == "NOT_FOUND"
    code, says = refused(call, request_of(inputs, ""))
    assert code == "INVALID_ARGUMENT" and "must name a model" in says
    code, says = refused(call, request_of(inputs, signature="other"))
    assert code == "INVALID_ARGUMENT" and "there are: embed_item" in says
    code, says = refused(call, request_of({"user_id": ["u1"]}))
    assert code == "INVALID_ARGUMENT" and "Missing but required: {age, allow," in says
    request = request_of(inputs)
    request.output_filter.append("color")
    assert refused(call, request) == (
        "INVALID_ARGUMENT",
        "output_filter names color, which is no output",
    )
    long = request_of({**inputs, "device": ["x" * 200_000]})
    assert refused(call, long)[0] == "RESOURCE_EXHAUSTED"
    other = classification_pb2.ClassificationRequest()
    assert refused(stub.Classify, other)[0] == "UNIMPLEMENTED"
    assert call(request_of(inputs), timeout=20).outputs  # and it lives
