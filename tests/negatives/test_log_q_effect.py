"""What log q is for: with it a model learns log p(t|u) whatever the sampler; without it, the log of
the lift.

    corrected:   score(u, t) = log p(t|u) + c(u)
    uncorrected: score(u, t) = log p(t|u) - log q(t) + c(u)

A sampler that draws by popularity has q(t) = sum_u P(u) p(t|u), and the lift p / q favors rare
items. An uncorrected model still loses tail events, and here is where. Eight tastes share 240
items. A taste's events are nearly all on 30 items of its own, by Zipf's law. So all items of the
small tastes are tail, and their own users want some of them far more than others. But within a
taste, q is p times the taste's size: all its items have one lift, and the uncorrected model cannot
tell the wanted ones from the rest. (Where all tail items are wanted alike it has nothing to lose,
and where the tail is liked by fewer but better, as by a higher lift, it finds more of the tail, at
the cost of the head.)
"""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_recall.data.batches import Batches
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.features import Id
from tf_recall.losses import SampledSoftmax, UncorrectedSoftmax
from tf_recall.models.two_tower import TwoTower
from tf_recall.negatives import CrossBatch, InBatch, Mixture, Popularity, Streaming, Uniform
from tf_recall.positives import user_item
from tf_recall.towers.features import FeatureTower

TASTES, OWN, NUM_EVENTS, BATCH, STEPS = 8, 30, 100_000, 256, 400
SAMPLERS = {  # and by how much of all tail events the corrected model must find more
    "in batch": (InBatch, 0.15),
    "popularity": (lambda: Popularity(BATCH, power=1), 0.15),
    "streaming": (lambda: InBatch(Streaming(num_buckets=4096)), 0.15),
    # Nothing flows back into the cache, so its third of the negatives does not push items: the bias
    # acts more slowly.
    "mixture": (lambda: Mixture([InBatch(), CrossBatch(BATCH // 2, warm_up=50)]), 0.004),
}


@pytest.fixture(scope="module")
def world():
    """One user for each taste, and the truth: `p` `[users, items]`."""
    rng = np.random.default_rng(0)
    weight = np.tile(np.arange(1, OWN + 1) ** -1.2, TASTES)
    is_own = np.repeat(np.arange(TASTES), OWN) == np.arange(TASTES)[:, None]
    p = weight * np.exp(4.0 * is_own)
    p /= p.sum(axis=1, keepdims=True)
    size = 1 / np.arange(1, TASTES + 1)
    size /= size.sum()
    q = size @ p
    user = rng.choice(TASTES, NUM_EVENTS, p=size)
    item = np.minimum(
        (np.cumsum(p, axis=1)[user] < rng.random((NUM_EVENTS, 1))).sum(axis=1), len(q) - 1
    )
    order = np.argsort(-q)
    head = np.zeros(len(q), bool)
    head[order[: np.searchsorted(np.cumsum(q[order]), 0.5)]] = True  # half of all events
    train = Interactions.from_columns(user_id=user, item_id=item, timestamp=np.arange(NUM_EVENTS))
    return SimpleNamespace(p=p, q=q, size=size, tail=~head, train=train, catalog=Catalog.fit(train))


@pytest.fixture(scope="module")
def learn(world):
    def scores(negatives, loss):
        """The scores `[users, items]` of a model that could hold any."""
        keras.utils.set_random_seed(0)
        towers = [
            FeatureTower(side, [Id(12, unknown_rate=0)], normalize=False)
            for side in ("user", "item")
        ]
        model = TwoTower(*towers, negatives=negatives, loss=loss)
        model.adapt(world.train, world.catalog)
        model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.03, STEPS)))
        batches = Batches(user_item(world.train, world.catalog, model.needs()), BATCH)
        model.fit(batches.dataset(), steps_per_epoch=STEPS, verbose=0, shuffle=False)
        users, items = (
            side.encode(np.arange(size))
            for side, size in ((world.catalog.users, TASTES), (world.catalog.items, len(world.q)))
        )
        query, item = (
            model.embed_query({"user": tf.constant(users, tf.int32)}),
            model.embed_catalog(),
        )
        return query.numpy() @ item[items - 1].T

    return scores


def tail_recall(scores, world, k=10):
    """The chance that an event on a tail item is among its user's k best."""
    found = np.argsort(np.argsort(-scores, axis=1), axis=1) < k
    mass = world.size[:, None] * world.p * world.tail
    return (mass * found).sum() / mass.sum()


def likeness(scores, truth):
    """The mean correlation of a user's scores with `truth`."""
    return np.mean(
        [np.corrcoef(one, other)[0, 1] for one, other in zip(scores, truth, strict=True)]
    )


EACH = [
    pytest.param(name, marks=pytest.mark.slow) if name != "in batch" else name for name in SAMPLERS
]


@pytest.mark.parametrize("name", EACH)
def test_only_the_corrected_model_recalls_what_the_tail_is_wanted_for(name, world, learn):
    make, gain = SAMPLERS[name]
    corrected, uncorrected = learn(make(), SampledSoftmax()), learn(make(), UncorrectedSoftmax())
    truth, lift = np.log(world.p), np.log(world.p) - np.log(world.q)
    assert likeness(corrected, truth) > 0.92 > 0.82 > likeness(corrected, lift)
    assert likeness(uncorrected, lift) > 0.92 > 0.82 > likeness(uncorrected, truth)
    best = tail_recall(truth, world)
    assert tail_recall(corrected, world) > 0.97 * best
    assert tail_recall(corrected, world) > tail_recall(uncorrected, world) + gain


@pytest.mark.slow
def test_uniform_draws_need_no_correction(world, learn):
    uncorrected = learn(Uniform(BATCH), UncorrectedSoftmax())
    assert likeness(uncorrected, np.log(world.p)) > 0.92
    assert tail_recall(uncorrected, world) > 0.97 * tail_recall(np.log(world.p), world)
