"""Interactions larger than memory: columns of numbers on disk, with the face of those in memory."""

import contextlib
import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tf_recall.data.columns import open_columns, write_columns
from tf_recall.data.histories import Histories, Seen, offsets_of, user_blocks
from tf_recall.data.holds import Hold
from tf_recall.data.ids import raw_ids
from tf_recall.data.interactions import Interactions
from tf_recall.data.vocabulary import Vocabulary

BLOCK = 2**22  # rows that are in memory at once
COLUMNS = "columns"


@dataclass(frozen=True, eq=False)
class StoredInteractions(Interactions):
    """Interactions whose columns are memory maps; ids and texts are categories.

    Parts of it, its rows in a vocabulary and its histories are written beside it, each under a
    digest of what it is made of, so that the next run finds them. Whatever takes `Interactions`
    takes these: what goes through `rows`, `times`, `select` and `histories` needs no memory that
    grows with the log; the `frame` is there for all else.

    Args:
        folder: where its columns are; `StoredInteractions.open` reads them.
        hold: keeps the folder from being removed.
    """

    folder: Path = field(kw_only=True)
    hold: Hold | None = field(default=None, kw_only=True, repr=False)

    @classmethod
    def open(
        cls,
        folder: Path,
        categories: dict[str, pd.CategoricalDtype],
        items: pd.DataFrame | None = None,
        users: pd.DataFrame | None = None,
        hold: Hold | None = None,
    ) -> "StoredInteractions":
        """Opens a folder of columns.

        Args:
            folder: has the column store `columns`.
            categories: of the columns that hold codes, `user_id` and `item_id` among them.
            items, users: side tables, or None.
            hold: of the folder, or of one around it.
        """
        frame = {
            name: pd.Categorical.from_codes(column, dtype=categories[name])
            if name in categories
            else column
            for name, column in open_columns(folder / COLUMNS).items()
        }
        return cls(pd.DataFrame(frame, copy=False), items, users, folder=folder, hold=hold)

    @functools.cached_property
    def digest(self) -> str:
        """Tells this log from others: a digest of its columns and categories."""
        hashed = hashlib.blake2b(digest_size=16)
        for name, dtype in self.frame.dtypes.items():
            hashed.update(f"{name}:{dtype if name not in self._categories else ''}".encode())
            column = self._column(name)
            for block in _blocks(len(column)):
                hashed.update(np.ascontiguousarray(column[block]).data)
        for dtype in self._categories.values():
            for block in _blocks(len(dtype.categories)):
                hashed.update(pd.util.hash_array(dtype.categories[block].to_numpy()).data)
        return hashed.hexdigest()

    def vocabulary(self, entity: str) -> Vocabulary:
        key = f"{entity}_id"
        codes, categories = self._column(key), self.frame[key].dtype.categories
        counts = _counted(codes, len(categories))
        known = counts > 0
        ids, counts = categories[known].to_numpy(), counts[known]
        if (table := self.table(entity)) is not None:
            ids = pd.unique(np.concatenate([ids, raw_ids(table[key])]))
            counts = np.pad(counts, (0, len(ids) - len(counts)))
        return Vocabulary.of_counts(ids, counts)[0]

    def rows(self, entity: str, vocabulary: Vocabulary) -> np.ndarray:
        def blocks():
            key = f"{entity}_id"
            codes = self._column(key)
            of_code = vocabulary.rows_of_categories(self.frame[key].dtype.categories)
            for block in _blocks(len(codes)):
                yield {"rows": of_code[codes[block]]}

        return self._written(f"{entity}.{vocabulary.digest}", blocks)["rows"]

    def histories(self, users: Vocabulary, items: Vocabulary) -> Histories:
        rows = self.rows("user", users), self.rows("item", items)
        offsets = offsets_of(_counted(rows[0], users.size))
        name = f"histories.{users.digest[:16]}{items.digest[:16]}"
        written = self._written(name, lambda: _by_user(*rows, self.times, offsets))
        return StoredHistories(offsets, written["items"], written.get("times"), self.hold)

    def select(self, rows: Any) -> "StoredInteractions":
        rows = np.asarray(rows)
        packed = np.packbits(rows) if rows.dtype == bool else np.ascontiguousarray(rows)
        digest = hashlib.blake2b(packed.data, digest_size=16).hexdigest()

        def blocks():
            columns = {name: self._column(name) for name in self.frame}
            for block in _blocks(len(rows)):
                chosen = rows[block]
                if rows.dtype == bool:
                    chosen = block.start + np.flatnonzero(chosen)
                yield {name: column[chosen] for name, column in columns.items()}

        self._written(f"parts/{digest}/{COLUMNS}", blocks)
        folder = self.folder / "parts" / digest
        tables = self.items, self.users
        return StoredInteractions.open(folder, self._categories, *tables, self.hold)

    def interleaved(
        self, other: Interactions, taken: np.ndarray | None = None
    ) -> "StoredInteractions":
        """As in memory, of another part of the same log; what both were selected from lies there.

        Raises:
            ValueError: the other is no part of this log.
        """
        if not isinstance(other, StoredInteractions) or other._categories != self._categories:
            raise ValueError("a log on disk goes together with parts of itself alone")
        folder = self.folder.parent.parent
        if taken is None:
            name = f"{self.digest} {other.digest}".encode()
            digest = hashlib.blake2b(name, digest_size=16).hexdigest()
            folder = self.folder / "parts" / digest
            self._written(f"parts/{digest}/{COLUMNS}", lambda: _after_one_another(self, other))
        tables = self.items, self.users
        return StoredInteractions.open(folder, self._categories, *tables, self.hold)

    def in_order(self) -> Interactions:
        raise ValueError(
            "in_order changes timestamps, and those of a log on disk stay as they are: write the "
            "order into the timestamps of its files"
        )

    def with_string_ids(self, key: str) -> Interactions:
        raise ValueError(
            "files of held-out events do not go with a log on disk (data: parquet): give all "
            "events as one log, and hold out with `split: by_time` or `by_user`"
        )

    @functools.cached_property
    def _categories(self):
        return {
            name: dtype
            for name, dtype in self.frame.dtypes.items()
            if isinstance(dtype, pd.CategoricalDtype)
        }

    def _column(self, name):
        values = self.frame[name]
        return values.array.codes if name in self._categories else values.to_numpy()

    def _written(self, name: str, blocks: Callable[[], Iterable[dict]]) -> dict[str, Any]:
        """The columns that lie beside the log under a name; they are written where they lack."""
        return _written(self.folder / name, blocks)


