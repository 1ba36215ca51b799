"""Which ids a store holds at which positions of its index, with their columns."""

import numpy as np
import pandas as pd


class Entries:
    """Positions, given out one after the other and never twice; each has an id, and is live or not.

    Attributes:
        live: `[n]` bool.
        num_live: how many.
    """

    def __init__(self) -> None:
        self._position: dict = {}  # of the live ids
        self._ids: list[np.ndarray] = []
        self._tables: list[pd.DataFrame] = []
        self.live = np.zeros(0, bool)

    @property
    def num_live(self) -> int:
        return len(self._position)

    @property
    def ids(self) -> np.ndarray:
        """The id of each position, `[n]`."""
        self._ids = [np.concatenate(self._ids)] if len(self._ids) > 1 else self._ids
        return self._ids[0] if self._ids else np.zeros(0, object)

    @property
    def table(self) -> pd.DataFrame:
        """The columns of each position, missing where an upsert brought none."""
        if len(self._tables) > 1:
            self._tables = [pd.concat(self._tables, ignore_index=True)]
        return self._tables[0] if self._tables else pd.DataFrame()

    def add(self, ids: np.ndarray, columns: pd.DataFrame | None) -> None:
        """Gives ids the next positions; those that were there die at their old ones."""
        self.remove(ids)
        first = len(self.live)
        self._position.update(zip(ids.tolist(), range(first, first + len(ids)), strict=True))
        self._ids.append(ids)
        self._tables.append(pd.DataFrame(index=range(len(ids))) if columns is None else columns)
        self.live = np.concatenate([self.live, np.ones(len(ids), bool)])

    def add_all(self, ids: np.ndarray, columns: pd.DataFrame, live: np.ndarray) -> None:
        """Gives ids positions, of which only some are live; of a store that was saved."""
        positions = np.flatnonzero(live)
        self._position.update(zip(ids[positions].tolist(), positions.tolist(), strict=True))
        self._ids.append(ids)
        self._tables.append(columns)
        self.live = live

    def remove(self, ids: np.ndarray) -> int:
        """Lets ids die; returns how many were live."""
        known = [self._position.pop(each, None) for each in ids.tolist()]
        positions = [each for each in known if each is not None]
        self.live = self.live.copy()  # a search may hold the old one
        self.live[positions] = False
        return len(positions)

    def kept(self) -> "Entries":
        """The live ones, at new positions without gaps."""
        new = Entries()
        if self.live.any():
            table = self.table[self.live].reset_index(drop=True)
            new.add(self.ids[self.live], table if table.shape[1] else None)
        return new
