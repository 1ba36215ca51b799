"""Lists and vectors of Redis, and live stores: each answers where it holds, else the model does."""

import time

import httpx
import numpy as np
import pandas as pd
import pytest

from tf_recall.export.load import load
from tf_recall.export.write import save
from tf_recall.lists.redis_load import to_redis
from tf_recall.lists.redis_store import connect
from tf_recall.lists.redis_vectors import vectors_to_redis
from tf_recall.lists.write import write_lists
from tf_recall.serving import redis_values
from tf_recall.stores import push as pushing
from tf_recall.stores.places import open_store

USERS = ["u1", "u2"]


def client_of(server):
    """A client without encryption: to read all certificates of the machine takes longest."""
    return httpx.Client(base_url=server.rest, timeout=30, verify=False)


@pytest.fixture(scope="module")
def export(exports):
    """The one model that is asked here."""
    return exports / "two_tower"


def ask(server, **wanted):
    with client_of(server) as client:
        answer = client.post("/recommend", json={"model": "two_tower", **wanted})
        return answer.status_code, answer.json()


def items(answer):
    return [each["item_id"] for each in answer[1]["items"]]


def count(server, name, **labels):
    """A counter of the server, 0 where it was never counted."""
    with client_of(server) as client:
        text = client.get("/metrics").text
    for line in text.splitlines():
        if line.startswith(f"tf_recall_{name}_total{{") and all(
            f'{label}="{value}"' in line for label, value in labels.items()
        ):
            return float(line.split()[-1])
    return 0


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A busy machine is not an absent Redis."""
    monkeypatch.setattr(redis_values, "PATIENCE", 10.0)


@pytest.fixture
def backwards(export, tmp_path):
    """`backwards(exclude_seen)`: a file of lists of the export, each of which is turned round, so
    that one sees where an answer is from.
    """
    served = load(export)

    class Backwards:
        identity, export, sources = served.identity, served.export, ()

        def recommend_sources(self, ids, k, exclude_seen):
            found, score = served.recommend(ids, k, exclude_seen=exclude_seen)
            count = (score > -np.inf).sum(axis=1, keepdims=True)
            order = np.arange(k) + np.zeros_like(count)
            order = np.where(order < count, count - 1 - order, order)
            turned = np.take_along_axis(found, order, axis=1)
            return turned, score, np.zeros((*score.shape, 0), np.int32)

    def write(exclude_seen=False, users=USERS, k=4):
        return write_lists(Backwards(), users, tmp_path / "lists.parquet", k, exclude_seen)

    return write


def test_a_list_answers_whoever_brings_nothing_but_an_id(run_server, export, url, backwards):
    to_redis(backwards(users=["u1"]), url, "two_tower")
    with run_server(export, redis=url) as server:
        plain = {"user_id": "u1", "exclude_seen": False}
        listed = ask(server, **plain, k=3)
        assert listed[1]["source"] == "list"
        best = load(export).recommend(["u1"], 4)[0][0].tolist()
        assert items(listed) == best[::-1][:3]
        assert items(ask(server, **plain, k=3, exclude=[best[2], "nothing"])) == [
            best[3],
            best[1],
            best[0],
        ]
        for given, reason in (
            ({"user_id": "u2", "exclude_seen": False}, "absent"),
            ({"user_id": "u1", "exclude_seen": True}, "other_form"),
            ({**plain, "k": 4, "exclude": [best[0]]}, "too_short"),
            ({**plain, "context": {"device": "desk"}}, None),
            ({**plain, "allow": best[:2]}, None),
        ):
            before = count(server, "fallbacks", source="list", reason=reason or "")
            answer = ask(server, **given)
            assert answer[1]["source"] == "model"
            if reason:
                assert count(server, "fallbacks", source="list", reason=reason) == before + 1
        assert count(server, "answers", source="list") == 2


@pytest.mark.slow
def test_a_list_of_another_version_is_passed_over(
    run_server, export, url, backwards, tmp_path, make_service
):
    to_redis(backwards(), url, "two_tower")
    model, service = make_service()
    save(service, tmp_path / "two_tower", model=model)  # the same weights, another export
    with run_server(tmp_path, redis=url) as server:
        assert ask(server, user_id="u1", exclude_seen=False)[1]["source"] == "model"
        assert count(server, "fallbacks", source="list", reason="other_version") == 1


def test_a_vector_answers_as_the_user_whose_it_is(run_server, export, url):
    served = load(export)

    class Swapped(type(served)):
        """Gives each of the two users the other's vector, so that one sees whose it is."""

        def __init__(self):
            self.__dict__.update(vars(served))

        def embed_query(self, ids):
            return served.embed_query([USERS[1 - USERS.index(each)] for each in ids])

    vectors_to_redis(Swapped(), USERS, url, "two_tower")
    with run_server(export, redis=url) as server:
        answer = ask(server, user_id="u1", exclude_seen=False)
        assert answer[1]["source"] == "vector"
        assert items(answer) == served.recommend(["u2"], 6)[0][0].tolist()
        answer = ask(server, user_id="u1")  # what u1 saw, not u2
        catalog = served.catalog
        seen = set(catalog.items.decode(catalog.seen.of(catalog.users.encode(["u1"])[0])))
        assert answer[1]["source"] == "vector" and not seen & set(items(answer))
        assert ask(server, user_id="u1", history=["i1"])[0] == 400  # it takes none
        answer = ask(server, user_id="u1", context={"device": "desk"})
        assert answer[1]["source"] == "model"


