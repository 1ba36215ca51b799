"""TensorFlow Serving's REST of a real server: the requests of the manual, and what it refuses."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

MANUAL = (Path(__file__).parents[2] / "saved_models" / "README.md").read_text()
REQUESTS = re.findall(r"```json\n(.*?)```", MANUAL, re.DOTALL)
PREDICT = "/v1/models/two_tower:predict"


def post(http, path, request, **given):
    """The status and the object of an answer; what is no text is written as JSON."""
    body = request if isinstance(request, (str, bytes)) else json.dumps(request)
    answer = http.post(path, content=body, **given)
    assert answer.headers["content-type"] == "application/json"
    return answer.status_code, json.loads(answer.content)


@pytest.mark.parametrize("request_", REQUESTS)
def test_the_requests_of_the_manual(http, loaded, request_):
    status, answer = post(http, PREDICT, request_)
    assert status == 200, answer
    request = json.loads(request_)
    given = request.get("inputs") or {
        name: [row[name] for row in request["instances"]] for name in request["instances"][0]
    }
    if request.get("signature_name") == "embed_query":
        np.testing.assert_allclose(answer["outputs"], loaded.embed_query(**given), rtol=1e-5)
        return
    if request.get("signature_name") == "similar_items":
        items, scores = loaded.similar(given.pop("item_id"), k=6, **given)
    else:
        items, scores = loaded.recommend(given.pop("user_id"), k=6, **given)
    if "instances" in request:
        rows = answer["predictions"]
        outputs = {name: [row[name] for row in rows] for name in rows[0]}
    else:
        outputs = answer["outputs"]
    assert outputs["item_id"] == items.tolist()
    np.testing.assert_allclose(outputs["score"], scores, rtol=1e-5)


def test_versions_status_and_metadata(http, columns):
    request = {"inputs": columns()}
    _, newest = post(http, PREDICT, request)
    assert post(http, "/v1/models/two_tower/versions/1:predict", request) == (200, newest)
    (status,) = http.get("/v1/models/two_tower").json()["model_version_status"]
    ok = {"error_code": "OK", "error_message": ""}
    assert status == {"version": "1", "state": "AVAILABLE", "status": ok}
    assert http.get("/v1/models/two_tower/versions/1").json() == {"model_version_status": [status]}
    metadata = http.get("/v1/models/two_tower/metadata").json()
    assert metadata["model_spec"]["version"] == "1"
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    assert signatures["serving_default"]["inputs"]["exclude"]["dtype"] == "DT_STRING"
    dims = signatures["similar_items"]["outputs"]["score"]["tensor_shape"]["dim"]
    assert [dim["size"] for dim in dims] == ["-1", "6"]


def test_channels_and_the_merge(http, several, columns):
    path = "/v1/models/several:predict"
    inputs = columns(["u1", "nobody"], history=[["i3", "i4"], ["", ""]], exclude=[["i1"], [""]])
    status, answer = post(http, path, {"inputs": inputs})
    assert status == 200, answer
    given = {"history": [["i3", "i4"], []], "exclude": [["i1"], []]}
    items, _ = several.recommend(["u1", "nobody"], k=8, **given)
    assert answer["outputs"]["item_id"] == items.tolist()
    names = http.get("/v1/models/several/metadata").json()["metadata"]["signature_def"]
    assert {name for name in names["signature_def"] if "/similar" in name} == {
        "channels/items/similar_items",
        "channels/towers/similar_items",
    }
    for name in ("items", "towers"):
        inputs = {"item_id": ["i3", "nothing"], "exclude": [[], []], "allow": [[], []]}
        signature = f"channels/{name}/similar_items"
        status, answer = post(http, path, {"signature_name": signature, "inputs": inputs})
        assert status == 200, answer
        channel = several.channels[name]
        items, _ = channel.similar(["i3"], k=min(8, channel.k_max))
        assert answer["outputs"]["item_id"][0] == items[0].tolist()


@pytest.mark.parametrize(
    "path, status, says",
    [
        ("/v1/models/nobody:predict", 404, "Servable not found for request: Latest(nobody)"),
        (
            "/v1/models/two_tower/versions/7:predict",
            404,
            "Servable not found for request: Specific(two_tower, 7)",
        ),
        ("/v1/models/two_tower/labels/best:predict", 404, "Unrecognized servable version label"),
        (f"/v1/models/two_tower/versions/{2**63}:predict", 400, "Failed to convert version"),
        ("/v1/models/two_tower:classify", 400, "Was: tensorflow/serving/predict"),
        ("/v1/models/two_tower:explode", 405, "Malformed request: POST"),
        ("/v1/models/a:b:predict", 400, "Malformed request: POST"),
        ("/v1/models/..%2F..%2Fetc%2Fpasswd:predict", 400, "Malformed request"),
        ("/v1/models/%2e%2e:predict", 404, "Servable not found"),
        ("/v1/else", 400, "Malformed request: POST /v1/else"),
    ],
)
def test_paths_that_there_are_not(http, columns, path, status, says):
    answer = post(http, path, {"inputs": columns()})
    assert answer[0] == status and set(answer[1]) == {"error"} and says in answer[1]["error"]


@pytest.mark.parametrize(
    "change, says",
    [
        ({"signature_name": "other"}, "not found in signature def; there are: embed_item"),
        ({"signature_name": 7}, "'signature_name' key must be a string"),
        ({"device": None}, "Missing named input: device"),
        ({"exclude": [["a"] * 51]}, "lists of 51 ids; at most 50"),
        ({"exclude": ["a"]}, "must have the shape [?, ?]"),
        ({"user_id": ["u1", "u2"]}, "rows, and those before it"),
        ({"user_id": [{"b64": "//8="}], "device": [{"b64": "//8="}]}, None),
    ],
)
def test_inputs_that_it_does_not_take(http, columns, change, says):
    request = {"inputs": columns()}
    for name, value in change.items():
        (request if name == "signature_name" else request["inputs"])[name] = value
    request["inputs"] = {k: v for k, v in request["inputs"].items() if v is not None}
    status, answer = post(http, PREDICT, request)
    assert status == (400 if says else 200)  # bytes that are no text are an unknown user's
    assert says is None or says in answer["error"]


def test_too_many_rows_and_none(http, columns):
    status, answer = post(http, PREDICT, {"inputs": columns(["u1"] * 33)})
    assert status == 400 and "33 rows; at most 32" in answer["error"]
    status, answer = post(http, PREDICT, {"signature_name": "embed_item", "inputs": []})
    assert status == 400 and "no rows" in answer["error"]
    status, answer = post(http, PREDICT, {"inputs": columns(["u1"] * 32)})
    assert status == 200 and len(answer["outputs"]["score"]) == 32
    _, alone = post(http, PREDICT, {"inputs": columns()})
    assert answer["outputs"]["item_id"][31] == alone["outputs"]["item_id"][0]
