"""A server in operation: health, metrics, the page, the gate, overload."""

import concurrent.futures
import json
import logging
import re
import socket
import threading
import time

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tf_recall.serving.endpoint import GraphEndpoint
from tf_recall.serving.limits import Limits
from tf_recall.serving.server import Settings

PREDICT = "/v1/models/two_tower:predict"


@pytest.fixture(scope="module")
def request_(columns):
    """A request that JSON without NaN can write."""

    def make(rows=1):
        return {"inputs": columns(["u1"] * rows, age=[20.0] * rows)}

    return make


def test_health_and_metrics(http, request_):
    assert http.get("/healthz").json() == {"status": "ok"}
    assert http.get("/readyz").json() == {"status": "ready"}

    def count(text):
        found = re.search(
            r'tf_recall_requests_total{api="rest",code="200",'
            r'method="/v1/models/{name}:predict",model="two_tower"} (\S+)',
            text,
        )
        return float(found[1]) if found else 0.0

    before = count(http.get("/metrics").text)
    http.post(PREDICT, json=request_()).raise_for_status()
    http.post("/v1/models/made-up:predict", content="{}")
    text = http.get("/metrics").text
    assert count(text) == before + 1
    assert 'tf_recall_version_served{model="two_tower",version="1"} 1.0' in text
    assert "tf_recall_waiting_rows 0.0" in text and "made-up" not in text


def test_the_page_needs_no_other_host(http):
    page = http.get("/docs").text
    assert "http" not in re.sub(r"https?://www\.w3\.org\S*", "", page)
    for path in re.findall(r'(?:src|href)="(docs[^"]+)"', page):
        assert len(http.get(f"/{path}").content) > 10_000
    document = http.get("/openapi.json").json()
    assert {"/recommend", "/similar", "/v1/models/{name}/labels/{label}:predict"} <= set(
        document["paths"]
    )
    for operations in document["paths"].values():
        for operation in operations.values():
            assert "422" not in operation["responses"] and operation["responses"]["200"]


def of_health(caplog):
    """Log lines of this path; those of requests before may be late."""
    return [each for each in caplog.records if getattr(each, "path", "") == "/healthz"]


def test_every_answer_has_the_requests_id(http, caplog):
    with caplog.at_level(logging.INFO, "tf_recall.serving.requests"):
        answer = http.get("/healthz", headers={"x-request-id": "mine-1"})
        deadline = time.monotonic() + 20
        while not of_health(caplog) and time.monotonic() < deadline:
            time.sleep(0.01)  # the line is written after the answer
    assert answer.headers["x-request-id"] == "mine-1"
    record = of_health(caplog)[-1]
    assert (record.status, record.method) == (200, "GET")
    strange = http.get("/healthz", headers={"x-request-id": 'a"b c'})
    assert re.fullmatch("[0-9a-f]{32}", strange.headers["x-request-id"])


def test_other_origins_get_no_permission(http):
    headers = {"origin": "https://elsewhere.example"}
    assert "access-control-allow-origin" not in http.get("/models", headers=headers).headers
    preflight = {**headers, "access-control-request-method": "POST"}
    assert http.options("/recommend", headers=preflight).status_code == 405


def test_bodies_that_are_too_long(http):
    def parts():
        for _ in range(200):
            yield b" " * 1000

    for content in (b" " * 200_000, parts()):
        answer = http.post("/recommend", content=content)
        assert answer.status_code == 413 and "100000 bytes" in answer.json()["error"]
    assert http.get("/healthz").status_code == 200


def test_a_body_that_does_not_come(server, http):
    host, port = server.rest.removeprefix("http://").split(":")
    head = f"POST /recommend HTTP/1.1\r\nHost: {host}\r\nContent-Length: 50\r\n\r\n"
    half = [socket.create_connection((host, int(port)), timeout=30) for _ in range(3)]
    half[0].sendall(head.encode() + b"{")
    half[1].sendall(head[:20].encode())  # and one that says nothing at all
    assert http.get("/healthz").status_code == 200  # others are not kept waiting
    assert half[0].recv(100).startswith(b"HTTP/1.1 408")
    for each in half:
        each.close()
    assert http.get("/healthz").status_code == 200