def test_an_absent_redis_costs_nothing_but_its_answers(run_server, export, free_ports):
    (port,) = free_ports(1)
    with run_server(export, redis=f"redis://127.0.0.1:{port}/0") as server:
        for _ in range(3):
            status, answer = ask(server, user_id="u1")
            assert (status, answer["source"]) == (200, "model")
        assert count(server, "fallbacks", source="vector", reason="unreachable") == 3


@pytest.mark.slow
def test_a_redis_that_comes_back_answers_again(run_server, export, url, backwards, monkeypatch):
    monkeypatch.setattr(redis_values, "PATIENCE", 0.3)
    to_redis(backwards(k=6), url, "two_tower")
    plain = {"user_id": "u1", "exclude_seen": False}

    def wait_for(source):
        deadline = time.monotonic() + 30
        while ask(server, **plain)[1]["source"] != source:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    with run_server(export, redis=url) as server:
        wait_for("list")
        connect(url).execute_command("CLIENT", "PAUSE", "3000", "ALL")
        assert ask(server, **plain)[1]["source"] == "model"
        wait_for("list")
        connect(url).flushall()
        wait_for("model")


@pytest.fixture
def store(export, tmp_path):
    """The address of a store of the export's items, each with whether its number is even."""
    pytest.importorskip("faiss")
    address = f"faiss-flat:{tmp_path / 'store'}"
    ids = [f"i{at}" for at in range(10)]
    pd.DataFrame({"item_id": ids, "even": [at % 2 == 0 for at in range(10)]}).to_csv(
        tmp_path / "items.csv", index=False
    )
    pushing.push(export, address, tmp_path / "items.csv")
    return address


def test_a_store_answers_as_the_model_and_is_narrowed(run_server, export, store):
    served = load(export)
    with run_server(export, stores={"two_tower": store}) as server:
        for given in ({}, {"exclude_seen": False, "exclude": ["i3"]}, {"context": {"age": 44}}):
            answer = ask(server, user_id="u1", **given)
            lists = {"exclude_seen": True, **given}
            expected = served.recommend(["u1"], 6, **lists.pop("context", {}), **lists)
            kept = expected[1][0] > -np.inf
            assert answer[1]["source"] == "store"
            assert items(answer) == expected[0][0][kept].tolist()
            np.testing.assert_allclose(
                [each["score"] for each in answer[1]["items"]], expected[1][0][kept], rtol=1e-5
            )
        even = ask(server, user_id="u1", exclude_seen=False, where={"even": True})
        assert sorted(items(even)) == ["i0", "i2", "i4", "i6", "i8"]
        assert ask(server, user_id="u1", where={"colour": "red"})[0] == 400
        status, answer = ask(server, user_id="u1", allow=["i1"])
        assert status == 400 and "narrow it by where" in answer["error"]
        assert ask(server, user_id="u1", channel="popular", where={"even": True})[0] == 400


def test_what_is_pushed_and_what_is_gone(run_server, export, store, tmp_path, make_service):
    place = tmp_path / "models" / "two_tower"
    model, service = make_service()
    first = save(service, place, model=model)
    pushing.push(first, store)
    with run_server(place.parent, stores={"two_tower": store}) as server:
        plain = {"user_id": "u1", "exclude_seen": False}
        assert ask(server, **plain)[1]["source"] == "store"
        live = open_store(store)
        live.delete(["i0", "i1", "i2"])
        live.upsert(["new"], service.embed_query(["u1"]))
        live.save(tmp_path / "store" / "9")
        deadline = time.monotonic() + 30
        while "new" not in items(ask(server, **plain)) and time.monotonic() < deadline:
            time.sleep(0.05)
        answer = ask(server, **plain, explain=True)
        assert items(answer)[0] == "new" and not {"i0", "i1", "i2"} & set(items(answer))
        assert "why" in answer[1]["items"][1] and answer[1]["items"][0]["why"] == []
        second = save(service, place, model=model)  # another version, and its items are not there
        while ask(server, **plain)[1]["version"] != 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert ask(server, **plain)[1]["source"] == "model"
        status, answer = ask(server, **plain, where={"even": True})
        assert status == 503 and "another version" in answer["error"]
        pushing.push(second, store)
        while ask(server, **plain)[1]["source"] != "store" and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(items(ask(server, **plain))) == 6


def test_without_a_store_where_is_refused(http):
    asked = {"model": "two_tower", "user_id": "u1", "where": {"a": 1}}
    answer = http.post("/recommend", json=asked)
    assert answer.status_code == 400 and "answers from none" in answer.json()["error"]


def test_what_cannot_be_is_said_before_it_serves(run_server, export, store, tmp_path):
    for stores, says in (
        ({"two_tower": f"faiss-flat:{tmp_path / 'nowhere'}"}, "there is no store"),
        ({"other": store}, "'other', which is not served"),
    ):
        raises = pytest.raises((ValueError, FileNotFoundError), match=says)
        with raises, run_server(export, stores=stores):
            pass
    with pytest.raises(ValueError, match="no address of"), run_server(export, redis="localhost"):
        pass
