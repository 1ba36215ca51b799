"""Every held-out item is new, as with news: nothing can be found, and training goes on.

The popularity of the held-out items is then not defined, and no log may hold None.
"""

import json
import math

import keras
import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from tf_recall.cli import main
from tf_recall.config import Config
from tf_recall.data.catalog import Catalog
from tf_recall.data.splits import by_time
from tf_recall.runs.callbacks import CatalogRecall, Checkpoint
from tf_recall.runs.model import fit
from tf_recall.runs.prepared import Prepared

TOWER = {"features": [{"name": "id", "dim": 4}]}
VALUES = {
    "split": {"name": "by_time", "test": 0.2, "validation": 0.25},
    "model": {"name": "two_tower", "query_tower": TOWER, "item_tower": TOWER},
    "train": {"epochs": 2, "batch_size": 32, "patience": 1},
    "evaluate": {"ks": [5, 100]},
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A log of articles that are read on the day they appear, and never again."""
    rng = np.random.default_rng(0)
    day = np.repeat(np.arange(5), 60)
    users = [f"u{n}" for n in rng.integers(0, 15, len(day))]
    items = [f"day{d}-{n}" for d, n in zip(day, rng.integers(0, 8, len(day)), strict=True)]
    time = 1_700_000_000 + 86_400 * day + np.arange(len(day))
    path = tmp_path_factory.mktemp("news") / "log.csv"
    pd.DataFrame({"user_id": users, "item_id": items, "timestamp": time}).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def config(path):
    return Config.from_dict({**VALUES, "data": {"name": "files", "interactions": str(path)}})


@pytest.fixture(scope="module")
def world(config):
    split = by_time(config.make_data(), test=0.2, validation=0.25)
    catalog = Catalog.fit(split.train)
    for part in (split.validation, split.test):
        assert not catalog.items.encode(part.frame["item_id"]).any()
    return split, catalog


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_keras_fit(config, world, tmp_path, verbose):
    split, catalog = world
    model = config.make_model().adapt(split.train, catalog)
    model.compile()
    batches = model.batches(split.train, catalog, 32)
    stop = keras.callbacks.EarlyStopping("val_recall@20", mode="max", patience=5)
    history = model.fit(
        batches.dataset(),
        steps_per_epoch=batches.steps_per_epoch,
        epochs=2,
        verbose=verbose,
        callbacks=[
            CatalogRecall(split.validation, catalog, ks=(5, 20)),
            stop,
            Checkpoint(tmp_path / "checkpoints", monitor="val_recall@20"),
            keras.callbacks.TensorBoard(tmp_path / "board"),
            keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        ],
    ).history
    assert history["val_recall@20"] == [0, 0] and stop.best == 0
    assert "val_popularity_lift@20" not in history
    values = [value for of_metric in history.values() for value in of_metric]
    assert all(math.isfinite(value) for value in values)


def test_a_run_takes_the_first_of_equal_epochs(config, world, tmp_path):
    prepared = Prepared.of(config, *world)
    model = fit(prepared, tmp_path / "run", tmp_path / "board")
    first = Checkpoint(tmp_path / "run", "val_recall@20")
    again = config.make_model().adapt(world[0].train, world[1])
    again.compile()
    assert first.restore(again) == 2 and first.best == 0
    first.restore_best(again)
    np.testing.assert_array_equal(model.embed_catalog(), again.embed_catalog())


def test_the_command_line(path, tmp_path):
    data = {"name": "files", "interactions": str(path)}
    (tmp_path / "news.yaml").write_text(yaml.safe_dump({**VALUES, "data": data}))
    arguments = [tmp_path / "news.yaml", "--out", tmp_path, "--tensorboard", tmp_path / "board"]
    result = CliRunner().invoke(main, ["train", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["metrics"]["recall@100"] == 0 and answer["counts"]["unreachable_share"] == 1
    assert answer["metrics"]["popularity_lift@5"] is None
