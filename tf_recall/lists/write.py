"""Precomputed lists: what a recommender answers to many users, or items, in one Parquet file."""

import contextlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from tf_recall.data.atomic import atomic_file
from tf_recall.data.ids import kind_of, raw_ids
from tf_recall.data.vocabulary import Vocabulary
from tf_recall.lists.base import Form
from tf_recall.recommend.base import Recommender

FORM = b"tf_recall.lists"  # where a file's metadata holds its form


def write_lists(
    recommender: Recommender,
    user_ids: Any,
    path: str | Path,
    k: int = 100,
    exclude_seen: bool = True,
    batch_size: int = 1024,
) -> Path:
    """Writes each user's recommendations to a Parquet file, whole or not at all.

    `Lists.load` reads it.

        user_id  string or int64
        item_id  list of string or int64, best first
        score    list of float32, falling
        sources  list of lists of string: of a merge, the channels that had the item

    Lists end where the recommender has no more items. They are written batch by batch, a row group
    each, so that memory does not grow with their number.

    Args:
        recommender: any that answers users.
        user_ids: raw ids `[U]`, each once. An unknown user gets what the recommender gives unknown
            users.
        path: the file; what has the name is replaced.
        k: the most items in a list.
        exclude_seen: leave out what users interacted with in training.
        batch_size: how many users are asked for at once.

    Returns: the path.

    Raises:
        ValueError: no users, an id that is missing or comes twice, a k that the recommender does
            not answer.
        IsADirectoryError: the path is a folder.
        TypeError: integer ids where strings were trained on, or the reverse.

    Example:
        >>> write_lists(multi, multi.catalog.users.ids, "lists.parquet", k=100)
        >>> item_id, score = Lists.load("lists.parquet").recommend(["u17"], k=10)
    """

    def ask(ids):
        items, score, ranks = recommender.recommend_sources(ids, k, exclude_seen=exclude_seen)
        columns = _columns("item_id", items, score)
        if recommender.sources:
            ranks = ranks[score > -np.inf]
            columns["sources"] = _sources(ranks, recommender.sources, columns["item_id"])
        return columns

    about = {**_origin(recommender), "exclude_seen": bool(exclude_seen)}
    return _write(ask, "user_id", user_ids, "item_id", path, k, batch_size, about)


def write_similar(
    recommender: Recommender, item_ids: Any, path: str | Path, k: int = 100, batch_size: int = 1024
) -> Path:
    """Writes the items most similar to each item to a Parquet file, whole or not at all.

    `ItemLists.load` reads it.

        item_id  string or int64
        similar  list of string or int64, the most similar first
        score    list of float32, falling

    Args:
        recommender: any that answers items.
        item_ids: raw ids `[I]`, each once.
        path, k, batch_size: as for `write_lists`.

    Returns: the path.

    Raises: as `write_lists`; a ValueError for a recommender that does not answer items.
    """

    def ask(ids):
        return _columns("similar", *recommender.similar(ids, k))

    about = _origin(recommender)
    return _write(ask, "item_id", item_ids, "similar", path, k, batch_size, about)


def _origin(recommender):
    items = (recommender.identity or {}).get("items")
    return {"items": items, "export": recommender.export}


def _write(ask, key, ids, column, path, k, batch_size, about):
    """Asks for all ids in batches, and writes `key` beside the columns that are answered."""
    ids, path = distinct(ids, key), Path(path)
    if batch_size < 1:
        raise ValueError(f"batch_size is a whole number of at least 1, got {batch_size!r}")
    if path.is_dir():
        raise IsADirectoryError(
            f"{path} is a folder: lists go to a file, such as {path / 'lists.parquet'}"
        )
    with atomic_file(path) as aside, contextlib.ExitStack() as stack:
        writer = None
        for start in tqdm(
            range(0, len(ids), batch_size), "writing lists", unit="batch", delay=3, leave=False
        ):
            block = ids[start : start + batch_size]
            table = pa.table({key: pa.array(block, TYPES[kind_of(ids)]), **ask(block)})
            if writer is None:
                of_column = str(table.schema.field(column).type.value_type)
                form = Form(key, kind_of(ids), column, of_column, k, **about)
                schema = table.schema.with_metadata({FORM: json.dumps(asdict(form))})
                writer = stack.enter_context(
                    pq.ParquetWriter(aside, schema, write_page_checksum=True)
                )
            writer.write_table(table)
    return path


TYPES = {"string": pa.string(), "int64": pa.int64()}


def distinct(ids: Any, key: str) -> np.ndarray:
    """The ids as `[N]`, where there are any and each can be looked up again.

    Raises:
        ValueError: there is none, one is missing, or comes twice.
    """
    ids = raw_ids(ids, key).reshape(-1)
    if not len(ids):
        raise ValueError(f"there is no {key} to write a list for")
    try:
        Vocabulary(ids, np.zeros(len(ids)))
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None
    return ids


def _columns(name, items, score):
    """Items `[B, k]` and their scores as columns of lists, without the padding."""
    there = score > -np.inf
    starts = offsets(there.sum(axis=1))
    items = pa.array(items[there], TYPES[kind_of(items)])
    score = pa.array(score[there], pa.float32())
    return {
        name: pa.ListArray.from_arrays(starts, items),
        "score": pa.ListArray.from_arrays(starts, score),
    }


def _sources(ranks, names, items):
    """The names of the channels that had each item, where `ranks` `[N, C]` is above 0, in lists as
    the items are.
    """
    item, channel = np.nonzero(ranks)
    names = pa.array(names, pa.string()).take(pa.array(channel))
    names = pa.ListArray.from_arrays(offsets(np.bincount(item, minlength=len(ranks))), names)
    return pa.ListArray.from_arrays(items.offsets, names)


def offsets(lengths: np.ndarray) -> pa.Array:
    """Where lists of these lengths begin and end in one flat array."""
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
