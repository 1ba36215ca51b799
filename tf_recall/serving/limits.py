"""What a server takes at most, so that no request can use it up."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The largest sizes and longest times.

    Args:
        body: bytes of a request.
        rows: users, or items, that one request asks for.
        ids: ids in one list of a request.
        k: items in an answer to `/recommend` and `/similar`, and of a merge.
        batch: rows that one call of a model answers; longer requests are answered in blocks.
        queue: rows that wait for a version; beyond it requests are refused.
        connections: requests and connections at a time, for each of REST and gRPC.
        timeout: seconds until a request is given up, where the client does not say.
        reading: seconds in which a request must have come in, and in which a client that is silent
            is let go.
        stopping: seconds that requests have to end when the server stops.

    Raises:
        ValueError: a limit below 1, or of the queue below that of a request.
    """

    body: int = 4 * 2**20
    rows: int = 1024
    ids: int = 10_000
    k: int = 1000
    batch: int = 64
    queue: int = 4096
    connections: int = 1000
    timeout: float = 10.0
    reading: float = 10.0
    stopping: float = 30.0

    def __post_init__(self):
        for name, value in vars(self).items():
            least = 0 if isinstance(value, float) else 1
            if not value >= least:
                raise ValueError(f"the limit {name} must be at least {least}; got {value}")
        if self.queue < self.rows:
            raise ValueError(
                f"the queue must hold a request of {self.rows} rows; its limit is {self.queue}"
            )
