"""Processes that are killed while they write, and a server that goes on beside them."""

import os
import random
import signal
import subprocess
import sys
import threading
import time

import httpx
import numpy as np
import pytest

from tf_recall.export.load import load
from tf_recall.export.versions import versions
from tf_recall.export.write import save
from tf_recall.stores.places import open_store

KILLS = 20
# Imports once, and forks a writer for each line: TensorFlow has no threads before its first use
ZYGOTE = """
import os, sys
from tf_recall.export.load import load, restore
from tf_recall.export.write import save
from tf_recall.index import Exact
from tf_recall.recommend.service import Service
from tf_recall.stores.push import push
source, place, address = sys.argv[1:]
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child:
        print(child, flush=True)
        os.waitpid(child, 0)
        continue
    os.setsid()
    model, catalog = restore(source)
    service = Service.build(model, catalog, index=Exact(), k_max=6)
    print("begun", flush=True)
    while True:
        save(service, place, model=model)
        push(source, address)
        print("once", flush=True)
"""


@pytest.fixture
def zygote(exports, tmp_path):
    """A process that forks writers, and where they write: exports and a store."""
    pytest.importorskip("faiss")
    place, address = tmp_path / "models" / "one", f"faiss-flat:{tmp_path / 'store'}"
    process = subprocess.Popen(
        [sys.executable, "-c", ZYGOTE, str(exports / "two_tower"), str(place), address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    try:
        yield process, place, address
    finally:
        process.stdin.close()
        process.wait(60)


def begun(process):
    """Has a writer forked, and gives its number once it writes."""
    process.stdin.write("\n")
    process.stdin.flush()
    lines = iter(process.stdout.readline, "begun\n")  # the one before may have said `once`
    return [int(line) for line in lines if line.strip().isdecimal()][-1]


@pytest.mark.slow
def test_whatever_a_killed_writer_leaves_is_whole(zygote, exports, run_server, make_service):
    process, place, address = zygote
    model, service = make_service()
    save(service, place, model=model)
    expected = load(place).recommend(["u1", "u2"], 6)
    draw, stop, answers = random.Random(0), threading.Event(), []

    def ask(server):
        with httpx.Client(base_url=server.rest, timeout=30) as client:
            while not stop.wait(0.02):
                answer = client.post("/recommend", json={"user_id": "u1", "exclude_seen": False})
                answers.append((answer.status_code, len(answer.json().get("items", ()))))

    assert process.stdout.readline() == "ready\n"
    with run_server(place.parent) as server:
        client = threading.Thread(target=ask, args=[server])
        client.start()
        try:
            child, start = begun(process), time.monotonic()
            assert process.stdout.readline() == "once\n"
            took = time.monotonic() - start
            os.kill(child, signal.SIGKILL)
            for _ in range(KILLS):
                child = begun(process)
                time.sleep(draw.uniform(0, 1.5 * took))
                os.kill(child, signal.SIGKILL)
                found = load(place).recommend(["u1", "u2"], 6)
                for one, other in zip(found, expected, strict=True):
                    np.testing.assert_array_equal(one, other)
                assert len(open_store(address)) == 10
        finally:
            stop.set()
            client.join()
    assert len(versions(place)) > 1 and len(answers) > 100
    assert set(answers) == {(200, 6)}
