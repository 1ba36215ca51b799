"""The items of a version as people know them: titles and other columns by id, and a search."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from tf_recall.export.items import KEY
from tf_recall.recommend.base import Recommender

TITLES = ("title", "name", "item_name", "product_name", "product", "headline", "description")


class Texts:
    """Texts to search in, the most popular first.

    Every word of a query must be in a line, in any of its texts; capitals do not count. What is
    the query itself comes first, then what begins with it, then the others, each in order of rows.

    Args:
        columns: of the same length; text, or numbers that are read as text.
    """

    def __init__(self, columns: Sequence[pa.Array]):
        self._columns = [pc.utf8_lower(column.cast(pa.string())) for column in columns]

    def find(self, text: str, most: int) -> tuple[np.ndarray, int]:
        """Positions of the best lines, at most so many; and how many lines there are in all."""
        text = " ".join(text.lower().split())
        if not text:
            count = len(self._columns[0])
            return np.arange(min(most, count)), count
        found = functools.reduce(np.logical_and, map(self._holds, text.split(" ")))
        at = np.flatnonzero(found)
        few = [column.take(pa.array(at)) for column in self._columns]
        begins = _any(pc.starts_with(each, text) for each in few)
        equal = _any(pc.equal(each, text) for each in few)
        order = np.argsort(-(begins + 2 * equal.astype(int)), kind="stable")
        return at[order[:most]], len(at)

    def _holds(self, word):
        return _any(pc.match_substring(column, word) for column in self._columns)


class Items:
    """The items of a recommender, by row from 0 on, and what a table tells of them.

    Args:
        recommender: whose items.
        table: as `read_items` gives it, its lines in any order; None: only ids are known.

    Attributes:
        ids: raw ids by row.
        counts: how often each was interacted with; None where the export has no catalog.
        title: the name of the column that names items; None where there is none.
    """

    def __init__(self, recommender: Recommender, table: pa.Table | None = None):
        catalog = recommender.catalog
        self._vocabulary = None if catalog is None else catalog.items
        self.ids = recommender.item_ids if catalog is None else catalog.items.ids
        self.counts = None if catalog is None else catalog.items.counts[1:]
        self._names = pa.array(self.ids)
        self._table = pa.table({}) if table is None else _aligned(table, self._names)
        self.title = _title_of(self._table)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def columns(self) -> list[str]:
        """The names of the table's columns."""
        return self._table.column_names

    def column(self, name: str) -> pa.ChunkedArray:
        """A column by row.

        Raises:
            ValueError: there is no such column.
        """
        self._check([name])
        return self._table.column(name)

    def rows(self, ids: Sequence[Any]) -> np.ndarray:
        """The rows of raw ids; -1 for unknown ones."""
        if self._vocabulary is not None:
            return self._vocabulary.encode(ids) - 1
        return self._index.get_indexer(ids)

    def about(self, ids: Sequence[Any], names: Sequence[str]) -> list[dict[str, Any]]:
        """What columns say of items: `{column: value}` of each, without what is missing.

        Raises:
            ValueError: there is no such column.
        """
        names = list(dict.fromkeys(names))
        self._check(names)
        rows = self.rows(ids) if len(ids) else np.zeros(0, int)
        lines = self._table.select(names).take(pa.array(rows, mask=rows < 0)).to_pylist()
        return [
            {name: value for name, value in line.items() if value is not None} for line in lines
        ] or [{} for _ in ids]

    def titles(self, ids: Sequence[Any]) -> list[str | None]:
        """What items are called; None where that is not known."""
        if self.title is None:
            return [None] * len(ids)
        return [line.get(self.title) for line in self.about(ids, [self.title])]

    def find(self, text: str, most: int) -> tuple[np.ndarray, int]:
        """Rows of items by id or title, as `Texts.find`."""
        return self._texts.find(text, most)

    @functools.cached_property
    def _texts(self):
        titles = [] if self.title is None else [self.column(self.title).combine_chunks()]
        return Texts([self._names, *titles])

    @functools.cached_property
    def _index(self):
        return pd.Index(self.ids)

    def _check(self, names):
        if unknown := [name for name in names if name not in self.columns]:
            known = ", ".join(self.columns) or "none, it was exported without a table of items"
            raise ValueError(f"there is no column {unknown[0]!r} of items; there are: {known}")


def _aligned(table, ids):
    own = table.column(KEY).combine_chunks()
    table = table.drop_columns(KEY)
    if own.equals(ids):
        return table
    if own.type != ids.type:
        own, ids = own.cast(pa.string()), ids.cast(pa.string())
    return table.take(pc.index_in(ids, value_set=own))


def _title_of(table):
    """The column that names items: by its own name, else the first whose texts mostly differ."""
    texts = [
        field.name
        for field in table.schema
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
    ]
    by_name = {name.lower(): name for name in reversed(texts)}
    named = [by_name[each] for each in TITLES if each in by_name]
    return next(iter(named), None) or next((name for name in texts if _differ(table, name)), None)


def _differ(table, name):
    some = table.column(name).slice(0, 1000).drop_null()
    return len(some) > 1 and len(some.unique()) > 0.9 * len(some)


def _any(arrays):
    """Whether one of several arrays of truth values holds, line by line; nothing known is false."""
    known = (pc.fill_null(each, False).to_numpy(zero_copy_only=False) for each in arrays)
    return functools.reduce(np.logical_or, known)
