"""Keras's `compile`, `fit` and the rest, of a model that brings its own loss in its batches.

An argument that such a model cannot heed is refused by name, before anything is trained.
"""

import inspect
import math
from collections.abc import Callable
from numbers import Integral
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from tf_recall.retrievers.distribution import ReplicatedModel
from tf_recall.retrievers.optimizers import prepare

if TYPE_CHECKING:
    from tf_recall.config import Train
    from tf_recall.data.interactions import Interactions

ROWS = 1024  # of a batch, where nothing else is asked for
LABELS = {
    "y": "no labels: a batch holds the positives, and the sampler draws the negatives",
    "sample_weight": "its weights in the batch: give the interactions a column 'weight'",
    "class_weight": "no classes: to weigh interactions give them a column 'weight'",
}
OWN_LOSS = {
    "loss": "its own loss: give one of tf_recall.losses to the constructor",
    "loss_weights": "one loss: there is nothing to weigh",
    "metrics": "no labels to compare with: take the callback CatalogRecall, or tf_recall.evaluate",
    "weighted_metrics": "no labels to compare with: take the callback CatalogRecall",
}


class FittedModel(ReplicatedModel):
    """A Keras model that learns from batches `{"query": ..., "item": ...}` by a loss of its own.

    A subclass has `default_optimizer()`, and the weight `epoch`.

    Attributes:
        first_epoch, first_step: how many epochs and steps a model that has grown was trained for
            before, which its counters go on from.
    """

    carried = ("epoch", "step")
    first_epoch = 0
    first_step = 0

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        counter = {
            "shape": (),
            "initializer": "zeros",
            "trainable": False,
            "aggregation": "only_first_replica",
        }
        self.epoch = self.add_weight(name="epoch", dtype="int32", **counter)
        # the optimizer's count of its updates is another one: it may skip or collect batches
        self.step = self.add_weight(name="step", dtype="int64", **counter)

    def default_batch_size(self, train: "Interactions") -> int:
        """How many rows a batch has where `train.batch_size` is left out.

        Args:
            train: the training `Interactions`, where it follows from them.
        """
        return ROWS

    def check_settings(self, settings: "Train") -> None:
        """Refuses settings of a training that the model cannot heed.

        Args:
            settings: how to train.

        Raises:
            ValueError: there is one; the message names it.
        """

    def begin_after(self, model: "FittedModel") -> None:
        """Begins a training after that of another model, whose counters this one has."""
        self.first_step = int(model.step.numpy())
        self.first_epoch = int(model.epoch.numpy()) + 1 if self.first_step else 0

    def next_batch(self, steps_per_epoch: int) -> int:
        """The number of the batch to train on next, for `dataset(start)`.

        A model that has grown has other batches than before: it begins with a whole epoch of them.
        """
        first = -(-self.first_step // steps_per_epoch) * steps_per_epoch
        return first + int(self.step.numpy()) - self.first_step

    def default_optimizer(self) -> keras.optimizers.Optimizer:
        """The optimizer of a model that is compiled without one."""
        raise NotImplementedError

    def optimizer_for(self, batch_size: int | None = None) -> keras.optimizers.Optimizer:
        """The default optimizer, with what in it depends on the steps of an epoch.

        Args:
            batch_size: rows of a batch; None: as many as by default.
        """
        return self.default_optimizer()

    def build(self, *args, **kwargs) -> None:
        raise ValueError(
            f"this {type(self).__name__} knows no data yet: call adapt(train, catalog) first"
        )

    def compile(self, optimizer=None, *args, **kwargs) -> None:
        """As `keras.Model.compile`; the model has an optimizer that suits it, and its own loss.

        Raises:
            ValueError: an argument is out of range, or asks for another loss or for metrics, which
                need labels; or `SparseAdagrad` or `LazyAdam` has an option that would touch whole
                tables.
        """
        if optimizer is None:
            optimizer = self.optimizer_for()
        given = _bound(super().compile, optimizer, *args, **kwargs)
        _refuse(self, given, OWN_LOSS)
        for name, allowed in {
            "run_eagerly": (True, False),
            "auto_scale_loss": (True, False),
            "jit_compile": (True, False, "auto"),
        }.items():
            if name in given and not any(given[name] is each for each in allowed):
                names = ", ".join(map(repr, allowed))
                raise ValueError(f"{name} must be one of {names}, not {given[name]!r}")
        _check_whole(given, "steps_per_execution")
        super().compile(**given)
        prepare(self.optimizer)

    def fit(self, *args, **kwargs) -> keras.callbacks.History:
        """As `keras.Model.fit`, of batches that hold all that the loss needs.

        Raises:
            ValueError: the model is not adapted; an argument is out of range, or has no effect on
                such batches (`y`, `sample_weight`, `class_weight`); endless batches without
                `steps_per_epoch`; the loss is no finite number, or 0 from the start.
        """
        given = _bound(super().fit, *args, **kwargs)
        self._check_batches(given, "x", "steps_per_epoch")
        _check_whole(given, "epochs", "batch_size", "validation_batch_size")
        _check_whole(given, "initial_epoch", least=0)
        if isinstance(given.get("validation_freq"), Integral | float | str):
            _check_whole(given, "validation_freq")
        share = given.get("validation_split", 0)
        if not 0 <= share < 1:
            raise ValueError(f"validation_split must be a share from 0 to below 1, not {share!r}")
        if given.get("validation_data") is not None:
            self._check_batches(given, "validation_data", "validation_steps")
        given["callbacks"] = _watched(given.get("callbacks"))
        return super().fit(**given)

    def evaluate(self, *args, **kwargs) -> float | dict:
        """As `keras.Model.evaluate`: the loss of batches; errors as `fit`."""
        given = _bound(super().evaluate, *args, **kwargs)
        self._check_batches(given, "x", "steps")
        _check_whole(given, "batch_size")
        options = given.pop("kwargs", {})
        return super().evaluate(**given, **options)

    def train_on_batch(self, *args, **kwargs) -> float | dict:
        """As `keras.Model.train_on_batch`, of one batch; errors as `fit`."""
        given = _bound(super().train_on_batch, *args, **kwargs)
        _refuse(self, given, LABELS)
        self._check_adapted()
        return super().train_on_batch(**given)

    def test_on_batch(self, *args, **kwargs) -> float | dict:
        """As `keras.Model.test_on_batch`, of one batch; errors as `fit`."""
        given = _bound(super().test_on_batch, *args, **kwargs)
        _refuse(self, given, LABELS)
        self._check_adapted()
        return super().test_on_batch(**given)

    def export(self, *args, **kwargs) -> None:
        raise ValueError(
            f"a {type(self).__name__} is exported with its catalog and index: "
            "tf_recall.save(Service.build(model, catalog), path)"
        )

    def predict_step(self, data: Any) -> None:
        raise ValueError(
            f"{type(self).__name__} gives the loss of batches: for vectors call embed_query, "
            "embed_item or embed_catalog; for answers Service.build(model, catalog).recommend"
        )

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        _refuse(self, {"y": y, "sample_weight": sample_weight}, LABELS)
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def _check_batches(self, given, name, steps):
        """Checks an argument that brings batches, and that of the number of its steps."""
        data = given.get(name)
        _refuse(self, given, LABELS)
        _check_whole(given, steps)
        if data is None or hasattr(data, "steps_per_epoch"):
            raise ValueError(
                f"{name} must be batches, such as batches.dataset() of batches = "
                f"model.batches(train, catalog), not {type(data).__name__}"
            )
        if isinstance(data, tuple | list):
            _refuse(self, dict(zip(("x", "y", "sample_weight"), data, strict=False)), LABELS)
        if isinstance(data, tf.data.Dataset):
            _check_dataset(self, given, name, data)
        if given.get(steps) is None and _endless(data):
            raise ValueError(
                f"{name} has no end: give {steps}, for an epoch that of batches.steps_per_epoch"
            )
        if given.get(steps) is not None and given[steps] % self.steps_per_execution:
            raise ValueError(
                f"{steps}={given[steps]} must be a multiple of steps_per_execution, "
                f"{self.steps_per_execution}: Keras would run more steps"
            )
        self._check_adapted()

    def _check_adapted(self):
        if not self.built:
            self.build()


class Watch(keras.callbacks.Callback):
    """Sets the model's `epoch`, and stops where it cannot learn.

    Raises:
        ValueError: an epoch has no batches, the loss is no finite number, or it is 0 throughout the
            first epoch.
    """

    async_safe = True  # the end of a batch may be told from another thread: none waits for the loss

    def on_epoch_begin(self, epoch, logs=None):
        self.model.epoch.assign(self.model.first_epoch + epoch)
        self.epoch = epoch
        untrained = int(self.model.step.numpy()) == 0
        self.suspect = untrained and not self.model.negatives.starts_empty
        self.seen = False

    def on_train_batch_end(self, batch, logs=None):
        self.seen = True
        self._check(logs)

    def on_epoch_end(self, epoch, logs=None):
        if not self.seen:
            raise ValueError(f"epoch {epoch + 1} has no batches: there is nothing to learn from")
        if self._check(logs) == 0 and self.suspect:
            raise ValueError(
                "the loss is 0 throughout the first epoch: there is nothing to learn from. Either "
                "all weights are 0, or no row has a negative that differs from its positive"
            )

    def _check(self, logs):
        """The mean loss of the epoch so far; one that is not finite stays so to its end."""
        loss = float(np.mean(logs["loss"]))
        if not math.isfinite(loss):
            raise ValueError(
                f"the loss is {loss} in epoch {self.epoch + 1}: the learning rate is too high, the "
                "temperature too low, or a feature or weight in the data is not finite or too "
                "large for the precision"
            )
        return loss


def _watched(callbacks):
    """Keras's argument `callbacks`, in any form that it takes, with a `Watch` before the others."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks.callbacks.insert(0, Watch())
        callbacks.callbacks[0].set_model(callbacks.model)
        return callbacks
    if isinstance(callbacks, keras.callbacks.Callback):
        callbacks = [callbacks]
    return [Watch(), *(callbacks or [])]


def _bound(method: Callable, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """The arguments of a call by their names."""
    return dict(inspect.signature(method).bind(*args, **kwargs).arguments)


def _refuse(model, given, reasons):
    for name, instead in reasons.items():
        value = given.get(name)
        if value is None or (isinstance(value, list | tuple | dict) and not value):
            continue
        shown = repr(value) if isinstance(value, str | list | dict) else f"<{type(value).__name__}>"
        raise ValueError(
            f"{name}={shown:.60} does not go with {type(model).__name__}, which has {instead}"
        )


def _check_whole(given, *names, least=1):
    for name in names:
        value = given.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise ValueError(f"{name} must be a whole number, {least} or more, not {value!r}")


def _check_dataset(model, given, name, data):
    size = {"x": "batch_size", "validation_data": "validation_batch_size"}[name]
    if given.get(size) is not None:
        raise ValueError(
            f"{size}={given[size]} has no effect on a dataset, whose batches are made: give it to "
            "model.batches"
        )
    if isinstance(data.element_spec, tuple):
        parts = dict(zip(("x", "y", "sample_weight"), data.element_spec, strict=False))
        _refuse(model, parts, LABELS)
    if data.cardinality() == 0:
        raise ValueError(f"{name} has no batches: there is nothing to learn from")


def _endless(data):
    if isinstance(data, tf.data.Dataset):
        return data.cardinality() == tf.data.INFINITE_CARDINALITY
    if isinstance(data, keras.utils.PyDataset):
        return data.num_batches is None
    return inspect.isgenerator(data)
