"""Negatives drawn from the catalog and encoded in the step: the item tower sees items that no batch
holds.
"""

import keras
import numpy as np
import tensorflow as tf

from tf_recall.data.draws import unit
from tf_recall.negatives.alias_table import alias_draw, alias_table
from tf_recall.negatives.base import Candidates, Sampler, UniformShare
from tf_recall.negatives.frequency import check_counts


class _FromCatalog(Sampler):
    """`num` items, the same for all rows of a batch, drawn with replacement; `rows` is each
    subclass's own.

    Args:
        num: draws per batch.
        seed: same seed and step, same draws.

    Raises:
        ValueError: `num` is not positive.
    """

    def __init__(self, num, seed=0, **kwargs):
        super().__init__(**kwargs)
        if num < 1:
            raise ValueError(f"{type(self).__name__} must draw at least 1 item, not num={num}")
        self.num, self.seed = num, seed

    def rows(self, shape, seed):
        """Item rows of `shape`, int32, none of them 0."""
        raise NotImplementedError

    def draw(self, batch):
        (rows,) = self.ahead(batch.step, batch.place)
        return [Candidates(rows, batch.embed(rows))]

    def ahead(self, step, place=()):
        return [self.rows([self.num], self.at(step, place))]

    def max_draws(self, batch):
        return self.num

    def sampled_values(self, true_classes, seed):
        """A draw as TensorFlow's own losses take it, `tf.nn.nce_loss` and
        `tf.nn.sampled_softmax_loss`.

        expected_count[t] = num * exp(log_q[t])

        With these counts `tf.nn.nce_loss` is the loss of `NCE(negatives=num)`, and with counts of
        one that of `NEG(negatives=num)`, for one true class a row. Of `num_true` classes TensorFlow
        gives each the target `1 / num_true` instead of 1: for the several contexts of a center its
        loss is neither of them. And of an item drawn twice `remove_accidental_hits` removes one
        draw only.

        Args:
            true_classes: integer rows `[B, num_true]`.
            seed: integers `[2]`. Equal seeds draw equal rows.

        Returns:
            `sampled` int64 `[num]`, `true_expected_count` float32 `[B, num_true]` and
            `sampled_expected_count` float32 `[num]`.

        Example:
            >>> drawn = Popularity(num=64)
            >>> drawn.adapt(catalog.items.counts)
            >>> labels = tf.constant([[3], [1]], tf.int64)  # item rows [B, 1]
            >>> values = drawn.sampled_values(labels, seed=[7, 0])
            >>> V, inputs = catalog.items.size, tf.ones([2, 8])
            >>> tf.nn.nce_loss(tf.ones([V, 8]), tf.zeros([V]), labels, inputs, 64, V, 1, values,
            ...                remove_accidental_hits=True).shape
            TensorShape([2])
        """
        sampled = self.rows([self.num], seed)
        counts = [self.num * tf.exp(self.log_q(ids)) for ids in (true_classes, sampled)]
        return tf.cast(sampled, tf.int64), *counts

    def get_config(self):
        return {**super().get_config(), "num": self.num, "seed": self.seed}


@keras.saving.register_keras_serializable("tf_recall")
class Uniform(UniformShare, _FromCatalog):
    """Every item equally often: METHODS.md N1.

    log_q[t] = -log(V)

    Mixed with `InBatch`, these are the mixed negatives of Yang et al.: items that are nobody's
    positive learn too where they must not stand.

    Args: `num`, draws per batch; `seed`.

    Example:
        >>> Mixture([InBatch(), Uniform(num=1024)])

    Yang et al., "Mixed Negative Sampling for Learning Two-tower Neural Networks in
    Recommendations", WWW 2020.
    """

    def rows(self, shape, seed):
        return 1 + tf.cast(unit(shape, seed) * self.num_items, tf.int32)


