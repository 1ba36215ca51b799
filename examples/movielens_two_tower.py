"""TensorFlow Recommenders' retrieval tutorial on MovieLens, and then ours, with plain Keras.

The tutorial's features, towers and split are trained by `RetrievalTask`, which is TensorFlow
Recommenders' own loss; beside it stands the tutorial's own code; then our loss on the same split.
After that comes what one would deploy: a split by time, early stopping, an export.

    python examples/movielens_two_tower.py                          # 100k, by tensorflow-datasets
    python examples/movielens_two_tower.py --manual-dir FOLDER      # latest-small, from its zip
    python examples/movielens_two_tower.py --smoke                  # a planted world: no network
"""

import argparse

import keras
import numpy as np
import tensorflow as tf

import tf_recall as tr
from tf_recall.data.sources.movielens import movielens
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.data.splits import random
from tf_recall.features import Buckets, Categorical, Id, MultiValued, Numeric, Text

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--manual-dir", help="the folder of ml-latest-small.zip")
parser.add_argument("--smoke", action="store_true", help="a planted world, two epochs")
parser.add_argument("--out", default="saved_models/movielens_example")
options = parser.parse_args()
keras.utils.set_random_seed(0)

if options.smoke:
    ratings = synthetic(num_users=300, num_items=300, num_interactions=9_000).interactions
else:
    ratings = movielens(
        "latest-small" if options.manual_dir else "100k", manual_dir=options.manual_dir
    )

# 1. The tutorial: a random 80/20 split, accuracy among the top 100 of all films.
DIM, K, EPOCHS, BATCH = 32, 100, 2 if options.smoke else 10, 2048
split = random(ratings, test=0.2, seed=42)
catalog = tr.Catalog.fit(split.train)


def tutorial(loss, normalize=False):
    """The top-100 accuracy of the tutorial's features and towers, trained by a loss."""
    query = [Id(DIM), Buckets("timestamp", DIM, 1000), Numeric("timestamp")]
    item = [Categorical("title", DIM), Text("title", DIM)]
    model = tr.TwoTower(
        query_tower=tr.FeatureTower("user", query, [DIM], normalize=normalize),
        item_tower=tr.FeatureTower("item", item, [DIM], normalize=normalize),
        negatives=tr.InBatch(),
        loss=loss,
    )
    model.adapt(split.train, catalog).compile(tr.SparseAdagrad(0.1))
    batches = model.batches(split.train, catalog, BATCH)
    model.fit(
        batches.dataset(),
        steps_per_epoch=batches.steps_per_epoch,
        epochs=EPOCHS,
        shuffle=False,
        verbose=0,
    )
    service = tr.Service.build(model, catalog)
    cases = tr.cases_by_row(split.test, catalog)
    report = tr.evaluate(service, cases, catalog, ks=(K,), exclude_seen=False)
    return report.metrics[f"recall@{K}"]


# The tutorial corrects for no sampling probability and keeps accidental hits. The first
# RetrievalTask makes tf.keras Keras 2: from here on tensorflow_recommenders can be imported.
plain = tutorial(tr.RetrievalTask(corrected=False, remove_accidental_hits=False))


