"""One table by every reader: the same interactions; and what no reader takes."""

import csv
import datetime
import decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_recall.data.columns import encode_parquet, read_blocks
from tf_recall.data.ids import raw_ids
from tf_recall.data.interactions import Interactions
from tf_recall.data.sources.files import files
from tf_recall.data.splits import files as split_files

NOON = 1_706_702_400
# a letter in front, for a CSV file does not distinguish 7 from "7"
TEXT = st.text(st.sampled_from('a,";\n\r\tNé\u3042\u0301😀 7'), max_size=4).map("x{}".format)
WORDS = st.sampled_from(["NA", "null", "None", "nan", "N/A", "True", "self", "-", "007", "é,\n"])
IDS = st.one_of(st.lists(TEXT | WORDS, min_size=3, max_size=3), st.just([7, 2**62, -3]))


@st.composite
def tables(draw):
    """Columns of one length: ids, times, weights, text with holes, whole numbers."""
    rows = st.integers(0, 2)
    size = draw(st.integers(1, 6))

    def column(values):
        return draw(st.lists(values, min_size=size, max_size=size))

    users, items = draw(IDS), draw(IDS)
    return {
        "user_id": [users[at] for at in column(rows)],
        "item_id": [items[at] for at in column(rows)],
        "timestamp": [NOON + each / 8 for each in column(st.integers(0, 80))],
        "weight": [each / 4 for each in column(st.integers(0, 20))],
        "note": ["x", *column(st.none() | TEXT | WORDS)][:size],  # one that is no number
        "count": column(st.integers(-(2**53), 2**53)),
    }


def readings(columns, folder):
    """The interactions of a table by every way in."""
    frame = pd.DataFrame(columns)
    as_objects = pd.DataFrame({name: pd.Series(of, dtype=object) for name, of in columns.items()})
    table = pa.table({name: pa.array(of) for name, of in columns.items()})
    text = frame.assign(timestamp=[repr(each) for each in columns["timestamp"]])
    quoted = {"index": False, "quoting": csv.QUOTE_NONNUMERIC}  # else a carriage return is not
    text.to_csv(folder / "a.csv", **quoted)
    text.to_csv(folder / "a.tsv.gz", sep="\t", **quoted)
    frame.to_parquet(folder / "a.parquet")
    yield "pandas", Interactions.from_frame(frame)
    yield "objects", Interactions.from_frame(as_objects)
    yield "on Arrow", Interactions.from_frame(table.to_pandas(types_mapper=pd.ArrowDtype))
    yield "nullable", Interactions.from_frame(frame.convert_dtypes())
    yield "categories", Interactions.from_frame(frame.astype({"user_id": "category"}))
    yield "Arrow", Interactions.from_frame(table)
    yield "polars", Interactions.from_frame(pl.from_arrow(table))
    yield "arrays", Interactions.from_columns(**columns)
    yield "CSV", Interactions.from_csv(folder / "a.csv")
    yield "TSV", Interactions.from_file(folder / "a.tsv.gz")
    yield "Parquet", Interactions.from_parquet(folder / "a.parquet")
    (block,) = read_blocks(folder / "a.parquet", context=["note", "count"])
    yield "blocks", block


def plain(values):
    return [None if pd.isna(value) else value for value in values]


@given(tables())
@settings(max_examples=25, deadline=None)
def test_every_reader_gives_the_same(tmp_path_factory, columns):
    for name, log in readings(columns, tmp_path_factory.mktemp("readers")):
        found = {each: plain(log.frame[each]) for each in log.frame}
        assert found == columns, name
        kinds = [log.frame[each].dtype for each in ("user_id", "item_id")]
        assert kinds == [
            np.int64 if isinstance(columns[each][0], int) else object
            for each in ("user_id", "item_id")
        ], name


@given(st.one_of(st.lists(TEXT | WORDS), st.lists(st.integers(-(2**63), 2**63 - 1))))
@settings(max_examples=50, deadline=None)
def test_ids_come_back_from_every_container(ids):
    forms = [ids, np.array(ids, dtype=object), pd.Series(ids, dtype=object)]
    if ids:
        forms += [np.array(ids), pd.Series(ids), pl.Series(ids), pa.array(ids)]
        forms += [pa.array(ids).dictionary_encode(), pd.Series(ids).astype("category")]
        forms += [
            pd.Series(ids).convert_dtypes(),
            pd.Series(ids, dtype=pd.ArrowDtype(pa.array(ids).type)),
        ]
    for form in forms:
        assert raw_ids(form).tolist() == ids


