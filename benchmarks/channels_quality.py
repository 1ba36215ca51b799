"""The merge of channels compared with each of them: recall@20 and recall@100.

    python benchmarks/channels_quality.py [--quick] [--manual-dir FOLDER] [--retail FOLDER]

On Online Retail and MovieLens latest-small, with two splits of each: every user's last film, or
invoice, is held out; and the last tenth of the log by time. Another such part before the test is
for validation. The whole catalog is ranked without the user's past items. There are nine channels:
popularity, an inverted index (genres; price bands), item CF, Swing, user CF, the graph filter,
EASE, a `TwoTower` on ids and features, and `Item2Vec`. The merges combine their first 400 items: in
turns, by reciprocal rank with equal weights, and by `MarginalRank`, which learns on the validation
part. The two trained channels and the merges run with three seeds.

`implicit` is that library's cosine recommender, the 100 items most similar to each, on the same
matrix: an independent twin of item CF with weighted cosine and all of a user's items; it is left
out where the package is not installed. `ratio` is the recall of the last merge over that of the
best channel, which is the best in hindsight, of the four worlds and both lengths the smallest.
`--seeds`: how many. `--quick`: one seed, few epochs.
"""

import argparse
from importlib.util import find_spec

import keras
import numpy as np
from tqdm.auto import tqdm
from tutorial import finish
from worlds import add_folders

import tf_recall as tr
from tf_recall.channels.similarity import WeightedCosine
from tf_recall.data.sources.movielens import movielens
from tf_recall.data.sources.online_retail import online_retail
from tf_recall.features import Categorical, Id, MultiValued, Text
from tf_recall.index import Exact
from tf_recall.recommend.base import Recommender
from tf_recall.recommend.rankings import Popularity

DEPTH, KS, DIM = 400, (20, 100), 64


class World:
    """A split with what its models are made of."""

    def __init__(self, split, attributes, items, sessions, epochs):
        self.split, self.attributes, self.items, self.sessions, self.epochs = (
            split,
            attributes,
            items,
            sessions,
            epochs,
        )
        self.catalog = tr.Catalog.fit(split.train)

    def counted(self):
        """The channels that need no training, and item CF as implicit has it."""
        channels = {
            "popular": Popularity(),
            "attributes": tr.InvertedIndex(self.attributes),
            "item CF": tr.ItemCF(last=50),
            "swing": tr.Swing(last=50),
            "user CF": tr.UserCF(top=50),
            "graph filter": tr.GraphFilter(),
            "EASE": tr.EASE(),
        }
        fitted = {
            name: channel.fit(self.split.train, self.catalog) for name, channel in channels.items()
        }
        return fitted, tr.ItemCF(WeightedCosine()).fit(self.split.train, self.catalog)

    def trained(self, quick):
        query = tr.FeatureTower("user", [Id(DIM, unknown_rate=0.1)])
        features = [Id(DIM), *(kind(column, 16) for kind, column in self.items)]
        towers = tr.TwoTower(
            query, tr.FeatureTower("item", features, [DIM]), loss=tr.SampledSoftmax(0.1)
        )
        windows = tr.Item2Vec(DIM, positives=tr.ShrinkingWindows(self.sessions, window=20))
        epochs = (1, 2) if quick else self.epochs
        return {
            "two-tower": self.fit(towers, 2048, epochs[0]),
            "Item2Vec": self.fit(windows, 1024, epochs[1]),
        }

    def fit(self, model, batch_size, epochs):
        model.adapt(self.split.train, self.catalog).compile()
        batches = model.batches(self.split.train, self.catalog, batch_size)
        steps = batches.steps_per_epoch
        model.fit(batches.dataset(), steps_per_epoch=steps, epochs=epochs, verbose=0, shuffle=False)
        return tr.Service.build(model, self.catalog, Exact(), k_max=DEPTH + 1)

    def measure(self, recommender):
        cases = tr.cases_by_user(self.split.test, self.catalog)
        metrics = tr.evaluate(recommender, cases, self.catalog, ks=KS).metrics
        return [metrics[f"recall@{k}"] for k in KS]

    def merged(self, channels):
        """The merges of the channels, the last one's weights from the validation part."""
        merges = {
            "in turns": tr.RoundRobin(),
            "reciprocal rank": tr.ReciprocalRank(),
            "marginal": tr.MarginalRank(),
        }
        merged = {
            name: tr.MultiChannel(channels, self.catalog, merge, DEPTH)
            for name, merge in merges.items()
        }
        cases = tr.cases_by_user(self.split.validation, self.catalog)
        merged["marginal"].fit(cases, KS)
        return merged


