"""A run of one model: trained, served, measured and exported."""

import contextlib
import logging
from dataclasses import replace
from pathlib import Path

import keras
import tensorflow as tf

from tf_recall.data.atomic import translated_disk_errors
from tf_recall.evaluation.report import Report
from tf_recall.export import lineage
from tf_recall.export.write import save
from tf_recall.recommend.service import Service
from tf_recall.retrievers.base import Retriever
from tf_recall.retrievers.distribution import is_chief, wait_for_all
from tf_recall.runs.advice import (
    LossWatch,
    as_findings,
    before_training,
    check_beside_counted,
    check_epochs,
    check_validation,
)
from tf_recall.runs.callbacks import CatalogRecall, Checkpoint
from tf_recall.runs.claim import begin
from tf_recall.runs.measure import CASES, asked
from tf_recall.runs.prepared import Prepared
from tf_recall.runs.refit import enough, on_both, refit_folder, refits
from tf_recall.runs.rehearsal import rehearse, untrained
from tf_recall.runs.start import compile_after, optimizer_of

log = logging.getLogger("tf_recall")


def run_model(
    prepared: Prepared, checkpoints: Path, tensorboard: str | Path | None = None
) -> tuple[Prepared, Service, dict[str, Retriever]]:
    """Trains the model and builds its service; arguments as of `fit`.

    With `train.refit` it is trained again on the training and the validation part, for as many
    epochs as were best.

    Returns:
        What the model has learned from, the service, and the trained model by its name.
    """
    settings = prepared.config
    model = compiled(prepared)
    rehearse(untrained(prepared, model), prepared)
    model, epochs = trained(prepared, checkpoints, tensorboard, model)
    service = serve(prepared, model)
    prepared.note(
        check_beside_counted(service, prepared.split, settings.evaluate, settings.train.monitor)
    )
    if refits(prepared):
        del model, service
        split, catalog = on_both(prepared)
        again = prepared.on(split, catalog, epochs)
        model = retrained(again, checkpoints, tensorboard)
        prepared, service = replace(again, findings=prepared.findings), serve(again, model)
    return prepared, service, {settings.name: model}


def retrained(
    prepared: Prepared, checkpoints: Path, tensorboard: str | Path | None = None
) -> Retriever:
    """Trains again on both parts, for `prepared.epochs`; arguments as of `fit`."""
    log.info(
        "training again on the training and the validation part, %d epochs "
        "(train.refit: false keeps what the training part alone has taught)",
        prepared.epochs,
    )
    logs = tensorboard and refit_folder(tensorboard)
    return fit(prepared, refit_folder(checkpoints), logs)


def fit(
    prepared: Prepared,
    checkpoints: str | Path,
    tensorboard: str | Path | None = None,
    model: Retriever | None = None,
) -> Retriever:
    """Trains the model; goes on from the last checkpoint, where there is one.

    With a validation part the best epoch comes back, else the last. The validation part is not
    learned, whatever `train.refit` says: that is for `run_model`.

    Args:
        prepared: a prepared config with a `model`.
        checkpoints: the folder of the checkpoints.
        tensorboard: a folder for TensorBoard's logs, or None.
        model: as `compiled` makes it; None: it is made here.

    Returns:
        The trained `Retriever`.

    Raises:
        ValueError: the folder keeps the checkpoints of a run that ends with other weights, or a
            damaged one.
        OSError: the disk is full or refuses; what is trained so far can be resumed.

    Example:
        >>> prepared = Prepared.of(Config.load("two_tower_quickstart", ["train.epochs=2"]))
        >>> model = fit(prepared, "checkpoints")
    """
    return trained(prepared, checkpoints, tensorboard, model)[0]