def test_timeouts_of_the_client(http, request_):
    for wrong in ("soon", "-1", "nan"):
        answer = http.post(PREDICT, json=request_(), headers={"x-request-timeout": wrong})
        assert answer.status_code == 400 and "X-Request-Timeout" in answer.json()["error"]


@pytest.fixture
def held(monkeypatch):
    """Holds every call of a graph until the event is set; tells how many were begun."""
    go, begun, answer = threading.Event(), threading.Semaphore(0), GraphEndpoint.answer

    def slow(self, arrays, k):
        begun.release()
        assert go.wait(30)
        return answer(self, arrays, k)

    monkeypatch.setattr(GraphEndpoint, "answer", slow)
    yield go, begun
    go.set()


def test_overload_is_refused_and_what_was_taken_is_answered(http, request_, held):
    go, begun = held
    request = request_(32)

    def post(timeout="20"):
        return http.post(PREDICT, json=request, headers={"x-request-timeout": timeout})

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        first = pool.submit(post)
        assert begun.acquire(timeout=20)
        waiting = [pool.submit(post), pool.submit(post)]  # 64 rows: the queue is full
        deadline = time.monotonic() + 20
        while "tf_recall_waiting_rows 64.0" not in http.get("/metrics").text:
            assert time.monotonic() < deadline
        refused = post()
        assert refused.status_code == 503 and refused.headers["retry-after"] == "1"
        assert "overloaded" in refused.json()["error"]
        go.set()
        assert {each.result().status_code for each in [first, *waiting]} == {200}


def test_calls_of_grpc_beyond_the_limit_are_refused(exports, run_server, held):
    go, _ = held
    go.set()  # for the warm-up
    asked = predict_pb2.PredictRequest()
    asked.model_spec.name = "two_tower"
    asked.model_spec.signature_name = "embed_item"
    asked.inputs["item_id"].CopyFrom(tf.make_tensor_proto(["i1"]))
    limits = Limits(connections=2, rows=32, stopping=5.0)
    with (
        run_server(exports, limits=limits) as server,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        predict(asked, timeout=30)
        go.clear()
        running = [predict.future(asked, timeout=30) for _ in range(2)]
        deadline, codes = time.monotonic() + 20, set()
        while grpc.StatusCode.RESOURCE_EXHAUSTED not in codes and time.monotonic() < deadline:
            codes.add(predict.future(asked, timeout=0.2).exception().code())
        assert (
            codes
            <= {
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                grpc.StatusCode.DEADLINE_EXCEEDED,
            }
            and grpc.StatusCode.RESOURCE_EXHAUSTED in codes
        )
        go.set()
        assert all(each.result().outputs for each in running)
        assert predict(asked, timeout=30).outputs


def test_who_waits_too_long_is_told(http, request_, held):
    answer = http.post(PREDICT, json=request_(), headers={"x-request-timeout": "0.05"})
    assert answer.status_code == 504 and "0.05 s" in answer.json()["error"]


def test_settings_that_cannot_be():
    with pytest.raises(ValueError, match="both or none"):
        Settings(".", certificate="a.pem")
    with pytest.raises(ValueError, match="needs a port"):
        Settings(".", rest_port=None, grpc_port=None)
    with pytest.raises(ValueError, match="not empty"):
        Settings(".", key=" ")


def test_json_in_a_body_of_any_kind_never_breaks_it(http):
    bodies = [b"\0", b"[[[[", b"NaN", b'{"user_id": ' + b"[" * 50_000, b"\xff", b"null", b"1e999"]
    for path in ("/recommend", "/similar", PREDICT):
        for body in bodies:
            answer = http.post(path, content=body, headers={"content-type": "application/json"})
            assert answer.status_code == 400, (path, body[:20], answer.text)
            assert set(json.loads(answer.content)) == {"error"}
    assert http.get("/healthz").status_code == 200
