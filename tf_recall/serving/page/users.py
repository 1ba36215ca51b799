"""The users of a version: a search among them, and what one did."""

import datetime
import threading
import weakref
from typing import Any

import pyarrow as pa

from tf_recall.recommend.base import Recommender
from tf_recall.serving.items import Items, Texts
from tf_recall.serving.refusal import invalid
from tf_recall.serving.servable import Servable

EVENTS = 100  # of a history, the latest


class Users:
    """The users of a server's versions, by id."""

    def __init__(self):
        self._lock = threading.Lock()
        self._texts: weakref.WeakKeyDictionary[Servable, Texts] = weakref.WeakKeyDictionary()

    def find(self, servable: Servable, text: str, most: int) -> dict[str, Any]:
        """The users whose id holds a text, those who did most first.

        An export without its users has none: `known` is false.
        """
        catalog = servable.recommender.catalog
        if catalog is None:
            return {"known": False, "total": 0, "found": []}
        rows, total = self._texts_of(servable, catalog).find(text, most)
        ids, counts = catalog.users.ids[rows], catalog.users.counts[rows + 1]
        pairs = zip(ids.tolist(), counts.tolist(), strict=True)
        return {
            "known": True,
            "total": total,
            "found": [{"id": each, "events": count} for each, count in pairs],
        }

    def _texts_of(self, servable, catalog):
        with self._lock:
            if servable not in self._texts:
                self._texts[servable] = Texts([pa.array(catalog.users.ids)])
            return self._texts[servable]


def history(recommender: Recommender, items: Items, text: str) -> dict[str, Any]:
    """What a user did, the latest first, as far as the export knows it."""
    user = parsed(text, recommender.id_types["user_id"], "user")
    catalog = recommender.catalog
    if catalog is None:
        return {"id": user, "known": None, "total": 0, "events": []}
    row = int(catalog.users.encode([user])[0])
    own = catalog.histories.of(row)
    latest = own[-EVENTS:][::-1]
    ids = catalog.items.decode(latest)
    events = [
        {"item_id": each, "title": title}
        for each, title in zip(ids.tolist(), items.titles(ids), strict=True)
    ]
    if catalog.histories.times is not None:
        begin, end = catalog.histories.offsets[row : row + 2]
        times = catalog.histories.times[begin:end][-EVENTS:][::-1]
        for event, time in zip(events, times.tolist(), strict=True):
            event["day"] = _day(time)
    return {"id": user, "known": row > 0, "total": len(own), "events": events}


def parsed(text: str, kind: str, what: str) -> str | int:
    """An id as the model has it, of the text that somebody typed.

    Raises:
        Refusal: the model's ids are whole numbers, and this is none.
    """
    if kind != "int64":
        return text
    try:
        number = int(text)
    except ValueError:
        number = 2**63
    if not -(2**63) <= number < 2**63:
        raise invalid(f"the ids of {what}s are whole numbers here; got {text!r}")
    return number


def _day(seconds):
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d")
    except (ValueError, OverflowError, OSError):
        return None
