"""Seven channels on MovieLens, five of them without training, merged into one list, with reasons.

python examples/channels_movielens.py --manual-dir FOLDER   # latest-small, from its zip
python examples/channels_movielens.py --smoke               # a planted world: no files, seconds
"""

import argparse
import logging

import keras

import tf_recall as tr
from tf_recall.config import Train
from tf_recall.data.sources.movielens import movielens
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.features import Id, MultiValued
from tf_recall.recommend.rankings import Popularity

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--manual-dir", help="the folder of ml-latest-small.zip")
parser.add_argument("--smoke", action="store_true", help="a planted world, one epoch")
parser.add_argument("--out", default="saved_models/channels_example")
options = parser.parse_args()
if not (options.manual_dir or options.smoke):
    parser.error("give --manual-dir FOLDER, or --smoke")
logging.basicConfig(level=logging.INFO, format="%(message)s")
keras.utils.set_random_seed(0)

# 1. Data: every user's last film is the test; the merge learns the channels' weights from the one
# before.
small = synthetic(300, 300, 9_000).interactions if options.smoke else None
log = small or movielens("latest-small", manual_dir=options.manual_dir)
split = tr.leave_last_out(log, validation=True)
catalog = tr.Catalog.fit(split.train)

# 2. The channels: those that count are fitted in a second, a trained model is a service. One model
# knows a user by one vector, one by four, for each interest one, and one finds users like a user.
counted = {
    "popular": Popularity(),
    "genres": tr.InvertedIndex([{"column": "genres", "separator": "|"}]),
    "item_cf": tr.ItemCF(last=50),
    "swing": tr.Swing(last=50),
    "user_cf": tr.UserCF(top=50),
}
channels = {name: channel.fit(split.train, catalog) for name, channel in counted.items()}
item = tr.FeatureTower("item", [Id(64), MultiValued("genres", 16)], units=[64])
users = tr.FeatureTower("user", [Id(64)])
models = {
    "two_tower": tr.TwoTower(users, item, loss=tr.SampledSoftmax(0.1)),
    "interests": tr.ComiRec(dim=64, interests=4, length=20),
    "alike": tr.Siamese(dim=64),
}
epochs = 1 if options.smoke else 10
for name, model in models.items():
    model.adapt(split.train, catalog).compile()
    batches = model.batches(split.train, catalog, batch_size=2048)
    model.fit(
        batches.dataset(),
        steps_per_epoch=batches.steps_per_epoch,
        epochs=epochs,
        shuffle=False,
        verbose=2,
    )
    channels[name] = tr.Service.build(model, catalog, k_max=250)
als = tr.ALS(dim=64).adapt(split.train, catalog)  # sweeps of least squares: no batches, no rate
als.compile()
als.train(split.train, catalog, Train(epochs=epochs))
channels["als"] = tr.Service.build(als, catalog, k_max=250)

# 3. One list. A channel counts by what it adds to the others among the films held out for this.
multi = tr.MultiChannel(channels, catalog, tr.MarginalRank(), depth=200)
cases = tr.cases_by_user(split.validation, catalog)
multi.fit(cases, ks=(20, 100))
print(
    "what the channels count:",
    {name: round(weight, 2) for name, weight in multi.merge.weights.items()},
)

# 4. Side by side on the test, as a table and a plot; and the merge beside popularity. Export.
cases = tr.cases_by_user(split.test, catalog)
report = tr.compare(channels, multi, cases, catalog, k=100)
print(f"\n{report}\n")
print(tr.evaluate(multi, cases, catalog, ks=(20, 100)))
path = tr.save(
    multi,
    options.out,
    metrics=report.to_dict(),
    model=models,
    extra=lambda folder: report.plot(folder / "channels.png"),  # written along with it
)

# 5. Load it, query it, and explain the answers.
served, user = tr.load(path), catalog.users.ids[0]
titles = log.items.set_index("item_id")["title"]
for film in served.recommend([user], k=5, exclude_seen=True)[0][0]:
    print(f"\n{titles[film]}")
    for each in served.explain(user, film, num=2, exclude_seen=True):
        reasons = [titles.get(reason["id"], reason["id"] or "by all") for reason in each["reasons"]]
        which = {
            f"interest {reason['interest']}" for reason in each["reasons"] if "interest" in reason
        }
        print(f"  {each['channel']}, rank {each['rank']}: {reasons}", *which)
