"""The set-up of TensorFlow Recommenders' deep retrieval tutorial, with TFRS and with tf_recall.

Features: the user's id and the time of the rating, in 1,000 buckets and normalized; the title, as
an id and as words. A tower each side with one layer of 32 units. Adagrad 0.1, batches of 2,048, a
random 80/20 split, accuracy among the top 100.
"""

import argparse
import contextlib
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

import numpy as np

import tf_recall as tr
from tf_recall.data.sources.movielens import movielens
from tf_recall.data.splits import random
from tf_recall.features import Buckets, Categorical, Id, Numeric, Text
from tf_recall.losses.retrieval_task import load_tfrs

DIM, BATCH = 32, 2048
SPLITS = {
    "by global time": "split={name: by_time, test: 0.1, validation: 0.1}",
    "leave last out": "split={name: leave_last_out, validation: true}",
}


def arguments(description):
    """The arguments of every benchmark on MovieLens."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="under two minutes")
    nearby = Path(__file__).resolve().parents[2] / "shared" / "data" / "movielens"
    parser.add_argument(
        "--manual-dir",
        default=str(nearby) if nearby.is_dir() else None,
        help="folder of ml-latest-small.zip",
    )
    return parser.parse_args()


def read(manual_dir, test=0.2, seed=42):
    """MovieLens latest-small with titles in the log, split at random as the tutorial does."""
    ratings = movielens("latest-small", manual_dir=manual_dir)
    split = random(ratings, test=test, seed=seed)
    return split, tr.Catalog.fit(split.train)


def honest(manual_dir, split, seed, *sets):
    """The report of the package's MovieLens config on one split, with further changes `sets`."""
    from tf_recall.runs.measure import measure
    from tf_recall.runs.model import fit, serve
    from tf_recall.runs.prepared import Prepared

    sets = [
        "data.variant=latest-small",
        f"data.manual_dir={manual_dir}",
        split,
        f"train.seed={seed}",
        *sets,
    ]
    config = tr.Config.load("two_tower_movielens", sets)
    prepared = Prepared.of(config)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        service = serve(prepared, fit(prepared, folder))
    return measure(service, config.evaluate, prepared.split.test)


def our_model(split, catalog, normalize=False, loss=None, negatives=None):
    """The tutorial's features and sizes in tf_recall."""
    query = tr.FeatureTower(
        "user",
        [Id(DIM), Buckets("timestamp", DIM, 1000), Numeric("timestamp")],
        [DIM],
        normalize=normalize,
    )
    item = tr.FeatureTower(
        "item", [Categorical("title", DIM), Text("title", DIM)], [DIM], normalize=normalize
    )
    model = tr.TwoTower(query, item, negatives=negatives, loss=loss).adapt(split.train, catalog)
    model.compile(tr.SparseAdagrad(0.1))
    return model


def our_batches(split, catalog, model):
    """The training part as batches of numbers."""
    return model.batches(split.train, catalog, BATCH)


def tfrs_columns(split_part, catalog):
    """The columns the tutorial trains on: user ids, titles and times."""
    import tensorflow as tf

    frame = split_part.frame
    titles = catalog.item_table["title"].to_numpy(dtype=object)[
        catalog.items.encode(frame["item_id"]) - 1
    ]
    return tf.data.Dataset.from_tensor_slices(
        {
            "user_id": frame["user_id"].to_numpy(dtype=object).astype(str),
            "movie_title": titles.astype(str),
            "timestamp": frame["timestamp"].to_numpy(),
        }
    )


def tfrs_model(split, catalog):
    """The tutorial's model: with string lookups, Adagrad, and `tfrs.tasks.Retrieval`."""
    import tensorflow as tf

    tfrs = load_tfrs()

    layers = tf.keras.layers
    times = split.train.frame["timestamp"].to_numpy()
    titles = catalog.item_table["title"].to_numpy(dtype=object).astype(str)
    users = catalog.users.ids.astype(str)

    user_embedding = tf.keras.Sequential(
        [layers.StringLookup(vocabulary=users), layers.Embedding(len(users) + 1, DIM)]
    )
    boundaries = np.linspace(times.min(), times.max(), num=1000).tolist()
    time_embedding = tf.keras.Sequential(
        [layers.Discretization(boundaries), layers.Embedding(1001, DIM)]
    )
    normalization = layers.Normalization(axis=None)
    normalization.adapt(times)
    distinct = np.unique(titles)
    title_embedding = tf.keras.Sequential(
        [layers.StringLookup(vocabulary=distinct), layers.Embedding(len(distinct) + 1, DIM)]
    )
    words = layers.TextVectorization(max_tokens=10_000)
    words.adapt(distinct)
    word_embedding = tf.keras.Sequential(
        [words, layers.Embedding(10_000, DIM, mask_zero=True), layers.GlobalAveragePooling1D()]
    )
    query_dense, item_dense = layers.Dense(DIM), layers.Dense(DIM)

    class Tutorial(tfrs.Model):
        def __init__(self):
            super().__init__()
            self.parts = [
                user_embedding,
                time_embedding,
                normalization,
                title_embedding,
                word_embedding,
            ]
            self.query_dense, self.item_dense = query_dense, item_dense
            self.task = tfrs.tasks.Retrieval()

        def query(self, row):
            time = tf.reshape(normalization(row["timestamp"]), (-1, 1))
            return query_dense(
                tf.concat(
                    [user_embedding(row["user_id"]), time_embedding(row["timestamp"]), time], 1
                )
            )

        def item(self, title):
            return item_dense(tf.concat([title_embedding(title), word_embedding(title)], 1))

        def compute_loss(self, row, training=False):
            return self.task(
                self.query(row), self.item(row["movie_title"]), compute_metrics=not training
            )

    model = Tutorial()
    model.compile(optimizer=tf.keras.optimizers.Adagrad(0.1))
    return model


def tfrs_accuracy(model, split, catalog, k=100):
    """The tutorial's accuracy: the share of held-out rows with the film among the k best."""
    titles = catalog.item_table["title"].to_numpy(dtype=object).astype(str)
    items = np.concatenate(
        [model.item(titles[at : at + 1024]).numpy() for at in range(0, len(titles), 1024)]
    )
    hits = total = 0
    known = split.test.select(catalog.items.encode(split.test.frame["item_id"]) > 0)
    for row in tfrs_columns(known, catalog).batch(4096):
        rows = (
            catalog.items.encode(
                known.frame["item_id"].to_numpy()[total : total + len(row["user_id"])]
            )
            - 1
        )
        scores = model.query(row).numpy() @ items.T
        own = scores[np.arange(len(rows)), rows]
        # ties count against, as ours do
        hits += int((np.sum(scores >= own[:, None], axis=1) <= k).sum())
        total += len(rows)
    return hits / len(split.test)


def our_accuracy(model, split, catalog, k=100):
    """The same, through the service that is exported."""
    service = tr.Service.build(model, catalog)
    cases = tr.cases_by_row(split.test, catalog)
    return tr.evaluate(service, cases, catalog, ks=(k,), exclude_seen=False).metrics[f"recall@{k}"]


def finish(**figures):
    """The last line: one JSON object with the machine beside the figures."""
    import tensorflow as tf

    machine = (
        f"{os.cpu_count()} cores, {platform.machine()}, TensorFlow {tf.__version__}, "
        f"Python {platform.python_version()}"
    )
    print(json.dumps({**figures, "machine": machine}))
