"""One value, one text, one number: whatever library holds it and whatever stands beside it."""

import datetime
import decimal
import enum
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tf_recall.data.values import numbers_of, text_of, to_number, to_text

BERLIN = datetime.timezone(datetime.timedelta(hours=1))
NOON = "2024-01-31 12:00:00"


class Color(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    "text, values",
    [
        ("", [None, np.nan, pd.NA, pd.NaT, np.datetime64("NaT"), Decimal("NaN"), "", b""]),
        ("40", [40, 40.0, np.int8(40), np.uint64(40), np.float16(40), Decimal("40.00"), "40"]),
        ("38.5", [38.5, np.float32(38.5), Decimal("38.50"), b"38.5"]),
        ("0.1", [0.1, np.float16(0.1), np.float32(0.1), np.float64(0.1), Decimal("0.10")]),
        ("0", [0, 0.0, -0.0, Decimal("-0")]),
        ("-1", [-1, -1.0]),
        ("100000000000000000000", [1e20, 10**20, Decimal("1E+20")]),
        ("9007199254740993", [2**53 + 1, np.int64(2**53 + 1), Decimal(2**53 + 1)]),
        ("0.0000001", [1e-7, Decimal("1E-7")]),
        ("inf", [np.inf, np.float32(np.inf), Decimal("Infinity")]),
        ("True", [True, np.True_]),
        ("1", [1, 1.0]),
        ("red", ["red", np.str_("red"), np.bytes_("red"), b"red", Color.RED]),
        ("é", ["é", "é".encode()]),
        ("e\u0301", ["e\u0301"]),  # the normal form comes later, in TensorFlow
        ("a\ufffd", [b"a\xff"]),
        (
            "2024-01-31",
            [
                datetime.date(2024, 1, 31),
                datetime.datetime(2024, 1, 31),
                pd.Timestamp("2024-01-31"),
                np.datetime64("2024-01-31"),
                np.datetime64("2024-01-31T00:00:00", "ns"),
                "2024-01-31",
            ],
        ),
        (
            NOON,
            [
                datetime.datetime(2024, 1, 31, 12),
                pd.Timestamp(NOON),
                np.datetime64("2024-01-31T12"),
                NOON,
            ],
        ),
        ("2024-01-31 12:00:00.500000", [pd.Timestamp("2024-01-31 12:00:00.5")]),
        (
            "2024-01-30 23:00:00+00:00",
            [
                datetime.datetime(2024, 1, 31, tzinfo=BERLIN),
                pd.Timestamp("2024-01-31", tz="Europe/Berlin"),
                pd.Timestamp("2024-01-30 23:00", tz="UTC"),
            ],
        ),
        ("1 days 00:00:00", [datetime.timedelta(1), np.timedelta64(24, "h"), pd.Timedelta("1D")]),
        ("9999-12-31", [datetime.date(9999, 12, 31)]),
        ("12:30:00", [datetime.time(12, 30)]),
    ],
)
def test_values_that_are_one_have_one_text(text, values):
    assert [text_of(value) for value in values] == [text] * len(values)
    assert to_text(values).tolist() == [text] * len(values)
    for value in values:
        assert to_text([value]).tolist() == [text], repr(value)


def test_halves_of_surrogate_pairs_become_the_sign_for_what_cannot_be_read():
    assert to_text(["cut \ud83d", "whole"]).tolist() == ["cut \ufffd", "whole"]
    assert to_text(["\ud83d\ude00"]).tolist() == ["😀"]


