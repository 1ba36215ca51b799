import keras
import numpy as np
import pytest

from tf_recall.config import Config
from tf_recall.data.catalog import Catalog
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.data.splits import by_time
from tf_recall.evaluation import cases_by_user, evaluate
from tf_recall.index import Exact
from tf_recall.recommend.service import Service
from tf_recall.runs.callbacks import CatalogRecall, Checkpoint
from tf_recall.runs.model import fit
from tf_recall.runs.prepared import Prepared

CONFIG = {
    "data": {"name": "synthetic"},
    "split": {"name": "by_time"},
    "model": {
        "name": "two_tower",
        "query_tower": {"features": [{"name": "id", "dim": 8, "unknown_rate": 0.2}]},
        "item_tower": {
            "features": [{"name": "id", "dim": 8}, {"name": "text", "column": "title", "dim": 4}],
            "units": [8],
            "dropout": 0.2,
        },
    },
}


CACHE = {"name": "cross_batch", "size": 200, "warm_up": 5}
STATEFUL = {  # counts, a cache, an epoch and a temperature, all of which must come back
    "name": "easy_hard",
    "easy": {
        "name": "mixture",
        "samplers": [{"name": "in_batch", "frequency": "streaming"}, CACHE],
    },
    "hard": {
        "name": "curriculum",
        "hard": {"name": "same_group", "column": "genres", "separator": "|"},
    },
}
LEARNED = {"name": "sampled_softmax", "temperature": {"name": "learned", "initial": 0.2}}


@pytest.fixture(scope="module")
def world():
    split = by_time(synthetic(200, 100, 4000).interactions, test=0.1, validation=0.1)
    return split, Catalog.fit(split.train)


def config(optimizer="lazy_adam", model=None, **train):
    optimizer = {"name": optimizer, "learning_rate": 0.05, "weight_decay": 0.01}
    model = {**CONFIG["model"], **(model or {})}
    return Config.from_dict(
        {**CONFIG, "model": model, "train": {"batch_size": 256, "optimizer": optimizer, **train}}
    )


def run(settings, world, folder, **options):
    """Trains on the planted world; goes on from the folder's checkpoints."""
    return fit(Prepared.of(settings, *world), folder, **options)


def weights(model):
    return [np.asarray(weight) for weight in (*model.weights, *model.optimizer.variables)]


