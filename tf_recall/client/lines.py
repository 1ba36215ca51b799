"""Connections: how a request is sent, over HTTP or gRPC, blocking or not."""

import contextlib
from collections.abc import Iterator
from typing import Any

import grpc
import httpx

import tf_recall.client.rest as rest
import tf_recall.client.rpc as rpc

LARGEST = 64 * 2**20  # bytes of a reply
SERVING = "/tensorflow.serving"


class HttpLine:
    """REST with httpx.

    Args:
        url: of the server.
        key: an API key, or None.
        verify: what httpx takes: True, or a context of TLS.
        kind: `httpx.Client` or `httpx.AsyncClient`.
    """

    def __init__(self, url: str, key: str | None, verify: Any, kind: type):
        self._url, self._key = url, key
        self._client = kind(base_url=url, verify=verify)

    def send(self, call: rest.Get, seconds: float) -> Any:
        """The reply to a call.

        Raises:
            ClientError: there is none, or a refusal.
        """
        with self._told():
            return rest.reply(self._client.request(**rest.request(call, self._key, seconds)))

    async def asend(self, call: rest.Get, seconds: float) -> Any:
        """The same without blocking."""
        with self._told():
            return rest.reply(await self._client.request(**rest.request(call, self._key, seconds)))

    def close(self) -> Any:
        """Ends the connections; of an asynchronous one it gives what is to be awaited."""
        is_async = isinstance(self._client, httpx.AsyncClient)
        return self._client.aclose() if is_async else self._client.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            raise rest.failure(error, self._url) from error


class GrpcLine:
    """gRPC.

    Args:
        target: host and port.
        key: an API key, or None.
        credentials: of TLS, or None.
        module: `grpc` or `grpc.aio`.
    """

    def __init__(
        self, target: str, key: str | None, credentials: grpc.ChannelCredentials | None, module: Any
    ):
        self._target, self._key = target, key
        options = [("grpc.max_receive_message_length", LARGEST), ("grpc.enable_retries", 0)]
        if credentials is None:
            self._channel = module.insecure_channel(target, options)
        else:
            self._channel = module.secure_channel(target, credentials, options)

    def send(self, call: rpc.Called, seconds: float) -> Any:
        """The reply to a call.

        Raises:
            ClientError: there is none, or a refusal.
        """
        with self._told():
            return self._start(call, seconds)

    async def asend(self, call: rpc.Called, seconds: float) -> Any:
        """The same without blocking."""
        with self._told():
            return await self._start(call, seconds)

    def close(self) -> Any:
        """Ends the connection; of an asynchronous one it gives what is to be awaited."""
        return self._channel.close()

    def _start(self, call, seconds):
        method = self._channel.unary_unary(
            f"{SERVING}.{call.method}",
            request_serializer=type(call.request).SerializeToString,
            response_deserializer=call.reply.FromString,
        )
        return method(call.request, timeout=seconds, metadata=rpc.metadata(self._key))

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            raise rpc.failure(error, self._target) from error
