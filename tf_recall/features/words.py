"""Features that look values up in a vocabulary: ids, categories, lists of categories, words of a
text.
"""

from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from tf_recall.data.values import to_text
from tf_recall.data.vocabulary import Vocabulary
from tf_recall.features.base import Feature, SeenFeature
from tf_recall.features.embedding import RowEmbedding

VOCABULARY = "vocabulary.tsv"


@keras.saving.register_keras_serializable("tf_recall")
class Id(SeenFeature):
    """A vector of its own for every user or item seen in training; all others share row 0.

    Args:
        dim, unknown_rate, seed: of `SeenFeature`.
        min_count: an id with fewer training events has no vector of its own either: beside
            attributes, a few events tell less than those do.

    Call: rows `[B]` int32 -> `[B, dim]`.

    Raises:
        ValueError: as `SeenFeature`, or `min_count` is below 1.
    """

    def __init__(self, dim=32, unknown_rate=0.01, seed=0, min_count=1, name="id", **kwargs):
        super().__init__(None, dim, unknown_rate, seed, name=name, **kwargs)
        if min_count < 1:
            raise ValueError(f"min_count must be at least 1, not {min_count}")
        self.min_count = min_count

    def learn(self, train, catalog, entity):
        """As `Feature.learn`; a row's code is the row itself, or 0 where it has too few events."""
        counts = catalog.side(entity).vocabulary.counts
        self.build_from_config({"num_rows": len(counts)})
        return np.where(counts >= self.min_count, np.arange(len(counts)), 0).astype(np.int32)

    def grown(self, codes, catalog, entity):
        """As `Feature.grown`; an id that training has not seen is unknown."""
        new = catalog.side(entity).vocabulary.size - len(codes)
        return np.concatenate([codes, np.zeros(new, codes.dtype)])

    def get_config(self):
        config = {**super().get_config(), "min_count": self.min_count}
        del config["column"]
        return config


def one_line(raw):
    """Text without tabs and line breaks, which a vocabulary file cannot hold."""
    return tf.strings.regex_replace(raw, r"[\t\r\n]", " ")


def as_words(raw):
    """Text, a tensor or an array, as an object array of one-line str."""
    return np.array(
        [word.decode("utf-8", "replace") for word in one_line(raw).numpy()], dtype=object
    )


class VocabularyFeature(Feature):
    """A feature whose codes are rows of a vocabulary; row 0 is for what training has not seen."""

    def __init__(self, column, dim=8, max_size=100_000, **kwargs):
        super().__init__(column, **kwargs)
        self.width, self.max_size = dim, max_size

    @property
    def dim(self):
        return self.width

    def fit_words(self, words):
        """Keeps the `max_size` most frequent of `words` (a flat array of str; "" counts for
        nothing).
        """
        words = Vocabulary.fit(words[words != ""])  # by falling count
        self.vocabulary = Vocabulary(
            words.ids[: self.max_size], words.counts[1 : self.max_size + 1]
        )
        self.build_from_config({"num_rows": self.vocabulary.size})

    def build_from_config(self, config):
        self.table = RowEmbedding(config["num_rows"], self.width, name="table")
        self.table.build()
        self.built = True

    def get_build_config(self):
        return {"num_rows": self.table.num_rows} if self.built else None

    def vocabularies(self) -> list:
        return [self.vocabulary]

    def save_assets(self, directory):
        self.vocabulary.save(Path(directory) / VOCABULARY)

    def load_assets(self, directory):
        self.vocabulary = Vocabulary.load(Path(directory) / VOCABULARY)

    def get_config(self):
        return {**super().get_config(), "dim": self.width, "max_size": self.max_size}


@keras.saving.register_keras_serializable("tf_recall")
class Categorical(VocabularyFeature):
    """One value out of many: country, brand, device. The values keep `max_size` rows; the rest is
    row 0.

    Args:
        column: text or integers.
        dim: length of the vector.
        max_size: how many distinct values are kept, the most frequent first.

    Call: rows `[B]` int32 -> `[B, dim]`.
    """

    def adapt(self, raw):
        self.fit_words(as_words(raw))

    def encode(self, raw):
        return self.vocabulary.lookup(one_line(raw))

    def call(self, rows):
        return self.table(rows)