@dataclass(frozen=True)
class StoredHistories(Histories):
    """Histories whose events lie on disk, and what users have seen beside them.

    Args:
        offsets, items, times: as of `Histories`.
        hold: keeps the folder from being removed.
    """

    hold: Hold | None = None

    def seen(self) -> Seen:
        folder = Path(self.items.filename).parent
        counts = []

        def blocks():
            for number, rows in self.seen_in_blocks():
                counts.append(number)
                yield {"rows": rows}

        rows = _written(folder.with_name(f"{folder.name}.seen"), blocks)["rows"]
        of_users = folder.with_name(f"{folder.name}.seen_counts")
        known = counts or (number for number, _ in self.seen_in_blocks())
        numbers = _written(of_users, lambda: ({"counts": each} for each in known))["counts"]
        return Seen(offsets_of(numbers), rows)


def _written(store: Path, blocks: Callable[[], Iterable[dict]]) -> dict[str, Any]:
    """The columns of a store; they are written where it lacks."""
    if not store.exists():
        with contextlib.suppress(FileExistsError):  # another process has written it meanwhile
            write_columns(store, blocks())
    return open_columns(store)


def _after_one_another(*parts):
    """The columns of some parts, in blocks."""
    for part in parts:
        for block in _blocks(len(part)):
            yield {name: part._column(name)[block] for name in part.frame}


def _blocks(size: int) -> Iterator[slice]:
    for start in range(0, size, BLOCK):
        yield slice(start, min(start + BLOCK, size))


def _counted(numbers, size):
    """How often each number below `size` occurs."""
    counts = np.zeros(size, np.int64)
    for block in _blocks(len(numbers)):
        counts += np.bincount(numbers[block], minlength=size)
    return counts


def _by_user(users, items, times, offsets):
    """The events in order of users, then times, then lines, for some users after the others.

    Events of unknown users or items are none: the training part has no others than it knows.
    """
    for first, last in user_blocks(offsets):
        lines = [
            block.start + np.flatnonzero((users[block] >= first) & (users[block] < last))
            for block in _blocks(len(users))
        ]
        lines = np.concatenate(lines)
        own = users[lines] - first + 1
        moments = None if times is None else times[lines]
        histories = Histories.fit(own, items[lines], moments, last - first + 1)
        yield {"items": histories.items} | ({} if times is None else {"times": histories.times})
