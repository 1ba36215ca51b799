"""Files and folders that are there whole or not at all: written aside, then renamed."""

import contextlib
import errno
import fcntl
import glob
import hashlib
import os
import re
import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from tf_recall.data import holds

FAULTS = tuple(  # of a disk or of its rights; others say what is wrong by themselves
    getattr(errno, name)
    for name in (
        *("ENOSPC", "EDQUOT", "EFBIG", "EIO", "EROFS", "EACCES", "EPERM"),
        *("ENAMETOOLONG", "ENOTDIR", "EISDIR", "ESTALE"),
    )
)
TRIES = 100
LOCK_SECONDS = 60  # what is changed under a lock takes milliseconds


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Gives a file to write to, which takes the name `path` when the block ends.

    What had the name is replaced. Where the block fails, what was written is removed and `path`
    stays as it was; what a killed process left, the next one removes.

    Raises:
        OSError: the disk is full or refuses; see `translated_disk_errors`.

    Example:
        >>> with atomic_file("lists.parquet") as aside:
        ...     interactions.frame.to_parquet(aside)
    """
    path = Path(path)
    kept = "what was there stays" if path.exists() else "nothing of it is left"
    with translated_disk_errors(path, kept), folder_aside(path.parent, path.name) as folder:
        aside = folder / path.name
        yield aside
        _sync(aside)
        os.replace(aside, path)
        _sync(path.parent)


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Gives an empty folder beside `path`, which takes the name `path` when the block ends.

    Where the block fails, the folder is removed; what a killed process left, the next one removes.

    Raises:
        FileExistsError: `path` is there, before or by the time the folder is whole.
        OSError: the disk is full or refuses; see `translated_disk_errors`.
    """
    path = Path(path)
    _check_free(path)
    with (
        translated_disk_errors(path, "nothing of it is left"),
        folder_aside(path.parent, path.name) as aside,
    ):
        yield aside
        rename_folder(aside, path)


@contextlib.contextmanager
def folder_aside(parent: str | Path, name: str) -> Iterator[Path]:
    """Gives an empty hidden folder in `parent`; it is removed at the end unless it was renamed.

    Folders that killed processes left under the same name are removed first.
    """
    parent = Path(parent)
    _make_folder(parent)
    clear_asides(parent, name)
    with contextlib.ExitStack() as stack:
        yield _held_aside(parent, name, stack)


def clear_asides(parent: str | Path, name: str | None = None) -> None:
    """Removes the folders that killed processes left in `parent`; those that are written stay.

    Args:
        parent: the folder.
        name: what they were to be called; None: anything.
    """
    named = "*" if name is None else glob.escape(_short(name))
    for left in Path(parent).glob(f".{named}.{'[0-9a-f]' * 32}.part"):
        # refused while its writer lives, and where the file system has no locks
        with contextlib.suppress(OSError), holds.alone(left):
            shutil.rmtree(left)


def remove_unheld(folder: Path) -> bool:
    """Removes a folder that no `Hold` holds: it loses its name first, and so vanishes at once.

    Returns:
        Whether it is gone; where it is held, or cannot be removed, it stays.
    """
    with contextlib.suppress(OSError), holds.alone(folder):
        aside = folder.with_name(_aside_of(folder.name))
        folder.rename(aside)
        shutil.rmtree(aside)
    return not folder.exists()


def rename_folder(aside: Path, path: Path) -> Path:
    """Renames a folder that is whole, once its files are on the disk; returns the new path.

    Raises:
        FileExistsError: the name is taken.
    """
    for each in (*aside.rglob("*"), aside):
        _sync(each)
    _check_free(path)
    try:
        aside.rename(path)
    except OSError:
        _check_free(path)  # another process took the name just now
        raise
    _sync(path.parent)
    return path


