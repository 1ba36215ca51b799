"""Who holds a folder: locks that the operating system ends with their process."""

import contextlib
import fcntl
import os
import weakref
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Holds a folder alone, until the block ends.

    Raises:
        BlockingIOError: somebody else holds it.
        OSError: there is none, or the file system has no locks.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


class Hold:
    """Holds a folder beside others, as long as this object lives: nobody holds it alone.

    Where the file system has no locks nobody can hold it alone either.

    Args:
        folder: the folder.

    Raises:
        FileNotFoundError: there is none, or whoever held it alone has removed it.
    """

    def __init__(self, folder: Path) -> None:
        handle = os.open(folder, os.O_RDONLY)
        weakref.finalize(self, os.close, handle)
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_SH)  # waits while it is being removed
        if not os.path.samestat(os.fstat(handle), os.stat(folder)):
            raise FileNotFoundError(f"{folder} was removed just now")
