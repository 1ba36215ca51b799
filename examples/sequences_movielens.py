"""What a user watched last, in its order: a transformer on MovieLens, asked with a history.

python examples/sequences_movielens.py                          # 100k, by tensorflow-datasets
python examples/sequences_movielens.py --manual-dir FOLDER      # latest-small, from its zip
python examples/sequences_movielens.py --smoke                  # a planted world: no network
"""

import argparse

import keras

import tf_recall as tr
from tf_recall.data.sources.movielens import movielens
from tf_recall.data.sources.synthetic import synthetic

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--manual-dir", help="the folder of ml-latest-small.zip")
parser.add_argument("--smoke", action="store_true", help="a planted world, two epochs")
parser.add_argument("--out", default="saved_models/sequences_example")
options = parser.parse_args()
keras.utils.set_random_seed(0)

if options.smoke:
    ratings = synthetic(num_users=300, num_items=300, num_interactions=9_000).interactions
else:
    ratings = movielens(
        "latest-small" if options.manual_dir else "100k", manual_dir=options.manual_dir
    )

# Each user's last film is held out, and found from those before it.
split = tr.leave_last_out(ratings)
catalog = tr.Catalog.fit(split.train)
model = tr.SASRec().adapt(split.train, catalog)
model.compile()
batches = model.batches(split.train, catalog)
model.fit(
    batches.dataset(),
    steps_per_epoch=batches.steps_per_epoch,
    epochs=2 if options.smoke else 15,
    shuffle=False,
    verbose=2,
)
service = tr.Service.build(model, catalog)
print(tr.evaluate(service, tr.cases_by_user(split.test, catalog), catalog, ks=(10, 20)))

# The same films in another order are another request; nobody needs to be known.
served = tr.load(tr.save(service, options.out))
films = catalog.items.decode(catalog.histories.of(1)[-5:]).tolist()
for history in (films, films[::-1]):
    found, _ = served.recommend(["nobody"], k=5, history=history, exclude_seen=True)
    print("after", ", ".join(map(str, history)), "come", ", ".join(map(str, found[0])))