@contextlib.contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Waits until nobody else holds `path`, and holds it until the block ends.

    Whoever reads a file, changes it and replaces it does so in this block: else one of two at once
    undoes what the other wrote. The lock is a hidden file beside `path`, which stays: were it
    removed, one process could hold the removed one and another its successor.

    Raises:
        TimeoutError: another process holds it for a minute.

    Example:
        >>> with locked("models.config"), atomic_file("models.config") as aside:
        ...     _ = aside.write_text("changed")
    """
    path = Path(path)
    _make_folder(path.parent)
    lock = path.with_name(f".{_short(path.name)}.lock")
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _wait_for(handle, lock)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def translated_disk_errors(path: str | Path, kept: str) -> Iterator[None]:
    """Makes one line of what TensorFlow, HDF5, zip or the system say of a disk that fails.

    Args:
        path: what is being written.
        kept: what is left after a failure, in words, such as "the checkpoints are kept".

    Raises:
        OSError: for a disk that is full, cannot be written or breaks, of the kind that fits
            (`PermissionError`) and with its `errno`. Other errors pass as they are.

    Example:
        >>> with translated_disk_errors("model", "nothing of it is left"):
        ...     pass    # write it
    """
    try:
        yield
    except Exception as error:
        code, at = _fault(error)
        if code is None:
            raise
        elsewhere = f" at {at}" if at and not str(at).startswith(str(Path(path).parent)) else ""
        message = f"{path} could not be written: {os.strerror(code)}{elsewhere}; {kept}"
        translated = type(OSError(code, ""))(message)
        translated.errno = code
        raise translated from error


def _fault(error):
    """The errno of the disk's fault behind an error, and the file; None where there is none."""
    each = error
    while each is not None:
        if isinstance(each, OSError) and each.errno in FAULTS:
            return each.errno, each.filename
        for code in FAULTS:
            if os.strerror(code) in str(each):  # TensorFlow's words, and HDF5's
                return code, None
        if _is_full(each):
            return errno.ENOSPC, None
        # zip and HDF5 raise another error when they close what was cut short
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
    return None, None


def _is_full(error):
    """Whether a full disk is meant where none is named.

    NumPy says how many numbers it wrote, and TensorFlow says the file's name alone.
    """
    if isinstance(error, OSError) and re.fullmatch(r"\d+ requested and \d+ written", str(error)):
        return True
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None or not isinstance(error, tensorflow.errors.ResourceExhaustedError):
        return False
    return "OOM" not in str(error)  # that is memory


def _held_aside(parent, name, stack):
    """A new folder that is held, so that no other process takes it for a dead one's."""
    for _ in range(TRIES):
        aside = parent / _aside_of(name)
        aside.mkdir()
        stack.callback(shutil.rmtree, aside, ignore_errors=True)
        try:
            stack.enter_context(holds.alone(aside))
        except (BlockingIOError, FileNotFoundError):  # cleared before it was held
            continue
        except OSError:  # a file system without locks: nobody can clear it either
            return aside
        if aside.is_dir():
            return aside
    raise OSError(f"{parent}: other processes remove every folder that is made there")


def _aside_of(name):
    return f".{_short(name)}.{uuid.uuid4().hex}.part"


def _wait_for(handle, lock):
    end = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise TimeoutError(
                    f"another process holds {lock} for more than {LOCK_SECONDS} s: end it first"
                ) from None
            time.sleep(0.01)
        except OSError:  # a file system without locks
            return None


def _check_free(path):
    if os.path.lexists(path):
        raise FileExistsError(f"{path} is there already")


def _make_folder(folder):
    """Makes a folder and those above it, and waits until their names are on the disk."""
    if folder.is_dir():
        return
    if os.path.lexists(folder):
        raise NotADirectoryError(f"{folder} is a file, and should be a folder")
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync(folder.parent)


def _short(name):
    """A name that leaves room for more: file systems allow 255 bytes."""
    encoded = os.fsencode(name)
    return name if len(encoded) < 200 else hashlib.sha256(encoded).hexdigest()


def _sync(path: Path) -> None:
    """Waits until a file's content, or a folder's names, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
