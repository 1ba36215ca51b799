"""The source of logs larger than memory: Parquet files become columns of numbers on disk, once."""

import contextlib
import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from tqdm import tqdm

from tf_recall.data import tables
from tf_recall.data.atomic import atomic_folder, clear_asides, remove_unheld
from tf_recall.data.columns import parquet_files, read_blocks, write_columns
from tf_recall.data.dictionaries import Codes, Distinct, open_categories, write_categories
from tf_recall.data.holds import Hold
from tf_recall.data.interactions import Interactions
from tf_recall.data.ranges import Column
from tf_recall.data.side_tables import side_table
from tf_recall.data.stored import COLUMNS, StoredInteractions

log = logging.getLogger("tf_recall")

IDS = ("user_id", "item_id")
LAYOUT = 1  # of the folder; another one is another folder
NOTE = "log.json"  # in it: of which log, and of which files


def parquet(
    path: str | Path,
    columns: dict[str, Column] | None = None,
    context: Sequence[Column] = (),
    items: str | Path | None = None,
    users: str | Path | None = None,
    missing: Sequence[str] = (),
    time_unit: str | None = None,
    work: str | Path | None = None,
) -> StoredInteractions:
    """Reads a log of Parquet files that may be larger than memory.

    The files are read twice: distinct ids and texts are counted, then all is written as columns of
    numbers. Training, splits and histories read those as memory maps. They stay in `work`, under a
    key of the files' names, sizes and times and of these arguments, so that a later run begins at
    once; remove the folder to get its space back, about 50 bytes an event. Columns of files that
    have changed since are removed, once no process reads them any more.

    Args:
        path: a Parquet file, or a folder of them, read in the order of their names; files and
            folders whose names begin with `.` or `_` are left out.
        columns: `{our name: the file's}` of `user_id`, `item_id`, `timestamp`, `weight`, where they
            differ.
        context: further columns to keep, of numbers, booleans or text. Others are not read.
        items: a file with `item_id` and the items' columns; it is read into memory.
        users: the same with `user_id`.
        missing: texts that stand for a missing value in side tables that are CSV files.
        time_unit: what numbers in `timestamp` count, as for `Interactions.from_frame`.
        work: the folder for the columns; None: `<path>.columns`, beside the log.

    Raises:
        OSError: no such file, or `work` cannot be written.
        ValueError: a file that is damaged, or content that `Interactions` refuses; a side table
            with ids of another kind; a column that holds neither numbers nor text.

    Example (YAML):
        data: {name: parquet, path: clicks/, columns: {user_id: customer}, items: items.parquet}
    """
    path = Path(path)
    work = Path(work or path.with_name(f"{path.name}.columns"))
    how = {"columns": columns, "context": list(context), "time_unit": time_unit}
    folder, hold = _held(path, work, how)
    _remove_outdated(path, work)
    categories = {file.stem: open_categories(file) for file in folder.glob("*.arrow")}
    names = tables.checked_names(columns)
    keys = {"users": (users, "user_id"), "items": (items, "item_id")}
    side = {
        what: side_table(table, what, key, names, categories[key].categories.to_numpy(), missing)
        for what, (table, key) in keys.items()
        if table is not None
    }
    return StoredInteractions.open(folder, categories, **side, hold=hold)


def _held(path, work, how):
    """The folder of a log's columns, and what holds it; they are written where they lack."""
    while True:
        files = _files(path)
        folder = work / _digest([LAYOUT, files, how])
        if not folder.exists():
            log.info("%s becomes columns in %s", path, folder)
            note = {"path": str(path.resolve()), "files": _digest(files)}
            with contextlib.suppress(FileExistsError), atomic_folder(folder) as aside:
                (aside / NOTE).write_text(json.dumps(note))
                _encode(path, how, aside)  # unless another process has meanwhile
        with contextlib.suppress(FileNotFoundError):  # the log has changed, and it was removed
            return folder, Hold(folder)


def _remove_outdated(path, work):
    """Removes the columns of files that a log no longer has, where no process holds them."""
    clear_asides(work)
    files = _digest(_files(path))
    for note in work.glob(f"*/{NOTE}"):
        with contextlib.suppress(FileNotFoundError):  # another process has removed it meanwhile
            written = json.loads(note.read_text())
            ours = written["path"] == str(path.resolve())
            if ours and written["files"] != files and remove_unheld(note.parent):
                log.info("removed %s: the log has other files by now", note.parent)


def _files(path):
    """The names, sizes and times of a log's files."""
    return [
        [str(file.relative_to(path.parent)), file.stat().st_size, file.stat().st_mtime_ns]
        for file in parquet_files(path)
    ]


def _digest(content):
    text = json.dumps(content, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _encode(path, how, folder):
    """Writes the columns of a log, and the categories of those that hold codes."""
    known, kinds = _looked_through(path, how)
    for name, values in known.items():
        write_categories(folder / f"{name}.arrow", values)
    codes = {name: Codes(values) for name, values in known.items()}

    def encoded(block):
        for name, kind in kinds.items():
            values = block.frame[name]
            if name in codes:
                yield name, codes[name].of(values.to_numpy(object if name not in IDS else None))
            else:
                yield name, values.to_numpy(kind)

    blocks = _read(path, how, "writing columns")
    write_columns(folder / COLUMNS, (dict(encoded(block)) for block in blocks))


def _looked_through(path, how):
    """The distinct values of ids and texts, by name, and the dtype of every column."""
    distinct, kinds = {name: Distinct() for name in IDS}, {}
    for block in _read(path, how, "counting ids"):
        for name, values in block.frame.items():
            if name in IDS:
                distinct[name].add(values.to_numpy())
                kinds[name] = None
            elif isinstance(values.dtype, np.dtype) and values.dtype.kind in "biuf":
                kinds[name] = np.result_type(values.dtype, kinds.get(name) or values.dtype)
            elif pd.api.types.infer_dtype(values, skipna=True) in ("string", "empty"):
                distinct.setdefault(name, Distinct()).add(values.to_numpy(object))
                kinds[name] = None
            else:
                raise ValueError(
                    f"column {name!r} of {path} holds {values.dtype}, such as "
                    f"{values.dropna().iloc[0]!r}: context is numbers, booleans or text. Leave it "
                    "out of `context`, or write it as one of those"
                )
    return {name: each.counted()[0] for name, each in distinct.items()}, kinds


def _read(path, how, title) -> Iterator[Interactions]:
    total = sum(pq.read_metadata(file).num_rows for file in parquet_files(path))
    with tqdm(total=total, desc=title, unit="event", unit_scale=True, delay=3, leave=False) as bar:
        for block in read_blocks(path, **how):
            yield block
            bar.update(len(block))
