"""Heads: what a user would do with an item, told from their two vectors, beside the recall."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.lengths import LengthCurve, lengths_of
from tf_recall.data.ranges import Column, NumberAbove0, WholeFrom1
from tf_recall.data.values import numbers_of

LARGEST = 20.0  # of z: exp(20) units are years


class Head(keras.layers.Layer):
    """A number of a user and an item, learned beside the loss of a model (METHODS.md Y5).

        z = MLP([q, i, q * i]),   q and i the query's and the item's vector, brought to one length
        loss += weight * mean over the rows that have a label

    Labels come with the positives, from a column of the log; a row without one does not count, and
    weights of positives do not either: a head tells what is, not what is worth more. It acts in
    training alone. The logs have its mean, before the weight, under its endpoint's name.

    A subclass has `of_rows`, `answer`, and `_fit` where it needs to know the data.

    Args:
        column: of the log, numbers of at least 0.
        units: sizes of the hidden layers.
        weight: of its loss.
        endpoint: what the export calls it.

    Raises:
        ValueError: a weight that is not above 0.
    """

    carried: tuple[str, ...] = ()  # its state that stays where the model grows

    def __init__(
        self,
        column: str,
        units: Sequence[int],
        weight: float,
        endpoint: str,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        if not weight > 0:
            raise ValueError(f"weight is a number above 0, got {weight!r}")
        self.column, self.units = column, list(units)
        self.weight, self.endpoint = weight, endpoint
        self.hidden = [keras.layers.Dense(each, activation="relu") for each in self.units]
        self.last = keras.layers.Dense(1)
        self.mean = keras.metrics.Mean(name=endpoint)

    def adapt(self, train: Interactions, catalog: Catalog, dim: int) -> None:
        """Fits what depends on the training part; once.

        Args:
            train: the training `Interactions`.
            catalog: its `Catalog`.
            dim: length of the vectors.

        Raises:
            ValueError: the log lacks the column, or it holds no number of at least 0.
        """
        if self.column not in train.frame:
            raise ValueError(
                f"{self.endpoint} learns from the column {self.column!r}; the interactions have "
                f"{', '.join(map(str, train.frame))}"
            )
        values = numbers_of(train.frame[self.column], f"column {self.column!r}")
        wrong = np.flatnonzero(np.isinf(values) | (values < 0))
        if wrong.size or not np.nansum(values):
            got = f"{values[wrong[0]]} in row {wrong[0]}" if wrong.size else "nothing above 0"
            raise ValueError(f"{self.column} must hold numbers of at least 0, got {got}")
        self.build_from_config({"dim": dim, "items": catalog.items.size})
        self._fit(train, catalog, values)

    def learn_from(self, known: "Head") -> None:
        """Takes what another head of its recipe has learned, and the unit of what it tells."""
        for new, old in zip(self.trainable_variables, known.trainable_variables, strict=True):
            new.assign(old)
        for name in self.carried:
            getattr(self, name).assign(getattr(known, name))

    def logit(self, query: tf.Tensor, item: tf.Tensor) -> tf.Tensor:
        """z `[B]` of vectors `[B, D]`."""
        length = query.shape[1] ** 0.5
        query, item = (
            length * tf.math.l2_normalize(tf.cast(each, tf.float32), axis=1)
            for each in (query, item)
        )
        hidden = tf.concat([query, item, query * item], axis=1)  # [B, 3 D]
        for layer in self.hidden:
            hidden = layer(hidden)
        return tf.clip_by_value(tf.cast(self.last(hidden), tf.float32)[:, 0], -LARGEST, LARGEST)

    def of(self, query: tf.Tensor, item: tf.Tensor, rows: tf.Tensor, labels: dict) -> tf.Tensor:
        """The loss of a step, with its weight: a scalar.

        Args:
            query, item: vectors `[B, D]`.
            rows: of the items `[B]`.
            labels: columns of the log `[B]` by name; NaN where there is none.
        """
        losses, known = self.of_rows(self.logit(query, item), rows, labels[self.column])
        count = tf.maximum(tf.reduce_sum(tf.cast(known, tf.float32)), 1)
        loss = tf.reduce_sum(tf.where(known, losses, 0)) / count
        self.mean.update_state(loss)
        return self.weight * loss

    def of_rows(
        self, z: tf.Tensor, rows: tf.Tensor, label: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The loss of each row `[B]`, and which rows have a label, bool `[B]`."""
        raise NotImplementedError

    def answer(self, query: tf.Tensor, item: tf.Tensor, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        """What the endpoint gives of vectors `[B, D]` and item rows `[B]`: `[B]` by name."""
        raise NotImplementedError

    def _fit(self, train, catalog, values):
        pass

    def _state(self, name, shape, initializer="zeros"):
        return self.add_weight(
            name=name, shape=shape, initializer=initializer, trainable=False, dtype="float32"
        )

    def get_config(self) -> dict:
        own = ("column", "units", "weight", "endpoint")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}

    def get_build_config(self) -> dict | None:
        return self._built_for if self.built else None

    def build_from_config(self, config: dict) -> None:
        if self.built:
            return
        width = 3 * config["dim"]
        for layer in [*self.hidden, self.last]:
            layer.build([None, width])
            width = layer.units
        self._built_for = dict(config)
        self._make(config)
        self.built = True

    def _make(self, config):
        """Makes the weights of its own."""


