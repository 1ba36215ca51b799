"""A folder that new files of events arrive in, each read once: what is read is an offset."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from tf_recall.data.interactions import Interactions

SUFFIXES = {".parquet", ".pq", ".csv", ".tsv"}


@dataclass(frozen=True)
class Consumed:
    """What has been read of one file.

    Args:
        rows: how many of its events.
        whole: whether there are no more.
        size, time_ns: of the file.
        digest: of its content.
    """

    rows: int
    whole: bool
    size: int
    time_ns: int
    digest: str


@dataclass(frozen=True)
class Offset:
    """Which events of a folder have been read: plain values, to be kept with what they made.

    Args:
        files: what has been read of each file, by its name.
        events: how many events that is, of all files.
    """

    files: dict[str, Consumed] = field(default_factory=dict)
    events: int = 0

    def to_json(self) -> str:
        """The offset as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Offset":
        """Reads what `to_json` wrote.

        Raises:
            ValueError: the text is damaged.
        """
        try:
            values = json.loads(text)
            files = {name: Consumed(**each) for name, each in values["files"].items()}
            return cls(files, int(values["events"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no offset of a stream: {error}") from error


@dataclass(frozen=True)
class Arrived:
    """New events of one file.

    Args:
        name: the file's.
        log: its events that were not read before.
        before: the offset before these events.
        file: of the whole file.
    """

    name: str
    log: Interactions | None
    before: Offset
    file: Consumed

    def after(self, rows: int) -> Offset:
        """The offset once so many of these events are read."""
        known = self.before.files.get(self.name)
        read = rows + (known.rows if known else 0)
        file = replace(self.file, rows=read, whole=read == self.file.rows)
        return Offset({**self.before.files, self.name: file}, self.before.events + rows)


class StreamFolder:
    """Reads each event of the files that arrive in a folder once, in the order of files and lines.

    A file is there whole or not at all: it is written under another name and renamed. Names that
    begin with `.` or `_`, or end in `.tmp`, are of files that are still being written, and are left
    alone. New files are read in the order of their names, so names that rise, such as of hours,
    give the events in order. A file may be removed once it has been read; it may not change. Each
    is read into memory as a whole.

    The folder keeps no state. Whoever learns from the events keeps the `Offset` in one write with
    what was learned: then a process that is killed at any moment has learned each event once.

    Args:
        path: the folder.
        columns, missing, time_unit: of its files, as for `Interactions.from_frame`.

    Example:
        >>> folder, offset, learned = StreamFolder("interactions"), Offset(), 0
        >>> for arrived in folder.new(offset):
        ...     learned += len(arrived.log)
        ...     offset = arrived.after(len(arrived.log))    # kept with `learned` in one write
        >>> list(folder.new(offset))
        []
    """

    def __init__(
        self,
        path: str | Path,
        columns: dict | None = None,
        missing: tuple[str, ...] | list[str] = (),
        time_unit: str | None = None,
    ) -> None:
        self.path = Path(path)
        self._how = {"columns": columns, "missing": missing, "time_unit": time_unit}

    def new(self, offset: Offset | None = None) -> Iterator[Arrived]:
        """The events after an offset, file by file; each one's offset follows the one before.

        Args:
            offset: what has been read; None: nothing.

        Raises:
            FileNotFoundError: no such folder.
            ValueError: a file changed after it was read, or is gone before it was; one is neither
                Parquet nor CSV, is damaged, or holds what `Interactions` refuses.
        """
        offset = offset or Offset()
        files = self._files()
        self._check_there(files, offset)
        for path in files:
            known = offset.files.get(path.name)
            if known is not None:
                _check_same(path, known)
                if known.whole:
                    continue
            log = self._read(path)
            file = Consumed(0 if log is None else len(log), True, *_state(path), _digest(path))
            if known is not None:
                log = log.select(np.arange(known.rows, len(log)))
            arrived = Arrived(path.name, log, offset, file)
            offset = arrived.after(0 if log is None else len(log))
            yield arrived

    def _files(self):
        if not self.path.is_dir():
            raise FileNotFoundError(f"There is no folder {self.path} for events to arrive in.")
        files = sorted(path for path in self.path.iterdir() if path.is_file())
        files = [path for path in files if path.name[0] not in "._" and path.suffix != ".tmp"]
        for path in files:
            if not SUFFIXES & {suffix.lower() for suffix in path.suffixes}:
                raise ValueError(
                    f"{path} is neither Parquet nor CSV by its name: move it away, or begin its "
                    "name with _ where it is no file of events"
                )
        return files

    def _check_there(self, files, offset):
        there = {path.name for path in files}
        for name, known in offset.files.items():
            if not known.whole and name not in there:
                raise ValueError(
                    f"{self.path / name} is gone, of which {known.rows} events were read and more "
                    "were left: put it back, and remove files only when they are read"
                )

    def _read(self, path):
        """The events of a file; None where it has none."""
        try:
            return Interactions.from_file(path, **self._how)
        except ValueError as error:
            if "There are no interactions" in str(error):
                return None
            raise


def _check_same(path, known):
    """Refuses a file that is not the one that was read."""
    if _state(path) != (known.size, known.time_ns) and _digest(path) != known.digest:
        raise ValueError(
            f"{path} changed after {known.rows} of its events were read: events arrive in new "
            "files, which are written under a name that begins with _ and renamed"
        )


def _state(path):
    state = path.stat()
    return state.st_size, state.st_mtime_ns


def _digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
