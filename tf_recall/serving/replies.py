"""Replies over HTTP: bodies, errors in one form, and what a request's log line says."""

import json
import math
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tf_recall.serving.refusal import Refusal, invalid

TIMEOUT = "x-request-timeout"  # seconds that the client waits
ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string", "description": "What is wrong, in one line"}},
}


def json_body(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A reply of JSON that is written already."""
    return Response(body, status, headers, "application/json")


def error_reply(status: int, message: str) -> Response:
    """The reply to what is refused, as TensorFlow Serving has it."""
    headers = {"Retry-After": "1"} if status == 503 else {}
    headers |= {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return json_body(json.dumps({"error": message}).encode(), status, headers)


def refused(request: Request, error: Refusal) -> Response:
    """The reply to a refusal, for a handler of exceptions."""
    note(request, error=str(error))
    return error_reply(error.status, str(error))


def failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of refusals with these statuses."""
    content = {"application/json": {"schema": ERROR}}
    known = {
        400: "The request is wrong",
        404: "There is no such model, version or label",
        503: "Overloaded",
        504: "Too late",
    }
    return {status: {"description": known[status], "content": content} for status in statuses}


def note(request: Request, **values: Any) -> None:
    """Adds to the request's line in the log; `model` is a label of metrics too."""
    request.scope.setdefault("noted", {}).update(values)


def timeout_of(headers: Mapping[str, str]) -> float | None:
    """The seconds in the header `X-Request-Timeout`; None without it.

    Raises:
        Refusal: it is no number above 0.
    """
    if TIMEOUT not in headers:
        return None
    try:
        seconds = float(headers[TIMEOUT])
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise invalid(f"X-Request-Timeout must be seconds above 0; got {headers[TIMEOUT]!r}")
    return seconds
