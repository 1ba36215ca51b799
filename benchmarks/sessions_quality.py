"""Quality of the Word2Vec family and of FM on Online Retail and MovieLens latest-small.

    python benchmarks/sessions_quality.py [--quick] [--manual-dir FOLDER] [--retail FOLDER]

The figures are recall@20 and NDCG@20. Online Retail: an invoice is a session, each customer's last
invoice is the test. MovieLens: a user is a session, the last film is the test. Three seeds each;
the whole catalog is ranked without the user's past items. The baselines are popularity and
item-to-item cosine (the sum over the user's items of the cosine between columns of the user-item
matrix):

- gensim's skip-gram and `Item2Vec` on the same sessions, window, size and epochs; the user is the
  mean direction of the last 50 items for both.
- `EGES` with the description's words and the price band, or the title's words and the genres.
- `TwoTower` on ids alone, and `FM` on ids and features: country, words, price band; genres and
  words.

`rare` is recall@20 among held-out items with fewer than ten events in training, `new users` among
users with fewer than five. `ratio` is Item2Vec's recall@20 over gensim's, the smaller of the two
data sets; `eges_rare` EGES's over Item2Vec's on rare items, `fm_new_users` FM's over the
two-tower's for users with few events, on Online Retail. `--quick`: one seed, few epochs.
"""

import argparse

import keras
import numpy as np
from gensim.models import Word2Vec
from scipy import sparse
from tqdm.auto import tqdm
from tutorial import finish
from worlds import RARE, add_folders, real_worlds, show

import tf_recall as tr
from tf_recall.features import Id
from tf_recall.recommend.base import Recommender
from tf_recall.recommend.rankings import Popularity

DIM, WINDOW, EPOCHS = 64, 20, 30


class ItemCosine(Recommender):
    """score(u, t) = sum over j that u has of |users of both| / sqrt(|users of t| |users of j|)."""

    def __init__(self, world):
        self.catalog, seen = world.catalog, world.catalog.seen
        shape = (self.catalog.users.size, self.catalog.items.size)
        self.seen = sparse.csr_array(
            (np.ones(len(seen.rows), np.float32), seen.rows, seen.offsets), shape=shape
        )
        scaled = self.seen.multiply(1 / np.sqrt(np.maximum(self.seen.sum(0), 1))).tocsr()
        self.like = (scaled.T @ scaled).toarray()
        np.fill_diagonal(self.like, 0)

    def _recommend(self, request, k):
        seen = self.seen[request.rows]
        scores = seen @ self.like
        if request.exclude_seen.all():
            scores[seen.toarray() > 0] = -np.inf
        scores[:, 0] = -np.inf
        rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        scores = np.take_along_axis(scores, rows, axis=1).astype(np.float32)
        return np.where(scores > -np.inf, rows, 0), scores


def gensim(world, seed, epochs):
    """gensim's vectors in our service."""
    sessions = world.sessions(world.split.train, world.catalog)
    sentences = [
        [str(row) for row in session]
        for session in np.split(sessions.items, sessions.offsets[1:-1])
    ]
    settings = {
        "vector_size": DIM,
        "window": WINDOW,
        "negative": 5,
        "sg": 1,
        "sample": 0,
        "min_count": 1,
    }
    vectors = Word2Vec(sentences, **settings, epochs=epochs, workers=2, seed=seed).wv
    model = tr.Item2Vec(DIM).adapt(world.split.train, world.catalog)
    table = model.item_tower.features[0].table.embeddings
    rows = table.numpy()
    rows[np.array(vectors.index_to_key, int)] = vectors.vectors
    table.assign(rows)
    return world.serve(model)


def rate(learning_rate):
    """Skip-gram's own optimizer at another rate."""
    return tr.SparseAdagrad(learning_rate, initial_accumulator_value=1e-10, epsilon=1e-10)


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
    return world.fit(
        tr.FM(users, items, None, tr.Popularity(1024), tr.SampledSoftmax()),
        max(1, epochs // 3),
        2048,
    )


MODELS = {
    "gensim": gensim,
    "Item2Vec": item2vec,
    "EGES": eges,
    "two-tower, ids": two_tower,
    "FM": fm,
}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="under five minutes")
    add_folders(parser)
    options = parser.parse_args()
    seeds, epochs = (range(1), 3) if options.quick else (range(3), EPOCHS)

    worlds, found = real_worlds(options), {}
    for name, world in worlds.items():
        print(
            f"\n{name}: {len(world.cases)} users, of them {len(world.new)} new; "
            f"{len(world.rare.rows)} rare pairs"
        )
        print(
            f"{'':<28}"
            + "".join(f"{title:>20}" for title in ("recall@20", "NDCG@20", "rare", "new users"))
        )
        baselines = {
            "popularity": Popularity().fit(None, world.catalog),
            "item cosine": ItemCosine(world),
        }
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
