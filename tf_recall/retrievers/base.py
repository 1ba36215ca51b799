"""The binder: positives, negatives, towers and loss become one Keras model."""

import functools
import sys
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from tf_recall.features.embedding import each_once, static_shapes
from tf_recall.features.needs import Needs
from tf_recall.features.sharing import deserialize, serialize, shared
from tf_recall.negatives.base import Batch
from tf_recall.registry import REGISTRY, find
from tf_recall.retrievers.distribution import ReplicatedModel, gather, num_replicas, rank
from tf_recall.retrievers.optimizers import SparseAdagrad

BLOCK = 8192  # items encoded at once


class Encoded(NamedTuple):
    """A batch of T queries, encoded.

    Args:
        query: `[T, D]`.
        ids: `[T]`, the rows that samplers see as positives.
        vectors: `[T, D]`, their vectors, or None where samplers of the batch are not taken.
        embed: rows `[M]` -> `[M, D]`, for what a sampler draws.
        loss: from `(loss, candidates, log_q)` to the batch's loss, a scalar.
        step: of the training, int64.
    """

    query: tf.Tensor
    ids: tf.Tensor
    vectors: tf.Tensor | None
    embed: Callable
    loss: Callable
    step: tf.Tensor


@keras.saving.register_keras_serializable("tf_recall")
class Retriever(ReplicatedModel):
    """Positives, negatives, a query tower and an item tower, and the loss that ties them.

    A training step is the same for every model: encode the batch, draw negatives, ask how likely
    they were to be drawn, and give all to the loss. A model whose batches are no pairs overrides
    `encode` alone.

    Each *distinct* item of the batch is encoded once: popular items repeat, and their copies would
    cost and change nothing. Under a `tf.distribute` strategy the positives of all replicas are one
    batch: each replica's rows have them all as negatives, and gradients flow back to where an item
    was encoded.

    Args:
        positives: which pairs are positive, such as `UserItem()`.
        negatives: the sampler; it draws negatives, and knows any item's sampling probability.
        query_tower: `{entity: rows [B], ...} -> [B, D]`.
        item_tower: `{entity: rows [M]} -> [M, D]`.
        loss: what becomes of the scores.

    Call: a batch `{"query": {...}, "item": {...}}`, optionally with `"weight": [B]` and
        `"negatives": [B, H]` -> the loss, a scalar.

    Raises:
        ValueError: the towers end in different sizes, or the model cannot learn from the positives
            or by the loss; or, at the first step on several replicas, the batch does not split
            evenly, or XLA is asked for (TensorFlow cannot compile what replicas exchange on CPU and
            GPU).
    """

    towers = {"query_tower": ("features", "user"), "item_tower": ("features", "item")}
    windows = False  # whether a batch is segments of sequences, with several positives a row
    has_graph = False
    supports_jit = False  # "auto" must not choose XLA, under which distinct items have no shape

    def __init__(self, positives, negatives, query_tower, item_tower, loss, **kwargs):
        super().__init__(**kwargs)
        if query_tower.dim != item_tower.dim:
            raise ValueError(
                f"the towers must end in one size, not {query_tower.dim} and {item_tower.dim}"
            )
        self.positives, self.negatives = positives, negatives
        self.query_tower, self.item_tower = query_tower, item_tower
        self.loss_fn = loss
        self.temperature = loss.temperature  # tracked here: it may hold a weight
        self.epoch = self.add_weight(
            name="epoch", shape=(), dtype="int32", initializer="zeros", trainable=False
        )
        self._check_positives()
        self._check_loss()

    def needs(self) -> Needs:
        """What each row of a batch must bring; complete once the model is adapted."""
        return self.query_tower.needs().also(negatives=self.negatives.num_given)

    def adapt(self, train, catalog):
        """Fits towers, and sampling probabilities, on the training part. Call it once.

        Args:
            train: the training `Interactions`.
            catalog: `Catalog.fit(train)`.

        Raises:
            ValueError: it was adapted before, or a tower lacks a column.
        """
        counted = catalog.with_counts(self.positives.counts(train, catalog))
        # an item of a history learns from being there, positive or not
        self._adapt_towers(train, catalog if self.needs().history else counted)
        self._adapt_negatives(counted)
        self.built = True
        return self

    def batches(self, train, catalog, batch_size: int = 2048, seed: int = 0):
        """The training batches: endless `dataset(start)`, `steps_per_epoch` of them an epoch.

        Args:
            train: the training `Interactions`.
            catalog: its `Catalog`; `adapt` comes first.
            batch_size: rows of a batch.
            seed: same seed, same batches.

        Raises:
            ValueError: the model is not adapted; or as the positives' `batches`.
        """
        if not self.built:
            raise ValueError("call adapt(train, catalog) before batches(train, catalog)")
        return self.positives.batches(train, catalog, self.needs(), batch_size, seed)

    def default_optimizer(self) -> keras.optimizers.Optimizer:
        """What `compile` takes where it is given none."""
        return SparseAdagrad(0.1)

    def compile(self, optimizer=None, **kwargs) -> None:
        """As `keras.Model.compile`; the model has an optimizer that suits it, and its own loss."""
        super().compile(optimizer or self.default_optimizer(), **kwargs)

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def build_from_config(self, config):
        for name, of_tower in config.items():
            tower = getattr(self, name)
            if not tower.built:  # of the model's own making, so that its config holds nothing of it
                tower.build_from_config(of_tower)
        self.built = True

    def get_build_config(self):
        if not self.built:
            return None
        return {
            name: getattr(self, name).get_build_config() for name in ("item_tower", "query_tower")
        }

    def encode(self, batch, training: bool) -> Encoded:
        """The batch's queries and positives as vectors."""
        rows = batch["item"][self.item_tower.entity]
        self._check_replicas(rows)
        query = self.query_tower(batch["query"], training=training)  # [B, D]
        embed = functools.partial(self._embed, training=training)
        return self._pairs(query, rows, embed, batch.get("weight"), self._step())

    def end_step(self) -> None:
        """Ends a training step: what is drawn at random is drawn anew in the next."""
        for tower in {id(t): t for t in (self.query_tower, self.item_tower)}.values():
            tower.end_step()

    def call(self, batch, training=False):
        with static_shapes(self._static):
            encoded = self.encode(batch, training)
            drawing = Batch(
                encoded.query,
                gather(encoded.ids),
                None if encoded.vectors is None else gather(encoded.vectors),
                encoded.embed,
                step=encoded.step,
                epoch=self.epoch.value,
                negatives=batch.get("negatives"),
                first=rank() * tf.shape(encoded.ids)[0],
                training=training,
            )
            candidates = self.negatives.draw(drawing)
            log_q = functools.partial(self.negatives.log_q, batch=drawing)
            loss = encoded.loss(candidates=candidates, log_q=log_q)
        if training:
            self.end_step()
        return loss

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        # the replicas' gradients are summed
        return tf.add_n([y_pred, *self.losses]) / num_replicas()

    def fit(self, *args, callbacks=None, **kwargs):
        """As `keras.Model.fit`; the negatives learn of each epoch."""
        return super().fit(*args, callbacks=[_Epochs(), *(callbacks or [])], **kwargs)

    def train(
        self, train, catalog, settings, callbacks=(), initial_epoch: int = 0
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

    def embed_query(self, inputs: dict) -> tf.Tensor:
        """Query vectors `[B, D]` for serving: no temperature, no log q."""
        return self.query_tower(inputs, training=False)

    def embed_item(self, inputs: dict) -> tf.Tensor:
        """Item vectors `[B, D]` for serving."""
        return self.item_tower(inputs, training=False)

    def embed_catalog(self) -> np.ndarray:
        """The vectors of all items, each encoded once: float32 `[num_items, D]`, line r is row
        r + 1.
        """
        starts = range(1, self.item_tower.num_rows, BLOCK)
        ends = [min(start + BLOCK, self.item_tower.num_rows) for start in starts]
        blocks = tqdm(zip(starts, ends, strict=True), "items", len(ends), delay=3, leave=False)
        return np.concatenate([self._embed_rows(tf.range(at, end)).numpy() for at, end in blocks])

    def parts(self) -> dict:
        """The arguments that are parts themselves, or lists of parts, by name."""
        return {
            "positives": self.positives,
            "negatives": self.negatives,
            "query_tower": self.query_tower,
            "item_tower": self.item_tower,
            "loss": self.loss_fn,
        }

    def get_config(self):
        parts = self.parts()
        config = super().get_config()
        item_tower = parts.pop("item_tower", None)
        if item_tower is not None:
            config["item_tower"] = serialize(item_tower)
        with shared(item_tower=item_tower):
            for name, part in parts.items():
                many = isinstance(part, list)
                config[name] = [serialize(each) for each in part] if many else serialize(part)
        return config

    @classmethod
    def from_config(cls, config):
        return cls(**deserialized(config))

    def _adapt_towers(self, train, catalog):
        self.item_tower.adapt(train, catalog)
        if context := self.item_tower.needs().context:
            raise ValueError(
                f"the item tower asks for {context[0].name!r}, whose column comes with each event: "
                "items are encoded beforehand, so their columns stand in the items' side table"
            )
        if self.query_tower is not self.item_tower:
            self.query_tower.adapt(train, catalog)

    def _adapt_negatives(self, catalog):
        side = catalog.side(self.item_tower.entity)
        self.negatives.adapt(side.vocabulary.counts, side.table, self.item_tower.dim)

    def _check_positives(self):
        item = self.item_tower.entity
        ours = type(self.positives)
        if (why := ours.unfit(self.needs(), item, self.windows, self.has_graph)) is None:
            return
        kinds = [find("positives", name) for name in REGISTRY["positives"]]
        fit = [
            kind.__name__
            for kind in kinds
            if kind.unfit(self.needs(), item, self.windows, self.has_graph) is None
        ]
        instead = f"take {' or '.join(fit)}" if fit else "no positives go with these towers"
        raise ValueError(
            f"{type(self).__name__} cannot learn from {ours.__name__}: {why}; {instead}"
        )

    def _check_loss(self):
        self.loss_fn.check_negatives(self.negatives)
        if self.windows and not self.loss_fn.several_positives:
            kinds = [find("loss", name) for name in REGISTRY["loss"]]
            several = [kind.__name__ for kind in kinds if kind.several_positives]
            raise ValueError(
                f"{type(self).__name__} has several positives a row: it learns by "
                f"{' or '.join(several)}, not by {type(self.loss_fn).__name__}"
            )

    def _pairs(self, query, rows, embed, weight, step):
        """One query and one positive a row, `[B]`; `embed` encodes item rows."""
        item = embed(rows)  # [B, D]

        def loss(candidates, log_q):
            merge = not self._static
            return self.loss_fn.of_vectors(
                query, item, rows, candidates, step, log_q, weight, merge
            )

        return Encoded(query, rows, item, embed, loss, step)

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
        key = self.item_tower.entity
        return each_once(lambda rows: self.item_tower({key: rows}, training=training), rows)

    @property
    def _static(self):
        """Whether shapes must be known beforehand: for XLA, and so for TPUs."""
        strategy = tf.distribute.get_strategy()
        return self.jit_compile or isinstance(strategy, tf.distribute.TPUStrategy)

    def _step(self):
        optimizer = getattr(self, "optimizer", None)
        if optimizer is None:
            return tf.constant(0, tf.int64)
        return tf.cast(optimizer.iterations.value, tf.int64)

    @tf.function(reduce_retracing=True, input_signature=[tf.TensorSpec([None], tf.int32)])
    def _embed_rows(self, rows):
        return self.embed_item({self.item_tower.entity: rows})


def deserialized(config: dict) -> dict:
    """A config whose serialized parts are made; they share the item tower."""
    parts = {name: value for name, value in config.items() if _is_part(value) and name != "dtype"}
    item_tower = _made(parts.pop("item_tower", None))
    with shared(item_tower=item_tower):
        made = {name: _made(part) for name, part in parts.items()}
    return {**config, **made, **({} if item_tower is None else {"item_tower": item_tower})}


def _is_part(value):
    some = value[0] if isinstance(value, list) and value else value
    return isinstance(some, dict) and bool({"class_name", "shared"} & set(some))


def _made(part):
    if isinstance(part, list):
        return [deserialize(each) for each in part]
    return None if part is None else deserialize(part)


class _Epochs(keras.callbacks.Callback):
    """Sets the model's epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self.model.epoch.assign(epoch)
