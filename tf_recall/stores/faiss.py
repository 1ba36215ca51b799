"""Stores on FAISS: flat, HNSW and IVF."""

import numpy as np
import pandas as pd

from tf_recall.stores.approximate import ApproximateStore
from tf_recall.stores.conditions import matches
from tf_recall.stores.entries import Entries

SMALL = 4096  # vectors from which on there are lists


class FaissStore(ApproximateStore):
    """A store whose index is FAISS's, kept in memory and saved to a folder.

    What is removed or replaced stays in the index, marked, and no search sees it; where more than
    half is, the index is made anew of the rest. Where few items may be found, by `where` or since
    the others are gone, they are scored one by one: approximate search is at its worst there.

    Args:
        dim, min_recall: as `ApproximateStore`.

    Raises:
        ImportError: the package faiss is not installed.
    """

    def __init__(self, dim: int, min_recall: float = 0.95) -> None:
        super().__init__(dim, min_recall)
        self._faiss = _library()
        self._made_of = 0  # how many vectors the index was made of
        self._entries = Entries()
        self._index = self._new(np.zeros((0, self.dim), np.float32))

    def __len__(self) -> int:
        return self._entries.num_live

    def _new(self, vectors):
        """An index of some vectors, not in it yet; trained where it must be."""
        raise NotImplementedError

    def _parameters(self, selector, k):
        """How to search for k among what a selector allows."""
        raise NotImplementedError

    def _outgrown(self) -> bool:
        """Whether the index is of another size than it was made for."""
        return False

    def _upsert(self, ids, vectors, columns):
        with self._gate.writing():
            self._entries.add(ids, columns)
            self._index.add(vectors)
            self._renew()
            self._measure()

    def _delete(self, ids):
        with self._gate.writing():
            num = self._entries.remove(ids)
            self._renew()
            return num

    def _renew(self):
        live = self._entries.live
        if 2 * live.sum() >= len(live) and not self._outgrown():
            return
        vectors = self._rebuilt(np.flatnonzero(live))
        self._entries = self._entries.kept()
        self._index = self._new(vectors)
        self._index.add(vectors)
        self._made_of = len(vectors)

    def _answer(self, queries, k, where):
        allowed = self._entries.live
        if where:
            allowed = allowed & matches(self._entries.table, where)
        positions = np.flatnonzero(allowed)
        k = min(k, len(positions))
        if not k:
            empty = [np.zeros(0)] * len(queries)
            return empty, empty
        if len(positions) <= self.few:
            scores, found = self._exact(queries, positions, k)
        else:
            bits = np.packbits(allowed, bitorder="little")
            selector = self._faiss.IDSelectorBitmap(bits)
            parameters = self._parameters(selector, k)
            scores, found = self._index.search(queries, k, params=parameters)
        ids = self._entries.ids
        kept = found >= 0
        return (
            [ids[row[keep]] for row, keep in zip(found, kept, strict=True)],
            [row[keep] for row, keep in zip(scores, kept, strict=True)],
        )

    def _exact(self, queries, positions, k):
        """The best of some positions, every one scored."""
        scores = queries @ self._rebuilt(positions).T  # [B, n]
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores, best, axis=1), positions[best]

    def _rebuilt(self, positions):
        """The vectors at some positions `[n, dim]`."""
        if not len(positions):
            return np.zeros((0, self.dim), np.float32)
        return self._index.reconstruct_batch(positions.astype(np.int64))

    def _all_vectors(self):
        return self._rebuilt(np.flatnonzero(self._entries.live))

    def _write(self, folder):
        with open(folder / "index.faiss", "wb") as file:  # FAISS itself hides that a disk is full
            self._faiss.write_index(self._index, self._faiss.PyCallbackIOWriter(file.write))
        table = self._entries.table.assign(id=self._entries.ids, live=self._entries.live)
        table.to_parquet(folder / "entries.parquet")

    def _read(self, folder):
        table = pd.read_parquet(folder / "entries.parquet")
        live, ids = table.pop("live").to_numpy(bool), table.pop("id").to_numpy()
        if len(ids):
            self._entries.add_all(ids, table, live)
        self._index = self._faiss.read_index(str(folder / "index.faiss"))
        self._made_of = len(ids)
        self._measure()


class FaissFlat(FaissStore):
    """Every score, exactly: for some 100,000 vectors, or where nothing may be missed.

    Args:
        dim: length of the vectors.

    Example:
        >>> store = FaissFlat(2)
        >>> store.upsert(["tea", "ale"], [[1, 0], [0, 1]], pd.DataFrame({"hot": [True, False]}))
        >>> store.search([[1, 1]], k=1, where={"hot": False})[0].tolist()
        [['ale']]
    """

    def _new(self, vectors):
        return self._faiss.IndexFlatIP(self.dim)

    def _parameters(self, selector, k):
        return self._faiss.SearchParameters(sel=selector)

    def _measure(self):
        """Nothing to find out: every vector is scored."""


class FaissHNSW(FaissStore):
    """A graph of near vectors: fast at high recall, at twice the memory and a slower build.

    Args:
        dim: length of the vectors.
        neighbors: of each vector in the graph.
        ef_construction: how many candidates an added vector is compared with.
        min_recall: as `ApproximateStore`.

    Paper: Malkov and Yashunin 2018, "Efficient and robust approximate nearest neighbor search using
        Hierarchical Navigable Small World graphs".
    """

    def __init__(
        self,
        dim: int,
        neighbors: int = 32,
        ef_construction: int = 200,
        min_recall: float = 0.95,
    ) -> None:
        self.neighbors = neighbors
        self.ef_construction = ef_construction
        super().__init__(dim, min_recall)

    def _new(self, vectors):
        product = self._faiss.METRIC_INNER_PRODUCT
        index = self._faiss.IndexHNSWFlat(self.dim, self.neighbors, product)
        index.hnsw.efConstruction = self.ef_construction
        return index

    def _parameters(self, selector, k):
        ef = self.effort * max(64, k)
        return self._faiss.SearchParametersHNSW(sel=selector, efSearch=ef)


class FaissIVF(FaissStore):
    """Lists of near vectors, of which a search visits the nearest; made anew as the store doubles.

    Below 4,096 vectors there are no lists, and every vector is scored.

    Args:
        dim: length of the vectors.
        min_recall: as `ApproximateStore`.
    """

    def _new(self, vectors):
        if len(vectors) < SMALL:
            return self._faiss.IndexFlatIP(self.dim)
        lists = round(len(vectors) ** 0.5)
        product = self._faiss.METRIC_INNER_PRODUCT
        coarse = self._faiss.IndexFlatIP(self.dim)
        index = self._faiss.IndexIVFFlat(coarse, self.dim, lists, product)
        index.set_direct_map_type(self._faiss.DirectMap.Array)
        index.train(vectors)
        return index

    def _outgrown(self):
        return self._index.ntotal >= max(SMALL, 2 * self._made_of)

    def _parameters(self, selector, k):
        if isinstance(self._index, self._faiss.IndexIVFFlat):
            lists = min(self._index.nlist, 4 * self.effort)
            return self._faiss.SearchParametersIVF(sel=selector, nprobe=lists)
        return self._faiss.SearchParameters(sel=selector)


def _library():
    try:
        import faiss
    except ImportError as error:
        raise ImportError("FAISS is not installed: pip install 'tf_recall[faiss]'") from error
    return faiss
