"""What goes wrong for a client: one kind of error, and when a request is worth another try."""

import random

FIRST, LONGEST = 0.1, 5.0  # seconds of the first wait, before chance cuts it, and of any


class ClientError(Exception):
    """A request that was not answered.

    Args:
        message: why, in one line: the server's own words where it said any.
        status: the status of HTTP, or the one that goes with a status of gRPC; 503 where the server
            was not reached, 504 where it was too late.
        again: whether the same request may be answered a moment later.
        wait: seconds that the server asks to wait before.
    """

    def __init__(self, message: str, status: int, again: bool = False, wait: float = 0.0):
        super().__init__(message)
        self.message, self.status, self.again, self.wait = message, status, again, wait

    def __str__(self) -> str:
        return f"{self.message} (status {self.status})"


def wait_before(tries: int, asked: float, chance: random.Random) -> float:
    """Seconds to wait before another try: twice as long each time, and by chance down to none.

    So clients that failed together do not come back together.

    Args:
        tries: how many there were.
        asked: what the server asks for, at least.
        chance: draws.
    """
    return max(asked, chance.uniform(0, min(LONGEST, FIRST * 2**tries)))