@pytest.mark.parametrize(
    "column, texts",
    [
        (pd.Series([40.0, 38.5, None]), ["40", "38.5", ""]),
        (pd.Series([40.0, 38.0]), ["40", "38"]),
        (pd.Series([0.1, 40, None], dtype="Float32"), ["0.1", "40", ""]),
        (pd.Series([0.1, 40, None], dtype="float[pyarrow]"), ["0.1", "40", ""]),
        (np.array([0.1, 40], np.float32), ["0.1", "40"]),
        (pl.Series([0.1, 40, None], dtype=pl.Float32), ["0.1", "40", ""]),
        (pl.Series([2**53 + 1, None]), ["9007199254740993", ""]),
        (pa.array([2**53 + 1, None]), ["9007199254740993", ""]),
        (pd.Series([2**53 + 1, None], dtype="Int64"), ["9007199254740993", ""]),
        ([2**53 + 1, 0.5, None], ["9007199254740993", "0.5", ""]),
        ([np.float32(0.1), 0.5], ["0.1", "0.5"]),
        ([1, True, 1.0, "1", "True"], ["1", "True", "1", "1", "True"]),
        (pd.Series([True, None], dtype="boolean"), ["True", ""]),
        (pa.array([True, None]), ["True", ""]),
        (pd.Series(["a", None]), ["a", ""]),
        (pd.Series(["a", None], dtype="string"), ["a", ""]),
        (pd.Series([40.0, 38.5, None], dtype="category"), ["40", "38.5", ""]),
        (pl.Series(["a", None], dtype=pl.Categorical), ["a", ""]),
        (pa.array(["a", None]).dictionary_encode(), ["a", ""]),
        (pa.chunked_array([["a"], [None]]), ["a", ""]),
        (pa.array([b"a", None]), ["a", ""]),
        (np.array(["a"], np.dtypes.StringDType()), ["a"]),
        (np.array([b"a"]), ["a"]),
        (pl.Series([Decimal("1.50")]), ["1.5"]),
        (pd.to_datetime(["2024-01-31", None]), ["2024-01-31", ""]),
        (pd.to_datetime(["2024-01-31", NOON], format="ISO8601"), ["2024-01-31", NOON]),
        (pl.Series([datetime.date(2024, 1, 31), None]), ["2024-01-31", ""]),
        (pa.array([datetime.date(2024, 1, 31), None]), ["2024-01-31", ""]),
        (pa.array([datetime.datetime(2024, 1, 31, 12)]), [NOON]),
        (pd.DatetimeIndex(["2024-01-31"], tz="Europe/Berlin"), ["2024-01-30 23:00:00+00:00"]),
        (pa.array([None, None]), ["", ""]),
        (range(2), ["0", "1"]),
        ([], []),
    ],
    ids=lambda value: type(value).__name__,
)
def test_columns_of_every_library(column, texts):
    assert to_text(column).tolist() == texts
    assert to_text(column).dtype == object


def test_the_text_of_a_large_column_is_that_of_its_values():
    rng = np.random.default_rng(0)
    for column in (rng.integers(0, 9, 500) / 4, rng.random(500).astype(np.float32)):
        assert to_text(column).tolist() == [text_of(value) for value in column]


@pytest.mark.parametrize(
    "column", [[[1, 2]], [("a",)], [{"a"}], [np.array([1])], pl.Series([[1]]), pa.array([[1]])]
)
def test_a_list_is_no_value(column):
    with pytest.raises(TypeError, match="one text, number or date, got the list"):
        to_text(column)
    with pytest.raises(ValueError, match="must hold numbers: got the list"):
        to_number(column, "x")


@pytest.mark.parametrize(
    "number, values",
    [
        (np.nan, [None, np.nan, pd.NA, pd.NaT, "", b""]),
        (40, [40, 40.0, np.int8(40), Decimal("40.00"), "40", " 40.0 ", b"40", "4e1"]),
        (1, [True, np.True_, 1]),
        (2.0**53, [2**53 + 1, 2.0**53]),
        (np.inf, [np.inf, 10**400, "inf", "1e400"]),
        (-np.inf, [-np.inf, -(10**400)]),
        (
            1_706_702_400,
            [
                pd.Timestamp(NOON),
                datetime.datetime(2024, 1, 31, 12),
                np.datetime64("2024-01-31T12"),
                datetime.datetime(2024, 1, 31, 13, tzinfo=BERLIN),
                pd.Timestamp(NOON, tz="UTC"),
            ],
        ),
        (1_706_659_200, [datetime.date(2024, 1, 31), pd.Timestamp("2024-01-31")]),
        (86_400, [datetime.timedelta(1), np.timedelta64(1, "D"), pd.Timedelta("1D")]),
        (253_402_214_400, [datetime.date(9999, 12, 31)]),
    ],
)
def test_values_that_are_one_have_one_number(number, values):
    np.testing.assert_array_equal(to_number(values, "x"), [number] * len(values))
    for value in values:
        np.testing.assert_array_equal(to_number([value], "x"), [number], repr(value))


