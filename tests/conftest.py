"""What every test shares: the real data, free ports, and a Redis."""

import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

# The costliest of their kind, which run with the slow tests; others of the kind stand for them.
GRAPHS = ("graph_tr", "multi_bi_sage", "graph_sage_i2i")
SLOW = {
    "test_the_same_seed_gives_the_same_model": {*GRAPHS, "mind", "sdm", "comirec", "pin_sage"},
    "test_noise_cannot_be_learned_but_by_its_own_edges": {*GRAPHS},
    "test_it_learns_or_is_refused_by_name": {
        f"{model}-{positives}"
        for model in ("graph_tr", "multi_bi_sage")
        for positives in ("next_item", "walk_pairs", "user_item", "item_pairs")
    },
}
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        test, _, case = item.name.partition("[")
        if case.removesuffix("]") in SLOW.get(test, ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets, or a skip with the reason."""
    if not SHARED.is_dir():
        pytest.skip(f"real data is not at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def free_ports():
    """`free_ports(count)`: ports of this machine that nobody listens on."""

    def find(count):
        sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
        ports = [each.getsockname()[1] for each in sockets]
        for each in sockets:
            each.close()
        return ports

    return find


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory, free_ports):
    """The address of a Redis that keeps nothing, with a password."""
    from tf_recall.lists.redis_store import connect

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
    from tf_recall.lists.redis_store import connect

    connect(redis_server).flushall()
    return redis_server
