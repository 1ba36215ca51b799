"""Where a version comes from: its parent, its data, its config, its code, and who made it when."""

import datetime
import getpass
import hashlib
import json
import os
import shlex
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tf_recall
from tf_recall.data import notation
from tf_recall.data.interactions import Interactions

NAME = "lineage.json"


def lineage(
    config: Mapping, data: Interactions | None, parent: Mapping | None = None, **more: Any
) -> dict[str, Any]:
    """What a version's `lineage.json` holds.

        parent    path, version and digest of the version it goes on from; null: it began anew
        data      how many interactions, and the times of the first and the last
        config    the digest of config.yaml's content
        code      the package's version
        made      when (UTC), by whom, on which host, by which command

    Args:
        config: the config, as plain values.
        data: what was learned from; None: nothing anew.
        parent: as `parent_of`.
        more: further entries, such as what a gate found.
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    made = {
        "when": now,
        "by": _user(),
        "host": socket.gethostname(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }
    return {
        "parent": parent,
        "data": data and span(data),
        "config": hashlib.sha256(notation.write(dict(config)).encode()).hexdigest(),
        "code": tf_recall.__version__,
        "made": made,
        **more,
    }


def span(data: Interactions) -> dict[str, Any]:
    """How many interactions there are, and from when to when."""
    times = data.frame.get("timestamp")
    first, last = (None, None) if times is None else (_date(times.min()), _date(times.max()))
    return {"interactions": len(data), "first": first, "last": last}


def parent_of(path: Path, digest: str) -> dict[str, str]:
    """How a version names the one that it goes on from."""
    return {"path": os.path.abspath(path.parent), "version": path.name, "digest": digest}


def derived(folder: Path, config: Mapping, digest: str) -> dict[str, Any]:
    """The lineage of what is made of a version without new data, such as with another index.

    Args:
        folder: the version's.
        config: of what is made of it, as plain values.
        digest: the version's.
    """
    entries = lineage(config, None, parent_of(folder, digest))
    return {**entries, "data": read(folder).get("data")}


def write(folder: Path, entries: Mapping) -> None:
    """Writes the file into a version's folder."""
    text = json.dumps(dict(entries), indent=2, default=float) + "\n"
    (folder / NAME).write_text(text, encoding="utf-8")


def read(folder: Path) -> dict[str, Any]:
    """The lineage of a version; an empty one where it was written without."""
    try:
        return json.loads((folder / NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}


def _user():
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"


def _date(seconds):
    return datetime.datetime.fromtimestamp(float(seconds), datetime.UTC).isoformat()
