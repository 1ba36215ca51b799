"""The binder: positives, negatives, towers and loss become one Keras model."""

import functools
import sys

import keras
import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from tf_recall.losses.scores import Scores
from tf_recall.negatives.base import Batch
from tf_recall.retrievers.distribution import ReplicatedModel, gather, num_replicas, rank
from tf_recall.retrievers.optimizers import SparseAdagrad

BLOCK = 8192  # items encoded at once


@keras.saving.register_keras_serializable("tf_recall")
class Retriever(ReplicatedModel):
    """A query tower, an item tower, the negatives and the loss that ties them.

    A training step encodes each *distinct* item of the batch once: popular items repeat, and their
    copies would cost and say the same. Under a `tf.distribute` strategy the positives of all
    replicas are one batch: each replica's rows have them all as negatives, and gradients flow back
    to where an item was encoded.

    Args:
        query_tower: `{"user": rows [B], ...} -> [B, dim]`.
        item_tower: `{"item": rows [M]} -> [M, dim]`.
        negatives: the sampler; it draws negatives, and prices any item with `log_q`.
        loss: what becomes of the scores.
        positives: which pairs are positive, such as `UserItem()`.

    Call: a batch `{"query": {...}, "item": {"item": [B]}}`, optionally with `"weight": [B]` and
        `"negatives": [B, R]` -> the loss, a scalar.

    Raises:
        ValueError: the towers end in different sizes; or, at the first step on several replicas,
            the batch does not split uniformly, or XLA is asked for (TensorFlow cannot compile what
            replicas exchange on CPU and GPU).
    """

    # what a config gives, and its kind
    towers = {
        "query_tower": "features",
        "item_tower": "features",
    }
    supports_jit = (
        False  # "auto" must not choose XLA, under which distinct items have no static shape
    )

    def __init__(self, query_tower, item_tower, negatives, loss, positives, **kwargs):
        super().__init__(**kwargs)
        if query_tower.dim != item_tower.dim:
            raise ValueError(
                f"the towers must end in one size, not {query_tower.dim} and {item_tower.dim}"
            )
        self.query_tower, self.item_tower = query_tower, item_tower
        self.positives, self.negatives, self.loss_fn = positives, negatives, loss
        self.temperature = loss.temperature  # tracked here: it may hold a weight
        self.epoch = self.add_weight(
            name="epoch", shape=(), dtype="int32", initializer="zeros", trainable=False
        )

    def adapt(self, train, catalog):
        """Fits features, side tables and prices on the training part. Call it once, before `fit`.

        Args:
            train: the training `Interactions`.
            catalog: `Catalog.fit(train)`.
        """
        catalog = self.positives.counted(train, catalog)
        self.query_tower.adapt(catalog.users, catalog.user_table, train.frame)
        self.item_tower.adapt(catalog.items, catalog.item_table)
        self.negatives.adapt(catalog.items.counts, catalog.item_table, self.item_tower.dim)
        self.built = True
        return self

    def batches(self, train, catalog, batch_size=2048, seed=0):
        """The training batches: endless `dataset(start)`, `steps_per_epoch` of them an epoch.

        Args:
            train: the training `Interactions`.
            catalog: its `Catalog`; `adapt` comes first.
            batch_size: rows of a batch.
            seed: same seed, same batches.
        """
        return self.positives.batches(self, train, catalog, batch_size, seed)

    def default_optimizer(self):
        """What `compile` takes where it is given none."""
        return SparseAdagrad(0.1)

    def compile(self, optimizer=None, **kwargs):
        """As `keras.Model.compile`; the model has an optimizer that suits it, and its own loss."""
        super().compile(optimizer or self.default_optimizer(), **kwargs)

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def build_from_config(self, config):
        for name, of_tower in config.items():
            if not getattr(
                self, name
            ).built:  # of the model's own making, so that its config says nothing of it
                getattr(self, name).build_from_config(of_tower)
        self.built = True

    def get_build_config(self):
        if not self.built:
            return None
        return {
            name: getattr(self, name).get_build_config() for name in ("query_tower", "item_tower")
        }

    def call(self, batch, training=False):
        self._check_replicas(batch["item"]["item"])
        query = self.query_tower(batch["query"], training=training)  # [b, dim]
        embed = functools.partial(self._embed, training=training)
        loss = self._loss_of(batch, query, embed, self._step(), training)
        if training:
            self.query_tower.advance()
            self.item_tower.advance()
        return loss

    def _loss_of(self, batch, query, embed, step, training):
        """The loss of a batch whose queries are encoded, `[b, dim]`; `embed` encodes item rows."""
        rows = batch["item"]["item"]
        item = embed(rows)  # [b, dim]
        drawing = Batch(
            query,
            gather(rows),
            gather(item),
            embed,
            step=step,
            epoch=self.epoch.value,
            negatives=batch.get("negatives"),
            first=rank() * tf.shape(rows)[0],
            training=training,
        )
        candidates = self.negatives.draw(drawing)
        log_q = (
            functools.partial(self.negatives.log_q, batch=drawing)
            if self.loss_fn.corrected
            else None
        )
        temperature = self.loss_fn.temperature_at(drawing.step)
        merge = self.loss_fn.merges and not self._static
        scores = Scores.of(query, item, rows, candidates, temperature, log_q, merge)
        return self.loss_fn.of(scores, batch.get("weight"))

    def _check_replicas(self, rows):
        if num_replicas() > 1 and self.jit_compile:
            raise ValueError(
                "jit_compile=True does not work on several replicas: compile with jit_compile=False"
            )
        if num_replicas() > 1 and rows.shape[0] is None:
            raise ValueError(
                f"the batch size must be a multiple of the number of replicas, {num_replicas()}"
            )

    def _embed(self, rows, training):
        if self._static:
            return self.item_tower({"item": rows}, training=training)
        rows, place = tf.unique(rows)
        return tf.gather(self.item_tower({"item": rows}, training=training), place)

    @property
    def _static(self):
        """Whether shapes must be known beforehand: for XLA, and so for TPUs."""
        return self.jit_compile or isinstance(
            tf.distribute.get_strategy(), tf.distribute.TPUStrategy
        )

    def _step(self):
        optimizer = getattr(self, "optimizer", None)
        return (
            tf.constant(0, tf.int64)
            if optimizer is None
            else tf.cast(optimizer.iterations.value, tf.int64)
        )

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        # the replicas' gradients are summed
        return tf.add_n([y_pred, *self.losses]) / num_replicas()

    def fit(self, *args, callbacks=None, **kwargs):
        """As `keras.Model.fit`; the negatives learn of each epoch."""
        return super().fit(*args, callbacks=[_Epochs(), *(callbacks or [])], **kwargs)

    def train(
        self, train, catalog, settings, callbacks=(), initial_epoch=0
    ) -> keras.callbacks.History:
        """Trains the compiled model on the training part: makes batches and calls `fit`.

        A model that is fitted in another way, such as by sweeps, overrides this. Training goes on
        from the optimizer's iteration, so that an interrupted run ends as an uninterrupted one.

        Args:
            train: the training `Interactions`.
            catalog: their `Catalog`; `adapt` and `compile` come first.
            settings: how to train, a `Train`: its batch_size, seed and epochs.
            callbacks: Keras callbacks.
            initial_epoch: how many epochs the model has been trained for.
        """
        batches = self.batches(train, catalog, settings.batch_size, settings.seed)
        return self.fit(
            batches.dataset(int(self.optimizer.iterations.numpy())),
            steps_per_epoch=batches.steps_per_epoch,
            initial_epoch=initial_epoch,
            epochs=settings.epochs,
            callbacks=list(callbacks),
            shuffle=False,  # the batches are shuffled already
            verbose="auto" if sys.stderr.isatty() else 2,
        )

    def embed_query(self, inputs):
        """Query vectors `[B, dim]` for serving: no temperature, no log q."""
        return self.query_tower(inputs, training=False)

    def embed_item(self, inputs):
        """Item vectors `[B, dim]` for serving."""
        return self.item_tower(inputs, training=False)

    def embed_catalog(self):
        """The vectors of all items: float32 `[num_items, dim]`, line r is row r + 1. Each item is
        encoded once.
        """
        blocks = range(1, self.item_tower.num_rows, BLOCK)
        ends = [min(at + BLOCK, self.item_tower.num_rows) for at in blocks]
        pairs = tqdm(zip(blocks, ends, strict=True), "items", len(ends), delay=3, leave=False)
        return np.concatenate([self._embed_rows(tf.range(at, end)).numpy() for at, end in pairs])

    @tf.function(reduce_retracing=True, input_signature=[tf.TensorSpec([None], tf.int32)])
    def _embed_rows(self, rows):
        return self.embed_item({"item": rows})

    def parts(self):
        """The arguments that are parts themselves, by name."""
        parts = {"negatives": self.negatives, "loss": self.loss_fn, "positives": self.positives}
        return {"query_tower": self.query_tower, "item_tower": self.item_tower, **parts}

    def get_config(self):
        parts = {
            key: keras.saving.serialize_keras_object(part) for key, part in self.parts().items()
        }
        return {**super().get_config(), **parts}

    @classmethod
    def from_config(cls, config):
        return cls(**deserialized(config))


def deserialized(config):
    """A config whose serialized parts are made."""
    parts = {
        key: part for key, part in config.items() if isinstance(part, dict) and "class_name" in part
    }
    parts.pop("dtype", None)  # Keras's own affair
    return {
        **config,
        **{key: keras.saving.deserialize_keras_object(part) for key, part in parts.items()},
    }


class _Epochs(keras.callbacks.Callback):
    """Tells the model which epoch it is in."""

    def on_epoch_begin(self, epoch, logs=None):
        self.model.epoch.assign(epoch)
