"""The contract of samplers: draw negatives for a batch, and give any item's log q."""

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from tf_recall.negatives.frequency import check_counts


class Batch(NamedTuple):
    """What a sampler sees of a training step.

    Of the B rows of the step, b are this replica's, from row `first` on; on one device b is B.

    Args:
        query: `[b, dim]`.
        positives: `[B]` int32 item rows.
        items: `[B, dim]`, the positives' vectors.
        embed: `rows [n] -> [n, dim]`, the item tower.
        step: the training step, int64: a draw is a function of the seed and the step.
        epoch: the training epoch, int32.
        negatives: `[b, R]` int32, each row's own negatives where the data has some, padded with 0.
        first: this replica's first row.
        training: whether samplers may update their state.
        position: of the sampler in a mixture, so that two of one kind draw different items.
    """

    query: tf.Tensor
    positives: tf.Tensor
    items: tf.Tensor
    embed: Callable[[tf.Tensor], tf.Tensor]
    step: Any = 0
    epoch: Any = 0
    negatives: tf.Tensor | None = None
    first: Any = 0
    training: bool = True
    position: tuple = ()

    def local(self, values: tf.Tensor) -> tf.Tensor:
        """This replica's rows of `values`: `[B, ...]` -> `[b, ...]`."""
        size = self.query.shape[0]
        if size is not None and size == values.shape[0]:
            return values
        size = tf.shape(self.query)[0] if size is None else size
        return values[self.first : self.first + size]

    @property
    def size(self) -> int | tf.Tensor:
        """B: an int where tracing knows it, else a scalar tensor."""
        return (
            tf.shape(self.positives)[0]
            if self.positives.shape[0] is None
            else self.positives.shape[0]
        )


class Candidates(NamedTuple):
    """The negatives of one draw: shared by all rows (`[N]`), or each row's own (`[b, H]`).

    Args:
        ids: int32 item rows, `[N]` or `[b, H]`.
        vectors: `[N, dim]` or `[b, H, dim]`.
        valid: bool, the shape of `ids`: which of them count; None: all do.
        fresh: whether this step's item tower computed the vectors, so that equal ids have equal
            vectors.
    """

    ids: tf.Tensor
    vectors: tf.Tensor
    valid: tf.Tensor | None = None
    fresh: bool = True

    @property
    def shared(self) -> bool:
        """Whether all rows share these negatives."""
        return self.ids.shape.rank == 1


class Sampler(keras.layers.Layer):
    """Draws negatives, and gives the probability with which it draws an item.

    A draw is a function of `(seed, step)`, and the same on every replica. State (counts, caches,
    streaming estimates) is kept in weights: it is part of a checkpoint and survives a save.
    """

    num_given = 0  # how many of the batch's `negatives` it reads
    from_batch = False  # whether it draws the items of a batch
    other_rows_only = False  # whether it draws nothing but the other rows' items of the same batch
    starts_empty = False  # whether it draws nothing in the first steps or epochs
    gives_own = False  # whether it draws some for each row alone, not shared
    stale = False  # whether all vectors are from earlier steps, so that they get no gradient

    def adapt(
        self, counts: np.ndarray, table: pd.DataFrame | None = None, dim: int | None = None
    ) -> None:
        """Fits the sampler's state to the training part.

        Args:
            counts: `[V]`, how often each row is the positive of a training example; row 0 is the
                unknown item.
            table: the items' side table, line r for row r + 1.
            dim: the length of an item vector.
        """

    def draw(self, batch: Batch) -> list[Candidates]:
        """Draws the negatives of a batch."""
        raise NotImplementedError

    def ahead(self, step: int | tf.Tensor, position: tuple = ()) -> list[tf.Tensor]:
        """The item rows that a step will draw from outside its batch.

        The batches of a model over a graph bring the neighbors of these rows.

        Args:
            step: the training step.
            position: of the sampler in a mixture.

        Returns:
            A list of int32 tensors `[N]`.

        Raises:
            ValueError: the draws depend on the batch, and are not items of it.
        """
        raise ValueError(
            f"{type(self).__name__} draws items that are not known before the batch is: use "
            "InBatch, CrossBatch, HighestInBatch, Given, RankWindow, Uniform, Popularity or "
            "LogUniform, or a mixture of these"
        )

    def log_q(self, ids: tf.Tensor, batch: Batch | None = None) -> tf.Tensor:
        """The log probability of drawing each item: float32, the shape of `ids`.

        Args:
            ids: item rows of any shape; also ones that were not drawn.
            batch: the `Batch`, for samplers whose probabilities depend on its size.
        """
        raise NotImplementedError

    def max_draws(self, batch: Batch) -> int | tf.Tensor:
        """The most negatives that a row gets: an int where the batch's size is one."""
        raise NotImplementedError

    def num_draws(self, batch: Batch) -> int | tf.Tensor:
        """How many negatives count in this step: a number or a scalar."""
        return self.max_draws(batch)

    def at(self, step: int | tf.Tensor, position: tuple) -> tf.Tensor:
        """The seed `[2]` of a step's draws, a different one for each kind and position."""
        salt = zlib.crc32(f"{type(self).__name__} {position}".encode())
        return tf.stack([tf.constant(salt + self.seed, tf.int64), tf.cast(step, tf.int64)])

    def get_build_config(self) -> dict | None:
        return {"adapted": True} if self.built else None

    def build_from_config(self, config: dict) -> None:
        self.built = True


class UniformShare(Sampler):
    """The base of samplers under which every item is equally likely.

    log_q[t] = -log(V)
    """

    def adapt(
        self, counts: np.ndarray, table: pd.DataFrame | None = None, dim: int | None = None
    ) -> None:
        self.build_from_config({"num_items": len(check_counts(counts)) - 1})

    def log_q(self, ids: tf.Tensor, batch: Batch | None = None) -> tf.Tensor:
        return tf.fill(tf.shape(ids), np.float32(-np.log(self.num_items)))

    def get_build_config(self) -> dict | None:
        return {"num_items": self.num_items} if self.built else None

    def build_from_config(self, config: dict) -> None:
        self.num_items = config["num_items"]
        self.built = True