class BagOfWords(VocabularyFeature):
    """The mean vector of several values; a code is a row of `length` vocabulary rows, padded with
    0.
    """

    def __init__(self, column, dim=8, max_size=100_000, length=32, **kwargs):
        super().__init__(column, dim, max_size, **kwargs)
        if length < 1:
            raise ValueError(f"length must be at least 1, not {length}")
        self.length = length

    def split(self, raw):
        """Raw values `[B]` -> ragged words `[B, (words)]`."""
        raise NotImplementedError

    @property
    def code_shape(self):
        return (self.length,)

    def adapt(self, raw):
        words = self.split(tf.constant(raw))
        self.length = max(1, min(self.length, int(words.bounding_shape()[1])))
        self.fit_words(as_words(words.flat_values))

    def encode(self, raw):
        words = self.split(raw)
        rows = words.with_flat_values(self.vocabulary.lookup(words.flat_values))
        # an unseen word must not push a known one out
        known = tf.ragged.boolean_mask(rows, rows > 0)
        codes = known.to_tensor(shape=[None, self.length])  # [B, L]
        return tf.ensure_shape(codes, [None, self.length])

    def call(self, codes):
        known = tf.cast(codes > 0, self.compute_dtype)[..., None]  # [B, L, 1]
        total = tf.reduce_sum(self.table(codes) * known, axis=1)  # [B, dim]
        return total / tf.maximum(tf.reduce_sum(known, axis=1), 1)

    def get_config(self):
        return {**super().get_config(), "length": self.length}


@keras.saving.register_keras_serializable("tf_recall")
class MultiValued(BagOfWords):
    """Several values at once, such as genres or tags: the mean of their vectors.

    Args:
        column: text with a separator ("Comedy|Drama"), or lists.
        dim: length of the vector.
        max_size: how many distinct values are kept.
        length: how many values of one row are kept; shortened to the longest row of the training
            part.
        separator: what stands between two values of a text.

    Call: rows `[B, length]` int32, 0 for none -> `[B, dim]`; a row without known values gives
        zeros.
    """

    def __init__(self, column, dim=8, max_size=100_000, length=32, separator="|", **kwargs):
        super().__init__(column, dim, max_size, length, **kwargs)
        self.separator = separator

    def to_raw(self, values):
        series = pd.Series(values)
        lists = series.map(
            lambda value: isinstance(value, list | tuple | set | np.ndarray)
        ).to_numpy(dtype=bool)
        return to_text(series.where(~lists, series.map(self._join)))

    def _join(self, value):
        return (
            self.separator.join(map(str, value))
            if isinstance(value, list | tuple | set | np.ndarray)
            else value
        )

    def split(self, raw):
        words = tf.strings.split(one_line(raw), self.separator)
        words = words.with_flat_values(tf.strings.strip(words.flat_values))
        return tf.ragged.boolean_mask(words, words != "")

    def get_config(self):
        return {**super().get_config(), "separator": self.separator}


@keras.saving.register_keras_serializable("tf_recall")
class Text(BagOfWords):
    """The words of a title or description: lower case, letters and digits only, the mean of their
    vectors.

    Args:
        column: text.
        dim: length of the vector.
        max_size: how many distinct words are kept.
        length: how many known words of one text are kept; shortened to the longest text of the
            training part.

    Call: rows `[B, length]` int32, 0 for none -> `[B, dim]`.
    """

    def __init__(self, column, dim=32, max_size=10_000, length=32, **kwargs):
        super().__init__(column, dim, max_size, length, **kwargs)

    def split(self, raw):
        words = tf.strings.regex_replace(
            tf.strings.lower(raw, encoding="utf-8"), r"[^\p{L}\p{N}]+", " "
        )
        return tf.strings.split(words)
