"""What a softmax learns of weighted positives is each item's share of the weights."""

import keras
import numpy as np
import pytest

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.weighting import Saturating
from tf_recall.features import Id
from tf_recall.models.item2vec import Item2Vec
from tf_recall.models.two_tower import TwoTower
from tf_recall.negatives import InBatch, Uniform
from tf_recall.towers.features import FeatureTower

ITEMS, STEPS = 120, 300


def test_who_does_not_heed_weights_says_so(caplog):
    users, items = ["a", "a", "b", "b"], ["x", "y", "x", "z"]
    log = Interactions.from_columns(users, items, weight=[1, 2, 3, 4], timestamp=[1, 2, 3, 4])
    catalog = Catalog.fit(log)
    for model, says in ((TwoTower(dim=4), False), (Item2Vec(dim=4), True)):
        caplog.clear()
        model.adapt(log, catalog).batches(log, catalog, batch_size=2)
        assert ("every pair counts alike" in caplog.text) == says


@pytest.fixture(scope="module")
def log():
    """Items by Zipf's law, of which each is watched for 1/9, 1 or 9 seconds whenever it is."""
    generator = np.random.default_rng(0)
    counts = np.ceil(1500 / np.arange(2, ITEMS + 2)).astype(int)
    item = generator.permutation(np.repeat(np.arange(ITEMS), counts))
    seconds = 9.0 ** generator.integers(-1, 2, ITEMS)
    users = [f"u{each}" for each in generator.integers(0, 8, len(item))]
    return Interactions.from_columns(users, item, seconds=seconds[item])


@pytest.mark.parametrize("negatives", [InBatch(), Uniform(256)], ids=["in batch", "uniform"])
def test_log_q_goes_by_rows_and_scores_by_weights(log, negatives):
    weighted = log.weighted(Saturating("seconds"))
    catalog = Catalog.fit(weighted)
    assert catalog.items.counts.sum() == len(log)  # what is drawn, and its log q, is by rows
    keras.utils.set_random_seed(0)
    towers = [FeatureTower(each, [Id(8)], normalize=False) for each in ("user", "item")]
    model = TwoTower(*towers, negatives=negatives).adapt(weighted, catalog)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.05, STEPS)))
    batches = model.batches(weighted, catalog, batch_size=512)
    model.fit(batches.dataset(), steps_per_epoch=STEPS, verbose=0, shuffle=False)
    query = model.embed_query({"user": np.arange(1, 9, dtype=np.int32)}).numpy()
    scores = (query @ model.embed_catalog().T).mean(axis=0)
    rows = catalog.items.encode(weighted.frame["item_id"]) - 1
    weight = np.zeros(ITEMS)
    weight[rows] = weighted.frame["weight"]
    causes = np.stack([np.log(np.bincount(rows)), np.log(weight), np.ones(ITEMS)], axis=1)
    slopes, *_ = np.linalg.lstsq(causes, scores, rcond=None)
    # log(share of the weights) = log(count) + log(weight) + a constant
    np.testing.assert_allclose(slopes[:2], 1, atol=0.2)
