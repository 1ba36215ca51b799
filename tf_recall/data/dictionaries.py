"""The distinct values of a column larger than memory: counted in passes, kept as categories."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather

from tf_recall.data.ids import kind_of
from tf_recall.data.positions import Integers, Strings

WAITING = 2**20  # ids that wait to be merged, at least


class Distinct:
    """How often each value occurred in the blocks so far; memory is that of the distinct ones.

    Values are strings (object) or int64. Parts are merged before they hold much more than the
    result.
    """

    def __init__(self) -> None:
        self._ids = []
        self._counts = []

    def add(self, values: np.ndarray) -> None:
        """Counts a block of values; missing ones (None, NaN) are left out."""
        if self._ids and values.dtype != self._ids[0].dtype:
            raise TypeError(
                f"Ids must be all strings or all integers, got {self._ids[0][:3]} and then "
                f"{values[:3]}."
            )
        codes, known = pd.factorize(values)
        self._ids.append(known)
        self._counts.append(np.bincount(codes[codes >= 0], minlength=len(known)))
        waiting = sum(len(known) for known in self._ids[1:])
        if waiting > max(len(self._ids[0]), WAITING):
            self._merge()

    def _merge(self):
        codes, known = pd.factorize(np.concatenate(self._ids))
        counts = np.bincount(codes, weights=np.concatenate(self._counts), minlength=len(known))
        self._ids = [known]
        self._counts = [counts.astype(np.int64)]

    def counted(self) -> tuple[np.ndarray, np.ndarray]:
        """The distinct values in their order, and how often each occurred.

        Raises:
            ValueError: there was none.
        """
        if not self._ids:
            raise ValueError("There are no interactions to fit a vocabulary to.")
        self._merge()
        (ids,), (counts,) = self._ids, self._counts
        order = np.argsort(ids, kind="stable")
        return ids[order], counts[order]


class Codes:
    """Numbers values by their place among sorted distinct ones.

    Args:
        known: `[n]` distinct strings (object) or int64, rising.
    """

    def __init__(self, known: np.ndarray) -> None:
        self._text = kind_of(known) == "string"
        self._positions = (Strings if self._text else Integers)(known)
        # as pandas keeps the codes of so many categories
        few = pd.Categorical.from_codes([], categories=np.arange(len(known)))
        self._dtype = few.codes.dtype

    def of(self, values: np.ndarray) -> np.ndarray:
        """The codes `[n]` of values; -1 for a missing one."""
        if not self._text:
            return self._positions.of(values).astype(self._dtype)
        own, known = pd.factorize(values)
        of_known = np.append(self._positions.of(known), -1)
        return of_known[own].astype(self._dtype)


def write_categories(path: Path, known: np.ndarray) -> None:
    """Writes sorted distinct values, as one column of an Arrow file that can be mapped."""
    kind = pa.large_string() if known.dtype == object else pa.int64()
    table = pa.table({"value": pa.array(known, kind)})
    feather.write_feather(table, str(path), compression="uncompressed")


def open_categories(path: Path) -> pd.CategoricalDtype:
    """The values of `write_categories` as categories; strings stay on disk until they are read."""
    column = feather.read_table(str(path), memory_map=True)["value"]
    index = pd.Index(column.to_pandas())
    index.is_monotonic_increasing  # noqa: B018  pandas then knows that they differ, without a table
    return pd.CategoricalDtype(index)
