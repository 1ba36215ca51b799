"""Keras callbacks: metrics over the whole catalog, and checkpoints to resume from exactly."""

import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import tensorflow as tf

from tf_recall.data.atomic import atomic_folder, translated_disk_errors
from tf_recall.data.catalog import Catalog
from tf_recall.data.identity import check_same
from tf_recall.data.interactions import Interactions
from tf_recall.evaluation import RankMetrics, cases_by_user
from tf_recall.evaluation.cases import Cases
from tf_recall.evaluation.protocol import check_left, checked_ks
from tf_recall.index import Exact
from tf_recall.recommend.service import Service
from tf_recall.retrievers.distribution import is_chief
from tf_recall.runs.measure import in_blocks

WEIGHTS = "weights"
SAVED = ".ATTRIBUTES/VARIABLE_VALUE"  # how TensorFlow calls what it has of a variable
DESCRIPTION = "_CHECKPOINTABLE_OBJECT_GRAPH"
STATE = "state.json"  # marks an epoch's folder as ours


class CatalogRecall(keras.callbacks.Callback):
    """Adds exact metrics over the whole catalog to each epoch's logs: `val_recall@20` and so on.

    The loss of an in-batch softmax says little about how the whole catalog is ranked, so let early
    stopping watch one of these metrics.

    Args:
        validation: the held-out interactions.
        catalog: that of the training part.
        ks: list lengths; one beyond the catalog means the whole catalog.
        cases: makes cases of the held-out rows, `cases_by_user` or `cases_by_row`.
        exclude_seen: filter out the items of the user's training part.

    These are the ranking metrics of `evaluate`; ranks are counted, so that no lists are made. Of a
    log on disk the cases are made anew after each epoch, for some users after the others.

    Raises:
        ValueError: the held-out rows make no cases, or with `exclude_seen` none is left; no k, or
            one below 1.

    Example:
        >>> recall = CatalogRecall(split.validation, catalog)
        >>> stop = keras.callbacks.EarlyStopping(
        ...     "val_recall@20", mode="max", patience=3, restore_best_weights=True)
        >>> model.fit(batches.dataset(), steps_per_epoch=batches.steps_per_epoch, epochs=50,
        ...           callbacks=[recall, stop])
    """

    def __init__(
        self,
        validation: Interactions,
        catalog: Catalog,
        ks: Sequence[int] = (20,),
        cases: Callable[[Interactions, Catalog], Cases] = cases_by_user,
        exclude_seen: bool = True,
    ):
        super().__init__()
        self.cases = in_blocks(validation, lambda block: cases(block, catalog))
        check_left(self.cases, catalog, exclude_seen)
        self.catalog = catalog
        self.ks = checked_ks(ks)
        self.exclude_seen = exclude_seen
        self.service, self.ranking = None, None

    def on_train_begin(self, logs=None):
        tower = self.model.item_tower
        check_same(f"this {type(self.model).__name__}", tower.identity, self.catalog.identity)

    def on_epoch_end(self, epoch, logs=None):
        if self.service is None:
            self.service = Service.build(
                self.model, self.catalog, index=Exact(), k_max=max(self.ks) + 1
            )
            given = self.cases, self.catalog, self.ks, self.exclude_seen
            self.ranking = RankMetrics(self.service, *given)
        else:
            self.service.index.vectors.assign(self.model.embed_catalog())
        for name, value in self.ranking.metrics().items():
            logs[f"val_{name}"] = value


