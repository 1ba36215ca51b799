"""Precomputed lists from Redis."""

import contextlib
import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from tf_recall.data.catalog import Catalog
from tf_recall.lists.base import Form, PrecomputedLists, empty_lists
from tf_recall.recommend.request import check_k

if TYPE_CHECKING:
    import redis


class StoredLists(PrecomputedLists):
    """Lists that `to_redis` loaded; a load in the meantime is noticed with the next request.

    A request is one round trip, and all of its answers are of one version.

    Args:
        url, name: as for `to_redis`.
        catalog: gives the items' rows, for `recommend_rows`.

    Attributes:
        form: what the lists are of, at the last request.

    Raises:
        ImportError: redis is not installed.
        OSError: the server is not reached, or refuses; from a request too.
        ValueError: there are no lists of this name, or they are of the other kind, or of another
            catalog's items.
    """

    def __init__(self, url: str, name: str, catalog: Catalog | None = None):
        super().__init__(catalog)
        self._client, self._url, self._name = connect(url), url, name
        with translated(url):
            self._take(self._client.get(f"{name}:current"))

    def _take(self, pointer):
        found = current(pointer, self._name, self._url)
        if found is None:
            raise ValueError(
                f"there are no lists {self._name!r} in Redis at {masked(self._url)}: load them "
                "with to_redis, or again where they had a ttl"
            )
        version, form = found[0], form_of(found[1], self._name, self._url)
        self._check(form, f"{self._name!r} in Redis at {masked(self._url)}", self.catalog)
        self._pointer, self._version, self.form = pointer, version, form

    def knows(self, key: str, ids: np.ndarray) -> np.ndarray | None:
        """As `Recommender.knows`; whom lists are for is known by having one."""
        if key != self.key:
            return super().knows(key, ids)
        return np.array([text is not None for text in self._texts(ids)], bool)

    def _best(self, ids, k):
        texts = self._texts(ids)
        check_k(k, self.k_max)  # other lists may have come
        return self._padded(texts, k)

    def _texts(self, ids):
        """Each id's list as it is stored, None where there is none."""
        one_by_one = ids.tolist()
        if not one_by_one:
            return []
        while True:
            with translated(self._url):
                # one transaction: the version is current as its keys are read
                pipe = self._client.pipeline()
                pipe.get(f"{self._name}:current")
                pipe.mget([f"{self._name}:{self._version}:{one}" for one in one_by_one])
                pointer, texts = pipe.execute()
            if pointer == self._pointer:
                return texts
            self._take(pointer)

    def _padded(self, texts, k):
        items, score = empty_lists(self.form, len(texts), k)
        for row, text in enumerate(texts):
            if text is not None:
                values = json.loads(text)
                count = min(k, len(values["score"]))
                items[row, :count] = values[self.form.column][:k]
                score[row, :count] = values["score"][:k]
        return items, score


class RedisLists(StoredLists):
    """Each user's recommendations; arguments and errors as of `StoredLists`.

    Example:
        >>> to_redis("lists.parquet", "redis://localhost:6379/0", "home", ttl=2 * 24 * 3600)
        >>> item_id, score = RedisLists("redis://localhost:6379/0", "home").recommend(["u17"], k=10)
    """

    key = "user_id"


class RedisItemLists(StoredLists):
    """The items most similar to each item; arguments and errors as of `StoredLists`."""

    key = "item_id"


def connect(url: str) -> "redis.Redis":
    """A client of a server that answers.

    Raises:
        ImportError: redis is not installed.
        ValueError: no address of a Redis server.
        OSError: the server is not reached, or refuses.
    """
    try:
        import redis
    except ImportError as error:
        raise ImportError(
            f"lists in Redis need its client ({error}): pip install 'tf-recall[redis]'"
        ) from error
    try:
        client = redis.Redis.from_url(url, socket_connect_timeout=5)
    except ValueError:  # its text may hold a part of the password
        raise ValueError(
            f"{masked(url)} is no address of Redis, such as redis://localhost:6379/0"
        ) from None
    with translated(url):
        client.ping()
    return client


def masked(url: str) -> str:
    """An address without user, password and options."""
    address, _, options = url.partition("?")
    if "@" in options:  # it may end a password with a question mark
        return re.sub(r"//.*", "//***", address)
    return re.sub(r"//.*@", "//***@", address)


@contextlib.contextmanager
def translated(url: str) -> Iterator[None]:
    """Redis's errors as OSError, with the server's address."""
    from redis import RedisError

    try:
        yield
    except RedisError as error:
        raise OSError(f"Redis at {masked(url)}: {error}") from error


def current(pointer: str | bytes | None, name: str, url: str) -> tuple[str, dict] | None:
    """The version that `<name>:current` holds, and what it says of it; None where there is none."""
    if pointer is None:
        return None
    try:
        values = json.loads(pointer)
        values["key"]  # lists and vectors have one
        return str(values.pop("version")), values
    except (ValueError, TypeError, KeyError, AttributeError):
        raise _foreign(name, url) from None


def form_of(values: dict, name: str, url: str) -> Form:
    """The form of lists, of what `current` gave."""
    try:
        return Form(**values)
    except TypeError:
        raise _foreign(name, url) from None


def _foreign(name, url):
    return ValueError(f"{name}:current in Redis at {masked(url)} was not written by to_redis")
