"""What a server refuses: a code of gRPC, the HTTP status that goes with it, and a sentence."""

import tensorflow as tf

from tf_recall.data.errors import one_line

LONGEST = 500  # letters of an error that comes from elsewhere
STATUS = {  # as TensorFlow Serving's REST has them
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "NOT_FOUND": 404,
    "UNIMPLEMENTED": 501,
    "RESOURCE_EXHAUSTED": 503,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
    "INTERNAL": 500,
}


class Refusal(Exception):
    """A request that is not answered.

    Args:
        code: a name of `grpc.StatusCode`, one of `STATUS`.
        message: why, in one line.
    """

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code

    @property
    def status(self) -> int:
        """The status of HTTP."""
        return STATUS[self.code]


def invalid(message: str) -> Refusal:
    """The refusal of a request that is wrong in itself."""
    return Refusal("INVALID_ARGUMENT", message)


def refusal_of(error: Exception) -> Refusal:
    """What a model raised: the request's fault where its kind says so, else the server's."""
    if isinstance(error, Refusal):
        return error
    message = one_line(error)[:LONGEST]
    if isinstance(error, (ValueError, TypeError, tf.errors.InvalidArgumentError)):
        return invalid(message)
    return Refusal("INTERNAL", f"the model failed: {message}")
