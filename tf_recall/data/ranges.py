"""The ranges of numbers and the kinds of text that constructors take, as types of arguments.

A config is checked against them, by `tf_recall.registry`; a type checker reads them as int, float
and str.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from annotated_types import Ge, Gt, Le, Lt, MinLen

MOST = 2**31 - 1  # what an axis of a tensor can hold


@dataclass(frozen=True)
class Words:
    """What values of a type are called in an error, where the type alone does not say it."""

    text: str


WholeFrom0 = Annotated[int, Ge(0), Le(MOST)]
WholeFrom1 = Annotated[int, Ge(1), Le(MOST)]
WholeFrom2 = Annotated[int, Ge(2), Le(MOST)]
WholeTo1000 = Annotated[int, Ge(1), Le(1000)]
Seed = Annotated[int, Ge(0), Lt(2**32)]
NumberFrom0 = Annotated[float, Ge(0)]
NumberAbove0 = Annotated[float, Gt(0)]
Share = Annotated[float, Ge(0), Lt(1)]  # that leaves a rest
ShareAbove0 = Annotated[float, Gt(0), Lt(1)]
ShareTo1 = Annotated[float, Ge(0), Le(1)]
Rate = Annotated[float, Gt(0), Le(1)]
T = TypeVar("T")
Filled = Annotated[Sequence[T], MinLen(1)]
Column = Annotated[str, MinLen(1), Words("the name of a column")]
Part = Annotated[dict[str, Any] | str, Words("a part, its name or {name: ..., its arguments}")]
