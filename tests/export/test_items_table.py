"""The table of items beside an export: which columns it keeps, and how."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.export.items import read_items, table_of, write_items


def catalog(**columns):
    items = pd.DataFrame({"item_id": ["a", "b", "c"], **columns}) if columns else None
    log = Interactions.from_columns(user_id=["u"] * 3, item_id=["c", "c", "a"], items=items)
    return Catalog.fit(log)


def test_columns_stand_by_row_with_their_ids(tmp_path):
    made = catalog(title=["A", None, "C"], price=[1.0, np.nan, np.inf], tags=[["x", "y"], [], None])
    write_items(made, tmp_path)
    table = read_items(tmp_path).to_pydict()
    assert table["item_id"] == made.items.ids.tolist() == ["c", "a", "b"]
    assert table["title"] == ["C", "A", None]
    assert table["price"] == [None, 1.0, None]  # what is not finite is not known
    assert table["tags"] == [None, ["x", "y"], []]


def test_what_no_reader_can_show_is_left_out(tmp_path):
    vectors = [np.zeros(3), np.ones(3), np.ones(3)]
    days = pd.to_datetime(["2020-01-01", None, "2021-02-03"])
    made = catalog(vector=vectors, day=days, mixed=[1, "x", None], kind=pd.Categorical(list("xyx")))
    write_items(made, tmp_path)
    table = read_items(tmp_path)
    assert table.column_names == ["item_id", "day", "mixed", "kind"]
    assert table["mixed"].to_pylist() == [None, "1", "x"]
    assert [str(each)[:10] for each in table["day"].to_pylist()] == [
        "2021-02-03",
        "2020-01-01",
        "None",
    ]
    assert pa.types.is_string(table["kind"].type)


def test_without_columns_nothing_is_written(tmp_path):
    write_items(catalog(), tmp_path)
    assert read_items(tmp_path) is None and not list(tmp_path.iterdir())


def test_a_damaged_table_is_named(tmp_path):
    (tmp_path / "items.parquet").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="items.parquet cannot be read, export again"):
        read_items(tmp_path)


def test_a_table_of_another_source():
    frame = pd.DataFrame({"item_id": [2, 1], "title": ["two", "one"]})
    assert table_of(frame, "films.csv").to_pydict() == {"item_id": [2, 1], "title": ["two", "one"]}
    with pytest.raises(ValueError, match="films.csv has no column item_id; it has title"):
        table_of(frame[["title"]], "films.csv")
    with pytest.raises(ValueError, match="films.csv has an item_id twice: 2"):
        table_of(pd.concat([frame, frame]), "films.csv")
