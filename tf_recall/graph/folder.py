"""A graph on disk: its arrays are appended to when written, and memory maps when read."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tf_recall.data.atomic import atomic_folder
from tf_recall.graph.tables import EDGE

MANIFEST = "graph.json"
KIND = "tf_recall graph 1"
DTYPES = {
    "offsets": np.dtype(np.int64),
    "targets": np.dtype(np.int32),
    "weights": np.dtype(np.float32),
    "tables": EDGE,
}


class ArrayFile:
    """An .npy file of one dimension that can be appended to.

    `close` writes its header, which is of constant length, once more with the final length.

    Args:
        path: of the file.
        dtype: of its numbers.
    """

    def __init__(self, path: Path, dtype: np.dtype):
        self.path = path
        self.dtype = dtype
        self.length = 0
        self.file = open(path, "wb")  # noqa: SIM115  closed by `close`
        self._header()
        self.begin = self.file.tell()

    def append(self, array: np.ndarray) -> None:
        """Adds an array at the end."""
        self.file.write(np.ascontiguousarray(array, self.dtype).data)
        self.length += len(array)

    def __getitem__(self, own: slice) -> np.ndarray:
        """A part of what was written, as a copy: pages of a memory map would stay in memory."""
        if not self.file.closed:
            self.file.flush()
        offset = self.begin + own.start * self.dtype.itemsize
        return np.fromfile(self.path, self.dtype, own.stop - own.start, offset=offset)

    def close(self) -> None:
        """Writes the final header, and closes the file."""
        if not self.file.closed:
            self.file.seek(0)
            self._header()
            self.file.close()

    def _header(self):
        described = {
            "descr": np.lib.format.dtype_to_descr(self.dtype),
            "fortran_order": False,
            "shape": (self.length,),
        }
        np.lib.format.write_array_header_1_0(self.file, described)


class Files(dict):
    """The files of a folder by the name of their array; one is made when first asked for.

    Args:
        folder: where they are.
    """

    def __init__(self, folder: Path):
        super().__init__()
        self.folder = folder

    def __missing__(self, name):
        self[name] = ArrayFile(self.folder / f"{name}.npy", DTYPES[name])
        return self[name]

    def close(self) -> None:
        """Closes them all."""
        for file in self.values():
            file.close()


@contextmanager
def making(directory: str | Path, num_targets: int) -> Iterator[Files]:
    """Files to append to, in a folder that is written aside and takes its name at the end.

    Raises:
        FileExistsError: `directory` is there already.
    """
    directory = Path(directory)
    if directory.exists():
        raise FileExistsError(
            f"{directory} is there already: open it with Graph.load, or remove it to write it "
            "again."
        )
    with atomic_folder(directory) as aside:
        with closing(Files(aside)) as files:
            yield files
        manifest = {
            "kind": KIND,
            "num_targets": int(num_targets),
            **{name: file.length for name, file in files.items()},
        }
        (aside / MANIFEST).write_text(json.dumps(manifest, indent=1))


def read(directory: str | Path) -> dict[str, Any]:
    """A graph's arrays by name, read-only memory maps, and its `num_targets`.

    Raises:
        FileNotFoundError: no graph there.
        ValueError: a file is missing, cut short, or of another kind than it should be.
    """
    directory = Path(directory)
    if not (directory / MANIFEST).is_file():
        raise FileNotFoundError(
            f"{directory} is no graph: it has no {MANIFEST}. Graph.save or graph.build makes one."
        )
    try:
        manifest = json.loads((directory / MANIFEST).read_text())
        if (kind := manifest.pop("kind", None)) != KIND:
            raise ValueError(f"Its {MANIFEST} is of kind {kind!r}, not {KIND!r}.")
        num_targets = manifest.pop("num_targets")
        arrays = {
            name: _map(directory / f"{name}.npy", DTYPES[name], length)
            for name, length in manifest.items()
        }
        if arrays["offsets"][0] != 0 or arrays["offsets"][-1] != len(arrays["targets"]):
            raise ValueError(
                f"Its offsets do not go from 0 to {len(arrays['targets'])}, the number of edges."
            )
    except (OSError, KeyError, ValueError, AttributeError) as error:
        raise ValueError(f"{directory} is damaged, write it again: {error}") from error
    return {**arrays, "num_targets": num_targets}


def _map(path, dtype, length):
    try:
        array = np.load(path, mmap_mode="r" if length else None)  # an empty file cannot be mapped
    except ValueError as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from error
    if array.dtype != dtype or array.shape != (length,):
        raise ValueError(
            f"{path.name} holds {array.dtype} {array.shape}, and should hold {dtype} {(length,)}."
        )
    return array
