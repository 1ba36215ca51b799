"""Sparse channels: recommenders that are counted rather than trained."""

import functools
import json
from pathlib import Path

import numpy as np
import tensorflow as tf
from scipy import sparse

from tf_recall.data.catalog import Catalog
from tf_recall.data.identity import check_same
from tf_recall.data.interactions import Interactions
from tf_recall.data.npy import read_array
from tf_recall.recommend.base import Recommender
from tf_recall.recommend.explanations import largest_shares
from tf_recall.recommend.filters import among, flat, left_out, pairs
from tf_recall.recommend.products import first, together, top_changed, top_in_order

BLOCK = 4096  # users answered at once
IDENTITY = "catalog.json"  # of which catalog the arrays are
OUT = np.float32(-1e30)  # the score of an item that is filtered out


class SparseChannel(Recommender):
    """Recommends in two steps: from a user to what is tied to them, from there to items.

    METHODS.md, part 5:

        score(u, i) = sum over m of left(u, m) * right(m, i)

    In the middle, m, are liked items, similar users, tags. All items tied to any of them are
    candidates, and each gets the whole sum. Those of positive score are recommended; equal scores
    come in the order of the item rows.

    A channel is made with its settings and fitted on data. A subclass has `kind`, what is in the
    middle; `_fit(train)`, which sets the arrays named in `arrays`, `right` among them;
    `left(users, likes)`; and `names(middle)`, the raw ids or names of rows in the middle.

    Attributes:
        catalog: the catalog of the training part.
        likes: `[user rows, item rows]` CSR, what recommendations start from.
        right: `[M, item rows]` CSR float32.
    """

    kind = ""
    arrays: tuple[str, ...] = ("likes", "right")
    takes_history = True
    explains = True

    def fit(self, train: Interactions, catalog: Catalog) -> "SparseChannel":
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
                np.save(directory / f"{name}.npy", array, allow_pickle=False)

    def load(self, directory: str | Path, catalog: Catalog) -> "SparseChannel":
        """Reads what `save` wrote, in place of `fit`; returns the channel itself.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: one is damaged, or of another catalog.
        """
        self._forget(catalog)
        for name in self.arrays:
            path = Path(directory) / f"{name}.npy"
            known = read_array(path, "if") if path.exists() else _read(path.with_suffix(".npz"))
            setattr(self, name, known)
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

    def left(self, users: np.ndarray, likes: sparse.csr_matrix) -> sparse.csr_matrix:
        """How much each user is tied to what is in the middle.

        Args:
            users: `[B]` rows; 0 for unknown users, and for those with a history in the request.
            likes: `[B, item rows]` what they like, the history where there is one.

        Returns:
            `[B, M]` CSR float32.
        """
        raise NotImplementedError

    def names(self, middle: np.ndarray) -> list:
        """The raw ids or names of rows in the middle."""
        return self.catalog.items.decode(middle).tolist()

    def inputs_of(self, key: str) -> dict[str, tf.TensorSpec]:
        if self.catalog is None:
            raise ValueError(
                f"this {type(self).__name__} knows no data: call fit(train, catalog), or "
                "load(directory, catalog)"
            )
        return super().inputs_of(key)

    def _fit(self, train):
        raise NotImplementedError

    def _recommend(self, request, k):
        answers = [self._answer(block, k) for block in request.blocks(BLOCK)]
        rows, score = zip(*answers, strict=True)
        return np.concatenate(rows), np.concatenate(score)

    def _explain(self, request, item, num):
        terms = self._left(request).multiply(self.right[:, [item]].T).tocsr()
        return largest_shares(
            self.kind, terms.data, lambda best: self.names(terms.indices[best]), num
        )

    @property
    def _item_rows(self):
        """How many item rows the arrays know of."""
        return self.right.shape[1]

    def _left(self, request):
        """`left`, with a history in place of the user where there is one."""
        users = np.where((request.history > 0).any(axis=1), 0, request.rows)
        history = _indicator(*flat(request.history), (len(users), self.likes.shape[1]))
        history.sum_duplicates()
        history.data[:] = 1  # an item given twice is one
        return self.left(users, (self.likes[users] + history).tocsr())

    def _forget(self, catalog):
        """Takes another catalog, and drops what was cached of the arrays before."""
        self.catalog = catalog
        for name in list(vars(self)):
            if isinstance(getattr(type(self), name, None), functools.cached_property):
                delattr(self, name)

    @functools.cached_property
    def _with_filter(self):
        """`right`, and below it a line for each item that takes the item out."""
        out = OUT * sparse.identity(self.right.shape[1], np.float32)
        return sparse.vstack([self.right, out], "csr")

    def _answer(self, request, k):
        shape = (len(request), self.right.shape[1])
        left = sparse.hstack([self._left(request), _indicator(*left_out(request), shape)], "csr")
        best = top_in_order(left, self._with_filter, k)
        restricted = np.flatnonzero(request.restricted)
        if len(restricted):
            allow = request.allow[restricted]
            among = self._among(left[restricted], allow)
            best = together(best, restricted, first(among, k))
        return padded(best, k)

    def _among(self, left, allow):
        """The items of positive score among those allowed, `[B, item rows]` CSR, best first."""
        allowed = np.unique(pairs(*flat(allow)))

        def only_allowed(values, row, column):
            return np.where(among(pairs(row, column), allowed), values, 0)

        return top_changed(left, self._with_filter, max(1, allow.shape[1]), only_allowed)


def _read(path):
    """A sparse matrix, in which every index leads to a row: compiled code follows them."""
    try:
        matrix = sparse.load_npz(path)
        matrix.check_format(full_check=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # what a damaged archive gives may be anything
        raise ValueError(f"{path} is damaged: {' '.join(str(error).split())}") from error
    return matrix


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


def _indicator(row, column, shape):
    """1 at the given rows and columns."""
    return sparse.csr_matrix((np.ones(len(row), np.float32), (row, column)), shape)
