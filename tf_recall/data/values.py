"""Converts columns of any kind to text or to numbers, each value by itself.

A value has one text and one number, whatever library or dtype holds it and whatever stands beside
it: a request's single value becomes what it became in the column of the training data.
"""

import datetime
import decimal
import numbers
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tf_recall.data.catalog import Catalog

LISTS = (list, tuple, set, frozenset, np.ndarray, pd.Series)
NUMBERS = (numbers.Integral, float, np.floating, decimal.Decimal)


def as_series(values: Any) -> pd.Series:
    """A column of any library as a pandas series that holds its very values.

    pandas makes floats of integers beside a missing one, and float64 of float32 in a list: what a
    value is would depend on its neighbors.
    """
    if hasattr(values, "to_arrow"):  # polars
        values = values.to_arrow()
    if isinstance(values, (pd.Series, pd.Index, pd.api.extensions.ExtensionArray)):
        series = pd.Series(values)
    elif hasattr(values, "to_pandas"):  # Arrow
        series = pd.Series(pd.arrays.ArrowExtensionArray(values))
    elif hasattr(values, "__array__"):
        values = np.asarray(values)
        series = pd.Series(values, dtype=object if values.dtype.kind in "OT" else None)
    else:
        series = pd.Series(list(values), dtype=object)
    kind = series.dtype
    if isinstance(kind, pd.ArrowDtype) and isinstance(kind.pyarrow_dtype, pa.DictionaryType):
        return series.astype(pd.ArrowDtype(kind.pyarrow_dtype.value_type))
    if pd.api.types.is_float_dtype(kind) and not isinstance(kind, np.dtype):
        # Arrow gives its float32 as Python's float
        return pd.Series(series.to_numpy(dtype=kind.numpy_dtype, na_value=np.nan))
    return series


def to_text(values: Any) -> np.ndarray:
    """Converts a column to an object array of str, each value by `text_of`; "" for missing.

    Raises:
        TypeError: a value is a list.

    Example:
        >>> to_text(pd.Series([7, None, 2.5]))
        array(['7', '', '2.5'], dtype=object)
    """
    series = as_series(values)
    if isinstance(series.dtype, pd.CategoricalDtype):
        return np.append(to_text(series.cat.categories), "")[series.cat.codes]
    if _each_apart(series.dtype):
        return _unicode([text_of(value) for value in series])
    codes, distinct = pd.factorize(series)
    return _unicode([*map(text_of, distinct.to_numpy()), ""])[codes]


def text_of(value: Any) -> str:
    """The text of one value, by which a category is known; "" for missing (None, NaN, NaT, NA).

        text, bytes                     as they are; bytes are UTF-8
        whole numbers of any type       40, 40.0, Decimal("40.00")      "40"
        other numbers                   38.5, float32(0.1)              "38.5", "0.1"
        booleans                        True                            "True"
        dates, and times at midnight                                    "2024-01-31"
        times                                                           "2024-01-31 18:05:00"
        times with a zone, in UTC                                       "2024-01-31 17:05:00+00:00"
        all else                                                        as `str` has it

    Numbers have the fewest digits that tell them from others of their precision.

    Raises:
        TypeError: a list, or whatever else holds several values.
    """
    if isinstance(value, str):
        return str.__str__(value)  # of an enumeration too
    if is_list(value):
        raise TypeError(f"a value is one text, number or date, got the list {value!r}")
    if value is None or pd.isna(value):
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (datetime.timedelta, np.timedelta64)):
        return str(pd.Timedelta(value))
    if isinstance(value, NUMBERS):
        return _number_text(value)
    if isinstance(value, (datetime.date, np.datetime64)):
        return _time_text(value)
    return str(value)


def is_list(value: Any) -> bool:
    """Whether a value of a column is several values."""
    return isinstance(value, LISTS) and getattr(value, "ndim", 1) > 0


def to_number(values: Any, column: str) -> np.ndarray:
    """Converts a column to float64, each value by itself; NaN for missing.

    Dates and times become seconds since 1970, in UTC; time spans become seconds.

    Args:
        values: the column.
        column: its name, for an error.

    Raises:
        ValueError: a value is not a number.
    """
    try:
        return _to_number(as_series(values))
    except ValueError as error:
        raise ValueError(
            f"column {column!r} must hold numbers: {error}. For words use Categorical or Text."
        ) from None


