"""Channels: recommenders that are counted rather than trained."""

import functools
import zipfile
from pathlib import Path

import numpy as np
import tensorflow as tf
from scipy import sparse

from tf_recall.data.catalog import Catalog
from tf_recall.data.histories import Seen
from tf_recall.data.ids import MISSING
from tf_recall.data.interactions import Interactions
from tf_recall.recommend.products import first, together, top_changed, top_in_order
from tf_recall.recommend.request import batch

BLOCK = 4096  # users answered at once
OUT = np.float32(-1e30)  # what an item that must not come up is worth


class Channel:
    """Recommends in two steps: from a user to what he is tied to, from there to items (METHODS.md,
    part 5).

        score(u, i) = sum over m of left(u, m) * right(m, i)

    What stands in the middle, m, is liked items, similar users, tags. All items tied to any of them
    are candidates, and each gets the whole sum. Those of positive score are recommended; ties are
    settled the same way each time.

    A channel is made with its settings and fitted on data. A subclass has `kind`, what stands in
    the middle; `_fit(train)`, which sets the arrays named in `arrays`, `right` among them;
    `left(users, likes)`; and `names(places)`, what the middle is called outside.

    Attributes:
        catalog: the catalog of the training part.
        likes: `[user rows, item rows]` CSR, what a user goes by.
        right: `[M, item rows]` CSR float32.
    """

    kind = ""
    arrays = ("likes", "right")
    query_columns: dict = {}  # a request brings no features
    takes_history = True
    history_length = None

    def fit(self, train: Interactions, catalog: Catalog):
        """Counts the training part; returns the channel itself."""
        self._forget(catalog)
        self._fit(train)
        return self

    @property
    def id_types(self):
        return {"user_id": self.catalog.users.dtype, "item_id": self.catalog.items.dtype}

    @property
    def inputs(self) -> dict[str, tf.TensorSpec]:
        """What a request may hold, by name."""
        items = tf.TensorSpec([None, None], tf.as_dtype(self.catalog.items.dtype))
        return {
            "user_id": tf.TensorSpec([None], tf.as_dtype(self.catalog.users.dtype)),
            "exclude": items,
            "allow": items,
            "history": items,
            "exclude_seen": tf.TensorSpec([None], tf.bool),
        }

    def recommend(self, user_id, k=10, exclude=None, allow=None, exclude_seen=False, history=None):
        """The k best items for each user, as raw ids.

        Args:
            user_id: raw ids `[B]`, or one. Of an unknown user nothing is known, unless there is a
                history.
            k: how many, up to the size of the catalog.
            exclude: items to leave out: a list per user, or one list for all. Unknown ids are
                ignored.
            allow: the only items to choose among, in the same form. An empty list restricts
                nothing; a list of unknown ids alone leaves nothing.
            exclude_seen: leave out what the user had in training, and the history given; one bool,
                or one per user.
            history: the items that a user took, in the same form: they stand for what is stored of
                the user, each liked alike. Unknown ids are ignored.

        Returns:
            item_id `[B, k]` and score `[B, k]` float32, falling. Where fewer than k items have a
            positive score, the row ends in `""` (or -1) with score -inf.

        Raises:
            ValueError: k beyond the catalog, lengths that differ.
            TypeError: integer ids where strings were trained on, or the reverse.
        """
        rows, score = self.recommend_rows(user_id, k, exclude_seen, exclude, allow, history)
        return self.catalog.items.decode(rows), score

    def recommend_rows(
        self, user_id, k=10, exclude_seen=False, exclude=None, allow=None, history=None
    ):
        """As `recommend`, in item rows: int32 `[B, k]`, 0 where there is nothing, and scores
        `[B, k]`.
        """
        if not 1 <= k <= self.catalog.num_items:
            raise ValueError(f"k is {k}; the catalog allows 1 to {self.catalog.num_items}")
        given = {"user_id": user_id, "exclude": exclude, "allow": allow, "history": history}
        given = batch(self.inputs, "user_id", {**given, "exclude_seen": exclude_seen})
        users = self.catalog.users.encode(given["user_id"])
        lists = {
            name: self.catalog.items.encode(given[name].ravel()).reshape(given[name].shape)
            for name in ("exclude", "allow", "history")
        }
        lists["asked"] = given["allow"] != MISSING[self.catalog.items.dtype]
        blocks = [slice(start, start + BLOCK) for start in range(0, max(1, len(users)), BLOCK)]
        answers = [
            self._answer(
                users[at],
                given["exclude_seen"][at],
                {name: rows[at] for name, rows in lists.items()},
                k,
            )
            for at in blocks
        ]
        rows, score = (np.concatenate(each) for each in zip(*answers, strict=True))
        return rows, score

    def explain(self, user_id, item_id, num=3, history=None) -> list[dict]:
        """What brought an item to a user: the largest terms of its score.

        Args:
            user_id, item_id: a raw id each.
            num: how many terms, at most.
            history: as for `recommend`, a list.

        Returns:
            `[{"kind": "item", "id": ..., "share": ...}]`, falling; `share` is the term's part of
            the whole score. Empty where nothing brings it.

        Raises:
            ValueError: an unknown item.
        """
        given = batch(self.inputs, "user_id", {"user_id": [user_id], "history": history})
        row = self.catalog.known_item(item_id)
        rows = self.catalog.items.encode(given["history"].ravel()).reshape(1, -1)
        left = self._left(self.catalog.users.encode(given["user_id"]), rows)
        term = left.multiply(self.right[:, [row]].T).tocsr()
        best = np.argsort(-term.data, kind="stable")[:num]
        names = self.names(term.indices[best])
        whole = term.data.sum()
        return [
            {"kind": self.kind, "id": name, "share": float(value / whole)}
            for name, value in zip(names, term.data[best], strict=True)
        ]

    def save(self, directory) -> None:
        """Writes the counted arrays into a folder; settings and catalog are kept elsewhere."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        for name in self.arrays:
            array = getattr(self, name)
            if sparse.issparse(array):
                sparse.save_npz(directory / f"{name}.npz", array, compressed=False)
            else:
                np.save(directory / f"{name}.npy", array, allow_pickle=False)

    def load(self, directory, catalog: Catalog):
        """Reads what `save` wrote, in place of `fit`; returns the channel itself.

        Raises:
            FileNotFoundError: a file is missing.
            ValueError: one is damaged, or of another catalog.
        """
        self._forget(catalog)
        for name in self.arrays:
            path = Path(directory) / f"{name}.npy"
            read = np.load if path.exists() else sparse.load_npz
            path = path if path.exists() else path.with_suffix(".npz")
            try:
                setattr(self, name, read(path))
            except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
                if isinstance(error, FileNotFoundError):
                    raise
                raise ValueError(f"{path} is damaged: {error}") from None
        if self._item_rows != catalog.items.size:
            raise ValueError(
                f"{directory} knows {self._item_rows - 1} items, the catalog {catalog.num_items}"
            )
        return self

    def left(self, users: np.ndarray, likes: sparse.csr_matrix) -> sparse.csr_matrix:
        """`[B, M]` CSR float32: how much each user is tied to what stands in the middle.

        Args:
            users: `[B]` rows; 0 for unknown ones, and those that brought a history.
            likes: `[B, item rows]` what they like, the history where there is one.
        """
        raise NotImplementedError

    def names(self, places: np.ndarray) -> list:
        """What stands at these places of the middle, as it is called outside."""
        return self.catalog.items.decode(places).tolist()

    @property
    def _item_rows(self):
        """How many item rows the arrays know of."""
        return self.right.shape[1]

    def _left(self, users, history):
        """`left`, with a history in place of the user where there is one."""
        users = np.where((history > 0).any(axis=1), 0, users)
        taken = _indicator(*_flat(history), (len(users), self.likes.shape[1]))
        taken.sum_duplicates()
        taken.data[:] = 1  # an item given twice is one
        return self.left(users, (self.likes[users] + taken).tocsr())

    def _forget(self, catalog):
        """Takes another catalog; what was worked out of what was counted before is worked out
        again.
        """
        self.catalog = catalog
        for name in list(vars(self)):
            if isinstance(getattr(type(self), name, None), functools.cached_property):
                delattr(self, name)

    @functools.cached_property
    def _barring(self):
        """`right` with a line for each item that bars it."""
        return sparse.vstack(
            [self.right, OUT * sparse.identity(self.right.shape[1], np.float32)], "csr"
        )

    def _answer(self, users, exclude_seen, lists, k):
        left = self._left(users, lists["history"])
        barred = _indicator(
            *left_out(self.catalog.seen, users, exclude_seen, lists),
            (len(users), self.right.shape[1]),
        )
        left = sparse.hstack([left, barred], "csr")
        best, asked = (
            top_in_order(left, self._barring, k),
            np.flatnonzero(lists["asked"].any(axis=1)),
        )
        if len(asked):
            allowed = _indicator(*_flat(lists["allow"][asked]), (len(asked), self.right.shape[1]))

            def among(values, row, column):
                return np.where(np.asarray(allowed[row, column]).ravel() > 0, values, 0)

            every = max(1, lists["allow"].shape[1])
            best = together(
                best, asked, first(top_changed(left[asked], self._barring, every, among), k)
            )
        return padded(best, k)


def left_out(seen: Seen, users, exclude_seen, lists) -> tuple[np.ndarray, np.ndarray]:
    """The items that a request leaves out, flat and distinct: for each the position of its user,
    rising, and its row.

    Args:
        seen: what users had in training.
        users, exclude_seen: `[B]` rows and bools.
        lists: "exclude" and "history", item rows `[B, L]`, 0 where there is none.
    """
    query, rows = seen_pairs(seen, np.where(exclude_seen, users, 0))
    pairs = [
        (query, rows),
        _flat(lists["exclude"]),
        _flat(np.where(exclude_seen[:, None], lists["history"], 0)),
    ]
    query, rows = (np.concatenate(each).astype(np.int64) for each in zip(*pairs, strict=True))
    pair = np.sort(query << 32 | rows, kind="stable")  # sorted and distinct, sooner than np.unique
    pair = pair[np.diff(pair, prepend=-1) > 0]
    return pair >> 32, pair & 0xFFFFFFFF


def seen_pairs(seen: Seen, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the given users have seen, flat: for each pair the position in `users` (int64, rising)
    and the item row.
    """
    start = seen.offsets[users]
    count = seen.offsets[users + 1] - start
    query = np.repeat(np.arange(len(users)), count)
    before = np.cumsum(count) - count
    return query, seen.rows[np.arange(len(query)) + (start - before)[query]]


def padded(best: sparse.csr_matrix, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The entries of each row as rows `[B, k]` int32 and scores `[B, k]` float32; 0 and -inf where
    there are fewer.
    """
    count = np.diff(best.indptr)
    there = np.arange(k) < count[:, None]
    rows, score = np.zeros(there.shape, np.int32), np.full(there.shape, -np.inf, np.float32)
    rows[there], score[there] = best.indices, best.data
    return rows, score


def _flat(lists):
    row, _ = np.nonzero(lists)
    return row, lists[lists > 0]


def _indicator(row, column, shape):
    """1 at the given places."""
    return sparse.csr_matrix((np.ones(len(row), np.float32), (row, column)), shape)
