"""One argument that a search may change, and what it takes."""

import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tf_recall.data.arguments import check, members
from tf_recall.registry import REGISTRY, check_argument, part
from tf_recall.tuning.places import Place


@dataclass(frozen=True)
class Argument:
    """An argument that may be searched.

    Args:
        kind: of the parts that it takes; None where it takes none.
        key: its name, or its number in a list.
        place: where it stands in the config.
        type: its type.
        takes: refuses what it does not take.
        within: the label of the choice that it is part of.
        owner: the kind of the part whose argument it is.
    """

    kind: str | None
    key: str | int
    place: Place
    type: Any
    takes: Callable[[Any, str], None]
    within: str = ""
    owner: str = ""


Takes = Callable[[Any, str], None]  # refuses a value, called by a name


def taken_by(kind: str, name: str, key: str) -> Takes:
    """Refuses what an argument of a part does not take."""
    return lambda value, at: check_argument(kind, name, key, value, at)


def of_type(kind: str | None, type_: Any) -> Takes:
    """Refuses what is not of a type, or is no part of a kind."""

    def takes(value, at):
        check(at, type_, value)
        if kind and value is not None:
            part(kind, value, at=at)

    return takes


def is_part_of(kind: str, value: Any) -> bool:
    """Whether a config's value names a part."""
    if isinstance(value, dict):
        return "name" in value or len(REGISTRY[kind]) == 1
    return isinstance(value, str) and value in REGISTRY[kind]


def element_of(type_: Any) -> tuple[Any, bool]:
    """The type of the elements, and whether they have names; None where there are none."""
    for each in members(type_):
        origin, inner = typing.get_origin(each), typing.get_args(each)
        if isinstance(origin, type) and issubclass(origin, Mapping) and len(inner) == 2:
            return inner[1], True
        if isinstance(origin, type) and issubclass(origin, Sequence) and inner:
            return inner[0], False
    return None, False
