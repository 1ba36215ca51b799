"""CSV files, read strictly: each line has one field for each column that the header names."""

import bz2
import csv
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

BLOCK_BYTES = 2**24  # no line is longer
END = "\x04"  # what each field of the line behind the last one holds
BOOLEANS = {"True", "TRUE", "true", "False", "FALSE", "false"}
DAMAGE = "it is damaged, incomplete, or not compressed as its suffix says; copy or make it anew"
EXACT = 2**53  # from here on floats are not all whole numbers
OPEN = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": lambda file: io.BufferedReader(pa.CompressedInputStream(file, "zstd")),
}
DAMAGED = (
    ValueError,
    OSError,
    EOFError,
    RuntimeError,  # an archive with a password
    csv.Error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    zlib.error,
    pa.ArrowException,
)


def read(path: str | Path, missing: Iterable[str] = ()) -> pa.Table:
    """Reads a CSV file: every column as text, null where a field is empty.

    Quoted fields may hold separators, quotes and line ends. Columns without a name are called
    `Unnamed: 0` and so on, by their position.

    Args:
        path: the file, perhaps compressed (.gz, .bz2, .xz, .zst, .zip); tab separated where its
            name holds `.tsv`.
        missing: further texts that stand for a missing value, such as "NA".

    Raises:
        OSError: no such file, or a folder.
        ValueError: a file that is damaged, empty or not UTF-8; two columns of one name; a line with
            more or fewer fields than the header; a quote that is never closed.
    """
    return pa.Table.from_batches(list(batches(path, missing)))


def batches(path: str | Path, missing: Iterable[str] = ()) -> Iterator[pa.RecordBatch]:
    """Reads a CSV file as `read` does, block by block; at least one block, perhaps without rows."""
    path = Path(path)
    null_values = ["", *_texts(missing)]
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: give one CSV file.")
    with _explained(path):
        names, skipped = _header(path)
        with _opened(path) as file:
            try:
                yield from _without_end(_stream(file, path, names, skipped, null_values), names)
            except pa.ArrowInvalid as error:
                fault = _fault(path, names) or _plain(error)
                if "straddling" in fault:
                    fault = f"a line is longer than {BLOCK_BYTES:,} bytes. Is a quote not closed?"
                raise ValueError(fault) from error


def _stream(file, path, names, skipped, null_values):
    separator = _separator(path)
    end = "\n" + separator.join([END] * len(names))
    return arrow_csv.open_csv(
        io.BufferedReader(_Ended(file, end)),
        arrow_csv.ReadOptions(
            column_names=names, skip_rows_after_names=skipped, block_size=BLOCK_BYTES
        ),
        arrow_csv.ParseOptions(
            delimiter=separator,
            newlines_in_values=True,
            invalid_row_handler=lambda row: "error" if row.text.strip() else "skip",
        ),
        arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=null_values,
            strings_can_be_null=True,
        ),
    )


def _without_end(blocks, names):
    """The blocks without the last line, which `_Ended` added; an open quote has swallowed it."""
    block = None
    for following in blocks:
        if block is not None:
            yield block
        block = following
    last = block.num_rows - 1
    (line,) = block.slice(last).to_pylist()
    if line != dict.fromkeys(names, END):
        raise ValueError(f'a quote (") is never closed, in the line of {line[names[0]]!r:.80}.')
    yield block.slice(0, last)


def typed(column: pa.ChunkedArray) -> pd.Series:
    """A column of text as numbers or booleans where every field is such, else as text."""
    numbers = _numbers(column)
    if numbers is not None:
        return numbers.to_pandas()
    text = column.to_pandas()
    first = text.dropna().iloc[:1]
    if first.isin(BOOLEANS).all() and text.isin([*BOOLEANS, None]).all():
        return column.cast(pa.bool_()).to_pandas()
    try:
        pd.to_numeric(first)
        numbers = pd.to_numeric(text)  # with blanks around, or a plus sign
    except (ValueError, TypeError):
        return text
    return text if numbers.dtype == object else numbers  # integers beyond 64 bits stay text


def plain_integers(column: pa.ChunkedArray) -> pd.Series:
    """Ids as integers where every one is written as a plain integer ("7", never "007").

    Else they are Python strings.
    """
    try:
        numbers = column.cast(pa.int64())
        if pc.all(pc.equal(numbers.cast(pa.string()), column)).as_py() is not False:
            return numbers.to_pandas(integer_object_nulls=True)
    except pa.ArrowInvalid:
        pass
    return column.to_pandas().astype(object)


