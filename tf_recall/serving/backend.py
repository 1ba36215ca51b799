"""What REST and gRPC share: from a request's arrays to an answer, and from a body to a reply."""

import asyncio
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from tensorflow_serving.apis import get_model_metadata_pb2, model_pb2

from tf_recall.experiments.plan import Plan
from tf_recall.serving.arrays import check
from tf_recall.serving.endpoint import Endpoint
from tf_recall.serving.items import Items
from tf_recall.serving.limits import Limits
from tf_recall.serving.metrics import Metrics
from tf_recall.serving.models import Models
from tf_recall.serving.refusal import invalid
from tf_recall.serving.servable import DEFAULT, Servable, endpoint_of
from tf_recall.serving.sources import Sources

LARGEST = 2**63 - 1  # of a version
LONG = 2**16  # bytes from which on a request is read aside, so that others need not wait
T = TypeVar("T")


@dataclass(frozen=True)
class Asked:
    """Which model a request is for: the newest version, or one by number or label."""

    name: str
    version: int | None = None
    label: str | None = None

    def __post_init__(self):
        if self.version is not None and self.version > LARGEST:
            raise invalid(f"Failed to convert version: {self.version} to numeric.")


@dataclass(frozen=True)
class Answer:
    """Outputs by name, and what gave them."""

    spec: model_pb2.ModelSpec
    endpoint: Endpoint
    outputs: dict[str, np.ndarray]


class Backend:
    """Answers requests, whatever brought them.

    Args:
        models: what is served.
        limits: of requests.
        metrics: are told of answers.
        pool: for what would hold up the event loop.
        sources: what answers users beside the models.
        table: what is known of items, for exports that bring no table of their own.
        plan: the experiments that `/recommend` and `/similar` obey; None: there are none.

    Attributes:
        ready: whether it takes requests; False before models are loaded and once it stops.
    """

    def __init__(
        self,
        models: Models,
        limits: Limits,
        metrics: Metrics,
        pool: ThreadPoolExecutor,
        sources: Sources,
        table: pa.Table | None = None,
        plan: Plan | None = None,
    ):
        self.models, self.limits, self.metrics, self.pool = models, limits, metrics, pool
        self.sources, self.plan = sources, plan
        self.ready = False
        self._table, self._lock = table, threading.Lock()
        self._items: weakref.WeakKeyDictionary[Servable, Items] = weakref.WeakKeyDictionary()

    def items_of(self, servable: Servable) -> Items:
        """The items of a version by title; made once for each, and gone with it."""
        with self._lock:
            if servable not in self._items:
                table = self._table if servable.table is None else servable.table
                self._items[servable] = Items(servable.recommender, table)
            return self._items[servable]

    async def predict(
        self,
        asked: Asked,
        signature: str,
        arrays_of: Callable[[Endpoint], dict[str, np.ndarray]],
        timeout: float | None = None,
        size: int = 0,
    ) -> Answer:
        """An endpoint's answer.

        Args:
            asked: which version.
            signature: which of its endpoints; "" for the default one.
            arrays_of: makes the endpoint's inputs of the request.
            timeout: seconds that the client waits; None: as long as the server lets it.
            size: bytes of the request.

        Raises:
            Refusal: there is no such model, version or signature; another request than the endpoint
                takes; too large, too late, or one too many.
        """
        timeout = self.timeout(timeout)
        with self.models.lease(asked.name, asked.version, asked.label) as servable:
            endpoint = endpoint_of(servable, signature or DEFAULT)
            arrays = await self.aside(size, arrays_of, endpoint)
            check(endpoint, arrays, self.limits)
            outputs = await servable.batcher.ask(endpoint, arrays, timeout)
        declared = {name: outputs[name] for name in endpoint.outputs}
        return Answer(_spec(servable, endpoint.name), endpoint, declared)

    def metadata(self, asked: Asked) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """The signatures of a version.

        Raises:
            Refusal: there is no such model or version.
        """
        with self.models.lease(asked.name, asked.version, asked.label) as servable:
            signatures = get_model_metadata_pb2.SignatureDefMap()
            for name, signature in servable.signature_defs.items():
                signatures.signature_def[name].CopyFrom(signature)
            answer = get_model_metadata_pb2.GetModelMetadataResponse()
            answer.model_spec.CopyFrom(_spec(servable, ""))
            answer.metadata["signature_def"].Pack(signatures)
            return answer

    def timeout(self, wanted: float | None) -> float:
        """The seconds that a request may take: what its client says, within the server's own."""
        return self.limits.timeout if wanted is None else min(wanted, self.limits.timeout)

    async def aside(self, size: int, function: Callable[..., T], *arguments: Any) -> T:
        """What a function gives, called in a thread where the request is long."""
        if size < LONG:
            return function(*arguments)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.pool, function, *arguments)

    async def away(self, function: Callable[..., T], *arguments: Any) -> T:
        """What a function gives, called in a thread of another kind: no model waits for it."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, function, *arguments)


def _spec(servable, signature):
    spec = model_pb2.ModelSpec(name=servable.name, signature_name=signature)
    spec.version.value = servable.version
    return spec
