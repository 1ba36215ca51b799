"""What tests of the server share: tiny exports, and a server of them in a thread."""

import asyncio
import contextlib
import threading

import httpx
import keras
import pandas as pd
import pytest

from tf_recall.channels.item_cf import ItemCF
from tf_recall.channels.multi import MultiChannel
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.export.load import load
from tf_recall.export.write import save
from tf_recall.features import Categorical, Id, Numeric
from tf_recall.index import Exact
from tf_recall.models.two_tower import TwoTower
from tf_recall.recommend.rankings import Popularity
from tf_recall.recommend.service import Service
from tf_recall.serving.limits import Limits
from tf_recall.serving.server import Server, Settings, event_loop
from tf_recall.towers.features import FeatureTower

LIMITS = Limits(body=100_000, rows=32, ids=50, k=8, queue=64, batch=16, reading=3.0, stopping=5.0)


@contextlib.contextmanager
def running(folder, **settings):
    """A server in a thread, ready."""
    given = {"rest_port": 0, "grpc_port": 0, "limits": LIMITS, "poll": 0.05, **settings}
    server, ready, failed = Server(Settings(folder, **given)), threading.Event(), []

    def run():
        try:
            with asyncio.Runner(loop_factory=event_loop()) as runner:
                runner.run(server.run(ready.set))
        except BaseException as error:
            failed.append(error)
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(120)
        if failed:
            raise failed[0]
        yield server
    finally:
        server.stop()
        thread.join(60)
        assert not thread.is_alive()


def small_log(prefix=""):
    """Two users with a device and an age, ten items."""
    users = pd.DataFrame(
        {"user_id": ["u1", "u2"], "device": ["phone", "desk"], "age": [20.0, 30.0]}
    )
    return Interactions.from_columns(
        user_id=["u1", "u2"] * 5, item_id=[f"{prefix}i{at}" for at in range(10)], users=users
    )


def small_service(prefix=""):
    """An untrained model over them, and its service."""
    log = small_log(prefix)
    keras.utils.set_random_seed(0)
    query = FeatureTower("user", [Id(2), Categorical("device"), Numeric("age")], units=[4])
    model = TwoTower(query, FeatureTower("item", [Id(4)])).adapt(log, Catalog.fit(log))
    return model, Service.build(model, Catalog.fit(log), index=Exact(), k_max=6)


@pytest.fixture(scope="session")
def exports(tmp_path_factory):
    """A folder of two exports: `two_tower`, and `several` channels with it among them."""
    folder = tmp_path_factory.mktemp("saved_models")
    model, service = small_service()
    log, catalog = small_log(), service.catalog
    save(service, folder / "two_tower", model=model)
    channels = {
        "popular": Popularity().fit(log, catalog),
        "items": ItemCF().fit(log, catalog),
        "towers": service,
    }
    save(MultiChannel(channels, catalog), folder / "several", model={"towers": model})
    return folder


@pytest.fixture(scope="session")
def loaded(exports):
    """`two_tower`, in this process."""
    return load(exports / "two_tower")


@pytest.fixture(scope="session")
def several(exports):
    """`several`, in this process."""
    return load(exports / "several")


@pytest.fixture(scope="session")
def run_server():
    """`with run_server(folder, **settings) as server`: a server of a folder, ready."""
    return running


@pytest.fixture(scope="session")
def make_service():
    """`make_service(prefix)`: an untrained model and its service; items are `<prefix>i0`, ..."""
    return small_service


@pytest.fixture(scope="session")
def columns():
    """`columns(["u1"], **given)`: the inputs of `two_tower` in column format."""
    return column


@pytest.fixture(scope="session")
def server(exports):
    """A server of the tiny exports."""
    with running(exports) as server:
        yield server


@pytest.fixture(scope="session")
def http(server):
    """A client of its REST."""
    with httpx.Client(base_url=server.rest, timeout=30) as client:
        yield client


def column(user_id=("u1",), **given):
    """The inputs of `two_tower` in column format."""
    rows = len(user_id)
    nothing = {
        "device": [""] * rows,
        "age": [float("nan")] * rows,
        "exclude": [[]] * rows,
        "allow": [[]] * rows,
        "exclude_seen": [False] * rows,
    }
    return {"user_id": list(user_id), **nothing, **given}
