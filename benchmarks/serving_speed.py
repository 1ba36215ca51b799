"""Requests a second through the server, beside the exported signature called in batches in process.

    python benchmarks/serving_speed.py [--quick]

A service of 20,000 users over a million clustered unit vectors of 64 dimensions (`--quick`:
100,000), k_max 100, exported with each index: exact, IVF, and ScaNN where it is installed, both at
recall@100 of 0.95 or more. `tf-recall serve` runs as a process of its own; 32 clients in this
process ask it for one known user at a time, each as soon as it has its answer: over gRPC (one
channel, asyncio) and over REST (32 threads that keep their connections). In process the signature
of the same export answers 32 of the same users at a time. All three run in turn, round after round,
for a few seconds each; the figure is the median round. Clients run on the server's own cores.

A live store answers `/recommend`, not TensorFlow Serving's endpoints: this is asked too, for 100
items with everything that the page of people says, of every index and of a store of FAISS with the
same vectors, which the server of the exact export is given (`--store`, HNSW by default; its
recall@100 is that of users' vectors). Its "in process" is `embed_query` and the search of 32 users.

Besides: p50 and p99 of the clients' requests; the median of a single client on the idle server less
that of one user in process, which is what the server adds; seconds from the process' start to its
first answer. And requests a second of LitServe with the same exports (`litserve_server.py` says why
it), by the same 32 threads. `ratio` is gRPC's requests a second over the signature's, by exact
search; `rest_ratio` REST's; `peer_ratio` our REST's over LitServe's.
"""

import argparse
import asyncio
import contextlib
import functools
import http.client
import importlib.util
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import grpc
import numpy as np
import tensorflow as tf
from index_search import DIM, RECALL, K, clustered
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
from tutorial import finish

import tf_recall as tr
from tf_recall.export.versions import digest_of
from tf_recall.features import Id
from tf_recall.index import IVF, Exact, ScaNN
from tf_recall.stores.places import fill

USERS, CLIENTS, TUNED = 20_000, 32, 256
JSON = {"content-type": "application/json"}
DTYPES = {"user_id": tf.string, "exclude": tf.string, "allow": tf.string, "exclude_seen": tf.bool}


def export(folder, items):
    """Writes the same vectors behind each index; gives the names, the vectors and some users."""
    drawn = clustered(items + USERS + TUNED)
    vectors, users, tuned = np.split(drawn, [items, items + USERS])
    names = np.char.add("i", np.arange(items).astype(str)).astype(object)
    generator = np.random.default_rng(0)
    log = tr.Interactions.from_columns(
        user_id=np.char.add("u", generator.integers(USERS, size=items).astype(str)).astype(object),
        item_id=names,
    )
    catalog = tr.Catalog.fit(log)
    query, item = tr.FeatureTower("user", [Id(DIM)]), tr.FeatureTower("item", [Id(DIM)])
    query.adapt(log, catalog)
    item.adapt(log, catalog)
    (table,) = (weight for weight in query.weights if tuple(weight.shape)[1:] == (DIM,))
    table.assign(np.resize(users, table.shape))
    indexes = {"exact": Exact(), "ivf": IVF(min_recall=RECALL + 0.01)}
    try:
        indexes["scann"] = ScaNN(min_recall=RECALL + 0.01)
    except ImportError as error:
        print(error)
    for name, index in indexes.items():
        index.build(vectors, queries=tuned)
        tr.save(tr.Service(query, item, index, catalog, k_max=K), folder / name)
        print(f"{name}: {index}", flush=True)
    return list(indexes), vectors, catalog.users.ids[:: max(1, USERS // 1024)].tolist()


def columns(users):
    """The inputs of the signature for some users of whom nothing else is said."""
    lists = np.empty((len(users), 0), object)
    seen = np.zeros(len(users), bool)
    return {"user_id": users, "exclude": lists, "allow": lists, "exclude_seen": seen}


def tensors(users):
    """The same as TensorFlow takes them."""
    return {name: tf.constant(value, DTYPES[name]) for name, value in columns(users).items()}


def in_process(call, users, seconds):
    """Users a second, so many at a time as there are clients."""
    starts = range(0, len(users) - CLIENTS, CLIENTS)
    batches = [tensors(users[at : at + CLIENTS]) for at in starts]
    begun, asked = time.perf_counter(), 0
    while time.perf_counter() < begun + seconds:
        call(batches[asked % len(batches)])
        asked += 1
    return asked * CLIENTS / (time.perf_counter() - begun)


def alone(ask, users, count=100):
    """The median milliseconds of one request at a time."""
    times = []
    for user in users[:count]:
        begun = time.perf_counter()
        ask(user)
        times.append(time.perf_counter() - begun)
    return 1000 * statistics.median(times[5:])


def message(name, user):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    for key, value in columns([user]).items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value, DTYPES[key]))
    return request


