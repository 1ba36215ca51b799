"""Files and folders that are there whole or not at all: written aside, then renamed."""

import contextlib
import fcntl
import glob
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Gives a file to write to beside `path`, which takes the name `path` when the block ends.

    What had the name is replaced. Where the block fails, what was written is removed and `path`
    stays as it was.

    Example:
        >>> with atomic_file("lists.parquet") as aside:
        ...     interactions.frame.to_parquet(aside)
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = _aside(path)
    try:
        yield aside
        _sync(aside)
        os.replace(aside, path)
        _sync(path.parent)
    finally:
        aside.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Gives an empty folder beside `path`, which takes the name `path` when the block ends.

    Where the block fails, the folder is removed; what a killed process left, the next one removes.

    Raises:
        FileExistsError: `path` is there, before or by the time the folder is whole.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path} is there already")
    with folder_aside(path.parent, path.name) as aside:
        yield aside
        rename_folder(aside, path)


@contextlib.contextmanager
def folder_aside(parent: str | Path, name: str) -> Iterator[Path]:
    """Gives an empty hidden folder in `parent`; it is removed at the end unless it was renamed.

    Folders that killed processes left under the same name are removed first.
    """
    path = Path(parent) / name
    for left in path.parent.glob(f".{glob.escape(name)}.{'[0-9a-f]' * 32}.part"):
        with contextlib.suppress(OSError), _held(left):  # refused while its writer lives
            shutil.rmtree(left)
    aside = _aside(path)
    young = aside.with_suffix(".new")  # found by no one before it is held
    young.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, aside, ignore_errors=True)
        with contextlib.suppress(OSError):  # a file system without locks
            stack.enter_context(_held(young))
        yield young.rename(aside)


def rename_folder(aside: Path, path: Path) -> Path:
    """Renames a folder that is whole, once its files are on the disk; returns the new path.

    Raises:
        FileExistsError: the name is taken.
    """
    for each in (*aside.rglob("*"), aside):
        _sync(each)
    if path.exists():
        raise FileExistsError(f"{path} is there already")
    try:
        aside.rename(path)
    except OSError as error:
        if path.exists():  # another process took the name just now
            raise FileExistsError(f"{path} is there already") from error
        raise
    _sync(path.parent)
    return path


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Locks a folder; the operating system ends the lock with the process, `kill -9` included.

    Raises:
        BlockingIOError: another writer holds it.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _sync(path: Path) -> None:
    """Waits until a file's content, or a folder's names, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
