"""Self-supervision of the item tower: recall of popular, rare and new items, with it and without.

    python benchmarks/self_supervision_quality.py [--quick] [--seeds 3] [--ablation]
        [--manual-dir FOLDER] [--retail FOLDER]

Online Retail and MovieLens latest-small, each user's last invoice or film held out. One item in ten
is new: all its events are taken from training, and the model knows its features alone. The model is
a `TwoTower` with an id and the words and price band, or the words and genres, of an item through an
MLP, with in-batch and uniform negatives. Figures are recall@20 over the whole catalog without the
user's past items: of `head`, held-out items with ten or more events in training; of `rare`, with
fewer; of `new`, the events that were taken from training.

`ratio` is the mean of recall@20 of rare and new items with self-supervision at its defaults over
the same without, the smaller of the two sets'; `head` the same of popular items. `--ablation` adds
each view alone. `--quick`: one seed, few epochs.
"""

import argparse

import keras
import numpy as np
from tqdm.auto import tqdm
from tutorial import finish
from worlds import RARE, add_folders, part, real_worlds, show

import tf_recall as tr
from tf_recall.features import Id
from tf_recall.features.views import Complementary, CorrelatedMask, RandomMask, ValueDropout
from tf_recall.index import Exact
from tf_recall.losses.self_supervision import SelfSupervision

DIM, EPOCHS = 64, 8
GROUPS = ("head", "rare", "new")
SETTINGS = {"without": None, "default": {}}
VIEWS = {
    "random mask": [RandomMask],
    "value dropout": [ValueDropout],
    "complementary": [Complementary],
    "correlated mask": [CorrelatedMask],
    "correlated, dropout": [CorrelatedMask, ValueDropout],
    "random mask, dropout": [RandomMask, ValueDropout],
}


class NewItems:
    """A world of which one item in ten is unknown to training."""

    def __init__(self, world):
        self.features = world.items
        log, ids = world.split.train, world.catalog.items.ids
        rng = np.random.default_rng(0)
        new = rng.choice(ids, len(ids) // 10, replace=False)
        taken = np.isin(log.frame["item_id"].to_numpy(), new)
        self.train = log.select(~taken)
        self.catalog = tr.Catalog.fit(self.train)
        cases = tr.cases_by_user(world.split.test, self.catalog).without_seen(self.catalog)
        counts = self.catalog.items.counts[cases.rows]
        self.cases = {
            "head": part(cases, counts >= RARE),
            "rare": part(cases, (counts > 0) & (counts < RARE)),
            "new": tr.cases_by_user(log.select(taken), self.catalog),
        }

    def measure(self, service):
        return [
            tr.evaluate(service, cases, self.catalog, (20,), lists=False).metrics["recall@20"]
            for cases in self.cases.values()
        ]

    def fit(self, seed, epochs, extra):
        keras.utils.set_random_seed(seed)
        features = [Id(DIM), *(kind(column, DIM) for kind, column in self.features)]
        model = tr.TwoTower(
            tr.FeatureTower("user", [Id(DIM)]),
            tr.FeatureTower("item", features, units=[2 * DIM, DIM]),
            negatives=tr.Mixture([tr.InBatch(), tr.Uniform(1024)]),
            self_supervision=None if extra is None else SelfSupervision(**extra),
        )
        model.adapt(self.train, self.catalog).compile(tr.LazyAdam(0.003))
        batches = model.batches(self.train, self.catalog, 2048)
        steps = batches.steps_per_epoch
        model.fit(batches.dataset(), steps_per_epoch=steps, epochs=epochs, verbose=0, shuffle=False)
        return self.measure(tr.Service.build(model, self.catalog, Exact(), k_max=21))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one seed, few epochs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ablation", action="store_true", help="each view alone too")
    add_folders(parser)
    options = parser.parse_args()
    seeds, epochs = (1, 2) if options.quick else (options.seeds, EPOCHS)
    settings = dict(SETTINGS)
    if options.ablation:
        settings |= {name: {"views": views} for name, views in VIEWS.items()}
    found = {}
    for name, world in real_worlds(options).items():
        world = NewItems(world)
        sizes = ", ".join(f"{len(cases.rows)} {group}" for group, cases in world.cases.items())
        print(f"\n{name}: pairs of items: {sizes}\n{'':<28}" + "".join(f"{g:>20}" for g in GROUPS))
        for who, extra in settings.items():
            values = []
            for seed in tqdm(range(seeds), who, leave=False):
                made = extra and {"views": [view() for view in extra["views"]]}
                values.append(world.fit(seed, epochs, extra if made is None else made or {}))
            found[name, who] = np.array(values)
            show(who, found[name, who])

    def ratio(world, groups):
        sides = [found[world, who][:, groups].mean(axis=0) for who in ("default", "without")]
        return float((sides[0] / sides[1]).mean())

    worlds = sorted({world for world, _ in found})
    finish(
        ratio=min(ratio(world, [1, 2]) for world in worlds),
        head=min(ratio(world, [0]) for world in worlds),
        found={", ".join(key): values.tolist() for key, values in found.items()},
    )


if __name__ == "__main__":
    main()
