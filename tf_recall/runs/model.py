"""A config of one model from data to an export, step by step."""

import json
import logging
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import keras

from tf_recall.config import Config
from tf_recall.data.catalog import Catalog
from tf_recall.evaluation import cases_by_row, cases_by_user, evaluate
from tf_recall.export.load import restore
from tf_recall.export.versions import version_folder
from tf_recall.export.write import save
from tf_recall.index import default_index
from tf_recall.positives import user_item
from tf_recall.recommend.service import Service
from tf_recall.retrievers.distribution import is_chief, wait_for_all
from tf_recall.runs import doctor
from tf_recall.runs.callbacks import CatalogRecall, Checkpoint

CASES = {"by_user": cases_by_user, "by_row": cases_by_row}
log = logging.getLogger("tf_recall")


@dataclass(frozen=True)
class Trained:
    """What a run leaves: the exported model's path, its report on the test part, and the service
    that answered.

    Of several worker processes only the chief exports; elsewhere the path is None.
    """

    path: Path | None
    report: object
    service: Service

    def summary(self):
        """JSON-able."""
        return {**self.report.to_dict(), "model": self.path and str(self.path)}


def train_model(config, out="saved_models", resume=False, tensorboard=None):
    """Reads, splits, fits, evaluates beside popularity, exports.

    Args:
        config: a `Config`.
        out: the model repository; the export goes to `<out>/<config.name>/<version>`.
        resume: go on from the checkpoints of an interrupted run of the same config.
        tensorboard: a directory for TensorBoard's logs.

    Returns: a `Trained`.
    """
    strategy = config.make_strategy()  # before anything else uses TensorFlow
    split, catalog = prepare(config)
    checkpoints = Path(out) / config.name / "checkpoints"
    model = fit(config, split, catalog, checkpoints, resume, tensorboard, strategy)
    service = serve(config, model, catalog)
    report = assess(service, config, split.test, catalog)
    metrics = {**report.to_dict(), "index_recall": service.index.recall}
    path = None
    if is_chief(strategy):
        path = save(
            service, Path(out) / config.name, config=config.to_dict(), metrics=metrics, model=model
        )
        shutil.rmtree(checkpoints)
    wait_for_all(strategy)
    return Trained(path, report, service)


def prepare(config):
    """The config's data, split, and the catalog of its training part; what the doctor says of it
    goes to the log.
    """
    split = config.make_split(config.make("data"))
    for warning in doctor.check_split(split):
        log.warning("%s", warning)
    catalog = Catalog.fit(split.train)
    log.info(
        "%d pairs, %d users, %d items", len(split.train), catalog.users.size - 1, catalog.num_items
    )
    return split, catalog


def serve(config, model, catalog):
    """The service of a trained model, with the config's index or what suits the catalog's size."""
    index = config.make("index") if config.index else default_index(catalog.num_items)
    return Service.build(model, catalog, index, k_max=min(config.k_max, catalog.num_items))


def fit(config, split, catalog, checkpoints, resume=False, tensorboard=None, strategy=None):
    """Trains the config's model on `split.train`; with a validation part, the best epoch is what
    comes back.
    """
    settings, strategy = config.train, strategy or config.make_strategy()
    if settings.patience is not None and split.validation is None:
        raise ValueError(
            "train.patience asks for a validation part: give the split one, as in "
            "split.validation=0.1"
        )
    if settings.batch_size % strategy.num_replicas_in_sync:
        raise ValueError(
            "train.batch_size must be a multiple of the replicas, "
            f"{strategy.num_replicas_in_sync}, "
            f"not {settings.batch_size}"
        )
    with strategy.scope():
        model = _compiled(config, split, catalog)
    batches = model.batches(split.train, catalog, settings.batch_size, settings.seed)

    checkpoints = Path(checkpoints)
    if is_chief(strategy):
        _claim(checkpoints, config, resume)
    wait_for_all(strategy)
    callbacks, monitor = [], None
    if split.validation is not None:
        monitor = f"val_{settings.monitor}"
        ks = (int(settings.monitor.partition("@")[2]),)
        callbacks.append(CatalogRecall(split.validation, catalog, ks, CASES[config.evaluate.cases]))
    if tensorboard:
        callbacks.append(keras.callbacks.TensorBoard(tensorboard))
    checkpoint = Checkpoint(checkpoints, monitor, settings.patience)
    done = checkpoint.restore(model)
    if done:
        log.info("resuming after epoch %d", done)
    if done < settings.epochs and not checkpoint.finished:
        model.fit(
            batches.dataset(int(model.optimizer.iterations.numpy())),
            steps_per_epoch=batches.steps_per_epoch,
            initial_epoch=done,
            epochs=settings.epochs,
            callbacks=[*callbacks, checkpoint],
            shuffle=False,  # the batches are shuffled already
            verbose="auto" if sys.stderr.isatty() else 2,
        )
    wait_for_all(strategy)
    if strategy.num_replicas_in_sync > 1:
        model = _compiled(config, split, catalog)  # one that needs no replicas to answer
    checkpoint.restore_best(model)
    return model


