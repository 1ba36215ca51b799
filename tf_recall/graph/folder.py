"""A graph on disk: its arrays are appended to when written, and memory maps when read."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tf_recall.data import manifest
from tf_recall.data.atomic import atomic_folder
from tf_recall.data.npy import read_array
from tf_recall.graph.tables import EDGE
from tf_recall.graph.verify import check_lengths, check_values

MANIFEST = "graph.json"
KIND = "tf_recall graph 2"
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
        lengths = {name: file.length for name, file in files.items()}
        values = {"kind": KIND, "num_targets": int(num_targets), "lengths": lengths}
        manifest.write(aside, MANIFEST, values)


def read(directory: str | Path, verify: bool = True) -> dict[str, Any]:
    """A graph's arrays by name, read-only memory maps, and its `num_targets`.

    Args:
        directory: where the graph is.
        verify: read it all, and refuse what was not written so or leads out of the graph.

    Raises:
        FileNotFoundError: no graph there.
        ValueError: a file is missing, damaged, or of another kind than it should be.
    """
    directory = Path(directory)
    if not (directory / MANIFEST).is_file():
        raise FileNotFoundError(
            f"{directory} is no graph: it has no {MANIFEST}. Graph.save or graph.build makes one."
        )
    try:
        values = manifest.read(directory, MANIFEST)
        if (kind := values.get("kind")) != KIND:
            raise ValueError(f"Its {MANIFEST} is of kind {kind!r}, not {KIND!r}.")
        arrays = {
            name: _map(directory / f"{name}.npy", DTYPES[name], length)
            for name, length in values["lengths"].items()
        }
        num_targets = values["num_targets"]
        check_lengths(**arrays)
        if verify:
            check_values(num_targets, **arrays)
        manifest.check(directory, values["files"], MANIFEST, verify)
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{directory} is damaged, write it again: {error}") from error
    return {**arrays, "num_targets": num_targets}


def _map(path, dtype, length):
    # an empty file cannot be mapped
    array = read_array(path, dtype.kind, mapped=length > 0)
    if array.dtype != dtype or array.shape != (length,):
        raise ValueError(
            f"{path.name} holds {array.dtype} {array.shape}, and should hold {dtype} {(length,)}."
        )
    return array
