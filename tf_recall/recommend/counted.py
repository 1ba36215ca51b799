"""Counted channels: what is fitted by counting, and kept as arrays in a folder."""

import functools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from scipy import sparse

from tf_recall.data.catalog import Catalog
from tf_recall.data.errors import one_line
from tf_recall.data.identity import check_same
from tf_recall.data.interactions import Interactions
from tf_recall.data.npy import read_array, write_array
from tf_recall.recommend.base import Recommender
from tf_recall.recommend.filters import flat

IDENTITY = "catalog.json"  # of which catalog the arrays are


class CountedChannel(Recommender):
    """A recommender that is counted rather than trained.

    It is made with its settings, fitted on data, and written to a folder and read from it. A
    subclass has `_fit(train)`, which sets the arrays named in `arrays`.

    Attributes:
        catalog: the catalog of the training part.
        likes: `[user rows, item rows]` CSR, what recommendations start from.
    """

    arrays: tuple[str, ...] = ("likes",)
    takes_history = True
    explains = True

    def fit(self, train: Interactions, catalog: Catalog) -> "CountedChannel":
        """Counts the training part; returns the channel itself."""
        self._forget(catalog)
        self._fit(train)
        return self

    def save(self, directory: str | Path) -> None:
        """Writes the counted arrays into a folder, without settings and catalog."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / IDENTITY).write_text(json.dumps(self.catalog.identity))
        for name in self.arrays:
            array = getattr(self, name)
            if sparse.issparse(array):
                sparse.save_npz(directory / f"{name}.npz", array, compressed=False)
            else:
                write_array(directory / f"{name}.npy", array)

    def load(self, directory: str | Path, catalog: Catalog, mmap: bool = False) -> "CountedChannel":
        """Reads what `save` wrote, in place of `fit`; returns the channel itself.

        Args:
            directory: where `save` wrote.
            catalog: that of the training part.
            mmap: map the dense arrays into memory, read only, instead of reading them; processes
                on one machine then share them.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: one is damaged, or of another catalog.
        """
        self._forget(catalog)
        for name in self.arrays:
            setattr(self, name, _read(Path(directory), name, mmap))
        note = Path(directory) / IDENTITY
        try:
            known = json.loads(note.read_text())
        except ValueError as error:
            raise ValueError(f"{note} is damaged: {error}") from None
        check_same(f"the {type(self).__name__} in {directory}", known, catalog.identity)
        if self._item_rows != catalog.items.size:
            raise ValueError(
                f"{directory} knows {self._item_rows - 1} items, the catalog {catalog.num_items}"
            )
        return self

    def inputs_of(self, key: str) -> dict[str, tf.TensorSpec]:
        if self.catalog is None:
            raise ValueError(
                f"this {type(self).__name__} knows no data: call fit(train, catalog), or "
                "load(directory, catalog)"
            )
        return super().inputs_of(key)

    def _fit(self, train):
        raise NotImplementedError

    @property
    def _item_rows(self):
        """How many item rows the arrays know of."""
        return self.likes.shape[1]

    def _liked(self, request):
        """Rows `[B]` of the users, 0 where the request brings a history, and what they like.

        What they like is the history where there is one: `[B, item rows]` CSR.
        """
        users = np.where((request.history > 0).any(axis=1), 0, request.rows)
        history = indicator(*flat(request.history), (len(users), self.likes.shape[1]))
        history.sum_duplicates()
        history.data[:] = 1  # an item given twice is one
        return users, (self.likes[users] + history).tocsr()

    def _in_blocks(self, request, k, size, answer: Callable):
        """The item rows and scores that `answer` gives for blocks of so many rows."""
        rows, score = zip(*(answer(block, k) for block in request.blocks(size)), strict=True)
        return np.concatenate(rows), np.concatenate(score)

    def _forget(self, catalog):
        """Takes another catalog, and drops what was cached of the arrays before."""
        self.catalog = catalog
        for name in list(vars(self)):
            if isinstance(getattr(type(self), name, None), functools.cached_property):
                delattr(self, name)


def padded(best: sparse.csr_matrix, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The entries of each row as item rows and scores, padded to k.

    Returns:
        int32 `[B, k]` and float32 `[B, k]`; 0 and -inf where there are fewer.
    """
    count = np.diff(best.indptr)
    there = np.arange(k) < count[:, None]
    rows, score = np.zeros(there.shape, np.int32), np.full(there.shape, -np.inf, np.float32)
    rows[there], score[there] = best.indices, best.data
    return rows, score


def indicator(row: np.ndarray, column: np.ndarray, shape: tuple[int, int]) -> sparse.csr_matrix:
    """1 at the given rows and columns."""
    return sparse.csr_matrix((np.ones(len(row), np.float32), (row, column)), shape)


def _read(directory, name, mmap):
    """An array that `save` wrote; every index of a sparse one leads to a row."""
    path = directory / f"{name}.npy"
    if path.exists():
        return read_array(path, "if", mapped=mmap, ndim=None)
    path = path.with_suffix(".npz")
    try:
        matrix = sparse.load_npz(path)
        matrix.check_format(full_check=True)  # compiled code follows them
    except FileNotFoundError:
        raise
    except Exception as error:  # what a damaged archive gives may be anything
        raise ValueError(f"{path} is damaged: {one_line(error)}") from error
    return matrix
