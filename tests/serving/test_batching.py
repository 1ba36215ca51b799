"""Requests of many clients in one call: joined, bounded, on time, and apart from each other."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

from tf_recall.serving import batching
from tf_recall.serving.batching import Batcher
from tf_recall.serving.endpoint import Endpoint
from tf_recall.serving.limits import Limits
from tf_recall.serving.refusal import Refusal

INPUTS = {
    "user_id": tf.TensorSpec([None], tf.string),
    "exclude": tf.TensorSpec([None, None], tf.string),
}
OUTPUTS = {"item_id": tf.TensorSpec([None, 1], tf.string)}


class Echo(Endpoint):
    """Answers each user with themselves and what they exclude; notes each call.

    Holds the first call until `go` is set; fails where a user is "bad".
    """

    def __init__(self, outputs=OUTPUTS):
        super().__init__("echo", INPUTS, outputs)
        self.shapes, self.go, self.begun = [], threading.Event(), threading.Event()

    def answer(self, arrays, k):
        self.shapes.append(arrays["exclude"].shape)
        self.begun.set()
        assert self.go.wait(10)
        if b"bad" in arrays["user_id"]:
            raise ValueError("a bad user")
        kept = [b"+".join([each for each in row if each]) for row in arrays["exclude"].tolist()]
        pairs = zip(arrays["user_id"].tolist(), kept, strict=True)
        items = np.empty((len(kept), 1), object)
        items[:, 0] = [user + b":" + rest for user, rest in pairs]
        return {"item_id": items}


def request(user, *excluded, rows=1):
    exclude = np.empty((rows, len(excluded)), object)
    exclude[:] = [each.encode() for each in excluded]
    return {"user_id": np.array([user.encode()] * rows, object), "exclude": exclude}


def asked(endpoint, requests, limits=None, timeouts=None):
    """The answers to requests of which the first is answered before the others can be.

    Answers are items, or the refusal.
    """
    observed = []

    async def ask(batcher, arrays, timeout):
        try:
            outputs = await batcher.ask(endpoint, arrays, timeout)
            return [item.decode() for item in outputs["item_id"][:, 0]]
        except Refusal as error:
            return error

    async def all_of_them():
        with ThreadPoolExecutor(2) as pool:
            batcher = Batcher(limits or Limits(), pool, lambda *told: observed.append(told[:2]))
            times = timeouts or [5.0] * len(requests)
            pairs = list(zip(requests, times, strict=True))
            first = asyncio.create_task(ask(batcher, *pairs[0]))
            await asyncio.to_thread(endpoint.begun.wait, 10)
            rest = [asyncio.create_task(ask(batcher, *pair)) for pair in pairs[1:]]
            await asyncio.sleep(0.1)
            endpoint.go.set()
            answers = await asyncio.gather(first, *rest)
            assert batcher.waiting == 0
            return answers

    return asyncio.run(all_of_them()), observed


def test_what_comes_meanwhile_is_joined_and_each_gets_its_own():
    endpoint = Echo()
    requests = [request(f"u{at}", *"abcdefghijk"[: at % 3]) for at in range(20)]
    answers, observed = asked(endpoint, requests)
    assert answers == [[f"u{at}:{'+'.join('ab'[: at % 3])}"] for at in range(20)]
    # the first alone; then those without a list, and those with one or two filled up to 8
    assert endpoint.shapes[0] == (1, 0) and sorted(endpoint.shapes[1:]) == [(6, 0), (13, 8)]
    assert sorted(observed) == [(1, 1), (6, 6), (13, 13)]


def test_rows_of_a_request_stay_together_and_batches_are_bounded():
    endpoint = Echo()
    requests = [request("u0")] + [request(f"u{at}", "a", rows=3) for at in range(1, 9)]
    answers, _ = asked(endpoint, requests, Limits(batch=8))
    assert answers[1:] == [[f"u{at}:a"] * 3 for at in range(1, 9)]
    assert [shape[0] for shape in endpoint.shapes] == [1, 6, 6, 6, 6]


def test_clients_who_ask_again_do_not_fall_into_groups(monkeypatch):
    """One comes first, three while it is answered: from then on all four are answered together."""
    monkeypatch.setattr(batching, "LINGER", 10)
    monkeypatch.setattr(batching, "SHARE", 1000)
    monkeypatch.setattr(batching, "MOST", 1000)
    endpoint = Echo()

    async def client(batcher, user, count):
        for _ in range(count):
            await batcher.ask(endpoint, request(user), 20)
            await asyncio.sleep(0.01)  # on its way

    async def all_of_them():
        with ThreadPoolExecutor(2) as pool:
            batcher = Batcher(Limits(), pool, lambda *told: None)
            first = asyncio.create_task(client(batcher, "u0", 4))
            await asyncio.to_thread(endpoint.begun.wait, 10)
            others = [asyncio.create_task(client(batcher, f"u{at}", 3)) for at in range(1, 4)]
            await asyncio.sleep(0.1)
            endpoint.go.set()
            await asyncio.gather(first, *others)

    asyncio.run(all_of_them())
    assert [rows for rows, _ in endpoint.shapes] == [1, 4, 4, 4]


def test_a_long_request_is_answered_in_blocks():
    endpoint = Echo()
    answers, _ = asked(endpoint, [request("u", "a", rows=20)], Limits(batch=8))
    assert answers == [["u:a"] * 20]
    assert [shape[0] for shape in endpoint.shapes] == [8, 8, 4]


def test_an_answer_as_wide_as_a_list_is_not_widened():
    endpoint = Echo({**OUTPUTS, "weight": tf.TensorSpec([None, None], tf.float32)})
    asked(endpoint, [request("u0"), request("u1", "a", "b", "c")])
    assert endpoint.shapes == [(1, 0), (1, 3)]


def test_a_bad_request_spoils_no_other():
    requests = [request(user) for user in ("u0", "u1", "bad", "u3")]
    answers, _ = asked(Echo(), requests)
    bad = answers.pop(2)
    assert answers == [["u0:"], ["u1:"], ["u3:"]]
    assert isinstance(bad, Refusal) and bad.status == 400 and str(bad) == "a bad user"


def test_beyond_the_queue_requests_are_refused_at_once():
    limits = Limits(rows=4, queue=4, batch=4)
    requests = [request(f"u{at}", rows=2) for at in range(5)]
    answers, _ = asked(Echo(), requests, limits)
    # the first is being answered, two more wait with four rows
    assert [isinstance(answer, Refusal) for answer in answers] == [False] * 3 + [True] * 2
    assert answers[3].code == "RESOURCE_EXHAUSTED" and answers[3].status == 503


def test_a_request_that_is_too_late_is_not_computed():
    endpoint = Echo()
    requests = [request("u0"), request("u1"), request("u2")]
    answers, _ = asked(endpoint, requests, timeouts=[5.0, 0.02, 5.0])
    assert answers[0] == ["u0:"] and answers[2] == ["u2:"]
    assert answers[1].code == "DEADLINE_EXCEEDED" and answers[1].status == 504
    assert endpoint.shapes == [(1, 0), (1, 0)]


def test_what_needs_the_version_alone_waits_its_turn():
    async def run():
        with ThreadPoolExecutor(2) as pool:
            batcher = Batcher(Limits(), pool, lambda *told: None)
            results = await asyncio.gather(*(batcher.run(lambda at=at: at, 5) for at in range(5)))
            with pytest.raises(Refusal) as error:
                await batcher.run(lambda: 1 / 0, 5)
            return results, error.value.code

    assert asyncio.run(run()) == ([0, 1, 2, 3, 4], "INTERNAL")
