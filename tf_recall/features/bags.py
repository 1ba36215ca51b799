"""Features of several values at once: lists of categories, words of a text."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_recall.data.ranges import WholeFrom1
from tf_recall.data.values import as_series, is_list, text_of
from tf_recall.features.base import InputColumn
from tf_recall.features.unicode import folded
from tf_recall.features.words import VocabularyFeature, as_words, one_line

WHOLE = "\x1f"  # a separator that occurs in no text


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
        words = self.split(tf.constant(raw, tf.string))
        if self._known is None:
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

    Values are those of `Categorical`, without blanks around them.

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
        """As `Feature.to_raw`; the values of a list are joined by the separator."""
        series = as_series(values)
        lists = np.fromiter(map(is_list, series), bool, len(series))
        if not lists.any():
            return super().to_raw(series)
        # sets have no order of their own
        each = [
            self._joined(value) if several else text_of(value)
            for value, several in zip(series, lists, strict=True)
        ]
        return super().to_raw(each)

    def _joined(self, several):
        texts = map(text_of, several)
        texts = sorted(texts) if isinstance(several, (set, frozenset)) else texts
        return self.separator.join(text for text in texts if text)

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

    A word is a run of letters, of the marks on them, and of digits; all else separates words.
    Upper and lower case are one, and so are the ways to encode "é" (`unicode.folded`). Chinese
    characters and Hiragana, written without blanks, are words of their own. Thai, Lao, Khmer and
    Burmese are written without blanks too: put some between the words, with a program that knows
    the language.

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
        parts = tf.strings.split(raw)
        known, position = tf.unique(parts.flat_values)  # of many texts most parts occur again
        text = folded(known)
        text = tf.strings.regex_replace(text, r"([\p{Han}\p{Hiragana}]\p{M}*)", r" \1 ")
        text = tf.strings.regex_replace(text, r"[^\p{L}\p{M}\p{N}]+", " ")
        text = tf.strings.regex_replace(text, r"(^| )\p{M}+", r"\1")  # marks on what is no letter
        words = tf.gather(tf.strings.split(text), position)
        return parts.with_flat_values(words).merge_dims(1, 2)


def values_of(column: Any, separator: str = WHOLE) -> tuple[np.ndarray, np.ndarray]:
    """All values of a column, one after the other, each as `MultiValued` knows it.

    Args:
        column: values, or lists of them.
        separator: what separates the values of a text; by default a text is one value.

    Returns:
        The line of each value, int64 `[n]`, and the values, an object array of str `[n]`.
    """
    several = MultiValued(None, separator=separator)
    words = several.split(tf.constant(several.to_raw(column), tf.string))
    return words.value_rowids().numpy(), as_words(words.flat_values)
