"""What a run has finished, so that after an interruption nothing is lost and nothing done twice."""

import logging
from typing import Any

from apache_beam.io.filesystems import FileSystems

from tf_recall.beam.files import matching, read_json, write_json

MANIFEST = "manifest.json"
log = logging.getLogger(__name__)


class Progress:
    """The manifest of an output folder: from which inputs it is made, and its finished parts.

    A part is finished when all its files have their names; files of an unfinished part do not
    count.

    Args:
        folder: new or empty, or of an earlier run with the same inputs.
        inputs: `{name: fingerprint}`, fit for JSON.

    Raises:
        ValueError: the folder holds something else, or a run with other inputs.
    """

    def __init__(self, folder: str, inputs: dict):
        self.folder = str(folder)
        self._path = FileSystems.join(self.folder, MANIFEST)
        if FileSystems.exists(self._path):
            self._known = read_json(self._path)
            earlier = self._known["inputs"]
            other = [name for name in inputs | earlier if inputs.get(name) != earlier.get(name)]
            if other:
                raise ValueError(
                    f"{folder} was begun with other inputs, these differ: {', '.join(other)}. "
                    "Choose another folder, or delete this one to begin anew"
                )
        elif matching(FileSystems.join(self.folder, "**")):
            raise ValueError(
                f"{folder} holds files and no {MANIFEST} of an earlier run: choose another folder"
            )
        else:
            self._known = {"inputs": inputs, "finished": {}}
            write_json(self._path, self._known)

    @property
    def finished(self) -> dict:
        """What `finish` noted of each finished part, by its name."""
        return self._known["finished"]

    def finish(self, part: str, note: Any) -> None:
        """Writes that a part is finished, with a note fit for JSON."""
        self.finished[part] = note
        write_json(self._path, self._known)

    def clear(self, pattern: str) -> None:
        """Deletes files of the folder that an interrupted run left behind."""
        left = [file.path for file in matching(FileSystems.join(self.folder, pattern))]
        if left:
            log.info("%s: deleting %d files of an interrupted run", self.folder, len(left))
            FileSystems.delete(left)
