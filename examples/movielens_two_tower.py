"""A two-tower model on MovieLens, step by step with plain Keras.

python examples/movielens_two_tower.py                                  # MovieLens 100k through
tensorflow-datasets python examples/movielens_two_tower.py --manual-dir FOLDER              #
latest-small, from the zip in FOLDER python examples/movielens_two_tower.py --smoke
        # a planted world: no network, seconds
"""

import argparse

import keras

import tf_recall as tr
from tf_recall.data.sources.movielens import movielens
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.features import Id, MultiValued, Text

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--manual-dir", help="the folder of ml-latest-small.zip")
parser.add_argument("--smoke", action="store_true", help="a planted world, two epochs")
parser.add_argument("--out", default="saved_models/movielens_example")
options = parser.parse_args()
keras.utils.set_random_seed(0)

# 1. Data: split by time first, then fit the catalog on the training part alone.
if options.smoke:
    ratings = synthetic(num_users=300, num_items=300, num_interactions=9_000).interactions
else:
    ratings = movielens(
        "latest-small" if options.manual_dir else "100k", manual_dir=options.manual_dir
    )
split = tr.by_time(ratings, test=0.1, validation=0.1)
catalog = tr.Catalog.fit(split.train)

# 2. Towers, negatives, loss.
users = tr.FeatureTower("user", [Id(32)], units=[32])
items = tr.FeatureTower("item", [Id(32), MultiValued("genres", 8), Text("title", 16)], units=[32])
model = tr.TwoTower(users, items, loss=tr.SampledSoftmax(temperature=0.1)).adapt(
    split.train, catalog
)
model.compile(tr.SparseAdagrad(0.1))

# 3. Fit; stop by recall over the whole catalog, not by the loss.
batches = model.batches(split.train, catalog, batch_size=2048)
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

# 5. Export, load as a client would, ask.
path = tr.save(service, options.out, metrics=report.to_dict(), model=model)
item_ids, scores = tr.load(path).recommend([catalog.users.ids[0]], k=5, exclude_seen=True)
titles = split.train.items.set_index("item_id")["title"]
print(f"\n{path}: user {catalog.users.ids[0]} may like", *titles.loc[item_ids[0]], sep="\n  ")
