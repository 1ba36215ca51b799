"""Every model and channel at its default and tuned, beside what needs no training.

    python benchmarks/zoo_quality.py [--quick] [--cases ml_last ...] [--only two_tower ...]
        [--seeds 3] [--tuned] [--trials 20] [--minutes 10] [--results FILE] [--show]
        [--manual-dir FOLDER] [--retail FOLDER]

On MovieLens latest-small and Online Retail, each by three protocols: every user's last film, or
invoice, is held out; the last tenth of the log by time, a case for each user; and the same tenth
event by event, each asked with the history at that moment. In `ml_short` a user's films, eight in a
row, are the history of a user of their own: short histories, whose last film is held out. Another
such part before the test is for validation. A line is a config with nothing but data, split and the
model's or channel's name; `--tuned` adds the same after a search of so many trials, or minutes, on
the validation part. Models that need columns of their own (`airbnb_i2i`, `airbnb_u2i`,
`inverted_index`) are left out. `merge` is `marginal_rank` over the counted channels and
`two_tower`; `implicit` is that library's ALS, its settings chosen on the validation part.

Each figure is written to the results file at once, and what stands there is not measured again: a
run that is interrupted goes on, and parts can be run one by one. `--show` prints the table of what
is there. `ratio` is recall@20 of the best trained model over that of the best of item CF, the graph
filter, EASE and implicit, the smallest of the cases; `merge_ratio` is the merge over the best of
all. `--quick`: one case, one seed, two models.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm
from tutorial import finish
from worlds import add_folders

import tf_recall as tr
from tf_recall.config import Config
from tf_recall.recommend.base import Recommender
from tf_recall.runs.channels import run_channels
from tf_recall.runs.model import run_model
from tf_recall.runs.prepared import Prepared

RESULTS = Path("benchmark_results/zoo_quality.jsonl")
SPLITS = {
    "ml_last": {"name": "leave_last_out", "validation": True},
    "ml_short": {"name": "leave_last_out", "validation": True},
    "ml_time": {"name": "by_time", "test": 0.1, "validation": 0.1},
    "or_last": {"name": "leave_last_session_out", "column": "invoice", "validation": True},
    "or_time": {"name": "by_time", "test": 0.1, "validation": 0.1},
    "ml_roll": {"name": "by_time", "test": 0.1, "validation": 0.1},
    "or_roll": {"name": "by_time", "test": 0.1, "validation": 0.1},
}
UNTRAINED = ["item_cf", "graph_filter", "ease", "implicit"]
CHANNELS = ["popularity", "item_cf", "swing", "user_cf", "graph_filter", "ease"]
MODELS = [
    "two_tower",
    "simplex",
    "youtube_dnn",
    "item2vec",
    "eges",
    "fm",
    "graph_sage",
    "graph_sage_i2i",
    "pin_sage",
    "graph_tr",
    "multi_bi_sage",
    "als",
    "light_gcn",
    "matrix_completion",
    "siamese",
    "sdm",
    "sasrec",
    "gru4rec",
    "mind",
    "comirec",
]
FIGURES = ["recall@20", "ndcg@20", "recall@100", "coverage@20"]
ASKED = 50  # single requests whose time is taken
FILMS = 8  # a history of `ml_short`


class Case:
    """Data and a split, read once, and configs on them."""

    def __init__(self, name, options):
        films = {"name": "movielens", "variant": "latest-small"}
        data = {"name": "online_retail", "path": str(options.retail)}
        if name.startswith("ml"):
            data = films | {"manual_dir": str(options.manual_dir)}
        self.name, self.data, self.split = name, data, SPLITS[name]
        self.rolling = name.endswith("roll")
        if name == "ml_short":
            log = self.config(channels={"only": "popularity"}).make_data()
            self.data = {"name": "files", "interactions": short(log, options.results.parent)}
        self.parts = self.config(channels={"only": "popularity"}).make_split()
        self.catalog = tr.Catalog.fit(self.parts.train)

    def config(self, **sections):
        cases = "by_row" if self.rolling else "by_user"
        evaluate = {"ks": [20, 100], "cases": cases}
        values = {"data": self.data, "split": self.split, "evaluate": evaluate}
        return Config.from_dict({**values, "name": "zoo", **sections})

    def of(self, name, seed):
        """The shortest config of a model, a channel or the merge."""
        if name == "merge":
            channels = {each: each for each in CHANNELS[1:]}
            channels["two_tower"] = {"name": "trained", "model": "two_tower"}
            return self.config(channels=channels, merge="marginal_rank", train={"seed": seed})
        if name in MODELS:
            return self.config(model=name, train={"seed": seed})
        return self.config(channels={"only": name})

    def run(self, config):
        """The figures of a config."""
        prepared = Prepared.of(config, self.parts, self.catalog)
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            run = run_model if config.channels is None else run_channels
            learned, recommender, models = run(prepared, Path(folder))
            if config.channels is not None and len(config.channels) == 1:
                (recommender,) = recommender.channels.values()
        seconds = time.perf_counter() - begun
        figures = self.measure(recommender, learned.split.validation)
        return {**figures, "seconds": seconds, "mb": size(recommender, models)}

    def measure(self, recommender, earlier=None):
        cases_of = tr.cases_by_row if self.rolling else tr.cases_by_user
        catalog = recommender.catalog
        cases = cases_of(self.parts.test, catalog, earlier=earlier)
        metrics = tr.evaluate(recommender, cases, catalog, ks=(20, 100)).metrics
        users = catalog.users.ids[:ASKED]
        recommender.recommend(users[:1], k=20)
        begun = time.perf_counter()
        for user in users:
            recommender.recommend([user], k=20, exclude_seen=True)
        wait = (time.perf_counter() - begun) / len(users)
        return {**{name: metrics[name] for name in FIGURES}, "ms": 1000 * wait}

    def implicit(self, seed):
        """implicit's ALS, its settings the best of a grid by validation; it learns both parts."""
        begun = time.perf_counter()
        grid = [(dim, reg, alpha) for dim in (64, 128) for reg in (1, 10, 50) for alpha in (1, 10)]
        validation = tr.cases_by_user(self.parts.validation, self.catalog)
        best = max(
            (ALS(self.parts.train, self.catalog, *each, seed) for each in tqdm(grid, leave=False)),
            key=lambda als: tr.evaluate(als, validation, self.catalog, (20,)).metrics["recall@20"],
        )
        seconds = (time.perf_counter() - begun) / len(grid)
        both = self.parts.together().train
        best = ALS(both, tr.Catalog.fit(both), *best.settings.values(), seed)
        return {**self.measure(best), "seconds": seconds, "mb": best.mb, "chosen": best.settings}


