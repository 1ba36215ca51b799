"""Where an answer to a user comes from: a list or vector of Redis, a live store, the model."""

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import numpy as np

from tf_recall.data.ids import MISSING, dtype_of
from tf_recall.lists.base import Form
from tf_recall.lists.redis_vectors import SUFFIX, vector_of
from tf_recall.recommend.request import Request
from tf_recall.recommend.service import BY_VECTOR
from tf_recall.serving.endpoint import encoded
from tf_recall.serving.live import LiveStore
from tf_recall.serving.metrics import Metrics
from tf_recall.serving.redis_values import Held, RedisValues, Silent
from tf_recall.serving.refusal import Refusal, invalid
from tf_recall.serving.servable import DEFAULT, Servable, endpoint_of
from tf_recall.stores.conditions import Where

EMBED = "embed_query"


@dataclass(frozen=True)
class Question:
    """A user's request.

    Attributes:
        servable: the version that answers.
        request: of one user.
        k: how many items.
        timeout: seconds.
        plain: whether it says nothing of the user but the id, so that what was computed of the id
            before holds.
        where: conditions on the columns of a live store.
        restricted: whether it brings a list of the only items to choose among.
    """

    servable: Servable
    request: Request
    k: int
    timeout: float
    plain: bool
    where: Where
    restricted: bool

    @property
    def user(self) -> str | int:
        """The raw id."""
        return self.request.ids[0]

    @property
    def export(self) -> str | None:
        """What tells the version's vectors from others'."""
        return self.servable.recommender.export


class Sources:
    """Answers a user from what was computed before, where it holds, and else from the model.

    In this order: a list of Redis; the user's vector of Redis, or else of the model, searched for
    in the model's live store, or else in its own index. Whatever is absent, does not answer, or is
    of another export is passed over and counted.

    Args:
        metrics: are told.
        redis: lists under the model's name, vectors under `<name>.vectors`.
        stores: by model.
    """

    def __init__(
        self,
        metrics: Metrics,
        redis: RedisValues | None = None,
        stores: dict[str, LiveStore] | None = None,
    ):
        self._metrics, self._redis, self._stores = metrics, redis, stores or {}

    async def answer(self, question: Question) -> tuple[dict[str, np.ndarray], str]:
        """The outputs `item_id` and `score`, and where they come from.

        Raises:
            Refusal: as `Batcher.ask`; a request that the live store does not take, or needs one.
        """
        outputs, source = await self._found(question)
        self._metrics.answers.labels(question.servable.name, source).inc()
        return outputs, source

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Lets go of Redis at the end."""
        try:
            yield
        finally:
            if self._redis is not None:
                await self._redis.close()

    def refresh(self) -> None:
        """Opens what was pushed to stores since; called in a thread of its own."""
        for store in self._stores.values():
            store.refresh()

    async def _found(self, question):
        store = self._store(question)
        listable = question.plain and not question.restricted and store is None
        if listable and (listed := await self._listed(question)) is not None:
            return listed, "list"
        vector = await self._vector(question) if question.plain else None
        if store is not None:
            return await self._searched(store, question, vector), "store"
        if vector is not None and BY_VECTOR in question.servable.endpoints:
            return await self._by_vector(question, vector), "vector"
        servable = question.servable
        arrays = _encoded(question.request.arrays)
        endpoint = endpoint_of(servable, DEFAULT)
        outputs = await servable.batcher.ask(endpoint, arrays, question.timeout, question.k)
        return outputs, "model"

    def _store(self, question):
        """The model's store, where it holds the vectors of this version."""
        name = question.servable.name
        store = self._stores.get(name)
        if store is None and question.where:
            raise invalid(f"where is for live stores, and {name} answers from none")
        if store is None or store.export == question.export:
            if store is not None and question.restricted:
                raise invalid(f"{name} answers from a live store: narrow it by where, not by allow")
            return store
        self._passed_over(question, "store", "other_version")
        if question.where:
            raise Refusal(
                "UNAVAILABLE",
                f"the live store of {name} holds the vectors of another version: fill it by "
                "tf-recall index push",
            )
        return None

    async def _listed(self, question):
        held = await self._held(question, question.servable.name, "list")
        if held is None:
            return None
        form = Form(**held.about)
        wanted = bool(question.request.exclude_seen[0])
        if form.key != "user_id" or form.exclude_seen != wanted:
            return self._passed_over(question, "list", "other_form")
        values = json.loads(held.content)
        missing = MISSING[form.column_type]
        out = set(question.request.arrays.get("exclude", np.zeros((1, 0)))[0].tolist()) - {missing}
        kept = [at for at, item in enumerate(values[form.column]) if item not in out]
        if len(kept) < question.k and len(values[form.column]) == form.k:
            return self._passed_over(question, "list", "too_short")
        kept = kept[: question.k]
        items = np.array([[values[form.column][at] for at in kept]], dtype_of(form.column_type))
        score = np.array([[values["score"][at] for at in kept]], np.float32)
        return {"item_id": encoded(items), "score": score}

    async def _vector(self, question):
        held = await self._held(question, question.servable.name + SUFFIX, "vector")
        return None if held is None else vector_of(held.content, held.about["shape"])

    async def _held(self, question, name, source) -> Held | None:
        """What Redis has of the user, where it is of this version."""
        if self._redis is None:
            return None
        try:
            held = await self._redis.get(name, question.user)
        except Silent:
            return self._passed_over(question, source, "unreachable")
        if held.about is None:  # nobody loaded any
            return None
        if held.about.get("export") != question.export:
            return self._passed_over(question, source, "other_version")
        if held.content is None:
            return self._passed_over(question, source, "absent")
        return held

    async def _searched(self, store, question, vector):
        if vector is None:
            servable = question.servable
            endpoint = endpoint_of(servable, EMBED)
            arrays = {name: question.request.arrays[name] for name in endpoint.inputs}
            asked = servable.batcher.ask(endpoint, _encoded(arrays), question.timeout)
            vector = (await asked)["embedding"]
        exclude = _left_out(question)
        arrays = {"embedding": vector, "exclude": encoded(exclude[None])}
        return await store.search(arrays, question.k, question.where, question.timeout)

    async def _by_vector(self, question, vector):
        servable = question.servable
        endpoint = endpoint_of(servable, BY_VECTOR)
        given = question.request.arrays
        arrays = _encoded({name: given[name] for name in endpoint.inputs if name in given})
        arrays["embedding"] = vector
        return await servable.batcher.ask(endpoint, arrays, question.timeout, question.k)

    def _passed_over(self, question, source, reason) -> None:
        self._metrics.fallbacks.labels(question.servable.name, source, reason).inc()


def _left_out(question):
    """The raw ids of items that a store must leave out: excluded, and seen where that is asked."""
    request, recommender = question.request, question.servable.recommender
    lists = [request.arrays["exclude"][0]] if "exclude" in request.arrays else []
    if request.exclude_seen[0]:
        if recommender.catalog is None:
            raise invalid(
                "exclude_seen needs to know what users saw, and the export was written without its "
                "model: give exclude, and exclude_seen false"
            )
        seen = recommender.catalog.seen.of(int(request.rows[0]))
        lists.append(recommender.catalog.items.decode(seen))
        lists += [request.arrays["history"][0]] if "history" in request.arrays else []
    kind = recommender.id_types["item_id"]
    ids = np.concatenate([np.zeros(0, dtype_of(kind)), *lists])
    return ids[ids != MISSING[kind]]


def _encoded(arrays):
    return {name: encoded(array) for name, array in arrays.items()}
