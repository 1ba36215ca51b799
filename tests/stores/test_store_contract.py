"""Every store by one contract: against a dictionary, under threads, over a reload."""

import errno
import os
import threading

import numpy as np
import pandas as pd
import pytest

from tf_recall.stores import FaissFlat, FaissHNSW, FaissIVF, LiveScaNN, Milvus
from tf_recall.stores.places import content_of, fill, open_store

DIM = 8
CLASSES = {"flat": FaissFlat, "hnsw": FaissHNSW, "ivf": FaissIVF, "scann": LiveScaNN}
WHERES = [{}, {"genre": "a"}, {"genre": ["a", "b"], "year": {"min": 20, "max": 60}}]


def make(kind, tmp_path):
    if kind in CLASSES:
        pytest.importorskip("scann" if kind == "scann" else "faiss")
        return CLASSES[kind](DIM)
    pytest.importorskip("milvus_lite")
    return Milvus(DIM, str(tmp_path / "items.db"), "items")


@pytest.fixture(params=[*CLASSES, "milvus"])
def store(request, tmp_path):
    made = make(request.param, tmp_path)
    yield made
    made.close()


def meets(record, where):
    for column, condition in where.items():
        if isinstance(condition, dict):
            if not condition["min"] <= record[column] <= condition["max"]:
                return False
        elif record[column] not in np.atleast_1d(condition):
            return False
    return True


def test_random_changes_against_a_dictionary(store):
    rng = np.random.default_rng(0)
    held = {}
    for round_ in range(20):
        ids = [f"i{each}" for each in rng.choice(120, rng.integers(1, 30), replace=False)]
        if round_ % 3 < 2:
            vectors = rng.normal(size=(len(ids), DIM)).astype(np.float32)
            columns = pd.DataFrame(
                {"genre": rng.choice(list("abc"), len(ids)), "year": rng.integers(0, 99, len(ids))}
            )
            store.upsert(ids, vectors, columns if store.takes_where else None)
            records = columns.to_dict("records")
            held |= dict(zip(ids, zip(vectors, records, strict=True), strict=True))
        else:
            assert store.delete(ids) == sum(each in held for each in ids)
            held = {each: value for each, value in held.items() if each not in ids}
        assert len(store) == len(held)
        queries = rng.normal(size=(3, DIM)).astype(np.float32)
        for where in WHERES if store.takes_where else WHERES[:1]:
            found, scores = store.search(queries, 5, exclude=["i1", "i2"], where=where)
            allowed = [
                each
                for each, (_, record) in held.items()
                if meets(record, where) and each not in ("i1", "i2")
            ]
            for query, row, values in zip(queries, found, scores, strict=True):
                best = sorted((held[each][0] @ query for each in allowed), reverse=True)[:5]
                np.testing.assert_allclose(values[: len(best)], best, atol=1e-3)
                assert set(row[: len(best)]) <= set(allowed)
                assert (row[len(best) :] == "").all() and (values[len(best) :] == -np.inf).all()


def test_what_is_deleted_never_comes_back_while_others_ask(store):
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(200, DIM)).astype(np.float32)
    ids = np.array([f"i{each}" for each in range(200)], object)
    store.upsert(ids, vectors)
    gone, wrong, stop = set(), [], threading.Event()

    def ask():
        while not stop.is_set():
            before = set(gone)
            found, _ = store.search(vectors[:2], 50)
            wrong.extend(before & set(found.ravel()))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for start in range(0, 150, 25):
        store.delete(ids[start : start + 25])
        gone |= set(ids[start : start + 25])
        store.upsert(ids[150:], vectors[150:][::-1])
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong and len(store) == 50
    assert set(store.search(vectors[:1], 100)[0][0]) == {*ids[150:], ""}


def test_integer_ids_and_exclusions_of_each_query(store):
    if isinstance(store, Milvus):
        pytest.skip("a collection's type of ids is chosen when it is made")
    store.upsert([7, 8, 9], np.eye(3, DIM))
    found, _ = store.search(np.eye(2, DIM), 1, exclude=[[7], [7, 8]])
    assert found[0, 0] in (8, 9) and found[1, 0] == 9
    with pytest.raises(TypeError, match="int64 ids"):
        store.upsert(["a"], np.ones((1, DIM)))
    assert store.delete([7, 7, 99]) == 1


