"""Sections of a YAML file: frozen dataclasses, made of plain values and checked by their types."""

import dataclasses
from collections.abc import Collection
from typing import Any

from tf_recall.data.arguments import check, meant, shown


def check_fields(section: Any, prefix: str, parts: Collection[str] = ()) -> None:
    """Checks the fields of a dataclass against their types, and writes out parts that are names.

    Args:
        section: the dataclass.
        prefix: what its keys begin with in an error, as in `train.`.
        parts: the fields that are parts.

    Raises:
        ValueError: a value of another type or out of its range, by its key.
    """
    for each in dataclasses.fields(section):
        value = getattr(section, each.name)
        check(prefix + each.name, each.type, value)
        if each.name in parts and isinstance(value, str):
            object.__setattr__(section, each.name, {"name": value})


def construct(kind: type, values: Any, where: str) -> Any:
    """Makes a dataclass of plain values.

    Args:
        kind: the dataclass.
        values: of its fields, by name.
        where: what an error calls it.

    Raises:
        ValueError: no mapping, a key that it does not have, one that is missing.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{where} must hold keys and values, not {shown(values)}")
    fields = {each.name: each for each in dataclasses.fields(kind)}
    for key in values:
        if key not in fields:
            raise ValueError(
                f"{where} has no {key!r}; {meant(key, fields)}there are: {', '.join(fields)}"
            )
    required = [
        f.name for f in fields.values() if f.default is f.default_factory is dataclasses.MISSING
    ]
    if missing := [key for key in required if key not in values]:
        raise ValueError(f"{where} lacks {', '.join(missing)}")
    return kind(**values)
