"""A user as the mean of the items they interacted with, so that new users have a vector too."""

import keras
import numpy as np
import tensorflow as tf

from tf_recall.data.histories import LENGTH
from tf_recall.data.ranges import WholeFrom1
from tf_recall.features.embedding import each_once
from tf_recall.features.sharing import deserialize, serialize
from tf_recall.towers.base import Tower


@keras.saving.register_keras_serializable("tf_recall")
class HistoryTower(Tower):
    """The mean of the item vectors of a user's history, without weights of its own.

    vector = normalize( mean of item_tower(item) over the history )

    `Item2Vec`, `EGES` and the item graphs recommend to users by it (METHODS.md M1, M4, M13, M14),
    and `TwoTower` can be trained through it (M9 without an MLP).

    The history is the request's or, where it brings none, the user's history in the training part;
    in training it is the items before the row's event. Where there is none at all, it is the most
    popular items, so that anonymous and new users get recommendations too.

    Args:
        item_tower: a tower over items whose vectors have length 1.
        length: how many items of a history are used, the latest.

    Call: `{"user": rows [B]}`, optionally with `"history": item rows [B, L]`, 0 for nothing ->
        `[B, dim]` float32 of length 1.

    Raises:
        ValueError: `length` is not positive.

    Example:
        >>> model = TwoTower(HistoryTower(items, length=20), items).adapt(split.train, catalog)

    Paper: Covington et al. 2016, "Deep Neural Networks for YouTube Recommendations", section 3.2.
    """

    takes_history = True
    normalize = True

    tunable = {"length": [10, 100, "log"]}

    def __init__(self, item_tower: Tower, length: WholeFrom1 = LENGTH, **kwargs) -> None:
        super().__init__("user", **kwargs)
        if length < 1:
            raise ValueError(f"a history must have a length of at least 1, not {length}")
        self.item_tower = item_tower
        self.length = length

    @property
    def dim(self) -> int:
        return self.item_tower.dim

    def needs(self):
        return super().needs().also(history=self.length)

    def end_step(self) -> None:
        self.item_tower.end_step()

    def vocabularies(self) -> list:
        return self.item_tower.vocabularies()

    def _adapt(self, train, catalog):
        if not self.item_tower.adapted:
            self.item_tower.adapt(train, catalog)
        self.build_from_config({"num_rows": catalog.side(self.entity).vocabulary.size})
        counts = catalog.side(self.item_tower.entity).vocabulary.counts
        popular = 1 + np.argsort(-counts[1:], kind="stable")[: self.length]
        self.popular.assign(np.pad(popular[::-1], [self.length - len(popular), 0]))
        self.histories.assign(catalog.histories.last(self.length))

    def _grown(self, interactions, catalog):
        tower = HistoryTower(self.item_tower.grown(interactions, catalog), self.length)
        tower.adapt(interactions, catalog)
        return tower

    def build_from_config(self, config: dict) -> None:
        self.num_rows = config["num_rows"]
        state = {"dtype": "int32", "initializer": "zeros", "trainable": False}
        shape = (self.num_rows, self.length)
        self.histories = self.add_weight(name="histories", shape=shape, **state)
        self.popular = self.add_weight(name="popular", shape=(self.length,), **state)
        self.built = True

    def get_build_config(self) -> dict | None:
        return {"num_rows": self.num_rows} if self.built else None

    def inputs_from_raw(self, rows, raw, history=None):
        inputs = super().inputs_from_raw(rows, raw, history)
        if history is None:
            return inputs
        given = tf.reduce_any(history > 0, axis=1, keepdims=True)
        stored = tf.where(given, 0, tf.gather(self.histories.value, rows))
        return {**inputs, "history": tf.concat([stored, history], axis=1)}  # [B, length + L]

    def call(self, inputs: dict, training: bool = False) -> tf.Tensor:
        items = inputs.get("history")
        if items is None:
            items = tf.gather(self.histories.value, inputs[self.entity])  # [B, length]
        width = tf.shape(items)[1]
        popular = tf.pad(self.popular.value, [[tf.maximum(width - self.length, 0), 0]])[-width:]
        some = tf.reduce_any(items > 0, axis=1, keepdims=True)
        items = tf.where(some, items, popular)  # [B, L]
        key = self.item_tower.entity
        vectors = each_once(lambda rows: self.item_tower({key: rows}, training=training), items)
        known = tf.cast(items > 0, tf.float32)
        total = tf.einsum("bl,bld->bd", known, tf.cast(vectors, tf.float32))
        return tf.math.l2_normalize(total, axis=1)  # [B, dim]

    def get_config(self) -> dict:
        config = super().get_config()
        del config["entity"]
        return {**config, "item_tower": serialize(self.item_tower), "length": self.length}

    @classmethod
    def from_config(cls, config: dict) -> "HistoryTower":
        return cls(**{**config, "item_tower": deserialize(config["item_tower"])})