def short(log, folder):
    """Writes a log whose users are eight events in a row of another's, and gives its path."""
    frame = log.frame[["user_id", "item_id", "timestamp"]]
    frame = frame[frame.groupby("item_id")["item_id"].transform("size") >= 5]
    frame = frame.sort_values(["user_id", "timestamp"], kind="stable")
    number = frame.groupby("user_id").cumcount() // FILMS
    frame = frame.assign(user_id=frame["user_id"].astype(str) + "_" + number.astype(str))
    frame = frame[frame.groupby("user_id")["user_id"].transform("size") == FILMS]
    frame.to_csv(folder / "ml_short.csv", index=False)
    return str(folder / "ml_short.csv")


class ALS(Recommender):
    """implicit's alternating least squares over the likes of the training part.

    Users with a history are solved from it, as the library does by `recalculate_user`.
    """

    takes_history = True

    def __init__(self, train, catalog, dim, regularization, alpha, seed):
        from implicit.als import AlternatingLeastSquares

        self.catalog = catalog
        self.settings = {"dim": dim, "regularization": regularization, "alpha": alpha}
        self.likes = tr.ItemCF().fit(train, catalog).likes[:, 1:].tocsr()
        self.likes.data[:] = 1
        self.model = AlternatingLeastSquares(
            dim, regularization=regularization, alpha=alpha, iterations=15, random_state=seed
        )
        self.model.fit(self.likes, show_progress=False)
        self.mb = (self.model.user_factors.nbytes + self.model.item_factors.nbytes) / 2**20

    def _recommend(self, request, k):
        users, seen = request.rows, bool(request.exclude_seen.all())
        liked = self.likes[users].tolil()
        given = request.history.any(axis=1)
        for line in np.flatnonzero(given):
            items = np.unique(request.history[line])
            liked[line] = 0
            liked[line, items[items > 0] - 1] = 1
        items, scores = self.model.recommend(
            np.arange(len(users)) if given.any() else users,
            liked.tocsr(),
            N=k,
            filter_already_liked_items=seen,
            recalculate_user=bool(given.any()),
        )
        there = (items >= 0) & (scores > np.finfo(np.float32).min)
        rows = np.where(there, items + 1, 0).astype(np.int32)
        return rows, np.where(there, scores, -np.inf).astype(np.float32)


