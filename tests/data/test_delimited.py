"""CSV files: read right, or refused in one line that names the file."""

import bz2
import gzip
import io
import lzma
import math
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_recall.data import delimited, tables

KEYS = {"user_id", "item_id"}


@pytest.fixture
def read(tmp_path):
    """Reads text, or bytes, that was written under a name."""

    def read_text(text, name="a.csv", **given):
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return tables.read(tmp_path / name, KEYS, **given)

    return read_text


def lists(frame):
    return {
        name: [None if value != value else value for value in frame[name].tolist()]
        for name in frame
    }


@pytest.mark.parametrize(
    "text, says",
    [
        ("user_id,item_id\nann,tea,1700000000\nbob,rum,1700000001\n", "line 2 has 3 fields"),
        ("user_id,item_id\nann,tea\nbob,rum,1\n", "line 3 has 3 fields"),
        ("user_id,item_id\nann,tea,\nbob,rum,\n", "line 2 has 3 fields"),
        ('user_id,item_id\n"a\nb",tea\nbob,rum,1\n', "line 4 has 3 fields"),
        ("user_id,item_id,x\nann,tea\nbob,rum,1\n", "line 2 has 2 fields"),
        ("user_id,item_id,x\nann,tea,1\nbob,rum\n", "line 3 has 2 fields"),
        ("user_id,item_id,x\nann,tea,1\nbob", "line 3 has 1 fields.* 3 columns .user_id, item_id"),
        ("user_id,item_id,item_id\nann,tea,2\n", r"columns of the same name: \['item_id'\]"),
        ('user_id,item_id\nann,tea\nbob,"rum\neve,gin\n', "never closed, in the line of 'bob'"),
        ('user_id,item_id\nann,tea\nbob,"rum', "never closed, in the line of 'bob'"),
        ('user_id,item_id\nann,"tea""\n', "never closed, in the line of 'ann'"),
        ("", "No columns: it is empty"),
        ("\n \n", "No columns: it is empty"),
        (b"user_id,item_id\nann,tea\n\xff,1\n", "line 3 holds bytes that are not UTF-8"),
        ("user_id,item_id\nann,tea\n".encode("utf-16"), "line 1 holds bytes that are not UTF-8"),
        (gzip.compress(b"user_id,item_id\n"), "not UTF-8.* give a compressed file its suffix"),
    ],
    ids=range(16),
)
def test_what_is_not_as_the_header_says_is_refused(read, text, says):
    with pytest.raises(ValueError, match=f"a.csv cannot be read as CSV: .*{says}") as refused:
        read(text)
    assert "\n" not in str(refused.value)


def test_a_long_file_says_which_line_is_wrong(read):
    lines = [f"u{at},i{at}" for at in range(50_000)]
    lines[40_000] += ",1"
    with pytest.raises(ValueError, match="line 40002 has 3 fields"):
        read("\n".join(["user_id,item_id", *lines]))


@pytest.mark.parametrize(
    "text, expected",
    [
        ("user_id,item_id,\nann,tea,\n", [["ann"], ["tea"], [None]]),  # the header's own comma
        (",user_id,item_id\n0,ann,tea\n", [[0], ["ann"], ["tea"]]),  # as pandas writes an index
        ("\n\nuser_id,item_id\n\nann,tea\n   \nbob,rum\n\n", [["ann", "bob"], ["tea", "rum"]]),
        (",\nuser_id,item_id\nann,tea\n", [["ann"], ["tea"]]),
        ("\ufeffuser_id,item_id\nann,tea\n", [["ann"], ["tea"]]),
        ("user_id,item_id\rann,tea\rbob,rum\r", [["ann", "bob"], ["tea", "rum"]]),
        ("user_id,item_id\r\nann,tea\r\nbob,rum", [["ann", "bob"], ["tea", "rum"]]),
        ('user_id,"item_id"\n"ann",\'tea\'\n', [["ann"], ["'tea'"]]),
        ('user_id,item_id\n"a,\nb ""c""",5" disc\n', [['a,\nb "c"'], ['5" disc']]),
        ("user_id,item_id\nann, tea \n", [["ann"], [" tea "]]),
        ("user_id,item_id", [[], []]),
    ],
    ids=range(11),
)
def test_what_a_csv_may_look_like(read, text, expected):
    assert list(lists(read(text)).values()) == expected


