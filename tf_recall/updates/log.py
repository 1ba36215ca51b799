"""A new log: a file, or a folder of files, with the columns of a model's config."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from tf_recall.config import Config, part
from tf_recall.data.growth import joined
from tf_recall.data.held_out import latest
from tf_recall.data.interactions import Interactions
from tf_recall.data.manifest import digest

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")


def files_of(log: str | Path) -> list[Path]:
    """The files of a new log: itself, or those in a folder by name.

    Raises:
        FileNotFoundError: there is none.
    """
    log = Path(log)
    found = [log] if log.is_file() else sorted(log.glob("*"))
    found = [path for path in found if path.is_file() and path.name.endswith(SUFFIXES)]
    if not found:
        raise FileNotFoundError(f"no log at {log}: give a CSV or Parquet file, or a folder of them")
    return found


def digest_of(files: list[Path]) -> str:
    """The digest of the files' content."""
    return hashlib.sha256(" ".join(map(digest, files)).encode()).hexdigest()


def read_log(
    config: Config,
    files: list[Path],
    items: str | Path | None = None,
    users: str | Path | None = None,
) -> Interactions:
    """Reads a new log as a config reads its own.

    Args:
        config: of the model; its columns, time unit and side tables count, where it reads files.
        files: as `files_of` gives them.
        items, users: side tables that describe new items and users, in place of the config's.

    Raises:
        ValueError: a file that is damaged, or that `Interactions` refuses.
    """
    values = dict(config.data) if config.data["name"] == "files" else {"name": "files"}
    for name, table in (("items", items), ("users", users)):
        if table is not None:
            values[name] = str(table)
    tables = {name: values.pop(name) for name in ("items", "users") if values.get(name)}
    logs = [part("data", {**values, **tables, "interactions": str(path)}) for path in files]
    for key in ("user_id", "item_id"):
        if len({each.frame[key].dtype for each in logs}) > 1:  # digits in one, words in another
            logs = [each.with_string_ids(key) for each in logs]
    return replace(logs[0], frame=pd.concat([each.frame for each in logs], ignore_index=True))


def split_off(log: Interactions, share: float) -> tuple[Interactions, Interactions]:
    """The log without its latest share, and that share; without times the last lines.

    Raises:
        ValueError: one of them would be empty.
    """
    if "timestamp" in log.frame:
        held = latest(log.frame["timestamp"].to_numpy(), share)
    else:
        held = np.arange(len(log)) >= round((1 - share) * len(log))
    if held.all() or not held.any():
        raise ValueError(
            f"a new log of {len(log)} events is too short to hold a share of {share} out"
        )
    return log.select(~held), log.select(held)


def unseen(held: Interactions, known: Interactions) -> Interactions:
    """Held-out events but for those of a user with an item that they had before."""
    pairs = [pd.MultiIndex.from_frame(each.frame[["user_id", "item_id"]]) for each in (held, known)]
    return held.select(~pairs[0].isin(pairs[1]))


def of_known_items(log: Interactions, known: np.ndarray) -> Interactions:
    """A log without items that are new, and what describes items.

    Args:
        log: the log.
        known: the raw ids of the items that are not.
    """
    kept = log.frame["item_id"].isin(known).to_numpy()
    return replace(log.select(kept), items=None)


def together(known: Interactions, fresh: Interactions) -> Interactions:
    """What is known and what is new, as `joined`; known events weigh 1 where new ones have weights.

    Raises:
        ValueError: as `joined`.
    """
    if "weight" in fresh.frame and "weight" not in known.frame:
        known = replace(known, frame=known.frame.assign(weight=np.float32(1)))
    return joined(known, fresh)
