"""Precomputed lists, read again: the answers of `write_lists` and `write_similar` without what made
them.
"""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from tf_recall.data.ids import MISSING
from tf_recall.data.vocabulary import Vocabulary
from tf_recall.lists.write import FORM, Form
from tf_recall.recommend.request import batch


class Stored:
    """Lists by id, all in memory: 8 bytes for each item of each list.

    Attributes:
        form: what they are of.
        ids: the ids that have a list.
    """

    key = ""

    def __init__(self, form: Form, ids, items, codes, score, lengths):
        self.form, self._items, self._codes, self._score = form, items, codes, score
        self._ids = Vocabulary(ids, np.zeros(len(ids)))
        self._lengths = np.concatenate([[0], lengths])  # row 0, the unknown, has nothing
        self._starts = np.cumsum(self._lengths) - self._lengths

    @classmethod
    def load(cls, path):
        """Reads a file.

        Raises:
            FileNotFoundError: no such file.
            ValueError: it is damaged, holds something else, or lists of the other kind.
        """
        form, batches = read(path)
        check_key(form, cls.key, path)
        ids, codes, score, lengths = [], [], [], []
        for each in batches:
            items = each[form.column]
            ids.append(each[form.key].to_numpy(zero_copy_only=False))
            codes.append(items.flatten().dictionary_encode())
            score.append(each["score"].flatten().to_numpy(zero_copy_only=False))
            lengths.append(items.value_lengths().to_numpy(zero_copy_only=False))
        codes = pa.chunked_array(codes).unify_dictionaries()
        items = codes.chunk(0).dictionary.to_numpy(zero_copy_only=False)
        codes = np.concatenate([chunk.indices.to_numpy() for chunk in codes.chunks])
        return cls(
            form, np.concatenate(ids), items, codes, np.concatenate(score), np.concatenate(lengths)
        )

    @property
    def ids(self) -> np.ndarray:
        return self._ids.ids

    def _best(self, ids, k):
        rows = self._ids.encode(asked(self.form, ids, k))
        there, (items, score) = (
            np.arange(k) < self._lengths[rows][:, None],
            nothing(self.form, len(rows), k),
        )
        at = (self._starts[rows][:, None] + np.arange(k))[there]
        items[there], score[there] = self._items[self._codes[at]], self._score[at]
        return items, score


class Lists(Stored):
    """Each user's recommendations, as `write_lists` wrote them.

    Example:
        >>> lists = Lists.load("lists.parquet")
        >>> item_id, score = lists.recommend(["u17", "somebody new"], k=10)
    """

    key = "user_id"

    def recommend(self, user_id, k=10):
        """The first k items of each user's list, as raw ids.

        Args:
            user_id: raw ids `[B]`, or one; for an unknown user there is nothing.
            k: how many, up to the number that was written.

        Returns:
            item_id `[B, k]` and score `[B, k]` float32, falling. Where a list is shorter, the row
            ends in `""` (or -1) with score -inf.

        Raises:
            ValueError: a k beyond what is stored.
            TypeError: integer ids where strings are stored, or the reverse.
        """
        return self._best(user_id, k)


class ItemLists(Stored):
    """The items most like each item, as `write_similar` wrote them.

    Example:
        >>> similar, score = ItemLists.load("similar.parquet").similar(["tea"], k=10)
    """

    key = "item_id"

    def similar(self, item_id, k=10):
        """The first k items of each item's list; arguments, results and errors as of
        `Lists.recommend`.
        """
        return self._best(item_id, k)


def read(path):
    """The form of a file of lists, and a generator of its record batches.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, or no file of lists; the generator raises it too.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged, or no Parquet file: {error}") from None
    try:
        form = Form(**json.loads(file.schema_arrow.metadata[FORM]))
    except (KeyError, TypeError, ValueError):  # metadata is None, lacks the form, or holds another
        raise ValueError(f"{path} holds no lists that write_lists or write_similar wrote") from None
    return form, _batches(file, path)


def check_key(form: Form, key: str, where) -> None:
    """Refuses lists of the other kind.

    Raises:
        ValueError: the lists are not by `key`.
    """
    if form.key != key:
        raise ValueError(f"{where} holds lists by {form.key}, of {form.column}, and not by {key}")


def asked(form: Form, ids, k) -> np.ndarray:
    """The ids of a request `[B]`.

    Raises:
        ValueError: a k beyond what is stored.
        TypeError: integer ids where strings are stored, or the reverse.
    """
    if not isinstance(k, (int, np.integer)) or not 1 <= k <= form.k:
        raise ValueError(
            f"k must be a whole number from 1 to {form.k}, that of the lists as written; got {k!r}"
        )
    return batch({form.key: tf.TensorSpec([None], form.key_type)}, form.key, {form.key: ids})[
        form.key
    ]


def nothing(form: Form, count: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Items and scores `[count, k]` of padding alone."""
    items = np.full(
        (count, k), MISSING[form.column_type], object if form.column_type == "string" else np.int64
    )
    return items, np.full((count, k), -np.inf, np.float32)


def _batches(file, path):
    try:
        with file:
            yield from file.iter_batches(batch_size=1024)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None
