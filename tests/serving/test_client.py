"""The client against a real server, over REST and gRPC, and against servers that fail."""

import asyncio
import contextlib
import http.server
import json
import re
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tf_recall.client import AsyncClient, Client, ClientError, messages
from tf_recall.client.errors import wait_before
from tf_recall.client.tensors import to_array, to_tensor

ASKED = {"model": "two_tower", "k": 4, "exclude": ["i1"], "context": {"device": "phone"}}


@pytest.fixture(params=["http", "grpc"])
def client(request, server):
    url = server.rest if request.param == "http" else f"grpc://{server.grpc}"
    with Client(url, timeout=60) as client:
        yield client


def test_answers_are_those_of_the_recommender(client, loaded):
    items, scores = loaded.recommend(["u1"], k=4, exclude=["i1"], device="phone", exclude_seen=True)
    answer = client.recommend("u1", **ASKED)
    kept = [each for each in items[0].tolist() if each]
    assert answer.item_ids == kept and (answer.model, answer.version) == ("two_tower", 1)
    found = [each.score for each in answer.items]
    np.testing.assert_allclose(found, scores[0, : len(kept)], rtol=1e-5)
    like = client.similar("i3", 3, model="two_tower", exclude=["i1"])
    assert like.item_ids == loaded.similar(["i3"], k=3, exclude=["i1"])[0][0].tolist()


def test_channels_and_histories(client, several):
    asked = {"history": [["i3", "i5"]], "exclude_seen": True}
    items, _ = several.recommend([""], k=4, **asked)
    answer = client.recommend(history=["i3", "i5"], model="several", k=4)
    assert answer.item_ids == items[0].tolist()
    answer = client.recommend(history=["i3", "i5"], model="several", k=4, channel="items")
    items, _ = several.channels["items"].recommend([""], k=4, **asked)
    assert answer.item_ids == [each for each in items[0].tolist() if each]


def test_predict_names_its_outputs(client, loaded, columns):
    outputs = client.predict("two_tower", columns(["u1", "u2"]), version=1)
    assert set(outputs) == {"item_id", "score"} and outputs["score"].shape == (2, 6)
    given = {"user_id": ["u1"], "device": [""], "age": [float("nan")]}
    outputs = client.predict("two_tower", given, signature="embed_query")
    np.testing.assert_allclose(outputs["embedding"], loaded.embed_query(["u1"]), rtol=1e-5)


def test_what_goes_over_rest(server):
    with Client(server.rest, timeout=60) as client:
        assert [each["model"] for each in client.models()] == ["several", "two_tower"]
        answer = client.recommend("nobody", model="several", explain=True, k=2)
        assert answer.unknown == {"user_id": ["nobody"]} and answer.items[0].why
    with Client(f"grpc://{server.grpc}") as client:
        with pytest.raises(ValueError, match="gRPC has no list of models: ask the server's http"):
            client.models()
        with pytest.raises(ValueError, match="explain go over REST"):
            client.recommend("u1", model="several", explain=True)
        with pytest.raises(ValueError, match="takes no color; it takes age, allow, device"):
            client.recommend("u1", model="two_tower", context={"color": 1})


def test_refusals_are_one_kind_of_error(client):
    with pytest.raises(ClientError, match="Servable not found.*status 404") as caught:
        client.recommend("u1", model="nobody")
    assert caught.value.status == 404 and not caught.value.again
    with pytest.raises(ClientError) as caught:
        client.predict("two_tower", {"user_id": ["u1"]})
    assert caught.value.status == 400
    with pytest.raises(ClientError) as caught:
        client.predict("two_tower", {}, signature="nothing")
    assert caught.value.status == 400 and "nothing" in caught.value.message


def test_awaited_answers_are_the_same(server):
    async def ask(url):
        async with AsyncClient(url, timeout=60) as client:
            many = [client.recommend(f"u{at}", **ASKED) for at in (1, 2, 1)]
            return await asyncio.gather(*many)

    for url in (server.rest, f"grpc://{server.grpc}"):
        answers = asyncio.run(ask(url))
        with Client(url, timeout=60) as client:
            for user, answer in zip(("u1", "u2", "u1"), answers, strict=True):
                assert answer.item_ids == client.recommend(user, **ASKED).item_ids