def _compiled(config, split, catalog):
    """The config's model, adapted and compiled in its precision."""
    keras.utils.set_random_seed(config.train.seed)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(config.train.precision)
    try:
        model = config.make_model().adapt(split.train, catalog)
        model.compile(config.make_optimizer(), jit_compile=config.train.jit_compile)
    finally:
        keras.config.set_dtype_policy(before)
    return model


def reindex(path, index, out="saved_models"):
    """Exports a trained model once more, with another index over the same vectors; it stands beside
    the first.

    Args:
        path: an export of `train`.
        index: the new index as a config names it: `{name: ivf, **its settings}`.
        out: the model repository.

    Returns: the path of `<out>/<name>_<index>/<version>`.
    """
    path = version_folder(path)
    model, catalog = restore(path)
    config = replace(Config.load(path / "config.yaml"), index=index)
    config = replace(config, name=f"{config.name}_{index['name']}")
    service = Service.build(model, catalog, config.make("index"), config.k_max)
    metrics = {
        **json.loads((path / "metrics.json").read_text()),
        "index_recall": service.index.recall,
    }
    return save(
        service, Path(out) / config.name, config=config.to_dict(), metrics=metrics, model=model
    )


def numerics(config, split, catalog):
    """The numeric features of the config's model, encoded, by what they are called."""
    model = config.make_model().adapt(split.train, catalog)
    codes = dict(user_item(split.train, catalog, model.query_tower)["query"])
    for tower in (model.query_tower, model.item_tower):
        codes |= {
            f"{tower.entity}'s {name}": table.numpy()[1:] for name, table in tower.tables.items()
        }
    return {name: column for name, column in codes.items() if column.dtype.kind == "f"}


def _claim(checkpoints, config, resume):
    """Makes the folder ready for a new run, or makes sure that it holds the same one."""
    note = checkpoints / "config.yaml"
    if not resume:
        shutil.rmtree(checkpoints, ignore_errors=True)
    elif note.is_file():
        before, now = Config.load(note).to_dict(), config.to_dict()
        before["train"]["epochs"] = now["train"]["epochs"]  # a run may go on for longer
        if before != now:
            changed = ", ".join(key for key in now if before[key] != now[key])
            raise ValueError(
                f"{checkpoints} holds a run of another config ({changed} differ): train without "
                "resuming"
            )
    checkpoints.mkdir(parents=True, exist_ok=True)
    config.save(note)


def cases_of(config, test, catalog):
    """What is asked of a recommender: the config's cases of the test part."""
    return CASES[config.evaluate.cases](test, catalog)


def assess(recommender, config, test, catalog):
    """The report of anything that recommends, on the config's cases, beside popularity."""
    settings = config.evaluate
    ks = tuple(k for k in settings.ks if k < catalog.num_items)
    return evaluate(
        recommender,
        cases_of(config, test, catalog),
        catalog,
        ks=ks,
        exclude_seen=settings.exclude_seen,
    )
