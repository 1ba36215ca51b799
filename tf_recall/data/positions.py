"""Where ids are among the ids of a vocabulary."""

import itertools

import numpy as np
import pandas as pd


class Integers:
    """The positions of integers among `ids`, -1 for others."""

    def __init__(self, ids: np.ndarray):
        self.index = pd.Index(ids)
        if not self.index.is_unique:
            _refuse_repeats(ids)

    def of(self, ids: np.ndarray) -> np.ndarray:
        """The position of each id, -1 for none: int `[n]`."""
        return self.index.get_indexer(ids)


class Strings:
    """The positions of strings among `ids`, -1 for others.

        position(id) = position of hash(id) among the hashes, if ids[position] == id

    A table of 64-bit hashes is faster than one of string objects, which are scattered in memory.
    The result is exact: if two of the `ids` have one hash, another hash key is used, and each id
    found is compared with the id given.
    """

    def __init__(self, ids: np.ndarray):
        self.ids = ids
        for number in itertools.count():
            self.key = f"{number:016d}"
            self.hashes = pd.Index(self._hash(ids))
            if self.hashes.is_unique:
                break
            _refuse_repeats(ids)

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
        if len(self.ids):
            # a position of -1 compares with the last id, and differs
            found[self.ids[found] != ids] = -1
        return found


def _refuse_repeats(ids: np.ndarray) -> None:
    twice = pd.Series(ids).duplicated()
    if twice.any():
        raise ValueError(f"The ids of a vocabulary must differ, got '{ids[twice.argmax()]}' twice.")
