"""EGES: items that nobody has taken yet have vectors from their attributes, and are found."""

import keras
import numpy as np
import pytest

from tf_recall.data.catalog import Catalog
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.data.splits import by_time
from tf_recall.evaluation import cases_by_user, evaluate
from tf_recall.features import Id, MultiValued, Text
from tf_recall.models import EGES
from tf_recall.positives import Walks
from tf_recall.recommend.service import Service
from tf_recall.towers.side_info import MeanTower, WeightedTower

DIM, K = 32, 20


@pytest.fixture(scope="module")
def world():
    """Every sixth item is new: training knows its title and genres, and no event of it."""
    log = synthetic(num_users=300, num_items=300, num_interactions=15_000, seed=1).interactions
    split = by_time(log, test=0.2)
    new = {f"i{n}" for n in range(0, 300, 6)}
    train = split.train.select(~split.train.frame["item_id"].isin(new).to_numpy())
    test = split.test.select(split.test.frame["item_id"].isin(new).to_numpy())
    return train, test, Catalog.fit(train), new


@pytest.mark.slow
@pytest.mark.parametrize("kind", [MeanTower, WeightedTower])
def test_new_items_are_found_above_chance_and_popularity(kind, world):
    train, test, catalog, new = world
    assert (catalog.items.counts[catalog.items.encode(sorted(new))] == 0).all()
    keras.utils.set_random_seed(0)
    tower = kind("item", [Id(DIM), Text("title", DIM), MultiValued("genres", DIM)])
    model = EGES(tower, Walks(num_walks=5, length=8)).adapt(train, catalog)
    model.compile()
    batches = model.batches(train, catalog, 512)
    model.fit(
        batches.dataset(),
        steps_per_epoch=batches.steps_per_epoch,
        epochs=4,
        shuffle=False,
        verbose=0,
    )
    service = Service.build(model, catalog)
    report = evaluate(service, cases_by_user(test, catalog), catalog, ks=(K,))
    chance = K / catalog.num_items
    assert report.metrics[f"recall@{K}"] > 2 * chance
    assert report.metrics[f"recall@{K}"] > 3 * report.baseline[f"recall@{K}"]

    # Among themselves, too: the genres of a new item are those of its neighbors.
    items = train.items.set_index("item_id")["genres"].str.split("|")
    found, _ = service.similar(sorted(new), k=10)
    shared = [
        bool(set(items[a]) & set(items[b]))
        for a, row in zip(sorted(new), found, strict=True)
        for b in row
    ]
    by_chance = np.mean(
        [bool(set(items[a]) & set(items[b])) for a in sorted(new) for b in items.index]
    )
    assert np.mean(shared) > 2 * by_chance

    # An article that no table knows is embedded from what the request says of it.
    title, genres = train.items.set_index("item_id").loc["i0", ["title", "genres"]]
    np.testing.assert_allclose(
        service.embed_item(["never heard of"], title=[title], genres=[genres]),
        service.embed_item(["i0"]),
        atol=1e-6,
    )
