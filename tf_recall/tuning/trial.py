"""One trial: a config is trained or counted, and measured on the validation part alone."""

import contextlib
import gc
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import keras

from tf_recall.config import Config
from tf_recall.data.catalog import Catalog
from tf_recall.data.split import Split
from tf_recall.evaluation import RankMetrics
from tf_recall.runs.channels import run_channels
from tf_recall.runs.checks import check_monitor, with_validation
from tf_recall.runs.fingerprint import fingerprint
from tf_recall.runs.measure import cases_of
from tf_recall.runs.model import compiled, watching
from tf_recall.runs.prepared import Prepared

log = logging.getLogger("tf_recall")


@dataclass(frozen=True)
class Material:
    """What all trials share: the train and the validation part; no trial has the test part.

    Args:
        split: the split; its test part is the validation part.
        catalog: that of the train part.
    """

    split: Split
    catalog: Catalog

    @classmethod
    def of(cls, config: Config) -> "Material":
        """Reads a config's data, and checks the config against them.

        Raises:
            ValueError: the split has no validation part, or as `Prepared.of`.
            OSError: a file of the data cannot be read.
        """
        _check(config)
        split = config.make_split()
        if split.validation is None:
            raise ValueError(f"tune compares by the validation part: {with_validation(config)}")
        split = replace(split, test=split.validation)
        prepared = Prepared.of(config, split)
        return cls(split, prepared.catalog)

    @property
    def fingerprint(self) -> str:
        """That of the data."""
        return fingerprint(self.split)


@dataclass(frozen=True)
class Figure:
    """What a trial is compared by.

    Args:
        value: the metric of the best epoch, on the validation part.
        epochs: how many epochs it was trained for; None where there are none, as of channels.
    """

    value: float
    epochs: int | None = None


def measured(config: Config, material: Material, after: Callable[[int, float], None]) -> Figure:
    """Trains or counts what a config holds, and measures it on the validation part.

    A model is trained as `train` would: with the same seed, batches and early stop, so that the
    same config ends with the same figure. Channels are fitted on the train part and merged; a
    `marginal_rank` learns its weights on the validation part itself, so its figure there is a
    little high.

    Args:
        config: the config.
        material: the data.
        after: called with each epoch of a model, from 0, and its metric; it may end the trial.

    Raises:
        ValueError: the config does not go with the data, or the loss is no finite number.
    """
    alone = replace(config, train=replace(config.train, refit=False))
    prepared = Prepared.of(alone, material.split, material.catalog)
    if config.channels is not None:
        return Figure(_of_channels(prepared))
    try:
        return _of_model(prepared, after)
    finally:
        gc.collect()  # Keras's layers hold one another


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps what a training prints and logs off the progress bar."""
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            yield
    finally:
        log.setLevel(level)


def _of_model(prepared, after):
    config = prepared.config
    model = compiled(prepared)
    callbacks, monitor = watching(prepared)
    watch = _Watch(monitor, after)
    callbacks.append(watch)
    patience = prepared.patience
    if patience is not None:
        callbacks.append(keras.callbacks.EarlyStopping(monitor, patience=patience, mode="max"))
    how = replace(config.train, epochs=prepared.most_epochs)
    model.train(prepared.split.train, prepared.catalog, how, callbacks)
    return Figure(max(watch.values), len(watch.values))


class _Watch(keras.callbacks.Callback):
    """Collects a metric, and shows it to whoever may end the trial."""

    def __init__(self, monitor, after):
        super().__init__()
        self.monitor = monitor
        self.after = after
        self.values = []

    def on_epoch_end(self, epoch, logs=None):
        self.values.append(float(logs[self.monitor]))
        self.after(epoch, self.values[-1])


def _of_channels(prepared):
    settings, monitor = prepared.config.evaluate, prepared.config.train.monitor
    with tempfile.TemporaryDirectory() as checkpoints:
        _, multi, _ = run_channels(prepared, Path(checkpoints))
    cases = cases_of(settings, prepared.split.validation, multi.catalog)
    ks = [int(monitor.partition("@")[2])]
    return RankMetrics(multi, cases, multi.catalog, ks, settings.exclude_seen).metrics()[monitor]


def _check(config):
    """What a search needs beyond what a run needs."""
    check_monitor(config)
    if config.train.strategy == "multi_worker":
        raise ValueError(
            "train.strategy multi_worker trains in several processes at once; tune runs whole "
            "trials, each on one_device, mirrored or tpu"
        )
