"""Stores whose search is approximate: how far it goes is measured, not guessed."""

import logging
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from tf_recall.data import manifest
from tf_recall.data.atomic import atomic_folder
from tf_recall.stores.base import Store
from tf_recall.stores.readers import Gate

DEPTH = 100  # items whose recall is measured
QUERIES = 128
FURTHEST = 64
NOTE = "store.json"
log = logging.getLogger("tf_recall")


class ApproximateStore(Store):
    """A store that searches further until it finds enough.

    As the store grows past twice the size at which that was measured, some of its own vectors are
    asked for their nearest 100, and `effort`, 1 at first, is doubled until `min_recall` of them are
    found; a warning is logged where they are not. Queries unlike the items may find less: `recall`
    measures any.

    Args:
        dim: length of the vectors.
        min_recall: the share of the true best 100 to find.

    Attributes:
        effort: how far a search goes, beside the least.
    """

    few: ClassVar[int] = 10_000  # vectors up to which every one is scored

    def __init__(self, dim: int, min_recall: float = 0.95) -> None:
        super().__init__(dim)
        if not 0 < min_recall <= 1:
            raise ValueError(f"min_recall must be above 0 and up to 1, got {min_recall!r}")
        self.min_recall = min_recall
        self.effort = 1
        self._gate = Gate()
        self._measured_at = 0

    def recall(self, queries: np.ndarray, k: int = DEPTH) -> float:
        """The share of the true k best that a search finds.

        Args:
            queries: `[B, dim]`, such as users' vectors.
            k: how many.
        """
        queries = self._vectors(queries, "queries")
        with self._gate.reading():
            return self._recall(queries, min(k, max(1, len(self))), self._all_vectors())

    def save(self, folder: str | Path) -> None:
        """Writes the store to a folder that is not there yet.

        Raises:
            FileExistsError: the folder is there.
            OSError: the disk is full or refuses; nothing is left then.
        """
        with self._gate.reading(), atomic_folder(folder) as aside:
            self._write(aside)
            values = {"kind": type(self).__name__, "dim": self.dim, "id_type": self.id_type}
            values["export"] = self.export
            manifest.write(aside, NOTE, values)

    @classmethod
    def load(cls, folder: str | Path, **settings) -> Self:
        """The store that `save` wrote.

        Args:
            folder: where.
            settings: arguments of the constructor but `dim`.

        Raises:
            FileNotFoundError: there is none, or a file is missing.
            ValueError: it is damaged, or of another kind.
        """
        folder = Path(folder)
        note = manifest.read(folder, NOTE)
        manifest.check(folder, note["files"], NOTE)
        if note["kind"] != cls.__name__:
            raise ValueError(f"{folder} holds a {note['kind']}, which its own class loads")
        store = cls(note["dim"], **settings)
        store.id_type = note["id_type"]
        store.export = note.get("export")
        store._read(folder)
        return store

    def _write(self, folder):
        """Writes what the store holds into an empty folder, while nobody changes it."""
        raise NotImplementedError

    def _read(self, folder):
        """Takes what `_write` wrote into an empty store."""
        raise NotImplementedError

    def _search(self, queries, k, where):
        with self._gate.reading():
            return self._answer(queries, k, where)

    def _answer(self, queries, k, where):
        """As `_search`, while nobody writes."""
        raise NotImplementedError

    def _all_vectors(self):
        """Those that can be found: `[n, dim]`."""
        raise NotImplementedError

    def _recall(self, queries, k, vectors):
        if not len(vectors):
            return 1.0
        scores = queries @ vectors.T  # [B, n]
        least = -np.partition(-scores, k - 1, axis=1)[:, k - 1]  # the k-th best score
        _, found = self._answer(queries, k, {})
        slack = 1e-5 * (1 + np.abs(least))
        hits = [(row >= low).sum() for row, low in zip(found, least - slack, strict=True)]
        return float(np.mean(np.minimum(hits, k)) / k)

    def _measure(self):
        """Finds the effort, where the store has doubled since it was found."""
        if len(self) <= max(self.few, 2 * self._measured_at):
            return
        self._measured_at = len(self)
        vectors = self._all_vectors()
        some = np.random.default_rng(0).choice(len(vectors), QUERIES, replace=False)
        self.effort = 1
        while (share := self._recall(vectors[some], DEPTH, vectors)) < self.min_recall:
            if self.effort >= FURTHEST:
                log.warning("%s finds %.3f of the nearest %d", self, share, DEPTH)
                break
            self.effort *= 2

    def __str__(self) -> str:
        return f"{type(self).__name__}({len(self):,} vectors, effort {self.effort})"
