"""Columns larger than memory: written block by block, and read as memory maps."""

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from tf_recall.data import tables
from tf_recall.data.atomic import atomic_folder
from tf_recall.data.dictionaries import Distinct
from tf_recall.data.interactions import Interactions
from tf_recall.data.vocabulary import Vocabulary

MANIFEST = "manifest.json"
BLOCK_ROWS = 2**18


def encode_parquet(
    path: str | Path,
    store: str | Path,
    columns: dict | None = None,
    time_unit: str | None = None,
) -> tuple[dict[str, Any], Vocabulary, Vocabulary]:
    """Fits both vocabularies to a Parquet file and encodes it, one block of rows at a time.

    The columns are those of `positives.user_item` of the whole file, without context.

    Args:
        path: a Parquet file, or a folder of them read in the order of their names.
        store: folder to make for the columns; it must not exist yet.
        columns: `{our name: the file's}` where they differ, such as `{"user_id": "customer"}`.
        time_unit: what numbers in `timestamp` count, as in `Interactions.from_frame`.

    Returns:
        `{"query": {"user": [n] int32}, "item": {"item": [n] int32}}` as memory maps, and
        `"weight": [n]` float32 where the file has one; the vocabulary of users; the vocabulary of
        items.

    Raises:
        FileExistsError: `store` exists.
        FileNotFoundError, TypeError, ValueError: as `read_blocks`.

    Example:
        >>> columns, users, items = encode_parquet("train.parquet", "train.columns")
        >>> batches = Batches(columns, batch_size=4096, run=1024)

        Later runs read the store with `open_columns("train.columns")`; each vocabulary has `save`
        and `load`.
    """
    users, items = fit_vocabularies(read_blocks(path, columns, time_unit=time_unit))

    def encode(block):
        encoded = {
            "query": {"user": users.encode(block.frame["user_id"])},
            "item": {"item": items.encode(block.frame["item_id"])},
        }
        if "weight" in block.frame:
            encoded["weight"] = block.frame["weight"].to_numpy()
        return encoded

    blocks = read_blocks(path, columns, time_unit=time_unit)
    write_columns(store, (encode(block) for block in blocks))
    return open_columns(store), users, items


def read_blocks(
    path: str | Path,
    columns: dict | None = None,
    context: Iterable[str] = (),
    time_unit: str | None = None,
) -> Iterator[Interactions]:
    """Reads the interactions of a Parquet file block by block, in the file's order.

    Only these columns are read: both ids, `timestamp` and `weight` where the file or `columns` has
    them, and `context`.

    Args:
        path: a Parquet file, or a folder of them read in the order of their names.
        columns: `{our name: the file's}` where they differ.
        context: our names of further columns.
        time_unit: what numbers in `timestamp` count, as in `Interactions.from_frame`.

    Raises:
        FileNotFoundError: no such file, or a folder without `.parquet` files.
        ValueError: a file that is damaged; a block that `Interactions` refuses: the error names its
            rows.

    Example:
        >>> blocks = read_blocks("train.parquet")
        >>> encoded = (user_item(block, catalog, model.needs()) for block in blocks)
        >>> write_columns("train.columns", encoded)
    """
    columns = tables.checked_names(columns)
    for file in parquet_files(path):
        with tables.reading_parquet(file), pq.ParquetFile(file) as parquet:
            there = set(parquet.schema_arrow.names)
            optional = [name for name in ("timestamp", "weight") if name in there]
            wanted = ["user_id", "item_id", *optional, *context]
            names = {ours: columns.get(ours, ours) for ours in dict.fromkeys([*wanted, *columns])}
            if lacking := sorted(set(names.values()) - there):
                raise ValueError(
                    f"{file} has no column {', '.join(lacking)}; it has {', '.join(sorted(there))}."
                )
            row = 0
            for batch in parquet.iter_batches(BLOCK_ROWS, columns=list(names.values())):
                if not batch.num_rows:
                    continue
                try:
                    block = Interactions.from_frame(batch, names, time_unit=time_unit)
                except (TypeError, ValueError) as error:
                    rows = f"{row} to {row + batch.num_rows - 1}"
                    raise ValueError(
                        f"In {file}, block of rows {rows} (counted from 0): {error}"
                    ) from error
                yield block
                row += batch.num_rows
                # a relative clock may look like dates in one block, but not in the first
                time_unit = time_unit or "s"


def parquet_files(path: str | Path) -> list[Path]:
    """The Parquet files at a path, in the order of their names.

    Files and folders whose names begin with `.` or `_` are none: they are still being written, or
    notes of whoever wrote the others.

    Raises:
        FileNotFoundError: no such file, or a folder without one.
    """
    path = Path(path)
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    files = [
        file for file in files if not any(part[0] in "._" for part in file.relative_to(path).parts)
    ]
    if not files or not path.exists():
        raise FileNotFoundError(
            f"There is no Parquet file at {path}; give a file, or a folder with *.parquet in it."
        )
    return files


