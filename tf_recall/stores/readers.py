"""Many may read at a time, one may write, and a writer who waits comes before new readers."""

import contextlib
import threading
from collections.abc import Iterator


class Gate:
    """A lock for readers and writers.

    Example:
        >>> gate = Gate()
        >>> with gate.reading():
        ...     pass                        # together with other readers
        >>> with gate.writing():
        ...     pass                        # alone
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers = 0
        self._waiting = 0
        self._writing = False

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Waits for writers, those who wait included."""
        with self._changed:
            self._changed.wait_for(lambda: not self._writing and not self._waiting)
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Waits for readers and for another writer."""
        with self._changed:
            self._waiting += 1
            try:
                self._changed.wait_for(lambda: not self._writing and not self._readers)
                self._writing = True
            finally:
                self._waiting -= 1
                self._changed.notify_all()  # of an interrupted wait too
        try:
            yield
        finally:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
