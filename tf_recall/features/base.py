"""The base of all features: a column's raw values become codes, and the codes vectors."""

import keyword
import re
from typing import Annotated, Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from annotated_types import Predicate

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.ranges import Words
from tf_recall.data.values import to_text
from tf_recall.features.growing import before

BLOCK = 100_000  # values encoded at once
INPUTS = ("user_id", "item_id", "exclude", "allow", "exclude_seen", "history")  # of an export
RESERVED = (*INPUTS, "k", "num", "self", "row")  # other arguments of requests too


def is_input(name: str) -> bool:
    """Whether a request can carry a column of this name, see `check_column`."""
    try:
        check_column(name)
    except ValueError:
        return False
    return True


InputColumn = Annotated[
    str,
    Predicate(is_input),
    Words(
        "the name of a column that a request can carry (letters, digits and underscores, a letter "
        f"first, none of {', '.join(RESERVED)})"
    ),
]


class Feature(keras.layers.Layer):
    """Turns the raw values of a column into codes, and the codes into vectors.

    `encode` turns raw values into codes, which are numbers, with TensorFlow ops: it runs once per
    row when a table or a log is read, and again inside the exported model, so training and serving
    cannot disagree. `call` turns codes into vectors; a training step does only that.

    Args:
        column: the column of the side table or of the interactions; None where it reads none.
        name: of the feature, and of its codes in a batch; None: its class and its column.

    Call: codes `[B, *code_shape]`, as `encode` gives them -> `[B, dim]` float.

    Raises:
        ValueError: a request cannot carry a column of that name.

    Attributes:
        history_length: how many of a user's items before the event a row must bring.
        needs_gaps: whether also how long before the newest of them each was.
        width: the length of the trained vectors, until they are built; None where the code itself
            is the vector.
        describes: whether it says who the user is, or what they ask for.
        asks: the features of the same tower whose vectors it is called with, as `Pooling.asks`.
    """

    raw_dtype = tf.string
    raw_shape = ()
    code_dtype = "int32"
    history_length = 0
    needs_gaps = False
    width: int | None = None
    describes = True
    asks: list[str] | None = None

    def __init__(self, column: InputColumn | None, name: str | None = None, **kwargs) -> None:
        if column is not None:
            check_column(column)
        super().__init__(name=name or f"{type(self).__name__.lower()}_{column}", **kwargs)
        self.column = column

    @property
    def columns(self) -> list[str]:
        """The columns that the feature reads."""
        return [] if self.column is None else [self.column]

    @property
    def raw_specs(self) -> dict[str, tf.TensorSpec]:
        """The values that a request may give, by column: `{column: spec of [B, *raw_shape]}`."""
        shape = [None, *self.raw_shape]
        return {
            column: tf.TensorSpec(shape, self.raw_dtype, name=column) for column in self.columns
        }

    @property
    def code_shape(self) -> tuple[int, ...]:
        """The shape of one code."""
        return ()

    @property
    def dim(self) -> int:
        """The length of the vector."""
        raise NotImplementedError

    def to_raw(self, values: Any) -> np.ndarray:
        """A column as the array that `encode` takes: text, "" for missing; or numbers, NaN."""
        try:
            return to_text(values)
        except TypeError as error:
            raise TypeError(
                f"column {self.column!r}: {error}. For lists use MultiValued."
            ) from None

    def adapt(self, raw: np.ndarray) -> None:
        """Learns the state from raw values `[n, *raw_shape]` of the training part."""
        raise NotImplementedError

    def go_on(self, earlier: "Feature", raw: np.ndarray | None) -> None:
        """Takes over what another one has learned, in place of `adapt`.

        Args:
            earlier: the same feature of a model that grows.
            raw: as of `adapt`, of more data; None: there are none.
        """
        self.build_from_config(earlier.get_build_config())
        for now, known in zip(self.variables, earlier.variables, strict=True):
            now.assign(known)

    def kept(
        self, codes: np.ndarray, known: np.ndarray, origin: np.ndarray, described: np.ndarray
    ) -> np.ndarray:
        """The codes of a model that grows.

        Args:
            codes: `[V, *code_shape]`, as `learn` gives them.
            known: `[V, *code_shape]`, those that rows had before.
            origin: `[V]`, the row that each had before; 0: none.
            described: `[V]`, whether the side table describes a row now.
        """
        stays = np.reshape((origin > 0) & ~described, [-1] + [1] * (codes.ndim - 1))
        return np.where(stays, known, codes)

    def encode(self, raw: tf.Tensor) -> tf.Tensor:
        """Raw values `[B, *raw_shape]` -> codes `[B, *code_shape]`, of missing values too."""
        raise NotImplementedError

    def missing(self, raw: tf.Tensor) -> tf.Tensor:
        """Which raw values `[B, *raw_shape]` are missing: bool `[B]`."""
        return tf.equal(raw, "")

    def nothing(self) -> np.ndarray:
        """One missing raw value, `[1, *raw_shape]`."""
        nothing = "" if self.raw_dtype == tf.string else np.nan
        return np.full((1, *self.raw_shape), nothing, self.raw_dtype.as_numpy_dtype)

    def encode_request(
        self, raw: dict[str, tf.Tensor], stored: tf.Tensor | None = None
    ) -> tf.Tensor:
        """The codes of a request's values, and the stored codes where a value is missing.

        Args:
            raw: `{column: [B, *raw_shape]}`.
            stored: `[B, *code_shape]`; None: a missing value has its own code.
        """
        codes = self.encode(raw[self.column])
        if stored is None:
            return codes
        missing = tf.reshape(self.missing(raw[self.column]), [-1] + [1] * (codes.shape.rank - 1))
        return tf.where(missing, stored, codes)

    def known(self, codes: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Which codes `[B, *code_shape]` are of values that training has seen: bool `[B]`."""
        return tf.reduce_any(tf.reshape(codes, [tf.shape(codes)[0], -1]) > 0, axis=1)

    def learn(self, train: Interactions, catalog: Catalog, entity: str) -> np.ndarray | None:
        """Learns from the training part, and encodes the side table.

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
            self._fit(raw[side.vocabulary.counts[1:] > 0])
            unknown = self.encode_column(self.nothing())
            return np.concatenate([unknown, self.encode_column(raw)])
        if set(self.columns) <= set(train.frame):
            frame = train.frame if before(self) is None else train.to_learn.frame
            self._fit(self.to_raw(frame[self.column]))
            return None
        raise ValueError(self._lacks(entity, side.table, train.frame))

    def _fit(self, raw):
        if before(self) is None:
            self.adapt(raw)
        else:
            self.go_on(before(self), raw)

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
            raise ValueError(f"the {entity} tower needs column {min(lacking)!r} of new rows")
        raw = self.to_raw(table[self.column].iloc[len(codes) - 1 :])
        return np.concatenate([codes, self.encode_column(raw)]) if len(raw) else codes

    def given(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor | None:
        """The codes that came with a batch, `[B, *code_shape]`, or None."""
        return inputs.get(self.name)

    def from_request(
        self,
        rows: tf.Tensor,
        raw: dict[str, tf.Tensor],
        history: tf.Tensor | None,
        stored: tf.Tensor | None,
    ) -> tf.Tensor | None:
        """The codes of a request, `[B, *code_shape]`; None where the stored ones hold as they are.

        Args:
            rows: `[B]` int32, the user or item of each request; 0 for unknown.
            raw: `{column: [B, ...]}`; columns may be left out.
            history: item rows `[B, L]` int32, 0 for none, or None.
            stored: the rows' stored codes `[B, *code_shape]`, or None.

        Raises:
            ValueError: a column is neither stored nor given.
        """
        lacking = [column for column in self.columns if column not in raw]
        if lacking and stored is None:
            raise ValueError(f"the request lacks {lacking[0]!r}")
        return None if lacking == self.columns else self.encode_request(raw, stored)

    def vocabularies(self) -> list:
        """The lookup tables that `encode` uses."""
        return []

    def end_step(self) -> None:
        """Ends a training step, for features that make random draws in each."""

    def _lacks(self, entity, *tables):
        by_table = [sorted(each) for each in tables]
        known = sorted(set().union(*tables))
        for column in self.columns:
            if column not in known:
                return f"the {entity} tower needs column {column!r}; there are {known}"
        return (
            f"{self.name!r} of the {entity} tower needs its columns in one table; there are "
            f"{by_table}"
        )

    def encode_column(self, raw: np.ndarray) -> np.ndarray:
        """`encode` over a long array `[n, *raw_shape]`, by blocks: `[n, *code_shape]`."""
        if not len(raw):
            return np.zeros((0, *self.code_shape), self.code_dtype)
        codes, known = distinct(raw)
        blocks = [
            self.encode(tf.constant(known[at : at + BLOCK], self.raw_dtype)).numpy()
            for at in range(0, len(known), BLOCK)
        ]
        return np.concatenate(blocks)[codes]

    def get_config(self) -> dict:
        return {**super().get_config(), "column": self.column}


def distinct(raw: np.ndarray) -> tuple[np.ndarray | slice, np.ndarray]:
    """The different texts of an array, and where each of its own is among them.

    Numbers are cheap to encode, and are given back as they are.
    """
    return pd.factorize(raw) if raw.dtype == object else (slice(None), raw)


def check_column(name: str) -> None:
    """Refuses a feature's column that cannot be an input of its own.

    Raises:
        ValueError: the name has another meaning in a request, or an input of a TensorFlow graph
            cannot have it.
    """
    if (
        not isinstance(name, str)
        or name in RESERVED
        or name.lower() in INPUTS  # the inputs of a graph cannot differ in case alone
        or keyword.iskeyword(name)
        or not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name)
    ):
        raise ValueError(
            f"a request cannot carry a column {name!r}: rename it to letters, digits and "
            f"underscores, a letter first, and to none of {', '.join(RESERVED)}, nor a word of "
            "Python's own"
        )
