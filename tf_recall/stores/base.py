"""What every live store does: upsert, delete, search, count."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from tf_recall.data.ids import MISSING, dtype_of, is_missing, kind_of, raw_ids
from tf_recall.stores.conditions import Where

SCALARS = (str, int, float, bool, np.number, np.bool_)
RESERVED = ("id", "vector")


class Store:
    """Vectors by id, changed while queries run; the score is the dot product.

    A search sees every change whose call has returned, and what was deleted never comes back.

    A subclass writes `_upsert`, `_delete`, `_search` and `__len__`, over checked arrays.

    Args:
        dim: length of the vectors.

    Attributes:
        takes_where: whether a search may be narrowed by columns.
        export: the digest of the export whose vectors it holds, where `fill` was told.

    Raises:
        ValueError: `dim` below 1.
    """

    takes_where: ClassVar[bool] = True
    export: str | None = None

    def __init__(self, dim: int) -> None:
        if isinstance(dim, bool) or not isinstance(dim, int | np.integer) or dim < 1:
            raise ValueError(f"dim must be a whole number of at least 1, got {dim!r}")
        self.dim = int(dim)
        self.id_type: str | None = None  # "string" or "int64", by the first upsert

    def upsert(self, ids: Any, vectors: Any, columns: pd.DataFrame | None = None) -> None:
        """Adds vectors, and replaces those of ids that are there, with their columns.

        Args:
            ids: `[n]`, all strings or all integers, each once.
            vectors: `[n, dim]`.
            columns: a row for each id: text, numbers or booleans, by which `where` narrows.

        Raises:
            TypeError: ids of another type than those that are there.
            ValueError: arrays of other shapes, an id twice or missing, a vector that is not
                finite, or columns of other values.
        """
        ids = self._ids(ids)
        vectors = self._vectors(vectors, "vectors")
        if len(ids) != len(vectors):
            raise ValueError(f"there are {len(ids)} ids and {len(vectors)} vectors")
        if len(pd.unique(ids)) < len(ids):
            raise ValueError(f"an id comes twice in one upsert: {_twice(ids)!r}")
        if columns is not None:
            columns = self._columns(columns, len(ids))
        if len(ids):
            self.id_type = self.id_type or kind_of(ids)
            self._upsert(ids, vectors, columns)

    def delete(self, ids: Any) -> int:
        """Removes items; those that are not there are no error.

        Returns:
            How many were there.
        """
        ids = pd.unique(self._ids(ids))
        return self._delete(ids) if len(ids) and self.id_type else 0

    def search(
        self,
        queries: Any,
        k: int,
        exclude: Sequence | None = None,
        where: Where | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best items of each query.

        Args:
            queries: `[B, dim]`.
            k: how many.
            exclude: ids that are left out: a list for all queries, or one for each.
            where: conditions on columns, all of which must hold: a value, a list of values one of
                which it must be, or `{"min": ..., "max": ...}`.

        Returns:
            ids `[B, k]` and float32 scores `[B, k]`, the best first; missing ids ("" or -1) of
            score -inf where there are fewer.

        Raises:
            ValueError: queries of another shape or not finite, k below 1, or conditions that the
                store does not take.
        """
        queries = self._vectors(queries, "queries")
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise ValueError(f"k must be a whole number of at least 1, got {k!r}")
        if where and not self.takes_where:
            raise ValueError(
                f"{type(self).__name__} keeps no columns: take a Faiss store or Milvus to narrow a "
                "search with where"
            )
        left_out = self._exclusions(exclude, len(queries))
        more = max((len(each) for each in left_out), default=0)
        if not len(queries):
            return self._padded([], [], k)
        ids, scores = self._search(queries, k + more, where or {})
        kept = [~np.isin(row, out) for row, out in zip(ids, left_out, strict=True)]
        ids = [row[keep] for row, keep in zip(ids, kept, strict=True)]
        scores = [row[keep] for row, keep in zip(scores, kept, strict=True)]
        return self._padded(ids, scores, k)

    def __len__(self) -> int:
        raise NotImplementedError

    def close(self) -> None:
        """Lets go of what the store holds open."""

    def _upsert(self, ids, vectors, columns):
        raise NotImplementedError

    def _delete(self, ids):
        raise NotImplementedError

    def _search(self, queries, k, where):
        """Ids and scores of at most k items: for each query two arrays, the best first."""
        raise NotImplementedError

    def _ids(self, ids):
        ids = raw_ids(ids, "ids")
        if ids.ndim != 1:
            raise ValueError(f"ids must be one list, got the shape {ids.shape}")
        if is_missing(ids).any():
            raise ValueError("an id is missing ('' or -1): leave it out")
        if len(ids) and self.id_type not in (None, kind_of(ids)):
            raise TypeError(f"this store holds {self.id_type} ids, got {ids[:3].tolist()}")
        return ids

    def _vectors(self, vectors, what):
        vectors = np.ascontiguousarray(vectors, np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise ValueError(f"{what} must be [n, {self.dim}], got {list(vectors.shape)}")
        if not np.isfinite(vectors).all():
            raise ValueError(f"{what} must be finite numbers")
        return vectors

    def _columns(self, columns, num):
        if not self.takes_where:
            raise ValueError(f"{type(self).__name__} keeps no columns: leave them out")
        if len(columns) != num:
            raise ValueError(f"columns must have a row for each of the {num} ids")
        for name in columns:
            kinds = columns[name].dropna().map(type).unique()
            other = [kind.__name__ for kind in kinds if not issubclass(kind, SCALARS)]
            if other or name in RESERVED or not isinstance(name, str):
                raise ValueError(
                    f"column {name!r} must hold text, numbers or booleans, and not be called id or "
                    f"vector; got {', '.join(other) or name}"
                )
        return columns.reset_index(drop=True)

    def _exclusions(self, exclude, num):
        if exclude is None:
            return [np.zeros(0, object)] * num
        nested = [np.ndim(each) == 1 and not isinstance(each, str) for each in exclude]
        lists = list(exclude) if nested and all(nested) else [exclude] * num
        if len(lists) != num:
            raise ValueError(f"exclude must have a list for each of the {num} queries")
        return [raw_ids(list(each), "exclude") for each in lists]

    def _padded(self, ids, scores, k):
        """Rows of any length as two arrays `[B, k]`."""
        kind = self.id_type or "string"
        all_ids = np.full((len(ids), k), MISSING[kind], dtype_of(kind))
        all_scores = np.full((len(ids), k), -np.inf, np.float32)
        for line, (row, values) in enumerate(zip(ids, scores, strict=True)):
            num = min(k, len(row))
            all_ids[line, :num] = row[:num]
            all_scores[line, :num] = values[:num]
        return all_ids, all_scores


def _twice(ids):
    return pd.Series(ids)[pd.Series(ids).duplicated()].iloc[0]
