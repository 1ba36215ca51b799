"""A half-sweep of ALS as a Beam pipeline: all rows of one side, beyond one machine's memory."""

from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from scipy import sparse

from tf_recall.beam import tables
from tf_recall.beam.files import matching
from tf_recall.beam.partial import positions, shards
from tf_recall.beam.runs import counter, run, tasks, with_runner
from tf_recall.retrievers.least_squares import half_sweep as in_memory
from tf_recall.retrievers.least_squares import squares
from tf_recall.towers.fold_in import Weighing

ROWS_AT_ONCE = 2**19  # read by a worker
STEPS, TOLERANCE = 200, 1e-6  # from 0 to the solution


def half_sweep(
    pairs: str | Path,
    others: str | Path,
    out: str | Path,
    weighing: Weighing,
    pairs_per_shard: int = 1_000_000,
    others_per_part: int = 100_000,
    options: PipelineOptions | None = None,
) -> dict:
    """Solves the vectors of one side, as `tf_recall.retrievers.least_squares.half_sweep` does.

    Map: blocks of the other side's vectors give their squares, which are added up to Y'Y; each part
    of them sends the vectors that a shard of rows needs, once, beside the shard's pairs. Reduce:
    a shard, with all of its pairs and their vectors, is solved. No worker holds a whole side. The
    other side is solved by the same call, of pairs turned around. After an interruption, a call
    with the same arguments solves the shards that have no file yet.

    Args:
        pairs: Parquet (a file, a pattern or a folder): `source`, a row of the side to solve,
            `target`, one of the other side, and perhaps `weight`, r above 0; a pair stands once.
        others: Parquet with `row` and `vector`, all of the other side.
        out: a folder for the result: `vectors-<i>-of-<n>.parquet`, with `row` and `vector`; rows
            without pairs, whose vectors are 0, are not in it.
        weighing: what pairs and vectors cost, with all of its numbers.
        pairs_per_shard: pairs that a worker solves at a time.
        others_per_part: vectors of the other side that a worker holds at a time.
        options: Beam's `PipelineOptions`; without a runner among them, all runs in this process.

    Returns:
        `{"vectors": pattern of the files, "rows": how many were solved now}`

    Raises:
        FileNotFoundError: no such files.
        ValueError: no rows, columns that are missing or of other types, a number of the weighing
            that is missing, fewer than 1 a shard or a part. From workers, as Beam's runner wraps
            it: a pair whose target has no vector.

    Example:
        >>> als = ALS(dim=8).adapt(split.train, catalog)
        >>> write_pairs(Likes.fit(split.train, catalog).matrix, als.embed_catalog(), "in")
        >>> given = "in/pairs.parquet", "in/others.parquet"
        >>> done = half_sweep(*given, "users", als.weighing, options=PipelineOptions([]))
        >>> pd.read_parquet("users")

    Paper: Hu et al. 2008, "Collaborative Filtering for Implicit Feedback Datasets", section 4.
    """
    if None in vars(weighing).values():
        raise ValueError(f"half_sweep needs all numbers, as an adapted model has: {weighing}")
    for name, value in (("pairs_per_shard", pairs_per_shard), ("others_per_part", others_per_part)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    table, vectors = tables.edges(pairs, ("row", "row of the other side")), tables.nodes(others, "")
    num_shards = -(-table.rows // pairs_per_shard)
    num_parts = -(-vectors.rows // others_per_part)
    names = ["source", "target", *(["weight"] if "weight" in table.schema.names else [])]
    solve = Solve(str(out), num_shards, vectors.rows, weighing)

    def build(pipeline):
        blocks = tasks(pipeline, "others", vectors.blocks(ROWS_AT_ONCE))
        near = blocks | "others: read" >> beam.ParDo(ReadVectors(num_parts))
        square = (
            near
            | "others: square" >> beam.Map(lambda part: squares(part[1][1]))
            | "others: add up" >> beam.CombineGlobally(_sum).without_defaults()
        )
        read = tasks(pipeline, "pairs", table.blocks(ROWS_AT_ONCE))
        read = read | "pairs: read" >> beam.ParDo(ReadPairs(names, num_parts))
        _ = (
            {"vectors": near, "pairs": read}
            | "parts: join" >> beam.CoGroupByKey()
            | "parts: send" >> beam.ParDo(Send(num_shards))
            | "shards: gather" >> beam.GroupByKey()
            | "shards: solve" >> beam.ParDo(solve, beam.pvalue.AsSingleton(square))
        )

    counted = run(build, with_runner(options))
    return {
        "vectors": FileSystems.join(str(out), "*.parquet"),
        "rows": counted.get("rows", 0),
    }


def write_pairs(pairs: sparse.csr_matrix, vectors: np.ndarray, folder: str | Path) -> None:
    """Writes what a half-sweep reads, `pairs.parquet` and `others.parquet`.

    Args:
        pairs: `[n, m]` r(u, i), as `Likes.fit` has them; row and column 0 are empty.
        vectors: `[m - 1, D]`, line r for row r + 1 of the other side, as `embed_catalog` has them.
        folder: where to; it is made.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    entries = pairs.tocoo()
    columns = {"source": entries.row, "target": entries.col, "weight": entries.data}
    tables.write_table(str(folder / "pairs.parquet"), columns)
    rows = pa.array(np.arange(1, 1 + len(vectors)))
    columns = {"row": rows, "vector": tables.vector_column(vectors)}
    tables.write_table(str(folder / "others.parquet"), columns)


class ReadVectors(beam.DoFn):
    """Blocks of vectors -> `(part of the other side, (rows, vectors))`."""

    def __init__(self, num_parts: int):
        self._num_parts = num_parts

    def process(self, block):
        for batch in block.batches(["row", "vector"], ROWS_AT_ONCE):
            rows = tables.numbers(batch.column("row"), "row", block.path, np.int64)
            vectors = tables.vectors(batch.column("vector"), block.path)
            for part, at in shards(rows, self._num_parts):
                yield part, (rows[at], vectors[at])


class ReadPairs(beam.DoFn):
    """Blocks of pairs -> `(part of the other side, (rows, other rows, r))`."""

    def __init__(self, names: list[str], num_parts: int):
        self._names = names
        self._num_parts = num_parts

    def process(self, block):
        for batch in block.batches(self._names, ROWS_AT_ONCE):
            rows, others = (
                tables.numbers(batch.column(name), name, block.path, np.int64)
                for name in ("source", "target")
            )
            r = np.ones(len(rows), np.float32)
            if "weight" in self._names:
                r = tables.numbers(batch.column("weight"), "weight", block.path, np.float32)
            for part, at in shards(others, self._num_parts):
                yield part, (rows[at], others[at], r[at])


class Send(beam.DoFn):
    """`(part, its vectors and pairs)` -> `(shard of the rows, (pairs, vectors of theirs))`."""

    def __init__(self, num_shards: int):
        self._num_shards = num_shards

    def process(self, element):
        _, both = element
        pairs = list(both["pairs"])
        if not pairs:
            return
        rows, others, r = (np.concatenate(column) for column in zip(*pairs, strict=True))
        known, vectors = [np.empty(0, np.int64)], []
        if found := list(both["vectors"]):
            known, vectors = zip(*found, strict=True)
        known = np.concatenate(known)
        order = np.argsort(known)
        known = known[order]
        positions(known, others, "pairs", "target")  # refuses those without a vector
        vectors = np.concatenate(vectors)[order]
        for shard, at in shards(rows, self._num_shards):
            used = np.unique(others[at])
            of_used = vectors[np.searchsorted(known, used)]
            yield shard, (rows[at], others[at], r[at], used, of_used)


class Solve(beam.DoFn):
    """`(shard, pairs and vectors)` -> a file of the shard's vectors."""

    def __init__(self, folder: str, num_shards: int, num_others: int, weighing: Weighing):
        self._folder = folder
        self._num_shards = num_shards
        self._num_others = num_others
        self._weighing = weighing
        self._counter = counter("rows")

    def process(self, element, square):
        shard, parts = element
        name = f"vectors-{shard:05d}-of-{self._num_shards:05d}.parquet"
        path = FileSystems.join(self._folder, name)
        if matching(path):
            return
        rows, others, r, used, vectors = (
            np.concatenate(column) for column in zip(*parts, strict=True)
        )
        known, first = np.unique(used, return_index=True)
        number, row = np.unique(rows, return_inverse=True)
        shape = 1 + len(number), 1 + len(known)
        local = sparse.csr_matrix((r, (1 + row, 1 + np.searchsorted(known, others))), shape)
        near = np.concatenate([np.zeros([1, len(square)], np.float32), vectors[first]])
        start = np.zeros([shape[0], len(square)], np.float32)
        settings = STEPS, TOLERANCE, square, self._num_others
        solved = in_memory(local, near, start, self._weighing, *settings).vectors[1:]
        columns = {"row": pa.array(number), "vector": tables.vector_column(solved)}
        tables.write_table(path, columns)
        self._counter.inc(len(number))


def _sum(matrices):
    return sum(matrices, np.float64(0))
