"""Columns larger than memory: equal to the in-memory path, whole or refused."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tf_recall.data import columns as columns_module
from tf_recall.data.batches import Batches
from tf_recall.data.columns import (
    encode_parquet,
    fit_vocabularies,
    open_columns,
    read_blocks,
    write_columns,
)
from tf_recall.data.vocabulary import Vocabulary


def block(start, stop):
    rows = np.arange(start, stop)
    history = (rows[:, None] * 10 + np.arange(3)).astype(np.int32)
    return {
        "query": {"user": rows.astype(np.int32), "history": history},
        "weight": (rows / 2).astype(np.float32),
    }


def log_frame(num_rows=5000, seed=0, string_ids=True):
    rng = np.random.default_rng(seed)
    users, items = rng.zipf(1.3, num_rows) % 700, rng.zipf(1.2, num_rows) % 300
    spell = (
        (lambda letter, ids: [f"{letter}{i}" for i in ids])
        if string_ids
        else (lambda letter, ids: ids)
    )
    return pd.DataFrame(
        {
            "customer": spell("u", users),
            "item_id": spell("i", items),
            "weight": rng.random(num_rows).astype(np.float32),
            "unused": rng.random(num_rows),
        }
    )


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(columns_module, "BLOCK_ROWS", 300)


def test_blocks_come_back_as_one(tmp_path):
    write_columns(tmp_path / "store", [block(0, 4), block(4, 4), block(4, 11)])
    opened, whole = open_columns(tmp_path / "store"), block(0, 11)
    assert list(opened) == list(whole) and list(opened["query"]) == list(whole["query"])
    assert isinstance(opened["weight"], np.memmap)
    for ours, expected in (
        (opened["query"]["user"], whole["query"]["user"]),
        (opened["query"]["history"], whole["query"]["history"]),
        (opened["weight"], whole["weight"]),
    ):
        assert ours.dtype == expected.dtype
        np.testing.assert_array_equal(ours, expected)
    with pytest.raises(ValueError, match="read-only"):
        opened["weight"][0] = 1
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_header_holds_any_number_of_rows(tmp_path):
    """The header is written before the rows are known: it must not grow over the data."""
    rows = 123_456
    write_columns(
        tmp_path / "store", ({"x": np.arange(i, min(i + 1000, rows))} for i in range(0, rows, 1000))
    )
    np.testing.assert_array_equal(open_columns(tmp_path / "store")["x"], np.arange(rows))


def test_arrays_of_any_layout(tmp_path):
    whole = np.arange(24).reshape(6, 4)
    given = {
        "fortran": np.asfortranarray(whole),
        "strided": np.repeat(whole, 2, 0)[::2],
        "turned": whole[:, ::-1],
    }
    write_columns(tmp_path / "store", [given, given])
    opened = open_columns(tmp_path / "store")
    for name, column in given.items():
        np.testing.assert_array_equal(opened[name], np.concatenate([column, column]))


@pytest.mark.parametrize("string_ids", [True, False])
def test_parquet_by_row_groups_is_the_file_read_whole(tmp_path, small_blocks, string_ids):
    frame = log_frame(string_ids=string_ids)
    frame.to_parquet(tmp_path / "log.parquet", row_group_size=1000)
    assert pq.ParquetFile(tmp_path / "log.parquet").num_row_groups == 5
    columns, users, items = encode_parquet(
        tmp_path / "log.parquet", tmp_path / "store", {"user_id": "customer"}
    )
    for ours, ids in ((users, frame["customer"]), (items, frame["item_id"])):
        whole = Vocabulary.fit(ids)
        np.testing.assert_array_equal(ours.ids, whole.ids)
        np.testing.assert_array_equal(ours.counts, whole.counts)
    np.testing.assert_array_equal(
        users.decode(columns["query"]["user"]), frame["customer"].to_numpy()
    )
    np.testing.assert_array_equal(
        items.decode(columns["item"]["item"]), frame["item_id"].to_numpy()
    )
    np.testing.assert_array_equal(columns["weight"], frame["weight"])
    in_memory = {
        "query": {"user": users.encode(frame["customer"])},
        "item": {"item": items.encode(frame["item_id"])},
    }
    mapped = {name: columns[name] for name in in_memory}
    for run in (1, 64):
        ours, expected = (
            Batches(mapped, 128, run=run).dataset(5),
            Batches(in_memory, 128, run=run).dataset(5),
        )
        for one, other in zip(ours.take(50), expected.take(50), strict=True):
            np.testing.assert_array_equal(one["query"]["user"], other["query"]["user"])
            np.testing.assert_array_equal(one["item"]["item"], other["item"]["item"])


def test_a_folder_is_its_files_in_order(tmp_path, small_blocks):
    frame = log_frame().rename(columns={"customer": "user_id"})
    (tmp_path / "parts").mkdir()
    for number in range(5):
        frame[number * 1000 : (number + 1) * 1000].to_parquet(
            tmp_path / "parts" / f"{number}.parquet"
        )
    blocks = list(read_blocks(tmp_path / "parts", context=["unused"]))
    assert max(len(block) for block in blocks) <= 300
    for name in ("user_id", "item_id", "weight", "unused"):
        together = np.concatenate([block.frame[name].to_numpy() for block in blocks])
        np.testing.assert_array_equal(together, frame[name].to_numpy())
    assert "unused" not in next(read_blocks(tmp_path / "parts")).frame


def test_counts_merged_on_the_way(tmp_path, monkeypatch):
    """More distinct ids than are kept apart: merging in the middle changes nothing."""
    monkeypatch.setattr(columns_module, "BLOCK_ROWS", 20)
    frame = log_frame().rename(columns={"customer": "user_id"})
    frame.to_parquet(tmp_path / "log.parquet")
    users, _ = fit_vocabularies(read_blocks(tmp_path / "log.parquet"))
    whole = Vocabulary.fit(frame["user_id"])
    np.testing.assert_array_equal(users.ids, whole.ids)
    np.testing.assert_array_equal(users.counts, whole.counts)


def test_what_is_not_whole_is_refused(tmp_path):
    write_columns(tmp_path / "store", [block(0, 50)])
    file = tmp_path / "store" / "query" / "user.npy"
    content = file.read_bytes()
    file.write_bytes(content[:-4])
    with pytest.raises(ValueError, match="damaged"):
        open_columns(tmp_path / "store")
    np.save(file, np.arange(49, dtype=np.int32))
    with pytest.raises(ValueError, match=r"damaged.*query/user"):
        open_columns(tmp_path / "store")
    file.unlink()
    with pytest.raises(ValueError, match="damaged"):
        open_columns(tmp_path / "store")
    file.write_bytes(content)
    assert len(open_columns(tmp_path / "store")["weight"]) == 50
    manifest = tmp_path / "store" / "manifest.json"
    manifest.write_text(manifest.read_text()[:40])
    with pytest.raises(ValueError, match="damaged"):
        open_columns(tmp_path / "store")
    manifest.unlink()
    with pytest.raises(FileNotFoundError, match="no column store"):
        open_columns(tmp_path / "store")


def test_a_write_that_fails_leaves_nothing(tmp_path):
    def broken():
        yield block(0, 5)
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        write_columns(tmp_path / "store", broken())
    assert list(tmp_path.iterdir()) == []


def test_what_an_interrupted_write_left_is_replaced(tmp_path):
    left = tmp_path / f".store.{'a' * 32}.part"
    left.mkdir()
    (left / "old.npy").write_bytes(b"cut")
    write_columns(tmp_path / "store", [block(0, 5)])
    assert sorted(json.loads((tmp_path / "store" / "manifest.json").read_text())["columns"]) == [
        "query/history",
        "query/user",
        "weight",
    ]
    assert not (tmp_path / "store" / "old.npy").exists() and not left.exists()
    with pytest.raises(FileExistsError, match="is there already"):
        write_columns(tmp_path / "store", [block(0, 5)])


@pytest.mark.parametrize(
    "blocks, message",
    [
        ([], "no rows"),
        ([{"x": np.zeros(0)}], "no rows"),
        ([{"x": np.zeros(3)}, {"y": np.zeros(3)}], "Block 1 has columns y"),
        ([{"x": np.zeros(3)}, {"x": np.zeros(3, np.int32)}], "Block 1 has columns x int32"),
        ([{"x": np.zeros((3, 2))}, {"x": np.zeros((3, 4))}], "Block 1"),
        ([{"x": np.zeros(3), "y": np.zeros(4)}], "differ in length"),
        ([{"x": np.array(["a"])}], "Vocabulary.encode"),
        ([{"x": np.float32(3)}], "first axis"),
        ([{"../x": np.zeros(3)}], "cannot name a column"),
    ],
)
def test_blocks_that_do_not_go_together(tmp_path, blocks, message):
    with pytest.raises(ValueError, match=message):
        write_columns(tmp_path / "store", blocks)
    assert list(tmp_path.iterdir()) == []


def test_parquet_that_cannot_be_read(tmp_path, small_blocks):
    with pytest.raises(FileNotFoundError, match="no Parquet file"):
        next(read_blocks(tmp_path / "absent.parquet"))
    with pytest.raises(FileNotFoundError, match="no Parquet file"):
        next(read_blocks(tmp_path))
    log_frame().to_parquet(tmp_path / "log.parquet")
    with pytest.raises(ValueError, match=r"no column user_id; it has customer"):
        next(read_blocks(tmp_path / "log.parquet"))
    table = pa.table({"user_id": ["a"] * 700 + [None] + ["b"] * 99, "item_id": ["i"] * 800})
    pq.write_table(table, tmp_path / "missing.parquet", row_group_size=600)
    with pytest.raises(ValueError, match=r"rows 600 to 7\d\d.*user_id"):
        list(read_blocks(tmp_path / "missing.parquet"))
    assert not (tmp_path / "store").exists()
    pq.write_table(
        pa.table({"user_id": [1, 2], "item_id": ["i", "j"]}), tmp_path / "numbers.parquet"
    )
    pq.write_table(
        pa.table({"user_id": ["a", "b"], "item_id": ["i", "j"]}), tmp_path / "strings.parquet"
    )
    blocks = (next(read_blocks(tmp_path / name)) for name in ("numbers.parquet", "strings.parquet"))
    with pytest.raises(TypeError, match="all strings or all integers"):
        fit_vocabularies(blocks)
    with pytest.raises(ValueError, match="no interactions"):
        fit_vocabularies(iter([]))
