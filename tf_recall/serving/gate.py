"""What every HTTP request passes: its id, the key, its size, its time, a line in the log."""

import asyncio
import hmac
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from tf_recall.serving.backend import Backend
from tf_recall.serving.logs import REQUEST_ID
from tf_recall.serving.metrics import NOBODY
from tf_recall.serving.replies import error_reply

log = logging.getLogger("tf_recall.serving.requests")
PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
OPEN = {
    "/healthz",
    "/readyz",
    "/docs",
    "/openapi.json",
    "/docs/swagger-ui.js",
    "/docs/swagger-ui.css",
}


def key_of(headers: dict[str, str]) -> str:
    """The key that a request brings: `Authorization: Bearer KEY`, or `X-API-Key: KEY`; else ""."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")


def is_key(given: str, key: str | None) -> bool:
    """Whether a request may pass, in a time that tells nothing of the key."""
    return key is None or hmac.compare_digest(given.encode(), key.encode())


def request_id(given: str | None) -> str:
    """The id that a client gives its request where it is a plain one, else a new one."""
    return given if given and PLAIN_ID.fullmatch(given) else uuid.uuid4().hex


class TooLong(Exception):
    """A body beyond the limit."""


class Gate:
    """An ASGI application around another.

    Args:
        app: answers what passes.
        backend: whose limits count, and which counts requests.
        key: what requests must bring; None: nothing.
        open_paths: the paths of requests that need no key: health, and files of pages.
    """

    def __init__(
        self,
        app: Callable,
        backend: Backend,
        key: str | None = None,
        open_paths: Iterable[str] = OPEN,
    ):
        self._app, self._backend, self._key = app, backend, key
        self._open = frozenset(open_paths)

    async def __call__(self, scope: dict[str, Any], receive: Callable, send: Callable) -> None:
        """Answers one request, as ASGI has it."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        begun, scope["noted"], status = time.perf_counter(), {}, 500
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        own_id = request_id(headers.get("x-request-id"))
        token = REQUEST_ID.set(own_id)

        async def sent(message):
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", own_id.encode())]
            await send(message)

        try:
            await self._pass(scope, headers, receive, sent)
        finally:
            self._tell(scope, status, time.perf_counter() - begun)
            REQUEST_ID.reset(token)

    async def _pass(self, scope, headers, receive, send):
        if scope["path"] not in self._open and not is_key(key_of(headers), self._key):
            return await error_reply(401, "an API key is needed: Authorization: Bearer KEY")(
                scope, receive, send
            )
        try:
            async with asyncio.timeout(self._backend.limits.reading):
                body = await self._read(headers, receive)
        except TooLong:
            most = self._backend.limits.body
            return await _last(413, f"the request has more than {most} bytes")(scope, receive, send)
        except TimeoutError:
            return await _last(408, "the request came in too slowly")(scope, receive, send)
        if body is None:
            return None
        given = False

        async def replay():
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)

    async def _read(self, headers, receive):
        """The whole body; None where the client went away."""
        most, length = self._backend.limits.body, headers.get("content-length", "0")
        if length.isdecimal() and int(length) > most:
            raise TooLong
        parts, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > most:
                raise TooLong
            more = message.get("more_body", False)
        return b"".join(parts)

    def _tell(self, scope, status, seconds):
        noted = scope["noted"]
        route = scope.get("route")
        method = getattr(route, "path", NOBODY)
        metrics = self._backend.metrics
        metrics.answered("rest", method, noted.get("model", NOBODY), str(status), seconds)
        log.info(
            "request",
            extra={
                "api": "rest",
                "method": scope["method"],
                "path": scope["path"],
                "status": status,
                "ms": round(1000 * seconds, 2),
                **noted,
            },
        )


def _last(status, message):
    """An error whose connection ends: what is left of the request is not read."""
    reply = error_reply(status, message)
    reply.headers["Connection"] = "close"
    return reply