def labels_of(heads: Sequence[Head]) -> tuple[str, ...]:
    """The columns of the log that heads learn from."""
    return tuple(dict.fromkeys(head.column for head in heads))


def adapt_heads(
    heads: Sequence[Head], train: Interactions, catalog: Catalog, dim: int, known: Sequence = ()
) -> None:
    """Fits a model's heads, as `Head.adapt`; `known` are those of the one before it."""
    for head in heads:
        head.adapt(train, catalog, dim)
    for head, before in zip(heads, known, strict=False):
        head.learn_from(before)


@keras.saving.register_keras_serializable("tf_recall")
class WatchTime(Head):
    """How long a user would watch an item: trained as odds, served as `exp(z)` (METHODS.md Y5).

        t    = watched / unit
        loss = (1 + t) * cross-entropy(sigmoid(z), t / (1 + t)) = t softplus(-z) + softplus(z)
        watch_time = unit * exp(z)

    The cross-entropy alone would draw `exp(z)` below the mean where times scatter; weighed by
    1 + t its best `exp(z)` is the mean of t, so that the answer is the expected time.

    Args:
        column: of the log, the time watched, in any unit.
        units: sizes of the hidden layers.
        weight: of its loss.
        unit: what t counts; None: the mean of the training part.
        endpoint: of the export, a signature with the output `watch_time`.

    Raises:
        ValueError: a weight or a unit that is not above 0; when adapted, as `Head`.

    Example:
        >>> model = TwoTower(predicts=[WatchTime("timestamp")]).adapt(split.train, catalog)
    """

    def __init__(
        self,
        column: Column,
        units: Sequence[WholeFrom1] = (64,),
        weight: NumberAbove0 = 0.5,
        unit: NumberAbove0 | None = None,
        endpoint: Column = "watch_time",
        **kwargs,
    ) -> None:
        super().__init__(column, units, weight, endpoint, **kwargs)
        if unit is not None and not unit > 0:
            raise ValueError(f"unit is a number above 0, got {unit!r}")
        self.unit = unit

    carried = ("scale",)  # where the model grows: what has been learned is told in this unit

    def of_rows(self, z, rows, label):
        known = tf.math.is_finite(label)
        t = tf.where(known, label, 0) / self.scale
        return t * tf.nn.softplus(-z) + tf.nn.softplus(z), known

    def answer(self, query, item, rows):
        return {"watch_time": self.scale * tf.exp(self.logit(query, item))}

    def _fit(self, train, catalog, values):
        self.scale.assign(self.unit or np.nanmean(values))

    def _make(self, config):
        self.scale = self._state("scale", (), "ones")

    def get_config(self) -> dict:
        return {**super().get_config(), "unit": self.unit}


@keras.saving.register_keras_serializable("tf_recall")
class FinishRate(Head):
    """How much of an item a user would watch, and that beside its length (METHODS.md Y5).

        share       = min(1, watched / length)
        loss        = cross-entropy(sigmoid(z), share)
        finish_rate = sigmoid(z)
        lift        = sigmoid(z) / curve(length)

    The curve is the mean share by length, falling, fitted on the training part. Long videos are
    finished less often: the lift, not the rate, compares them fairly with short ones.

    Args:
        column: of the log, the time watched.
        length: of the item table, above 0 and in the same unit; rows of items without one do not
            count, and their lift is beside the mean share.
        units: sizes of the hidden layers.
        weight: of its loss.
        endpoint: of the export, a signature with the outputs `finish_rate` and `lift`.

    Raises:
        ValueError: a weight that is not above 0; when adapted, as `Head`, no such column of the
            item table, or a length that is not above 0.
    """

    def __init__(
        self,
        column: Column,
        length: Column,
        units: Sequence[WholeFrom1] = (64,),
        weight: NumberAbove0 = 0.5,
        endpoint: Column = "finish_rate",
        **kwargs,
    ) -> None:
        super().__init__(column, units, weight, endpoint, **kwargs)
        self.length = length

    def of_rows(self, z, rows, label):
        length = tf.gather(self.lengths, rows)
        known = tf.math.is_finite(label) & (length > 0)
        share = tf.where(known, tf.minimum(label / tf.maximum(length, 1e-6), 1), 0)
        return tf.nn.sigmoid_cross_entropy_with_logits(share, z), known

    def answer(self, query, item, rows):
        rate = tf.sigmoid(self.logit(query, item))
        return {"finish_rate": rate, "lift": rate / tf.gather(self.expected, rows)}

    def _fit(self, train, catalog, values):
        lengths = lengths_of(catalog, self.length)
        of = lengths[catalog.items.encode(train.frame["item_id"])]
        known = np.isfinite(of) & np.isfinite(values)
        share = np.minimum(1, values[known] / of[known])
        expected = LengthCurve.fit(of[known], share)(lengths)
        self.lengths.assign(np.nan_to_num(lengths, nan=0))
        self.expected.assign(np.where(np.isnan(lengths), share.mean(), expected))

    def _make(self, config):
        self.lengths = self._state("lengths", (config["items"],))
        self.expected = self._state("expected", (config["items"],), "ones")

    def get_config(self) -> dict:
        return {**super().get_config(), "length": self.length}