def tensorflow_recommenders():
    """The top-100 accuracy of the tutorial's own code."""
    import tensorflow_recommenders as tfrs

    layers = tf.keras.layers
    item_titles = catalog.item_table["title"].to_numpy(dtype=object).astype(str)
    titles = np.unique(item_titles)
    users = catalog.users.ids.astype(str)
    times = split.train.frame["timestamp"].to_numpy()
    boundaries = np.linspace(times.min(), times.max(), num=1000).tolist()
    scaled = layers.Normalization(axis=None)
    scaled.adapt(times)
    words = layers.TextVectorization(max_tokens=10_000)
    words.adapt(titles)

    def embedded(lookup, size, **arguments):
        return tf.keras.Sequential([lookup, layers.Embedding(size, DIM, **arguments)])

    user_id = embedded(layers.StringLookup(vocabulary=users), len(users) + 1)
    time = embedded(layers.Discretization(boundaries), len(boundaries) + 1)
    title = embedded(layers.StringLookup(vocabulary=titles), len(titles) + 1)
    text = embedded(words, 10_000, mask_zero=True)
    text.add(layers.GlobalAveragePooling1D())

    class Tutorial(tfrs.Model):
        def __init__(self):
            super().__init__()
            self.tables = [user_id, time, title, text]
            self.query_layer, self.item_layer = layers.Dense(DIM), layers.Dense(DIM)
            self.task = tfrs.tasks.Retrieval()

        def query(self, row):
            at = row["timestamp"]
            parts = [user_id(row["user_id"]), time(at), tf.reshape(scaled(at), [-1, 1])]
            return self.query_layer(tf.concat(parts, axis=1))

        def item(self, titles):
            return self.item_layer(tf.concat([title(titles), text(titles)], axis=1))

        def compute_loss(self, row, training=False):
            return self.task(self.query(row), self.item(row["title"]), compute_metrics=False)

    def rows(part):
        """The item rows of a part's known films, and its columns as the tutorial has them."""
        item = catalog.items.encode(part.frame["item_id"])
        frame = part.frame[item > 0]
        columns = {
            "user_id": frame["user_id"].to_numpy(dtype=object).astype(str),
            "timestamp": frame["timestamp"].to_numpy(),
            "title": item_titles[item[item > 0] - 1],
        }
        return item[item > 0] - 1, tf.data.Dataset.from_tensor_slices(columns)

    model = Tutorial()
    model.compile(optimizer=tf.keras.optimizers.Adagrad(0.1))
    model.fit(rows(split.train)[1].shuffle(100_000).batch(BATCH), epochs=EPOCHS, verbose=0)
    films = model.item(tf.constant(item_titles)).numpy()
    item, columns = rows(split.test)
    queries = np.concatenate([model.query(row).numpy() for row in columns.batch(4096)])
    own = np.sum(queries * films[item], axis=1, keepdims=True)
    # ties count against, as ours do; the two products of one film differ by rounding
    ranks = np.sum(queries @ films.T >= own - 1e-5 * np.abs(own), axis=1)
    return np.sum(ranks <= K) / len(split.test)


theirs = tensorflow_recommenders()
ours = tutorial(tr.SampledSoftmax(temperature=0.1), normalize=True)
print(f"top-{K} accuracy after {EPOCHS} epochs of the tutorial's set-up, on one split")
print(f"  {'TensorFlow Recommenders, its own code':<48}{theirs:.4f}")
print(f"  {'here, by RetrievalTask as in the tutorial':<48}{plain:.4f}")
print(f"  {'here, by SampledSoftmax(0.1) and unit vectors':<48}{ours:.4f}\n")

# 2. What one would deploy. Split by time first, then fit the catalog on the training part alone.
split = tr.by_time(ratings, test=0.1, validation=0.1)
catalog = tr.Catalog.fit(split.train)
model = tr.TwoTower(
    query_tower=tr.FeatureTower("user", [Id(32)], units=[32]),
    item_tower=tr.FeatureTower(
        "item", [Id(32), MultiValued("genres", 8), Text("title", 16)], units=[32]
    ),
    negatives=tr.InBatch(),
    loss=tr.SampledSoftmax(temperature=0.1),
)
model.adapt(split.train, catalog).compile(tr.SparseAdagrad(0.1))

# 3. Fit; stop by recall over the whole catalog, not by the loss.
batches = model.batches(split.train, catalog, batch_size=BATCH)
recall = tr.CatalogRecall(split.validation, catalog)
stop = keras.callbacks.EarlyStopping(
    "val_recall@20", mode="max", patience=3, restore_best_weights=True
)
model.fit(
    batches.dataset(),
    steps_per_epoch=batches.steps_per_epoch,
    epochs=2 if options.smoke else 30,
    callbacks=[recall, stop],
    shuffle=False,
)

# 4. Evaluate through the service that will answer, beside popularity.
service = tr.Service.build(model, catalog)
report = tr.evaluate(service, tr.cases_by_user(split.test, catalog), catalog)
print(report)

# 5. Export, load as a client would, query.
path = tr.save(service, options.out, metrics=report.to_dict(), model=model)
item_ids, scores = tr.load(path).recommend([catalog.users.ids[0]], k=5, exclude_seen=True)
titles = split.train.items.set_index("item_id")["title"]
print(f"\n{path}: user {catalog.users.ids[0]} may like", *titles.loc[item_ids[0]], sep="\n  ")
