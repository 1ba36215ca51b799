"""What people know items by: the side table's columns, kept beside an export."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tf_recall.data.catalog import Catalog
from tf_recall.data.errors import one_line
from tf_recall.data.ids import raw_ids

FILE = "items.parquet"
KEY = "item_id"


def write_items(catalog: Catalog, folder: Path) -> None:
    """Writes the items' side table, a line for each item, to `items.parquet`.

    A model holds its columns encoded; this file tells a reader what an item is: titles, genres. It
    takes about as much space as the texts in it compressed. Columns of vectors are left out; of a
    catalog without columns nothing is written.

    Args:
        catalog: whose items.
        folder: of the export.
    """
    columns = {
        str(name): column
        for name, values in catalog.item_table.items()
        if (column := plain(_arrow(values))) is not None
    }
    if columns:
        table = pa.table({KEY: pa.array(catalog.items.ids), **columns})
        pq.write_table(table, folder / FILE, compression="zstd")


def read_items(folder: Path) -> pa.Table | None:
    """The table that `write_items` wrote; None where there is none.

    Raises:
        ValueError: the file cannot be read.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        return pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} cannot be read, export again: {one_line(error)}") from error


def table_of(frame: pd.DataFrame, what: str) -> pa.Table:
    """A side table of another source in the form of `read_items`.

    Args:
        frame: has `item_id`, each once, and columns.
        what: what to call it in an error.

    Raises:
        ValueError: it lacks `item_id`, or has one twice.
        TypeError: ids that are neither text nor integers.
    """
    if KEY not in frame:
        raise ValueError(f"{what} has no column item_id; it has {', '.join(map(str, frame))}")
    ids = pd.Index(raw_ids(frame[KEY], KEY))
    if ids.has_duplicates:
        raise ValueError(f"{what} has an item_id twice: {ids[ids.duplicated()][0]}")
    columns = {
        str(name): column
        for name, values in frame.drop(columns=KEY).items()
        if (column := plain(_arrow(values))) is not None
    }
    return pa.table({KEY: pa.array(ids.to_numpy()), **columns})


def plain(column: pa.Array) -> pa.Array | None:
    """A column as text, numbers, truth values or lists of text; None of what is none of them."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return plain(column.dictionary_decode())
    if pa.types.is_floating(kind):
        column = column.cast(pa.float64())
        return pc.if_else(pc.is_finite(column), column, None)
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return column
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        is_text = pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type)
        return column if is_text else None
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_null(kind):
        return None
    return column.cast(pa.string())


def _arrow(values):
    """A column of a frame; what Arrow has no type for as text."""
    if values.dtype == object:
        some = values.dropna()
        if len(some) and isinstance(some.iloc[0], np.ndarray):
            values = values.map(
                lambda each: each.tolist() if isinstance(each, np.ndarray) else each
            )
    try:
        made = pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError, OverflowError):
        made = pa.array(
            values.where(values.isna(), values.astype(str)), pa.string(), from_pandas=True
        )
    return made.combine_chunks() if isinstance(made, pa.ChunkedArray) else made
