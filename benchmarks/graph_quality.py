"""Quality of the graph models on Online Retail and MovieLens latest-small, and on cold items.

    python benchmarks/graph_quality.py [--quick] [--manual-dir FOLDER] [--retail FOLDER]

The figures are recall@20 and NDCG@20. Online Retail: each customer's last invoice is the test.
MovieLens: the last film is the test. Three seeds each; the whole catalog is ranked without the
user's past items. The baselines are popularity, a `TwoTower` on ids alone and one on features:

- `GraphSAGE` over users and items, `GraphSAGEI2I` over consecutive items, `PinSage`; a user of the
  last two is the mean of the items they interacted with.
- `PinSage` as in its paper, of a margin and hard negatives, where items have features and no ids;
  that one without importance, with
  as many neighbors drawn uniformly from all that share a user; and that one without hard negatives,
  with uniformly drawn ones alone.

`rare` is recall@20 among held-out items with fewer than ten events in training, `new users` among
users with fewer than five.

Cold items: a tenth of the items is removed from the log with all its edges; the models train on the
rest, and the items return with their features alone. The queries are the users who interacted with
them: `all` ranks the whole catalog, `cold` only the cold items. The baselines there are chance, and
popularity by the number of events that each cold item will have.

Late items: such items return with half of their edges, which the model of ids or of features is
`attached` to, not trained on; the queries are the users of the other half. Beside it, item CF
counted anew.

`ratio` is GraphSAGE's recall@20 over popularity's, the smaller of the two data sets. `--quick`: one
seed, few epochs.
"""

import argparse
from dataclasses import replace

import keras
import numpy as np
from tqdm.auto import tqdm
from tutorial import finish
from worlds import add_folders, real_worlds, show

import tf_recall as tr
from tf_recall.features import Id
from tf_recall.graph.csr import Graph
from tf_recall.graph.typed import Relation, TypedGraph
from tf_recall.recommend.base import Recommender
from tf_recall.recommend.rankings import Popularity

DIM, COLD = 64, 0.1
TEMPERATURE, BATCH = 0.1, 2048  # of the models of users and items, all alike
EPOCHS = {"Online Retail": 4, "MovieLens": 10}  # about as many steps


def item_tower(world, **of_id):
    features = [Id(DIM, **of_id), *(kind(column, 16) for kind, column in world.items)]
    return tr.FeatureTower("item", features, [DIM])


def id_tower():
    return tr.FeatureTower("item", [Id(DIM)])


def user_tower():
    return tr.FeatureTower("user", [Id(DIM)])


def of_users(world, epochs, kind, items, **settings):
    model = kind(user_tower(), items, loss=tr.SampledSoftmax(TEMPERATURE), **settings)
    return world.fit(model, epochs, BATCH)


def two_tower(world, epochs, **of_id):
    return of_users(world, epochs, tr.TwoTower, item_tower(world, **of_id))


def two_tower_ids(world, epochs):
    return of_users(world, epochs, tr.TwoTower, id_tower())


def graph_sage(world, epochs, **of_id):
    return of_users(world, epochs, tr.GraphSAGE, item_tower(world, **of_id), dim=DIM)


def graph_sage_i2i(world, epochs, **of_id):
    return world.fit(tr.GraphSAGEI2I(item_tower(world, **of_id), world.sessions), epochs, 1024)


def pin_sage(world, epochs, **of_id):
    model = tr.PinSage(item_tower(world, **of_id), positives=tr.ItemPairs(world.sessions))
    return world.fit(model, epochs, 1024)


def hard():
    easy, ranks = tr.Uniform(500), tr.Curriculum(tr.RankWindow(num=5))
    return tr.EasyHard(easy, ranks, ratio=100)


def without_ids(world, epochs, kind=tr.PinSage, negatives=None):
    features = [of_column(column, 32) for of_column, column in world.items]
    tower = tr.FeatureTower("item", features, [DIM])
    model = kind(
        tower,
        positives=tr.ItemPairs(world.sessions),
        negatives=negatives or hard(),
        loss=tr.Hinge(0.1),
    )
    return world.fit(model, epochs, 1024)


class EvenNeighbors(tr.PinSage):
    """PinSage whose neighbors are drawn uniformly from all items that share a user."""

    def make_graph(self, train, catalog):
        to_user, to_item = self.hops(train, catalog)
        rng, rows = np.random.default_rng(0), np.arange(catalog.items.size, dtype=np.int32)
        users = even(to_user).draw(rows, self.num_neighbors, rng)
        near = even(to_item).draw(users.ravel(), 1, rng).reshape(users.shape)
        near[near == rows[:, None]] = 0
        return TypedGraph(
            [Relation("item", "item", Graph.from_table(near, None, catalog.items.size))]
        )


def even(graph):
    """The graph without its weights."""
    return Graph(graph.offsets, graph.targets, None, graph.num_targets)


MODELS = {
    "two-tower, ids": two_tower_ids,
    "two-tower, features": two_tower,
    "GraphSAGE": graph_sage,
    "GraphSAGEI2I": graph_sage_i2i,
    "PinSage": pin_sage,
    "PinSage, no ids": without_ids,
    "  and even neighbors": lambda world, epochs: without_ids(world, epochs, EvenNeighbors),
    "  or no hard negatives": lambda world, epochs: without_ids(
        world, epochs, negatives=tr.Uniform(500)
    ),
}
INDUCTIVE = {
    "two-tower, features": two_tower,
    "GraphSAGE": graph_sage,
    "PinSage, no ids": lambda world, epochs, **of_id: without_ids(world, epochs),
}


