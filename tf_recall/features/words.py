"""Features with a vocabulary: ids, and categories."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.ranges import Seed, Share, WholeFrom1
from tf_recall.data.vocabulary import Vocabulary
from tf_recall.features.base import Feature, InputColumn, distinct
from tf_recall.features.embedding import RowEmbedding
from tf_recall.features.seen import SeenFeature
from tf_recall.features.unicode import normal

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

    tunable = {"dim": [8, 256, "log"], "unknown_rate": [0.0, 0.1]}

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
        side = catalog.side(entity)
        counts = side.vocabulary.counts
        self.build_from_config({"num_rows": len(counts)})
        self.table.come_from(side.origin)
        return np.where(counts >= self.min_count, np.arange(len(counts)), 0).astype(np.int32)

    def kept(self, codes, known, origin, described):
        """As `Feature.kept`: what is trained stays so, and a row that was not is new."""
        begins = (known == 0) & (codes > 0)
        self.table.come_from(np.where(begins, 0, origin))
        return np.where(known > 0, np.arange(len(codes), dtype=codes.dtype), codes)

    def grown(self, codes: np.ndarray, catalog: Catalog, entity: str) -> np.ndarray:
        """As `Feature.grown`; an id that training has not seen is unknown."""
        new = catalog.side(entity).vocabulary.size - len(codes)
        return np.concatenate([codes, np.zeros(new, codes.dtype)])

    def get_config(self) -> dict:
        config = {**super().get_config(), "min_count": self.min_count}
        del config["column"]
        return config


def one_line(raw: tf.Tensor) -> tf.Tensor:
    """Text as a category has it: in Unicode's normal form C, on one line.

    Tabs and line breaks, which a vocabulary file cannot hold, become spaces.
    """
    return tf.strings.regex_replace(normal(raw), r"[\t\r\n]", " ")


def as_words(words: tf.Tensor) -> np.ndarray:
    """Converts words in normal form to an object array of str."""
    codes, known = distinct(words.numpy())
    return np.array([word.decode() for word in known], dtype=object)[codes]


class VocabularyFeature(Feature):
    """The base of features whose codes are rows of a vocabulary; row 0 is for unseen values."""

    tunable: dict = {"dim": [4, 64, "log"]}

    def __init__(
        self, column: InputColumn, dim: WholeFrom1 = 8, max_size: WholeFrom1 = 100_000, **kwargs
    ):
        super().__init__(column, **kwargs)
        self.width = dim
        self.max_size = max_size
        self._known = None  # the vocabulary of an earlier model, which this one's extends

    @property
    def dim(self) -> int:
        return self.width

    def fit_words(self, words: np.ndarray) -> None:
        """Makes the vocabulary of the `max_size` most frequent words.

        Args:
            words: a flat array of str; "" is ignored.
        """
        known = self._known
        fit = Vocabulary.fit if known is None else known.grown
        words = fit(words[words != ""])  # by falling count
        self.vocabulary = Vocabulary(
            words.ids[: self.max_size], words.counts[1 : self.max_size + 1]
        )
        self.build_from_config({"num_rows": self.vocabulary.size})
        if known is not None:
            self._come_from(known.size)

    def go_on(self, earlier, raw):
        """As `Feature.go_on`; values that are new get rows at the end, while there is room."""
        self._known = earlier.vocabulary
        self.adapt(self.nothing()[:0] if raw is None else raw)

    def _come_from(self, size):
        """Notes that the first rows are those of an earlier table of a size."""
        rows = np.arange(self.vocabulary.size)
        self.table.come_from(np.where(rows < size, rows, 0))

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

    A value is known by its text, as `text_of` has it, in Unicode's normal form C: 40 and 40.0 are
    one value, and "é" is one however it is encoded. "Rum" and "rum" are two.

    Args:
        column: a column of text, numbers, booleans or dates.
        dim: length of the vector.
        max_size: how many values have a vector, the most frequent first; all others share row 0.

    Call: rows `[B]` int32 -> `[B, dim]`.

    Example:
        >>> FeatureTower("user", [Id(), Categorical("country")])
    """

    def adapt(self, raw: np.ndarray) -> None:
        codes, known = distinct(raw)
        self.fit_words(as_words(one_line(tf.constant(known, tf.string)))[codes])

    def encode(self, raw: tf.Tensor) -> tf.Tensor:
        return self.vocabulary.lookup(one_line(raw))

    def call(self, rows: tf.Tensor) -> tf.Tensor:
        return self.table(rows)
