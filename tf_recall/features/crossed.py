"""Several columns crossed into one feature: the type of a user or an item."""

from numbers import Real
from typing import Annotated, Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from annotated_types import Predicate

from tf_recall.data.ranges import MOST, Filled, Seed, Share, WholeFrom1, Words
from tf_recall.features.numbers import Buckets
from tf_recall.features.seen import SeenFeature
from tf_recall.features.words import Categorical


def is_rule(value: Any) -> bool:
    """Whether a value is a part of a crossed feature, see `Crossed`."""
    try:
        _part(value)
    except ValueError:
        return False
    return True


Rule = Annotated[
    str | dict,
    Predicate(is_rule),
    Words(
        "columns, {column, edges} with rising numbers, or {column, quantiles} with a number of at "
        "least 2"
    ),
]


@keras.saving.register_keras_serializable("tf_recall")
class Crossed(SeenFeature):
    """A vector of its own for every combination of values seen in training: a type (METHODS.md M3).

    type = (rule_1(column_1), ..., rule_n(column_n))

    A rule gives a column's value itself, or the bucket of a number. Missing and unseen values are a
    bucket of their own ("unknown country"), so a user without attributes has a type too. Types have
    enough data to learn from where there are too many ids, and single attributes are too coarse.

    Types that training has not seen share row 0, which is trained as the unknown `Id` is. A code
    holds the parts' codes, not the type, so that a request can change one column of a known user.

    Args:
        parts: the rules, of different columns. `"country"` uses the values themselves;
            `{"column": "age", "edges": [25, 50]}` has the buckets below 25, from 25 to below 50,
            and from 50 on; `{"column": "price", "quantiles": 5}` has five buckets with about as
            many training values each.
        dim, unknown_rate, seed: as `SeenFeature`.

    Call: the parts' codes `[B, number of parts]` int32 -> `[B, dim]`.

    Raises:
        ValueError: a part that is not a rule; at `adapt`, more combinations than 63 bits count.

    Example:
        >>> age = {"column": "age", "edges": [25, 35, 50]}
        >>> Crossed(["country", age, {"column": "price", "quantiles": 5}], dim=32)

    Paper: Grbovic and Cheng 2018, "Real-time Personalization using Embeddings for Search Ranking
        at Airbnb", section 3.2.
    """

    def __init__(
        self,
        parts: Filled[Rule],
        dim: WholeFrom1 = 32,
        unknown_rate: Share = 0.01,
        seed: Seed = 0,
        name: str | None = None,
        **kwargs,
    ):
        made = [_part(rule) for rule in parts]
        columns = [part.column for part in made]
        if not columns or len(set(columns)) < len(columns):
            raise ValueError(f"a crossed feature needs columns, all different, and has {columns}")
        super().__init__(
            None, dim, unknown_rate, seed, name=name or "crossed_" + "_".join(columns), **kwargs
        )
        self.rules = list(parts)
        self.parts = made
        self.column = columns

    @property
    def columns(self) -> list[str]:
        return self.column

    @property
    def raw_specs(self) -> dict[str, tf.TensorSpec]:
        specs = {}
        for part in self.parts:
            specs |= part.raw_specs
        return specs

    @property
    def code_shape(self) -> tuple:
        return (len(self.parts),)

    def to_raw(self, values: pd.DataFrame) -> pd.DataFrame:
        """Converts the columns of a table to the raw values of the parts."""
        return pd.DataFrame({part.column: part.to_raw(values[part.column]) for part in self.parts})

    def nothing(self) -> pd.DataFrame:
        return pd.DataFrame({part.column: part.nothing() for part in self.parts})

    def adapt(self, raw: pd.DataFrame) -> None:
        for part in self.parts:
            part.adapt(raw[part.column].to_numpy())
        self._number(raw, np.zeros([0, len(self.parts)], np.int64))

    def go_on(self, earlier: "Crossed", raw: pd.DataFrame | None) -> None:
        """As `Feature.go_on`; combinations that are new get rows, between those that are known."""
        raw = self.nothing()[:0] if raw is None else raw
        for part, known in zip(self.parts, earlier.parts, strict=True):
            part.go_on(known, raw[part.column].to_numpy())
        strides = _strides(earlier.sizes)
        codes = earlier.keys.numpy()[1:, None] // strides % earlier.sizes
        self._number(raw, codes)
        known = np.searchsorted(self.keys.numpy(), codes @ _strides(self.sizes))
        origin = np.zeros(self.keys.shape[0], np.int64)
        origin[known] = 1 + np.arange(len(known))
        self.table.come_from(origin)

    def _number(self, raw, known):
        """Gives each combination of `raw`, and those that are known `[n, parts]`, a row."""
        sizes = [part.num_codes for part in self.parts]
        if np.prod(sizes, dtype=object) >= 2**63:
            raise ValueError(
                f"{self.name!r} has too many combinations, {sizes} values: cross fewer columns"
            )
        codes = np.concatenate([self.encode_column(raw).astype(np.int64), known])
        keys = np.unique(codes @ _strides(sizes))
        self.build_from_config({"num_rows": 1 + len(keys), "sizes": sizes})
        self.keys.assign(np.concatenate([[-1], keys]))

    def build_from_config(self, config: dict) -> None:
        super().build_from_config(config)
        self.sizes = config["sizes"]
        for part in self.parts:
            if not part.built:
                part.build_from_config({})
        # Row r is the type of the r-th key. Keys rise from -1, the key of row 0, which no type has.
        self.keys = self.add_weight(
            name="keys", shape=(config["num_rows"],), dtype="int64", trainable=False
        )

    def get_build_config(self) -> dict | None:
        return {**super().get_build_config(), "sizes": self.sizes} if self.built else None

    def vocabularies(self) -> list:
        return [each for part in self.parts for each in part.vocabularies()]

    def encode(self, raw: dict) -> tf.Tensor:
        """Encodes raw columns: `{column: [B]}` -> `[B, number of parts]`."""
        return self.encode_request(raw)

    def encode_request(self, raw: dict, stored: tf.Tensor | None = None) -> tf.Tensor:
        codes = [None] * len(self.parts) if stored is None else tf.unstack(stored, axis=1)
        pairs = zip(self.parts, codes, strict=True)
        encoded = [
            part.encode_request(raw, code) if part.column in raw else code for part, code in pairs
        ]
        return tf.stack(encoded, axis=1)  # [B, number of parts]

    def encode_column(self, raw: pd.DataFrame) -> np.ndarray:
        codes = [part.encode_column(raw[part.column].to_numpy()) for part in self.parts]
        return np.stack(codes, axis=1)  # [n, number of parts]

    def rows(self, codes: tf.Tensor) -> tf.Tensor:
        key = tf.reduce_sum(tf.cast(codes, tf.int64) * _strides(self.sizes), axis=1)  # [B]
        row = tf.searchsorted(self.keys.value, key, side="right") - 1
        return tf.where(tf.gather(self.keys.value, row) == key, row, 0)

    def get_config(self) -> dict:
        config = {**super().get_config(), "parts": self.rules}
        del config["column"]
        return config


