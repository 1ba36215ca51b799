"""What tests of Redis share: a server of their own, and lists to load into it."""

import shutil
import subprocess
import time

import pytest

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.lists.redis_store import connect
from tf_recall.lists.write import write_lists
from tf_recall.recommend.rankings import Popularity


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory, free_ports):
    """The address of a Redis that keeps nothing, with a password."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    pytest.importorskip("redis")
    folder, (port,) = tmp_path_factory.mktemp("redis"), free_ports(1)
    settings = (
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        folder,
        "--requirepass",
        "secret",
    )
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(
            ["redis-server", "--port", str(port), *map(str, settings)], stdout=log, stderr=log
        )
    url = f"redis://:secret@127.0.0.1:{port}/0"
    try:
        for _ in range(100):
            try:
                connect(url)
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def url(redis_server):
    """The server, empty."""
    connect(redis_server).flushall()
    return redis_server


@pytest.fixture
def files(tmp_path):
    """`files(number)`: lists of 3000 users in three batches, whose items tell the number."""

    def write(number):
        catalog = Catalog.fit(
            Interactions.from_columns(user_id=["u0"] * 2, item_id=[f"{number} a", f"{number} b"])
        )
        users = [f"u{user}" for user in range(3000)]
        return write_lists(
            Popularity().fit(None, catalog), users, tmp_path / f"{number}.parquet", 2, False
        )

    return write
