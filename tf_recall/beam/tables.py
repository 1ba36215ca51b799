"""Parquet tables for pipelines: checked before anything runs, read in blocks of rows."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tf_recall.beam.files import found, opened, written

OPENED_AT_ONCE = 16  # footers of files that may be far away

Kind = tuple[str, Callable[[pa.DataType], bool]]  # allowed types of a column: in words, a test


@dataclass(frozen=True)
class Block:
    """Some row groups of a file, which one worker reads."""

    path: str
    groups: tuple[int, ...]
    rows: int

    def batches(self, columns: Iterable[str], rows: int) -> Iterator[pa.RecordBatch]:
        """Its record batches, of up to `rows` rows each."""
        with opened(self.path) as file:
            yield from pq.ParquetFile(file).iter_batches(rows, list(self.groups), list(columns))


class Table:
    """A table of one or many Parquet files, of which only schema and row counts have been read.

    Args:
        pattern: a `.parquet` file, a pattern with `*`, or a folder of `.parquet` files.
        title: what to call it in errors.
        needed: the columns that it must have: `{name: (allowed types in words, test of a type)}`.
        optional: likewise, columns that all files have or none.

    Raises:
        FileNotFoundError: there are no files.
        ValueError: no Parquet, no rows, a column that is missing or of another type.
    """

    def __init__(
        self,
        pattern: str | Path,
        title: str,
        needed: dict[str, Kind],
        optional: dict[str, Kind] | None = None,
    ):
        self.title = title
        optional = optional or {}
        self.files = found(pattern)
        with ThreadPoolExecutor(OPENED_AT_ONCE) as threads:
            footers = list(threads.map(_footer, [file.path for file in self.files]))
        for file, (_, schema) in zip(self.files, footers, strict=True):
            for name, (words, fits) in (needed | optional).items():
                if name in needed and name not in schema.names:
                    raise ValueError(
                        f"{title}: {file.path} lacks the column {name!r}; it has {schema.names}"
                    )
                if name in schema.names and not fits(schema.field(name).type):
                    raise ValueError(
                        f"{title}: column {name!r} of {file.path} must hold {words}, not "
                        f"{schema.field(name).type}"
                    )
        for name in optional:
            having = [name in schema.names for _, schema in footers]
            if any(having) and not all(having):
                without = self.files[having.index(False)].path
                raise ValueError(
                    f"{title}: some files have the column {name!r}, and {without} does not"
                )
        self.schemas = [schema for _, schema in footers]
        self.schema = self.schemas[0]
        self._groups = [groups for groups, _ in footers]
        self.rows = sum(map(sum, self._groups))
        if not self.rows:
            raise ValueError(f"{title}: there are no rows in {pattern}")

    def blocks(self, rows: int) -> list[Block]:
        """The whole table in blocks of about `rows` rows; row groups are never divided."""
        blocks = []
        for file, sizes in zip(self.files, self._groups, strict=True):
            groups, size = [], 0
            for group, more in enumerate(sizes):
                if groups and size + more > rows:
                    blocks.append(Block(file.path, tuple(groups), size))
                    groups, size = [], 0
                groups, size = [*groups, group], size + more
            if size:
                blocks.append(Block(file.path, tuple(groups), size))
        return blocks

    def fingerprint(self) -> list:
        """Name, size and time of change of each file, which tell it from others without reading."""
        return [
            [_name(file.path), file.size_in_bytes, file.last_updated_in_seconds]
            for file in self.files
        ]


def _name(path):
    return path.replace("\\", "/").rsplit("/", 1)[-1]


def _footer(path):
    """The row counts of a file's row groups, and its schema."""
    try:
        with opened(path) as file:
            parquet = pq.ParquetFile(file)
            groups = [
                parquet.metadata.row_group(group).num_rows
                for group in range(parquet.num_row_groups)
            ]
            return groups, parquet.schema_arrow
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} is no Parquet file, or is damaged: {error}") from None