def _part(rule):
    """The feature that encodes the column of a rule."""
    match rule:
        case str():
            return Values(rule)
        case {"column": str(column), "edges": [_, *_] as edges} if len(rule) == 2 and _rise(edges):
            return Edges(column, edges)
        case {"column": str(column), "quantiles": int(n)} if len(rule) == 2 and 1 < n <= MOST:
            return Quantiles(column, num_buckets=n)
    raise ValueError(
        "a part of a crossed feature is a column, {column, edges} with rising numbers, or "
        f"{{column, quantiles}} with a number of at least 2, not {rule!r}"
    )


def _rise(edges):
    numbers = all(isinstance(edge, Real) and not isinstance(edge, bool) for edge in edges)
    return numbers and list(edges) == sorted(set(edges))


def _strides(sizes):
    """What 1 more in each part's code adds to a type's key: int64 `[number of parts]`."""
    return np.cumprod([1, *sizes[:0:-1]], dtype=np.int64)[::-1]


class Values(Categorical):
    """Encodes a column's values, without vectors."""

    def _come_from(self, size):
        pass

    def build_from_config(self, config: dict) -> None:
        self.built = True

    @property
    def num_codes(self) -> int:
        return self.vocabulary.size


class Quantiles(Buckets):
    """Encodes a number as its bucket between quantiles, without vectors."""

    def build_from_config(self, config: dict) -> None:
        self.build_boundaries()
        self.built = True

    @property
    def num_codes(self) -> int:
        return self.num_buckets + 1


class Edges(Quantiles):
    """Encodes a number as its bucket between given edges, without vectors."""

    def __init__(self, column: str, edges: list[float]):
        super().__init__(column, num_buckets=len(edges) + 1)
        self.edges = list(edges)

    def adapt(self, raw: np.ndarray) -> None:
        self.build_from_config({})
        self.boundaries.assign(self.edges)
