"""Quality of the Word2Vec family and of FM on Online Retail and MovieLens latest-small: recall@20 and NDCG@20.

    python benchmarks/sessions_quality.py [--quick] [--manual-dir FOLDER] [--retail FOLDER]

Online Retail: an invoice is a session, each customer's last invoice is the test. MovieLens: a user is a session, the
last film is the test. Three seeds each, the whole catalogue ranked without what the user has. Beside popularity and
item-to-item cosine (the sum over what the user has of the cosine between columns of the user-item matrix):

- gensim's skip-gram and `Item2Vec` on the same sessions, window, size and epochs; the user is the mean direction of the
  last 50 items for both.
- `EGES` with the description's words and the price band, or the title's words and the genres.
- `TwoTower` on ids alone, and `FM` on ids and features: country, words, price band; genres and words.

`rare` is recall@20 among held-out items with fewer than ten events in training, `new users` among users with fewer than
five. `ratio` is Item2Vec's recall@20 over gensim's, the smaller of the two data sets; `eges_rare` EGES's over
Item2Vec's on rare items, `fm_new_users` FM's over the two-tower's for users with few events, on Online Retail.
`--quick`: one seed, few epochs.
"""

import argparse
from pathlib import Path

import keras
import numpy as np
from gensim.models import Word2Vec
from scipy import sparse
from tqdm.auto import tqdm
from tutorial import finish

import tf_recall as tr
from tf_recall.channels.popularity import Popularity
from tf_recall.data.movielens import movielens
from tf_recall.data.online_retail import online_retail
from tf_recall.evaluation.cases import Cases
from tf_recall.features import Categorical, Id, MultiValued, Text
from tf_recall.index import Exact

DIM, WINDOW, EPOCHS, RARE, NEW = 64, 20, 30, 10, 5


class World:
    """A split, its catalogue, and the cases that are asked."""

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
        model.adapt(self.split.train, self.catalog).compile(optimizer)
        batches = model.batches(self.split.train, self.catalog, batch_size)
        steps = batches.steps_per_epoch
        model.fit(batches.dataset(), steps_per_epoch=steps, epochs=epochs, verbose=0, shuffle=False)
        return self.serve(model)

    def serve(self, model):
        return tr.Service.build(model, self.catalog, Exact(), k_max=21)


def part(cases, kept):
    """The cases with only those of their pairs that are `kept`."""
    count = np.bincount(cases.owner[kept], minlength=len(cases))
    left = count > 0
    context = {name: values[left] for name, values in cases.context.items()}
    offsets = np.concatenate([[0], np.cumsum(count[left])])
    return Cases(cases.user_id[left], context, offsets, cases.rows[kept], np.zeros(left.sum(), np.int64))


class ItemCosine:
    """score(u, t) = sum over j that u has of |users of both| / sqrt(|users of t| |users of j|)."""

    def __init__(self, world):
        self.catalog, seen = world.catalog, world.catalog.seen
        shape = (self.catalog.users.size, self.catalog.items.size)
        self.taken = sparse.csr_array((np.ones(len(seen.rows), np.float32), seen.rows, seen.offsets), shape=shape)
        scaled = self.taken.multiply(1 / np.sqrt(np.maximum(self.taken.sum(0), 1))).tocsr()
        self.like = (scaled.T @ scaled).toarray()
        np.fill_diagonal(self.like, 0)

    def recommend_rows(self, user_id, k, exclude_seen=False, **context):
        taken = self.taken[self.catalog.users.encode(user_id)]
        scores = taken @ self.like
        if exclude_seen:
            scores[taken.toarray() > 0] = -np.inf
        scores[:, 0] = -np.inf
        rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        scores = np.take_along_axis(scores, rows, axis=1).astype(np.float32)
        return np.where(scores > -np.inf, rows, 0), scores


def gensim(world, seed, epochs):
    """gensim's vectors in our service."""
    sessions = world.sessions(world.split.train, world.catalog)
    sentences = [[str(row) for row in session] for session in np.split(sessions.items, sessions.offsets[1:-1])]
    settings = {"vector_size": DIM, "window": WINDOW, "negative": 5, "sg": 1, "sample": 0, "min_count": 1}
    vectors = Word2Vec(sentences, **settings, epochs=epochs, workers=2, seed=seed).wv
    model = tr.Item2Vec(DIM).adapt(world.split.train, world.catalog)
    table = model.item_tower.features[0].table.embeddings
    rows = table.numpy()
    rows[np.array(vectors.index_to_key, int)] = vectors.vectors
    table.assign(rows)
    return world.serve(model)