def by_grpc(address, name, users, seconds, clients=CLIENTS):
    """The seconds of each request of so many clients at once."""
    requests = [message(name, user) for user in users]
    times = []

    async def client(predict, at, until):
        while time.perf_counter() < until:
            begun = time.perf_counter()
            await predict(requests[at % len(requests)], timeout=30)
            times.append(time.perf_counter() - begun)
            at += clients

    async def all_clients():
        async with grpc.aio.insecure_channel(address) as channel:
            predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
            until = time.perf_counter() + seconds
            await asyncio.gather(*(client(predict, at, until) for at in range(clients)))

    asyncio.run(all_clients())
    return times


def by_rest(address, name, users, seconds):
    """The same over REST."""
    bodies = [
        json.dumps(
            {"inputs": {"user_id": [u], "exclude": [[]], "allow": [[]], "exclude_seen": [False]}}
        )
        for u in users
    ]
    return posted(address, f"/v1/models/{name}:predict", bodies, seconds)


def by_people(address, name, users, seconds):
    """The same at `/recommend`."""
    asked = {"model": name, "k": K, "exclude_seen": False}
    bodies = [json.dumps({"user_id": user, **asked}) for user in users]
    return posted(address, "/recommend", bodies, seconds)


def posted(address, path, bodies, seconds):
    """The seconds of each request of so many threads at once."""
    times, until = [], time.perf_counter() + seconds

    def client(at):
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=30)
        while time.perf_counter() < until:
            begun = time.perf_counter()
            connection.request("POST", path, bodies[at % len(bodies)], JSON)
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == 200, body
            times.append(time.perf_counter() - begun)
            at += CLIENTS
        connection.close()

    threads = [threading.Thread(target=client, args=[at]) for at in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times


@contextlib.contextmanager
def served(folder, name, *options):
    """A server of one export in a process of its own: its addresses, and when it was begun."""
    command = [sys.executable, "-m", "tf_recall.cli", "serve", str(folder / name), *options]
    quiet = ["--rest-port", "0", "--grpc-port", "0", "--log-level", "WARNING"]
    begun = time.perf_counter()
    server = subprocess.Popen([*command, *quiet], stdout=subprocess.PIPE)
    try:
        yield json.loads(server.stdout.readline()), begun
    finally:
        server.terminate()
        server.wait()


def signatures(folder, name):
    return tf.saved_model.load(str(folder / name / "1")).signatures


def in_rounds(rounds, batch, users, ways, seconds):
    """The figures of each way of asking, and of batches in process, in turn."""
    rates, times = {"in process": []}, {}
    for _ in range(rounds):
        rates["in process"].append(in_process(batch, users, seconds))
        for way, ask in ways.items():
            took = ask(seconds)
            rates.setdefault(way, []).append(len(took) / seconds)
            times.setdefault(way, []).extend(took)
    figures = {f"{way}, a second": statistics.median(each) for way, each in rates.items()}
    for way, took in times.items():
        figures |= {f"{way} p{at}, ms": 1000 * np.percentile(took, at) for at in (50, 99)}
    return figures


def measure(folder, name, users, rounds, seconds):
    """The figures of one index."""
    signature = signatures(folder, name)["serving_default"]

    def call(some):
        answer = signature(**some)
        return answer["item_id"].numpy(), answer["score"].numpy()

    with served(folder, name) as (addresses, begun):
        by_grpc(addresses["grpc"], name, users[:1], 0.001, clients=1)
        figures = {"start to first answer, s": time.perf_counter() - begun}
        ways = {
            "grpc": functools.partial(by_grpc, addresses["grpc"], name, users),
            "rest": functools.partial(by_rest, addresses["rest"], name, users),
            "recommend": functools.partial(by_people, addresses["rest"], name, users),
        }
        figures |= in_rounds(rounds, call, users, ways, seconds)
        ones = {user: tensors([user]) for user in users[:100]}
        model = alone(lambda user: call(ones[user]), users)
        quiet = by_grpc(addresses["grpc"], name, users, 2, clients=1)
        figures["one request, ms"] = 1000 * statistics.median(quiet)
        figures["of them the server, ms"] = 1000 * statistics.median(quiet) - model
    return figures


def measure_store(folder, kind, vectors, users, rounds, seconds):
    """The figures of a live store that the server of the exact export answers from."""
    address, path = f"{kind}:{folder / kind}", folder / "exact" / "1"
    begun = time.perf_counter()
    ids = np.char.add("i", np.arange(len(vectors)).astype(str)).astype(object)
    store = fill(address, ids, vectors, export=digest_of(path))
    embed = signatures(folder, "exact")["embed_query"]
    figures = {"store filled, s": time.perf_counter() - begun}
    figures["recall@100"] = store.recall(embed(user_id=tf.constant(users[:TUNED]))["embedding"])

    def call(some):
        return store.search(embed(user_id=some["user_id"])["embedding"].numpy(), K)

    with served(folder, "exact", "--store", f"exact={address}") as (addresses, begun):
        ask = functools.partial(by_people, addresses["rest"], "exact", users)
        ask(0.001)
        figures["start to first answer, s"] = time.perf_counter() - begun
        figures |= in_rounds(rounds, call, users, {"recommend": ask}, seconds)
    return figures


def peer(folder, name, users, rounds, seconds):
    """Requests a second of LitServe with the same export; None where it is not installed."""
    if importlib.util.find_spec("litserve") is None:
        print("litserve is not installed: no peer")
        return None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script, address = Path(__file__).with_name("litserve_server.py"), f"http://127.0.0.1:{port}"
    bodies = [json.dumps({"user_id": user}) for user in users]
    command = [sys.executable, str(script), str(folder / name / "1"), str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        first = urllib.request.Request(f"{address}/predict", bodies[0].encode(), JSON)
        begun = time.perf_counter()
        while True:  # it takes a while until its worker has loaded the model
            try:
                urllib.request.urlopen(first, timeout=30).read()
                break
            except OSError:
                if time.perf_counter() > begun + 120:
                    raise
                time.sleep(0.2)
        posted(address, "/predict", bodies, 0.5)
        return statistics.median(
            len(posted(address, "/predict", bodies, seconds)) / seconds for _ in range(rounds)
        )
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def show(name, figures):
    print(f"\n{name}")
    for what, value in figures.items():
        print(f"    {what:<28}{value:>10.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="100,000 items instead of a million")
    kinds = ["faiss-flat", "faiss-hnsw", "faiss-ivf"]
    parser.add_argument("--store", default="faiss-hnsw", choices=kinds, help="the live store")
    options = parser.parse_args()
    items, rounds, seconds = (100_000, 3, 2) if options.quick else (1_000_000, 5, 4)
    found, peers = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        names, vectors, users = export(folder, items)
        for name in names:
            found[name] = measure(folder, name, users, rounds, seconds)
            if name != "scann":
                peers[name] = peer(folder, name, users, rounds, seconds)
                found[name]["litserve, a second"] = peers[name] or float("nan")
            show(name, found[name])
        store = options.store
        if importlib.util.find_spec("faiss") is None:
            print("faiss is not installed: no store")
        else:
            found[store] = measure_store(folder, store, vectors, users, rounds, seconds)
            show(store, found[store])
    exact = found["exact"]
    beside = peers["exact"]
    finish(
        peer_ratio=beside and exact["rest, a second"] / beside,
        ratio=exact["grpc, a second"] / exact["in process, a second"],
        rest_ratio=exact["rest, a second"] / exact["in process, a second"],
        figures=found,
    )


if __name__ == "__main__":
    main()
