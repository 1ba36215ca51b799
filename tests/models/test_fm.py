"""FM recall: the whole machine learns by either loss, and serves by an inner product."""

import keras
import numpy as np
import pandas as pd
import pytest

from tf_recall.config import Config, Train
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.data.splits import by_time, leave_last_out
from tf_recall.evaluation import cases_by_user, evaluate
from tf_recall.features import Buckets, Categorical, Id, MultiValued, Text
from tf_recall.losses import BPR, SampledSoftmax
from tf_recall.models import FM
from tf_recall.negatives import Popularity
from tf_recall.positives import UserItem
from tf_recall.recommend.service import Service
from tf_recall.retrievers.optimizers import SparseAdagrad
from tf_recall.runs.start import optimizer_of
from tf_recall.towers.fm import FMItemTower, FMQueryTower
from tf_recall.tuning.complete import complete


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


def short_histories(num_users=3000, per_user=9, groups=60, per_group=10, seed=0):
    """Users who took nine items, three of five from one group that is theirs."""
    rng = np.random.default_rng(seed)
    users = np.repeat(np.arange(num_users), per_user)
    group = np.repeat(rng.integers(0, groups, num_users), per_user)
    group = np.where(rng.random(len(users)) < 0.6, group, rng.integers(0, groups, len(users)))
    items = group * per_group + rng.integers(0, per_group, len(users))
    frame = pd.DataFrame({"user_id": users, "item_id": items, "timestamp": np.arange(len(users))})
    return Interactions(frame.drop_duplicates(["user_id", "item_id"]))


@pytest.mark.slow
def test_its_own_optimizer_keeps_it_from_learning_short_histories_by_heart():
    split = leave_last_out(short_histories())
    catalog = Catalog.fit(split.train)
    found = []
    for optimizer in [None, SparseAdagrad(0.1)]:
        keras.utils.set_random_seed(0)
        model = FM(num_factors=32).adapt(split.train, catalog)
        model.compile(optimizer)
        model.train(split.train, catalog, Train(epochs=20))
        service = Service.build(model, catalog)
        report = evaluate(service, cases_by_user(split.test, catalog), catalog, ks=(20,))
        found.append(report.metrics["recall@20"])
    assert found[0] > 1.15 * found[1]


@pytest.mark.parametrize("batch_size", [None, 128, 4096, 10**6])
def test_its_own_optimizer_takes_the_same_share_of_a_weight_in_every_epoch(world, batch_size):
    split, catalog = world
    events = catalog.items.counts.sum()
    optimizer = FM().adapt(split.train, catalog).optimizer_for(batch_size)
    steps = max(events / (batch_size or 1024), 1)
    assert 0.1 * optimizer.weight_decay * steps == pytest.approx(0.2)


def test_a_run_and_a_search_decay_by_the_batches_of_the_config(world):
    split, catalog = world
    section = {"data": {"name": "synthetic"}, "model": "fm", "train": {"batch_size": 256}}
    config = Config.from_dict({"name": "fm", "split": {"name": "by_time"}, **section})
    model = config.make_model().adapt(split.train, catalog)
    own = model.optimizer_for(256).weight_decay
    assert optimizer_of(config, model, None).weight_decay == own
    written = complete(config, split, catalog)["train"]["optimizer"]["weight_decay"]
    assert np.float32(written) == np.float32(own)
    assert own == pytest.approx(model.optimizer_for().weight_decay / 4)