@pytest.mark.parametrize(
    "model",
    [pytest.param({}, marks=pytest.mark.slow), {"negatives": STATEFUL, "loss": LEARNED}],
    ids=["plain", "stateful"],
)
@pytest.mark.parametrize(
    "optimizer", ["lazy_adam", pytest.param("sparse_adagrad", marks=pytest.mark.slow)]
)
def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one(
    world, tmp_path, monkeypatch, optimizer, model
):
    settings = config(optimizer, model, epochs=4)
    whole = run(settings, world, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(
            Checkpoint,
            "on_epoch_begin",
            lambda self, epoch, logs=None: 1 / 0 if epoch == 2 else None,
        )
        with pytest.raises(ZeroDivisionError):
            run(settings, world, tmp_path / "cut")
    resumed = run(settings, world, tmp_path / "cut")
    for one, other in zip(weights(whole), weights(resumed), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_a_loss_scale_comes_back(world, tmp_path):
    settings = config(epochs=2, precision="mixed_float16")
    model = run(settings, world, tmp_path)
    again = run(settings, world, tmp_path)
    assert isinstance(again.optimizer, keras.optimizers.LossScaleOptimizer)
    for one, other in zip(weights(model), weights(again), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_run_of_another_config_is_not_resumed(world, tmp_path):
    run(config(epochs=1), world, tmp_path / "run")
    with pytest.raises(ValueError, match=r"another config \(train.batch_size differ\)"):
        run(config(epochs=1, batch_size=128), world, tmp_path / "run")
    run(config(epochs=2), world, tmp_path / "run")  # for longer is the same run


def test_the_best_epoch_comes_back_and_patience_ends_the_run(world, tmp_path, monkeypatch):
    values = iter([0.1, 0.3, 0.2, 0.2, 0.9])
    seen = {}

    def metric(self, epoch, logs=None):
        logs["val_recall@20"] = next(values)
        seen[epoch] = self.model.embed_catalog()

    monkeypatch.setattr(CatalogRecall, "on_epoch_end", metric)
    model = run(config(epochs=5, patience=2), world, tmp_path / "run")
    assert len(seen) == 4  # 0.3 was not beaten twice
    np.testing.assert_array_equal(model.embed_catalog(), seen[1])
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["1", "3", "run.yaml"]


def test_a_half_written_checkpoint_is_not_resumed_from(world, tmp_path):
    model = run(config(epochs=1), world, tmp_path / "run")
    (tmp_path / "run" / f".1.{'0123abcd' * 4}.part").mkdir()
    (tmp_path / "run" / "2").mkdir()  # not a checkpoint
    assert Checkpoint(tmp_path / "run").restore(model) == 1


def test_keras_early_stopping_can_watch_the_catalog(world):
    split, catalog = world
    model = config().make_model().adapt(split.train, catalog)
    model.compile("adam")
    from tf_recall.data.batches import Batches
    from tf_recall.positives import user_item

    batches = Batches(user_item(split.train, catalog, model.needs()), 256)
    stop = keras.callbacks.EarlyStopping("val_recall@20", mode="max", patience=1)
    recall = CatalogRecall(split.validation, catalog)
    history = model.fit(
        batches.dataset(),
        steps_per_epoch=batches.steps_per_epoch,
        epochs=2,
        callbacks=[recall, stop],
        verbose=0,
    ).history
    assert len(history["val_recall@20"]) == 2 and stop.best == max(history["val_recall@20"])


def test_tensorboard_is_written(world, tmp_path):
    run(config(epochs=1), world, tmp_path / "run", tensorboard=tmp_path / "board")
    assert list((tmp_path / "board").rglob("events.out.tfevents.*"))


def test_a_monitor_that_nobody_measures_is_named(world, tmp_path):
    split, catalog = world
    model = config().make_model().adapt(split.train, catalog)
    checkpoint = Checkpoint(tmp_path, monitor="val_recall@7")
    checkpoint.set_model(model)
    with pytest.raises(ValueError, match=r"'val_recall@7' is not among the metrics \['loss'\]"):
        checkpoint.on_epoch_end(0, {"loss": 1.0})


def test_a_list_length_beyond_the_catalog_means_all_of_it(world):
    split, catalog = world
    model = config().make_model().adapt(split.train, catalog)
    recall = CatalogRecall(split.validation, catalog, ks=(5, 100_000))
    recall.set_model(model)
    logs = {}
    recall.on_epoch_end(0, logs)
    whole = CatalogRecall(split.validation, catalog, ks=(catalog.num_items,))
    whole.set_model(model)
    other = {}
    whole.on_epoch_end(0, other)
    assert (
        logs["val_recall@100000"] == other[f"val_recall@{catalog.num_items}"] > logs["val_recall@5"]
    )


def test_the_ranking_metrics_of_each_epoch(world):
    split, catalog = world
    model = config().make_model().adapt(split.train, catalog)
    recall = CatalogRecall(split.validation, catalog, ks=(5, 30))
    recall.set_model(model)
    cases = cases_by_user(split.validation, catalog)
    seen = []
    for _ in range(2):
        logs = {"loss": 1.0}
        recall.on_epoch_end(0, logs)
        report = evaluate(Service.build(model, catalog, Exact()), cases, catalog, ks=(5, 30))
        names = [name for name in report.metrics if not name.startswith(("cov", "gini", "pop"))]
        assert logs == {"loss": 1.0, **{f"val_{name}": report.metrics[name] for name in names}}
        seen.append(logs)
        for weight in model.trainable_variables:
            weight.assign(weight[::-1])
    assert seen[0] != seen[1]


def test_items_that_users_have_seen_may_count(world):
    split, catalog = world
    again = split.train.select(np.arange(len(split.train)) < 50)  # the users have seen all of it
    recall = CatalogRecall(again, catalog, exclude_seen=False)
    recall.set_model(config().make_model().adapt(split.train, catalog))
    logs = {}
    recall.on_epoch_end(0, logs)
    assert 0 <= logs["val_recall@20"] <= 1
