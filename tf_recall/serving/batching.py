"""Requests of many clients, joined into one call of a model."""

import asyncio
import functools
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np

from tf_recall.serving.endpoint import Endpoint
from tf_recall.serving.limits import Limits
from tf_recall.serving.refusal import Refusal, refusal_of

LINGER, SHARE = 0.005, 0.1  # seconds, and of the time that the batch before took: until the next
MOST = 0.5  # of that time: until the last


@dataclass(eq=False)
class Job:
    """A request that waits: what it can be joined with, what is called, and who waits for it."""

    key: Any
    call: Callable[[], Any]
    endpoint: Endpoint | None
    arrays: dict[str, np.ndarray]
    k: int | None
    rows: int
    deadline: float
    answer: asyncio.Future


class Batcher:
    """Calls one version, with all requests that have come meanwhile.

    A request is answered at once where the version is idle. While it answers others wait and then
    go together: those of one endpoint whose lists are, filled up, equally wide. Where several ask
    at a time it waits, after an answer, for the same clients to ask again, or they would fall into
    groups that are answered in turn: as long as one comes within a tenth of what the answer took,
    at most 5 ms, after the other, and half of what it took in all. A batch's rows do not touch each
    other; where a joint call fails each request is answered alone, so that a bad one spoils no
    other. It is used from one event loop.

    Args:
        limits: of rows in a batch and in the queue.
        pool: where models are called, one call at a time for each batcher.
        observe: is told of each call: how many requests and rows it answered, and its seconds.
    """

    def __init__(self, limits: Limits, pool: Executor, observe: Callable[[int, int, float], None]):
        self._limits, self._pool, self._observe = limits, pool, observe
        self._groups: dict[Any, deque[Job]] = {}  # by what can be joined, the oldest first
        self._jobs = 0
        self._rows = 0
        self._worker: asyncio.Task | None = None
        self._came = asyncio.Event()
        self._clients, self._took = 1, 0.0  # that the call before found, and its seconds

    @property
    def waiting(self) -> int:
        """How many rows wait."""
        return self._rows

    async def ask(
        self,
        endpoint: Endpoint,
        arrays: dict[str, np.ndarray],
        timeout: float,
        k: int | None = None,
    ) -> dict[str, np.ndarray]:
        """What an endpoint answers.

        Args:
            endpoint: of the version.
            arrays: one for each input, checked.
            timeout: seconds until nobody waits any more.
            k: how many items, where the endpoint `takes_k`.

        Raises:
            Refusal: the queue is full, the time is over, or the model refuses.
        """
        arrays = endpoint.widened(arrays)
        k = k if endpoint.takes_k else None
        widths = (array.shape[1:] for array in arrays.values())
        rows = len(next(iter(arrays.values())))
        call = functools.partial(endpoint.answer, arrays, k)
        return await self._wait(
            (endpoint.name, k, *widths), call, rows, timeout, endpoint, arrays, k
        )

    async def run(self, call: Callable[[], Any], timeout: float) -> Any:
        """What a function answers that needs the version for itself. Errors as of `ask`."""
        return await self._wait(object(), call, 1, timeout)

    async def _wait(self, key, call, rows, timeout, endpoint=None, arrays=None, k=None):
        if self._rows + rows > self._limits.queue:
            raise Refusal(
                "RESOURCE_EXHAUSTED", f"{self._rows} rows wait already: the server is overloaded"
            )
        loop = asyncio.get_running_loop()
        job = Job(key, call, endpoint, arrays, k, rows, loop.time() + timeout, loop.create_future())
        self._groups.setdefault(key, deque()).append(job)
        self._jobs += 1
        self._rows += rows
        self._came.set()
        if self._worker is None:
            self._worker = loop.create_task(self._work())
        try:
            async with asyncio.timeout(timeout):
                return await job.answer
        except TimeoutError:
            raise _late(timeout) from None

    async def _work(self):
        try:
            while self._groups:
                await self._linger()
                if jobs := self._take(asyncio.get_running_loop().time()):
                    await self._answer(jobs)
        finally:
            self._worker = None

    async def _answer(self, jobs):
        loop = asyncio.get_running_loop()
        begun = loop.time()
        answers = await loop.run_in_executor(self._pool, _answers, jobs, self._limits.batch)
        waiting = len(self._groups.get(jobs[0].key, ()))
        self._clients, self._took = len(jobs) + waiting, loop.time() - begun
        self._observe(len(jobs), sum(job.rows for job in jobs), self._took)
        for job, answer in zip(jobs, answers, strict=True):
            if job.answer.done():  # nobody waits any more
                continue
            if isinstance(answer, Exception):
                job.answer.set_exception(answer)
            else:
                job.answer.set_result(answer)
        await asyncio.sleep(0)  # lets those who were answered ask again

    async def _linger(self):
        loop = asyncio.get_running_loop()
        end = loop.time() + MOST * self._took
        while self._jobs < self._clients and self._rows < self._limits.batch:
            self._came.clear()
            try:
                async with asyncio.timeout(min(LINGER, SHARE * self._took, end - loop.time())):
                    await self._came.wait()
            except TimeoutError:
                return

    def _take(self, now):
        """The oldest requests that can be joined, without those that nobody waits for."""
        key = next(iter(self._groups))
        group = self._groups.pop(key)
        taken, rows = [], 0
        while group and (not taken or rows + group[0].rows <= self._limits.batch):
            job = group.popleft()
            self._jobs -= 1
            self._rows -= job.rows
            if not job.answer.done() and job.deadline > now:
                taken.append(job)
                rows += job.rows
        if group:
            self._groups[key] = group  # behind the others
        return taken


def _late(timeout):
    return Refusal("DEADLINE_EXCEEDED", f"no answer within {timeout:.3g} s")


def _answers(jobs, size):
    """An answer or an error for each; of a long request in blocks of `size` rows."""
    if len(jobs) > 1:
        try:
            return _joint(jobs)
        except Exception:  # whose fault it is shows when each is asked alone
            pass
    return [_alone(job, size) for job in jobs]


def _alone(job, size):
    try:
        if job.endpoint is None or job.rows <= size or not job.endpoint.static:
            return job.call()
        return _in_blocks(job, size)
    except Exception as error:
        return refusal_of(error)


def _in_blocks(job, size):
    answers = [
        job.endpoint.answer(
            {name: array[at : at + size] for name, array in job.arrays.items()}, job.k
        )
        for at in range(0, job.rows, size)
    ]
    return {name: np.concatenate([each[name] for each in answers]) for name in answers[0]}


def _joint(jobs):
    first = jobs[0]
    arrays = {name: np.concatenate([job.arrays[name] for job in jobs]) for name in first.arrays}
    answer = first.endpoint.answer(arrays, first.k)
    ends = np.cumsum([job.rows for job in jobs])
    return [
        {name: array[end - job.rows : end] for name, array in answer.items()}
        for job, end in zip(jobs, ends, strict=True)
    ]
