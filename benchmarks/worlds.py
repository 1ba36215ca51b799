"""The data on which benchmarks compare models: a split, its catalog and the cases."""

from pathlib import Path

import numpy as np

import tf_recall as tr
from tf_recall.data.sources.movielens import movielens
from tf_recall.data.sources.online_retail import online_retail
from tf_recall.evaluation.cases import Cases
from tf_recall.features import Categorical, MultiValued, Text
from tf_recall.index import Exact

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
RARE, NEW = 10, 5  # fewer events make an item rare, a user new


class World:
    """A split, its catalog, and its cases."""

    def __init__(self, split, sessions, items, users):
        self.split, self.sessions, self.items, self.users = split, sessions, items, users
        self.catalog = tr.Catalog.fit(split.train)
        self.cases = tr.cases_by_user(split.test, self.catalog).without_seen(self.catalog)
        known = self.catalog.users.counts[self.catalog.users.encode(self.cases.user_id)]
        self.rare = part(self.cases, self.catalog.items.counts[self.cases.rows] < RARE)
        self.new = part(self.cases, (known < NEW)[self.cases.owner])

    def measure(self, recommender):
        """recall@20, NDCG@20, recall@20 of rare items and for new users."""
        found = []
        for cases in (self.cases, self.rare, self.new):
            report = len(cases) and tr.evaluate(recommender, cases, self.catalog, ks=(20,))
            found.append(report.metrics["recall@20"] if report else np.nan)
            if cases is self.cases:
                found.append(report.metrics["ndcg@20"])
        return found

    def fit(self, model, epochs, batch_size, optimizer=None):
        """The service of a model after so many epochs."""
        self.train(model, epochs, batch_size, optimizer)
        return self.serve(model)

    def train(self, model, epochs, batch_size, optimizer=None):
        """Trains a model for so many epochs."""
        model.adapt(self.split.train, self.catalog).compile(optimizer)
        batches = model.batches(self.split.train, self.catalog, batch_size)
        steps = batches.steps_per_epoch
        model.fit(batches.dataset(), steps_per_epoch=steps, epochs=epochs, verbose=0, shuffle=False)

    def serve(self, model):
        return tr.Service.build(model, self.catalog, Exact(), k_max=21)


def part(cases, kept):
    """The cases with only those of their pairs that are `kept`."""
    count = np.bincount(cases.owner[kept], minlength=len(cases))
    left = count > 0
    context = {name: values[left] for name, values in cases.context.items()}
    offsets = np.concatenate([[0], np.cumsum(count[left])])
    return Cases(
        cases.user_id[left], context, offsets, cases.rows[kept], np.zeros(left.sum(), np.int64)
    )


def add_folders(parser):
    """Adds the options for the folders of the data."""
    parser.add_argument(
        "--manual-dir", default=DATA / "movielens", help="folder of ml-latest-small.zip"
    )
    parser.add_argument(
        "--retail", default=DATA / "online-retail", help="folder of online_retail.csv.gz"
    )


def real_worlds(options):
    """Online Retail and MovieLens latest-small, each user's last invoice or film held out."""
    retail = tr.leave_last_session_out(online_retail(options.retail), "invoice")
    films = tr.leave_last_out(movielens("latest-small", manual_dir=options.manual_dir))
    words = [(Text, "description"), (Categorical, "price_band")]
    return {
        "Online Retail": World(retail, tr.ByColumn("invoice"), words, [(Categorical, "country")]),
        "MovieLens": World(films, tr.ByUser(), [(Text, "title"), (MultiValued, "genres")], []),
    }


def show(name, values):
    """A line of means and deviations over the seeds."""
    cells = (
        f"{mean:.4f} +- {spread:.4f}"
        for mean, spread in zip(values.mean(0), values.std(0), strict=True)
    )
    print(f"{name:<28}" + "".join(f"{cell:>20}" for cell in cells), flush=True)
