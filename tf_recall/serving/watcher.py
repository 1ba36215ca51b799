"""A thread that keeps a server's models and live stores up to date."""

import logging
import threading

from tf_recall.serving.models import Models
from tf_recall.serving.sources import Sources

log = logging.getLogger("tf_recall.serving")


class Watcher:
    """Refreshes the models every so often, and when one can be let go.

    Args:
        models: to refresh; nobody else does while it runs.
        sources: to refresh too.
        seconds: from one look at the disk to the next.
    """

    def __init__(self, models: Models, sources: Sources, seconds: float = 1.0):
        self._models, self._sources, self._seconds = models, sources, seconds
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def stop(self) -> None:
        """Ends it, and waits until it has ended."""
        self._stopped = True
        self._models.changed.set()
        self._thread.join()

    def _run(self):
        while not self._stopped:
            self._models.changed.wait(self._seconds)
            self._models.changed.clear()
            if self._stopped:
                return
            try:
                self._models.refresh()
                self._sources.refresh()
            except Exception:  # what is served goes on being served
                log.exception("the models could not be refreshed")
