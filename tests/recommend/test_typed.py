"""Ids as they are typed on a command line, by hand and by a round trip through a writer of CSV."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_recall.recommend.typed import typed_ids


@pytest.mark.parametrize(
    "texts, ids",
    [
        (["i9"], ["i9"]),
        (["i9,i81"], ["i9", "i81"]),
        (["i9, i81 ,\ti3 "], ["i9", "i81", "i3"]),
        (["i9", " i81"], ["i9", "i81"]),
        (['"a,b",c'], ["a,b", "c"]),
        (['"a,b" , " c "'], ["a,b", " c "]),
        (['"say ""hi""",x'], ['say "hi"', "x"]),
        (['5" pipe,a"b'], ['5" pipe', 'a"b']),
        (["salt and pepper,ü"], ["salt and pepper", "ü"]),
        ([], []),
    ],
)
def test_ids_by_hand(texts, ids):
    assert typed_ids("--exclude", texts, "string") == ids


@pytest.mark.parametrize("text", ["", " ", ",", "a,", ",a", "a,,b", '""', 'a,""', "a, ,b"])
def test_an_empty_id_is_refused(text):
    with pytest.raises(ValueError, match="--allow takes ids with commas between .*; one is empty"):
        typed_ids("--allow", ["x", text], "string")


@pytest.mark.parametrize("text", ['"a', '"a"b', 'x,"a,b', '"a" "b"'])
def test_quotes_match(text):
    with pytest.raises(ValueError, match="--allow takes ids .* double quotes; the quotes do not"):
        typed_ids("--allow", [text], "string")


def test_whole_numbers():
    assert typed_ids("--user-id", ["7, 12", '"3"', "-4,007"], "int64") == [7, 12, 3, -4, 7]
    for text in ("seven", "1.5", "1_000", "+7", "٣", "0x1", "1e3", "7 8"):
        with pytest.raises(ValueError, match="--user-id takes ids .* are whole numbers, not"):
            typed_ids("--user-id", [text], "int64")
    with pytest.raises(ValueError, match="--user-id takes ids; -1 stands for a missing one"):
        typed_ids("--user-id", ["3,-1"], "int64")


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\r\n"), min_size=1), min_size=1))
def test_what_a_writer_of_csv_quotes_is_read_again(ids):
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="").writerow(ids)
    assert typed_ids("--exclude", [text.getvalue()], "string") == ids