def test_a_key_goes_with_every_request(exports, run_server):
    with run_server(exports / "two_tower", key="secret") as server:
        for url in (server.rest, f"grpc://{server.grpc}"):
            with Client(url, "secret", timeout=60) as client:
                assert client.recommend("u1", model="two_tower").items
            with Client(url, "wrong") as client, pytest.raises(ClientError, match="key") as caught:
                client.recommend("u1", model="two_tower")
            assert caught.value.status == 401


@contextlib.contextmanager
def scripted(*script):
    """A server of HTTP that does one thing after the other; and what it was asked."""
    asked, left = [], list(script)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(dict(self.headers))
            step = left.pop(0) if left else 200
            if step == "slow":
                time.sleep(1.5)
                step = 200
            if step == "close":
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            body = b"[]" if step == 200 else json.dumps({"error": f"it is {step}"}).encode()
            body = b"<html>" if step == "html" else body
            self.send_response(200 if step == "html" else step)
            self.send_header("Content-Length", str(len(body)))
            if step == 429:
                self.send_header("Retry-After", "9")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("script", [(503, 503, 200), ("close", 200), (503, "close", 503, 200)])
def test_a_busy_server_is_asked_again(script):
    with scripted(*script) as (url, asked), Client(url) as client:
        assert client.models() == [] and len(asked) == len(script)

    async def ask(url):
        async with AsyncClient(url) as client:
            return await client.models()

    with scripted(*script) as (url, asked):
        assert asyncio.run(ask(url)) == [] and len(asked) == len(script)


@pytest.mark.parametrize("status, tries", [(400, 1), (404, 1), (500, 1), (504, 1), (503, 3)])
def test_other_refusals_are_final_and_tries_end(status, tries):
    with scripted(*[status] * 9) as (url, asked), Client(url, retries=2) as client:
        with pytest.raises(ClientError, match=f"it is {status}") as caught:
            client.models()
        assert caught.value.status == status and len(asked) == tries


def test_what_is_no_json_is_an_error():
    says = pytest.raises(ClientError, match="without a word why")
    with scripted("html") as (url, _), Client(url) as client, says:
        client.models()


def test_a_deadline_counts_for_all_tries():
    with scripted("slow", "slow") as (url, asked), Client(url, timeout=0.3, retries=9) as client:
        with pytest.raises(ClientError, match="did not answer in") as caught:
            client.models()
        assert caught.value.status == 504 and len(asked) == 1  # too late is not tried again
        assert 0 < float(asked[0]["X-Request-Timeout"]) <= 0.3
    with scripted(*[503] * 99) as (url, asked), Client(url, timeout=0.4, retries=99) as client:
        with pytest.raises(ClientError) as caught:
            client.models()
        assert caught.value.status in (503, 504)  # as the last try ended
        assert 1 <= len(asked) < 20


def test_nobody_there_is_said(free_ports):
    (port,) = free_ports(1)
    for scheme in ("http", "grpc"):
        with Client(f"{scheme}://127.0.0.1:{port}", retries=1, timeout=5) as client:
            with pytest.raises(ClientError) as caught:
                client.predict("two_tower", {"a": [1.0]})
            assert caught.value.status == 503 and caught.value.again