def rate(learning_rate):
    """Skip-gram's own optimizer at another rate."""
    return tr.RowwiseAdagrad(learning_rate, initial_accumulator_value=1e-10, epsilon=1e-10)


def item2vec(world, seed, epochs):
    positives = tr.ShrinkingWindows(world.sessions, window=WINDOW)
    return world.fit(tr.Item2Vec(DIM, positives), epochs, 1024, rate(0.2))


def eges(world, seed, epochs):
    own = Id(DIM, unknown_rate=0.3, min_count=RARE)  # below that the attributes speak
    tower = tr.WeightedTower("item", [own, *(kind(column, DIM) for kind, column in world.items)])
    return world.fit(tr.EGES(tower, tr.Walks(world.sessions)), max(1, epochs // 3), 1024, rate(0.3))


def two_tower(world, seed, epochs):
    towers = tr.FeatureTower("user", [Id(DIM)]), tr.FeatureTower("item", [Id(DIM)])
    return world.fit(tr.TwoTower(*towers, loss=tr.SampledSoftmax(0.1)), max(1, epochs // 2), 2048)


def fm(world, seed, epochs):
    users = tr.FMQueryTower("user", [Id(), *(kind(column) for kind, column in world.users)], DIM)
    items = tr.FMItemTower("item", [Id(), *(kind(column) for kind, column in world.items)], DIM)
    return world.fit(tr.FM(users, items, None, tr.Popularity(1024), tr.SampledSoftmax()), max(1, epochs // 3), 2048)


MODELS = {"gensim": gensim, "Item2Vec": item2vec, "EGES": eges, "two-tower, ids": two_tower, "FM": fm}


def show(name, values):
    cells = (f"{mean:.4f} +- {spread:.4f}" for mean, spread in zip(values.mean(0), values.std(0), strict=True))
    print(f"{name:<18}" + "".join(f"{cell:>20}" for cell in cells), flush=True)


def main():
    data = Path(__file__).resolve().parents[2] / "shared" / "data"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="under five minutes")
    parser.add_argument("--manual-dir", default=data / "movielens", help="folder of ml-latest-small.zip")
    parser.add_argument("--retail", default=data / "online-retail", help="folder of online_retail.csv.gz")
    options = parser.parse_args()
    seeds, epochs = (range(1), 3) if options.quick else (range(3), EPOCHS)

    retail = tr.leave_last_session_out(online_retail(options.retail), "invoice")
    films = tr.leave_last_out(movielens("latest-small", manual_dir=options.manual_dir))
    words = [(Text, "description"), (Categorical, "price_band")]
    worlds = {
        "Online Retail": World(retail, tr.ByColumn("invoice"), words, [(Categorical, "country")]),
        "MovieLens": World(films, tr.ByUser(), [(Text, "title"), (MultiValued, "genres")], []),
    }
    found = {}
    for name, world in worlds.items():
        print(f"\n{name}: {len(world.cases)} users, of them {len(world.new)} new; {len(world.rare.rows)} rare pairs")
        print(f"{'':<18}" + "".join(f"{title:>20}" for title in ("recall@20", "NDCG@20", "rare", "new users")))
        baselines = {"popularity": Popularity(world.catalog), "item cosine": ItemCosine(world)}
        for who, recommender in baselines.items():
            found[name, who] = np.array([world.measure(recommender)])
            show(who, found[name, who])
        for who, make in MODELS.items():
            values = []
            for seed in tqdm(seeds, who, leave=False):
                keras.utils.set_random_seed(seed)
                values.append(world.measure(make(world, seed, epochs)))
            found[name, who] = np.array(values)
            show(who, found[name, who])

    def ratio(world, ours, theirs, column):
        return float(found[world, ours][:, column].mean() / found[world, theirs][:, column].mean())

    finish(
        ratio=min(ratio(world, "Item2Vec", "gensim", 0) for world in worlds),
        eges_rare={world: ratio(world, "EGES", "Item2Vec", 2) for world in worlds},
        fm_new_users=ratio("Online Retail", "FM", "two-tower, ids", 3),
        found={", ".join(key): values.tolist() for key, values in found.items()},
    )


if __name__ == "__main__":
    main()
