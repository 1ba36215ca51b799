"""Keras callbacks: recall over the whole catalog, and checkpoints from which a run resumes
exactly.
"""

import json
import shutil
from pathlib import Path

import keras

from tf_recall.evaluation import cases_by_user, evaluate
from tf_recall.index import Exact
from tf_recall.recommend.service import Service
from tf_recall.retrievers.distribution import is_chief

WEIGHTS, STATE = "model.weights.h5", "state.json"


class CatalogRecall(keras.callbacks.Callback):
    """Exact metrics over the whole catalog as `val_recall@20` and so on, for `EarlyStopping` and
    TensorBoard.

    The loss of an in-batch softmax says little about the ranking of the catalog: let early stopping
    watch this.

    Args:
        validation: held-out `Interactions`.
        catalog: the `Catalog` of the training part.
        ks: list lengths.
        cases: what makes a query of the held-out rows.

    Example:
        >>> recall = CatalogRecall(split.validation, catalog)
        >>> stop = keras.callbacks.EarlyStopping(
        ...     "val_recall@20", mode="max", patience=3, restore_best_weights=True)
        >>> model.fit(batches.dataset(), steps_per_epoch=batches.steps_per_epoch, epochs=50,
        ...           callbacks=[recall, stop])
    """

    def __init__(self, validation, catalog, ks=(20,), cases=cases_by_user):
        super().__init__()
        self.cases, self.catalog, self.ks = cases(validation, catalog), catalog, ks
        self.service = None

    def on_epoch_end(self, epoch, logs=None):
        if self.service is None:
            self.service = Service.build(
                self.model, self.catalog, index=Exact(), k_max=max(self.ks) + 1
            )
        else:
            self.service.index.vectors.assign(self.model.embed_catalog())
        report = evaluate(self.service, self.cases, self.catalog, ks=self.ks)
        logs.update({f"val_{name}": value for name, value in report.metrics.items()})


class Checkpoint(keras.callbacks.Callback):
    """After each epoch, all that the next one needs: weights, optimizer state, random state,
    history of the metrics.

    A batch is a function of the seed and the step (`Batches`), so a run that was interrupted,
    restored and continued ends with the weights of one that was not. A checkpoint is written aside,
    then renamed; the last and the best stay. Of several worker processes the chief writes, and all
    must see its directory.

    Args:
        directory: where the checkpoints go, one folder an epoch.
        monitor: the metric that makes an epoch the best, higher is better. None: the last is the
            best.
        patience: epochs without a better `monitor` after which training stops.

    Example:
        >>> checkpoint = Checkpoint("checkpoints", monitor="val_recall@20", patience=3)
        >>> done = checkpoint.restore(model)           # 0 in a new directory
        >>> start = int(model.optimizer.iterations.numpy())
        >>> model.fit(batches.dataset(start), initial_epoch=done, epochs=20,
        ...           steps_per_epoch=batches.steps_per_epoch, callbacks=[recall, checkpoint])
        >>> checkpoint.restore_best(model)
    """

    def __init__(self, directory, monitor=None, patience=None):
        super().__init__()
        self.directory, self.monitor, self.patience = Path(directory), monitor, patience
        self.history = []

    @property
    def best(self):
        """The best epoch so far, from 0."""
        if self.monitor is None:
            return len(self.history) - 1
        values = [logs[self.monitor] for logs in self.history]
        return values.index(max(values))

    @property
    def finished(self):
        """Whether the last `patience` epochs brought nothing better."""
        return (
            bool(self.history)
            and self.patience is not None
            and len(self.history) > self.best + self.patience
        )

    def restore(self, model):
        """Brings a compiled, adapted model to the last checkpoint; returns how many epochs it has
        behind it.
        """
        epochs = sorted(
            int(path.name) for path in self.directory.glob("[0-9]*") if path.name.isdigit()
        )
        if not epochs:
            return 0
        self._load(model, epochs[-1])
        self.history = json.loads((self.directory / str(epochs[-1]) / STATE).read_text())
        return epochs[-1] + 1

    def restore_best(self, model):
        """Brings the model to the best epoch."""
        self._load(model, self.best)

    def _load(self, model, epoch):
        with model.distribute_strategy.scope():
            model.optimizer.build(model.trainable_variables)
        model.load_weights(self.directory / str(epoch) / WEIGHTS)

    def on_epoch_end(self, epoch, logs=None):
        if self.monitor is not None and self.monitor not in logs:
            raise ValueError(
                f"{self.monitor!r} is not among the metrics {sorted(logs)}; put CatalogRecall "
                "before"
            )
        self.history.append({name: float(value) for name, value in logs.items()})
        if is_chief(self.model.distribute_strategy):
            self._save(epoch)
        if self.finished:
            self.model.stop_training = True

    def _save(self, epoch):
        aside = self.directory / f"{epoch}.part"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        self.model.save_weights(aside / WEIGHTS)
        (aside / STATE).write_text(json.dumps(self.history))
        aside.rename(self.directory / str(epoch))
        for path in self.directory.glob("[0-9]*"):
            if path.name not in (str(epoch), str(self.best)):
                shutil.rmtree(path)
