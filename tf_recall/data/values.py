"""Converts columns of any kind to text or to numbers."""

import numpy as np
import pandas as pd

from tf_recall.data.catalog import Catalog


def to_text(series: pd.Series) -> np.ndarray:
    """Converts a column to an object array of str, "" for missing.

    Whole floats become text without ".0", which pandas adds to an integer column with missing
    values.

    Example:
        >>> to_text(pd.Series([7, None]))
        array(['7', ''], dtype=object)
    """
    missing = series.isna().to_numpy()
    if pd.api.types.is_float_dtype(series):
        numbers = series[~missing]
        if (numbers == numbers.round()).all():
            series = series.astype("Int64")
    text = series.map(_text, na_action="ignore").to_numpy(dtype=object, copy=True)
    text[missing] = ""
    return text


def _text(value):
    return value.decode() if isinstance(value, bytes) else str(value)


def to_number(series: pd.Series, column: str) -> np.ndarray:
    """Converts a column to float64, NaN for missing; dates become seconds since 1970.

    Args:
        series: the column.
        column: its name, for an error.

    Raises:
        ValueError: a value is not a number.
    """
    if pd.api.types.is_datetime64_any_dtype(series):
        seconds = (series.dt.tz_localize(None) if series.dt.tz else series) - pd.Timestamp(0)
        return seconds.dt.total_seconds().to_numpy(dtype=np.float64)
    try:
        return pd.to_numeric(series).to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError) as error:
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


def numbers_of(series: pd.Series, what: str) -> np.ndarray:
    """Converts a column of numbers or datetimes to float64.

    Args:
        series: the column.
        what: what to call it in an error.

    Raises:
        ValueError: a value is neither a number nor a datetime.
    """
    try:
        return to_number(series, what)
    except ValueError:
        wrong = series[pd.to_numeric(series.map(str), errors="coerce").isna() & series.notna()]
        raise ValueError(f"{what} must hold numbers or datetimes, got {wrong.iloc[0]!r}") from None
