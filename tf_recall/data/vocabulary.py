"""Vocabularies: the row number of each raw id."""

import copy
import functools
import itertools
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tf_recall.data.atomic import atomic_file
from tf_recall.data.identity import digest_of_blocks
from tf_recall.data.ids import MISSING, dtype_of, is_missing, kind_of, raw_ids
from tf_recall.data.positions import BLOCK, Integers, Strings
from tf_recall.data.resources import release_unused

if TYPE_CHECKING:
    import tensorflow as tf


_NUMBERS = itertools.count()  # of the tables of this process


class Vocabulary:
    """Maps raw ids to row numbers: the most frequent id is row 1, and row 0 is the unknown id.

        row(id) = position of the id among the known ids + 1, or 0 if it is not among them

    Rows fall by count, so the first n rows are the n most popular ids, and the rows that are read
    most lie next to each other. Ties are ordered by id, so the same data give the same rows in any
    order of their lines.

    Attributes:
        ids: `[size - 1]`, the known ids; row r is `ids[r - 1]`. Strings (object) or int64. Strings
            are kept end to end, and made objects each time they are asked for.
        counts: int64 `[size]`, how often each row occurred; `counts[0]` is 0.
        size: number of rows, the unknown one included.
        dtype: "string" or "int64".

    Example:
        >>> vocabulary = Vocabulary.fit(["tea", "rum", "tea"])
        >>> vocabulary.encode(["rum", "gin", "tea"])
        array([2, 0, 1], dtype=int32)
        >>> vocabulary.decode([1, 0])
        array(['tea', ''], dtype=object)
    """

    def __init__(self, ids: Any, counts: Any):
        ids = raw_ids(ids)
        self.dtype = kind_of(ids)
        self._set_counts(counts, ids.shape)
        if is_missing(ids).any():
            raise ValueError(
                f"{MISSING[self.dtype]!r} stands for a missing id and cannot be one: drop or "
                "rename it."
            )
        if self.dtype == "string":
            _check_text(ids)
        self._positions = Integers(ids) if self.dtype == "int64" else Strings(ids)

    @property
    def ids(self) -> np.ndarray:
        blocks = [*self._positions.blocks()]
        return np.concatenate(blocks) if len(blocks) != 1 else blocks[0]

    def _set_counts(self, counts, shape):
        self.counts = np.concatenate([[0], np.asarray(counts)]).astype(np.int64)
        self.size = len(self.counts)
        if shape != (self.size - 1,):
            raise ValueError(
                f"A vocabulary needs one count per id, got {shape} and {self.size - 1} counts."
            )
        if self.counts.min() < 0:
            raise ValueError(f"Counts must be at least 0, got {self.counts.min()}.")

    def with_counts(self, counts: Any) -> "Vocabulary":
        """The same ids with other counts, `[size - 1]`; what was computed of the ids stays."""
        other = copy.copy(self)
        other.__dict__.pop("_table", None)  # its file holds the counts
        other._set_counts(counts, (self.size - 1,))
        return other

    @classmethod
    def fit(cls, ids: Any, extra: Any = ()) -> "Vocabulary":
        """Makes the vocabulary of ids: rows by falling count, ties by id.

        Args:
            ids: raw ids with repeats, strings or integers.
            extra: further ids, such as a catalog's; those that are not in `ids` get count 0 and the
                last rows.

        Raises:
            TypeError: ids that are neither strings nor integers, or `extra` of another type than
                `ids`.
            ValueError: a missing id, or one that a line of text cannot hold (tab or line break).
        """
        return cls.fit_rows(ids, extra)[0]

    @classmethod
    def fit_rows(cls, ids: Any, extra: Any = ()) -> tuple["Vocabulary", np.ndarray]:
        """As `fit`, and the rows of `ids`, int32 `[n]`: each id is looked up once for both."""
        ids = raw_ids(ids).ravel()
        extra = raw_ids(extra, "extra").ravel()
        if len(ids) and len(extra) and kind_of(ids) != kind_of(extra):
            raise TypeError(
                f"extra must be {kind_of(ids)} ids as ids are, got {kind_of(extra)}: "
                f"{extra[:3].tolist()}."
            )
        parts = [part for part in (ids, extra) if len(part)] or [ids]
        codes, known = pd.factorize(np.concatenate(parts))
        counts = np.bincount(codes[: len(ids)], minlength=len(known))
        vocabulary, rows = cls.of_counts(known, counts)
        return vocabulary, rows[codes[: len(ids)]]

    @classmethod
    def of_counts(cls, ids: np.ndarray, counts: np.ndarray) -> tuple["Vocabulary", np.ndarray]:
        """The vocabulary of distinct ids by their counts, and each one's row, int32 `[n]`."""
        by_id = _by_id(ids)
        order = by_id[np.argsort(-counts[by_id], kind="stable")]
        rows = np.empty(len(ids), np.int32)
        rows[order] = np.arange(1, len(ids) + 1)
        return cls(ids[order], counts[order]), rows

    def grown(self, ids: Any, extra: Any = ()) -> "Vocabulary":
        """The vocabulary with new rows at its end for new ids, and the counts of `ids`.

        Known ids keep their rows, so that what a model learned by row stays valid. Arguments as
        `fit`.
        """
        return self.extended(Vocabulary.fit(ids, extra))

    def extended(self, now: "Vocabulary") -> "Vocabulary":
        """As `grown`, by the ids and counts of another vocabulary, in the order of its rows.

        Args:
            now: the other one.

        Raises:
            TypeError: one of them holds strings, and the other integers.
        """
        if self.size == 1:
            return now
        rows = self.rows_of(now)[1:]
        counts = np.zeros(self.size, np.int64)
        counts[rows[rows > 0]] = now.counts[1:][rows > 0]
        new = rows == 0
        counts = np.concatenate([counts[1:], now.counts[1:][new]])
        return Vocabulary._of(self._positions.with_some(now._positions, new), counts)

    def select(self, kept: np.ndarray) -> "Vocabulary":
        """The vocabulary of some of its rows; later ones move up.

        Args:
            kept: bool `[size]`; that of row 0 does not matter.
        """
        return Vocabulary._of(self._positions.select(kept[1:]), self.counts[1:][kept[1:]])

    @classmethod
    def _of(cls, positions, counts):
        """A vocabulary of ids that others have checked."""
        vocabulary = cls.__new__(cls)
        vocabulary.dtype = "int64" if isinstance(positions, Integers) else "string"
        vocabulary._positions = positions
        vocabulary._set_counts(counts, (len(positions),))
        return vocabulary

    def rows_of(self, other: "Vocabulary") -> np.ndarray:
        """The rows here of another vocabulary's rows: int32 `[other.size]`; 0 for unknown ids.

        Raises:
            TypeError: one of them holds strings, and the other integers.
        """
        blocks = (self.encode(ids) for ids in other._positions.blocks())
        return np.concatenate([np.zeros(1, np.int32), *blocks])

    @functools.cached_property
    def digest(self) -> str:
        """Tells this vocabulary from others: a digest of its ids in the order of their rows."""
        return digest_of_blocks(self._positions.blocks(), self.dtype)

    def __len__(self) -> int:
        return self.size

    def __repr__(self) -> str:
        return f"Vocabulary({self.size - 1} {self.dtype} ids)"

    def encode(self, ids: Any) -> np.ndarray:
        """The rows of raw ids: int32, the shape of `ids`; 0 for an unknown or missing id.

        Raises:
            TypeError: integers for a vocabulary of strings, or the reverse.
        """
        if isinstance(getattr(ids, "dtype", None), pd.CategoricalDtype):
            of_code = self.rows_of_categories(ids.dtype.categories)
            return of_code[pd.Series(ids).array.codes]  # code -1 is a missing id
        ids = raw_ids(ids)
        rows = np.zeros(ids.shape, np.int32)
        there = ~is_missing(ids)  # few, where histories are padded
        if there.any():
            self._check_kind(kind_of(ids), ids.ravel()[:3].tolist())
            rows[there] = self._positions.of(ids[there]) + 1
        return rows

    def rows_of_categories(self, categories: pd.Index) -> np.ndarray:
        """The row of each code of a categorical column, int32, and at the end that of code -1."""
        blocks = (categories[at : at + BLOCK] for at in range(0, len(categories), BLOCK))
        return np.concatenate([*(self.encode(block.to_numpy()) for block in blocks), [0]]).astype(
            np.int32
        )

    def decode(self, rows: Any) -> np.ndarray:
        """The raw ids of rows, of the same shape; row 0 gives `""` or -1.

        Raises:
            ValueError: a row that the vocabulary does not have.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if rows.size and (rows.min() < 0 or rows.max() >= self.size):
            raise ValueError(
                f"Rows go from 0 to {self.size - 1}, got {rows.min()} to {rows.max()}."
            )
        ids = np.full(rows.shape, MISSING[self.dtype], dtype_of(self.dtype))
        known = rows > 0
        ids[known] = self._positions.at(rows[known] - 1)
        return ids

    def _check_kind(self, kind: str, shown) -> None:
        if kind != self.dtype:
            cure = "str(id)" if self.dtype == "string" else "int(id)"
            raise TypeError(
                f"This vocabulary holds {self.dtype} ids, got {kind}: {shown}. Convert each with "
                f"{cure}."
            )

    def save(self, path: str | Path) -> None:
        """Writes a text file with a line `id<TAB>count` for each row.

        Line 0, of the unknown row, holds the dtype and the number of ids.
        """
        with atomic_file(path) as aside, open(aside, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(self._lines())

    def _lines(self):
        yield f"{_unknown(self.dtype)}\t0\t{self.size - 1}\n"
        start = 1
        for ids in self._positions.blocks():
            counts = self.counts[start : start + len(ids)]
            start += len(ids)
            rows = zip(ids.tolist(), counts.tolist(), strict=True)
            yield "".join(f"{name}\t{count}\n" for name, count in rows)

    @classmethod
    def load(cls, path: str | Path) -> "Vocabulary":
        """Reads a file of `save`.

        Raises:
            FileNotFoundError: no such file.
            ValueError: a file that is truncated or not a vocabulary.
        """
        try:
            header, *lines = Path(path).read_bytes().decode("utf-8").split("\n")
            headers = {f"{_unknown(dtype)}\t0\t{len(lines) - 1}": dtype for dtype in MISSING}
            dtype = headers.get(header)
            if dtype is None or lines.pop() != "":
                raise ValueError(
                    f"truncated, or another file: {len(lines)} lines after {header[:80]!r}"
                )
            pairs = [line.split("\t") for line in lines]
            names, counts = zip(*pairs, strict=True) if pairs else ((), ())
            ids = _integers(names) if dtype == "int64" else np.array(names, dtype=object)
            return cls(ids, _integers(counts))
        except ValueError as error:
            raise ValueError(
                f"{path} is not a vocabulary, `id<TAB>count` a line: {error}"
            ) from error

    def table(self) -> "tf.lookup.StaticHashTable":
        """The vocabulary as a table of a TensorFlow graph: string ids to int64 rows, else 0.

        It is an asset of a SavedModel, a text file, where the table is an attribute of what is
        saved; until then the file is in memory. Integer ids are looked up as decimal text. Every
        call gives the same table.
        """
        return self._table

    @functools.cached_property
    def _table(self):
        import tensorflow as tf

        # TensorFlow's file system of this process's memory
        path = f"ram://vocabulary-{next(_NUMBERS)}/vocabulary.txt"
        with tf.io.gfile.GFile(path, "w") as file:
            for lines in self._lines():
                file.write(lines)
        with tf.init_scope():
            line = tf.lookup.TextFileIndex.LINE_NUMBER
            initializer = tf.lookup.TextFileInitializer(
                path, tf.string, 0, tf.int64, line, delimiter="\t"
            )
            table = tf.lookup.StaticHashTable(initializer, default_value=0)
        # as long as the table lives, it may be saved
        weakref.finalize(table, tf.io.gfile.remove, path).atexit = False
        with tf.init_scope():
            release_unused([table.resource_handle])
        return table

    def lookup(self, ids: "tf.Tensor") -> "tf.Tensor":
        """`encode` in a TensorFlow graph: raw ids to int32 rows of the same shape.

        Raises:
            TypeError: integers for a vocabulary of strings, or the reverse.
        """
        import tensorflow as tf

        ids = tf.convert_to_tensor(ids)
        self._check_kind("int64" if ids.dtype.is_integer else ids.dtype.name, ids)
        keys = ids if ids.dtype == tf.string else tf.strings.as_string(ids)
        return tf.cast(self.table().lookup(keys), tf.int32)


def _by_id(ids):
    """The positions of distinct ids in their order; objects compare sooner as a list."""
    if ids.dtype == np.int64:
        return np.argsort(ids)
    return np.array(sorted(range(len(ids)), key=ids.tolist().__getitem__), dtype=np.int64)


def _unknown(dtype: str) -> str:
    return f"<unknown:{dtype}>"


def _integers(texts) -> np.ndarray:
    """Reads whole numbers as `save` writes them."""
    numbers = [int(text) for text in texts]
    wrong = [text for text, number in zip(texts, numbers, strict=True) if str(number) != text]
    if wrong:
        raise ValueError(f"{wrong[0]!r} is not how a whole number is written")
    try:
        return np.array(numbers, dtype=np.int64)
    except OverflowError:
        raise ValueError("a number that 64 bits do not hold") from None


def _check_text(ids: np.ndarray) -> None:
    text = "\n".join(ids)
    if text.count("\n") >= max(len(ids), 1) or "\t" in text or "\r" in text:
        broken = next(name for name in ids if {*"\t\n\r"} & {*name})
        raise ValueError(
            f"An id cannot hold a tab or a line break: vocabularies are text files. Got {broken!r}."
        )
    if _unknown("string") in text and any(name == _unknown("string") for name in ids):
        raise ValueError(f"{_unknown('string')!r} stands for the unknown id and cannot be one.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"An id must be valid Unicode, got {error.object[error.start - 5 : error.end]!r}."
        ) from error