def _numbers(column):
    """A column of text as int64 or float64, or None: where not all are numbers in Arrow's eyes."""
    for dtype in (pa.int64(), pa.float64()):
        try:
            column.slice(0, 100).cast(dtype)  # tells most text at once
            numbers = column.cast(dtype)
        except pa.ArrowInvalid:
            continue
        if dtype == pa.int64():
            hexadecimal = pc.any(pc.match_substring(column, "x", ignore_case=True)).as_py()
            return None if hexadecimal else numbers
        inexact = pc.or_(pc.is_nan(numbers), pc.greater_equal(pc.abs(numbers), EXACT))
        return None if pc.any(inexact).as_py() else numbers
    return None


def _texts(missing):
    """The texts of `missing`, checked."""
    texts = [missing] if isinstance(missing, str | bytes) else list(missing)
    if wrong := [text for text in texts if not isinstance(text, str)]:
        raise ValueError(
            f"missing is a list of the texts that stand for a missing value, got {wrong[0]!r}: "
            "put it in quotes."
        )
    return texts


def _separator(path):
    return "\t" if ".tsv" in map(str.lower, path.suffixes) else ","


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, unpacked where its suffix says that it is compressed."""
    kind = path.suffix.lower()
    with path.open("rb") as packed:
        if kind == ".zip":
            with zipfile.ZipFile(packed) as archive:
                inside = [each for each in archive.infolist() if not each.is_dir()]
                if len(inside) != 1:
                    raise ValueError(f"it holds {len(inside)} files: give an archive of one.")
                with archive.open(inside[0]) as file:
                    yield file
        elif kind in OPEN:
            with OPEN[kind](packed) as file:
                yield file
        else:
            yield packed


class _Ended(io.RawIOBase):
    """A file with a line behind its own."""

    def __init__(self, file: BinaryIO, end: str):
        self._file = file
        self._end = end.encode()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = self._file.readinto(buffer)
        if size:
            return size
        end = self._end[: len(buffer)]
        self._end = self._end[len(end) :]
        buffer[: len(end)] = end
        return len(end)


def _header(path):
    """The names of the columns, and how many rows they take with the empty ones before them."""
    with _opened(path) as file:
        reader = csv.reader(_lines(file), delimiter=_separator(path))
        found = next((row for row in enumerate(reader, 1) if any(map(str.strip, row[1]))), None)
    if found is None:
        raise ValueError("No columns: it is empty.")
    skipped, names = found
    names = [name or f"Unnamed: {at}" for at, name in enumerate(names)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"it has columns of the same name: {twice}. Rename or remove one.")
    return names, skipped


def _fault(path, names):
    """What the first line that does not fit the header has wrong; None where all fit."""
    begin = 1
    with _opened(path) as file:
        reader = csv.reader(_lines(file), delimiter=_separator(path))
        try:
            for fields in reader:
                if len(fields) != len(names) and any(field.strip() for field in fields):
                    return (
                        f"line {begin} has {len(fields)} fields, and the header names {len(names)} "
                        f"columns ({', '.join(names)}). Give every line one field for each column, "
                        "and put fields that hold a separator in quotes."
                    )
                begin = reader.line_num + 1
        except csv.Error as error:
            return f"line {begin}: {error}. Is a quote not closed?"
        except ValueError as error:
            return str(error)
    return None


def _lines(file):
    """The lines of a file as text."""
    for number, line in enumerate(part for each in file for part in each.splitlines(True)):
        try:
            yield line.decode("utf-8" if number else "utf-8-sig")
        except UnicodeDecodeError:
            raise ValueError(
                f"line {number + 1} holds bytes that are not UTF-8. Save it as UTF-8 text, and "
                f"give a compressed file its suffix ({', '.join([*OPEN, '.zip'])})."
            ) from None


@contextmanager
def _explained(path):
    """Says of what goes wrong with a file, in one line, which file it is."""
    try:
        yield
    except DAMAGED as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise  # it names the file: there is none, or it may not be read
        what = str(error) if type(error) is ValueError else f"{DAMAGE} ({_plain(error)})."
        raise ValueError(f"{path} cannot be read as CSV: {what}") from error


def _plain(error):
    return str(error).partition("\n")[0] or type(error).__name__
