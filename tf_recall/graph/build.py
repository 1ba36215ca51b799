"""Graphs larger than memory: their edges are sorted on disk."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse
from tqdm import tqdm

from tf_recall.data.vocabulary import Vocabulary
from tf_recall.graph import folder
from tf_recall.graph.csr import Graph
from tf_recall.graph.edges import Edges, edges_of, encoded, read_edges
from tf_recall.graph.tables import edge_tables

BLOCK_EDGES = 2**18  # checked together
EDGE_BYTES = 80  # of memory for each edge that is sorted
TABLE_BYTES = 320  # and whose table is made


def build(
    edges: str | Path | Iterable,
    directory: str | Path,
    sources: int | Vocabulary,
    targets: int | Vocabulary | None = None,
    memory: int = 2**30,
) -> Graph:
    """A graph of any number of edges, on disk: the same as `Graph.from_edges` makes in memory.

    Edges are gathered into runs that fit in memory; each run is sorted by source and target and
    written. Then, for one range of sources after the other, the edges of all runs are read, sorted
    and added up. The folder is written aside and renamed when it is whole; meanwhile the disk
    holds every edge twice.

    Args:
        edges: path or paths for `read_edges`, or what it gives, or chunks `(sources, targets)` or
            `(sources, targets, weights)` of arrays of one length, all with weights or none.
        directory: to be made; it must not be there yet.
        sources: how many rows the sources' type has, the unknown one included, where edges name
            rows; its `Vocabulary` where they name raw ids.
        targets: the same for the targets; None: the same type.
        memory: bytes that sorting may use, beside 32 for each source and what a chunk holds. The
            edges of one source must fit.

    Returns:
        The graph, memory-mapped; `Graph.load(directory)` opens it again.

    Raises:
        FileExistsError: `directory` is there.
        TypeError: rows that are no numbers, or ids of another kind than the vocabulary's.
        ValueError: edges that name a node which does not exist, weights that are negative or no
            number (of both: how many, and where the first is); no edges; some chunks with weights
            and some without.

    Example:
        >>> frames = (block.frame for block in read_blocks("train.parquet"))
        >>> purchases = ((frame["user_id"], frame["item_id"]) for frame in frames)
        >>> graph = build(purchases, "graphs/user-item", catalog.users, catalog.items)
        >>> back = reverse(graph, "graphs/item-user")
    """
    if memory < 2**20:
        raise ValueError(f"memory must be at least {2**20} bytes, got {memory}.")
    paths = [edges] if isinstance(edges, str | Path) else edges
    if isinstance(paths, list | tuple) and all(isinstance(path, str | Path) for path in paths):
        edges = read_edges(paths)
    types = sources, sources if targets is None else targets
    shape = tuple(each.size if isinstance(each, Vocabulary) else each for each in types)
    num = memory // EDGE_BYTES
    with folder.making(directory, shape[1]) as files:
        runs = []
        counts = np.zeros(shape[0], np.int64)
        for matrix in _gathered(_checked(edges, types), shape, num):
            counts += np.diff(matrix.indptr)
            runs.append(_run(files.folder / f"run{len(runs)}", matrix))
        degrees = _merge(runs, counts, num, shape[1], files)
        files["offsets"].append(np.concatenate([[0], np.cumsum(degrees)]))
        if "weights" in files:
            offsets = files["offsets"][0 : shape[0] + 1]
            with _bar("making tables", total=int(offsets[-1])) as bar:
                for block in edge_tables(
                    offsets, files["targets"], files["weights"], memory // TABLE_BYTES
                ):
                    files["tables"].append(block)
                    bar.update(len(block))
    return Graph.load(directory, verify=False)  # it was written this moment


def reverse(graph: Graph, directory: str | Path, memory: int = 2**30) -> Graph:
    """`graph.reverse()` on disk. Arguments and errors are those of `build`."""
    turned = (Edges(chunk.targets, chunk.sources, chunk.weights) for chunk in edges_of(graph))
    return build(turned, directory, graph.num_targets, graph.num_nodes, memory)


def _bar(title, total=None):
    return tqdm(desc=title, total=total, unit=" edges", unit_scale=True, delay=3, leave=False)


def _checked(edges, types) -> Iterator[tuple]:
    """Blocks `(sources, targets, weights or None)`; one error at the end for all wrong edges."""
    wrong = _Wrong(types)
    weighted = None
    found = 0
    with _bar("reading edges") as bar:
        for number, given in enumerate(edges):
            chunk = given if isinstance(given, Edges) else _chunk(given, number)
            found += len(chunk)
            weighted = chunk.weights is not None if weighted is None else weighted
            if weighted != (chunk.weights is not None):
                raise ValueError(
                    f"All edges need weights or none, and they differ at {chunk.position(0)}."
                )
            for first in range(0, len(chunk), BLOCK_EDGES):
                block = wrong.sift(chunk, slice(first, first + BLOCK_EDGES))
                if not wrong.first:
                    yield block
                bar.update(len(block[0]))
    if not found:
        raise ValueError("There are no edges to make a graph of.")
    wrong.refuse(found)


def _chunk(given, number) -> Edges:
    if not isinstance(given, list | tuple) or len(given) not in (2, 3):
        raise TypeError(
            "Edges come in chunks, (sources, targets) or (sources, targets, weights) each, got "
            f"{type(given).__name__} of {np.shape(given)} as chunk {number}."
        )
    return Edges(*given, origin=f"chunk {number}, edge")


class _Wrong:
    """Counts what is wrong in edges, and keeps where the first of each kind is."""

    def __init__(self, types):
        self.types = types
        self.counts = {}
        self.first = {}

    def sift(self, chunk, own):
        """The part `own` of a chunk, encoded and without edges of weight 0; notes what is wrong."""
        sources, no_source = encoded(chunk.sources[own], self.types[0], "sources")
        targets, no_target = encoded(chunk.targets[own], self.types[1], "targets")
        self._note("source", no_source, chunk.sources, chunk, own.start)
        self._note("target", no_target, chunk.targets, chunk, own.start)
        sources, targets = sources.astype(np.int32), targets.astype(np.int32)
        if chunk.weights is None:
            return sources, targets, None
        with np.errstate(over="ignore"):
            weights = pd.to_numeric(pd.Series(chunk.weights[own]), errors="coerce").to_numpy(
                np.float32
            )
        self._note(
            "weight", ~(np.isfinite(weights) & (weights >= 0)), chunk.weights, chunk, own.start
        )
        used = weights > 0
        return sources[used], targets[used], weights[used]

    def _note(self, kind, wrong, values, chunk, start):
        if wrong.any():
            edge = start + int(wrong.argmax())
            self.first.setdefault(kind, f"{values[edge]!s} at {chunk.position(edge)}")
            self.counts[kind] = self.counts.get(kind, 0) + int(wrong.sum())

    def refuse(self, found):
        """Raises an error for all that was wrong among the edges found, if anything was."""
        allowed = {
            "source": f"that no node has, allowed are {_allowed(self.types[0])}",
            "target": f"that no node has, allowed are {_allowed(self.types[1])}",
            "weight": "that is no number of at least 0",
        }
        messages = [
            f"{self.counts[kind]} of {found} edges name a {kind} {why}; the first is "
            f"{self.first[kind]}."
            for kind, why in allowed.items()
            if kind in self.first
        ]
        if messages:
            raise ValueError(" ".join(messages))


def _allowed(nodes) -> str:
    if isinstance(nodes, Vocabulary):
        return f"the {nodes.size - 1} ids of the vocabulary, such as {nodes.ids[:3].tolist()}"
    return f"rows from 1 to {nodes - 1}, and raw ids need a Vocabulary"


def _gathered(blocks, shape, num) -> Iterator[sparse.csr_array]:
    """Blocks joined to matrices of some `num` edges; edges that come twice are added up."""
    waiting: list = []
    for block in blocks:
        waiting.append(block)
        if sum(len(sources) for sources, _, _ in waiting) >= num:
            yield _summed(waiting, shape)
            waiting = []
    if waiting:
        yield _summed(waiting, shape)


def _summed(blocks, shape) -> sparse.csr_array:
    """The matrix of the blocks; empties their list, so that memory holds them once."""
    sources, targets, weights = zip(*blocks, strict=True)
    blocks.clear()
    sources, targets = np.concatenate(sources), np.concatenate(targets)
    # then they are counts, which float32 holds exactly up to 16 million in one run
    ones = weights[0] is None
    weights = (
        np.ones(len(sources), np.float32) if ones else np.concatenate(weights, dtype=np.float64)
    )
    return sparse.coo_array((weights, (sources, targets)), shape=shape).tocsr()


def _run(path, matrix) -> list[folder.ArrayFile]:
    """Writes a matrix's sources, targets and weights, in order of the sources; the files."""
    sources = np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))
    files = []
    for number, array in enumerate((sources, matrix.indices, matrix.data)):
        files.append(folder.ArrayFile(path.with_name(f"{path.name}.{number}"), array.dtype))
        files[-1].append(array)
        files[-1].close()
    return files


