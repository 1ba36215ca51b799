"""New versions under load: no request is lost, and none gets an answer of two versions."""

import concurrent.futures
import ctypes
import shutil
import threading
import time
from typing import ClassVar

import grpc
import httpx
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.export.write import save
from tf_recall.index import Exact
from tf_recall.models.two_tower import TwoTower
from tf_recall.recommend.service import Service
from tf_recall.serving.limits import Limits
from tf_recall.serving.metrics import Metrics
from tf_recall.serving.models import Models
from tf_recall.serving.repository import Repository

VERSIONS = (1, 2)
PAUSE = 0.02  # of a client between two requests


@pytest.fixture(scope="module")
def versions(tmp_path_factory, make_service):
    """Exports whose items say which version they are of, in folders aside."""
    folder = tmp_path_factory.mktemp("versions")
    for version in VERSIONS:
        save(make_service(f"v{version}-")[1], folder / "one", version=version)
    return folder / "one"


def ask_http(address, stop, request, seen):
    """Notes the version of each answer, as the server says and as its items do, until `stop`."""
    with httpx.Client(base_url=address, timeout=30) as client:
        while not stop.wait(PAUSE):
            answer = client.post("/recommend", json=request)
            assert answer.status_code == 200, answer.text
            answer = answer.json()
            items = {item["item_id"].partition("-")[0] for item in answer["items"]}
            seen.append((answer["version"], items))


def ask_grpc(address, stop, inputs, seen):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "one"
    for name, value in inputs.items():
        dtype = {"age": tf.float64, "exclude_seen": tf.bool}.get(name, tf.string)
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value, dtype))
    with grpc.insecure_channel(address) as channel:
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        while not stop.wait(PAUSE):
            answer = predict(request, timeout=30)
            items = tf.make_ndarray(answer.outputs["item_id"])[0].tolist()
            items = {item.decode().partition("-")[0] for item in items}
            seen.append((answer.model_spec.version.value, items))


def wait_for(version, clients, seen):
    """Until every client has been answered by the version."""
    for _ in range(6000):
        if all(each and each[-1][0] == version for each in seen):
            return
        for client in clients:
            assert not client.done(), client.result()
        time.sleep(0.01)
    raise AssertionError(f"version {version} does not come")


def test_versions_change_under_load(versions, run_server, columns, tmp_path):
    home = tmp_path / "one"
    home.mkdir()
    shutil.copytree(versions / "1", home / "1")
    stop = threading.Event()
    request = {"user_id": "u1", "k": 6, "exclude_seen": False}
    with run_server(tmp_path) as server, concurrent.futures.ThreadPoolExecutor(4) as pool:
        seen = [[] for _ in range(4)]
        clients = [pool.submit(ask_http, server.rest, stop, request, each) for each in seen[:2]]
        clients += [pool.submit(ask_grpc, server.grpc, stop, columns(), each) for each in seen[2:]]
        try:
            wait_for(1, clients, seen)
            shutil.copytree(versions / "2", tmp_path / ".aside")
            (tmp_path / ".aside").rename(home / "2")
            wait_for(2, clients, seen)
            shutil.rmtree(home / "2")  # back again
            wait_for(1, clients, seen)
        finally:
            stop.set()
        for client, answers in zip(clients, seen, strict=True):
            client.result()
            assert all(items == {f"v{version}"} for version, items in answers)
            numbers = [version for version, _ in answers]
            changes = [1, *(b for a, b in zip(numbers, numbers[1:], strict=False) if a != b)]
            assert changes == [1, 2, 1]  # each change is one, for good


HEAP = (
    *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
    *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
)


class Heap(ctypes.Structure):
    """What `mallinfo2` of the C library tells, in bytes."""

    _fields_: ClassVar[list] = [(name, ctypes.c_size_t) for name in HEAP]


def held_megabytes():
    """What is allocated, without what the C library keeps for later."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        pytest.skip("the C library does not tell what is allocated")
    library.mallinfo2.restype = Heap
    heap = library.mallinfo2()
    return (heap.uordblks + heap.hblkhd) / 2**20


@pytest.mark.slow
def test_memory_does_not_grow_with_versions(tmp_path):
    """Each brings the ids of 100,000 items, which take 4 MB in a lookup table alone."""
    log = Interactions.from_columns(
        user_id=["u1", "u2"] * 50_000, item_id=[f"i{at}" for at in range(100_000)]
    )
    model = TwoTower(dim=8).adapt(log, Catalog.fit(log))
    service = Service.build(model, Catalog.fit(log), index=Exact())
    source, home = save(service, tmp_path / "aside" / "one"), tmp_path / "models"
    (home / "one").mkdir(parents=True)
    held = []
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        models = Models(Repository(home), Limits(), pool, Metrics())
        for version in range(1, 13):
            shutil.copytree(source, home / "one" / str(version))
            models.refresh()
            shutil.rmtree(home / "one" / str(version - 1), ignore_errors=True)
            with models.lease("one") as servable:
                assert servable.version == version
            held.append(held_megabytes())
        models.close()
    assert held[-1] - held[3] < 10, held
