"""The binder: positives, negatives, towers and loss become one Keras model."""

import keras
import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

BLOCK = 8192  # items encoded at once


@keras.saving.register_keras_serializable("tf_recall")
class Retriever(keras.Model):
    """A query tower, an item tower, the negatives and the loss that ties them.

    A training step encodes each *distinct* item of the batch once: popular items repeat, and their copies would cost
    and say the same.

    Args:
        query_tower: `{"user": rows [B], ...} -> [B, dim]`.
        item_tower: `{"item": rows [M]} -> [M, dim]`.
        negatives: the sampler; it prices each item with `log_q`.
        loss: what becomes of the scores.

    Call: a batch `{"query": {...}, "item": {"item": [B]}, "weight": [B] optional}` -> the loss, a scalar.
    """

    supports_jit = False  # "auto" must not choose XLA, under which distinct items have no static shape

    def __init__(self, query_tower, item_tower, negatives, loss, **kwargs):
        super().__init__(**kwargs)
        if query_tower.dim != item_tower.dim:
            raise ValueError(f"the towers must end in one size, not {query_tower.dim} and {item_tower.dim}")
        self.query_tower, self.item_tower = query_tower, item_tower
        self.negatives, self.loss_fn = negatives, loss

    def adapt(self, train, catalog):
        """Fits features, side tables and prices on the training part. Call it once, before `fit`.

        Args:
            train: the training `Interactions`.
            catalog: `Catalog.fit(train)`.
        """
        self.query_tower.adapt(catalog.users, catalog.user_table, train.frame)
        self.item_tower.adapt(catalog.items, catalog.item_table)
        self.negatives.adapt(catalog.items.counts)
        self.built = True
        return self

    def build_from_config(self, config):
        self.built = True

    def get_build_config(self):
        return {"adapted": True} if self.built else None  # an empty dict would count as "not built"

    def call(self, batch, training=False):
        query = self.query_tower(batch["query"], training=training)  # [B, dim]
        rows = batch["item"]["item"]
        weight = batch.get("weight")
        if self.jit_compile:
            item = self.item_tower({"item": rows}, training=training)  # [B, dim]
            return self.loss_fn.reference(query, item, rows, log_q=self.negatives.log_q(rows), weight=weight)
        rows, positive, count = tf.unique_with_counts(rows)
        item = self.item_tower({"item": rows}, training=training)  # [M, dim]
        return self.loss_fn(query, item, positive, count, log_q=self.negatives.log_q(rows), weight=weight)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return tf.add_n([y_pred, *self.losses])

    def embed_query(self, inputs):
        """Query vectors `[B, dim]` for serving: no temperature, no log q."""
        return self.query_tower(inputs, training=False)

    def embed_item(self, inputs):
        """Item vectors `[B, dim]` for serving."""
        return self.item_tower(inputs, training=False)

    def embed_catalog(self):
        """The vectors of all items: float32 `[num_items, dim]`, line r is row r + 1. Each item is encoded once."""
        blocks = range(1, self.item_tower.num_rows, BLOCK)
        ends = [min(at + BLOCK, self.item_tower.num_rows) for at in blocks]
        pairs = tqdm(zip(blocks, ends, strict=True), "items", len(ends), delay=3, leave=False)
        return np.concatenate([self._embed_rows(tf.range(at, end)).numpy() for at, end in pairs]).astype(np.float32)

    @tf.function(reduce_retracing=True, input_signature=[tf.TensorSpec([None], tf.int32)])
    def _embed_rows(self, rows):
        return self.embed_item({"item": rows})

    def get_config(self):
        parts = {
            "query_tower": self.query_tower,
            "item_tower": self.item_tower,
            "negatives": self.negatives,
            "loss": self.loss_fn,
        }
        parts = {key: keras.saving.serialize_keras_object(part) for key, part in parts.items()}
        return {**super().get_config(), **parts}

    @classmethod
    def from_config(cls, config):
        parts = ("query_tower", "item_tower", "negatives", "loss")
        return cls(**{**config, **{key: keras.saving.deserialize_keras_object(config[key]) for key in parts}})