@pytest.mark.parametrize("dtype", ["Int64", "int64[pyarrow]", object])
def test_large_integers_with_one_missing_stay_exact(dtype):
    assert raw_ids(pd.Series([2**60 + 1, None], dtype=dtype)).tolist() == [2**60 + 1, -1]


LARGE = 76_561_198_000_000_001  # beyond 2**53, as Steam's are
MISSING = {
    "floats": pd.Series([LARGE, None, 3]),
    "nullable": pd.Series([LARGE, None, 3], dtype="Int64"),
    "on Arrow": pd.Series([LARGE, None, 3], dtype="int64[pyarrow]"),
    "objects": pd.Series([LARGE, None, 3], dtype=object),
    "fractions": pd.Series([1.5, None, 3]),
    "text": pd.Series(["a", None, "b"]),
    "old text": pd.Series(["a", None, "b"], dtype=object),
    "NA": pd.Series(["a", pd.NA, "b"], dtype="string"),
    "empty": pd.Series(["a", "", "b"]),
    "categories": pd.Series(["a", None, "b"]).astype("category"),
}


@pytest.mark.parametrize("kind", MISSING)
def test_a_missing_id_is_said_to_be_missing(kind, tmp_path):
    frame = pd.DataFrame({"user_id": MISSING[kind], "item_id": [1, 2, 3]})
    says = "1 of 3 user_id in interactions are missing .*the first in row 1: drop those rows"
    with pytest.raises(ValueError, match=says):
        Interactions.from_frame(frame)
    with pytest.raises(ValueError, match=says):
        Interactions.from_frame(pa.Table.from_pandas(frame))
    frame.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=f"a.parquet.*{says}"):
        Interactions.from_parquet(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=f"a.parquet, block of rows 0 to 2.*{says}"):
        list(read_blocks(tmp_path / "a.parquet"))


def test_floats_with_a_missing_one_say_what_became_of_the_integers():
    with pytest.raises(TypeError, match="integers become floats where one is missing, as in row 1"):
        raw_ids(np.array([LARGE, np.nan]), "user_id")


@pytest.mark.parametrize(
    "ids, says",
    [
        ([1.5, 2.5], "fractions"),
        ([True, False], "bool"),
        ([datetime.date(2024, 1, 31), datetime.date(2024, 2, 1)], "date"),
        ([datetime.datetime(2024, 1, 31), datetime.datetime(2024, 2, 1)], "datetime"),
        ([decimal.Decimal("1.5"), decimal.Decimal(2)], "decimal"),
        ([["a"], ["b"]], "mixed"),
    ],
    ids=range(6),
)
def test_ids_of_other_types_are_one_line_that_names_the_file(ids, says, tmp_path):
    frame = pd.DataFrame({"user_id": ids, "item_id": [1, 2]})
    frame.to_parquet(tmp_path / "a.parquet")
    users = pd.DataFrame({"user_id": [1, 2]})
    users.to_parquet(tmp_path / "good.parquet")
    frame.to_parquet(tmp_path / "users.parquet")
    message = f"must be all strings or all integers, got .*{says}"
    for read, where in (
        (lambda: Interactions.from_parquet(tmp_path / "a.parquet"), "a.parquet: user_id"),
        (lambda: Interactions.from_file(tmp_path / "a.parquet"), "a.parquet: user_id"),
        (lambda: files(tmp_path / "a.parquet"), "a.parquet: user_id"),
        (lambda: next(read_blocks(tmp_path / "a.parquet")), "a.parquet, block .*user_id"),
    ):
        with pytest.raises(ValueError, match=f"{where} of interactions {message}") as refused:
            read()
        assert "\n" not in str(refused.value)


def test_damaged_files_are_named_by_every_reader(tmp_path):
    good = tmp_path / "good.csv"
    good.write_text("user_id,item_id,timestamp\nann,tea,1706702400\n")
    shifted = tmp_path / "shifted.csv"
    shifted.write_text("user_id,item_id,timestamp\nann,tea,1706702400,1\n")
    log = Interactions.from_csv(good)
    for read in (
        lambda: Interactions.from_csv(shifted),
        lambda: files(shifted),
        lambda: files(good, items=shifted),
        lambda: files(good, users=shifted),
        lambda: files(good, rejections=shifted),
        lambda: split_files(log, shifted),
        lambda: split_files(log, good, validation=shifted),
        lambda: Interactions.from_frame(log.frame, items=shifted),
    ):
        with pytest.raises(ValueError, match="shifted.csv cannot be read as CSV: line 2 has 4 "):
            read()
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    for read in (
        lambda: next(read_blocks(tmp_path / "bad.parquet")),
        lambda: encode_parquet(tmp_path / "bad.parquet", tmp_path / "store"),
        lambda: files(tmp_path / "bad.parquet"),
    ):
        with pytest.raises(ValueError, match="bad.parquet cannot be read as Parquet"):
            read()


