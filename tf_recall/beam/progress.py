"""What of a long run is done, so that one that was interrupted goes on: nothing is lost, nothing
done twice.
"""

import logging

from apache_beam.io.filesystems import FileSystems

from tf_recall.beam.files import matching, read_json, write_json

MANIFEST = "manifest.json"
log = logging.getLogger(__name__)


class Progress:
    """The manifest of an output folder: of which inputs it is made, and which parts are finished.

    A part is entered when all its files have their names; files of a part that is not entered are
    of no account.

    Args:
        folder: new or empty, or of an earlier run with the same inputs.
        inputs: fingerprints by what they are of, as JSON.

    Raises:
        ValueError: the folder holds something else, or a run with other inputs.
    """

    def __init__(self, folder: str, inputs: dict):
        self.folder, self._path = str(folder), FileSystems.join(str(folder), MANIFEST)
        if FileSystems.exists(self._path):
            self._known = read_json(self._path)
            earlier = self._known["inputs"]
            other = [name for name in inputs | earlier if inputs.get(name) != earlier.get(name)]
            if other:
                raise ValueError(
                    f"{folder} was begun with other inputs, these differ: {', '.join(other)}. "
                    "Choose another folder, "
                    "or delete this one to begin anew"
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
        """The finished parts and what was said of them."""
        return self._known["finished"]

    def finish(self, part: str, told) -> None:
        """Enters a part."""
        self.finished[part] = told
        write_json(self._path, self._known)

    def clear(self, pattern: str) -> None:
        """Deletes what an interrupted run left behind."""
        left = [file.path for file in matching(FileSystems.join(self.folder, pattern))]
        if left:
            log.info("%s: deleting %d files of an interrupted run", self.folder, len(left))
            FileSystems.delete(left)
