"""A user as the mean of the items taken: no table of users, so anonymous and new ones are answered
too.
"""

import keras
import numpy as np
import tensorflow as tf


@keras.saving.register_keras_serializable("tf_recall")
class HistoryTower(keras.layers.Layer):
    """The query vector of models that know items only: the mean direction of the last items taken.

    vector = normalize( mean of item_tower(item) over the history )

    The history is what the request brings or, where it brings none, what training kept of the user.
    A user of whom nothing is known gets the mean of the most popular items.

    Args:
        item_tower: a tower over items, of unit length.
        length: how many items of a history are kept, the latest first.

    Call: `{"user": rows [B]}`, optionally with `"history": item rows [B, L]`, 0 for nothing ->
        `[B, dim]` float32.

    Raises:
        ValueError: `length` is not positive.
    """

    entity, tables, raw_columns, takes_history = "user", {}, {}, True

    def __init__(self, item_tower, length=50, **kwargs):
        super().__init__(name=kwargs.pop("name", "user_tower"), **kwargs)
        if length < 1:
            raise ValueError(f"a history must have a length of at least 1, not {length}")
        self.item_tower, self.length = item_tower, length

    @property
    def dim(self):
        """The length of the vector."""
        return self.item_tower.dim

    def adapt(self, train, catalog):
        """Keeps each user's latest items of the training part, by time where there is one, else by
        line.
        """
        frame, size = train.frame, self.length
        users, items = (
            catalog.users.encode(frame["user_id"]),
            catalog.items.encode(frame["item_id"]),
        )
        times = frame["timestamp"].to_numpy() if "timestamp" in frame else np.arange(len(frame))
        latest = np.lexsort((-np.arange(len(frame)), -times, users))  # by user, the latest first
        latest = latest[(users[latest] > 0) & (items[latest] > 0)]
        owner = users[latest]
        place = np.arange(len(owner)) - np.searchsorted(owner, owner)
        latest, owner, place = latest[place < size], owner[place < size], place[place < size]
        table = np.zeros((catalog.users.size, size), np.int32)
        table[owner, place] = items[latest]
        popular = 1 + np.argsort(-catalog.items.counts[1:], kind="stable")[:size]
        nothing = ~table.any(axis=1)
        table[nothing, : len(popular)] = popular
        self.build_from_config({"num_rows": catalog.users.size})
        self.histories.assign(table)

    def build_from_config(self, config):
        self.num_rows = config["num_rows"]
        shape = (self.num_rows, self.length)
        self.histories = self.add_weight(
            name="histories", shape=shape, dtype="int32", initializer="zeros", trainable=False
        )
        self.built = True

    def get_build_config(self):
        return {"num_rows": self.num_rows} if self.built else None

    def call(self, inputs, training=False):
        items = tf.gather(self.histories.value, inputs["user"])  # [B, length]
        if "history" in inputs:
            given = inputs["history"]  # [B, L]
            told = tf.reduce_any(given > 0, axis=1, keepdims=True)
            items = tf.concat([tf.where(told, 0, items), given], axis=1)
        vectors = self.item_tower(
            {"item": tf.reshape(items, [-1])}, training=training
        )  # [B * L, dim]
        vectors = tf.reshape(vectors, [-1, tf.shape(items)[1], self.dim])
        known = tf.cast(items > 0, tf.float32)[..., None]  # [B, L, 1]
        return tf.math.l2_normalize(tf.reduce_sum(vectors * known, axis=1), axis=1)  # [B, dim]

    def context(self):
        """None: a history has no features of its own."""
        return []

    def inputs_from_raw(self, rows, raw):
        """The inputs of `call`; see `FeatureTower.inputs_from_raw`."""
        return {"user": rows}

    def get_config(self):
        return {
            **super().get_config(),
            "item_tower": keras.saving.serialize_keras_object(self.item_tower),
            "length": self.length,
        }

    @classmethod
    def from_config(cls, config):
        return cls(
            **{**config, "item_tower": keras.saving.deserialize_keras_object(config["item_tower"])}
        )