class Checkpoint(keras.callbacks.Callback):
    """Saves after each epoch all that the next one needs, and stops training without progress.

    A checkpoint holds the weights, the state of the optimizer and of everything random, and the
    metrics so far. A batch is a function of the seed and the step (`Batches`), so a run that is
    interrupted and resumed ends with the weights of one that is not. A checkpoint is written under
    another name and renamed when it is whole. The last one and the best one are kept. With several
    worker processes the chief writes, and all of them must see the folder.

    Args:
        directory: the folder of the checkpoints; in it each epoch has a folder.
        monitor: the metric that makes an epoch the best, higher is better. None: the last epoch is
            the best.
        patience: epochs without a better `monitor` after which training stops; None: never.

    Raises:
        ValueError: at the end of an epoch, no callback before this one gave the monitor; a
            checkpoint to restore is damaged.
        OSError: the disk is full or refuses; the message says what is kept.

    Example:
        >>> checkpoint = Checkpoint("checkpoints", monitor="val_recall@20", patience=3)
        >>> done = checkpoint.restore(model)           # 0 in a new directory
        >>> start = int(model.step.numpy())
        >>> model.fit(batches.dataset(start), initial_epoch=done, epochs=20,
        ...           steps_per_epoch=batches.steps_per_epoch, callbacks=[recall, checkpoint])
        >>> checkpoint.restore_best(model)
    """

    def __init__(
        self, directory: str | Path, monitor: str | None = None, patience: int | None = None
    ):
        super().__init__()
        self.directory = Path(directory)
        self.monitor = monitor
        self.patience = patience
        self.history = []

    @property
    def best(self) -> int:
        """The best epoch so far, from 0."""
        if self.monitor is None:
            return len(self.history) - 1
        values = [logs[self.monitor] for logs in self.history]
        return values.index(max(values))

    @property
    def finished(self) -> bool:
        """Whether the last `patience` epochs were no better than one before them."""
        return (
            bool(self.history)
            and self.patience is not None
            and len(self.history) > self.best + self.patience
        )

    def restore(self, model: keras.Model) -> int:
        """Loads the last checkpoint into a compiled, adapted model.

        Returns:
            How many epochs the model has been trained for; 0 where there is no checkpoint.
        """
        epochs = saved_epochs(self.directory)
        if not epochs:
            return 0
        self._load(model, epochs[-1])
        return epochs[-1] + 1

    def restore_best(self, model: keras.Model) -> None:
        """Loads the checkpoint of the best epoch.

        Raises:
            ValueError: it is damaged.
        """
        history = self.history
        self._load(model, self.best)
        self.history = history  # of the epochs after the best one too

    def _load(self, model, epoch):
        folder = self._folder(epoch)
        if not model.optimizer.built:  # one with a loss scale would get another state
            with model.distribute_strategy.scope():
                model.optimizer.build(model.trainable_variables)
        try:
            self.history = _metrics(folder / STATE, epoch + 1)
            read_state(model, str(folder / WEIGHTS))
        except Exception as error:  # TensorFlow raises almost anything
            raise ValueError(self._damaged(epoch, error)) from error

    def _damaged(self, epoch, error):
        lines = re.sub(r"\{\{.*?\}\} | \[Op:.*", "", str(error)).split("\n")  # TensorFlow's marks
        reason = lines[0] or type(error).__name__
        others = [other for other in saved_epochs(self.directory) if other < epoch]
        cure = f"go on after epoch {others[-1] + 1}" if others else "begin anew"
        return f"the checkpoint {self._folder(epoch)} is damaged ({reason}): remove it to {cure}"

    def on_epoch_end(self, epoch, logs=None):
        if self.monitor is not None and self.monitor not in logs:
            raise ValueError(
                f"{self.monitor!r} is not among the metrics {sorted(logs)}; put CatalogRecall "
                "before Checkpoint"
            )
        self.history.append({name: float(value) for name, value in logs.items()})
        if is_chief(self.model.distribute_strategy):
            self._save(epoch)
        if self.finished:
            self.model.stop_training = True

    def _save(self, epoch):
        last = f"the last whole checkpoint is that of epoch {epoch}" if epoch else "none is whole"
        kept = f"{last}: free space, then go on with --resume"
        folder = self._folder(epoch)
        with translated_disk_errors(folder, kept), atomic_folder(folder) as aside:
            state_of(self.model).write(str(aside / WEIGHTS))
            (aside / STATE).write_text(json.dumps(self.history))
        for other in saved_epochs(self.directory):
            if other not in (epoch, self.best):
                shutil.rmtree(self._folder(other))

    def _folder(self, epoch):
        return self.directory / str(epoch)


def saved_epochs(directory: str | Path) -> list[int]:
    """The epochs that have a whole checkpoint in a folder, rising, from 0."""
    marks = Path(directory).glob(f"*/{STATE}")
    return sorted(int(mark.parent.name) for mark in marks if mark.parent.name.isdecimal())


def _metrics(path, num_epochs):
    history = json.loads(path.read_text())
    if not isinstance(history, list) or len(history) != num_epochs:
        raise ValueError(f"{path.name} does not hold the metrics of {num_epochs} epochs")
    return history


def state_of(model: keras.Model) -> tf.train.Checkpoint:
    """All that the next step needs, as a checkpoint of TensorFlow.

    It has checksums, which a damaged one fails, and a full disk is an error: Keras's own file of
    weights has none, and HDF5 ends the process where it cannot write.
    """
    return tf.train.Checkpoint(variables=_variables(model))


def read_state(model: keras.Model, path: str) -> None:
    """Reads what `state_of` wrote, one variable after the other: no second model is in memory.

    Raises:
        ValueError: the file is of another model.
        tf.errors.OpError: it is damaged.
    """
    variables = {f"variables/{at}/{SAVED}": each for at, each in enumerate(_variables(model))}
    found = tf.train.load_checkpoint(path).get_variable_to_shape_map()
    found.pop(DESCRIPTION, None)
    wanted = {name: variable.shape.as_list() for name, variable in variables.items()}
    if found != wanted:
        raise ValueError(f"it holds {len(found)} variables, and not the model's {len(wanted)}")
    _read(path, DESCRIPTION, tf.string)  # it is the file's end: what cuts that off is seen
    for name, variable in variables.items():
        variable.assign(_read(path, name, variable.dtype))


def _read(path, name, dtype):
    what = {"tensor_names": [name], "shape_and_slices": [""], "dtypes": [dtype]}
    return tf.raw_ops.RestoreV2(prefix=path, **what)[0]


def _variables(model):
    return [variable.value for variable in [*model.variables, *model.optimizer.variables]]
