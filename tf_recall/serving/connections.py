"""Connections whose clients fall silent are let go, so that they use nothing up."""

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol


class Connection(AutoHTTPProtocol):
    """A connection of HTTP as uvicorn has it, ended where its client keeps it waiting.

    It ends where the head of a request does not come, or nothing of an answer is read, for once or
    twice so many seconds. The time of bodies is the `Gate`'s, that between requests uvicorn's own.

    Args:
        seconds: how long to wait.
        given: as uvicorn gives them.
    """

    def __init__(self, *given: Any, seconds: float, **named: Any):
        super().__init__(*given, **named)
        self._seconds = seconds
        self._waits_for: tuple | None = self._awaited()
        self._look_at: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """As asyncio calls it."""
        super().connection_made(transport)
        self._look_at = self.loop.call_later(self._seconds, self._look)

    def connection_lost(self, error: Exception | None) -> None:
        """As asyncio calls it."""
        self._look_at.cancel()
        super().connection_lost(error)

    def _look(self):
        before, self._waits_for = self._waits_for, self._awaited()
        if self._waits_for is not None and self._waits_for == before:
            self.transport.abort()  # closed, it would wait until all is read
        else:
            self._look_at = self.loop.call_later(self._seconds, self._look)

    def _awaited(self):
        """What the client is waited for, which changes as it goes on; None where it is not."""
        request = self.cycle
        if request is None or request.response_complete:
            between_requests = self.timeout_keep_alive_task is not None
            return None if between_requests else ("head", request)
        if self.flow.write_paused:
            return "reading", request, self.transport.get_write_buffer_size()
        return None
