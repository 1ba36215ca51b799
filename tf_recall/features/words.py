"""Features with a vocabulary: ids, categories, lists of categories, words of a text."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.ranges import Seed, Share, WholeFrom1
from tf_recall.data.values import to_text
from tf_recall.data.vocabulary import Vocabulary
from tf_recall.features.base import Feature, InputColumn, SeenFeature
from tf_recall.features.embedding import RowEmbedding

VOCABULARY = "vocabulary.tsv"


@keras.saving.register_keras_serializable("tf_recall")
class Id(SeenFeature):
    """A vector of its own for every user or item of the training part; all others share row 0.

    Args:
        dim, unknown_rate, seed: as `SeenFeature`.
        min_count: an id with fewer training events shares row 0 too: for a few events its
            attributes are the better features.

    Call: rows `[B]` int32 -> `[B, dim]`.

    Raises:
        ValueError: as `SeenFeature`, or `min_count` is below 1.

    Example:
        >>> FeatureTower("item", [Id(dim=64, min_count=5), MultiValued("genres")])
    """

    def __init__(
        self,
        dim: WholeFrom1 = 32,
        unknown_rate: Share = 0.01,
        seed: Seed = 0,
        min_count: WholeFrom1 = 1,
        name: str = "id",
        **kwargs,
    ):
        super().__init__(None, dim, unknown_rate, seed, name=name, **kwargs)
        if min_count < 1:
            raise ValueError(f"min_count must be at least 1, not {min_count}")
        self.min_count = min_count

    def learn(self, train: Interactions, catalog: Catalog, entity: str) -> np.ndarray:
        """As `Feature.learn`; a row's code is the row itself, or 0 where it has too few events."""
        counts = catalog.side(entity).vocabulary.counts
        self.build_from_config({"num_rows": len(counts)})
        return np.where(counts >= self.min_count, np.arange(len(counts)), 0).astype(np.int32)

    def grown(self, codes: np.ndarray, catalog: Catalog, entity: str) -> np.ndarray:
        """As `Feature.grown`; an id that training has not seen is unknown."""
        new = catalog.side(entity).vocabulary.size - len(codes)
        return np.concatenate([codes, np.zeros(new, codes.dtype)])

    def get_config(self) -> dict:
        config = {**super().get_config(), "min_count": self.min_count}
        del config["column"]
        return config


def one_line(raw: tf.Tensor) -> tf.Tensor:
    """Replaces tabs and line breaks, which a vocabulary file cannot hold, by spaces."""
    return tf.strings.regex_replace(raw, r"[\t\r\n]", " ")


def as_words(raw: Any) -> np.ndarray:
    """Converts text, a tensor or an array, to an object array of one-line str."""
    return np.array(
        [word.decode("utf-8", "replace") for word in one_line(raw).numpy()], dtype=object
    )


class VocabularyFeature(Feature):
    """The base of features whose codes are rows of a vocabulary; row 0 is for unseen values."""

    def __init__(
        self, column: InputColumn, dim: WholeFrom1 = 8, max_size: WholeFrom1 = 100_000, **kwargs
    ):
        super().__init__(column, **kwargs)
        self.width = dim
        self.max_size = max_size

    @property
    def dim(self) -> int:
        return self.width

    def fit_words(self, words: np.ndarray) -> None:
        """Makes the vocabulary of the `max_size` most frequent words.

        Args:
            words: a flat array of str; "" is ignored.
        """
        words = Vocabulary.fit(words[words != ""])  # by falling count
        self.vocabulary = Vocabulary(
            words.ids[: self.max_size], words.counts[1 : self.max_size + 1]
        )
        self.build_from_config({"num_rows": self.vocabulary.size})

    def build_from_config(self, config: dict) -> None:
        self.table = RowEmbedding(config["num_rows"], self.width, name="table")
        self.table.build()
        self.built = True

    def get_build_config(self) -> dict | None:
        return {"num_rows": self.table.num_rows} if self.built else None

    def vocabularies(self) -> list:
        return [self.vocabulary]

    def save_assets(self, directory: str) -> None:
        self.vocabulary.save(Path(directory) / VOCABULARY)

    def load_assets(self, directory: str) -> None:
        self.vocabulary = Vocabulary.load(Path(directory) / VOCABULARY)

    def get_config(self) -> dict:
        return {**super().get_config(), "dim": self.width, "max_size": self.max_size}


@keras.saving.register_keras_serializable("tf_recall")
class Categorical(VocabularyFeature):
    """One value out of many, such as a country, brand or device, with a vector of its own.

    Args:
        column: a column of text or integers.
        dim: length of the vector.
        max_size: how many values have a vector, the most frequent first; all others share row 0.

    Call: rows `[B]` int32 -> `[B, dim]`.

    Example:
        >>> FeatureTower("user", [Id(), Categorical("country")])
    """

    def adapt(self, raw: np.ndarray) -> None:
        self.fit_words(as_words(raw))

    def encode(self, raw: tf.Tensor) -> tf.Tensor:
        return self.vocabulary.lookup(one_line(raw))

    def call(self, rows: tf.Tensor) -> tf.Tensor:
        return self.table(rows)


