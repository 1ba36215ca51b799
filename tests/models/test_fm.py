"""FM recall: the whole machine learns by either loss, and serves by an inner product."""

import keras
import numpy as np
import pytest

from tf_recall.data.catalog import Catalog
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.data.splits import by_time
from tf_recall.evaluation import cases_by_user, evaluate
from tf_recall.features import Buckets, Categorical, Id, MultiValued, Text
from tf_recall.losses import BPR, SampledSoftmax
from tf_recall.models import FM
from tf_recall.negatives import Popularity
from tf_recall.positives import UserItem
from tf_recall.recommend.service import Service
from tf_recall.towers.fm import FMItemTower, FMQueryTower


@pytest.fixture(scope="module")
def world():
    log = synthetic(num_users=300, num_items=200, num_interactions=15_000, seed=1).interactions
    split = by_time(log, test=0.15)
    return split, Catalog.fit(split.train)


def fitted(world, loss, alpha=None, epochs=8):
    keras.utils.set_random_seed(0)
    users = FMQueryTower("user", [Id(), Categorical("favorite_genre"), Buckets("age")], 16)
    items = FMItemTower("item", [Id(), MultiValued("genres"), Text("title")], 16)
    model = FM(users, items, UserItem(alpha), Popularity(64), loss).adapt(world[0].train, world[1])
    model.compile()
    batches = model.batches(world[0].train, world[1], 512)
    model.fit(
        batches.dataset(),
        steps_per_epoch=batches.steps_per_epoch,
        epochs=epochs,
        shuffle=False,
        verbose=0,
    )
    return model


@pytest.mark.parametrize(
    "loss, alpha", [(BPR(), None), (SampledSoftmax(), 0.005)], ids=["BPR", "softmax"]
)
def test_it_learns_and_what_is_served_is_the_inner_product(world, loss, alpha):
    split, catalog = world
    model = fitted(world, loss, alpha)
    service = Service.build(model, catalog)
    report = evaluate(service, cases_by_user(split.test, catalog), catalog, ks=(20,))
    assert report.metrics["recall@20"] > 1.3 * report.baseline["recall@20"]
    users = catalog.users.ids[:5]
    query, items = service.embed_query(users), model.embed_catalog()
    assert query.shape == (5, 17) and (query[:, 0] == 1).all()
    rows, scores = service.recommend_rows(users, k=10)
    expected = query @ items.T
    np.testing.assert_allclose(scores, -np.sort(-expected, axis=1)[:, :10], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        np.take_along_axis(expected, rows - 1, axis=1), scores, rtol=1e-4, atol=1e-5
    )


def test_a_new_user_is_answered_from_what_is_known(world):
    """Somebody new whose favorite genre is told gets films of that genre more than the average."""
    split, catalog = world
    service = Service.build(fitted(world, BPR()), catalog)
    genres = split.train.items.set_index("item_id")["genres"]
    told = genres.str.split("|").explode().unique()
    found, _ = service.recommend(["nobody"] * len(told), k=20, favorite_genre=list(told))
    hits = [
        np.mean([genre in genres[item] for item in row])
        for genre, row in zip(told, found, strict=True)
    ]
    by_chance = [genres.str.contains(genre, regex=False).mean() for genre in told]
    assert np.mean(hits) > 1.5 * np.mean(by_chance)
