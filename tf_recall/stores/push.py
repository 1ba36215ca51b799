"""Fills a live store with the items of an exported model."""

from pathlib import Path

import numpy as np
import pandas as pd

from tf_recall.data.ids import raw_ids
from tf_recall.data.tables import read
from tf_recall.stores.places import fill, parsed


def push(model: str | Path, address: str, items: str | Path | None = None) -> dict:
    """Writes an exported model's item vectors to a store, with columns to narrow searches by.

    Queries are asked with the user's vector, which the export's endpoint `embed_query` gives.

    Args:
        model: an export that was written with its model.
        address: of the store, as for `places.fill`.
        items: a CSV or Parquet file with `item_id` and the columns; items that it lacks have none.

    Returns:
        `{"store": address, "items": number, "dim": length, "columns": names}`.

    Raises:
        FileNotFoundError: there is no export with its model, or no such file.
        ImportError: the package of the store is not installed.
        ValueError: another address, or a table without `item_id`.
    """
    from tf_recall.export.load import restore
    from tf_recall.export.versions import digest_of, version_folder

    parsed(address)  # before the work
    table = None if items is None else read(items, {"item_id"})
    path = version_folder(model)
    trained, catalog = restore(path)
    vectors = np.asarray(trained.embed_catalog(), np.float32)
    ids = catalog.items.ids
    columns = None if table is None else _columns(table, ids, items)
    fill(address, ids, vectors, columns, digest_of(path))
    names = [] if columns is None else list(columns)
    return {"store": address, "items": len(ids), "dim": vectors.shape[1], "columns": names}


def _columns(table: pd.DataFrame, ids: np.ndarray, path) -> pd.DataFrame:
    """A row for each id, with the columns whose values are scalars."""
    if "item_id" not in table:
        raise ValueError(f"{path} has no column item_id; it has {', '.join(map(str, table))}")
    own = raw_ids(table["item_id"], "item_id")
    if own.dtype != ids.dtype:
        own, ids = own.astype(str), ids.astype(str)
    table = table.drop(columns="item_id").set_index(pd.Index(own))
    if table.index.has_duplicates:
        raise ValueError(f"{path} has an item_id twice: {table.index[table.index.duplicated()][0]}")
    return table.reindex(pd.Index(ids)).reset_index(drop=True)