def test_grpc_is_asked_again_where_it_is_busy():
    codes, asked = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED], []

    class Busy(prediction_service_pb2_grpc.PredictionServiceServicer):
        def GetModelMetadata(self, request, context):
            asked.append(request)
            context.abort(codes.pop(0) if codes else grpc.StatusCode.NOT_FOUND, "not now")

    server = grpc.server(ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Busy(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        says = pytest.raises(ClientError, match="not now")
        with Client(f"grpc://127.0.0.1:{port}") as client, says as caught:
            client.recommend("u1", model="a", version=3)
        assert caught.value.status == 404 and len(asked) == 3
        assert asked[0].model_spec.name == "a" and asked[0].model_spec.version.value == 3
    finally:
        server.stop(0).wait()


def test_waits_grow_and_are_cut_by_chance():
    class Most:
        def uniform(self, low, high):
            return high

    assert [wait_before(tries, 0, Most()) for tries in range(4)] == [0.1, 0.2, 0.4, 0.8]
    assert wait_before(50, 0, Most()) == 5 and wait_before(0, 3, Most()) == 3


@pytest.mark.parametrize(
    "values, kind",
    [
        ([[1.5, float("nan")]], tf.float32),
        ([1.5], tf.float64),
        ([2**40, -1], tf.int64),
        ([[1], [2]], tf.int32),
        ([True, False], tf.bool),
        (["ä", ""], tf.string),
        ([b"\xff\x00"], tf.string),
        ([[]], tf.string),
    ],
)
def test_tensors_are_those_of_tensorflow(values, kind):
    theirs = tf.make_tensor_proto(values, kind)
    sent = to_tensor(values, kind.as_datatype_enum)
    read = tf.make_ndarray(type(theirs).FromString(sent.SerializeToString()))
    np.testing.assert_array_equal(read, tf.make_ndarray(theirs))
    assert read.shape == np.shape(values)
    mine = to_array(messages.Tensor.FromString(theirs.SerializeToString()))
    np.testing.assert_array_equal(mine, tf.make_ndarray(theirs))


def test_messages_are_those_of_tensorflow_serving():
    theirs = predict_pb2.PredictRequest()
    theirs.model_spec.name, theirs.model_spec.signature_name = "a", "b"
    theirs.model_spec.version.value = 7
    theirs.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0]))
    mine = messages.PredictRequest.FromString(theirs.SerializeToString())
    assert (mine.model_spec.name, mine.model_spec.version.value) == ("a", 7)
    assert to_array(mine.inputs["x"]).tolist() == [1.0]
    assert predict_pb2.PredictRequest.FromString(mine.SerializeToString()) == theirs
    labelled = messages.ModelSpec(name="a", version_label="best")
    theirs.model_spec.ParseFromString(labelled.SerializeToString())
    assert theirs.model_spec.version_label == "best"
    request = messages.MetadataRequest(metadata_field=["signature_def"])
    read = get_model_metadata_pb2.GetModelMetadataRequest.FromString(request.SerializeToString())
    assert list(read.metadata_field) == ["signature_def"]


@pytest.mark.parametrize("url", ["localhost:8501", "ftp://a", "http://", ""])
def test_another_address_is_refused(url):
    with pytest.raises(ValueError, match="a server is one of http, https, grpc, grpcs://host:port"):
        Client(url)


def test_what_cannot_be_asked_is_refused(server):
    with pytest.raises(ValueError, match="timeout must be above 0"):
        Client(server.rest, timeout=0)
    says = pytest.raises(ValueError, match="by number or by label, not by both")
    with Client(server.rest) as client, says:
        client.recommend("u1", version=1, label="best")


def test_it_imports_nothing_heavy():
    heavy = "('tensorflow', 'keras', 'pandas', 'pyarrow')"
    code = f"import sys, tf_recall.client; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr
    code = "import sys; sys.modules['httpx'] = None; import tf_recall.client"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "the client needs httpx" in result.stderr and "tf_recall[client]" in result.stderr


def test_the_example_of_the_manual(server, loaded):
    page = (Path(__file__).parents[2] / "saved_models" / "README.md").read_text()
    (code,) = [each for each in re.findall(r"```python\n(.*?)```", page, re.S) if "Client(" in each]
    code = code.replace("localhost:8500", server.grpc).replace("timeout=1.0", "timeout=60.0")
    found = {}
    exec(code, found)
    items, _ = loaded.recommend(["u1"], k=5, device="phone", exclude_seen=True)
    assert found["answer"].item_ids == [each for each in items[0].tolist() if each]
    assert found["vectors"]["embedding"].shape == (1, 4)