def size(recommender, models):
    """Megabytes of an export."""
    with tempfile.TemporaryDirectory() as folder:
        if models and not isinstance(recommender, tr.MultiChannel):
            (model,) = models.values()
            tr.save(recommender, folder, model=model)
        elif isinstance(recommender, tr.MultiChannel):
            tr.save(recommender, folder, model=models)
        else:
            recommender.save(folder)
        return (
            sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 2**20
        )


def tuned(case, name, options):
    """The best config that a search finds on the validation part."""
    with tempfile.TemporaryDirectory() as folder:
        found = tr.tune(case.of(name, 0), options.trials, options.minutes, out=folder)
        return Config.load(found.path)


def key(*values):
    return json.dumps(values)


def wanted(options):
    """What is to be measured: case, name, setting and seed."""
    for case in options.cases:
        for name in options.only:
            for setting in ("default", "tuned") if options.tuned else ("default",):
                if setting == "tuned" and name in ("popularity", "implicit", "merge"):
                    continue
                seeds = options.seeds if name in [*MODELS, "merge", "implicit"] else 1
                yield from ((case, name, setting, seed) for seed in range(seeds))


def run(options):
    """Measures what the results do not hold yet."""
    options.results.parent.mkdir(parents=True, exist_ok=True)
    done = {key(*line["key"]) for line in lines(options.results)}
    todo = [each for each in wanted(options) if key(*each) not in done]
    cases, best = {}, {}
    for case_name, name, setting, seed in tqdm(todo, "zoo"):
        if case_name not in cases:
            cases[case_name] = Case(case_name, options)
        case = cases[case_name]
        if name == "implicit":
            figures = case.implicit(seed)
        else:
            config = case.of(name, seed)
            if setting == "tuned":
                if (case_name, name) not in best:
                    best[case_name, name] = tuned(case, name, options)
                values = best[case_name, name].to_dict()
                values["train"]["seed"] = seed
                config = Config.from_dict(values)
            figures = case.run(config)
        line = {"key": [case_name, name, setting, seed], **figures}
        with open(options.results, "a") as file:
            file.write(json.dumps(line) + "\n")


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def table(path):
    """The figures of all seeds, a line for each case, recommender and setting."""
    frame = pd.DataFrame(lines(path))
    frame[["case", "name", "setting", "seed"]] = frame.pop("key").tolist()
    figures = [*FIGURES, "seconds", "ms", "mb"]
    groups = frame.groupby(["case", "name", "setting"])
    return (
        groups[figures].mean().assign(seeds=groups.size(), spread=groups["recall@20"].std(ddof=0))
    )


def ratios(means):
    """By case: the best trained model, and the merge, over the best that needs no training."""
    found = {}
    for case, group in means["recall@20"].groupby("case"):
        best = group.groupby("name").max()
        trained = best.reindex(MODELS).max()
        untrained = best.reindex(UNTRAINED).max()
        merged = best.get("merge", np.nan)
        found[case] = trained / untrained, merged / max(trained, untrained)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--quick", action="store_true", help="one case, one seed, two models")
    parser.add_argument("--cases", nargs="+", default=list(SPLITS), choices=list(SPLITS))
    everything = [*CHANNELS, "implicit", *MODELS, "merge"]
    parser.add_argument("--only", nargs="+", default=everything, choices=everything)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tuned", action="store_true", help="search too")
    parser.add_argument("--trials", type=int, default=20, help="of a search")
    parser.add_argument("--minutes", type=float, default=10, help="of a search")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--show", action="store_true", help="measure nothing")
    add_folders(parser)
    options = parser.parse_args()
    if options.quick:
        options.cases, options.seeds = ["ml_last"], 1
        options.only = ["item_cf", "graph_filter", "two_tower"]
        options.results = Path(tempfile.mkdtemp()) / "zoo_quality.jsonl"
    if not options.show:
        run(options)
    means = table(options.results)
    with pd.option_context("display.width", 200, "display.max_rows", None):
        print(means.round(4).to_string())
    found = ratios(means)
    finish(
        ratio=min(model for model, _ in found.values()),
        merge_ratio=min(merged for _, merged in found.values()),
        **{case: list(values) for case, values in found.items()},
    )


if __name__ == "__main__":
    main()
