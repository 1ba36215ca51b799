"""Where ids are among the ids of a vocabulary, and the ids themselves, compact."""

import itertools
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

BLOCK = 2**20  # strings that are objects at once


class Integers:
    """The positions of integers among `ids`, -1 for others."""

    def __init__(self, ids: np.ndarray):
        self.ids = ids
        self.index = pd.Index(ids)
        if not self.index.is_unique:
            _refuse_repeats(ids)

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, kept: np.ndarray) -> "Integers":
        """Those of some ids, by a mask `[n]`."""
        return Integers(self.ids[kept])

    def with_some(self, others: "Integers", kept: np.ndarray) -> "Integers":
        """These, and then some of others, by a mask."""
        return Integers(np.concatenate([self.ids, others.ids[kept]]))

    def at(self, positions: np.ndarray) -> np.ndarray:
        """The ids at positions, int64 of their shape."""
        return self.ids[positions]

    def blocks(self) -> Iterator[np.ndarray]:
        """All ids in order, some at a time."""
        yield self.ids

    def of(self, ids: np.ndarray) -> np.ndarray:
        """The position of each id, -1 for none: int `[n]`."""
        return self.index.get_indexer(ids)


class Strings:
    """The positions of strings among `ids`, -1 for others.

        position(id) = position of hash(id) among the hashes, if ids[position] == id

    A table of 64-bit hashes is faster than one of string objects, which are scattered in memory;
    and the strings themselves lie end to end, so that they take their bytes and no more. The result
    is exact: if two of the `ids` have one hash, another hash key is used, and each id found is
    compared with the id given.
    """

    def __init__(self, ids: np.ndarray | pa.Array):
        on_end = isinstance(ids, pa.Array)
        self._texts = ids if on_end else pa.array(ids, pa.large_string())
        for number in itertools.count():
            self.key = f"{number:016d}"
            hashes = map(self._hash, self.blocks() if on_end else [ids])
            self.hashes = pd.Index(np.concatenate([*hashes]))
            if self.hashes.is_unique:
                break
            _refuse_repeats(np.asarray(ids))

    def __len__(self) -> int:
        return len(self._texts)

    def select(self, kept: np.ndarray) -> "Strings":
        """Those of some ids, by a mask `[n]`."""
        return Strings(self._texts.filter(pa.array(kept)))

    def with_some(self, others: "Strings", kept: np.ndarray) -> "Strings":
        """These, and then some of others, by a mask."""
        return Strings(pa.concat_arrays([self._texts, others._texts.filter(pa.array(kept))]))

    def at(self, positions: np.ndarray) -> np.ndarray:
        """The ids at positions, objects of their shape."""
        found = self._texts.take(pa.array(positions.ravel()))
        return found.to_numpy(zero_copy_only=False).reshape(positions.shape)

    def blocks(self) -> Iterator[np.ndarray]:
        """All ids in order, some at a time."""
        for start in range(0, max(1, len(self._texts)), BLOCK):
            yield self._texts.slice(start, BLOCK).to_numpy(zero_copy_only=False)

    def _hash(self, ids: np.ndarray) -> np.ndarray:
        try:
            return pd.util.hash_array(ids, hash_key=self.key, categorize=False)
        # half a surrogate pair: no vocabulary holds it, so its hash does not matter
        except UnicodeEncodeError:
            text = [name.encode("utf-8", "replace").decode() for name in ids]
            return pd.util.hash_array(
                np.array(text, dtype=object), hash_key=self.key, categorize=False
            )

    def of(self, ids: np.ndarray) -> np.ndarray:
        """The position of each id, -1 for none: int `[n]`."""
        found = self.hashes.get_indexer(self._hash(ids))
        here = np.flatnonzero(found >= 0)
        found[here[self._differ(found[here], ids[here])]] = -1
        return found

    def _differ(self, positions, ids):
        try:
            given = pa.array(ids, pa.large_string())
        except UnicodeEncodeError:  # of the ids some are no text: compared as objects
            return self.at(positions) != ids
        known = self._texts.take(pa.array(positions))
        return pc.not_equal(known, given).to_numpy(zero_copy_only=False)


def _refuse_repeats(ids: np.ndarray) -> None:
    twice = pd.Series(ids).duplicated()
    if twice.any():
        raise ValueError(f"The ids of a vocabulary must differ, got '{ids[twice.argmax()]}' twice.")
