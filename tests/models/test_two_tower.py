"""The binder on a real model: what a batch's loss is made of, and that XLA computes the same."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tf_recall.data.batches import Batches
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.features import Buckets, Id, Text
from tf_recall.losses import SampledSoftmax
from tf_recall.models import TwoTower
from tf_recall.positives import user_item
from tf_recall.retrievers.optimizers import SparseAdagrad
from tf_recall.towers.features import FeatureTower

TEMPERATURE = 0.2


@pytest.fixture(scope="module")
def train():
    rng = np.random.default_rng(0)
    items = rng.zipf(1.5, 300) % 12
    table = {
        "item_id": [f"i{n}" for n in range(12)],
        "title": [f"word{n % 5} word{n % 3}" for n in range(12)],
    }
    return Interactions.from_columns(
        user_id=[f"u{n}" for n in rng.integers(0, 20, 300)],
        item_id=[f"i{n}" for n in items],
        timestamp=rng.integers(0, 1000, 300),
        weight=rng.uniform(0.5, 2, 300),
        items=pd.DataFrame(table),
    )


def made(train, jit=False):
    keras.utils.set_random_seed(0)
    catalog = Catalog.fit(train)
    query = FeatureTower("user", [Id(8, unknown_rate=0), Buckets("timestamp", 4, 5)], [8])
    item = FeatureTower("item", [Id(8, unknown_rate=0), Text("title", 4)], [8])
    model = TwoTower(query, item, loss=SampledSoftmax(TEMPERATURE)).adapt(train, catalog)
    model.compile(SparseAdagrad(0.1), jit_compile=jit)
    return model, Batches(user_item(train, catalog, model.needs()), 32), catalog


def tensors(batch):
    return {k: tensors(v) if isinstance(v, dict) else tf.constant(v) for k, v in batch.items()}


def test_the_loss_of_a_batch_agrees_with_a_slow_twin(train):
    model, batches, catalog = made(train)
    batch = batches.at(0)
    query = model.embed_query(tensors(batch["query"])).numpy()
    rows = batch["item"]["item"]
    item = model.embed_item({"item": tf.constant(rows)}).numpy()
    counts = catalog.items.counts
    losses = []
    for i in range(32):  # L7: row i's user against row i's item and all items of other id
        scores = [
            query[i] @ item[j] / TEMPERATURE - np.log(counts[rows[j]] / counts.sum())
            for j in range(32)
            if j == i or rows[j] != rows[i]
        ]
        own = query[i] @ item[i] / TEMPERATURE - np.log(counts[rows[i]] / counts.sum())
        losses.append(batch["weight"][i] * (np.log(np.sum(np.exp(scores))) - own))
    assert len(set(rows)) < 32  # items repeat, so that distinct items are not the rows
    np.testing.assert_allclose(model(tensors(batch)), np.mean(losses), rtol=1e-5)


def test_the_order_of_the_rows_says_nothing_but_their_pairing_does(train):
    model, batches, _ = made(train)
    batch = batches.at(0)
    order = np.random.default_rng(1).permutation(32)
    same = {
        "query": {k: v[order] for k, v in batch["query"].items()},
        "item": {"item": batch["item"]["item"][order]},
        "weight": batch["weight"][order],
    }
    np.testing.assert_allclose(model(tensors(batch)), model(tensors(same)), rtol=1e-5)
    other = {**batch, "item": {"item": batch["item"]["item"][order]}}
    assert abs(float(model(tensors(batch))) - float(model(tensors(other)))) > 1e-3


@pytest.mark.slow
def test_xla_with_static_shapes_trains_to_the_same_weights(train):
    ends = []
    for jit in (False, True):
        model, batches, _ = made(train, jit)
        model.fit(
            batches.dataset(),
            steps_per_epoch=batches.steps_per_epoch,
            epochs=2,
            shuffle=False,
            verbose=0,
        )
        ends.append(model.embed_catalog())
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-4)
    assert np.abs(ends[0] - made(train)[0].embed_catalog()).max() > 0.1


def test_serving_knows_neither_temperature_nor_log_q(train):
    model, batches, catalog = made(train)
    before = model.embed_catalog()
    model.negatives.adapt(np.r_[0, np.arange(1, 13)])
    model.loss_fn.temperature = 0.01
    np.testing.assert_array_equal(model.embed_catalog(), before)


def test_towers_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match="one size, not 8 and 4"):
        TwoTower(FeatureTower("user", [Id(8)]), FeatureTower("item", [Id(4)]))
