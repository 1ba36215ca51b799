"""Models that learn by TensorFlow Recommenders' task and by TensorFlow's own NCE: from a line of a
config, through `fit`, save, export, and a file that loads in a fresh process.
"""

import copy
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import tf_recall as tr
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.export.load import restore
from tf_recall.features import Id

ID = {"name": "id", "dim": 16}
TOWERS = {"query_tower": {"features": [ID]}, "item_tower": {"features": [ID]}}
MODELS = {
    "two_tower": {"name": "two_tower", **TOWERS},
    "fm": {
        "name": "fm",
        "query_tower": {"features": ["id"]},
        "item_tower": {"features": ["id"]},
    },
    "graph_sage": {"name": "graph_sage", **TOWERS, "dim": 16, "fan_outs": [4]},
    "item2vec": {"name": "item2vec", "dim": 16},
    "eges": {"name": "eges", "item_tower": {"features": [ID]}},
}
DATA = {"name": "synthetic", "num_users": 200, "num_items": 120, "num_interactions": 6000}
TASK = {"name": "retrieval_task", "temperature": 0.2}
NCE = {"name": "nce_loss", "temperature": 0.2}
LINES = {  # model and loss, as a config names them, and the loss's class
    "a two-tower model by the task": ("two_tower", TASK, tr.RetrievalTask),
    "FM by the task": ("fm", "retrieval_task", tr.RetrievalTask),
    "GraphSAGE by the task": ("graph_sage", TASK, tr.RetrievalTask),
    "Item2Vec by NCE": ("item2vec", "nce_loss", tr.NCELoss),
    "EGES by NCE": ("eges", "nce_loss", tr.NCELoss),
    "a two-tower model by NCE": ("two_tower", NCE, tr.NCELoss),
    "FM by NCE": ("fm", "nce_loss", tr.NCELoss),
}


def config_of(model, loss):
    return tr.Config.from_dict(
        {
            "data": DATA,
            "split": {"name": "by_time", "test": 0.1},
            "model": {**copy.deepcopy(MODELS[model]), "loss": loss},
            "train": {"epochs": 5, "batch_size": 256},
            "evaluate": {"ks": [10]},
            "name": "own",
        }
    )


FRESH = """
import sys
import numpy as np
from tf_recall import Config
from tf_recall.export.load import restore
model, catalog = restore(sys.argv[1])
before = model.embed_catalog()
config = Config.load(sys.argv[2])
batches = model.batches(config.make_split().train, catalog, 256)
losses = model.fit(batches.dataset(), steps_per_epoch=5, verbose=0).history["loss"]
assert np.isfinite(losses).all() and np.any(model.embed_catalog() != before)
np.save(sys.argv[3], before)
print(type(model.loss_fn).__name__, model.loss_fn.temperature)
"""


def in_a_fresh_process(code, *arguments):
    env = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("model, loss, kind", LINES.values(), ids=LINES)
def test_from_a_line_of_a_config_to_an_export_and_on(model, loss, kind, tmp_path):
    keras.utils.set_random_seed(0)
    config = config_of(model, loss)
    trained = tr.train(config, tmp_path / "models")
    assert trained.report.metrics["recall@10"] > 1.3 * 10 / 120  # by chance 10 of 120
    users = [f"u{n}" for n in range(10)]
    served = tr.load(trained.path).recommend(users, k=5)
    np.testing.assert_array_equal(served[0], trained.service.recommend(users, k=5)[0])
    # a fresh process loads the model with its loss, and trains it further
    config.save(tmp_path / "config.yaml")
    files = tmp_path / "config.yaml", tmp_path / "vectors.npy"
    found = in_a_fresh_process(FRESH, trained.path, *files).split()
    temperature = loss["temperature"] if isinstance(loss, dict) else 1.0
    assert found == [kind.__name__, str(temperature)]
    again = restore(trained.path)[0]
    np.testing.assert_allclose(np.load(files[1]), again.embed_catalog(), rtol=1e-5, atol=1e-6)


def adapted(loss, negatives, **arguments):
    keras.utils.set_random_seed(0)
    train = synthetic(num_users=100, num_items=80, num_interactions=2000, seed=1).interactions
    catalog = tr.Catalog.fit(train)
    model = tr.TwoTower(
        query_tower=tr.FeatureTower("user", [Id(8)]),
        item_tower=tr.FeatureTower("item", [Id(8)]),
        negatives=negatives,
        loss=loss,
    )
    model.adapt(train, catalog).compile(tr.SparseAdagrad(0.1), **arguments)
    batches = model.batches(train, catalog, 128)
    losses = model.fit(
        batches.dataset(), steps_per_epoch=8, epochs=3, shuffle=False, verbose=0
    ).history["loss"]
    return losses, model.embed_catalog()


@pytest.mark.parametrize(
    "theirs, ours, draw",
    [
        (tr.RetrievalTask(0.2), tr.SampledSoftmax(0.2), tr.InBatch),
        (tr.NCELoss(0.2), tr.NCE(negatives=32, temperature=0.2), lambda: tr.Uniform(num=32)),
    ],
    ids=["RetrievalTask", "NCELoss"],
)
def test_a_model_learns_what_it_learns_by_our_own_loss(theirs, ours, draw):
    one, other = adapted(theirs, draw()), adapted(ours, draw())
    assert other[0][-1] < 0.9 * other[0][0]
    for found, expected in zip(one, other, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_task_made_after_others_have_trained_and_exported(tmp_path):
    """Neither training nor exporting touches `tf.keras`, so that a task can be made afterwards."""
    code = """
import sys
import tensorflow as tf
import tf_recall as tr
config = tr.Config.load(sys.argv[1])
tr.load(tr.train(config, sys.argv[2]).path)
tr.RetrievalTask()
print("made", tf.keras.__name__[:8])
"""
    config = config_of("two_tower", "sampled_softmax")
    config.save(tmp_path / "config.yaml")
    found = in_a_fresh_process(code, tmp_path / "config.yaml", tmp_path / "models")
    assert found.splitlines()[-1] == "made tf_keras"
