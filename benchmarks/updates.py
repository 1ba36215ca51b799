"""Ten days of updates, beside never updating and training anew every day.

    python benchmarks/updates.py [--quick] [--days 10] [--epochs 30] [--only movielens]
        [--manual-dir FOLDER] [--retail FOLDER]

The events of MovieLens latest-small and of Online Retail in order of time: the first three fifths
train a `TwoTower` of ids, the rest are ten days of as many events each. What a day's second half
holds is asked of four models, one case for each user, without what they had by then; films that a
model has never seen count as misses:

    never         the first model
    anew          one trained from scratch on all earlier days, every day
    full          the first model, grown by each earlier day and trained one epoch on its events
    full, users   the same, whose user ids alone then train on the day's first half too

How many epochs the first and the new models train is chosen once, of `--epochs` at most: after how
many a model of the first part without its latest tenth finds most of that tenth. The choice is not
counted as time.

Figures are means over the days; seconds are of growing and training, of the days together.
`ratio` is the recall@20 of `full` over that of `anew`, the smaller of the two sets, and
`time_ratio` the time of `anew` over that of `full`. `--quick`: three days, few epochs.
"""

import argparse
import contextlib
import sys
import time
from dataclasses import replace

import keras
import numpy as np
from tutorial import finish
from worlds import add_folders

import tf_recall as tr
from tf_recall.config import Train
from tf_recall.data.growth import joined
from tf_recall.evaluation import cases_by_user, evaluate
from tf_recall.updates.freeze import only, user_tables
from tf_recall.updates.log import of_known_items, unseen

FIRST = 0.6  # of the log, what the first model learns
SETS = ("movielens", "online_retail")
BATCH = 1024


class Learner:
    """A model and what it knows."""

    def __init__(self, model, catalog, log):
        self.model, self.catalog, self.log = model, catalog, log

    @classmethod
    def anew(cls, log, epochs):
        keras.utils.set_random_seed(0)
        catalog = tr.Catalog.fit(log)
        model = tr.TwoTower().adapt(log, catalog)
        model.compile()
        model.train(log, catalog, Train(epochs=epochs, batch_size=BATCH))
        return cls(model, catalog, log)

    @staticmethod
    def best_epochs(log, most):
        """After how many epochs a model finds most of a log's latest tenth."""
        cut = round(0.9 * len(log))
        earlier, latest = log.select(np.arange(cut)), log.select(np.arange(cut, len(log)))
        keras.utils.set_random_seed(0)
        catalog = tr.Catalog.fit(earlier)
        model = tr.TwoTower().adapt(earlier, catalog)
        model.compile()
        recall = tr.CatalogRecall(latest, catalog)
        stop = keras.callbacks.EarlyStopping("val_recall@20", mode="max", patience=5)
        model.train(earlier, catalog, Train(epochs=most, batch_size=BATCH), [recall, stop])
        return 1 + int(np.argmax(model.history.history["val_recall@20"]))

    def learned(self, fresh, users_only=False):
        """The model after one epoch of further events."""
        if users_only:
            fresh = of_known_items(fresh, self.catalog.items.ids)
        both = joined(self.log, fresh)
        catalog = self.catalog.grown(both)
        model = self.model.grown(both, catalog)
        frozen = only(model, user_tables(model)) if users_only else contextlib.nullcontext()
        with frozen:
            model.train(both, catalog, Train(epochs=1, batch_size=BATCH))
        return Learner(model, catalog, replace(both, learned=None))

    def recall(self, asked, before):
        """Recall@20 of events; a model that has not learned all before them gets it as seen."""
        cases = cases_by_user(unseen(asked, before), self.catalog, earlier=before)
        service = tr.Service.build(self.model, self.catalog, k_max=50)
        report = evaluate(service, cases, self.catalog, ks=(20,), lists=False)
        return report.metrics["recall@20"]


def events(name, options):
    """A set's log without its tables, in order of time."""
    if name == "movielens":
        data = {"name": "movielens", "variant": "latest-small"}
        data["manual_dir"] = str(options.manual_dir)
    else:
        data = {"name": "online_retail", "path": str(options.retail)}
    config = {"data": data, "split": "by_time", "model": "two_tower"}
    log = tr.Config.from_dict(config).make_data()
    order = np.argsort(log.frame["timestamp"].to_numpy(), kind="stable")
    frame = log.frame[["user_id", "item_id", "timestamp"]].iloc[order].reset_index(drop=True)
    return tr.Interactions(frame)


def rolled(log, days, epochs):
    """Each way's recall by day, and its seconds."""
    bounds = np.linspace(FIRST * len(log), len(log), days + 1).astype(int)
    recall = {"never": [], "anew": [], "full": [], "full, users": []}
    seconds = dict.fromkeys(recall, 0.0)

    def timed(name, learn):
        begun = time.perf_counter()
        learner = learn()
        seconds[name] += time.perf_counter() - begun
        return learner

    begin = log.select(np.arange(bounds[0]))
    epochs = Learner.best_epochs(begin, epochs)
    print(f"{epochs} epochs", flush=True)
    first = Learner.anew(begin, epochs)
    full = first
    for day, (begin, end) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
        known, middle = log.select(np.arange(begin)), (begin + end) // 2
        morning = log.select(np.arange(begin, middle))
        if day:
            fresh = log.select(np.arange(bounds[day - 1], begin))
            full = timed("full", lambda full=full, fresh=fresh: full.learned(fresh))
        anew = timed("anew", lambda known=known: Learner.anew(known, epochs)) if day else first
        users = timed("full, users", lambda full=full, new=morning: full.learned(new, True))
        asked, before = log.select(np.arange(middle, end)), log.select(np.arange(middle))
        for name, learner in zip(recall, (first, anew, full, users), strict=True):
            recall[name].append(learner.recall(asked, before))
        shown = {name: round(values[-1], 4) for name, values in recall.items()}
        spent = {name: round(each, 1) for name, each in seconds.items()}
        print(f"day {day + 1}: {shown}, seconds so far {spent}", flush=True)
    seconds["full, users"] += seconds["full"]
    return {name: float(np.mean(values)) for name, values in recall.items()}, seconds, epochs


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--only", choices=SETS, nargs="*", default=SETS)
    add_folders(parser)
    options = parser.parse_args()
    days, epochs = (3, 3) if options.quick else (options.days, options.epochs)
    result = {"days": days}
    for name in options.only:
        with contextlib.redirect_stdout(sys.stderr):
            recall, seconds, chosen = rolled(events(name, options), days, epochs)
        print(f"\n{name}, {days} days\n{'':<14}recall@20  seconds")
        for way in recall:
            print(f"{way:<14}{recall[way]:9.4f}{seconds[way]:9.1f}")
        result[name] = {"recall@20": recall, "seconds": seconds, "epochs": chosen}
    of_sets = [result[name] for name in options.only]
    ratio = min(each["recall@20"]["full"] / each["recall@20"]["anew"] for each in of_sets)
    time_ratio = min(each["seconds"]["anew"] / each["seconds"]["full"] for each in of_sets)
    finish(**result, time_ratio=time_ratio, ratio=ratio)


if __name__ == "__main__":
    main()
