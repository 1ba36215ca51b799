"""A Beam pipeline that computes the vectors of a whole catalog with an exported model."""

import contextlib
import json
import logging
from pathlib import Path

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.utils.shared import Shared

from tf_recall.beam import tables
from tf_recall.beam.files import matching, written
from tf_recall.beam.progress import Progress
from tf_recall.beam.runs import add_settings, answer, command, counter, run, tasks, with_runner
from tf_recall.data.ids import is_missing, raw_ids
from tf_recall.export.load import load
from tf_recall.export.versions import version_folder

ROWS_AT_ONCE = 4096  # embedded at a time
IDS_AT_ONCE = 2**20  # compared at a time, to find any that come twice
log = logging.getLogger(__name__)


def embed(
    items: str | Path,
    model: str | Path,
    out: str | Path,
    rows_per_shard: int = 100_000,
    options: PipelineOptions | None = None,
) -> dict:
    """Computes the vector of each item of a catalog, by the export's endpoint `embed_item`.

    Items that training has not seen are embedded from their features. The catalog is divided into
    shards of whole row groups, and each gets a file of the result. After an interruption, a call
    with the same arguments embeds the shards that have no file yet. A worker loads the model once.

    Args:
        items: Parquet (a file, a pattern or a folder) with `item_id` and columns named as the
            model's features. Columns and values may be missing; columns that the model does not
            know are not read.
        model: an export: `saved_models/<name>/<version>`, or `saved_models/<name>` for its newest
            version; a folder that all workers see.
        out: a folder for the result, `embeddings-<i>-of-<n>.parquet` with `item_id` as it came and
            `embedding`, a fixed-size list of float32.
        rows_per_shard: about how many items a file gets; row groups are not divided.
        options: Beam's `PipelineOptions`; without a runner among them, all runs in this process.

    Returns:
        `{"embeddings": pattern of the files, "rows": number of items, "counted": rows that this
            run embedded}`

    Raises:
        FileNotFoundError: no such files, or no such export.
        ValueError: no rows or no `item_id`, an `out` of other inputs. From workers, as Beam's
            runner wraps it: ids that are missing or come twice, values that are no numbers where
            the model takes numbers.
        TypeError: from workers: integer ids where the model has strings, or the reverse.

    Example:
        >>> embed("catalog/", "saved_models/two_tower", "vectors")
    """
    if rows_per_shard < 1:
        raise ValueError(f"rows_per_shard must be at least 1, got {rows_per_shard}")
    table = tables.Table(items, "items", {"item_id": tables.IDS})
    model = version_folder(model)
    out = str(out)
    options = with_runner(options)
    manifest = json.loads((model / "manifest.json").read_text())
    inputs = {
        "items": table.fingerprint(),
        "model": [str(model), manifest],
        "rows_per_shard": rows_per_shard,
    }
    progress = Progress(out, inputs)
    answer = {"embeddings": FileSystems.join(out, "*.parquet"), "rows": table.rows, "counted": {}}
    if "embeddings" in progress.finished:
        return answer
    shared = Shared()
    # referenced to the end, so that workers of this process use the same
    loaded = shared.acquire(lambda: load(model))
    known = list(loaded.inputs["embed_item"])
    columns = [name for name in known if name in table.schema.names]
    log.info(
        "%d items; features that are missing: %s; columns that the model does not know: %s",
        table.rows,
        sorted(set(known) - set(columns)),
        sorted(set(table.schema.names) - set(known)),
    )
    blocks = table.blocks(rows_per_shard)
    paths = [
        FileSystems.join(out, f"embeddings-{at:05d}-of-{len(blocks):05d}.parquet")
        for at in range(len(blocks))
    ]
    progress.clear("*.part")
    there = {file.path for file in matching(FileSystems.join(out, "*.parquet"))}
    waiting = [
        (block, path) for block, path in zip(blocks, paths, strict=True) if path not in there
    ]
    num_parts = -(-table.rows // IDS_AT_ONCE)

    def build(pipeline):
        embedded = Embed(str(model), shared, columns)
        _ = tasks(pipeline, "items", waiting) | "embed" >> beam.ParDo(embedded)
        _ = (
            tasks(pipeline, "ids", table.blocks(IDS_AT_ONCE))
            | "ids: read" >> beam.ParDo(ReadIds(num_parts))
            | "ids: by hash" >> beam.GroupByKey()
            | "ids: once each" >> beam.MapTuple(_once_each)
        )

    answer["counted"] = run(build, options)
    rows = tables.Table(out, "embeddings", {}).rows
    if rows != table.rows:
        raise RuntimeError(f"{out} has {rows} rows and should have {table.rows}; run again")
    progress.finish("embeddings", {"rows": rows})
    return answer


class Embed(beam.DoFn):
    """`(Block, path)` -> a file of the embeddings of these items."""

    def __init__(self, model: str, shared: Shared, columns: list[str]):
        self._model = model
        self._shared = shared
        self._columns = columns
        self._counter = counter("rows")

    def setup(self) -> None:
        self._loaded = self._shared.acquire(lambda: load(self._model))

    def process(self, element):
        block, path = element
        writer = None
        with written(path) as file, contextlib.ExitStack() as closed:
            for batch in block.batches(self._columns, ROWS_AT_ONCE):
                given = {name: batch.column(name).to_pandas() for name in self._columns}
                vectors = self._loaded.embed_item(**given)
                ids = batch.column("item_id")
                table = pa.table({"item_id": ids, "embedding": tables.vector_column(vectors)})
                writer = writer or closed.enter_context(pq.ParquetWriter(file, table.schema))
                writer.write_table(table)
        self._counter.inc(block.rows)


class ReadIds(beam.DoFn):
    """Blocks -> `(part, ids)`; ids of equal hashes are in one part."""

    def __init__(self, num_parts: int):
        self._num_parts = num_parts

    def process(self, block):
        for batch in block.batches(["item_id"], IDS_AT_ONCE):
            ids = raw_ids(batch.column("item_id").to_pandas(), "item_id")
            if is_missing(ids).any():
                raise ValueError(f"items: {block.path} has rows without an item_id")
            parts = pd.util.hash_array(ids, categorize=False) % np.uint64(self._num_parts)
            for part in np.unique(parts):
                yield int(part), ids[parts == part]


def _once_each(_, blocks):
    """Refuses ids of a part that come twice."""
    ids = pd.Series(np.concatenate(list(blocks)))
    twice = ids[ids.duplicated()]
    if len(twice):
        raise ValueError(f"items: item_id {twice.iloc[0]!r} comes more than once")


def main(arguments: list[str] | None = None) -> None:
    """`python -m tf_recall.beam.embed --items ... --model ... --out ... [Beam's options]`"""
    parser = command("embed", "The vectors of a whole catalog.")
    add = parser.add_argument
    add(
        "--items",
        required=True,
        metavar="PARQUET",
        help="Ids and features: a file, a pattern or a folder.",
    )
    add("--model", required=True, metavar="DIR", help="An export: saved_models/<name>.")
    add("--out", required=True, metavar="DIR", help="Where to; an interrupted run continues there.")
    add_settings(parser, embed, rows_per_shard="About how many items a file gets")
    given, others = parser.parse_known_args(arguments)
    options = PipelineOptions(others)
    answer(
        parser, lambda: embed(given.items, given.model, given.out, given.rows_per_shard, options)
    )


if __name__ == "__main__":
    # Workers elsewhere find the steps by their module's name, which __main__ is not.
    from tf_recall.beam.embed import main as main_of_module

    main_of_module()