def column_of(catalog: Catalog, column: str) -> np.ndarray:
    """Reads a column of the item table as numbers: float64, NaN for missing, line r for row r + 1.

    Dates become seconds since 1970.

    Raises:
        ValueError: no such column, or one that is empty or holds other values than numbers or
            datetimes.
    """
    if column not in catalog.item_table:
        known = ", ".join(map(str, catalog.item_table)) or "no columns"
        raise ValueError(f"the item table has no column {column!r}; it has {known}")
    values = numbers_of(catalog.item_table[column], f"column {column!r} of the item table")
    if np.isnan(values).all():
        raise ValueError(f"column {column!r} of the item table is empty")
    return values


def numbers_of(values: Any, what: str) -> np.ndarray:
    """Converts a column of numbers or datetimes to float64.

    Args:
        values: the column.
        what: what to call it in an error.

    Raises:
        ValueError: a value is neither a number nor a datetime.
    """
    try:
        return _to_number(as_series(values))
    except ValueError as error:
        raise ValueError(f"{what} must hold numbers or datetimes, {error}") from None


def _to_number(series):
    kind = series.dtype
    if isinstance(kind, pd.CategoricalDtype):
        return np.append(_to_number(as_series(series.cat.categories)), np.nan)[series.cat.codes]
    numeric = pd.api.types.is_bool_dtype(kind) or pd.api.types.is_numeric_dtype(kind)
    if numeric and not pd.api.types.is_complex_dtype(kind):
        return series.to_numpy(dtype=np.float64, na_value=np.nan)
    if _each_apart(kind):
        return np.array([_number_of(value) for value in series], dtype=np.float64)
    codes, distinct = pd.factorize(series)
    return np.array([*map(_number_of, distinct.to_numpy()), np.nan], dtype=np.float64)[codes]


def _number_of(value) -> float:
    if is_list(value):
        raise ValueError(f"got the list {value!r}")
    if value is None or pd.isna(value):
        return np.nan
    if isinstance(value, (datetime.date, np.datetime64)):
        return _utc(value).timestamp()
    if isinstance(value, (datetime.timedelta, np.timedelta64)):
        return pd.Timedelta(value).total_seconds()
    try:
        return float(value) if isinstance(value, NUMBERS) else _parsed(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf
    except (ValueError, TypeError):
        raise ValueError(f"got {value!r}") from None


def _parsed(value):
    """The number of whatever is no number, such as text; "" is missing."""
    text = text_of(value) if isinstance(value, (str, bytes)) else None
    if text == "":
        return np.nan
    number = float(value)
    # of text `float` alone reads 1_000 and the word nan too
    if text and ("_" in text or not text.isascii() or np.isnan(number)):
        raise ValueError
    return number


def _each_apart(kind) -> bool:
    """Whether `factorize` may not merge the values of a dtype: 1, 1.0 and True are one to it."""
    lists = (pa.ListType, pa.LargeListType, pa.FixedSizeListType, pa.StructType)
    nested = isinstance(kind, pd.ArrowDtype) and isinstance(kind.pyarrow_dtype, lists)
    return nested or pd.api.types.is_object_dtype(kind)


def _number_text(value):
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if value in (np.inf, -np.inf):
        return str(float(value))
    if value == (whole := int(value)):
        return str(whole)
    if isinstance(value, decimal.Decimal):
        return f"{value:f}".rstrip("0")
    return np.format_float_positional(value, trim="-")


def _time_text(value):
    time = _utc(value)
    zone = "+00:00" if getattr(value, "tzinfo", None) else ""
    text = time.isoformat(sep=" ") + zone
    return text.removesuffix(" 00:00:00")


def _utc(value):
    """A date or time as a timestamp without a zone; one that has a zone in UTC."""
    time = pd.Timestamp(value)
    return time.tz_convert(None) if time.tz else time


def _unicode(texts: list[str]) -> np.ndarray:
    """Texts as an array; halves of surrogate pairs, which UTF-8 cannot hold, become U+FFFD."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        halves = [text.encode("utf-16", "surrogatepass") for text in texts]
        texts = [half.decode("utf-16", "replace") for half in halves]
    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    return array
