"""The base of the models of the Word2Vec family: each item predicts the items around it."""

import functools

import keras
import tensorflow as tf

from tf_recall.data.histories import LENGTH
from tf_recall.features.embedding import RowEmbedding, each_once
from tf_recall.features.needs import Needs
from tf_recall.losses.base import Loss
from tf_recall.negatives.base import Candidates, Sampler
from tf_recall.positives.base import Positives
from tf_recall.retrievers.base import Retriever
from tf_recall.retrievers.learnable import check_catalog
from tf_recall.retrievers.optimizers import SparseAdagrad
from tf_recall.retrievers.vectors import Encoded
from tf_recall.towers.features import TowerOfFeatures
from tf_recall.towers.history import HistoryTower


@keras.saving.register_keras_serializable("tf_recall")
class SkipGram(Retriever):
    """A `Retriever` in which each item predicts the items around it (METHODS.md M1).

    score[t, p] = center_vector[t] . context_vector[p],  for each position p in the window of t

    A batch is cut from the sequences themselves: segments of neighboring positions. Within one, an
    item's center vector is read once for all its contexts, and its context vector once for all the
    centers beside it, so the positives are small products of matrices. The negatives are drawn once
    for the whole batch. Pair by pair the same loss costs several times as much.

    For serving, an item has its center vector at length 1: items with the same neighbors are near
    one another. A user is the mean of the items they interacted with, `HistoryTower`.

    Args:
        positives: where the sequences come from, such as `Windows`.
        negatives: a sampler that draws from the catalog: `Popularity`, `Uniform`, `LogUniform`, or
            a mix with a hard one.
        item_tower: a tower over features, `{"item": rows [M]} -> [M, D]`, the items as centers.
        loss: one of several positives a row: `NEG`, `NCE`, `NCELoss`.
        history_length: how many of a user's latest items make their vector.

    Call: a batch `{"item": [G, J], "left": [G, I], "right": [G, I]}`, optionally with
        `"conversion": [G, I]` -> the loss, a scalar: the sum over a center's contexts, in the mean
        over centers.

    Raises:
        ValueError: a sampler that draws from the batch, a loss that takes one positive a row only,
            a tower whose vectors are not of length 1.
    """

    towers = {"item_tower": ("features", "item")}
    windows = True
    unit_length = False  # centers and contexts are compared as they are

    def __init__(
        self,
        positives: Positives,
        negatives: Sampler,
        item_tower: TowerOfFeatures,
        loss: Loss,
        history_length: int = LENGTH,
        **kwargs,
    ) -> None:
        if negatives.from_batch or negatives.num_given:
            raise ValueError(
                f"{type(self).__name__} has no items of other rows to draw, and "
                f"{type(negatives).__name__} needs them: use Popularity, Uniform, LogUniform, "
                "or EasyHard of one of them and SameGroup"
            )
        if not item_tower.normalize:
            raise ValueError(
                f"{type(self).__name__} needs vectors of length 1: give its tower normalize=True"
            )
        query_tower = HistoryTower(item_tower, history_length)
        super().__init__(positives, negatives, query_tower, item_tower, loss, **kwargs)
        self.history_length = history_length

    def needs(self) -> Needs:
        return Needs(self.item_tower.entity)

    def adapt(self, train, catalog):
        check_catalog(self, catalog)
        self._adapt_towers(train, catalog)
        self._adapt_training(catalog)
        towers = {"num_items": catalog.side(self.item_tower.entity).vocabulary.size, "towers": {}}
        self.build_from_config(towers)
        self.contexts.come_from(catalog.side(self.item_tower.entity).origin)
        return self

    def build_from_config(self, config: dict) -> None:
        shape = (config["num_items"], self.item_tower.dim)
        self.contexts = RowEmbedding(*shape, initializer="zeros", name="contexts")
        self.contexts.build()
        super().build_from_config(config["towers"])

    def get_build_config(self) -> dict | None:
        towers = super().get_build_config()
        return towers and {"num_items": self.contexts.num_rows, "towers": towers}

    def encode(self, batch, training):
        items = batch["item"]  # [G, J]
        left = batch["left"]  # [G, I]
        right = batch["right"]  # [G, I]
        self.check_replicas(items)
        size = left.shape[1]
        window = (items.shape[1] - size) // 2
        centers = tf.reshape(items[:, window : window + size], [-1])  # [T]
        vectors = each_once(functools.partial(self._centers, training=training), centers)
        query = tf.reshape(vectors, [-1, size, vectors.shape[1]])  # [G, I, D]
        step = self.step.value

        def loss(candidates, log_q):
            return self.loss_fn.of_windows(
                query,
                self.contexts(items),
                items,
                in_window(items, left, right),
                candidates,
                self._conversion(centers, batch.get("conversion")),
                step,
                log_q,
            )

        return Encoded(vectors, centers, None, self.contexts, loss, step)

    def end_step(self) -> None:
        self.item_tower.end_step()

    def default_optimizer(self) -> keras.optimizers.Optimizer:
        # A pair's gradient is of the order of 1 / T, and a rare item has few pairs: accumulators
        # that start above its square would keep rare items from moving.
        return SparseAdagrad(0.3, initial_accumulator_value=1e-10, epsilon=1e-10)

    def _centers(self, rows, training):
        return self.item_tower.unscaled({self.item_tower.entity: rows}, training=training)

    def _conversion(self, centers, conversion):
        """The item that a center's session led to, as one more context; `[T, 1]`."""
        if conversion is None:
            return None
        ids = tf.reshape(conversion, [-1, 1])  # [T, 1]
        return Candidates(ids, self.contexts(ids), (ids > 0) & (ids != centers[:, None]))

    def parts(self) -> dict:
        parts = super().parts()
        del parts["query_tower"]  # the model makes it itself
        return parts

    def get_config(self) -> dict:
        return {**super().get_config(), "history_length": self.history_length}


def in_window(items: tf.Tensor, left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Which positions of a segment are contexts of which centers: bool `[G, I, J]`.

    Center i is at position i + window. A position is a context of it where it is at most `left`
    before or `right` behind, and does not repeat the center's item.

    Args:
        items: `[G, J]`, the items of the segments.
        left, right: `[G, I]`, how many positions before and behind each center are its contexts.
    """
    size = left.shape[1]
    width = items.shape[1]
    window = (width - size) // 2
    distance = tf.range(width)[None] - tf.range(size)[:, None] - window  # [I, J]
    before = -distance <= left[..., None]
    behind = distance <= right[..., None]
    near = tf.where(distance < 0, before, behind)  # [G, I, J]
    return near & (items[:, None] != items[:, window : window + size, None])
