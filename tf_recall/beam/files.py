"""Files on any file system that Beam knows; a file appears whole or not at all."""

import contextlib
import json
import uuid
from collections.abc import Iterator
from typing import Any, BinaryIO

from apache_beam.io.filesystem import CompressionTypes, FileMetadata
from apache_beam.io.filesystems import FileSystems

WILD = "*?["


def found(pattern: str) -> list[FileMetadata]:
    """The files of a pattern, by name: Beam's metadata, with path, size and time of change.

    Args:
        pattern: a file `....parquet`, a pattern with `*`, or a folder, which means its `*.parquet`.

    Raises:
        FileNotFoundError: there are none.
    """
    pattern = str(pattern)
    if not (pattern.endswith(".parquet") or any(sign in pattern for sign in WILD)):
        pattern = FileSystems.join(pattern, "*.parquet")
    files = matching(pattern)
    if not files:
        raise FileNotFoundError(
            f"no files {pattern}: give a .parquet file, a pattern, or a folder of .parquet files"
        )
    return files


def matching(pattern: str) -> list[FileMetadata]:
    """As `found`, for a pattern as it is, and without an error where there are no files."""
    return sorted(FileSystems.match([pattern])[0].metadata_list, key=lambda file: file.path)


@contextlib.contextmanager
def written(path: str) -> Iterator[BinaryIO]:
    """A file to write to; it is written aside, and at the end it replaces what is at `path`.

    So a worker that dies, or does its work twice, leaves no half file and no second one.
    """
    aside = f"{path}.{uuid.uuid4().hex}.part"  # no `atomic_file`: the path may be in a bucket
    try:
        with FileSystems.create(aside, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            yield file
        FileSystems.rename([aside], [path])
    except BaseException:
        with contextlib.suppress(OSError):
            FileSystems.delete([aside])
        raise


def opened(path: str) -> BinaryIO:
    """A file to read from."""
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def write_json(path: str, value: Any) -> None:
    """Writes a JSON file, whole or not at all."""
    with written(path) as file:
        file.write((json.dumps(value, indent=2) + "\n").encode())


def read_json(path: str) -> Any:
    """The content of a JSON file.

    Raises:
        ValueError: the file is damaged.
    """
    with opened(path) as file:
        text = file.read()
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None
