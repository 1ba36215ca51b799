"""The base of all models: positives, negatives, towers and a loss become one Keras model."""

import functools
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import keras
import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from tf_recall.data.catalog import Catalog
from tf_recall.data.identity import check_same
from tf_recall.data.interactions import Interactions
from tf_recall.features.embedding import each_once, static_shapes
from tf_recall.features.needs import Needs
from tf_recall.losses.base import Loss
from tf_recall.losses.heads import Head, adapt_heads, labels_of
from tf_recall.losses.self_supervision import SelfSupervision
from tf_recall.negatives.base import Batch, Sampler
from tf_recall.positives.base import Positives, TrainingBatches
from tf_recall.retrievers.distribution import gather, rank
from tf_recall.retrievers.fitting import ROWS, FittedModel
from tf_recall.retrievers.growth import grown
from tf_recall.retrievers.learnable import check_batches, check_catalog, tell_of_weights
from tf_recall.retrievers.optimizers import SparseAdagrad
from tf_recall.retrievers.pairing import (
    check_heads,
    check_item_context,
    check_loss,
    check_positives,
    check_self_supervision,
)
from tf_recall.retrievers.parts import deserialized, serialized
from tf_recall.retrievers.vectors import Encoded, nearest
from tf_recall.towers.base import Tower

if TYPE_CHECKING:
    from tf_recall.config import Train

BLOCK = 8192  # items encoded at once