def fit_vocabularies(blocks: Iterable[Interactions]) -> tuple[Vocabulary, Vocabulary]:
    """Fits the vocabularies of users and items to blocks, as `Vocabulary.fit` would to all at once.

    Args:
        blocks: interactions, as `read_blocks` gives them.

    Raises:
        ValueError: no blocks.
    """
    distinct = {"user_id": Distinct(), "item_id": Distinct()}
    for block in blocks:
        for name, each in distinct.items():
            each.add(block.frame[name].to_numpy())
    users, items = (Vocabulary.of_counts(*each.counted())[0] for each in distinct.values())
    return users, items


def write_columns(store: str | Path, blocks: Iterable[dict[str, Any]]) -> None:
    """Writes blocks of columns one after the other: a folder of .npy files and a manifest.

    The folder is written under another name and renamed when it is complete.

    Args:
        store: folder to make; it must not exist yet.
        blocks: dicts of numeric arrays `[rows, ...]`, with the same nesting, dtypes and shapes but
            for the rows.

    Raises:
        FileExistsError: `store` exists.
        ValueError: no rows at all, or blocks that differ.
    """
    store = Path(store)
    if store.exists():
        raise FileExistsError(
            f"{store} is there already; open it with open_columns, or remove it to write it again."
        )
    with atomic_folder(store) as aside:
        kinds, rows = _append(aside, blocks)
        columns = {
            name: {"dtype": dtype.str, "shape": [rows, *shape]}
            for name, (dtype, shape) in kinds.items()
        }
        (aside / MANIFEST).write_text(json.dumps({"rows": rows, "columns": columns}, indent=1))


def open_columns(store: str | Path) -> dict[str, Any]:
    """Opens the columns of a store, nested as they were written, as read-only memory maps.

    Raises:
        FileNotFoundError: no such store.
        ValueError: a file of the store is missing, truncated or differs from the manifest.
    """
    store = Path(store)
    if not (store / MANIFEST).is_file():
        raise FileNotFoundError(
            f"{store} is no column store: it has no {MANIFEST}. write_columns makes one."
        )
    try:
        columns = json.loads((store / MANIFEST).read_text())["columns"]
        maps = {name: np.load(store / f"{name}.npy", mmap_mode="r") for name in columns}
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"{store} is damaged; write it again. {error}") from error
    nested: dict[str, Any] = {}
    for name, column in maps.items():
        found = {"dtype": column.dtype.str, "shape": list(column.shape)}
        if found != columns[name]:
            raise ValueError(
                f"{store} is damaged; write it again. Column {name} is {found}, and was "
                f"{columns[name]}."
            )
        *parents, leaf = name.split("/")
        folder = nested
        for parent in parents:
            folder = folder.setdefault(parent, {})
        folder[leaf] = column
    return nested


def _append(folder: Path, blocks) -> tuple[dict, int]:
    """Writes the columns of blocks: `{name: (dtype, shape of a row)}`, and the number of rows."""
    kinds: dict = {}
    files: dict = {}
    rows = 0
    with ExitStack() as stack:
        for number, block in enumerate(blocks):
            leaves = dict(_named(block))
            found = {name: (leaf.dtype, leaf.shape[1:]) for name, leaf in leaves.items()}
            if not files:
                kinds = found
                for name, kind in kinds.items():
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    files[name] = stack.enter_context(open(folder / f"{name}.npy", "wb"))
                    _header(files[name], *kind, rows=0)
            if found != kinds:
                raise ValueError(
                    f"Block {number} has columns {_described(found)}; the first block had "
                    f"{_described(kinds)}."
                )
            lengths = {name: len(leaf) for name, leaf in leaves.items()}
            if len(set(lengths.values())) > 1:
                raise ValueError(f"The columns of block {number} differ in length: {lengths}.")
            for name, leaf in leaves.items():
                files[name].write(np.ascontiguousarray(leaf).data)
            rows += next(iter(lengths.values()), 0)
        if rows == 0:
            raise ValueError(
                "There are no rows to write: the blocks were empty, or there were none."
            )
        for name, file in files.items():
            file.seek(0)
            _header(file, *kinds[name], rows)
    return kinds, rows


def _header(file, dtype, shape, rows: int) -> None:
    """Writes the .npy header; NumPy pads it to one length for any `rows`, so it can be replaced."""
    described = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": (rows, *shape),
    }
    np.lib.format.write_array_header_1_0(file, described)


def _named(block: dict, prefix: str = "") -> Iterator[tuple[str, np.ndarray]]:
    for name, value in block.items():
        if not name or "/" in name or name.startswith("."):
            raise ValueError(
                f"{name!r} cannot name a column: names become files, so no '/' and no '.' in front."
            )
        if isinstance(value, dict):
            yield from _named(value, f"{prefix}{name}/")
            continue
        column = np.asarray(value)
        if column.ndim == 0 or column.dtype.kind not in "biuf":
            raise ValueError(
                f"Column {prefix}{name} is of dtype {column.dtype} and shape {column.shape}; a "
                "store holds numbers, with rows on the first axis. Turn strings into row numbers "
                "first, with Vocabulary.encode."
            )
        yield f"{prefix}{name}", column


def _described(kinds: dict) -> str:
    return ", ".join(f"{name} {dtype} {list(shape)}" for name, (dtype, shape) in kinds.items())