def is_list(dtype: pa.DataType) -> bool:
    """Whether a type can hold vectors."""
    a_list = (
        pa.types.is_fixed_size_list(dtype)
        or pa.types.is_list(dtype)
        or pa.types.is_large_list(dtype)
    )
    return a_list and pa.types.is_floating(dtype.value_type)


def is_id(dtype: pa.DataType) -> bool:
    """Whether a type can hold ids."""
    return is_text(dtype) or pa.types.is_integer(
        dtype.value_type if pa.types.is_dictionary(dtype) else dtype
    )


def is_text(dtype: pa.DataType) -> bool:
    """Whether a type holds strings."""
    dtype = dtype.value_type if pa.types.is_dictionary(dtype) else dtype
    return pa.types.is_string(dtype) or pa.types.is_large_string(dtype)


IDS = ("strings or whole numbers", is_id)
WHOLE = ("whole numbers", pa.types.is_integer)
NUMBERS = ("numbers", lambda dtype: pa.types.is_floating(dtype) or pa.types.is_integer(dtype))
VECTORS = ("lists of numbers, as a fixed-size list of float32", is_list)


def numbers(column: pa.Array, name: str, title: str, dtype: type) -> np.ndarray:
    """A column of numbers as an array of a dtype.

    Args:
        column: of a table.
        name, title: of the column and its table, for errors.
        dtype: of the array.

    Raises:
        ValueError: values are missing.
    """
    if column.null_count:
        raise ValueError(f"{title}: column {name!r} has rows without a value")
    return column.to_numpy(zero_copy_only=False).astype(dtype, copy=False)


def vectors(column: pa.Array, title: str) -> np.ndarray:
    """A column of lists as an array: float32 `[rows, D]`.

    Raises:
        ValueError: lists of unequal length, or missing values.
    """
    flat = column.flatten()
    if column.null_count or flat.null_count:
        raise ValueError(f"{title}: column 'vector' has rows or numbers without a value")
    if pa.types.is_fixed_size_list(column.type):
        sizes = {column.type.list_size}
    else:
        sizes = set(np.diff(column.offsets))
    if len(sizes) != 1:
        raise ValueError(
            f"{title}: the vectors are of unequal length, {min(sizes)} to {max(sizes)}"
        )
    values = flat.to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    return values.reshape(len(column), int(sizes.pop()))


def vector_column(array: np.ndarray) -> pa.Array:
    """An array `[rows, D]` as a column of fixed-size lists."""
    return pa.FixedSizeListArray.from_arrays(
        pa.array(np.ascontiguousarray(array).ravel()), array.shape[1]
    )


def write_table(path: str, columns: dict[str, pa.Array]) -> None:
    """Writes columns as a Parquet file, whole or not at all."""
    with written(path) as file:
        pq.write_table(pa.table(columns), file)


def nodes(pattern: str | Path, of_type: str) -> Table:
    """A table of the nodes of a type: `row` and `vector`."""
    return Table(pattern, f"nodes of {of_type!r}", {"row": WHOLE, "vector": VECTORS})


def edges(pattern: str | Path, pair: tuple[str, str], name: str | None = None) -> Table:
    """A table of the edges between two types: `source`, `target` and perhaps `weight`.

    Args:
        pattern: the files.
        pair: the types of sources and targets.
        name: of the relation, where the types do not tell it.
    """
    title = f"edges of {pair[0]!r} to {pair[1]!r}"
    if name not in (None, "_".join(pair)):
        title = f"{title}, {name!r}"
    return Table(pattern, title, {"source": WHOLE, "target": WHOLE}, {"weight": NUMBERS})


def vector_length(table: Table) -> int:
    """The length of the vectors of a table of nodes, from its first row."""
    batch = next(table.blocks(1)[0].batches(["vector"], 1))
    return vectors(batch.column("vector"), table.title).shape[1]
