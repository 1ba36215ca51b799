"""Files on whatever file system Beam knows; a file appears whole or not at all."""

import contextlib
import json
import uuid

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

WILD = "*?["


def found(pattern: str) -> list:
    """Beam's metadata (path, size, time of change) of the files of a pattern, by name.

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


def matching(pattern: str) -> list:
    """As `found`, of a pattern as it is; none is an answer."""
    return sorted(FileSystems.match([pattern])[0].metadata_list, key=lambda file: file.path)


@contextlib.contextmanager
def written(path: str):
    """A file to write to, beside `path` at first; it takes that name, and the place of what has it,
    at the end.

    So a worker that dies, or does its work twice, leaves no half file and no second one.
    """
    aside = f"{path}.{uuid.uuid4().hex}.part"
    try:
        with FileSystems.create(aside, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            yield file
        FileSystems.rename([aside], [path])
    except BaseException:
        with contextlib.suppress(OSError):
            FileSystems.delete([aside])
        raise


def opened(path: str):
    """A file to read from."""
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def write_json(path: str, value) -> None:
    """Writes JSON, whole or not at all."""
    with written(path) as file:
        file.write((json.dumps(value, indent=2) + "\n").encode())


def read_json(path: str):
    """Reads it again.

    Raises:
        ValueError: the file is damaged.
    """
    with opened(path) as file:
        text = file.read()
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None