@keras.saving.register_keras_serializable("tf_recall")
class Retriever(FittedModel):
    """A Keras model of positives, negatives, a query tower, an item tower and a loss.

    A training step is the same for every model: encode the batch, draw negatives, get their
    sampling probabilities, compute the loss. A model with other batches than pairs overrides
    `encode` alone.

    Each *distinct* item of the batch is encoded once: popular items repeat, and encoding each copy
    would cost time and change nothing. Under a `tf.distribute` strategy the positives of all
    replicas form one batch: they are negatives of each replica's rows, and gradients flow back to
    the replica that encoded an item.

    Args:
        positives: which pairs are positive, such as `UserItem()`.
        negatives: the sampler: it draws negatives, and computes any item's sampling probability.
        query_tower: a tower `{entity: rows [B], ...} -> [B, D]`, or of several interests
            `[B, K, D]`, of which the one nearest to its positive learns.
        item_tower: a tower `{entity: rows [M]} -> [M, D]`.
        loss: the loss of the scores.
        self_supervision: an extra loss of the item tower's features, or None.
        predicts: what else is told of a user and an item, such as `WatchTime("seconds")`.

    Call: a batch `{"query": {...}, "item": {...}}`, optionally with `"weight": [B]` and
        `"negatives": [B, H]` -> the loss, a scalar.

    Raises:
        ValueError: the towers end in different sizes, an item has several vectors, the model cannot
            learn from the positives or by the loss, or the item tower has no features to leave out;
            or, at the first step on several replicas, the batch does not split into equal parts, or
            it is compiled with XLA, which cannot compile their exchange.
    """

    towers = {"query_tower": ("features", "user"), "item_tower": ("features", "item")}
    windows = False  # whether a batch is segments of sequences, with several positives a row
    has_graph = False
    service: type | None = None  # the class of its service; None: `Service`
    exposure_only = False  # whether it says nothing of pairs that were never seen
    origins: dict = {}  # of a model that has grown: the rows that its variables' rows come from
    by_gradients = True  # whether it learns from batches, by a loss and an optimizer
    batch_follows_data = False  # whether a search leaves the size of its batches as it is
    supports_jit = False  # "auto" must not choose XLA: the number of distinct items varies

    def __init__(
        self,
        positives: Positives,
        negatives: Sampler,
        query_tower: Tower,
        item_tower: Tower,
        loss: Loss,
        self_supervision: SelfSupervision | None = None,
        predicts: Sequence[Head] | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        if query_tower.dim != item_tower.dim:
            raise ValueError(
                f"the towers must end in one size, not {query_tower.dim} and {item_tower.dim}"
            )
        if item_tower.interests > 1:
            raise ValueError(
                f"an item has one vector, and this item tower gives {item_tower.interests}: give a "
                "tower of several interests as query_tower"
            )
        self.positives = positives
        self.negatives = negatives
        self.query_tower = query_tower
        self.item_tower = item_tower
        self.loss_fn = loss
        self.temperature = loss.temperature  # tracked here: it may hold a weight
        self.self_supervision = self_supervision
        self.predicts = list(predicts or [])
        check_heads(self)
        check_positives(self)
        check_loss(self)
        check_self_supervision(self)

    @property
    def unit_length(self) -> bool:
        """Whether training compares vectors of length 1."""
        return self.query_tower.normalize and self.item_tower.normalize

    @property
    def serving(self) -> dict:
        """Further arguments of its service."""
        return {"heads": list(self.predicts)} if self.predicts else {}

    @property
    def feature_tower(self) -> Tower:
        """The tower that holds the items' features."""
        return self.item_tower

    def needs(self) -> Needs:
        """What each row of a batch must bring; complete once the model is adapted."""
        return self.query_tower.needs().also(
            negatives=self.negatives.num_given, labels=labels_of(self.predicts)
        )

    def adapt(self, train: Interactions, catalog: Catalog) -> Self:
        """Fits towers and sampling probabilities on the training part; call it once.

        Args:
            train: the training `Interactions`.
            catalog: `Catalog.fit(train)`.

        Raises:
            ValueError: it was adapted before, or a tower lacks a column; or no negative could ever
                differ from its positive, such as in a catalog of one item.
        """
        counted = catalog.with_counts(self.positives.counts(train, catalog))
        check_catalog(self, counted)
        # an item of a history is trained, whether or not it is a positive
        self._adapt_towers(train, catalog if self.needs().history else counted)
        self._adapt_training(counted)
        adapt_heads(self.predicts, train, catalog, self.item_tower.dim)
        self.built = True
        return self

    def batches(
        self, train: Interactions, catalog: Catalog, batch_size: int = ROWS, seed: int = 0
    ) -> TrainingBatches:
        """Makes the training batches: an endless `dataset(start)`, and `steps_per_epoch`.

        Args:
            train: the training `Interactions`.
            catalog: its `Catalog`; `adapt` comes first.
            batch_size: rows of a batch.
            seed: same seed, same batches.

        Raises:
            ValueError: the model is not adapted, or on another catalog; a batch has one row alone
                and negatives are those of the other rows; or as the positives' `batches`.
        """
        if not self.built:
            raise ValueError("call adapt(train, catalog) before batches(train, catalog)")
        check_same(f"this {type(self).__name__}", self.item_tower.identity, catalog.identity)
        batches = self.positives.batches(train, catalog, self.needs(), batch_size, seed)
        check_batches(self, batches)
        tell_of_weights(self, train)
        return batches

    def grown(self, train: Interactions, catalog: Catalog) -> Self:
        """A model over more users and items, which knows what this one has learned and trains on.

        Known rows keep their vectors, the optimizer its state of them; what is new starts as an
        unknown id is answered, or as the mean of its kind, beside what its features say. Sampling
        probabilities are those of `train`. Where nothing is new, training goes on as if it had
        never stopped.

        Args:
            train: what it will learn from: all interactions, or with `learned` the new ones of all.
            catalog: `catalog.grown(interactions)` of the catalog that it was trained on.

        Raises:
            ValueError: the model has learned nothing yet, or the catalog did not grow out of its
                own; or a feature needs a column of new rows that the side table lacks.

        Example:
            >>> catalog = catalog.grown(interactions)
            >>> model = model.grown(interactions, catalog)
            >>> batches = model.batches(interactions, catalog)
            >>> history = model.fit(batches.dataset(model.next_batch(batches.steps_per_epoch)),
            ...                     steps_per_epoch=batches.steps_per_epoch, epochs=1)
        """
        return grown(self, train, catalog)

    def default_optimizer(self) -> keras.optimizers.Optimizer:
        """The optimizer of a model that is compiled without one."""
        return SparseAdagrad(0.1)

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def build_from_config(self, config: dict) -> None:
        for name, of_tower in config.items():
            tower = getattr(self, name)
            if not tower.built:  # a tower that the model makes itself is not in its config
                tower.build_from_config(of_tower)
        self.built = True

    def get_build_config(self) -> dict | None:
        if not self.built:
            return None
        return {
            name: getattr(self, name).get_build_config() for name in ("item_tower", "query_tower")
        }

    def encode(self, batch: dict, training: bool) -> Encoded:
        """Encodes the batch's queries and positives."""
        rows = batch["item"][self.item_tower.entity]
        self.check_replicas(rows)
        query = self.query_tower(batch["query"], training=training)  # [B, D], or [B, K, D]
        embed = functools.partial(self._embed, training=training)
        item = None
        if len(batch["item"]) > 1:  # a positive is more than its row, such as half a history
            item = self.item_tower(batch["item"], training=training)
        return self._pairs(query, rows, embed, batch.get("weight"), self.step.value, item)

    def refresh(self) -> None:
        """Computes what answers need of trained weights, where a model stores any."""

    def end_step(self) -> None:
        """Ends a training step: the next one makes new random draws."""
        for tower in {id(t): t for t in (self.query_tower, self.item_tower)}.values():
            tower.end_step()

    def call(self, batch: dict, training: bool = False) -> tf.Tensor:
        with static_shapes(self.needs_static_shapes):
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
            if training and self.self_supervision is not None:
                loss += self.self_supervision.of(self.feature_tower, encoded.step)
            for head in self.predicts if training else ():
                loss += head.of(encoded.query, encoded.vectors, encoded.ids, batch["labels"])
        if training:
            self.end_step()
            self.step.assign_add(1)
        return loss

    def test_step(self, data: dict) -> dict:
        logs = super().test_step(data)
        for extra in ("self_supervision", *(head.endpoint for head in self.predicts)):
            logs.pop(extra, None)  # they act in training alone
        return logs

    def train(
        self,
        train: Interactions,
        catalog: Catalog,
        settings: "Train",
        callbacks: Sequence[keras.callbacks.Callback] = (),
        initial_epoch: int = 0,
    ) -> keras.callbacks.History:
        """Trains the compiled model on the training part: makes batches and calls `fit`.

        A model that is fitted in another way, such as by sweeps, overrides this. Training continues
        from the model's `step`, so that an interrupted run ends like an uninterrupted one.

        Args:
            train: the training `Interactions`.
            catalog: their `Catalog`; `adapt` and `compile` come first.
            settings: how to train, a `Train`: its batch_size, seed and epochs.
            callbacks: Keras callbacks.
            initial_epoch: how many epochs the model has been trained for.
        """
        batch_size = settings.batch_size or self.default_batch_size(train)
        batches = self.batches(train, catalog, batch_size, settings.seed)
        return self.fit(
            batches.dataset(self.next_batch(batches.steps_per_epoch)),
            steps_per_epoch=batches.steps_per_epoch,
            initial_epoch=initial_epoch,
            epochs=settings.most_epochs(),
            callbacks=list(callbacks),
            shuffle=False,  # the batches are shuffled already
            verbose="auto" if sys.stderr.isatty() else 2,
        )

    def embed_query(self, inputs: dict) -> tf.Tensor:
        """Query vectors for serving, `[B, D]`, or `[B, K, D]`: no temperature, no log q."""
        self._check_adapted()
        return self.query_tower(inputs, training=False)

    def embed_item(self, inputs: dict) -> tf.Tensor:
        """Item vectors `[B, D]` for serving."""
        self._check_adapted()
        return self.item_tower(inputs, training=False)

    def embed_catalog(self) -> np.ndarray:
        """The vectors of all items: float32 `[num_items, D]`, line r for row r + 1."""
        self._check_adapted()
        size = self.item_tower.num_rows
        starts = tqdm(range(1, size, BLOCK), "items", delay=3, leave=False)
        blocks = [self._embed_rows(tf.range(at, min(at + BLOCK, size))).numpy() for at in starts]
        return np.concatenate(blocks)

    def parts(self) -> dict:
        """The arguments that are parts themselves, or lists of parts, by name."""
        return {
            "positives": self.positives,
            "negatives": self.negatives,
            "query_tower": self.query_tower,
            "item_tower": self.item_tower,
            "loss": self.loss_fn,
            "self_supervision": self.self_supervision,
            "predicts": self.predicts,
        }

    def get_config(self) -> dict:
        return {**super().get_config(), **serialized(self.parts())}

    @classmethod
    def from_config(cls, config: dict) -> "Retriever":
        return cls(**deserialized(config))

    def _adapt_towers(self, train, catalog):
        self.item_tower.adapt(train, catalog)
        check_item_context(self.item_tower)
        if self.query_tower is not self.item_tower:
            self.query_tower.adapt(train, catalog)

    def _adapt_training(self, catalog):
        if self.self_supervision is not None:
            self.self_supervision.adapt(self.feature_tower)
        side = catalog.side(self.item_tower.entity)
        self.negatives.adapt(side.vocabulary.counts, side.table, self.item_tower.dim)
        counts = catalog.side(self.query_tower.entity).vocabulary.counts[1:]
        positives = counts.sum() / max(np.count_nonzero(counts), 1)  # of a query
        self.loss_fn = self.loss_fn.fitted(
            self.unit_length, side.vocabulary.size - 1, max(positives, 1)
        )

    def _pairs(self, query, rows, embed, weight, step, item=None):
        """Encodes rows of a query `[B, D]`, or several `[B, K, D]`, and one positive `[B]`;
        `embed` encodes item rows.
        """
        item = embed(rows) if item is None else item  # [B, D]
        query = nearest(query, item)

        def loss(candidates, log_q):
            merge = not self.needs_static_shapes
            return self.loss_fn.of_vectors(
                query, item, rows, candidates, step, log_q, weight, merge
            )

        return Encoded(query, rows, item, embed, loss, step)

    def _embed(self, rows, training):
        key = self.item_tower.entity
        return each_once(lambda rows: self.item_tower({key: rows}, training=training), rows)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)], autograph=False)
    def _embed_rows(self, rows):
        return self.embed_item({self.item_tower.entity: rows})
