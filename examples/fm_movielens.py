"""A factorization machine on MovieLens, trained as a whole and served as an inner product.

python examples/fm_movielens.py                        # 100k, by tensorflow-datasets
python examples/fm_movielens.py --manual-dir FOLDER    # latest-small, from its zip
python examples/fm_movielens.py --smoke                # a planted world: no network, seconds
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
parser.add_argument("--out", default="saved_models/fm_example")
options = parser.parse_args()
keras.utils.set_random_seed(0)

# 1. Data: everybody's last film is the test; the catalog is fitted on the training part alone.
if options.smoke:
    ratings = synthetic(num_users=300, num_items=300, num_interactions=9_000).interactions
else:
    ratings = movielens(
        "latest-small" if options.manual_dir else "100k", manual_dir=options.manual_dir
    )
split = tr.leave_last_out(ratings)
catalog = tr.Catalog.fit(split.train)

# 2. The machine over all features of both sides; popular films are thinned out as positives, drawn
# more as negatives.
users = tr.FMQueryTower("user", [Id()], num_factors=32)
items = tr.FMItemTower("item", [Id(), MultiValued("genres"), Text("title")], num_factors=32)
model = tr.FM(users, items, tr.UserItem(alpha=1e-3), tr.Popularity(num=256), tr.BPR()).adapt(
    split.train, catalog
)

# 3. Fit.
model.compile()
batches = model.batches(split.train, catalog, batch_size=2048)
epochs = 2 if options.smoke else 15
model.fit(
    batches.dataset(),
    steps_per_epoch=batches.steps_per_epoch,
    epochs=epochs,
    shuffle=False,
    verbose=2,
)

# 4. Evaluate through the service that will answer, beside popularity. Its index holds [W + V, sum
# of v] per film.
service = tr.Service.build(model, catalog)
report = tr.evaluate(service, tr.cases_by_user(split.test, catalog), catalog, ks=(20, 100))
print(report)

# 5. Export, load as a client would, query for a user and for a film.
path = tr.save(service, options.out, metrics=report.to_dict(), model=model)
served, titles = tr.load(path), ratings.items.set_index("item_id")["title"]
user, film = catalog.users.ids[0], catalog.items.ids[0]
found, _ = served.recommend([user], k=5, exclude_seen=True)
print(f"\n{path}: user {user} may like", *titles.loc[found[0]], sep="\n  ")
found, _ = served.similar([film], k=5)
print(f"who likes {titles[film]} likes", *titles.loc[found[0]], sep="\n  ")
