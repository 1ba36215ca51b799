"""The source of events that arrive in a folder: all that are there by now."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from tf_recall.data import tables
from tf_recall.data.interactions import Interactions
from tf_recall.data.ranges import Column
from tf_recall.data.stream_folder import StreamFolder


def stream(
    path: str | Path,
    columns: dict[str, Column] | None = None,
    items: str | Path | None = None,
    users: str | Path | None = None,
    missing: Sequence[str] = (),
    time_unit: str | None = None,
) -> Interactions:
    """Reads all events that have arrived in a folder by now, into memory.

    `tf_recall.runs.streaming.train_on_stream` learns from those that arrive later, each once.

    Args:
        path: the folder; files whose names begin with `.` or `_`, or end in `.tmp`, are still being
            written.
        columns, missing, time_unit: of its files, as for `Interactions.from_frame`.
        items: a file with `item_id` and the items' columns.
        users: a file with `user_id` and the users' columns.

    Raises:
        OSError: no such folder.
        ValueError: no events yet, or as `StreamFolder.new`.

    Example (YAML):
        data: {name: stream, path: clicks/, items: items.csv}
    """
    folder = StreamFolder(path, columns, missing, time_unit)
    logs = [arrived.log for arrived in folder.new() if arrived.log is not None]
    if not logs:
        raise ValueError(f"No events have arrived in {path} yet.")
    for key in ("user_id", "item_id"):
        if len({log.frame[key].dtype for log in logs}) > 1:
            logs = [log.with_string_ids(key) for log in logs]
    frame = pd.concat([log.frame for log in logs], ignore_index=True)
    side = {"items": _table(items, "item_id", columns, missing)}
    side["users"] = _table(users, "user_id", columns, missing)
    return Interactions.from_frame(frame, time_unit="s", **side)


def _table(path, key, columns, missing):
    """A side table with its ids under our name."""
    if path is None:
        return None
    theirs = (columns or {}).get(key, key)
    table = tables.read(path, {key, theirs}, missing)
    return table if key in table else table.rename(columns={theirs: key})
