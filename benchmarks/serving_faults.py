"""A server under ten times the load that it can bear, and through hundreds of new versions.

    python benchmarks/serving_faults.py [--quick]

The export of `serving_speed` with exact search (`--quick`: 20,000 items), served by a process of
its own.

Overload: 32 clients over gRPC, each asking again as soon as it is answered, give the sustainable
load; then requests are sent ten times as often for 60 seconds (`--quick`: 10), whether or not those
before have been answered, 5,000 at once at most. The scores of every answer are compared with those
of the export in process; the others must be refusals (RESOURCE_EXHAUSTED,
DEADLINE_EXCEEDED, or UNAVAILABLE beyond the connections). Said are the share that is answered, the
rate of answers beside the sustainable one, p50 and p99 of what is answered, and how much the
server's memory grew.

Versions: a small export is published 200 times (`--quick`: 40) beside the one that is served, each
once the one before answers; ScaNN's is published 30 times (`--quick`: 10). Memory is read after a
tenth of them and at the end: a leak of a version or of a searcher shows as growth per version.

`wrong` is the number of wrong answers, `growth_mb` what 100 versions add.
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import grpc
import numpy as np
import tensorflow as tf
from serving_speed import CLIENTS, DTYPES, by_grpc, columns, export, message
from tensorflow_serving.apis import prediction_service_pb2_grpc
from tutorial import finish

import tf_recall as tr

TIMES, AT_ONCE = 10, 5000  # as often as sustainable; requests in flight at most
REFUSALS = {"RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "UNAVAILABLE"}


class Served:
    """`tf-recall serve` of a folder, in a process of its own."""

    def __init__(self, folder):
        command = [sys.executable, "-m", "tf_recall.cli", "serve", str(folder)]
        options = ["--rest-port", "0", "--grpc-port", "0", "--log-level", "ERROR", "--poll", "0.1"]
        self.process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE)
        self.grpc = json.loads(self.process.stdout.readline())["grpc"]

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.terminate()
        self.process.wait()

    def megabytes(self):
        """The memory that the process holds now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


async def flood(address, name, requests, expected, rate, seconds):
    """Sends requests at a rate; gives the seconds of each answer, the refusals, and wrong ones."""
    times, refused, wrong, tasks = [], {}, 0, set()

    async def one(predict, at):
        nonlocal wrong
        begun = time.perf_counter()
        try:
            answer = await predict(requests[at], timeout=10)
        except grpc.aio.AioRpcError as error:
            code = error.code().name
            refused[code] = refused.get(code, 0) + 1
            return
        times.append(time.perf_counter() - begun)
        score = tf.make_ndarray(answer.outputs["score"])[0]
        wrong += not np.allclose(score, expected[at], atol=1e-5)

    async with grpc.aio.insecure_channel(address) as channel:
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        begun, sent = time.perf_counter(), 0
        while (passed := time.perf_counter() - begun) < seconds:
            for _ in range(min(int(passed * rate) - sent, AT_ONCE - len(tasks))):
                task = asyncio.create_task(one(predict, sent % len(requests)))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                sent += 1
            await asyncio.sleep(0.005)
        await asyncio.gather(*tasks)
    return times, refused, wrong


def overload(folder, name, users, seconds):
    """The figures of ten times the sustainable load."""
    signature = tf.saved_model.load(str(folder / name / "1")).signatures["serving_default"]
    users = users[:512]
    given = {key: tf.constant(value, DTYPES[key]) for key, value in columns(users).items()}
    expected = signature(**given)["score"].numpy()
    requests = [message(name, user) for user in users]
    with Served(folder / name) as served:
        by_grpc(served.grpc, name, users, 1)
        sustained = len(by_grpc(served.grpc, name, users, 5)) / 5
        before = served.megabytes()
        times, refused, wrong = asyncio.run(
            flood(served.grpc, name, requests, expected, TIMES * sustained, seconds)
        )
        grown = served.megabytes() - before
        after = len(by_grpc(served.grpc, name, users, 2)) / 2
    assert set(refused) <= REFUSALS, refused
    return {
        "clients that wait, a second": sustained,
        "answered under load, a second": len(times) / seconds,
        "share answered": len(times) / max(1, len(times) + sum(refused.values())),
        "p50, ms": 1000 * float(np.percentile(times, 50)),
        "p99, ms": 1000 * float(np.percentile(times, 99)),
        "memory grown, MB": grown,
        "clients that wait, afterwards": after,
        "wrong": wrong,
    }


def small(folder):
    """A model of 2,000 items behind two indexes, each in a folder that nobody serves."""
    log = tr.Interactions.from_columns(
        user_id=[f"u{at % 100}" for at in range(2000)], item_id=[f"i{at}" for at in range(2000)]
    )
    catalog = tr.Catalog.fit(log)
    model = tr.TwoTower(dim=32).adapt(log, catalog)
    paths = {"exact": tr.save(tr.Service.build(model, catalog), folder / "exact")}
    try:
        index = tr.index.ScaNN()
    except ImportError as error:
        print(error)
        return paths
    paths["scann"] = tr.save(tr.Service.build(model, catalog, index), folder / "scann")
    return paths


def versions(source, home, count):
    """Publishes an export so many times; gives the megabytes that 100 versions add."""
    name, request = "one", message("one", "u1")
    place = home / name
    place.mkdir(parents=True)
    shutil.copytree(source, place / "1")
    memory, early = {}, max(2, count // 10)
    with Served(home) as served, grpc.insecure_channel(served.grpc) as channel:
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        for version in range(2, count + 1):
            shutil.copytree(source, home / ".aside")
            (home / ".aside").rename(place / str(version))
            while predict(request, timeout=30).model_spec.version.value != version:
                time.sleep(0.01)
            shutil.rmtree(place / str(version - 1))
            if version in (early, count):
                time.sleep(2)
                memory[version] = served.megabytes()
    return 100 * (memory[count] - memory[early]) / (count - early)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="20,000 items, fewer versions")
    options = parser.parse_args()
    items, seconds = (20_000, 10) if options.quick else (1_000_000, 60)
    counts = {"exact": 40, "scann": 10} if options.quick else {"exact": 200, "scann": 30}
    growth = {}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        _, _, users = export(folder / "speed", items)
        figures = overload(folder / "speed", "exact", users, seconds)
        for what, value in figures.items():
            print(f"    {what:<32}{value:>10.2f}", flush=True)
        for name, path in small(folder / "small").items():
            growth[name] = versions(path, folder / f"home_{name}", counts[name])
            print(f"    100 versions of {name} add {growth[name]:.1f} MB", flush=True)
    finish(wrong=figures["wrong"], growth_mb=growth, figures=figures, clients=CLIENTS)


if __name__ == "__main__":
    main()