def test_everything_may_go_and_come_again(store):
    assert store.delete(["a"]) == 0
    assert store.search(np.ones((2, DIM)), 3)[0].tolist() == [[""] * 3] * 2
    store.upsert(["a", "b"], np.eye(2, DIM))
    assert store.delete(["a", "b"]) == 2 and len(store) == 0
    assert (store.search(np.ones((1, DIM)), 3)[1] == -np.inf).all()
    store.upsert(["b"], np.ones((1, DIM)))
    assert store.search(np.ones((1, DIM)), 2)[0].tolist() == [["b", ""]]


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda s: s.upsert(["a"], np.ones((1, 3))), r"must be \[n, 8\]"),
        (lambda s: s.upsert(["a"], np.full((1, DIM), np.nan)), "finite"),
        (lambda s: s.upsert(["a", "a"], np.ones((2, DIM))), "twice"),
        (lambda s: s.upsert(["a", "b"], np.ones((1, DIM))), "2 ids and 1 vectors"),
        (lambda s: s.upsert([""], np.ones((1, DIM))), "missing"),
        (lambda s: s.search(np.ones((1, DIM)), 0), "at least 1"),
        (lambda s: s.search(np.ones(DIM), 1), "must be"),
        (lambda s: s.search(np.ones((2, DIM)), 1, exclude=[["a"]]), "each of the 2 queries"),
    ],
)
def test_mistakes(store, call, match):
    with pytest.raises(ValueError, match=match):
        call(store)
    assert len(store) == 0


def test_columns_that_cannot_narrow(store):
    bad = pd.DataFrame({"tags": [["x"]]})
    with pytest.raises(ValueError, match="column"):
        store.upsert(["a"], np.ones((1, DIM)), bad)
    if not store.takes_where:
        with pytest.raises(ValueError, match="where"):
            store.search(np.ones((1, DIM)), 1, where={"genre": "a"})


@pytest.mark.parametrize("kind", CLASSES)
def test_saved_and_loaded(kind, tmp_path):
    store = make(kind, tmp_path)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(100, DIM)).astype(np.float32)
    ids = np.arange(1, 101)
    columns = pd.DataFrame({"genre": rng.choice(list("ab"), 100)}) if store.takes_where else None
    store.upsert(ids, vectors, columns)
    store.delete(ids[:30])
    store.save(tmp_path / "store")
    again = CLASSES[kind].load(tmp_path / "store")
    for where in [None, {"genre": "a"}] if store.takes_where else [None]:
        found, scores = again.search(vectors[:5], 20, where=where)
        expected, values = store.search(vectors[:5], 20, where=where)
        assert found.tolist() == expected.tolist()
        np.testing.assert_allclose(scores, values, rtol=1e-5)
        assert not set(found.ravel()) & set(ids[:30])
    again.upsert(ids[:1], 9 * vectors[:1])
    assert len(again) == 71 and again.search(vectors[:1], 1)[0][0, 0] == 1
    with pytest.raises(FileExistsError):
        store.save(tmp_path / "store")
    other = next(each for name, each in CLASSES.items() if name != kind)
    with pytest.raises(ValueError, match="its own class"):
        other.load(tmp_path / "store")
    damaged = next(each for each in (tmp_path / "store").iterdir() if each.name != "store.json")
    damaged.write_bytes(b"x")
    with pytest.raises((ValueError, FileNotFoundError)):
        CLASSES[kind].load(tmp_path / "store")


@pytest.mark.parametrize("limit", [0, 100, 3000])
@pytest.mark.parametrize("kind", ["faiss-flat", "faiss-hnsw", "scann"])
def test_a_full_disk_is_one_line_and_the_store_before_stays(kind, tmp_path, limit, small_disk):
    pytest.importorskip("scann" if kind == "scann" else "faiss")
    address, place = f"{kind}:{tmp_path / 'store'}", tmp_path / "store"
    fill(address, np.arange(9), np.eye(9, DIM))
    with small_disk(limit), pytest.raises(OSError) as caught:  # the index of 100 vectors has more
        fill(address, np.arange(100), np.ones((100, DIM)))
    assert str(caught.value) == (
        f"{place / '2'} could not be written: {os.strerror(caught.value.errno)}; "
        "nothing of it is left"
    )
    assert caught.value.errno in (errno.EFBIG, errno.ENOSPC)
    assert [each.name for each in place.iterdir()] == ["1"]
    assert len(open_store(address)) == 9 and content_of(address) == 1


@pytest.mark.parametrize("kind", ["hnsw", "ivf", "scann"])
def test_what_approximate_search_finds(kind, tmp_path, monkeypatch):
    """Past `few` vectors the index answers, its effort by what it finds."""
    store = make(kind, tmp_path)
    if kind != "scann":
        monkeypatch.setattr(type(store), "few", 1000)
    rng = np.random.default_rng(0)
    num = 22_000 if kind == "scann" else 6000
    centers = rng.normal(size=(50, DIM))
    vectors = centers[rng.integers(0, 50, num)] + 0.3 * rng.normal(size=(num, DIM))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    ids = np.arange(num)
    store.upsert(ids, vectors)
    store.delete(ids[::4])
    store.upsert(ids[1::4], vectors[1::4][::-1])
    queries = vectors[2::400][:20]
    assert store.recall(queries) >= 0.95
    found, _ = store.search(queries, 100)
    assert not (found % 4 == 0).any() and (found >= 0).all()
