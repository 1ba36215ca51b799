"""Beam steps that make likes of users for items from interactions: merged, limited, numbered."""

import logging
from pathlib import Path

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from tf_recall.beam import tables
from tf_recall.beam.partial import shards
from tf_recall.beam.runs import counter, run, tasks
from tf_recall.data.interactions import Interactions

ROWS_AT_ONCE = 2**19  # read by a worker
COUNTED = (
    "interactions",
    "likes",
    "capped_users",
    "left_out_by_user_limit",
    "capped_items",
    "left_out_by_item_limit",
    "items",
)
TIMES = (
    "seconds since 1970, or datetimes",
    lambda dtype: tables.NUMBERS[1](dtype) or pa.types.is_timestamp(dtype),
)
log = logging.getLogger(__name__)


def interactions_table(pattern: str | Path) -> tables.Table:
    """A table of interactions: `user_id`, `item_id`, perhaps `timestamp` and `weight`.

    Raises:
        FileNotFoundError: no such files.
        ValueError: as `tables.Table`; or ids that are strings in one file and integers in another.
    """
    needed = {"user_id": tables.IDS, "item_id": tables.IDS}
    optional = {"timestamp": TIMES, "weight": tables.NUMBERS}
    table = tables.Table(pattern, "interactions", needed, optional)
    for name in needed:
        text = [tables.is_text(schema.field(name).type) for schema in table.schemas]
        if any(text) and not all(text):
            which = [table.files[text.index(kind)].path for kind in (True, False)]
            raise ValueError(
                f"interactions: {name} is text in {which[0]} and whole numbers in {which[1]}"
            )
    return table


def gather(
    table: tables.Table,
    folder: str,
    limits: dict[str, int | None],
    num_shards: int,
    options: PipelineOptions,
) -> dict[str, int]:
    """Writes the likes of all users, as `tf_recall.data.likes.Likes` has them, and the items.

        like(u, i) = sum of `weight` over the pair's interactions, or their number without it

    Pairs of weight 0 are left out. Of each user only the latest `user_limit` items count; of these,
    of each item only the latest `item_limit` users: by the pair's last interaction, by time and
    then by line.

        likes/  item, user: numbers; like
        items/  item: its number; item_id; users: how many like it; square: sum of like^2

    Numbers do not depend on the order in which a runner works: shard + num_shards * position among
    the shard's ids.

    Args:
        table: as `interactions_table`.
        folder: where to.
        limits: `{"user_limit": ..., "item_limit": ...}`; None: no limit.
        num_shards: of the users, and of the items.
        options: Beam's.

    Returns:
        `COUNTED`, by name: how much there was, and how much the limits left out.

    Raises:
        ValueError: nobody likes anything. From workers, as Beam's runner wraps it: what
            `Interactions` refuses.
    """
    columns = [
        name for name in ("user_id", "item_id", "timestamp", "weight") if name in table.schema.names
    ]
    blocks = table.blocks(ROWS_AT_ONCE)
    lines = np.cumsum([0] + [block.rows for block in blocks[:-1]]).tolist()

    def build(pipeline):
        _ = (
            tasks(pipeline, "interactions", list(zip(lines, blocks, strict=True)))
            | "interactions: read" >> beam.ParDo(Read(columns, num_shards))
            | "interactions: by user" >> beam.GroupByKey()
            | "users: merge" >> beam.ParDo(Merge(limits["user_limit"], num_shards))
            | "users: by item" >> beam.GroupByKey()
            | "items: write" >> beam.ParDo(Write(limits["item_limit"], num_shards, folder))
        )

    counted = dict.fromkeys(COUNTED, 0) | run(build, options)
    for of in ("user", "item"):
        if counted[f"capped_{of}s"]:
            log.warning(
                "%d %ss have more than %d likes: the oldest %d of these do not count",
                counted[f"capped_{of}s"],
                of,
                limits[f"{of}_limit"],
                counted[f"left_out_by_{of}_limit"],
            )
    if not counted["likes"]:
        raise ValueError("no interaction has a weight above 0: nobody likes anything")
    return counted


class Read(beam.DoFn):
    """`(line, Block)` -> `(shard of the users, their interactions)`."""

    def __init__(self, columns: list[str], num_shards: int):
        self._columns = columns
        self._num_shards = num_shards
        self._counter = counter("interactions")

    def process(self, element):
        line, block = element
        for batch in block.batches(self._columns, ROWS_AT_ONCE):
            try:
                # a relative clock may look like dates in one block, but not in the first
                unit = "s" if line else None
                frame = Interactions.from_frame(batch.to_pandas(), time_unit=unit).frame
            except (ValueError, TypeError) as error:
                raise ValueError(
                    f"{block.path}: {error} Rows are counted from line {line} of all files."
                ) from None
            self._counter.inc(len(frame))
            frame["line"] = np.arange(line, line + len(frame))
            line += len(frame)
            defaults = {"timestamp": 0, "weight": 1.0}
            frame = frame.assign(**{name: frame.get(name, defaults[name]) for name in defaults})
            frame = frame[frame["weight"] > 0]
            frame = frame.astype({"weight": np.float64, "timestamp": np.float64})
            interactions = pa.Table.from_pandas(frame, preserve_index=False)
            for shard, at in _by_id(frame["user_id"].to_numpy(), self._num_shards):
                yield shard, interactions.take(at)


