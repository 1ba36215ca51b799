"""Precomputed lists in memory, from a Parquet file.

The file is one of `write_lists` or `write_similar`.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tf_recall.data.catalog import Catalog
from tf_recall.data.errors import one_line
from tf_recall.data.vocabulary import Vocabulary
from tf_recall.lists.base import Form, PrecomputedLists, empty_lists
from tf_recall.lists.write import FORM, TYPES


class MemoryLists(PrecomputedLists):
    """Lists by id, all in memory: 8 bytes for each item of each list.

    Attributes:
        form: what they are of.
        ids: the ids that have a list.
    """

    def __init__(
        self,
        form: Form,
        ids: np.ndarray,
        items: np.ndarray,
        codes: np.ndarray,
        score: np.ndarray,
        lengths: np.ndarray,
        catalog: Catalog | None = None,
    ):
        super().__init__(catalog)
        self.form, self._items, self._codes, self._score = form, items, codes, score
        self._ids = Vocabulary(ids, np.zeros(len(ids)))
        self._lengths = np.concatenate([[0], lengths])  # row 0, the unknown, has no items
        self._starts = np.cumsum(self._lengths) - self._lengths

    @classmethod
    def load(cls, path: str | Path, catalog: Catalog | None = None) -> "MemoryLists":
        """Reads a file.

        Args:
            path: what `write_lists` or `write_similar` wrote.
            catalog: gives the items' rows, for `recommend_rows`.

        Raises:
            FileNotFoundError: no such file.
            ValueError: it is damaged, holds something else, lists of the other kind, or of another
                catalog's items.
        """
        form, batches = read(path)
        cls._check(form, path, catalog)
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
        ids, score, lengths = (np.concatenate(each) for each in (ids, score, lengths))
        return cls(form, ids, items, codes, score, lengths, catalog)

    @property
    def ids(self) -> np.ndarray:
        return self._ids.ids

    def knows(self, key: str, ids: np.ndarray) -> np.ndarray | None:
        """As `Recommender.knows`; whom lists are for is known by having one."""
        return self._ids.encode(ids) > 0 if key == self.key else super().knows(key, ids)

    def _best(self, ids, k):
        rows = self._ids.encode(ids)
        there = np.arange(k) < self._lengths[rows][:, None]
        at = (self._starts[rows][:, None] + np.arange(k))[there]
        items, score = empty_lists(self.form, len(rows), k)
        items[there], score[there] = self._items[self._codes[at]], self._score[at]
        return items, score


class Lists(MemoryLists):
    """Each user's recommendations, as `write_lists` wrote them.

    Example:
        >>> lists = Lists.load("lists.parquet")
        >>> item_id, score = lists.recommend(["u17", "a new user"], k=10)
    """

    key = "user_id"


class ItemLists(MemoryLists):
    """The items most similar to each item, as `write_similar` wrote them.

    Example:
        >>> similar, score = ItemLists.load("similar.parquet").similar(["tea"], k=10)
    """

    key = "item_id"


def read(path: str | Path) -> tuple[Form, Iterator[pa.RecordBatch]]:
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
        raise ValueError(f"{path} is damaged, or no Parquet file: {one_line(error)}") from None
    return _form(file.schema_arrow, path), _batches(file, path)


def _form(schema, path):
    """What the lists are of, which the columns must fit."""
    try:
        form = Form(**json.loads(schema.metadata[FORM]))
        types = TYPES[form.key_type], pa.list_(TYPES[form.column_type]), pa.list_(pa.float32())
        found = [schema.field(name).type for name in (form.key, form.column, "score")]
        if found != list(types) or type(form.k) is not int or form.k < 1:
            raise ValueError
    except (KeyError, TypeError, ValueError):  # metadata is None, lacks the form, or holds another
        raise ValueError(f"{path} holds no lists that write_lists or write_similar wrote") from None
    return form


def _batches(file, path):
    empty = True  # none is written without a list
    try:
        with file:
            for each in file.iter_batches(batch_size=1024):
                empty = False
                yield each
        if empty:
            raise ValueError("it holds no list")
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {one_line(error)}") from None