@keras.saving.register_keras_serializable("tf_recall")
class Popularity(_FromCatalog):
    """Items by a power of their popularity: METHODS.md N2.

    log_q[t] = log( F[t]^power / sum F^power ),  F[t] = max(counts[t], 1)

    A draw costs the same at any size of the catalog (Walker's alias table). When counts change,
    `adapt` again: the table is replaced.

    Args:
        num: draws per batch.
        power: 0 is uniform, 1 is popularity; 0.75 is word2vec's.
        seed: same seed and step, same draws.

    Raises:
        ValueError: `num` is not positive, `power` is negative.

    Mikolov et al., "Distributed Representations of Words and Phrases and their Compositionality",
    NIPS 2013, section 2.2. Walker, "An Efficient Method for Generating Discrete Random Variables
    with General Distributions", 1977.
    """

    def __init__(self, num, power=0.75, seed=0, **kwargs):
        super().__init__(num, seed, **kwargs)
        if not 0 <= power < np.inf:
            raise ValueError(f"power must be a number of at least 0, not {power}")
        self.power = power

    def adapt(self, counts, table=None, dim=None):
        counts = check_counts(counts)
        if not self.built:
            self.build_from_config({"num_rows": len(counts)})
        mass = np.maximum(counts, 1) ** self.power
        total = mass[1:].sum()
        keep, alias = alias_table(np.concatenate([[0], mass[1:]]))
        self.keep.assign(keep)
        self.alias.assign(alias)
        # row 0 is never drawn, and costs what an item without counts does
        self.prices.assign(np.log(mass / total))

    def rows(self, shape, seed):
        return alias_draw(self.keep.value, self.alias.value, shape, seed)

    def log_q(self, ids, batch=None):
        return tf.gather(self.prices.value, ids)

    def get_config(self):
        return {**super().get_config(), "power": self.power}

    def get_build_config(self):
        return {"num_rows": self.prices.shape[0]} if self.built else None

    def build_from_config(self, config):
        frozen = {"shape": (config["num_rows"],), "trainable": False, "autocast": False}
        self.prices = self.add_weight(name="prices", dtype="float32", **frozen)
        self.keep = self.add_weight(name="keep", dtype="float32", **frozen)
        self.alias = self.add_weight(name="alias", dtype="int32", initializer="zeros", **frozen)
        self.built = True


@keras.saving.register_keras_serializable("tf_recall")
class LogUniform(_FromCatalog):
    """Items by the rank k = 0, 1, ... of their popularity, as Zipf would have it: METHODS.md N3.

    log_q[t] = log( (log(k + 2) - log(k + 1)) / log(V + 1) ),  k the rank of t among V items

    What `tf.random.log_uniform_candidate_sampler` draws, without asking for ids in the order of
    popularity.

    Args: `num`, draws per batch; `seed`.
    """

    def adapt(self, counts, table=None, dim=None):
        counts = check_counts(counts)
        if not self.built:
            self.build_from_config({"num_rows": len(counts)})
        order = 1 + np.argsort(-counts[1:], kind="stable")
        rank = np.zeros(len(counts), np.float64)
        rank[order] = np.arange(len(order))
        rank[0] = len(order) - 1  # never drawn; as rare as the rarest
        self.order.assign(order)
        self.prices.assign(np.log(np.log1p(1 / (rank + 1)) / np.log(len(counts))))

    def rows(self, shape, seed):
        num_items = self.order.shape[0]
        rank = tf.cast(tf.exp(unit(shape, seed) * np.log(num_items + 1)), tf.int32) - 1
        return tf.gather(self.order.value, tf.clip_by_value(rank, 0, num_items - 1))

    def log_q(self, ids, batch=None):
        return tf.gather(self.prices.value, ids)

    def get_build_config(self):
        return {"num_rows": self.prices.shape[0]} if self.built else None

    def build_from_config(self, config):
        rows = config["num_rows"]
        frozen = {"trainable": False, "autocast": False, "initializer": "zeros"}
        self.order = self.add_weight(name="order", shape=(rows - 1,), dtype="int32", **frozen)
        self.prices = self.add_weight(name="prices", shape=(rows,), dtype="float32", **frozen)
        self.built = True


@keras.saving.register_keras_serializable("tf_recall")
class WholeCatalog(UniformShare):
    """Every item is a negative of every row, once: with it a softmax is the full softmax,
    METHODS.md L1.

    log_q[t] = -log(V)

    Each step encodes the whole catalog, so this is for small ones, and for judging the samplers.
    """

    def draw(self, batch):
        rows = tf.range(1, self.num_items + 1)
        return [Candidates(rows, batch.embed(rows))]

    def max_draws(self, batch):
        return self.num_items
