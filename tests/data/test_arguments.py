"""The types by hand: what is of one, what is not, and in which words."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Lt

from tf_recall.data.arguments import check, members, shown, types_of, with_parts, words
from tf_recall.data.ranges import (
    Column,
    Filled,
    NumberAbove0,
    NumberFrom0,
    Part,
    Rate,
    Seed,
    Share,
    ShareTo1,
    WholeFrom1,
    WholeTo1000,
)


class Loss:
    pass


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        (int, [0, -3, 10**9], [True, 1.0, 1.5, "8", None, [1], {}]),
        (float, [0, -3, 1.5], [True, "1.5", None, [1.5], math.nan, math.inf, 1e39, 10**400]),
        (bool, [True, False], [0, 1, "true", "yes", "maybe", None]),
        (str, ["", "8", "a" * 9999], [8, 1.5, True, None, ["a"], b"a"]),
        (str | Path, ["a", Path("a")], [8, None, ["a"]]),
        (int | None, [None, 3], ["null", 1.5]),
        (Literal["a", "b"], ["a"], ["c", "A", "", None, ["a"], {}]),
        (WholeFrom1, [1, 2**31 - 1], [0, -1, 2**31, 10**30, True, 1.0]),
        (WholeTo1000, [1, 1000], [0, 1001]),
        (Seed, [0, 2**32 - 1], [-1, 2**32]),
        (NumberAbove0, [1e-30, 5], [0, -1.5, math.inf]),
        (NumberFrom0, [0, 5], [-1e-9, math.nan]),
        (Share, [0, 0.99], [1, -0.1, "0.5"]),
        (ShareTo1, [0, 1], [1.001]),
        (Rate, [1e-9, 1], [0, 2]),
        (Column, ["a"], ["", 8, None]),
        (Sequence[int], [[], [1, 2], (1,)], [8, "12", [1.5], [True], [[1]], {"a": 1}, None, {1}]),
        (Filled[float], [[1], [0.5, 2]], [[], [math.inf], ["1"], 1.5]),
        (dict[str, WholeFrom1], [{}, {"a": 1}], [{"a": 0}, {8: 1}, [["a", 1]], "a", {"a": None}]),
        (dict[str, Any], [{"a": [1, "x"]}], [{8: 1}, {"a": math.nan}, {"a": [1, {"b": 1e39}]}]),
        (Part, ["a", {"name": "a"}], [8, None, ["a"], {8: "a"}, True]),
        (Loss | None, [None, Loss()], ["hinge", 8, Loss, {}]),
        (Sequence[Loss], [[Loss()]], [Loss(), [8], ["hinge"]]),
    ],
)
def test_what_is_of_a_type(kind, right, wrong):
    for value in right:
        check("key", kind, value)
    for value in wrong:
        with pytest.raises(ValueError, match="^key") as refusal:
            check("key", kind, value)
        assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 400


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (int, "a whole number"),
        (float | None, "a number or null"),
        (bool, "true or false"),
        (str | Path | None, "a path or null"),
        (Literal["by_user", "by_row"], "'by_user' or 'by_row'"),
        (WholeFrom1, "a whole number of at least 1"),
        (Seed | None, "a whole number of at least 0 and below 4294967296 or null"),
        (Share, "a number of at least 0 and below 1"),
        (ShareTo1, "a number from 0 to 1"),
        (Annotated[float, Gt(0), Lt(1)], "a number above 0 and below 1"),
        (Annotated[int, Ge(2)], "a whole number of at least 2"),
        (Sequence[WholeFrom1], "a list of whole numbers of at least 1"),
        (list[str | dict], "a list of texts or mappings"),
        (Filled[Column], "a list of the name of a column, not empty"),
        (dict[str, int] | None, "a mapping of names to whole numbers or null"),
        (dict[str, Any], "a mapping"),
    ],
)
def test_types_in_words(kind, text):
    assert words(kind) == text


def test_an_error_names_the_key_what_is_allowed_and_what_came():
    for kind, value, line in (
        (Sequence[int], 8, "a.b must be a list of whole numbers, not 8"),
        (bool, "maybe", "a.b must be true or false, not 'maybe'"),
        (int, None, "a.b must be a whole number, not null"),
        (int, True, "a.b must be a whole number, not true"),
        (str, 8, "a.b must be text, not 8 (in quotes, '8', it is text)"),
        (float, math.nan, "a.b must be a finite number, in float32 too, not nan"),
        (dict[str, Any], {"c": [0, 1e39]}, "a.b.c[1] must be a finite number, in float32 too, no"),
        (WholeFrom1, 2**31, "a.b must be a whole number of at least 1 and of at most 2147483647,"),
    ):
        with pytest.raises(ValueError) as refusal:
            check("a.b", kind, value)
        assert str(refusal.value).startswith(line)


def test_an_error_shows_what_was_given_and_not_what_was_made_of_it():
    with pytest.raises(ValueError, match="a must be a list of losses, not 'hinge'"):
        check("a", Sequence[Loss], Loss(), "hinge", lambda kind, many: "losses" if many else "no")


def test_parts_are_made_where_the_type_allows_them():
    made = []

    def make(value, at):
        made.append((value, at))
        return Loss()

    assert isinstance(with_parts(Loss | None, "hinge", "m", make), Loss)
    assert isinstance(with_parts(float | Loss, {"name": "x"}, "m", make), Loss)
    several = with_parts(Annotated[Sequence[Loss], "note"], ["a", {"name": "b"}, 8], "m", make)
    assert [type(each) for each in several] == [Loss, Loss, int]
    assert made == [
        *(("hinge", "m"), ({"name": "x"}, "m")),
        *(("a", "m[0]"), ({"name": "b"}, "m[1]")),
    ]
    for kind, value in ((float, "a"), (Sequence[Loss], "a"), (Loss, ["a"]), (str, "a")):
        assert with_parts(kind, value, "m", make) is value
    assert len(made) == 4


def test_types_of_a_class_and_of_a_function():
    class Part:
        def __init__(self, dim: "WholeFrom1", name=None) -> None:
            pass

    assert types_of(Part)["dim"] is WholeFrom1 and "name" not in types_of(Part)
    assert types_of(shown)["value"] is Any
    assert members(int | None) == [int, type(None)] and members(Rate) == [float]


def test_values_are_shown_in_one_short_line():
    assert [shown(None), shown(True), shown(1.5), shown("a\nb")] == [
        "null",
        "true",
        "1.5",
        "'a\\nb'",
    ]
    assert shown(Loss()) == "Loss" and len(shown("x" * 9999)) < 100
    assert len(shown([["x" * 999] * 999] * 999)) < 700
