"""What `item_cf` and `swing` share: from likes to files of the items most similar to each item."""

import argparse
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.utils.shared import Shared
from scipy import sparse

from tf_recall.beam import tables
from tf_recall.beam.files import found, matching, opened
from tf_recall.beam.likes import ROWS_AT_ONCE, gather, interactions_table
from tf_recall.beam.partial import shards
from tf_recall.beam.progress import Progress
from tf_recall.beam.runs import add_settings, counter, run, tasks, with_runner
from tf_recall.channels.item_cf import check_counts
from tf_recall.recommend.products import first, ordered

USER_LIMIT = 500  # latest items of a user that count: the work is its square
ROWS_PER_SHARD = 1_000_000
log = logging.getLogger(__name__)


def similar(
    interactions: str | Path,
    out: str | Path,
    settings: dict,
    steps: Callable,
    options: PipelineOptions | None = None,
) -> dict:
    """Counts likes, and then similarities, by `steps`, of the items that have no file yet.

    Args:
        interactions, out, options: as `tf_recall.beam.item_cf.item_cf`.
        settings: all that the result depends on, by name; among them `top`, `user_limit`,
            `item_limit`, `rows_per_shard` and `items_per_shard`.
        steps: `steps(likes, work)` adds the steps from `(shard of the users, [Some, ...])` to the
            files.

    Returns:
        `{"similar": pattern of the files, "rows": items, "counted": {name: number}}`
    """
    check_counts(**{name: settings[name] for name in ("top", "user_limit", "item_limit")})
    for name in ("rows_per_shard", "items_per_shard"):
        if settings[name] < 1:
            raise ValueError(f"{name} must be at least 1, got {settings[name]}")
    table = interactions_table(interactions)
    out = str(out)
    options = with_runner(options)
    progress = Progress(out, {"interactions": table.fingerprint(), **settings})
    progress.clear("**.part")
    num_shards = -(-table.rows // settings["rows_per_shard"])
    if "likes" not in progress.finished:
        limits = {name: settings[name] for name in ("user_limit", "item_limit")}
        progress.finish("likes", gather(table, out, limits, num_shards, options))
    counted = progress.finished["likes"]
    log.info("likes: %s", counted)
    if "similar" not in progress.finished:
        num_parts = -(-counted["items"] // settings["items_per_shard"])
        work = Work(out, Shared(), settings["top"], num_shards, num_parts)
        run(lambda pipeline: steps(_likes(pipeline, work), work), options)
        rows = tables.Table(FileSystems.join(out, "similar"), "similar", {}).rows
        if rows != counted["items"]:
            raise RuntimeError(
                f"{out} has {rows} items and should have {counted['items']}; run again"
            )
        progress.finish("similar", {"rows": rows})
    return {
        "similar": FileSystems.join(out, "similar", "*.parquet"),
        "rows": counted["items"],
        "counted": counted,
    }


class Some(NamedTuple):
    """Likes of some users, `[n]` each: the users' numbers, the items' rows, and how much."""

    users: np.ndarray
    rows: np.ndarray
    like: np.ndarray


class Items:
    """All items that anybody likes, a row each, by id.

    Args:
        folder: where `tf_recall.beam.likes.gather` wrote.

    Attributes:
        ids: `[V]` Arrow array, rising.
        users: `[V]`, how many users like an item.
        square: `[V]`, the sum of their likes' squares.
    """

    def __init__(self, folder: str):
        parts = []
        for file in found(FileSystems.join(folder, "items")):
            with opened(file.path) as source:
                parts.append(pq.read_table(source))
        table = pa.concat_tables(parts)
        table = table.take(pc.sort_indices(table["item_id"]))
        self.ids = table["item_id"].combine_chunks()
        self.users = table["users"].to_numpy()
        self.square = table["square"].to_numpy()
        numbers = table["item"].to_numpy()
        self._rows = np.zeros(numbers.max() + 1, np.int64)
        self._rows[numbers] = np.arange(len(numbers))

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """The rows of numbered items."""
        return self._rows[numbers]


@dataclass(frozen=True)
class Work:
    """What all steps of a run share.

    Args:
        folder: of the output.
        shared: where a worker keeps the `Items`.
        top: how many similar items to keep of each.
        num_shards: of the users.
        num_parts: of the items; part = row modulo num_parts.
    """

    folder: str
    shared: Shared
    top: int
    num_shards: int
    num_parts: int

    def items(self) -> Items:
        """The items, loaded once by a worker."""
        return self.shared.acquire(lambda: Items(self.folder))

    def path(self, part: int) -> str:
        """The path of a part's file."""
        return FileSystems.join(
            self.folder, "similar", f"similar-{part:05d}-of-{self.num_parts:05d}.parquet"
        )

    def waiting(self) -> list[int]:
        """The parts that have no file yet."""
        there = {
            file.path for file in matching(FileSystems.join(self.folder, "similar", "*.parquet"))
        }
        return [part for part in range(self.num_parts) if self.path(part) not in there]


class Step(beam.DoFn):
    """A step that has the items."""

    def __init__(self, work: Work):
        self._work = work

    def setup(self) -> None:
        self._items = self._work.items()


class ReadLikes(Step):
    """Blocks of the files of likes -> `(shard of the users, Some)`."""

    def process(self, block):
        for batch in block.batches(["item", "user", "like"], ROWS_AT_ONCE):
            item, user, like = (batch.column(name).to_numpy() for name in ("item", "user", "like"))
            rows = self._items.rows(item)
            for shard, at in shards(user, self._work.num_shards):
                yield shard, Some(user[at], rows[at], like[at])


class WriteSimilar(Step):
    """`(part, similarities [items of the part, V])` -> a file of each item's most similar items."""

    def __init__(self, work: Work):
        super().__init__(work)
        self._counter = counter("rows")

    def process(self, element):
        part, similarity = element
        rows = np.arange(part, len(self._items.ids), self._work.num_parts)
        row = np.repeat(rows, np.diff(similarity.indptr))
        similarity = sparse.csr_matrix(
            (similarity.data.astype(np.float32), similarity.indices, similarity.indptr),
            similarity.shape,
        )
        best = ordered(similarity)
        best = first(best, self._work.top, (best.indices != row) & (best.data > 0))
        offsets = pa.array(best.indptr, pa.int32())
        columns = {
            "item_id": self._items.ids.take(pa.array(rows)),
            "similar": pa.ListArray.from_arrays(
                offsets, self._items.ids.take(pa.array(best.indices))
            ),
            "similarity": pa.ListArray.from_arrays(offsets, pa.array(best.data)),
        }
        tables.write_table(self._work.path(part), columns)
        self._counter.inc(len(rows))


def matrix(some: list[Some], num_items: int) -> tuple[np.ndarray, sparse.csr_matrix]:
    """The users of several blocks, in any order: rising numbers, and their likes `[U, V]`."""
    users, rows, like = (np.concatenate(column) for column in zip(*some, strict=True))
    number, user = np.unique(users, return_inverse=True)
    return number, sparse.csr_matrix((like, (user, rows)), (len(number), num_items))


def add_arguments(parser: argparse.ArgumentParser, function: Callable, **helps: str) -> None:
    """Adds the options of a command line: those of all, and the named ones of its function."""
    add = parser.add_argument
    add(
        "--interactions",
        required=True,
        metavar="PARQUET",
        help="user_id, item_id, perhaps timestamp and weight.",
    )
    add("--out", required=True, metavar="DIR", help="Where to; an interrupted run continues there.")
    add_settings(
        parser,
        function,
        top="How many similar items to keep of each",
        user_limit="How many of a user's latest items count",
        rows_per_shard="Interactions that a worker holds",
        **helps,
    )


def _likes(pipeline, work):
    blocks = tables.Table(FileSystems.join(work.folder, "likes"), "likes", {}).blocks(ROWS_AT_ONCE)
    return (
        tasks(pipeline, "likes", blocks)
        | "likes: read" >> beam.ParDo(ReadLikes(work))
        | "likes: by user" >> beam.GroupByKey()
    )