class Merge(beam.DoFn):
    """`(shard, interactions of its users)` -> `(shard of the items, likes)`, one per pair."""

    def __init__(self, limit: int | None, num_shards: int):
        self._limit = limit
        self._num_shards = num_shards
        self._likes = counter("likes")
        self._capped = counter("capped_users")
        self._left_out = counter("left_out_by_user_limit")

    def process(self, element):
        shard, parts = element
        table = pa.concat_tables(parts)
        user, _ = _coded(table["user_id"])
        item, items = _coded(table["item_id"])
        time, line, weight = (table[name].to_numpy() for name in ("timestamp", "line", "weight"))
        order = np.lexsort([line, time, item, user])
        user, item, time, line, weight = (
            values[order] for values in (user, item, time, line, weight)
        )
        first = np.flatnonzero((np.diff(user, prepend=-1) != 0) | (np.diff(item, prepend=-1) != 0))
        last = np.append(first[1:], len(user)) - 1
        kept, capped = latest(user[last], time[last], line[last], self._limit)
        self._likes.inc(len(first))
        self._capped.inc(capped)
        self._left_out.inc(int(len(first) - kept.sum()))
        like = np.add.reduceat(weight, first)[kept]
        last = last[kept]
        likes = {"user": shard + self._num_shards * user, "timestamp": time, "line": line}
        likes = pa.table({name: values[last] for name, values in likes.items()} | {"like": like})
        for of_item, at in _by_id(items, self._num_shards, item[last]):
            yield of_item, likes.take(at).append_column("item_id", pa.array(items[item[last][at]]))


class Write(beam.DoFn):
    """`(shard, likes of its items)` -> a file of likes and one of items."""

    def __init__(self, limit: int | None, num_shards: int, folder: str):
        self._limit = limit
        self._num_shards = num_shards
        self._folder = folder
        self._items = counter("items")
        self._capped = counter("capped_items")
        self._left_out = counter("left_out_by_item_limit")

    def process(self, element):
        shard, parts = element
        table = pa.concat_tables(parts)
        item, items = _coded(table["item_id"])
        kept, capped = latest(
            item, table["timestamp"].to_numpy(), table["line"].to_numpy(), self._limit
        )
        self._items.inc(len(items))
        self._capped.inc(capped)
        self._left_out.inc(int(len(item) - kept.sum()))
        user = table["user"].to_numpy()
        like = table["like"].to_numpy()
        order = np.lexsort([user, item])
        item, user, like = (values[order[kept[order]]] for values in (item, user, like))
        number = shard + self._num_shards * np.arange(len(items))
        counted = {"users": np.bincount(item), "square": np.bincount(item, like**2)}
        for name, columns in (
            ("likes", {"item": number[item], "user": user, "like": like}),
            ("items", {"item": number, "item_id": pa.array(items), **counted}),
        ):
            path = FileSystems.join(
                self._folder, name, f"{name}-{shard:05d}-of-{self._num_shards:05d}.parquet"
            )
            tables.write_table(path, columns)


def latest(
    group: np.ndarray, time: np.ndarray, line: np.ndarray, limit: int | None
) -> tuple[np.ndarray, int]:
    """The latest entries of each group, by time and then by line.

    Args:
        group: `[n]` whole numbers of at least 0.
        time, line: `[n]`.
        limit: how many of a group, at most; None: all.

    Returns:
        Which are kept, bool `[n]`, and how many groups had more.
    """
    if limit is None:
        return np.ones(len(group), bool), 0
    count = np.bincount(group)
    order = np.lexsort([line, time, group])
    from_end = np.cumsum(count)[group[order]] - np.arange(len(group))
    kept = np.empty(len(group), bool)
    kept[order] = from_end <= limit
    return kept, int((count > limit).sum())


def _coded(column) -> tuple[np.ndarray, np.ndarray]:
    """The code of each id, and the distinct ids, rising."""
    return pd.factorize(column.to_numpy(), sort=True)


def _by_id(ids, num_shards, codes=None):
    """The shards of ids, or of `ids[codes]`, and the positions of each one's: `[(shard, at)]`."""
    hashes = pd.util.hash_array(ids)
    return shards(hashes if codes is None else hashes[codes], num_shards)
