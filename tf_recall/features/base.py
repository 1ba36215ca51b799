"""The contract of a feature: it learns, encodes raw values and embeds the codes.

A feature is a Keras layer; it learns from the training part.
"""

import re
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from tf_recall.data.catalog import Catalog
from tf_recall.data.draws import unit_of
from tf_recall.data.interactions import Interactions
from tf_recall.data.values import to_text
from tf_recall.features.embedding import RowEmbedding

BLOCK = 100_000  # values encoded at once
# what else a request says
RESERVED = (
    "user_id",
    "item_id",
    "exclude",
    "allow",
    "exclude_seen",
    "history",
    "k",
)


class Feature(keras.layers.Layer):
    """One column of one side, on its way from raw values to a vector.

    The way has two halves. `encode` turns raw values into numbers with stock TensorFlow ops: it
    runs once per row when a table or a log is read, and again inside the exported model, so
    training and serving cannot disagree. `call` turns those numbers into vectors, and is all that
    the training step does.

    Args:
        column: the column of the side table or of the interactions.

    Call: encoded `[B, ...]`, as `encode` gives it -> `[B, dim]` float.
    """

    raw_dtype = tf.string
    raw_shape = ()
    code_dtype = "int32"
    # the length of the trained vectors, until they are built; None where the code itself is the
    # vector
    history_length = 0  # how many of a user's items before the event a row must bring
    width = None

    def __init__(self, column: str | None, name: str | None = None, **kwargs):
        super().__init__(name=name or f"{type(self).__name__.lower()}_{column}", **kwargs)
        if column is not None:
            check_column(column)
        self.column = column

    @property
    def columns(self) -> list[str]:
        """The columns that the feature reads."""
        return [] if self.column is None else [self.column]

    @property
    def raw_specs(self) -> dict[str, tf.TensorSpec]:
        """What a request may say of each column: `{column: tf.TensorSpec}`."""
        shape = [None, *self.raw_shape]
        return {
            column: tf.TensorSpec(shape, self.raw_dtype, name=column) for column in self.columns
        }

    @property
    def code_shape(self) -> tuple[int, ...]:
        """The shape of one encoded value."""
        return ()

    @property
    def dim(self) -> int:
        """The length of the vector."""
        raise NotImplementedError

    def to_raw(self, values: Any) -> np.ndarray:
        """A column as the raw array that `encode` takes.

        Missing values are "" among text, NaN among numbers.
        """
        return to_text(pd.Series(values))

    def adapt(self, raw: Any) -> None:
        """Learns the state from `raw` values of the training part."""
        raise NotImplementedError

    def encode(self, raw: Any) -> tf.Tensor:
        """Raw values `[B]` -> codes `[B, *code_shape]`.

        A missing or unseen value has a code too.
        """
        raise NotImplementedError

    def missing(self, raw: Any) -> tf.Tensor:
        """Which raw values `[B]` say nothing: bool `[B]`."""
        return tf.equal(raw, "")

    def nothing(self) -> np.ndarray:
        """One raw value that says nothing, `[1, *raw_shape]`."""
        nothing = "" if self.raw_dtype == tf.string else np.nan
        return np.full((1, *self.raw_shape), nothing, self.raw_dtype.as_numpy_dtype)

    def encode_request(
        self, raw: dict[str, tf.Tensor], stored: tf.Tensor | None = None
    ) -> tf.Tensor:
        """The codes of what a request gives, else the stored ones, if any.

        Args:
            raw: `{column: [B, ...]}`.
            stored: `[B, *code_shape]`, or None.
        """
        codes = self.encode(raw[self.column])
        if stored is None:
            return codes
        missing = tf.reshape(self.missing(raw[self.column]), [-1] + [1] * (codes.shape.rank - 1))
        return tf.where(missing, stored, codes)

    def known(self, codes: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Which codes `[B, ...]` say something that training has seen: bool `[B]`."""
        return tf.reduce_any(tf.reshape(codes, [tf.shape(codes)[0], -1]) > 0, axis=1)

    def learn(self, train: Interactions, catalog: Catalog, entity: str) -> np.ndarray | None:
        """Learns from the training part.

        Args:
            train: the training `Interactions`, for columns that the side table lacks: context.
            catalog: `Catalog.fit(train)`.
            entity: whose feature it is, "user" or "item".

        Returns:
            The code of each row, `[V, *code_shape]`; None where codes come with the batch.

        Raises:
            ValueError: neither the side table nor the interactions have the columns.
        """
        side = catalog.side(entity)
        if set(self.columns) <= set(side.table):
            raw = self.to_raw(side.table[self.column])
            self.adapt(raw[side.vocabulary.counts[1:] > 0])
            unknown = self.encode_column(self.nothing())
            return np.concatenate([unknown, self.encode_column(raw)])
        if set(self.columns) <= set(train.frame):
            self.adapt(self.to_raw(train.frame[self.column]))
            return None
        raise ValueError(self._lacks(entity, side.table, train.frame))

    def grown(self, codes: np.ndarray, catalog: Catalog, entity: str) -> np.ndarray:
        """The codes of a catalog that has grown; known rows keep theirs.

        Args:
            codes: `[V, *code_shape]`, those so far.
            catalog: the grown `Catalog`, whose side table describes the new rows.
            entity: whose feature it is.

        Raises:
            ValueError: the side table lacks a column.
        """
        table = catalog.side(entity).table
        if lacking := set(self.columns) - set(table):
            raise ValueError(f"the {entity} tower asks for column {min(lacking)!r} of what is new")
        raw = self.to_raw(table[self.column].iloc[len(codes) - 1 :])
        return np.concatenate([codes, self.encode_column(raw)]) if len(raw) else codes

    def given(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor | None:
        """The codes that came with a batch, or None."""
        return inputs.get(self.name)

    def from_request(
        self,
        rows: tf.Tensor,
        raw: dict[str, tf.Tensor],
        history: tf.Tensor | None,
        stored: tf.Tensor | None,
    ) -> tf.Tensor | None:
        """The codes of a request, `[B, *code_shape]`; None where the stored ones are all there is.

        Args:
            rows: `[B]` int32, whom the request is for; 0 for unknown.
            raw: `{column: [B, ...]}`; columns may be left out.
            history: item rows `[B, L]` int32, 0 for none, or None.
            stored: the rows' stored codes `[B, *code_shape]`, or None where none are stored.

        Raises:
            ValueError: a column is neither stored nor given.
        """
        lacking = [column for column in self.columns if column not in raw]
        if lacking and stored is None:
            raise ValueError(f"the request lacks {lacking[0]!r}")
        return None if lacking == self.columns else self.encode_request(raw, stored)

    def vocabularies(self) -> list:
        """The vocabularies that `encode` looks values up in."""
        return []

    def end_step(self) -> None:
        """Ends a training step, for features that draw at random in each."""

    def _lacks(self, entity, *tables):
        places = [sorted(each) for each in tables]
        known = sorted({column for each in places for column in each})
        for column in self.columns:
            if column not in known:
                return f"the {entity} tower asks for column {column!r}; there are {known}"
        return (
            f"{self.name!r} of the {entity} tower needs its columns in one table; there are "
            f"{places}"
        )

    def encode_column(self, raw: Any) -> np.ndarray:
        """`encode` over a long array, by blocks: -> NumPy `[n, *code_shape]`."""
        blocks = [
            self.encode(tf.constant(raw[at : at + BLOCK])).numpy()
            for at in range(0, len(raw), BLOCK)
        ]
        return (
            np.concatenate(blocks) if blocks else np.zeros((0, *self.code_shape), self.code_dtype)
        )

    def get_config(self):
        return {**super().get_config(), "column": self.column}


class SeenFeature(Feature):
    """A feature with a vector of its own for everything that training has seen.

    All else shares row 0. So that row 0 means "somebody average" and not noise, a share of the rows
    is shown as row 0, other ones in each step.

    Args:
        column: as `Feature`.
        dim: length of the vector.
        unknown_rate: the share of training rows shown as unknown, in [0, 1).
        seed: of the choice of those rows.

    Call: codes -> `[B, dim]`.
    """

    def __init__(
        self, column: str | None, dim: int = 32, unknown_rate: float = 0.01, seed: int = 0, **kwargs
    ):
        super().__init__(column, **kwargs)
        if not 0 <= unknown_rate < 1:
            raise ValueError(f"unknown_rate must be in [0, 1), not {unknown_rate}")
        self.width, self.unknown_rate, self.seed = dim, unknown_rate, seed

    @property
    def dim(self):
        return self.width

    def rows(self, codes: tf.Tensor) -> tf.Tensor:
        """The rows `[B]` that the codes stand for, 0 for what training has not seen."""
        return codes

    def shown(self, codes: tf.Tensor, training: bool) -> tf.Tensor:
        """The rows `[B]` as this step shows them."""
        rows = self.rows(codes)
        if training and self.unknown_rate:
            drawn = unit_of(rows, [self.seed, self.draws.value])
            rows = tf.where(drawn >= self.unknown_rate, rows, 0)
        return rows

    def build_from_config(self, config):
        # Row 0 starts like the others: at zero the normalized vector has a gradient of a million,
        # which Adagrad keeps.
        self.table = RowEmbedding(config["num_rows"], self.width, zero_unknown=False, name="table")
        self.table.build()
        # A weight, so that a resumed run draws on where it stopped; Keras saves no SeedGenerator.
        self.draws = self.add_weight(
            name="draws",
            shape=(),
            dtype="int32",
            trainable=False,
            initializer="zeros",
            aggregation="only_first_replica",
        )
        self.built = True

    def get_build_config(self):
        return {"num_rows": self.table.num_rows} if self.built else None

    def call(self, codes: tf.Tensor, training: bool = False) -> tf.Tensor:
        return self.table(self.shown(codes, training))

    def known(self, codes, training=False):
        return self.shown(codes, training) > 0

    def end_step(self) -> None:
        self.draws.assign_add(1)

    def get_config(self):
        return {
            **super().get_config(),
            "dim": self.width,
            "unknown_rate": self.unknown_rate,
            "seed": self.seed,
        }


def check_column(name: str) -> None:
    """Refuses a feature's column that cannot be an input of its own.

    Raises:
        ValueError: the name means something else in a request, or is none that a graph's input can
            have.
    """
    if name in RESERVED or not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name):
        raise ValueError(
            f"a request cannot carry a column {name!r}: rename it to letters, digits and "
            "underscores, a letter first, "
            f"and to none of {', '.join(RESERVED)}"
        )
