"""Live stores that models answer from, kept up to date as new items are pushed."""

import functools
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

import numpy as np
import tensorflow as tf

from tf_recall.data.errors import one_line
from tf_recall.data.ids import MISSING
from tf_recall.serving.batching import Batcher
from tf_recall.serving.endpoint import Endpoint, decoded, encoded
from tf_recall.serving.limits import Limits
from tf_recall.stores.base import Store
from tf_recall.stores.conditions import Where
from tf_recall.stores.places import content_of, open_store

log = logging.getLogger("tf_recall.serving")
K = 100  # items of an answer where nobody says


class StoreEndpoint(Endpoint):
    """A search of a store by vectors, of which a user may have several.

    Args:
        store: what is searched.
        interests: how many vectors a user has.
    """

    takes_k = True

    def __init__(self, store: Store, interests: int = 1):
        kind = tf.as_dtype(store.id_type or "string")
        vector = [store.dim] if interests == 1 else [interests, store.dim]
        inputs = {
            "embedding": tf.TensorSpec([None, *vector], tf.float32),
            "exclude": tf.TensorSpec([None, None], kind),
        }
        outputs = {
            "item_id": tf.TensorSpec([None, K], kind),
            "score": tf.TensorSpec([None, K], tf.float32),
        }
        super().__init__("store", inputs, outputs)
        self.store, self._interests = store, interests

    def answer(
        self, arrays: dict[str, np.ndarray], k: int | None, where: Where | None = None
    ) -> dict[str, np.ndarray]:
        k = K if k is None else k
        queries = arrays["embedding"].reshape(-1, self.store.dim)
        missing = MISSING[self.inputs["exclude"].dtype.name]
        exclude = [row[row != missing] for row in decoded(arrays["exclude"])]
        each = [row for row in exclude for _ in range(self._interests)]
        items, score = self.store.search(queries, k, each, where)
        if self._interests > 1:
            items, score = _merged(items, score, self._interests, k)
        return {"item_id": encoded(items), "score": score}


class LiveStore:
    """The store that one model answers from.

    Args:
        address: as for `open_store`.
        limits: of requests.
        pool: where it is searched.
        observe: as of `Batcher`.

    Raises:
        FileNotFoundError: there is none at the address.
        ImportError, ValueError: as `open_store`.
    """

    def __init__(
        self,
        address: str,
        limits: Limits,
        pool: Executor,
        observe: Callable[[int, int, float], None],
    ):
        self._address = address
        self._content = content_of(address)
        self._store = open_store(address, self._content)
        self._endpoints: dict[int, StoreEndpoint] = {}
        self._batcher = Batcher(limits, pool, observe)
        self._said = ""

    @property
    def export(self) -> str | None:
        """The digest of the export whose vectors it holds."""
        return self._store.export

    def refresh(self) -> None:
        """Opens the items that were pushed since; called in a thread of its own."""
        try:
            content = content_of(self._address)
            if content is None or content == self._content:
                return
            store = open_store(self._address, content)
        except Exception as error:  # what is open goes on answering
            message = one_line(error)
            if message != self._said:
                log.error("store %s could not be opened anew: %s", self._address, message)
            self._said = message
            return
        self._store, self._content, self._said = store, content, ""
        self._endpoints = {}
        log.info("store opened anew", extra={"store": self._address, "content": content})

    async def search(
        self, arrays: dict[str, np.ndarray], k: int, where: Where | None, timeout: float
    ) -> dict[str, np.ndarray]:
        """The k best items of a user.

        Args:
            arrays: `embedding` and `exclude`, one row.
            k: how many.
            where: conditions on the store's columns.
            timeout: seconds until nobody waits any more.

        Raises:
            Refusal: the queue is full, the time is over, or the store refuses.
        """
        embedding = arrays["embedding"]
        interests = embedding.shape[1] if embedding.ndim == 3 else 1
        endpoint = self._endpoints.get(interests)
        if endpoint is None:
            endpoint = self._endpoints[interests] = StoreEndpoint(self._store, interests)
        if where:
            search = functools.partial(endpoint.answer, arrays, k, where)
            return await self._batcher.run(search, timeout)
        return await self._batcher.ask(endpoint, arrays, timeout, k)


def _merged(items: np.ndarray, score: np.ndarray, count: int, k: int) -> tuple[Any, Any]:
    """Of each `count` rows one: the best k items, each once, with its highest score."""
    found = np.full((len(items) // count, k), MISSING["string"], items.dtype)
    if items.dtype != object:
        found[:] = MISSING["int64"]
    best = np.full(found.shape, -np.inf, np.float32)
    for line in range(len(found)):
        at = slice(line * count, (line + 1) * count)
        rows, scores = items[at].ravel(), score[at].ravel()
        order = np.argsort(-scores, kind="stable")
        _, first = np.unique(rows[order], return_index=True)
        order = order[np.sort(first)][:k]
        order = order[scores[order] > -np.inf]
        found[line, : len(order)] = rows[order]
        best[line, : len(order)] = scores[order]
    return found, best