def without_some(world, seed):
    """The world without the edges of a tenth of its items, which come back as the test."""
    train = world.split.train
    ids = np.unique(train.frame["item_id"])
    cold = np.random.default_rng(seed).choice(ids, round(COLD * len(ids)), replace=False)
    there = train.frame["item_id"].isin(cold).to_numpy()
    split = replace(world.split, train=train.select(~there), test=train.select(there))
    return type(world)(split, world.sessions, world.items, world.users), cold


def late_items(world, seeds, epochs):
    """Recall@20 of items that return with half of their edges: `{model: [seeds, 1]}`."""
    found = {}
    for seed in tqdm(seeds, "late items", leave=False):
        part, cold = without_some(world, seed)
        back = np.random.default_rng(seed).random(len(part.split.test)) < 0.5
        log = world.split.train
        late = np.flatnonzero(log.frame["item_id"].isin(cold))
        grown = log.select(np.delete(np.arange(len(log)), late[~back]))
        catalog = part.catalog.grown(grown)
        cases = tr.cases_by_user(part.split.test.select(~back), catalog).without_seen(catalog)
        towers = {"ids": id_tower, "features": lambda: item_tower(world, unknown_rate=0.5)}
        for name, make in towers.items():
            keras.utils.set_random_seed(seed)
            model = tr.GraphSAGE(user_tower(), make(), dim=DIM)
            part.train(model, epochs, BATCH)
            model, _ = model.attached(grown, part.catalog)
            service = tr.Service.build(model, catalog, k_max=21)
            found.setdefault(f"GraphSAGE of {name}", []).append([recall(cases, service)])
        item_cf = tr.ItemCF().fit(grown, catalog)
        found.setdefault("item CF", []).append([recall(cases, item_cf)])
    return {name: np.array(values) for name, values in found.items()}


class Among(Recommender):
    """A recommender of some items only."""

    def __init__(self, recommender, catalog, items):
        self.recommender, self.catalog, self.items = recommender, catalog, list(items)

    @property
    def k_max(self):
        return self.recommender.k_max

    def _recommend(self, request, k):
        ids, scores = self.recommender.recommend(request.ids, k, allow=self.items)
        return self.catalog.items.encode(ids), scores


class Foresight(Recommender):
    """Popularity that knows how often each cold item will be interacted with."""

    def __init__(self, world):
        self.catalog = world.catalog
        self.rows = 1 + np.argsort(
            -np.bincount(world.cases.rows, minlength=world.catalog.items.size)[1:]
        )

    def _recommend(self, request, k):
        shape = (len(request), k)
        return np.broadcast_to(self.rows[:k], shape), np.broadcast_to(
            -np.arange(k, dtype=np.float32), shape
        )


def recall(cases, recommender):
    return tr.evaluate(recommender, cases, recommender.catalog, ks=(20,)).metrics["recall@20"]


def cold_items(world, seeds, epochs):
    """Recall@20 of cold items, in the whole catalog and among them: `{model: [seeds, 2]}`."""
    found = {}
    for seed in tqdm(seeds, "cold items", leave=False):
        part, cold = without_some(world, seed)
        share = [20 / len(cold)] * 2
        found.setdefault("chance", []).append([20 / part.catalog.num_items, share[1]])
        known = Popularity().fit(None, part.catalog), Foresight(part)
        found.setdefault("popularity", []).append([recall(part.cases, each) for each in known])
        for name, make in INDUCTIVE.items():
            keras.utils.set_random_seed(seed)
            service = make(part, epochs, unknown_rate=0.5)
            asked = service, Among(service, part.catalog, cold)
            found.setdefault(name, []).append([recall(part.cases, each) for each in asked])
    return {name: np.array(values) for name, values in found.items()}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one seed, one epoch")
    add_folders(parser)
    options = parser.parse_args()
    seeds = range(1 if options.quick else 3)

    worlds, found, cold, late = real_worlds(options), {}, {}, {}
    for name, world in worlds.items():
        epochs = 1 if options.quick else EPOCHS[name]
        print(
            f"\n{name}: {len(world.cases)} users, of them {len(world.new)} new; "
            f"{len(world.rare.rows)} rare pairs"
        )
        print(
            f"{'':<28}"
            + "".join(f"{title:>20}" for title in ("recall@20", "NDCG@20", "rare", "new users"))
        )
        found[name, "popularity"] = np.array([world.measure(Popularity().fit(None, world.catalog))])
        show("popularity", found[name, "popularity"])
        for who, make in MODELS.items():
            values = []
            for seed in tqdm(seeds, who, leave=False):
                keras.utils.set_random_seed(seed)
                values.append(world.measure(make(world, epochs)))
            found[name, who] = np.array(values)
            show(who, found[name, who])
        print(f"{'cold items':<28}" + "".join(f"{title:>20}" for title in ("all", "cold")))
        for who, values in cold_items(world, seeds, epochs).items():
            cold[name, who] = values
            show(who, values)
        print(f"{'late items':<28}{'all':>20}")
        for who, values in late_items(world, seeds, epochs).items():
            late[name, who] = values
            show(who, values)

    finish(
        ratio=min(
            float(found[n, "GraphSAGE"][:, 0].mean() / found[n, "popularity"][0, 0]) for n in worlds
        ),
        found={", ".join(key): values.tolist() for key, values in found.items()},
        cold={", ".join(key): values.tolist() for key, values in cold.items()},
        late={", ".join(key): values.tolist() for key, values in late.items()},
    )


if __name__ == "__main__":
    main()
