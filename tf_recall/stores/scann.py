"""A store on ScaNN's own index with live updates."""

from typing import ClassVar

import numpy as np

from tf_recall.data.ids import dtype_of
from tf_recall.data.npy import write_array
from tf_recall.stores.approximate import ApproximateStore

FEW = 20_000  # vectors from which on they are compressed
MANY = 100_000  # and from which on they are partitioned


class LiveScaNN(ApproximateStore):
    """A store on ScaNN, whose index takes changes as they come; it narrows by no columns.

        V < 20,000:   every score, exactly
        V < 100,000:  every compressed score, the best candidates exactly
        above:        compressed scores of the nearest lists, the best candidates exactly

    The index is made anew as the store doubles. Vectors are kept beside it, and are what `save`
    writes: ScaNN's own files hold a pickle.

    Args:
        dim: length of the vectors.
        min_recall: as `ApproximateStore`.

    Raises:
        ImportError: the package scann is not installed.

    Paper: Guo et al. 2020, "Accelerating Large-Scale Inference with Anisotropic Vector
        Quantization", section 3.
    """

    takes_where: ClassVar[bool] = False
    few: ClassVar[int] = FEW

    def __init__(self, dim: int, min_recall: float = 0.95) -> None:
        super().__init__(dim, min_recall)
        self._scann = _library()
        self._searcher = None
        self._row: dict = {}  # of each id
        self._held: list = []  # of each row
        self._matrix = np.zeros((0, self.dim), np.float32)  # with room to grow
        self._made_of = 0
        self._lists = 1

    def __len__(self) -> int:
        return len(self._held)

    def _upsert(self, ids, vectors, columns):
        with self._gate.writing():
            for each in ids.tolist():
                if each not in self._row:
                    self._row[each] = len(self._held)
                    self._held.append(each)
            rows = np.array([self._row[each] for each in ids.tolist()])
            self._reach(len(self._held))
            self._matrix[rows] = vectors
            if self._outgrown():
                self._build()
            else:
                self._searcher.upsert(ids.tolist(), vectors, batch_size=len(ids))
            self._measure()

    def _delete(self, ids):
        with self._gate.writing():
            known = [each for each in ids.tolist() if each in self._row]
            for each in known:
                row, last = self._row.pop(each), self._held.pop()
                if last != each:  # the last one takes its row
                    self._row[last], self._held[row] = row, last
                    self._matrix[row] = self._matrix[len(self._held)]
            if not self._held:
                self._searcher, self._made_of = None, 0
            elif known:
                self._searcher.delete(known)
            return len(known)

    def _reach(self, size):
        if size > len(self._matrix):
            wide = np.zeros((max(size, 2 * len(self._matrix)), self.dim), np.float32)
            wide[: len(self._matrix)] = self._matrix
            self._matrix = wide

    def _outgrown(self):
        return self._searcher is None or len(self._held) >= 2 * max(self._made_of, FEW // 2)

    def _build(self):
        size = len(self._held)
        vectors = self._matrix[:size].copy()
        builder = self._scann.builder(vectors, 10, "dot_product")
        self._lists = round(size**0.5) if size >= MANY else 1
        if self._lists > 1:
            sample = min(size, 100 * self._lists)
            builder = builder.tree(self._lists, self._probed(), training_sample_size=sample)
        if size >= FEW:
            builder = builder.score_ah(2, anisotropic_quantization_threshold=0.2).reorder(100)
        else:
            builder = builder.score_brute_force()
        self._searcher = builder.build(docids=list(self._held))
        self._made_of = size

    def _probed(self):
        return min(self._lists, max(1, self._lists // 50) * self.effort)

    def _all_vectors(self):
        return self._matrix[: len(self._held)]

    def _answer(self, queries, k, where):
        k = min(k, len(self._held))
        if not k:
            return [np.zeros(0)] * len(queries), [np.zeros(0)] * len(queries)
        leaves = self._probed() if self._lists > 1 else None
        rescored = min(len(self._held), max(k, 100) * self.effort)
        found, scores = self._searcher.search_batched(queries, k, rescored, leaves)
        kind = dtype_of(self.id_type)
        ids, kept = [], []
        for row, values in zip(found, scores, strict=True):
            there = np.isfinite(values)  # short answers are padded with NaN
            ids.append(np.array(row, kind)[: len(values)][there])
            kept.append(values[there])
        return ids, kept

    def _write(self, folder):
        write_array(folder / "vectors.npy", self._all_vectors())
        kind = np.int64 if self.id_type == "int64" else np.str_
        write_array(folder / "ids.npy", np.array(self._held, kind))

    def _read(self, folder):
        ids = np.load(folder / "ids.npy", allow_pickle=False)
        if len(ids):
            vectors = np.load(folder / "vectors.npy", allow_pickle=False)
            self.upsert(ids.astype(object) if ids.dtype.kind == "U" else ids, vectors)


def _library():
    try:
        from scann.scann_ops.py import scann_ops_pybind
    except ImportError as error:
        raise ImportError("ScaNN is not installed: pip install 'tf_recall[scann]'") from error
    return scann_ops_pybind
