"""The time of a whole training of LightGCN on a graph of 800,000 edges, and what it finds.

    python benchmarks/light_gcn_speed.py [--quick] [--beside NAME ...] [--epochs N]

The data are of the size and kind of the paper's first set: 30,000 users, 40,000 items, and a
million pairs of which a fifth, drawn at random, is held out, and a tenth of the others for
validation. Items are places, in towns of very different size and in quarters of these; a user goes
to places of a home quarter, of its town, of another town and of anywhere, the popular ones more
often, by Zipf's law.

`model: light_gcn` and nothing else is trained on two threads as a run does it: until validation
says no more, then again on both parts. Then the models that `--beside` names, by default
`two_tower`, and the channel `graph_filter`. The table has recall and NDCG@20, seconds of wall clock
and of the processor, and how many epochs were best. `ratio` is an hour over the seconds of
light_gcn's run; `recall_ratio` is its recall@20 over the best of the others. `load` is that of the
machine before, in processes that want to run. `--quick`: a tenth of everything, at most four
epochs.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from tutorial import finish

import tf_recall as tr
from tf_recall.config import Config
from tf_recall.data.splits import random
from tf_recall.runs.model import run_model
from tf_recall.runs.prepared import Prepared

SIZES, HOUR = (30_000, 40_000, 1_000_000), 3600
PARTS = {"test": 0.2, "validation": 0.1}
TOWNS, QUARTERS = 300, 6
PLACES = [0.45, 0.75, 0.9, 1.0]  # shares: of the quarter, the town, another town, anywhere; summed


def world(num_users, num_items, num_pairs, seed=0):
    """Pairs of users and places."""
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
    return tr.Interactions.from_columns(
        user_id=pairs[:, 0], item_id=pairs[:, 1], timestamp=np.full(len(pairs), 1.6e9)
    )


def _by_group(group, popular):
    """Items in order of their groups, the popular ones first, where each begins, and its size."""
    rank = np.argsort(popular)
    order = np.lexsort((rank, group))
    counts = np.bincount(group, minlength=TOWNS * QUARTERS)
    return order, np.cumsum(counts) - counts, counts


def run(name, split, train):
    """The trained model's service, and how many epochs were best."""
    sections = {"model": name, "train": train, "evaluate": {"ks": [20]}}
    parts = {"name": "random", **PARTS}
    config = Config.from_dict({"data": "synthetic", "split": parts, "name": name, **sections})
    prepared = Prepared.of(config, split, tr.Catalog.fit(split.train))
    with tempfile.TemporaryDirectory() as folder:
        learned, service, _ = run_model(prepared, Path(folder))
    return service, learned.epochs


def counted(split):
    """The graph filter of both parts, which has no epochs."""
    both = split.together().train
    return tr.GraphFilter().fit(both, tr.Catalog.fit(both)), 0


def measured(recommender, split):
    """recall and NDCG@20, what users had left out."""
    cases = tr.cases_by_user(split.test, recommender.catalog)
    report = tr.evaluate(recommender, cases, recommender.catalog, (20,), lists=False)
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
    split = random(world(*(size // 10 for size in SIZES) if options.quick else SIZES), **PARTS)
    users, items = (split.train.frame[name].nunique() for name in ("user_id", "item_id"))
    print(f"{len(split.train)} edges to learn from, {users} users, {items} items")
    epochs = options.epochs or (4 if options.quick else None)
    train = {} if epochs is None else {"epochs": epochs}
    found, taken = {}, {}
    print(f"{'':<16}{'recall':>9}{'ndcg':>9}{'seconds':>9}{'cpu':>9}{'epochs':>9}")
    for name in ["light_gcn", *options.beside, "graph_filter"]:
        begun = time.perf_counter(), time.process_time()
        service, best = counted(split) if name == "graph_filter" else run(name, split, train)
        seconds, cpu = time.perf_counter() - begun[0], time.process_time() - begun[1]
        found[name], taken[name] = measured(service, split), (seconds, cpu, best)
        recall, ndcg = found[name]
        print(f"{name:<16}{recall:9.4f}{ndcg:9.4f}{seconds:9.0f}{cpu:9.0f}{best:9}", flush=True)
    others = max(found[name][0] for name in found if name != "light_gcn")
    finish(
        ratio=HOUR / taken["light_gcn"][0],
        recall_ratio=found["light_gcn"][0] / others,
        recall={name: recall for name, (recall, _) in found.items()},
        seconds=taken,
        load=load,
    )


if __name__ == "__main__":
    main()
