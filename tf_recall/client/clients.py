"""The clients: calls, with a deadline over all tries."""

import asyncio
import random
import ssl
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import httpx
import numpy as np

from tf_recall.client.answers import Answer
from tf_recall.client.calls import Asked, Plan, Speaker
from tf_recall.client.errors import ClientError, wait_before
from tf_recall.client.lines import GrpcLine, HttpLine
from tf_recall.client.rest import Rest
from tf_recall.client.rpc import Rpc

SCHEMES = ("http", "https", "grpc", "grpcs")


class _Calls:
    """What both clients are asked, and how often they try."""

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        timeout: float = 10.0,
        retries: int = 3,
        certificate: str | Path | None = None,
    ):
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES or not parts.hostname:
            raise ValueError(f"a server is one of {', '.join(SCHEMES)}://host:port; got {url!r}")
        if not timeout > 0 or retries < 0:
            raise ValueError(
                f"timeout must be above 0 and retries at least 0; got {timeout} and {retries}"
            )
        self.url, self._timeout, self._retries = url.rstrip("/"), timeout, retries
        self._chance = random.Random()
        self._speaker: Speaker = Rpc() if parts.scheme.startswith("grpc") else Rest()
        self._line = self._connect(parts, api_key, certificate)

    def _connect(self, parts, key, certificate):
        if isinstance(self._speaker, Rest):
            trusted = certificate is not None
            verify = ssl.create_default_context(cafile=certificate) if trusted else True
            return HttpLine(self.url, key, verify, self._http)
        credentials = None
        if parts.scheme == "grpcs":
            root = None if certificate is None else Path(certificate).read_bytes()
            credentials = grpc.ssl_channel_credentials(root)
        return GrpcLine(parts.netloc, key, credentials, self._grpc)

    def _run(self, plan: Plan) -> Any:
        raise NotImplementedError

    def recommend(
        self,
        user_id: str | int | None = None,
        k: int | None = None,
        *,
        model: str | None = None,
        version: int | None = None,
        label: str | None = None,
        history: Sequence[str | int] | None = None,
        exclude: Sequence[str | int] | None = None,
        allow: Sequence[str | int] | None = None,
        exclude_seen: bool | None = None,
        context: dict[str, Any] | None = None,
        channel: str | None = None,
        explain: bool | None = None,
        columns: Sequence[str] | None = None,
    ) -> Answer:
        """The k best items for a user, or for whoever took the items of `history`.

        Args:
            user_id, history, exclude, allow, exclude_seen, context: as of `Recommender.recommend`;
                what was seen is left out where nobody says otherwise.
            k: how many; by default 10.
            model, version, label: which; over REST a server of one model needs no name.
            channel: of several channels one alone.
            explain, columns: reasons, and what to tell of each item; over REST.

        Raises:
            ClientError: the server refuses, is not reached or is too late.
            ValueError: what cannot be asked for.
        """
        given = {
            "user_id": user_id,
            "k": k,
            "history": history,
            "exclude": exclude,
            "allow": allow,
            "exclude_seen": exclude_seen,
            "context": context,
            "channel": channel,
            "explain": explain,
            "columns": columns,
        }
        return self._run(self._speaker.recommend(Asked(model, version, label), _given(given)))

    def similar(
        self,
        item_id: str | int,
        k: int | None = None,
        *,
        model: str | None = None,
        version: int | None = None,
        label: str | None = None,
        exclude: Sequence[str | int] | None = None,
        allow: Sequence[str | int] | None = None,
        context: dict[str, Any] | None = None,
        channel: str | None = None,
        columns: Sequence[str] | None = None,
    ) -> Answer:
        """The k items most like an item; arguments and errors as of `recommend`."""
        given = {
            "item_id": item_id,
            "k": k,
            "exclude": exclude,
            "allow": allow,
            "context": context,
            "channel": channel,
            "columns": columns,
        }
        return self._run(self._speaker.similar(Asked(model, version, label), _given(given)))

    def predict(
        self,
        model: str,
        inputs: dict[str, Any],
        *,
        signature: str = "",
        version: int | None = None,
        label: str | None = None,
    ) -> dict[str, np.ndarray]:
        """The outputs of a signature by name, of any TensorFlow Serving.

        Args:
            model, version, label: which.
            inputs: arrays or lists, the batch first; all that the signature takes.
            signature: by default `serving_default`.

        Raises:
            ClientError, ValueError: as `recommend`.
        """
        return self._run(self._speaker.predict(Asked(model, version, label), inputs, signature))

    def models(self) -> list[dict[str, Any]]:
        """What is served, as `GET /models` tells; over REST.

        Raises:
            ClientError, ValueError: as `recommend`.
        """
        return self._run(self._speaker.models())

    def _left(self, deadline):
        if (left := deadline - time.monotonic()) <= 0:
            raise ClientError(f"{self.url} did not answer in {self._timeout:g} s", 504)
        return left

    def _wait(self, error, tries, deadline):
        """Seconds to wait before another try; raises the error where there is none."""
        wait = wait_before(tries, error.wait, self._chance)
        if not error.again or tries >= self._retries or wait >= deadline - time.monotonic():
            raise error
        return wait


class Client(_Calls):
    """Asks a server, and waits for its answers.

    A request that finds the server busy (503; UNAVAILABLE or RESOURCE_EXHAUSTED) or not reached is
    tried again after a wait, twice as long each time and cut by chance, as long as the deadline of
    the whole call allows. Whatever else is refused is refused at once. It may be shared by threads.

    Args:
        url: `http://host:port`, or `https://...`, for REST; `grpc://host:port`, or `grpcs://...`,
            for gRPC, which asks any TensorFlow Serving alike.
        api_key: what the server was started with.
        timeout: seconds for a call, all tries together.
        retries: tries after the first.
        certificate: a file in PEM of who is trusted, for a server with a certificate of its own.

    Raises:
        ValueError: another address, a timeout of 0, retries below 0.

    Example:
        >>> with Client("http://127.0.0.1:8501") as client:
        ...     client.recommend("u17", k=10).item_ids
    """

    _http, _grpc = httpx.Client, grpc

    def _run(self, plan):
        deadline = time.monotonic() + self._timeout
        try:
            call = next(plan)
            while True:
                call = plan.send(self._ask(call, deadline))
        except StopIteration as end:
            return end.value

    def _ask(self, call, deadline):
        tries = 0
        while True:
            try:
                return self._line.send(call, self._left(deadline))
            except ClientError as error:
                time.sleep(self._wait(error, tries, deadline))
            tries += 1

    def close(self) -> None:
        """Ends its connections."""
        self._line.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient(_Calls):
    """As `Client`, with methods to await.

    Example:
        >>> async with AsyncClient("grpc://127.0.0.1:8500") as client:
        ...     await client.recommend("u17", model="two_tower")
    """

    _http, _grpc = httpx.AsyncClient, grpc.aio

    async def _run(self, plan):
        deadline = time.monotonic() + self._timeout
        try:
            call = next(plan)
            while True:
                call = plan.send(await self._ask(call, deadline))
        except StopIteration as end:
            return end.value

    async def _ask(self, call, deadline):
        tries = 0
        while True:
            try:
                return await self._line.asend(call, self._left(deadline))
            except ClientError as error:
                wait = self._wait(error, tries, deadline)
            await asyncio.sleep(wait)
            tries += 1

    async def close(self) -> None:
        """Ends its connections."""
        await self._line.close()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _given(values):
    return {name: value for name, value in values.items() if value is not None}
