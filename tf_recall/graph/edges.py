"""Edges chunk by chunk: from arrays, from files, and from a graph."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from tf_recall.data import delimited, tables
from tf_recall.data.vocabulary import Vocabulary
from tf_recall.graph.csr import Graph

BLOCK_ROWS = 2**18


@dataclass(frozen=True, eq=False)
class Edges:
    """Some of the edges of a graph, in any order.

    Args:
        sources, targets: `[n]` rows, or raw ids that a vocabulary will encode.
        weights: `[n]`, or None for 1 each.
        origin, first: what errors call edge i: origin, then first + i, as in
            "clicks.csv, line 17".
    """

    sources: np.ndarray
    targets: np.ndarray
    weights: np.ndarray | None = None
    origin: str = "edge"
    first: int = 0

    def __post_init__(self):
        for name in ("sources", "targets", "weights"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, np.asarray(getattr(self, name)))
        shapes = [
            each.shape for each in (self.sources, self.targets, self.weights) if each is not None
        ]
        if len(set(shapes)) > 1 or len(shapes[0]) != 1:
            raise ValueError(
                f"{self.origin} {self.first} and on: the arrays must be of one length, got "
                f"{shapes}."
            )

    def __len__(self) -> int:
        return len(self.sources)

    def position(self, edge: int) -> str:
        """Where an edge comes from, for errors: `clicks.csv, line 17`."""
        return f"{self.origin} {self.first + edge}"


def read_edges(
    paths: str | Path | Iterable[str | Path], columns: dict[str, str] | None = None
) -> Iterator[Edges]:
    """The edges of CSV or Parquet files, chunk by chunk in the files' order.

    Args:
        paths: a file (`.csv`, `.tsv`, also compressed, or `.parquet`), a folder of Parquet files,
            or a list of these.
        columns: the files' names of our columns `source`, `target` and `weight`, where they
            differ. Without a column of weights (named here, or called `weight`) every edge has
            weight 1.

    Raises:
        FileNotFoundError: no such file, or a folder without Parquet files.
        ValueError: a column that a file lacks or that is none of ours, another suffix, a file that
            cannot be read, or files without any edges.

    Example:
        >>> edges = read_edges("clicks.csv", {"source": "user_id", "target": "item_id"})
        >>> graph = build(edges, "graphs/user-item", catalog.users, catalog.items)
    """
    columns = columns or {}
    if foreign := sorted(set(columns) - {"source", "target", "weight"}):
        raise ValueError(
            f"columns names a file's columns that are our source, target and weight, got {foreign}."
        )
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    files = [file for path in paths for file in _files(Path(path))]
    found = 0
    for file in files:
        read = _parquet if file.suffix in (".parquet", ".pq") else _csv
        for chunk in read(file, columns):
            found += len(chunk)
            yield chunk
    if not found:
        raise ValueError(
            "There are no edges: no file has a row, of "
            f"{', '.join(map(str, files)) or 'none given'}."
        )


def edges_of(graph: Graph, num: int = BLOCK_ROWS) -> Iterator[Edges]:
    """The edges of a graph in its order, `num` at a time, so that a mapped graph stays on disk."""
    for start in range(0, graph.num_edges, num):
        stop = min(start + num, graph.num_edges)
        first = np.searchsorted(graph.offsets, start, "right") - 1
        last = np.searchsorted(graph.offsets, stop)
        counts = np.diff(np.clip(graph.offsets[first : last + 1], start, stop))
        sources = np.repeat(np.arange(first, last, dtype=np.int32), counts)
        weights = None if graph.weights is None else graph.weights[start:stop]
        yield Edges(sources, graph.targets[start:stop], weights, first=start)


def encoded(
    values: np.ndarray, nodes: int | Vocabulary, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the nodes that edges name, and which of them no node has.

    Args:
        values: `[n]` rows, or raw ids; numbers may be text, since CSV does not tell the two apart.
        nodes: the number of rows for rows, the `Vocabulary` for raw ids.
        name: what to call the values in an error.

    Returns:
        int64 `[n]`, 0 where no node has the row, and bool `[n]`, true there.

    Raises:
        TypeError: values that are no whole numbers where there is no vocabulary, or no ids of the
            vocabulary's kind.
    """
    numbers = values
    if values.dtype.kind == "O" and not (isinstance(nodes, Vocabulary) and nodes.dtype == "string"):
        numbers = pd.to_numeric(pd.Series(values), errors="coerce").to_numpy()
    if isinstance(nodes, Vocabulary):
        rows = nodes.encode(numbers)
        return rows, rows == 0
    if numbers.dtype.kind not in "iuf":
        raise TypeError(
            f"{name} must be rows, whole numbers, got {values[:3].tolist()}: raw ids need a "
            "Vocabulary."
        )
    wrong = ~((numbers > 0) & (numbers < nodes))
    if numbers.dtype.kind == "f":  # as whole numbers come of which some are missing
        wrong |= numbers != np.floor(numbers)
    return np.where(wrong, 0, numbers).astype(np.int64), wrong


def _files(path: Path) -> Iterable[Path]:
    if path.is_dir():
        files = sorted(path.rglob("*.parquet"))
        if not files:
            raise FileNotFoundError(f"{path} is a folder without *.parquet in it.")
        return files
    if not path.is_file():
        raise FileNotFoundError(f"There is no edge file at {path}.")
    if not {".csv", ".tsv", ".parquet", ".pq"} & set(path.suffixes):
        raise ValueError(f"{path} must end in .csv, .tsv (or those compressed) or .parquet.")
    return [path]


def _names(file, there, columns) -> dict[str, str]:
    """The file's name of each of our columns."""
    ours = ["source", "target", *(["weight"] if "weight" in {*columns, *there} else [])]
    names = {name: columns.get(name, name) for name in ours}
    if lacking := [theirs for theirs in names.values() if theirs not in there]:
        raise ValueError(
            f"{file} has no column {', '.join(map(repr, lacking))}, only {list(there)}: name its "
            "source and target with columns={'source': '<its name>', 'target': '<its name>'}."
        )
    return names


def _csv(file: Path, columns: dict) -> Iterator[Edges]:
    line = 2
    for batch in delimited.batches(file):
        names = _names(file, batch.schema.names, columns)
        chosen = batch.select([*dict.fromkeys(names.values())])
        yield _chunk(chosen.to_pandas(), names, f"{file}, line", line)
        line += batch.num_rows


def _parquet(file: Path, columns: dict) -> Iterator[Edges]:
    with tables.reading_parquet(file), pq.ParquetFile(file) as parquet:
        names = _names(file, parquet.schema_arrow.names, columns)
        row = 0
        for batch in parquet.iter_batches(BLOCK_ROWS, columns=[*names.values()]):
            yield _chunk(batch.to_pandas(), names, f"{file}, row", row)
            row += batch.num_rows


def _chunk(frame, names, origin, first):
    weights = frame[names["weight"]].to_numpy() if "weight" in names else None
    return Edges(
        frame[names["source"]].to_numpy(), frame[names["target"]].to_numpy(), weights, origin, first
    )