class Implicit(Recommender):
    """implicit's cosine recommender over the likes of an `ItemCF`."""

    def __init__(self, channel):
        from implicit.nearest_neighbours import CosineRecommender

        self.catalog, self.likes = channel.catalog, channel.likes[:, 1:].tocsr()
        # which counts the item itself among its own
        self.model = CosineRecommender(K=channel.top + 1)
        self.model.fit(self.likes, show_progress=False)

    def _recommend(self, request, k):
        users, seen = request.rows, bool(request.exclude_seen.all())
        items, scores = self.model.recommend(
            users, self.likes[users], N=k, filter_already_liked_items=seen
        )
        there = (items >= 0) & (scores > 0)
        return np.where(there, items + 1, 0).astype(np.int32), np.where(
            there, scores, -np.inf
        ).astype(np.float32)


def worlds(options):
    films, retail = (
        movielens("latest-small", manual_dir=options.manual_dir),
        online_retail(options.retail),
    )
    ours = (
        [{"column": "genres", "separator": "|"}],
        [(Text, "title"), (MultiValued, "genres")],
        tr.ByUser(),
        (10, 30),
    )
    shop = (
        ["price_band"],
        [(Text, "description"), (Categorical, "price_band")],
        tr.ByColumn("invoice"),
        (4, 30),
    )
    return {
        "MovieLens, last film": World(tr.leave_last_out(films, validation=True), *ours),
        "MovieLens, by time": World(tr.by_time(films, 0.1, 0.1), *ours),
        "Online Retail, last invoice": World(
            tr.leave_last_session_out(retail, "invoice", validation=True), *shop
        ),
        "Online Retail, by time": World(tr.by_time(retail, 0.1, 0.1), *shop),
    }


def show(name, values):
    """A line of means and deviations over the seeds."""
    cells = (
        f"{mean:.4f} +- {spread:.4f}"
        for mean, spread in zip(values.mean(0), values.std(0), strict=True)
    )
    print(f"{name:<28}" + "".join(f"{cell:>20}" for cell in cells), flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one seed, few epochs")
    parser.add_argument("--seeds", type=int, default=3)
    add_folders(parser)
    options = parser.parse_args()
    ratios, found, apart = {}, {}, []
    for title, world in worlds(options).items():
        print(f"\n{title:<28}" + "".join(f"{f'recall@{k}':>20}" for k in KS))
        counted, whole = world.counted()
        figures = {name: [world.measure(channel)] for name, channel in counted.items()}
        ours = world.measure(whole)
        theirs = world.measure(Implicit(whole)) if find_spec("implicit") else ours
        apart.append(max(abs(one - other) for one, other in zip(ours, theirs, strict=True)))
        for seed in tqdm(range(1 if options.quick else options.seeds), title, leave=False):
            keras.utils.set_random_seed(seed)
            channels = {**counted, **world.trained(options.quick)}
            merged = world.merged(channels)
            rest = {name: channels[name] for name in channels if name not in counted}
            for name, each in {**rest, **merged}.items():
                figures.setdefault(name, []).append(world.measure(each))
        for name, values in figures.items():
            show(name, np.array(values))
        show("item CF, weighted, all", np.array([ours]))
        show("implicit", np.array([theirs]))
        learned = merged["marginal"].merge
        print("the last seed, by", learned.by, learned.weights)
        found[title] = {name: np.mean(values, axis=0).tolist() for name, values in figures.items()}
        best = np.max([found[title][name] for name in channels], axis=0)
        ratios[title] = (found[title]["marginal"] / best).tolist()
    smallest = float(np.min(list(ratios.values())))
    finish(ratio=smallest, **ratios, found=found, recall_apart_from_implicit=max(apart))


if __name__ == "__main__":
    main()
