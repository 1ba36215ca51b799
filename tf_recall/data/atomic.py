"""Files and folders that are there whole or not at all: written aside, then renamed."""

import contextlib
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
        ...     aside.write_bytes(content)
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

    Where the block fails, the folder is removed.

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
    """Gives an empty hidden folder in `parent`; it is removed at the end unless it was renamed."""
    aside = _aside(Path(parent) / name)
    aside.mkdir(parents=True)
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


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


def _sync(path: Path) -> None:
    """Waits until a file's content, or a folder's names, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
