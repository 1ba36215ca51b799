"""One side of a model whose vectors are propagated beforehand; users also from their histories."""

import tensorflow as tf

from tf_recall.towers.base import Tower
from tf_recall.towers.convolutions import unit_length
from tf_recall.towers.propagation import Propagation


class PropagatedTower(Tower):
    """Vectors that `refresh` stores after training, so that answers need no graph.

        vector[u] = (E[0][u] + sum over the items i of the history of sent[i] / sqrt(n)) / (K + 1)

    with `sent` as in `Propagation`, for a user who comes with a history of n different items: what
    a graph with those edges in place of the user's own would give, the items being as they are.
    Somebody unknown has the vector of row 0, and beside a history no E[0].

    Args:
        entity: "user" or "item".
        propagation: where E[0] is.
        normalize: whether vectors are brought to length 1.

    Call: `{entity: rows [B]}`, of users optionally with `"history": item rows [B, L]`, 0 for
        nothing -> `[B, dim]` float32.
    """

    def __init__(self, entity: str, propagation: Propagation, normalize: bool, **kwargs) -> None:
        super().__init__(entity, dtype="float32", **kwargs)
        self.propagation = propagation
        self.normalize = normalize
        self.takes_history = entity == "user"

    @property
    def dim(self) -> int:
        return self.propagation.dim

    def _adapt(self, train, catalog):
        self.build_from_config({})

    def build_from_config(self, config: dict) -> None:
        sizes = self.propagation.get_build_config()
        self.num_rows = sizes[self.entity]
        self.stored = self._table("stored", self.num_rows)
        if self.takes_history:
            self.sent = self._table("sent", sizes["item"])
        self.built = True

    def _table(self, name, num_rows):
        return self.add_weight(
            name=name,
            shape=(num_rows, self.dim),
            initializer="zeros",
            trainable=False,
            autocast=False,
        )

    def get_build_config(self) -> dict | None:
        return {} if self.built else None

    def refresh(self, vectors: tf.Tensor, sent: tf.Tensor) -> None:
        """Stores what has been propagated.

        Args:
            vectors: `[V, dim]`.
            sent: `Propagation.sent()`, which the users' tower needs.
        """
        self.stored.assign(self.finished(vectors))
        if self.takes_history:
            self.sent.assign(sent)

    def finished(self, vectors: tf.Tensor) -> tf.Tensor:
        """Vectors `[..., dim]` of length 1, where that is asked for."""
        return unit_length(vectors) if self.normalize else vectors

    def inputs_from_raw(self, rows, raw, history=None):
        inputs = super().inputs_from_raw(rows, raw)
        return inputs if history is None else {**inputs, "history": history}

    def call(self, inputs: dict, training: bool = False) -> tf.Tensor:
        rows = inputs[self.entity]
        stored = tf.gather(self.stored.value, rows)  # [B, dim]
        if "history" not in inputs:
            return stored
        history = inputs["history"]
        given = tf.reduce_any(history > 0, axis=1, keepdims=True)  # [B, 1]
        return tf.where(given, self._of_history(rows, history), stored)

    def _of_history(self, rows, history):
        """The vectors of users with histories `[B, L]`; an item counts once."""
        history = tf.sort(history, axis=1)
        first = tf.pad(history[:, 1:] != history[:, :-1], [[0, 0], [1, 0]], constant_values=True)
        first = tf.cast(first & (history > 0), tf.float32)  # [B, L]
        near = tf.einsum("bl,bld->bd", first, tf.gather(self.sent.value, history))
        near = tf.math.divide_no_nan(near, tf.sqrt(tf.reduce_sum(first, axis=1, keepdims=True)))
        known = tf.cast(rows > 0, tf.float32)[:, None]
        own = known * tf.gather(self.propagation.tables[self.entity].value, rows)
        return self.finished((own + near) / (self.propagation.num_layers + 1))