def _merge(runs, counts, num, num_targets, files) -> np.ndarray:
    """Merges the runs, range of sources by range, into the targets' and the weights' file.

    Weights are written from the first that is not 1. Returns the degrees.
    """
    ends = np.cumsum(counts)
    degrees = np.zeros_like(counts)
    sources_of_runs = [np.load(sources.path, mmap_mode="r") for sources, _, _ in runs]
    start, written = 0, 0
    with _bar("sorting edges", total=int(ends[-1])) as bar:
        while start < len(counts):
            end = max(int(np.searchsorted(ends, written + num, side="right")), start + 1)
            blocks = []
            for run, sources_of_run in zip(runs, sources_of_runs, strict=True):
                own = slice(*np.searchsorted(sources_of_run, [start, end]).tolist())
                sources, targets, weights = (file[own] for file in run)
                blocks.append((sources - start, targets, weights))
            matrix = _summed(blocks, (end - start, num_targets))
            degrees[start:end] = np.diff(matrix.indptr)
            if runs[0][2].dtype == np.float64 or "weights" in files or np.any(matrix.data != 1):
                _fill(files["weights"], files["targets"].length)
                files["weights"].append(matrix.data)
            files["targets"].append(matrix.indices)
            bar.update(int(ends[end - 1]) - written)
            start, written = end, int(ends[end - 1])
    for run in runs:
        for file in run:
            file.path.unlink()
    return degrees


def _fill(weights, length):
    """Gives the edges before the first one that came twice the weight 1."""
    while weights.length < length:
        weights.append(np.ones(min(BLOCK_EDGES, length - weights.length), np.float32))
