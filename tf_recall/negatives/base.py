"""What a sampler is: it draws negatives for a batch, and prices any item."""

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tf_recall.negatives.frequency import check_counts


class Batch(NamedTuple):
    """What a sampler may look at. Of B rows in all, b are this replica's, from row `first` on; on
    one device b is B.

    Args:
        query: `[b, dim]`.
        positives: `[B]` int32 item rows.
        items: `[B, dim]`, the positives' vectors.
        embed: `rows [n] -> [n, dim]`, the item tower.
        step: of the training, int64: a draw is a function of the seed and the step.
        epoch: of the training, int32.
        negatives: `[b, R]` int32, a row's own negatives where the data names some, filled up with
            0.
        first: this replica's first row.
        training: whether the state of a sampler may change.
        place: where in a mixture the sampler stands, so that two of one kind draw different items.
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
    place: tuple = ()

    def local(self, values):
        """This replica's part of `values` `[B, ...]`: `[b, ...]`."""
        size = self.query.shape[0]
        if size is not None and size == values.shape[0]:
            return values
        size = tf.shape(self.query)[0] if size is None else size
        return values[self.first : self.first + size]

    @property
    def size(self):
        """B, an int where it is known while tracing."""
        return (
            tf.shape(self.positives)[0]
            if self.positives.shape[0] is None
            else self.positives.shape[0]
        )


class Candidates(NamedTuple):
    """Negatives of one draw: shared by all rows (`[N]`), or each row's own (`[b, H]`).

    Args:
        ids: int32 item rows, `[N]` or `[b, H]`.
        vectors: `[N, dim]` or `[b, H, dim]`.
        valid: bool, the shape of `ids`; None: all are.
        fresh: whether the vectors are what the tower says of `ids` in this step, so that equal ids
            have equal vectors.
    """

    ids: tf.Tensor
    vectors: tf.Tensor
    valid: tf.Tensor | None = None
    fresh: bool = True

    @property
    def shared(self):
        return self.ids.shape.rank == 1


class Sampler(keras.layers.Layer):
    """Draws negatives, and says how likely an item is among them.

    A draw is a function of `(seed, step)`, and the same on every replica. State (counts, caches,
    streaming estimates) is kept in weights: it is part of a checkpoint and survives a save.
    """

    num_given = 0  # of the batch's `negatives` that it wants to see
    from_batch = False  # whether what it draws are the items of a batch
    gives_own = False  # whether some of what it draws are each row's own, not shared

    def adapt(self, counts, table=None, dim=None):
        """Fits whatever the sampler needs to know.

        Args:
            counts: `[V]`, how often each row is the positive of a training example; row 0 is the
                unknown one.
            table: the items' side table, line r for row r + 1.
            dim: size of an item vector.
        """

    def draw(self, batch):
        """A list of `Candidates` for a `Batch`."""
        raise NotImplementedError

    def ahead(self, step, place=()):
        """The item rows that a step's draws will hold whatever the batch holds, so that they can be
        made ready before.

        Args:
            step: of the training.
            place: where in a mixture the sampler stands.

        Returns:
            A list of int32 tensors `[N]`.

        Raises:
            ValueError: what the sampler draws depends on the batch, and is not part of it.
        """
        raise ValueError(
            f"{type(self).__name__} draws what no batch foretells: take InBatch, CrossBatch, "
            "HighestInBatch, Given, "
            "RankWindow, Uniform, Popularity or LogUniform, or a mix of these"
        )

    def log_q(self, ids, batch=None):
        """The log of each item's share of the negatives: float32, the shape of `ids`.

        Args:
            ids: item rows of any shape; also ones that were not drawn.
            batch: the `Batch`, for samplers whose shares depend on its size.
        """
        raise NotImplementedError

    def max_draws(self, batch):
        """How many negatives a row gets at most: an int where the batch's size is one."""
        raise NotImplementedError

    def num_draws(self, batch):
        """How many of them count in this step: a number or a scalar."""
        return self.max_draws(batch)

    def at(self, step, place):
        """The seed `[2]` of the draws of a step; those of other samplers of equal seed differ."""
        salt = zlib.crc32(f"{type(self).__name__} {place}".encode())
        return tf.stack([tf.constant(salt + self.seed, tf.int64), tf.cast(step, tf.int64)])

    def get_build_config(self):
        return {"adapted": True} if self.built else None

    def build_from_config(self, config):
        self.built = True


class UniformShare(Sampler):
    """A sampler to which every item is as likely as the next.

    log_q[t] = -log(V)
    """

    def adapt(self, counts, table=None, dim=None):
        self.build_from_config({"num_items": len(check_counts(counts)) - 1})

    def log_q(self, ids, batch=None):
        return tf.fill(tf.shape(ids), np.float32(-np.log(self.num_items)))

    def get_build_config(self):
        return {"num_items": self.num_items} if self.built else None

    def build_from_config(self, config):
        self.num_items = config["num_items"]
        self.built = True
