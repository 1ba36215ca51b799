"""Users as their histories, compared with users as ids: rolling evaluation by global time.

    python benchmarks/next_item_quality.py [--quick] [--manual-dir FOLDER] [--retail FOLDER]

On MovieLens latest-small and Online Retail the last tenth of the log is held out, and the tenth
before it is for validation. Each held-out event is one case with the history at that moment,
earlier held-out events included; the whole catalog is ranked without the user's past items. Most
users of the held-out part are new: a model of ids has one vector for all of them.

The models are a `TwoTower` on ids (one user in ten shown as unknown while training, in-batch and
uniform negatives), `YouTubeDNN` at its defaults, and item CF from the last 50 items. Each model
stops at its best epoch by recall@20 on the validation part, measured in the same way. `ratio` is
`YouTubeDNN`'s recall@20 over the two-tower model's, the smaller of the two sets'. `--quick`: one
seed, few epochs.
"""

import argparse
import contextlib
import sys
import tempfile

import numpy as np
from tutorial import finish
from worlds import add_folders, show

import tf_recall as tr
from tf_recall.evaluation import cases_by_row
from tf_recall.recommend.rankings import Popularity
from tf_recall.runs.measure import measure
from tf_recall.runs.model import fit, serve
from tf_recall.runs.prepared import Prepared

IDS = {
    "name": "two_tower",
    "query_tower": {"features": [{"name": "id", "unknown_rate": 0.1}]},
    "item_tower": {"features": ["id"]},
    "negatives": {"name": "mixture", "samplers": ["in_batch", {"name": "uniform", "num": 1024}]},
    "loss": {"name": "sampled_softmax", "temperature": 0.1},
}
MODELS = {"two-tower, ids": (IDS, 10), "YouTubeDNN": ({"name": "youtube_dnn"}, 4)}
METRICS = ("recall@20", "ndcg@20")


def config_of(data, model, seed, epochs):
    return tr.Config.from_dict(
        {
            "data": data,
            "split": {"name": "by_time", "test": 0.1},
            "model": model,
            "train": {"epochs": epochs, "batch_size": 1024, "seed": seed},
            "evaluate": {"cases": "by_row", "ks": [20]},
        }
    )


def trained(config, split, catalog):
    """The recall@20 and NDCG@20 of a config's model on the test part."""
    prepared = Prepared.of(config, split, catalog)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        service = serve(prepared, fit(prepared, folder))
    report = measure(service, config.evaluate, split.test)
    return [report.metrics[name] for name in METRICS]


def counted(channel, split, catalog):
    """The same of a channel."""
    cases = cases_by_row(split.test, catalog)
    report = tr.evaluate(channel.fit(split.train, catalog), cases, catalog, ks=(20,))
    return [report.metrics[name] for name in METRICS]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed, few epochs")
    add_folders(parser)
    options = parser.parse_args()
    films = {"name": "movielens", "variant": "latest-small", "manual_dir": str(options.manual_dir)}
    shop = {"name": "online_retail", "path": str(options.retail)}
    seeds = range(1 if options.quick else 3)
    ratios, found = {}, {}
    for title, data in {"MovieLens": films, "Online Retail": shop}.items():
        split = config_of(data, IDS, 0, 1).make_split()
        catalog = tr.Catalog.fit(split.train)
        users = catalog.users.encode(split.test.frame["user_id"])
        known = (catalog.users.counts[users] > 0).mean()
        print(f"\n{title}, {len(split.test):,} held-out events, {known:.0%} of known users")
        print(f"{'':<28}" + "".join(f"{name:>20}" for name in METRICS))
        figures = {
            "popularity": [counted(Popularity(), split, catalog)],
            "item CF, the last 50": [counted(tr.ItemCF(last=50), split, catalog)],
        }
        for name, (model, epochs) in MODELS.items():
            epochs = epochs // 2 if options.quick else epochs
            configs = [config_of(data, model, seed, epochs) for seed in seeds]
            figures[name] = [trained(config, split, catalog) for config in configs]
        for name, values in figures.items():
            show(name, np.array(values))
        found[title] = {name: np.mean(values, axis=0).tolist() for name, values in figures.items()}
        ratios[title] = found[title]["YouTubeDNN"][0] / found[title]["two-tower, ids"][0]
    finish(ratio=min(ratios.values()), **ratios, found=found)


if __name__ == "__main__":
    main()
