"""Calls as requests of REST."""

import base64
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np

from tf_recall.client.answers import of_json
from tf_recall.client.calls import Asked, Plan, Speaker
from tf_recall.client.errors import ClientError

BUSY = 503


@dataclass(frozen=True)
class Get:
    """A request of HTTP; with a body it posts."""

    path: str
    body: dict[str, Any] | None = None


class Rest(Speaker):
    """The server's plain endpoint, and TensorFlow Serving's own."""

    def __init__(self):
        self._outputs: dict[tuple, str] = {}  # the name of a signature's only output

    def recommend(self, asked: Asked, given: dict[str, Any]) -> Plan:
        return of_json((yield Get("/recommend", _body(asked, given))))

    def similar(self, asked: Asked, given: dict[str, Any]) -> Plan:
        return of_json((yield Get("/similar", _body(asked, given))))

    def models(self) -> Plan:
        return (yield Get("/models"))

    def predict(self, asked: Asked, inputs: dict[str, Any], signature: str) -> Plan:
        path = _path(asked)
        body = {"inputs": {name: _plain(values) for name, values in inputs.items()}}
        body |= {"signature_name": signature} if signature else {}
        outputs = (yield Get(f"{path}:predict", body))["outputs"]
        if not isinstance(outputs, dict):  # TensorFlow Serving does not name a single one
            name = yield from self._only_output(path, signature or "serving_default")
            outputs = {name: outputs}
        return {name: np.asarray(values) for name, values in outputs.items()}

    def _only_output(self, path, signature):
        if (path, signature) not in self._outputs:
            found = (yield Get(f"{path}/metadata"))["metadata"]["signature_def"]["signature_def"]
            (self._outputs[path, signature],) = found[signature]["outputs"]
        return self._outputs[path, signature]


def request(call: Get, key: str | None, seconds: float) -> dict[str, Any]:
    """The arguments of httpx for a call that may take so long."""
    headers = {"X-Request-Timeout": f"{seconds:.3f}"}
    headers |= {"Authorization": f"Bearer {key}"} if key else {}
    made = {"method": "GET", "url": call.path, "headers": headers, "timeout": seconds}
    if call.body is not None:
        headers["Content-Type"] = "application/json"
        made |= {"method": "POST", "content": json.dumps(call.body).encode()}
    return made


def reply(answer: httpx.Response) -> Any:
    """What a server answered.

    Raises:
        ClientError: it refused, or answered something else than JSON.
    """
    status = answer.status_code
    try:
        content = json.loads(answer.content)
    except ValueError:
        content = None
    if status >= 400 or content is None:
        said = content.get("error") if isinstance(content, dict) else None
        message = said or f"the server answered {status} without a word why"
        busy = status == BUSY
        raise ClientError(str(message), status, busy, _seconds(answer) if busy else 0.0)
    return content


def failure(error: httpx.HTTPError, address: str) -> ClientError:
    """What did not get an answer."""
    if isinstance(error, httpx.TimeoutException):
        return ClientError(f"{address} did not answer in time", 504)
    return ClientError(f"{address} is not reached: {error or type(error).__name__}", BUSY, True)


def _seconds(answer):
    try:
        return max(0.0, float(answer.headers.get("retry-after", 0)))
    except ValueError:  # a date
        return 0.0


def _body(asked, given):
    spec = {"model": asked.model, "version": asked.version, "label": asked.label}
    known = {name: value for name, value in {**spec, **given}.items() if value is not None}
    return {name: _plain(value) for name, value in known.items()}


def _path(asked):
    if asked.model is None:
        raise ValueError("say which model: predict takes its name")
    path = f"/v1/models/{quote(asked.model, safe='')}"
    if asked.version is not None:
        return f"{path}/versions/{asked.version}"
    return path if asked.label is None else f"{path}/labels/{quote(asked.label, safe='')}"


def _plain(values):
    """Values as JSON has them, as TensorFlow Serving reads it."""
    if isinstance(values, np.ndarray | np.generic):
        values = values.tolist()
    if isinstance(values, bytes):
        return {"b64": base64.b64encode(values).decode()}
    if isinstance(values, dict):
        return {name: _plain(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [_plain(each) for each in values]
    return values
