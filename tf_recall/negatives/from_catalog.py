"""Negatives drawn from the whole catalog and encoded in the training step."""

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from tf_recall.data.draws import unit
from tf_recall.data.ranges import NumberFrom0, Seed, WholeFrom1
from tf_recall.negatives.alias_table import alias_draw, alias_table
from tf_recall.negatives.base import Batch, Candidates, Sampler, UniformShare
from tf_recall.negatives.frequency import check_counts


class _FromCatalog(Sampler):
    """Draws `num` items with replacement, which all rows of a batch share; subclasses give `rows`.

    Args:
        num: draws per batch.
        seed: same seed and step, same draws.

    Raises:
        ValueError: `num` is not positive.
    """

    tunable = {"num": [64, 4096, "log"]}

    def __init__(self, num: WholeFrom1, seed: Seed = 0, **kwargs):
        super().__init__(**kwargs)
        if num < 1:
            raise ValueError(f"{type(self).__name__} must draw at least 1 item, not num={num}")
        self.num = num
        self.seed = seed

    def rows(self, shape: list[int], seed: tf.Tensor) -> tf.Tensor:
        """Draws item rows of `shape`, int32, none of them 0."""
        raise NotImplementedError

    def draw(self, batch: Batch) -> list[Candidates]:
        (rows,) = self.ahead(batch.step, batch.position)
        return [Candidates(rows, batch.embed(rows))]

    def ahead(self, step: int | tf.Tensor, position: tuple = ()) -> list[tf.Tensor]:
        return [self.rows([self.num], self.at(step, position))]

    def max_draws(self, batch: Batch) -> int | tf.Tensor:
        return self.num

    def sampled_values(
        self, true_classes: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """A draw in the form of TensorFlow's samplers, for losses such as `tf.nn.nce_loss`.

        expected_count[t] = num * exp(log_q[t])

        For one true class a row, `tf.nn.nce_loss` with these counts is the loss of
        `NCE(negatives=num)`, and with counts of one that of `NEG(negatives=num)`. For several true
        classes it is neither: TensorFlow gives each of `num_true` classes the target `1 / num_true`
        instead of 1. Of an item drawn twice, `remove_accidental_hits` removes one draw only.

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

    def get_config(self) -> dict:
        return {**super().get_config(), "num": self.num, "seed": self.seed}


@keras.saving.register_keras_serializable("tf_recall")
class Uniform(UniformShare, _FromCatalog):
    """Draws every item with the same probability: METHODS.md N1.

    log_q[t] = -log(V)

    In a `Mixture` with `InBatch` these are the mixed negatives of Yang et al.: items that are never
    a positive are trained too, as negatives.

    Args:
        num: draws per batch.
        seed: same seed and step, same draws.

    Example:
        >>> Mixture([InBatch(), Uniform(num=1024)])

    Paper: Yang et al. 2020, "Mixed Negative Sampling for Learning Two-tower Neural Networks in
        Recommendations", section 3.3.
    """

    def rows(self, shape: list[int], seed: tf.Tensor) -> tf.Tensor:
        return 1 + tf.cast(unit(shape, seed) * self.num_items, tf.int32)


@keras.saving.register_keras_serializable("tf_recall")
class Popularity(_FromCatalog):
    """Draws items by a power of their popularity: METHODS.md N2.

    log_q[t] = log( F[t]^power / sum F^power ),  F[t] = max(counts[t], 1)

    A draw costs the same at any size of the catalog (Walker's alias table). When the counts change,
    call `adapt` again: it replaces the table.

    Args:
        num: draws per batch.
        power: 0 is uniform, 1 is popularity; 0.75 is that of word2vec.
        seed: same seed and step, same draws.

    Raises:
        ValueError: `num` is not positive, or `power` is negative.

    Example:
        >>> sampler = Popularity(num=1024)
        >>> sampler.adapt(catalog.items.counts)

    Paper: Mikolov et al. 2013, "Distributed Representations of Words and Phrases and their
        Compositionality", section 2.2.
    Paper: Walker 1977, "An Efficient Method for Generating Discrete Random Variables with General
        Distributions".
    """

    tunable = {**_FromCatalog.tunable, "power": [0.0, 1.0]}

    def __init__(self, num: WholeFrom1, power: NumberFrom0 = 0.75, seed: Seed = 0, **kwargs):
        super().__init__(num, seed, **kwargs)
        if not 0 <= power < np.inf:
            raise ValueError(f"power must be a number of at least 0, not {power}")
        self.power = power

    def adapt(
        self, counts: np.ndarray, table: pd.DataFrame | None = None, dim: int | None = None
    ) -> None:
        counts = check_counts(counts)
        if not self.built:
            self.build_from_config({"num_rows": len(counts)})
        mass = np.maximum(counts, 1) ** self.power
        total = mass[1:].sum()
        keep, alias = alias_table(np.concatenate([[0], mass[1:]]))
        self.keep.assign(keep)
        self.alias.assign(alias)
        # row 0 is never drawn; its log q is that of an item without counts
        self.log_probability.assign(np.log(mass / total))

    def rows(self, shape: list[int], seed: tf.Tensor) -> tf.Tensor:
        return alias_draw(self.keep.value, self.alias.value, shape, seed)

    def log_q(self, ids: tf.Tensor, batch: Batch | None = None) -> tf.Tensor:
        return tf.gather(self.log_probability.value, ids)

    def get_config(self) -> dict:
        return {**super().get_config(), "power": self.power}

    def get_build_config(self) -> dict | None:
        return {"num_rows": self.log_probability.shape[0]} if self.built else None

    def build_from_config(self, config: dict) -> None:
        frozen = {"shape": (config["num_rows"],), "trainable": False, "autocast": False}
        self.log_probability = self.add_weight(name="log_probability", dtype="float32", **frozen)
        self.keep = self.add_weight(name="keep", dtype="float32", **frozen)
        self.alias = self.add_weight(name="alias", dtype="int32", initializer="zeros", **frozen)
        self.built = True


@keras.saving.register_keras_serializable("tf_recall")
class LogUniform(_FromCatalog):
    """Draws items by their rank in popularity, as Zipf's law has it: METHODS.md N3.

    log_q[t] = log( (log(k + 2) - log(k + 1)) / log(V + 1) ),  k = 0, 1, ... the rank of t of V

    The distribution of `tf.random.log_uniform_candidate_sampler`, for items in any order.

    Args:
        num: draws per batch.
        seed: same seed and step, same draws.

    Example:
        >>> sampler = LogUniform(num=1024)
        >>> sampler.adapt(catalog.items.counts)
    """

    def adapt(
        self, counts: np.ndarray, table: pd.DataFrame | None = None, dim: int | None = None
    ) -> None:
        counts = check_counts(counts)
        if not self.built:
            self.build_from_config({"num_rows": len(counts)})
        order = 1 + np.argsort(-counts[1:], kind="stable")
        rank = np.zeros(len(counts), np.float64)
        rank[order] = np.arange(len(order))
        rank[0] = len(order) - 1  # row 0 is never drawn; its log q is that of the rarest item
        self.order.assign(order)
        self.log_probability.assign(np.log(np.log1p(1 / (rank + 1)) / np.log(len(counts))))

    def rows(self, shape: list[int], seed: tf.Tensor) -> tf.Tensor:
        num_items = self.order.shape[0]
        rank = tf.cast(tf.exp(unit(shape, seed) * np.log(num_items + 1)), tf.int32) - 1
        return tf.gather(self.order.value, tf.clip_by_value(rank, 0, num_items - 1))

    def log_q(self, ids: tf.Tensor, batch: Batch | None = None) -> tf.Tensor:
        return tf.gather(self.log_probability.value, ids)

    def get_build_config(self) -> dict | None:
        return {"num_rows": self.log_probability.shape[0]} if self.built else None

    def build_from_config(self, config: dict) -> None:
        rows = config["num_rows"]
        frozen = {"trainable": False, "autocast": False, "initializer": "zeros"}
        self.order = self.add_weight(name="order", shape=(rows - 1,), dtype="int32", **frozen)
        self.log_probability = self.add_weight(
            name="log_probability", shape=(rows,), dtype="float32", **frozen
        )
        self.built = True


@keras.saving.register_keras_serializable("tf_recall")
class WholeCatalog(UniformShare):
    """Every item is a negative of every row, once: the full softmax, METHODS.md L1.

    log_q[t] = -log(V)

    Each step encodes the whole catalog, so this is for small catalogs, and a reference for the
    other samplers.

    Example:
        >>> TwoTower(query_tower, item_tower, negatives=WholeCatalog())
    """

    def draw(self, batch: Batch) -> list[Candidates]:
        rows = tf.range(1, self.num_items + 1)
        return [Candidates(rows, batch.embed(rows))]

    def max_draws(self, batch: Batch) -> int | tf.Tensor:
        return self.num_items
