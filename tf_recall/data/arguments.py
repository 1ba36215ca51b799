"""What an argument is, held against its type: the one check of all that a config gives."""

import difflib
import functools
import reprlib
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union

from annotated_types import Ge, Gt, Le, Lt, MinLen

from tf_recall.data.ranges import MOST, Words

LONGEST = 300  # letters of a value in an error
LARGEST = 3.4028234663852886e38  # of float32
NAMES = {  # one, and several
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "true or false"),
    str: ("text", "texts"),
    Path: ("a path", "paths"),
    dict: ("a mapping", "mappings"),
    list: ("a list", "lists"),
    NoneType: ("null", "null"),
    Any: ("anything", "anything"),
}


def types_of(make: Callable) -> dict[str, Any]:
    """The types of a constructor's or a function's arguments, by name.

    Example:
        >>> types_of(Config.load)["path"]
        str | pathlib.Path
    """
    return _types_of(make.__init__ if isinstance(make, type) else make)


@functools.cache
def _types_of(function):
    return typing.get_type_hints(function, include_extras=True)


def check(
    key: str, kind: Any, value: Any, given: Any = ..., name: Callable[..., str] | None = None
) -> None:
    """Refuses a value that is not of a type, or out of its range; true is no number, nor is "8".

    Args:
        key: what the value is called, as in `model.loss.margin`.
        kind: a type, such as `Sequence[int] | None` or `Annotated[float, Gt(0)]`.
        value: what to check.
        given: what the error shows; by default the value.
        name: a function of a class that is not Python's own, and of whether there are several: what
            it is called.

    Raises:
        ValueError: in one line: the key, what is allowed, and what came.

    Example:
        >>> check("units", Sequence[int], 8)
        Traceback (most recent call last):
        ValueError: units must be a list of whole numbers, not 8
    """
    from pydantic import ValidationError  # takes a while to import, so where a config is made

    try:
        _adapter(kind).validate_python((value,))
    except ValidationError:
        given = value if given is ... else given
        raise ValueError(
            f"{key} must be {words(kind, value, name)}, not {shown(given)}"
            + (in_quotes(given) if {*members(kind)} <= {str, Path, NoneType} else "")
        ) from None
    _check_finite(key, value)


@functools.cache
def _adapter(kind):
    from pydantic import ConfigDict, TypeAdapter

    # in a tuple, since a dataclass alone takes no config
    return TypeAdapter(tuple[kind], config=ConfigDict(strict=True, arbitrary_types_allowed=True))


def _check_finite(key, value):
    """Refuses a number that is not finite in float32, at any depth."""
    match value:
        case int() | float() if not abs(value) <= LARGEST:  # NaN is neither
            raise ValueError(f"{key} must be a finite number, in float32 too, not {shown(value)}")
        case dict():
            for name, each in value.items():
                _check_finite(f"{key}.{name}", each)
        case list() | tuple():
            for number, each in enumerate(value):
                _check_finite(f"{key}[{number}]", each)


def members(kind: Any) -> list:
    """The types that a type allows: `int | None` allows int and NoneType."""
    origin = typing.get_origin(kind)
    if origin is Annotated:
        return members(kind.__origin__)
    if origin in (Union, UnionType):
        return [each for one in typing.get_args(kind) for each in members(one)]
    return [kind]


def with_parts(kind: Any, value: Any, at: str, make: Callable[[Any, str], Any]) -> Any:
    """A value, where its type allows parts with the parts that it names made.

    Args:
        kind: the type: `Loss | None` allows a part, `Sequence[Feature]` a list of them.
        value: a name or a mapping, or a list of these; anything else stays as it is.
        at: where the config has it.
        make: a function of a name or a mapping and of where it is, which makes the part.
    """
    allowed = members(kind)
    if isinstance(value, dict | str) and any(map(_is_part, allowed)):
        return make(value, at)
    lists = [one for each in allowed if _is_list(each) for one in typing.get_args(each)]
    if isinstance(value, list) and any(map(_is_part, lists)):
        return [
            make(each, f"{at}[{number}]") if isinstance(each, dict | str) else each
            for number, each in enumerate(value)
        ]
    return value


def _is_part(kind):
    """Whether a type is a class that is not Python's own."""
    return isinstance(kind, type) and typing.get_origin(kind) is None and kind not in NAMES


def _is_list(kind):
    origin = typing.get_origin(kind)
    return isinstance(origin, type) and issubclass(origin, Sequence)


def words(
    kind: Any, value: Any = None, name: Callable[..., str] | None = None, many: bool = False
) -> str:
    """A type in words: "a whole number of at least 1 or null".

    Args:
        kind, name: as in `check`.
        value: what is not allowed; a bound far above all use is named only to what is beyond it.
        many: several of the kind, "whole numbers".

    Example:
        >>> words(Sequence[int] | None)
        'a list of whole numbers or null'
    """
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return _bounded(kind, value, name, many)
    if origin in (Union, UnionType):
        alternatives = [each for each in inner if not (each is str and Path in inner)]
        said = [words(each, value, name, many) for each in alternatives]
        return " or ".join(filter(None, said))
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        several = words(inner[1], value, name, many=True)
        of = "" if inner[1] is Any else f" of names to {several}"
        return ("mappings" if many else "a mapping") + of
    if _is_list(kind):
        return f"{'lists' if many else 'a list'} of {words(inner[0], value, name, many=True)}"
    if kind in NAMES:
        return NAMES[kind][many]
    return name(kind, many) if name else f"a {kind.__name__}"


def _bounded(kind, value, name, many):
    """An annotated type in words."""
    notes = kind.__metadata__
    if said := [note.text for note in notes if isinstance(note, Words)]:
        return said[0]
    bounds = []
    both = {type(note): note for note in notes}
    if {Ge, Le} == set(both) and both[Le].le != MOST:
        bounds, notes = [f"from {both[Ge].ge} to {both[Le].le}"], []
    for note in notes:
        match note:
            case Ge(ge=bound):
                bounds.append(f"of at least {bound}")
            case Gt(gt=bound):
                bounds.append(f"above {bound}")
            case Lt(lt=bound):
                bounds.append(f"below {bound}")
            case Le(le=bound) if bound != MOST or (isinstance(value, int) and value > MOST):
                bounds.append(f"of at most {bound}")
    of = words(kind.__origin__, value, name, many)
    if any(isinstance(note, MinLen) for note in notes):
        return f"{of}, not empty"
    return f"{of} {' and '.join(bounds)}".rstrip()


_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 80


def shown(value: Any) -> str:
    """A value from a config as an error shows it: in one line, cut where it is long."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str | int | float | list | dict | tuple):
        text = _REPR.repr(value)
        return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    return type(value).__name__


def in_quotes(value: Any) -> str:
    """A hint at how a number becomes text: " (in quotes, '7', it is text)", or ""."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f" (in quotes, '{value}', it is text)" if is_number else ""


def meant(key: Any, known: Iterable[str]) -> str:
    """A hint at the known name that is nearest to a key: "did you mean 'epochs'? ", or ""."""
    near = difflib.get_close_matches(str(key), list(known), n=1)
    return f"did you mean {near[0]!r}? " if near else ""
