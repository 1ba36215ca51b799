"""A single request to each channel and each model of histories, in milliseconds.

    python benchmarks/request_speed.py [--quick]

A planted world of 30,000 users, 40,000 items and 800,000 interactions; `--quick`: a tenth of each.
The median over 200 users, asked one at a time for 100 items without those they have seen: as the
channel knows them, and by a history of up to 50 items in the request; the first request after a
channel is loaded; one explanation; and, for comparison, milliseconds a user asked together. EASE
runs on the 10,000 most popular items. CPU time, so that other processes count little, and beside it
the time on the clock. `ratio` is 5 ms over the slower of user CF's two requests.

The models are asked by a stranger's history of 50 items, for 100 items without those: the service
with exact search, and its export, loaded by its signatures. They are not trained, which
their time does not depend on.
"""

import argparse
import tempfile
import time

import numpy as np
from tutorial import finish

import tf_recall as tr
from tf_recall.data.sources.synthetic import synthetic

ASKED, K, LAST, ALLOWED_MS = 200, 100, 50, 5.0
MODELS = [
    tr.YouTubeDNN,
    tr.SimpleX,
    tr.Siamese,
    tr.MIND,
    tr.ComiRec,
    tr.SDM,
    tr.GRU4Rec,
    tr.SASRec,
]


def milliseconds(ask, users):
    """The medians of CPU and of clock of one request at a time."""
    cpu, clock = [], []
    for user in users:
        begun, used = time.perf_counter(), time.process_time()
        ask(user)
        cpu.append(time.process_time() - used)
        clock.append(time.perf_counter() - begun)
    return 1000 * np.median(cpu), 1000 * np.median(clock)


def measure(channel, log, catalog):
    """The figures of one channel, by name."""
    channel.fit(log, catalog)
    frame = log.frame
    users = frame["user_id"].unique()
    users = users[np.linspace(0, len(users) - 1, ASKED).astype(int)]
    some = frame[frame["user_id"].isin(users)].groupby("user_id")["item_id"]
    histories = {user: items.tolist()[-LAST:] for user, items in some}

    def known(user):
        return channel.recommend([user], K, exclude_seen=True)

    def by_history(user):
        return channel.recommend([user], K, exclude_seen=True, history=histories[user])

    liked = {user: known(user)[0][0, 0] for user in users[:20]}
    with tempfile.TemporaryDirectory() as folder:
        channel.save(folder)
        loaded = type(channel)().load(folder, catalog)
    first, _ = milliseconds(lambda user: loaded.recommend([user], K, exclude_seen=True), users[:1])
    by_history(users[0])
    begun = time.process_time()
    channel.recommend(users, K, exclude_seen=True)
    together = 1000 * (time.process_time() - begun) / len(users)
    cpu, clock = milliseconds(known, users)
    cpu_history, clock_history = milliseconds(by_history, users)
    explained, _ = milliseconds(lambda user: channel.explain(user, liked[user]), users[:20])
    return {
        "request": cpu,
        "request on the clock": clock,
        "with a history": cpu_history,
        "with a history on the clock": clock_history,
        "first after load": first,
        "explained": explained,
        "a user of 200 together": together,
    }


def answer(build, log, catalog):
    """The figures of one model of histories: its service, and its export by the signature."""
    model = build().adapt(log, catalog)
    service = tr.Service.build(model, catalog)
    random = np.random.default_rng(0)
    histories = [random.choice(catalog.items.ids, LAST).tolist() for _ in range(ASKED)]
    with tempfile.TemporaryDirectory() as folder:
        loaded = tr.load(tr.save(service, folder, model=model))
        found = {}
        for name, recommender in ("service", service), ("export", loaded):

            def ask(history, recommender=recommender):
                return recommender.recommend([""], K, exclude_seen=True, history=[history])

            ask(histories[0])
            found[name], found[f"{name} on the clock"] = milliseconds(ask, histories)
    return found


def show(name, figures):
    print(f"\n{name}", flush=True)
    for what, value in figures.items():
        print(f"    {what:<28}{value:>8.2f} ms", flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the world")
    size = 10 if parser.parse_args().quick else 1
    log = synthetic(30_000 // size, 40_000 // size, 800_000 // size).interactions
    log = tr.Interactions(log.frame)
    catalog = tr.Catalog.fit(log)
    popular = log.frame["item_id"].value_counts().index[: 10_000 // size]
    fewer = log.select(log.frame["item_id"].isin(popular).to_numpy())
    channels = {
        "user CF": tr.UserCF(),
        "item CF": tr.ItemCF(),
        "swing": tr.Swing(),
        "graph filter": tr.GraphFilter(),
        "EASE": tr.EASE(),
    }
    found = {}
    for name, channel in channels.items():
        on = (fewer, tr.Catalog.fit(fewer)) if name == "EASE" else (log, catalog)
        found[name] = measure(channel, *on)
        show(name, found[name])
    for model in MODELS:
        found[model.__name__] = answer(model, log, catalog)
        show(model.__name__, found[model.__name__])
    slower = max(found["user CF"][what] for what in ("request", "with a history"))
    finish(ratio=ALLOWED_MS / slower, milliseconds=found)


if __name__ == "__main__":
    main()