def test_missing_texts_and_the_unit_of_time_reach_every_file(tmp_path):
    for name, day in (("train", 30), ("test", 31)):
        text = f"user_id,item_id,timestamp,mood\nann,NA,202401{day},NA\n"
        (tmp_path / f"{name}.csv").write_text(text)
    (tmp_path / "items.csv").write_text("item_id,country,size\nNA,NA,3\nrum,-,-\n")
    given = {"time_unit": "%Y%m%d"}
    log = files(tmp_path / "train.csv", items=tmp_path / "items.csv", **given)
    assert log.items["country"].tolist() == ["NA", "-"] and log.items["size"].tolist() == ["3", "-"]
    assert log.frame["item_id"].tolist() == ["NA"] and log.frame["mood"].tolist() == ["NA"]
    split = split_files(log, tmp_path / "test.csv", **given)
    assert split.test.frame["timestamp"].tolist() == [1_706_659_200]
    given["missing"] = ["-"]
    log = files(tmp_path / "train.csv", items=tmp_path / "items.csv", **given)
    assert plain(log.items["country"]) == ["NA", None] and plain(log.items["size"]) == [3, None]
    with pytest.raises(ValueError, match="train.csv: 1 of 1 item_id .*missing"):
        files(tmp_path / "train.csv", missing=["NA"], time_unit="%Y%m%d")


@pytest.mark.parametrize(
    "columns, says",
    [
        ({"timestmp": "when"}, "names 'timestmp', .* do you mean 'timestamp'"),
        ({"time_stamp": "when"}, "do you mean 'timestamp'"),
        ({"timestamps": "when"}, "do you mean 'timestamp'"),
        ({"Timestamp": "when"}, "do you mean 'timestamp'"),
        ({"wieght": "when"}, "do you mean 'weight'"),
        ({"weights": "when"}, "do you mean 'weight'"),
        ({"userid": "when"}, "do you mean 'user_id'"),
        ({"user-id": "when"}, "do you mean 'user_id'"),
        ({"itme_id": "when"}, "do you mean 'item_id'"),
        (["user_id", "item_id"], r"columns holds the table's names .*got \['user_id', 'item_id'\]"),
        ("user_id", "columns holds the table's names .*got 'user_id'"),
        ({1: "when"}, "columns holds the table's names"),
        ({"user_id": "who"}, "columns names {'user_id': 'who'}, which the table lacks"),
        ({"user_id": ["when"]}, "columns holds the table's names"),
    ],
    ids=range(14),
)
def test_columns_that_are_no_names_of_ours(columns, says, tmp_path):
    frame = pd.DataFrame({"user_id": [1], "item_id": [2], "when": [NOON]})
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    for read in (
        lambda: Interactions.from_frame(frame, columns),
        lambda: Interactions.from_csv(tmp_path / "a.csv", columns),
        lambda: Interactions.from_parquet(tmp_path / "a.parquet", columns),
        lambda: files(tmp_path / "a.csv", columns),
    ):
        with pytest.raises(ValueError, match=says):
            read()


def test_context_columns_may_be_renamed():
    frame = pd.DataFrame({"user_id": [1], "item_id": [2], "when": [NOON], "timestmp": [3]})
    names = ("mood", "item_kind", "user_name", "time", "price", "timestep", "width")
    for name in names:
        assert name in Interactions.from_frame(frame, {name: "when"}).frame
    # a column of that name is one
    assert "timestmp" in Interactions.from_frame(frame, {"timestmp": "timestmp"}).frame


def test_names_of_columns_are_text():
    frame = pd.DataFrame({"user_id": [1], "item_id": [2], 0: [3]})
    with pytest.raises(ValueError, match="Columns have names of text, got 0: rename it"):
        Interactions.from_frame(frame)
    assert Interactions.from_frame(frame, {"mood": 0}).frame["mood"].tolist() == [3]


def test_columns_of_one_name_in_parquet(tmp_path):
    table = pa.table(
        [pa.array([1]), pa.array([2]), pa.array([3])], ["user_id", "item_id", "item_id"]
    )
    pq.write_table(table, tmp_path / "a.parquet")
    for read in (
        lambda: Interactions.from_parquet(tmp_path / "a.parquet"),
        lambda: next(read_blocks(tmp_path / "a.parquet")),
        lambda: Interactions.from_frame(table),
    ):
        with pytest.raises(ValueError, match="item_id"):
            read()
