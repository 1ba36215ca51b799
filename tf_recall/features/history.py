"""A user's history as a feature: the items that they interacted with, pooled to one vector."""

import keras
import numpy as np
import tensorflow as tf

from tf_recall.data.histories import LENGTH
from tf_recall.data.ranges import Seed, Share, WholeFrom0, WholeFrom1
from tf_recall.features.embedding import RowEmbedding, each_once
from tf_recall.features.pooling import MeanPooling, Pooling
from tf_recall.features.seen import SometimesUnknown
from tf_recall.features.sharing import deserialize, serialize


@keras.saving.register_keras_serializable("tf_recall")
class History(SometimesUnknown):
    """The latest items of a user, embedded and pooled (METHODS.md P6, M9).

    vector = pooling(embed(items)),  or a learned vector where there are no items

    In training each row brings the items before its own event, cut strictly before it, so that no
    event is predicted from itself or from what came later. When serving, a request may bring a
    history; where it brings none, the user's latest items of the training part are stored.

    So that the vector of those who did nothing yet learns what most begin with, and is no noise,
    each step shows a share of the histories as empty.

    With `gaps` an item's vector is added to that of how long before the newest of the history it
    was: of the bucket floor(log2(1 + seconds)). It is measured from the newest, not from now, so
    that training and serving agree. A history that a request brings has no times: each position has
    the bucket that it mostly has in training.

    Args:
        dim: length of an item's vector; with `items` it is theirs.
        length: how many items, the latest.
        pooling: what makes one vector of them, `MeanPooling()` by default.
        items: a tower over items whose vectors are used, such as the model's item tower; None: a
            table of its own.
        gaps: how many buckets of time there are, the last one open; 25 reach beyond a year. 0: time
            is left out, and order but for the pooling's.
        unknown_rate, seed: as `SometimesUnknown`; an unknown history is an empty one.

    Call: item rows `[B, length]` int32, the oldest first, padded in front with 0; with `gaps`
        `[B, length, 2]`, rows and buckets; where the pooling asks, a query `[B, Q]` -> `[B, dim]`.

    Raises:
        ValueError: `dim` or `length` below 1, or `unknown_rate` out of range.

    Example:
        >>> tower = FeatureTower("user", [Id(32), History(32, length=20, pooling=LastPooling())])

    Paper: Covington et al. 2016, "Deep Neural Networks for YouTube Recommendations", section 3.2.
    """

    describes = False

    tunable = {"dim": [8, 256, "log"], "length": [10, 100, "log"], "unknown_rate": [0.0, 0.1]}

    def __init__(
        self,
        dim: WholeFrom1 = 32,
        length: WholeFrom1 = LENGTH,
        pooling: Pooling | None = None,
        items: keras.layers.Layer | None = None,
        gaps: WholeFrom0 = 0,
        unknown_rate: Share = 0.01,
        seed: Seed = 0,
        name: str = "history",
        **kwargs,
    ):
        super().__init__(None, unknown_rate, seed, name=name, **kwargs)
        if dim < 1 or length < 1:
            raise ValueError(f"dim and length must be at least 1, not {dim} and {length}")
        self.length = length
        self.pooling = MeanPooling() if pooling is None else pooling
        self._item_dim = dim
        self.width = dim if items is None and self.pooling.dim(dim) == dim else None
        self.items = items
        self.gaps = gaps

    @property
    def size(self) -> int:
        """The length of an item's vector."""
        own = self._item_dim if self.width is None else self.width  # a tower may set the width
        return own if self.items is None else self.items.dim

    @property
    def history_length(self):
        return self.length

    @property
    def code_shape(self):
        return (self.length, 2) if self.gaps else (self.length,)

    @property
    def needs_gaps(self):
        return self.gaps > 0

    @property
    def dim(self):
        return self.pooling.dim(self.size)

    @property
    def asks(self) -> list[str] | None:
        return self.pooling.asks

    def learn(self, train, catalog, entity):
        if entity != "user":
            raise ValueError(f"a History is a user's; a tower of {entity}s cannot have one")
        if self.items is None:
            self.build_from_config({"num_items": catalog.items.size})
            self.table.come_from(catalog.side("item").origin)
        else:
            if not self.items.adapted:
                self.items.adapt(train, catalog)
            self.build_from_config({"num_items": self.items.num_rows})
        codes = self._stored(catalog)
        if self.gaps:
            self.usual.assign(usual(codes[..., 1], self.gaps))
        return codes

    def kept(self, codes, known, origin, described):
        return codes  # of what the catalog holds by now

    def grown(self, codes, catalog, entity):
        return self._stored(catalog)

    def _stored(self, catalog):
        """The codes of what the catalog holds of each user."""
        histories = catalog.histories
        at = histories.positions(histories.offsets[:-1], histories.offsets[1:], self.length)
        rows = histories.at(at)
        rows = np.where(rows < self.num_items, rows, 0)
        if not self.gaps:
            return rows
        return np.stack([rows, self.buckets(histories.gaps(at)).numpy()], axis=2)

    def buckets(self, gaps: tf.Tensor) -> tf.Tensor:
        """The buckets of seconds before the newest, from 1 on; 0 where there is no time."""
        bucket = tf.floor(tf.math.log(1 + tf.maximum(gaps, 0)) / np.log(2) + 1e-4)
        bucket = tf.minimum(tf.cast(bucket, tf.int32), self.gaps - 1) + 1
        return tf.where(gaps < 0, 0, bucket)

    @property
    def num_items(self) -> int:
        """How many item rows have a vector."""
        return self.table.num_rows if self.items is None else self.items.num_rows

    def build_from_config(self, config):
        if self.items is None:
            self.table = RowEmbedding(config["num_items"], self.size, name="table")
            self.table.build()
        if self.gaps:
            self.gap_table = RowEmbedding(self.gaps + 1, self.size, name="gap_table")
            self.gap_table.build()
            state = {"dtype": "int32", "initializer": "zeros", "trainable": False}
            self.usual = self.add_weight(name="usual", shape=(self.length,), **state)
        if self.asks is None:
            self.build_pooling()
        self.empty = self.add_weight(name="empty", shape=(self.dim,), initializer="uniform")
        super().build_from_config(config)

    def build_pooling(self, *query_shape: tuple) -> None:
        """Builds the pooling; one that asks, for queries of a shape `(None, Q)`."""
        if not self.pooling.built:
            self.pooling.build((None, self.length, self.size), (None, self.length), *query_shape)

    def get_build_config(self):
        if not self.built:
            return None
        return {"num_items": self.num_items}

    def given(self, inputs):
        codes = inputs.get(self.name, inputs.get("history"))
        if codes is None:
            return None
        codes = codes[:, -self.length :]
        if not self.gaps or codes.shape.rank == 3:
            return codes
        if "history_gaps" not in inputs:
            return self._with_usual(codes)
        return tf.stack([codes, self.buckets(inputs["history_gaps"][:, -self.length :])], axis=2)

    def from_request(self, rows, raw, history, stored):
        if history is None:
            return None
        given = tf.reduce_any(history > 0, axis=1, keepdims=True)
        rows = latest(history, self.length)
        if self.gaps:
            return tf.where(given[..., None], self._with_usual(rows), stored)
        return tf.where(given, rows, stored)

    def _with_usual(self, rows):
        """Rows `[B, L]` without times, with the usual bucket of each position: `[B, L, 2]`."""
        buckets = self.usual.value[-tf.shape(rows)[1] :]
        return tf.stack([rows, tf.where(rows > 0, buckets, 0)], axis=2)

    def rows(self, codes: tf.Tensor) -> tf.Tensor:
        """The item rows `[B, L]` of codes."""
        return codes[..., 0] if self.gaps else codes

    def shown(self, codes: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Which positions have an item, `[B, L]`: in training a share of the rows has none.

        Equal histories are shown alike in a step.
        """
        rows = self.rows(codes)
        there = rows > 0
        if training and self.unknown_rate:
            places = tf.range(1, tf.shape(rows)[1] + 1, dtype=tf.int64)
            ids = tf.reduce_sum(tf.cast(rows, tf.int64) * places, axis=1)
            there &= self.stays(ids)[:, None]
        return there

    def call(
        self, codes: tf.Tensor, query: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        valid = self.shown(codes, training)  # [B, L]
        vectors = self.embedded(codes, training)
        query = () if query is None else (query,)
        pooled = self.pooling(vectors, valid, *query)  # [B, dim]
        empty = tf.cast(self.empty, pooled.dtype)
        return tf.where(tf.reduce_any(valid, axis=1, keepdims=True), pooled, empty)

    def embedded(self, codes: tf.Tensor, training: bool = False) -> tf.Tensor:
        """The vectors of the positions, `[B, L, D]`: of items, and of gaps where they count."""
        rows = self.rows(codes)
        if self.items is None:
            vectors = self.table(rows)
        else:
            key = self.items.entity
            vectors = each_once(lambda rows: self.items({key: rows}, training=training), rows)
        if not self.gaps:
            return vectors
        return vectors + tf.cast(self.gap_table(codes[..., 1]), vectors.dtype)

    def attributes(self, codes: tf.Tensor, training: bool = False) -> list[tf.Tensor]:
        """The vectors of the items' features, one by one: a list of `[B, L, dim of the feature]`.

        Trained ones have length 1, as the vectors of items: tables grow while they are trained.
        """
        key = self.items.entity

        def embed(rows):
            pairs = zip(self.items.features, self.items.vectors({key: rows}, training), strict=True)
            vectors = [
                each if feature.width is None else tf.math.l2_normalize(each, axis=1)
                for feature, each in pairs
            ]
            return tf.concat(vectors, axis=1)

        sizes = [feature.dim for feature in self.items.features]
        return tf.split(each_once(embed, self.rows(codes)), sizes, axis=2)

    def known(self, codes, training=False):
        return tf.reduce_any(self.shown(codes, training), axis=1)

    def get_config(self):
        config = super().get_config()
        del config["column"]
        items = None if self.items is None else serialize(self.items)
        pooling = keras.saving.serialize_keras_object(self.pooling)
        return {
            **config,
            "dim": self.size,
            "length": self.length,
            "pooling": pooling,
            "items": items,
            "gaps": self.gaps,
        }

    @classmethod
    def from_config(cls, config):
        items = config["items"] and deserialize(config["items"])
        pooling = keras.saving.deserialize_keras_object(config["pooling"])
        return cls(**{**config, "items": items, "pooling": pooling})


def usual(buckets: np.ndarray, num: int) -> np.ndarray:
    """The most frequent of the buckets 1 to `num` at each position: `[U, L]` -> `[L]`, 0 for none.

    Args:
        buckets: 0 where there is none.
        num: the last bucket.
    """
    length = buckets.shape[1]
    counts = np.zeros([length, num + 1], np.int64)
    np.add.at(counts, (np.arange(length), buckets), buckets > 0)
    return counts.argmax(axis=1)


def latest(history: tf.Tensor, length: int) -> tf.Tensor:
    """The last items of a history `[B, L]`, gaps closed: `[B, length]`, padded in front with 0."""
    order = tf.argsort(tf.cast(history > 0, tf.int32), axis=1, stable=True)
    closed = tf.gather(history, order, batch_dims=1)[:, -length:]
    missing = tf.maximum(length - tf.shape(closed)[1], 0)
    return tf.ensure_shape(tf.pad(closed, [[0, 0], [missing, 0]]), [None, length])