@pytest.mark.parametrize(
    "column, numbers",
    [
        (pd.Series([1, None], dtype="Int64"), [1, np.nan]),
        (pd.Series([True, None], dtype="boolean"), [1, np.nan]),
        (pl.Series([1, None]), [1, np.nan]),
        (pa.array([0.5, None]), [0.5, np.nan]),
        (pd.Series([2.5, 1, None], dtype="category"), [2.5, 1, np.nan]),
        (pd.Series(["3", None]), [3, np.nan]),
        (pl.Series([Decimal("1.50")]), [1.5]),
        (pl.Series([datetime.date(1970, 1, 2), None]), [86_400, np.nan]),
        (pa.array([datetime.date(1970, 1, 2), None]), [86_400, np.nan]),
        (pd.DatetimeIndex(["1970-01-02 01:00"], tz="Europe/Berlin"), [86_400]),
        (pd.to_timedelta(["1h", None]), [3600, np.nan]),
        (pa.array([None, None]), [np.nan, np.nan]),
        ([], []),
    ],
    ids=lambda value: type(value).__name__,
)
def test_numbers_of_every_library(column, numbers):
    np.testing.assert_array_equal(to_number(column, "x"), numbers)


@pytest.mark.parametrize("value", ["a", "1_000", "nan", "NA", "0x10", " ", "١٢", 1j, "2024-01-31"])
def test_what_is_no_number_is_refused_by_name(value):
    with pytest.raises(ValueError, match=r"column 'x' must hold numbers: got .* Categorical or"):
        to_number([1, value], "x")
    with pytest.raises(ValueError, match="it must hold numbers or datetimes, got"):
        numbers_of([1, value], "it")


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.floats(width=32).map(np.float32),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30),
    st.dates(),
    st.datetimes(),
    st.datetimes(timezones=st.just(BERLIN)),
    st.timedeltas(datetime.timedelta(-90_000), datetime.timedelta(90_000)),
    st.text(),
    st.binary(),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=6))
@example([40.0, 38.5])
@example([1, True])
@example([2**53 + 1, None])
@example([np.float32(0.1), 0.5])
def test_a_value_does_not_depend_on_its_neighbors(values):
    alone = [to_text([value])[0] for value in values]
    assert to_text(values).tolist() == alone
    assert to_text(pd.Series(values, dtype=object)).tolist() == alone
    assert to_text(tuple(reversed(values))).tolist() == alone[::-1]
    numbers = [value for value in values if not isinstance(value, (str, bytes))]
    alone = [to_number([value], "x")[0] for value in numbers]
    np.testing.assert_array_equal(to_number(numbers, "x"), alone)


TYPED = {
    "float": st.floats(),
    "whole": st.integers(-(2**63), 2**63 - 1),
    "bool": st.booleans(),
    "date": st.dates(datetime.date(1700, 1, 1), datetime.date(2200, 1, 1)),
    "text": st.text(),
}


@pytest.mark.parametrize("kind", TYPED)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_libraries_agree(kind, data):
    values = data.draw(st.lists(st.none() | TYPED[kind], min_size=1, max_size=5))
    known = [value for value in values if value is not None]
    texts = to_text(values).tolist()
    columns = [pa.array(values), pl.Series(values, strict=False), pd.Series(values, dtype=object)]
    columns.append(pd.Series(pd.arrays.ArrowExtensionArray(pa.array(values))))
    columns.append(pd.Series(values, dtype=object).astype("category"))
    for column in columns:
        assert to_text(column).tolist() == texts
    if known and kind in ("float", "whole", "bool"):
        assert to_text(np.array(known)).tolist() == to_text(known).tolist()
    if kind != "text":
        expected = to_number(values, "x")
        for column in columns:
            np.testing.assert_array_equal(to_number(column, "x"), expected)


def test_decimals_keep_all_their_digits():
    exact = "0.1000000000000000000000000000000000000000001"
    with decimal.localcontext(prec=5):
        assert text_of(Decimal(exact + "0")) == exact
