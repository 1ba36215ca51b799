"""What Redis holds of users: lists and vectors that were computed before."""

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Any

from tf_recall.lists.redis_store import current, masked

log = logging.getLogger("tf_recall.serving")
PATIENCE = 0.1  # seconds that a request waits for Redis
PAUSE = 1.0  # seconds for which nobody asks a Redis that did not answer
CONNECTIONS = 32


class Silent(Exception):
    """Redis does not answer, or not in time."""


@dataclass(frozen=True)
class Held:
    """What there is of one id.

    Attributes:
        about: what `<name>:current` says of all values; None where nothing has the name.
        content: the value; None where the id has none.
    """

    about: dict[str, Any] | None
    content: bytes | None


class RedisValues:
    """Values by name and id, as `lists.redis_load` wrote them, read within one event loop.

    A name's version and the value are read at one moment. A Redis that is absent costs one request
    `PATIENCE` seconds, and the others nothing until `PAUSE` seconds later.

    Args:
        url: as for `to_redis`; nothing is asked yet.

    Raises:
        ImportError: redis is not installed.
        ValueError: no address of a Redis server.
    """

    def __init__(self, url: str):
        try:
            import redis.asyncio as client
            from redis.backoff import NoBackoff
        except ImportError as error:
            raise ImportError(
                f"--redis needs its client ({error}): pip install 'tf-recall[redis]'"
            ) from error
        self._errors = (client.RedisError, OSError, TimeoutError, ValueError)
        try:
            pool = client.BlockingConnectionPool.from_url(
                url,
                max_connections=CONNECTIONS,
                timeout=PATIENCE,
                socket_timeout=PATIENCE,
                socket_connect_timeout=PATIENCE,
                retry=client.retry.Retry(NoBackoff(), 0),
            )
        except ValueError:  # its text may hold a part of the password
            raise ValueError(
                f"{masked(url)} is no address of Redis, such as redis://localhost:6379/0"
            ) from None
        self._client, self._url = client.Redis(connection_pool=pool), url
        self._known: dict[str, tuple[bytes | None, str, dict | None]] = {}
        self._silent_until = 0.0

    async def get(self, name: str, one: str | int) -> Held:
        """What there is of an id under a name.

        Raises:
            Silent: Redis does not answer, or what has the name was written by others.
        """
        if time.monotonic() < self._silent_until:
            raise Silent("Redis did not answer just now")
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._get(name, one)
        except self._errors as error:
            self._silent_until = time.monotonic() + PAUSE
            log.warning("Redis at %s: %s", masked(self._url), error or type(error).__name__)
            raise Silent(str(error)) from error

    async def close(self) -> None:
        """Lets go of the connections."""
        await self._client.aclose()

    async def _get(self, name, one):
        while True:
            pointer, version, about = self._known.get(name, (None, "", None))
            pipe = self._client.pipeline(transaction=True)
            pipe.get(f"{name}:current")
            pipe.get(f"{name}:{version}:{one}")
            now, content = await pipe.execute()
            if now is None:
                self._known.pop(name, None)
                return Held(None, None)
            if now == pointer:
                return Held(about, content)
            self._known[name] = (now, *current(now, name, self._url))
