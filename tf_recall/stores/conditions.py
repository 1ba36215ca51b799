"""Conditions on columns that narrow a search: `{"genre": "comedy", "year": {"min": 1990}}`."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

Where = Mapping[str, Any]


def matches(table: pd.DataFrame, where: Where) -> np.ndarray:
    """Which rows of a table meet every condition: bool `[n]`.

    Args:
        table: the columns.
        where: as for `Store.search`.

    Raises:
        ValueError: no such column, or a condition of another form.
    """
    found = np.ones(len(table), bool)
    for column, condition in where.items():
        if column not in table:
            raise ValueError(
                f"where names {column!r}, which is no column of the store: it has "
                f"{sorted(table.columns)}"
            )
        values = table[column]
        bounds = _bounds(column, condition)
        if bounds is None:
            found &= values.isin(_choices(column, condition)).to_numpy(bool)
            continue
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(float)
        found &= numbers >= bounds.get("min", -np.inf)  # a missing value is in no range
        found &= numbers <= bounds.get("max", np.inf)
    return found


def expression(where: Where) -> str:
    """The conditions in Milvus's language of filters; as `matches` has them."""
    parts = []
    for column, condition in where.items():
        if not str(column).isidentifier():
            raise ValueError(f"where names {column!r}: Milvus filters by names of letters alone")
        bounds = _bounds(column, condition)
        if bounds is None:
            choices = ", ".join(json.dumps(each) for each in _choices(column, condition))
            parts.append(f"{column} in [{choices}]")
            continue
        signs = {"min": ">=", "max": "<="}
        parts += [f"{column} {signs[key]} {json.dumps(value)}" for key, value in bounds.items()]
    return " and ".join(parts)


def _bounds(column, condition):
    """A range, or None where the condition is a value or a list of them."""
    if not isinstance(condition, Mapping):
        return None
    wrong = set(condition) - {"min", "max"}
    numbers = [isinstance(each, int | float) and each == each for each in condition.values()]
    if wrong or not condition or not all(numbers):
        raise ValueError(
            f"where has {column}: {condition!r}: a range is {{'min': number, 'max': number}}, or "
            "one of the two"
        )
    return condition


def _choices(column, condition):
    choices = condition if isinstance(condition, list | tuple | set) else [condition]
    choices = [each.item() if isinstance(each, np.generic) else each for each in choices]
    if not all(isinstance(each, str | int | float | bool) for each in choices):
        raise ValueError(
            f"where has {column}: {condition!r}: a value, a list of values, or {{'min': ..., "
            "'max': ...}}"
        )
    return choices