WORDS = ["NA", "null", "None", "nan", "N/A", "NULL", "#N/A", "n/a", "-nan", "<NA>", "NaN", "none"]


def test_words_for_nothing_are_words(read):
    text = "user_id,item_id,country,score\n" + "".join(f"{w},{w},{w},{w}\n" for w in WORDS)
    frame = read(text + "7,8,,\n")
    assert lists(frame) == {
        "user_id": [*WORDS, "7"],
        "item_id": [*WORDS, "8"],
        "country": [*WORDS, None],
        "score": [*WORDS, None],
    }
    # a word alone among numbers, where parsers of floats take "nan"
    for word in WORDS:
        assert lists(read(f"a,b\n{word},1\n1,2\n"))["a"] == [word, "1"]


def test_words_for_nothing_that_are_named(read):
    text = 'user_id,item_id,a,b\n1,NA,NA,x\n2,5,"NA",null\n3,6,7,\n'
    assert lists(read(text, missing=["NA", "null"])) == {
        "user_id": [1, 2, 3],
        "item_id": [None, 5, 6],
        "a": [None, None, 7],
        "b": ["x", None, None],
    }
    for wrong in (["NA", None], [False], "NA"[:1].encode(), [1]):
        with pytest.raises(ValueError, match="missing is a list of the texts .*: put it in quotes"):
            read(text, missing=wrong)


def test_columns_of_numbers_booleans_and_text(read):
    columns = {
        "whole": (["7", "-8", "+9", " 10"], [7, -8, 9, 10], np.int64),
        "holes": (["7", "", "9", "10"], [7, None, 9, 10], np.float64),
        "floats": (["0.1", "1e-3", ".5", "-inf"], [0.1, 0.001, 0.5, -math.inf], np.float64),
        "flags": (["True", "false", "TRUE", "False"], [True, False, True, False], bool),
        "some flags": (["True", "false", "", "False"], [True, False, None, False], object),
        "yes": (["True", "false", "maybe", "False"], ["True", "false", "maybe", "False"], "str"),
        "codes": (["0x1F", "2", "3", "4"], ["0x1F", "2", "3", "4"], "str"),
        "long": (["9" * 20, "2", "3", "4"], ["9" * 20, "2", "3", "4"], "str"),
        "zip": (["02139", "1", "2", "3"], [2139, 1, 2, 3], np.int64),
        "nothing": (["", "", "", ""], [None] * 4, np.float64),
    }
    rows = zip(*[written for written, _, _ in columns.values()], strict=True)
    frame = read("\n".join(map(",".join, [list(columns), *rows])))
    assert lists(frame) == {name: expected for name, (_, expected, _) in columns.items()}
    assert {name: frame[name].dtype for name in frame} == {
        name: np.dtype(dtype) if dtype != "str" else "str"
        for name, (_, _, dtype) in columns.items()
    }


def zipped(*names):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in names:
            archive.writestr(name, LINES)
    return packed.getvalue()


LINES = ("user_id,item_id\n" + "ann,tea\nbob,rum\n" * 5000).encode()
PACKED = {
    ".gz": gzip.compress(LINES),
    ".bz2": bz2.compress(LINES),
    ".xz": lzma.compress(LINES),
    ".zip": zipped("a.csv"),
}


@pytest.mark.parametrize("suffix", PACKED)
def test_compressed_files_are_whole_or_refused(read, suffix):
    packed = PACKED[suffix]
    frame = read(packed, f"a.csv{suffix}")
    assert len(frame) == 10_000 and frame["item_id"].tolist()[-1] == "rum"
    assert len(read(packed, f"A.CSV{suffix.upper()}")) == 10_000
    middle = len(packed) // 2
    flipped = packed[:middle] + bytes([packed[middle] ^ 255]) + packed[middle + 1 :]
    for damaged in (packed[:middle], packed[:3], b"user_id,item_id\n", flipped):
        with pytest.raises(ValueError, match=f"a.csv{suffix} cannot be read as CSV") as refused:
            read(damaged, f"a.csv{suffix}")
        assert "\n" not in str(refused.value)


