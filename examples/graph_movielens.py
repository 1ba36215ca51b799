"""Graphs on MovieLens: users, films and genres, a film that is added later; and LightGCN.

python examples/graph_movielens.py                        # 100k, by tensorflow-datasets
python examples/graph_movielens.py --manual-dir FOLDER    # latest-small, from its zip
python examples/graph_movielens.py --model graph_tr       # genres are nodes too
python examples/graph_movielens.py --model multi_bi_sage  # films by users, genres and words
python examples/graph_movielens.py --smoke                # a planted world: no network, seconds
"""

import argparse
from dataclasses import replace

import keras

import tf_recall as tr
from tf_recall.config import Train
from tf_recall.data.sources.movielens import movielens
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.features import Id, MultiValued, Text

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--manual-dir", help="the folder of ml-latest-small.zip")
parser.add_argument("--model", default="graph_sage", help="graph_tr, or multi_bi_sage")
parser.add_argument("--smoke", action="store_true", help="a planted world, two epochs")
parser.add_argument("--out", default="saved_models/graph_example")
options = parser.parse_args()
keras.utils.set_random_seed(0)

# 1. Data: everybody's last film is the test. One film that many saw is not there yet: neither edges
# nor features.
if options.smoke:
    ratings = synthetic(num_users=300, num_items=300, num_interactions=9_000).interactions
else:
    ratings = movielens(
        "latest-small" if options.manual_dir else "100k", manual_dir=options.manual_dir
    )
split = tr.leave_last_out(ratings)
late = split.train.frame["item_id"].value_counts().index[20]
before = split.train.select((split.train.frame["item_id"] != late).to_numpy())
before = replace(before, items=before.items[before.items["item_id"] != late])
catalog = tr.Catalog.fit(before)

# 2. GraphSAGE: in training a user aggregates 10 films, and each of these 5 users. GraphTR: a film
# aggregates its users and its genres. MultiBiSage: the films that share users, genres or words.
users = tr.FeatureTower("user", [Id(32, unknown_rate=0.1)])
items = tr.FeatureTower(
    "item", [Id(32, unknown_rate=0.1), MultiValued("genres"), Text("title", 16)], units=[32]
)
connected = [tr.UserEdges(), tr.AttributeEdges("genres"), tr.WordEdges("title")]
models = {
    "graph_sage": lambda: tr.GraphSAGE(users, items, 32, [10, 5], aggregator=tr.Mean()),
    "graph_tr": lambda: tr.GraphTR(users, items, [MultiValued("genres", 16)], dim=32),
    "multi_bi_sage": lambda: tr.MultiBiSage(items, connected, dim=32),
}
model = models[options.model]().adapt(before, catalog)

# 3. Fit. Threads draw the next batches' parts of the graph while the model computes.
model.compile()
batches = model.batches(before, catalog, batch_size=1024)
epochs = 2 if options.smoke else 10
model.fit(
    batches.dataset(),
    steps_per_epoch=batches.steps_per_epoch,
    epochs=epochs,
    shuffle=False,
    verbose=2,
)

# 4. The film comes: its features and edges give it a vector, with the weights as they are. Evaluate
# what is served.
model, catalog = model.attached(split.train, catalog)
service = tr.Service.build(model, catalog)
report = tr.evaluate(service, tr.cases_by_user(split.test, catalog), catalog, ks=(20, 100))
print(report)

# 5. Export, load as a client would, find films similar to the new one, and recommend to a user who
# just saw it.
path = tr.save(service, options.out, metrics=report.to_dict(), model=model)
served, titles = tr.load(path), ratings.items.set_index("item_id")["title"]
found, _ = served.similar([late], k=5)
print(
    f"\n{path}: who likes {titles[late]}, which training never saw, likes",
    *titles.loc[found[0]],
    sep="\n  ",
)
found, _ = served.recommend([""], k=5, history=[[late]])
print("somebody unknown who saw it may like", *titles.loc[found[0]], sep="\n  ")

# 6. LightGCN: no features, vectors of ids alone, propagated over the whole graph in each step.
light = tr.LightGCN().adapt(split.train, catalog)
light.compile()
light.train(split.train, catalog, Train(epochs=epochs))
service = tr.Service.build(light, catalog)
print("\nLightGCN", tr.evaluate(service, tr.cases_by_user(split.test, catalog), catalog, ks=(20,)))
