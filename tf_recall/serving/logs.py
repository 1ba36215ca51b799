"""Structured logs: a JSON object in a line, with the id of the request that it belongs to."""

import logging
import sys
from contextvars import ContextVar

from pythonjsonlogger.json import JsonFormatter

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")


class OfRequest(logging.Filter):
    """Adds the request's id to what is logged while it is answered."""

    def filter(self, record: logging.LogRecord) -> bool:
        if own_id := REQUEST_ID.get():
            record.request_id = own_id
        return True


def log_as_json(level: str = "INFO") -> None:
    """Makes all logs of the process lines of JSON on standard error.

    Args:
        level: from which on; requests are logged at INFO.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(OfRequest())
    names = {"levelname": "level", "name": "logger"}
    fields = ["levelname", "name", "message"]
    handler.setFormatter(JsonFormatter(fields, rename_fields=names, timestamp="time"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("tf_recall").setLevel(level)
