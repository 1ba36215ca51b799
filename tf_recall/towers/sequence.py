"""Towers that read a user's history in its order: the base of attention and recurrence."""

from collections.abc import Callable

import tensorflow as tf

from tf_recall.data.histories import LENGTH
from tf_recall.data.ranges import Seed, Share, WholeFrom1
from tf_recall.features.embedding import each_once, shapes_are_static
from tf_recall.features.history import latest
from tf_recall.features.sharing import deserialize, serialize
from tf_recall.towers.base import Tower
from tf_recall.towers.dropout import PlaceDropout

PIECE = 256  # histories


class SequenceTower(Tower):
    """A tower over the items of a history, in order; a subclass defines `read` and `build_reader`.

    x[t] = sqrt(dim) item_tower(items[t]) + places[t],  t counted from the oldest item on
    query = read(x) at the last item, at length 1 where the items' vectors are

    No place sees a later one, so that the vector at a place is what serving computes of the history
    up to there: one pass over a history trains all its places (`Sequences`).

    The history is the request's or, where it brings none, the user's latest items of the training
    part. Items that the catalog does not know are skipped. Where nothing is left the query is a
    learned vector, which `Sequences` trains by users' first events.

    Args:
        item_tower: a tower over items.
        length: how many items of a history are read, the latest.
        dropout: the share of numbers that training leaves out at random, of the items' vectors and
            within the layers.
        seed: of the dropout's draws.

    Call: `{"user": rows [B]}`, optionally with `"history": item rows [B, L]`, 0 for nothing ->
        `[B, dim]` float32; or histories packed in rows, as `Sequences` makes them, `{"history": [R,
        W], "place": [R, W], "at": [T]}` -> `[T, dim]`.

    Raises:
        ValueError: `length` is not positive, `dropout` out of its range; or packed rows on several
            replicas, between which they cannot be split.
    """

    takes_history = True

    tunable = {"length": [10, 100, "log"], "dropout": [0.0, 0.7]}

    def __init__(
        self,
        item_tower: Tower,
        length: WholeFrom1 = LENGTH,
        dropout: Share = 0.0,
        seed: Seed = 0,
        **kwargs,
    ) -> None:
        super().__init__("user", **kwargs)
        if length < 1:
            raise ValueError(f"a history must have a length of at least 1, not {length}")
        self.item_tower = item_tower
        self.length = self.history_length = length
        self.dropout = dropout
        self.seed = seed
        self.normalize = item_tower.normalize
        self.drop = PlaceDropout(dropout, seed)

    def build_reader(self) -> None:
        """Makes the weights of `read`."""
        raise NotImplementedError

    def read(self, x: tf.Tensor, place: tf.Tensor, training: bool) -> tf.Tensor:
        """What is known after each place: `[R, W, dim]`.

        Args:
            x: `[R, W, dim]`.
            place: `[R, W]`, each one's number in its history; a history begins at every 0.
            training: whether numbers are left out.
        """
        raise NotImplementedError

    @property
    def dim(self) -> int:
        return self.item_tower.dim

    def needs(self):
        return super().needs().also(history=self.length, packed=True)

    def end_step(self) -> None:
        self.item_tower.end_step()
        self.drop.end_step()

    def vocabularies(self) -> list:
        return self.item_tower.vocabularies()

    def _adapt(self, train, catalog):
        if not self.item_tower.adapted:
            self.item_tower.adapt(train, catalog)
        self.build_from_config({"num_rows": catalog.side(self.entity).vocabulary.size})
        self.histories.assign(catalog.histories.last(self.length))

    def _grown(self, interactions, catalog):
        items = self.item_tower.grown(interactions, catalog)
        tower = type(self)(**{**self.get_config(), "item_tower": items})
        tower.adapt(interactions, catalog)
        for new, old in zip(tower._own(), self._own(), strict=True):
            new.assign(old)
        return tower

    def _own(self):
        """The trainable weights but those of items."""
        of_items = {id(each) for each in self.item_tower.trainable_variables}
        return [each for each in self.trainable_variables if id(each) not in of_items]

    def build_from_config(self, config: dict) -> None:
        self.num_rows = config["num_rows"]
        self.histories = self.add_weight(
            name="histories",
            shape=(self.num_rows, self.length),
            dtype="int32",
            initializer="zeros",
            trainable=False,
        )
        self.places = self.add_weight(
            name="places", shape=(self.length, self.dim), initializer="uniform", autocast=False
        )
        self.empty = self.add_weight(name="empty", shape=(self.dim,), initializer="uniform")
        self.build_reader()
        self.built = True

    def get_build_config(self) -> dict | None:
        return {"num_rows": self.num_rows} if self.built else None

    def inputs_from_raw(self, rows, raw, history=None):
        inputs = super().inputs_from_raw(rows, raw, history)
        if history is None:
            return inputs
        given = tf.reduce_any(history > 0, axis=1, keepdims=True)
        stored = tf.gather(self.histories.value, rows)
        return {**inputs, "history": tf.where(given, latest(history, self.length), stored)}

    def call(self, inputs: dict, training: bool = False) -> tf.Tensor:
        if "at" in inputs:
            vectors = self._packed(inputs["history"], inputs["place"], inputs["at"], training)
        else:
            vectors = self._each(inputs, training)
        vectors = tf.cast(vectors, tf.float32)
        return tf.math.l2_normalize(vectors, axis=1) if self.normalize else vectors

    def _packed(self, items, place, at, training):
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            raise ValueError(
                f"{type(self).__name__} learns from histories packed in rows, which several "
                "replicas cannot split: train on one device, or take the positives NextItem"
            )
        states = tf.reshape(self._states(items, place, training), [-1, self.dim])
        empty = tf.cast(self.empty, states.dtype)[None]
        return tf.gather(tf.concat([states, empty], axis=0), at)  # [T, dim]

    def _each(self, inputs, training):
        items = inputs.get("history")
        if items is None:
            items = tf.gather(self.histories.value, inputs[self.entity])
        items = latest(items, self.length)  # [B, length]
        if training or shapes_are_static():
            last = self._last(items, training)
        else:
            last = in_pieces(lambda piece: self._last(piece, training), items, self.dim)
        some = tf.reduce_any(items > 0, axis=1, keepdims=True)
        return tf.where(some, last, tf.cast(self.empty, tf.float32))

    def _last(self, items, training):
        """What is known after the last item: float32 `[B, dim]`."""
        known = tf.cast(items > 0, tf.int32)
        if not shapes_are_static():  # no place costs anything that none of these histories fills
            width = tf.maximum(tf.reduce_max(tf.reduce_sum(known, axis=1)), 1)
            items, known = items[:, -width:], known[:, -width:]
        place = tf.maximum(tf.cumsum(known, axis=1) - 1, 0)
        return tf.cast(self._states(items, place, training)[:, -1], tf.float32)

    def _states(self, items, place, training):
        key = self.item_tower.entity
        vectors = each_once(lambda rows: self.item_tower({key: rows}, training=training), items)
        x = self.dim**0.5 * tf.cast(vectors, tf.float32) + tf.gather(self.places, place)
        x = self.drop(tf.cast(x, self.compute_dtype), depth=0, training=training)
        return self.read(x, place, training)  # [R, W, dim]

    def get_config(self) -> dict:
        config = super().get_config()
        del config["entity"]
        own = {name: getattr(self, name) for name in ("length", "dropout", "seed")}
        return {**config, "item_tower": serialize(self.item_tower), **own}

    @classmethod
    def from_config(cls, config: dict) -> "SequenceTower":
        return cls(**{**config, "item_tower": deserialize(config["item_tower"])})


def in_pieces(read: Callable[[tf.Tensor], tf.Tensor], rows: tf.Tensor, dim: int) -> tf.Tensor:
    """`read(rows)`, `PIECE` rows at a time: what is read of them stays in the processor's cache.

    Args:
        read: rows `[M, L]` -> float32 `[M, dim]`.
        rows: `[B, L]`.
        dim: the length of what is read of each.
    """
    pieces = tf.maximum(-(-tf.shape(rows)[0] // PIECE), 1)
    vectors = tf.TensorArray(tf.float32, pieces, infer_shape=False, element_shape=[None, dim])

    def next_piece(at, vectors):
        return at + 1, vectors.write(at, read(rows[at * PIECE : (at + 1) * PIECE]))

    _, vectors = tf.while_loop(lambda at, _: at < pieces, next_piece, [tf.constant(0), vectors])
    return vectors.concat()
