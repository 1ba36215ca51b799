"""The binder of the Word2Vec family: items that come together, one vector as center and one as
context.
"""

import functools

import keras
import tensorflow as tf

from tf_recall.features.embedding import RowEmbedding
from tf_recall.negatives.base import Batch, Candidates
from tf_recall.retrievers.base import Retriever
from tf_recall.retrievers.distribution import gather, rank
from tf_recall.retrievers.optimizers import SparseAdagrad
from tf_recall.towers.history import HistoryTower


@keras.saving.register_keras_serializable("tf_recall")
class SkipGram(Retriever):
    """Each item predicts the items around it.

    score[t, p] = center_vector[t] . context_vector[p],  for each place p in the window of place t

    A batch is cut from the sequences themselves: segments of neighboring places. Within one, an
    item's vector as center is read once for all its contexts, and its vector as context once for
    all the centers it stands beside, so the positives are small products of matrices. The negatives
    are drawn once for the whole batch. Pair by pair the same loss costs several times as much.

    Served are the center vectors, at unit length: what stands near an item is what has the same
    neighbors. A user is the mean of the items taken, `HistoryTower`.

    Args:
        item_tower: `{"item": rows [M]} -> [M, dim]`, the items as centers, with `unscaled`.
        positives: where the sequences come from, such as `Windows`.
        negatives: a sampler that draws from the catalog: `Popularity`, `Uniform`, `LogUniform`, or
            a mix with a hard one.
        loss: `NEG`, `NCE` or `NCELoss`.
        history_length: how many of a user's latest items make its vector.

    Call: a batch `{"item": [G, J], "left": [G, I], "right": [G, I]}`, optionally with
        `"conversion": [G, I]` -> the loss, a scalar: the sum over a center's contexts, in the mean
        over centers.

    Raises:
        ValueError: a sampler that draws from the batch, a loss that knows one positive a row only,
            a tower whose vectors are not of length 1.
    """

    def __init__(self, item_tower, positives, negatives, loss, history_length=50, **kwargs):
        if negatives.from_batch or negatives.num_given:
            raise ValueError(
                f"{type(self).__name__} has no items of other rows to draw, and "
                f"{type(negatives).__name__} asks for "
                "them: use Popularity, Uniform, LogUniform, or EasyHard of one of them and "
                "SameGroup"
            )
        if not loss.several_positives:
            raise ValueError(
                f"{type(self).__name__} has several positives a row, and {type(loss).__name__} "
                "takes one: use NEG, NCE or NCELoss"
            )
        if not item_tower.normalize:
            raise ValueError(
                f"{type(self).__name__} serves vectors of length 1: give its tower normalize=True"
            )
        super().__init__(
            HistoryTower(item_tower, history_length),
            item_tower,
            negatives,
            loss,
            positives,
            **kwargs,
        )
        self.history_length = history_length

    def adapt(self, train, catalog):
        self.item_tower.adapt(catalog.items, catalog.item_table)
        self.query_tower.adapt(train, catalog)
        self.negatives.adapt(catalog.items.counts, catalog.item_table, self.item_tower.dim)
        self.build_from_config({"num_items": catalog.items.size, "towers": {}})
        return self

    def build_from_config(self, config):
        shape = (config["num_items"], self.item_tower.dim)
        self.contexts = RowEmbedding(*shape, initializer="zeros", name="contexts")
        self.contexts.build()
        super().build_from_config(config["towers"])

    def get_build_config(self):
        towers = super().get_build_config()
        return towers and {"num_items": self.contexts.num_rows, "towers": towers}

    def call(self, batch, training=False):
        items, left, right = batch["item"], batch["left"], batch["right"]  # [G, J], [G, I], [G, I]
        size, window = left.shape[1], (items.shape[1] - left.shape[1]) // 2
        self._check_replicas(items)
        centers = tf.reshape(items[:, window : window + size], [-1])  # [T]
        query = self._centers(centers, training)  # [T, dim]
        drawing = Batch(
            query,
            gather(centers),
            None,  # no sampler comes here that asks for a batch's items
            self.contexts,
            step=self._step(),
            epoch=self.epoch.value,
            first=rank() * tf.shape(centers)[0],
            training=training,
        )
        candidates = self.negatives.draw(drawing)
        loss = self.loss_fn.of_windows(
            tf.reshape(query, [-1, size, query.shape[1]]),
            self.contexts(items),
            items,
            in_window(items, left, right),
            candidates,
            self._conversion(centers, batch.get("conversion")),
            drawing.step,
            functools.partial(self.negatives.log_q, batch=drawing),
        )
        if training:
            self.item_tower.advance()
        return loss

    def default_optimizer(self):
        # A pair's gradient is of the order of 1 / T, and a rare item has few pairs: what the
        # accumulators start at must be below its square, or rare items hardly move.
        return SparseAdagrad(0.1, initial_accumulator_value=1e-10, epsilon=1e-10)

    def _centers(self, rows, training):
        if self._static:
            return self.item_tower.unscaled({"item": rows}, training=training)
        rows, place = tf.unique(rows)
        return tf.gather(self.item_tower.unscaled({"item": rows}, training=training), place)

    def _conversion(self, centers, conversion):
        """The item that a center's whole session led to, as one more context."""
        if conversion is None:
            return None
        ids = tf.reshape(conversion, [-1, 1])  # [T, 1]
        return Candidates(ids, self.contexts(ids), (ids > 0) & (ids != centers[:, None]))

    def get_config(self):
        config = super().get_config()
        del config["query_tower"]
        return {**config, "history_length": self.history_length}


def in_window(items, left, right):
    """Which places of a segment are contexts of which centers: bool `[G, I, J]`.

    The center number i stands at place i + window. A place is a context where it lies at most
    `left` before or `right` behind, and does not hold the center's own item once more.
    """
    size, width = left.shape[1], items.shape[1]
    window = (width - size) // 2
    distance = tf.range(width)[None] - tf.range(size)[:, None] - window  # [I, J]
    near = tf.where(
        distance < 0, -distance <= left[..., None], distance <= right[..., None]
    )  # [G, I, J]
    return near & (items[:, None] != items[:, window : window + size, None])