def trained(
    prepared: Prepared,
    checkpoints: str | Path,
    tensorboard: str | Path | None = None,
    model: Retriever | None = None,
) -> tuple[Retriever, int]:
    """As `fit`, and for how many epochs a model of both parts is to be trained."""
    config, strategy = prepared.config, prepared.strategy
    again, epochs = prepared.epochs is not None, prepared.most_epochs
    model = model or compiled(prepared)
    if not again:
        prepared.note(before_training(model, prepared.split.train))
        prepared.note(check_validation(config, prepared.split))
    if is_chief(strategy):
        begin(checkpoints, config, prepared.fingerprint, prepared.start and prepared.start.digest)
    wait_for_all(strategy)
    callbacks, monitor = watching(prepared)
    if model.by_gradients and not again:
        callbacks.append(LossWatch(prepared.note))
    if tensorboard:
        callbacks.append(keras.callbacks.TensorBoard(tensorboard))
    checkpoint = Checkpoint(checkpoints, monitor, prepared.patience)
    done = checkpoint.restore(model)
    if done:
        log.info("resuming after epoch %d", done)
    if done > epochs:
        log.warning("it has been trained for longer than train.epochs, %d", epochs)
    if done < epochs and not checkpoint.finished:
        callbacks.append(checkpoint)
        how = replace(config.train, epochs=epochs)
        with _disk_errors(tensorboard):
            model.train(prepared.split.train, prepared.catalog, how, callbacks, done)
    wait_for_all(strategy)
    values = [] if monitor is None else [logs[monitor] for logs in checkpoint.history]
    if values and prepared.start is None:  # else few epochs are meant to be enough
        prepared.note(check_epochs(values, epochs, model.by_gradients))
    if strategy.num_replicas_in_sync > 1:
        model = _compiled(prepared)  # one that needs no replicas to answer
    checkpoint.restore_best(model)
    return model, enough(model, prepared.split, values) if values else epochs


def compiled(prepared: Prepared) -> Retriever:
    """Makes the model, adapted and compiled under the config's strategy, seed and precision."""
    with prepared.strategy.scope():
        return _compiled(prepared)


def serve(prepared: Prepared, model: Retriever) -> Service:
    """Builds the service of a trained model, with the config's index or what suits the catalog."""
    return Service.build(model, prepared.catalog, prepared.index, k_max=prepared.k_max)


def save_model(
    service: Service,
    report: Report,
    directory: Path,
    prepared: Prepared,
    models: dict[str, Retriever],
) -> Path:
    """Exports a service with its model, its config and its figures; returns the new version."""
    metrics = {"index_recall": service.index.recall, **as_findings(prepared.findings)}
    config = prepared.config.to_dict()
    parent = prepared.start and lineage.parent_of(prepared.start.path, prepared.start.digest)
    entries = lineage.lineage(config, prepared.split.train, parent)
    return save(
        service,
        directory,
        config=config,
        metrics={**report.to_dict(), **metrics},
        model=models[prepared.config.name],
        extra=lambda folder: lineage.write(folder, entries),
    )


@contextlib.contextmanager
def _disk_errors(tensorboard):
    """Makes one line of what TensorBoard's writer says of a disk; a checkpoint does so itself."""
    try:
        yield
    except tf.errors.OpError:
        if tensorboard is None:
            raise
        with translated_disk_errors(tensorboard, "go on with --resume, or without --tensorboard"):
            raise


def _compiled(prepared):
    settings = prepared.config.train
    keras.utils.set_random_seed(settings.seed)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(settings.precision)
    try:
        start, data = prepared.start, (prepared.split.train, prepared.catalog)
        if start is None:
            model = prepared.config.make_model().adapt(*data)
        else:
            model = start.grown_model(*data)
        steps = _steps(prepared, model) if prepared.config.rate_follows_run else None
        if start is None:
            optimizer = optimizer_of(prepared.config, model, steps)
            model.compile(optimizer, jit_compile=settings.jit_compile)
        else:
            compile_after(model, prepared.config, steps)
    finally:
        keras.config.set_dtype_policy(before)
    return model


def _steps(prepared, model):
    """How many steps the whole run has."""
    settings, data = prepared.config.train, (prepared.split.train, prepared.catalog)
    batch_size = settings.batch_size or model.default_batch_size(data[0])
    batches = model.positives.batches(*data, model.needs(), batch_size, settings.seed)
    return settings.most_epochs() * batches.steps_per_epoch


def watching(prepared: Prepared) -> tuple[list[keras.callbacks.Callback], str | None]:
    """The callbacks that measure the validation part, and the metric to monitor, if any."""
    validation = prepared.split.validation
    if validation is None:
        return [], None
    settings, monitor = prepared.config.evaluate, prepared.config.train.monitor
    ks = (int(monitor.partition("@")[2]),)
    recall = CatalogRecall(
        asked(settings, validation),
        prepared.catalog,
        ks,
        CASES[settings.cases],
        settings.exclude_seen,
    )
    return [recall], f"val_{monitor}"