def test_zstandard(read):
    packed = pa.BufferOutputStream()
    with pa.CompressedOutputStream(packed, "zstd") as stream:
        stream.write(LINES)
    packed = packed.getvalue().to_pybytes()
    assert len(read(packed, "a.csv.zst")) == 10_000
    for damaged in (packed[: len(packed) // 2], LINES):
        with pytest.raises(ValueError, match="a.csv.zst cannot be read as CSV"):
            read(damaged, "a.csv.zst")


def test_archives_of_several_files_are_refused(read):
    with pytest.raises(ValueError, match="a.csv.zip .*: it holds 2 files: give an archive of one"):
        read(zipped("a.csv", "b.csv"), "a.csv.zip")


def test_where_there_is_no_file(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.parquet").mkdir()
    for name, error, says in (
        ("folder.csv", IsADirectoryError, "folder.csv is a folder: give one CSV file"),
        ("folder", FileNotFoundError, "folder is a folder without .*parquet"),
        ("folder.parquet", FileNotFoundError, "folder.parquet is a folder without"),
        ("none.csv", FileNotFoundError, "none.csv"),
        ("none.csv.gz", FileNotFoundError, "none.csv.gz"),
        ("none.parquet", FileNotFoundError, "There is no file .*none.parquet"),
        ("a.json", ValueError, "a.json must end in .csv"),
    ):
        with pytest.raises(error, match=says):
            tables.read(tmp_path / name, KEYS)


def test_damaged_parquet_is_refused_in_one_line(tmp_path, read):
    pd.DataFrame({"user_id": range(1000)}).to_parquet(tmp_path / "good.parquet")
    good = (tmp_path / "good.parquet").read_bytes()
    middle = len(good) // 3
    blanked = good[:middle] + bytes(50) + good[middle + 50 :]
    for damaged in (good[: len(good) // 2], b"", b"PAR1", LINES, blanked, good[:-20] + bytes(20)):
        with pytest.raises(ValueError, match="bad.parquet cannot be read as Parquet") as refused:
            read(damaged, "bad.parquet")
        assert "\n" not in str(refused.value)


def test_fields_may_go_on_over_lines_and_blocks(read, monkeypatch):
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 200)
    titles = [f'title {at},\n\nof "{at}"\n' for at in range(300)]
    rows = ['ann,i{},"{}"'.format(at, title.replace('"', '""')) for at, title in enumerate(titles)]
    frame = read("\n".join(["user_id,item_id,title", *rows]))
    assert frame["title"].tolist() == titles
    assert frame["item_id"].tolist() == [f"i{at}" for at in range(300)]
    with pytest.raises(ValueError, match="a line is longer than 200 bytes. Is a quote not closed"):
        read("user_id,item_id,title\nann,tea," + 1000 * "x")


@given(
    st.integers(1, 3).flatmap(
        lambda width: st.lists(
            st.lists(
                st.text(st.sampled_from('a",;\n\r\t é\u3042\u2028😀\x1c'), max_size=4),
                min_size=width + 1,
                max_size=width + 1,
            ),
            max_size=5,
        )
    ),
    st.sampled_from([",", "\t"]),
)
@settings(max_examples=60, deadline=None)
def test_any_text_in_quotes_comes_back(tmp_path_factory, rows, separator):
    width = len(rows[0]) if rows else 2
    names = [f"c{at}" for at in range(width)]
    path = tmp_path_factory.mktemp("quoted") / ("a.csv" if separator == "," else "a.tsv")
    quoted = [['"' + field.replace('"', '""') + '"' for field in row] for row in [names, *rows]]
    path.write_bytes("\n".join(map(separator.join, quoted)).encode())
    table = delimited.read(path)
    given = [[field or None for field in row] for row in rows]
    assert table.column_names == names
    assert [list(row.values()) for row in table.to_pylist()] == given
