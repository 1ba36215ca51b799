"""The time of a whole training of LightGCN on a graph of 800,000 edges, and what it finds.

    python benchmarks/light_gcn_speed.py [--quick] [--beside NAME ...] [--epochs N]

The data are of the size and kind of the paper's first set: 30,000 users, 40,000 items, and a
million pairs of which a fifth, drawn at random, is held out. Items are places, in towns of very
different size and in quarters of these; a user goes to places of a home quarter, of its town, of
another town and of anywhere, the popular ones more often, by Zipf's law.

`model: light_gcn` and nothing else is trained on two threads, then the models that `--beside`
names, by default `two_tower`, and the channel `graph_filter`. The table has recall and NDCG@20, and
seconds of training with a checkpoint an epoch. `ratio` is an hour over the seconds of light_gcn's
training, with `--epochs` as if there were as many as by default; `recall_ratio` is its recall@20
over the best of the others. `load` is that of the machine before, in processes that want to run.
`--quick`: a tenth of everything, and four epochs.
"""

import argparse
import os
import tempfile
import time

import numpy as np
import tensorflow as tf
from tutorial import finish

import tf_recall as tr
from tf_recall.config import Config, Train
from tf_recall.data.split import Split
from tf_recall.runs.model import compiled, fit, serve
from tf_recall.runs.prepared import Prepared

SIZES, HELD_OUT, HOUR = (30_000, 40_000, 1_000_000), 0.2, 3600
TOWNS, QUARTERS = 300, 6
PLACES = [0.45, 0.75, 0.9, 1.0]  # shares: of the quarter, the town, another town, anywhere; summed


def world(num_users, num_items, num_pairs, seed=0):
    """A split at random of pairs of users and places."""
    rng = np.random.default_rng(seed)
    sizes = 1 / np.arange(1, TOWNS + 1)
    sizes /= sizes.sum()
    town, quarter = rng.choice(TOWNS, num_items, p=sizes), rng.integers(0, QUARTERS, num_items)
    groups = [town * QUARTERS + quarter, town, np.zeros(num_items, np.int64)]
    members = [_by_group(group, rng.permutation(num_items)) for group in groups]
    home, away = rng.choice(TOWNS, [2, num_users], p=sizes)
    homes = [home * QUARTERS + rng.integers(0, QUARTERS, num_users), home, away]
    users = (num_users * rng.random(2 * num_pairs) ** 1.7).astype(np.int64)
    kind = np.searchsorted(PLACES, rng.random(len(users)), side="right")
    items = np.full(len(users), -1)
    for number, level in enumerate([0, 1, 1, 2]):
        at = np.flatnonzero(kind == number)
        group = homes[number][users[at]] if number < 3 else np.zeros(len(at), np.int64)
        order, begins, counts = members[level]
        count = counts[np.minimum(group, len(counts) - 1)]
        rank = (np.exp(rng.random(len(at)) * np.log(count + 1)) - 1).astype(np.int64)
        some = count > 0
        items[at[some]] = order[begins[group[some]] + rank[some]]
    pairs = np.unique(np.stack([users, items], 1)[items >= 0], axis=0)
    pairs = rng.permutation(pairs)[:num_pairs]
    held_out = rng.random(len(pairs)) < HELD_OUT
    train, test = (
        tr.Interactions.from_columns(
            user_id=pairs[part, 0], item_id=pairs[part, 1], timestamp=np.full(part.sum(), 1.6e9)
        )
        for part in (~held_out, held_out)
    )
    return Split(train, test)


def _by_group(group, popular):
    """Items in order of their groups, the popular ones first, where each begins, and its size."""
    rank = np.argsort(popular)
    order = np.lexsort((rank, group))
    counts = np.bincount(group, minlength=TOWNS * QUARTERS)
    return order, np.cumsum(counts) - counts, counts


def run(name, split, catalog, train):
    """The trained model's service, and the seconds of its training."""
    sections = {"model": name, "train": train, "evaluate": {"ks": [20]}}
    config = {"data": "synthetic", "split": "by_time", **sections}
    prepared = Prepared.of(Config.from_dict(config), split, catalog)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        model = fit(prepared, folder, model=compiled(prepared))
    seconds = time.perf_counter() - begun
    return serve(prepared, model), seconds


def measured(recommender, split, catalog):
    """recall and NDCG@20, what users had left out."""
    cases = tr.cases_by_user(split.test, catalog)
    report = tr.evaluate(recommender, cases, catalog, (20,), lists=False)
    return report.metrics["recall@20"], report.metrics["ndcg@20"]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--beside", nargs="*", default=["two_tower"], help="other models")
    parser.add_argument("--epochs", type=int, help="instead of the default")
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(2)
    load = os.getloadavg()[0]
    split = world(*(size // 10 for size in SIZES) if options.quick else SIZES)
    catalog = tr.Catalog.fit(split.train)
    print(f"{len(split.train)} edges, {catalog.users.size} users, {catalog.num_items} items")
    epochs = options.epochs or (4 if options.quick else None)
    train = {} if epochs is None else {"epochs": epochs}
    found, taken = {}, {}
    for name in ["light_gcn", *options.beside, "graph_filter"]:
        if name == "graph_filter":
            begun = time.perf_counter()
            recommender = tr.GraphFilter().fit(split.train, catalog)
            taken[name] = time.perf_counter() - begun
        else:
            recommender, taken[name] = run(name, split, catalog, train)
        found[name] = measured(recommender, split, catalog)
        recall, ndcg = found[name]
        print(f"{name:<16}{recall:9.4f}{ndcg:9.4f}{taken[name]:9.0f} s", flush=True)
    others = max(found[name][0] for name in found if name != "light_gcn")
    finish(
        ratio=HOUR / (taken["light_gcn"] * Train().epochs / (epochs or Train().epochs)),
        recall_ratio=found["light_gcn"][0] / others,
        recall={name: recall for name, (recall, _) in found.items()},
        seconds=taken,
        load=load,
    )


if __name__ == "__main__":
    main()