class BagOfWords(VocabularyFeature):
    """The base of features that average the vectors of several values.

    A code is `length` rows of the vocabulary, padded with 0.
    """

    def __init__(
        self,
        column: InputColumn,
        dim: WholeFrom1 = 8,
        max_size: WholeFrom1 = 100_000,
        length: WholeFrom1 = 32,
        **kwargs,
    ):
        super().__init__(column, dim, max_size, **kwargs)
        if length < 1:
            raise ValueError(f"length must be at least 1, not {length}")
        self.length = length

    def split(self, raw: tf.Tensor) -> tf.RaggedTensor:
        """Splits raw values into words: `[B]` -> `[B, (words)]`, ragged."""
        raise NotImplementedError

    @property
    def code_shape(self) -> tuple:
        return (self.length,)

    def adapt(self, raw: np.ndarray) -> None:
        words = self.split(tf.constant(raw))
        self.length = max(1, min(self.length, int(words.bounding_shape()[1])))
        self.fit_words(as_words(words.flat_values))

    def encode(self, raw: tf.Tensor) -> tf.Tensor:
        words = self.split(raw)
        rows = words.with_flat_values(self.vocabulary.lookup(words.flat_values))
        # an unseen word must not displace a known one
        known = tf.ragged.boolean_mask(rows, rows > 0)
        codes = known.to_tensor(shape=[None, self.length])  # [B, L]
        return tf.ensure_shape(codes, [None, self.length])

    def call(self, codes: tf.Tensor) -> tf.Tensor:
        known = tf.cast(codes > 0, self.compute_dtype)[..., None]  # [B, L, 1]
        total = tf.reduce_sum(self.table(codes) * known, axis=1)  # [B, dim]
        return total / tf.maximum(tf.reduce_sum(known, axis=1), 1)

    def get_config(self) -> dict:
        return {**super().get_config(), "length": self.length}


@keras.saving.register_keras_serializable("tf_recall")
class MultiValued(BagOfWords):
    """Several values at once, such as genres or tags: the mean of their vectors.

    output = mean of table[row] over the known rows;  zeros where there are none

    Args:
        column: a column of text with a separator ("Comedy|Drama"), or of lists.
        dim: length of the vector.
        max_size: how many values have a vector, the most frequent first.
        length: how many values of a line count; at most as many as the longest line of the training
            part has.
        separator: what separates the values of a text.

    Call: rows `[B, length]` int32, 0 for none -> `[B, dim]`.

    Example:
        >>> FeatureTower("item", [Id(), MultiValued("genres")])
    """

    def __init__(
        self,
        column: InputColumn,
        dim: WholeFrom1 = 8,
        max_size: WholeFrom1 = 100_000,
        length: WholeFrom1 = 32,
        separator: str = "|",
        **kwargs,
    ):
        super().__init__(column, dim, max_size, length, **kwargs)
        self.separator = separator

    def to_raw(self, values: Any) -> np.ndarray:
        series = pd.Series(values)
        lists = series.map(_is_list).to_numpy(dtype=bool)
        return to_text(series.where(~lists, series.map(self._join)))

    def _join(self, value):
        return self.separator.join(map(str, value)) if _is_list(value) else value

    def split(self, raw: tf.Tensor) -> tf.RaggedTensor:
        words = tf.strings.split(one_line(raw), self.separator)
        words = words.with_flat_values(tf.strings.strip(words.flat_values))
        return tf.ragged.boolean_mask(words, words != "")

    def get_config(self) -> dict:
        return {**super().get_config(), "separator": self.separator}


@keras.saving.register_keras_serializable("tf_recall")
class Text(BagOfWords):
    """The words of a title or description: the mean of their vectors.

    output = mean of table[row] over the known words;  zeros where there are none

    Words are lower case, and of letters and digits alone.

    Args:
        column: a column of text.
        dim: length of the vector.
        max_size: how many words have a vector, the most frequent first.
        length: how many known words of a text count; at most as many as the longest text of the
            training part has.

    Call: rows `[B, length]` int32, 0 for none -> `[B, dim]`.

    Example:
        >>> FeatureTower("item", [Id(), Text("title")])
    """

    def __init__(
        self,
        column: InputColumn,
        dim: WholeFrom1 = 32,
        max_size: WholeFrom1 = 10_000,
        length: WholeFrom1 = 32,
        **kwargs,
    ):
        super().__init__(column, dim, max_size, length, **kwargs)

    def split(self, raw: tf.Tensor) -> tf.RaggedTensor:
        lower = tf.strings.lower(raw, encoding="utf-8")
        return tf.strings.split(tf.strings.regex_replace(lower, r"[^\p{L}\p{N}]+", " "))


def _is_list(value):
    return isinstance(value, list | tuple | set | np.ndarray)
