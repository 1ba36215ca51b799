"""The folder of a run's checkpoints: one process holds it, and it keeps one run."""

import contextlib
import fcntl
import json
import logging
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import yaml

from tf_recall.config import Config
from tf_recall.data.atomic import atomic_file, clear_asides
from tf_recall.runs.callbacks import saved_epochs

log = logging.getLogger("tf_recall")

LOCK = "tf_recall.lock"  # marks a folder as ours, and names the process that holds it
SETTINGS = "run.yaml"
CONTENT = "the data's content"
START = "the export that it goes on from"
MEASURED = "evaluate"
# how long, where and how fast a run is trained: a resumed run may change these, but for its length
# where the learning rate follows it
FREE = ("epochs", "patience", "refit", "jit_compile", "strategy")


@contextlib.contextmanager
def claimed(folder: str | Path, resume: bool = False) -> Iterator[Path]:
    """Holds a folder for this process until the `with` block ends; another process is refused.

    The operating system holds the lock, so it ends with the process, `kill -9` included, and a
    process that is paused keeps it. After a block that fails the folder's content stays, to resume
    from.

    Args:
        folder: the folder, made where it is missing.
        resume: keep what an earlier run left there; else it is removed. What a killed process was
            just writing is removed in any case.

    Raises:
        ValueError: another process holds the folder, or it was not made by a run.
        OSError: the folder cannot be written.

    Example:
        >>> with claimed("checkpoints", resume=False):
        ...     pass    # train, and write checkpoints there
    """
    folder = Path(folder)
    if folder.is_dir() and any(folder.iterdir()) and not _is_ours(folder):
        raise ValueError(
            f"{folder} holds files that no run of tf_recall wrote: move them away, or choose "
            "another name or --out"
        )
    lock = _locked(folder / LOCK)
    try:
        for home in (folder, *folder.glob("*/"), *folder.glob("*/*/")):
            clear_asides(home)
        if not resume:
            _empty(folder)
        yield folder
    finally:
        os.ftruncate(lock, 0)
        if [path.name for path in folder.glob("*")] == [LOCK]:
            remove(folder)
        os.close(lock)


def remove(folder: str | Path) -> None:
    """Removes a folder that a run has claimed; any other folder stays as it is."""
    folder = Path(folder)
    if (folder / LOCK).is_file():
        _empty(folder)
        (folder / LOCK).unlink()  # last, so that what an interruption leaves is still ours
        with contextlib.suppress(OSError):  # another run has claimed it this moment
            folder.rmdir()


def begin(folder: str | Path, config: Config, data: str, start: str | None = None) -> None:
    """Notes which run a folder keeps, or refuses to go on with another one's checkpoints.

    Where there is no checkpoint yet, any run may begin. Two runs are the same if their weights are:
    data, split, model and train are compared, save for how long, where and how fast it is trained;
    and the data's content. Epochs may be measured in another way than those before, which is
    logged.

    Args:
        folder: the folder.
        config: of the run.
        data: what the run learns from, as `fingerprint` gives it.
        start: the digest of the export that it goes on from, or None.

    Raises:
        ValueError: the folder keeps another run; the message lists what differs.
    """
    note = Path(folder) / SETTINGS
    measured = {"cases": config.evaluate.cases, "exclude_seen": config.evaluate.exclude_seen}
    now = {**weight_settings(config), CONTENT: data, MEASURED: measured}
    if start is not None:
        now[START] = start
    text = yaml.safe_dump(now, sort_keys=False)
    if saved_epochs(folder):
        before, now = _noted(note), yaml.safe_load(text)
        different = [key for key in now if before.get(key) != now[key] and key != MEASURED]
        if before.get(MEASURED) != measured:
            log.warning("%s: epochs before were measured by %s", folder, before.get(MEASURED))
        if different:
            raise ValueError(
                f"{folder} keeps the checkpoints of another config ({', '.join(different)} "
                "differ): train without --resume, or under another name"
            )
        return
    with atomic_file(note) as aside:
        aside.write_text(text, encoding="utf-8")


def weight_settings(config: Config) -> dict:
    """What a trained model's weights depend on: `{"data": ..., "train.seed": ...}`."""
    values = config.to_dict()
    free = set(FREE) - ({"epochs"} if config.rate_follows_run else set())
    train = {f"train.{key}": value for key, value in values["train"].items() if key not in free}
    return {key: values[key] for key in ("data", "split", "model")} | train


def _noted(note):
    try:
        before = yaml.safe_load(note.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, FileNotFoundError):
        before = None
    if not isinstance(before, dict):
        raise ValueError(f"{note} is missing or damaged: train without --resume")
    return before


def _is_ours(folder):
    """Whether a run made the folder: it has our lock, or where that was removed, a run's note."""
    marks = (LOCK, SETTINGS, f"*/{SETTINGS}")
    return any(path.is_file() for mark in marks for path in folder.glob(mark))


def _locked(path):
    """Opens and locks a file, and writes there who holds it; returns its descriptor."""
    lock = _opened(path)
    holder = _holder(lock)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise ValueError(
            f"{path.parent} is in use by another run, {_named(holder)}: wait for it to end, or "
            "train under another name"
        ) from None
    except OSError as error:  # a file system without locks
        log.warning("%s cannot be locked (%s): start no second run of its name", path.parent, error)
    if not _is_same(lock, path):  # the run that held it has just removed the folder
        os.close(lock)
        return _locked(path)
    if holder and holder["host"] != socket.gethostname():  # locks may not reach across hosts
        os.close(lock)
        raise ValueError(
            f"{path.parent} is in use by a run on another host, {_named(holder)}: train under "
            f"another name, or, if that run has ended, remove {path}"
        )
    os.ftruncate(lock, 0)
    os.pwrite(lock, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)
    return lock


def _opened(path):
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # the folder was removed this moment
            return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)


def _holder(lock):
    try:
        holder = json.loads(os.pread(lock, 1000, 0))
        return {"pid": int(holder["pid"]), "host": str(holder["host"])}
    except (ValueError, TypeError, KeyError):  # nobody, or written this moment
        return None


def _named(holder):
    """Who holds the folder, in words."""
    return f"process {holder['pid']} on {holder['host']}" if holder else "just started"


def _is_same(lock, path):
    """Whether the open file is still the one at the path."""
    try:
        return os.path.samestat(os.fstat(lock), os.stat(path))
    except FileNotFoundError:
        return False


def _empty(folder):
    for path in folder.iterdir():
        if path.name != LOCK:
            _remove(path)


def _remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
