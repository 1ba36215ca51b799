"""Makes parts by the names that a config uses: each is imported when it is needed."""

import functools
import importlib
import inspect
from collections.abc import Callable
from typing import Any

from tf_recall.data.arguments import check, meant, members, shown, types_of, with_parts
from tf_recall.data.parts import PARTS, REGISTRY


def find(kind: str, name: str, at: str | None = None) -> Callable:
    """Imports the class or function that is registered as `name` among the parts of `kind`.

    Args:
        kind: a key of `REGISTRY`.
        name: a name of that kind.
        at: where a config names it, as in `model.loss`; by default the kind.

    Raises:
        ValueError: no such name; the message lists the valid ones.

    Example:
        >>> find("negatives", "uniform")
        <class 'tf_recall.negatives.from_catalog.Uniform'>
    """
    names = REGISTRY[kind]
    if not isinstance(name, str) or name not in names:
        raise ValueError(
            f"{_title(kind, name, at or kind)} is unknown; {meant(name, names)}there are: "
            f"{', '.join(names)}"
        )
    module, attribute = names[name].split(":")
    return getattr(importlib.import_module(module), attribute)


def keywords(make: Callable) -> dict[str, inspect.Parameter]:
    """The parameters that a config can set, of a class or function, by name."""
    named = inspect.signature(make).parameters.values()
    return {
        p.name: p
        for p in named
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name != "self"
    }


def make(kind: str, name: str, *positional, **arguments) -> Any:
    """Makes the part that is registered as `name`.

    Args:
        kind: a key of `REGISTRY`.
        name: a name of that kind.
        *positional: arguments that do not come from a config.
        **arguments: those of a config.

    Raises:
        ValueError: as `part`.
    """
    return part(kind, {**arguments, "name": name}, *positional)


def as_mapping(values: dict | str, at: str) -> dict:
    """A part as a mapping: its name alone, "exact", stands for `{"name": "exact"}`.

    A part that is the only one of its kind needs no name.

    Raises:
        ValueError: neither a mapping nor a name, or a mapping without a name.
    """
    if isinstance(values, str):
        return {"name": values}
    if not isinstance(values, dict):
        raise ValueError(
            f"{at} must be a part, its name or {{name: ..., its arguments}}, not {shown(values)}"
        )
    if "name" not in values:
        key = at.rpartition(".")[2]
        names = REGISTRY.get(PARTS.get(key), ())
        if len(names) == 1:
            return {"name": next(iter(names)), **values}
        raise ValueError(
            f"{at} needs a name, as in `{key}: {{name: ...}}`, and has {shown(values)}"
        )
    return values


def part(kind: str, values: dict | str, *positional, at: str | None = None) -> Any:
    """Makes the part that a config names, with the parts among its arguments.

    Args:
        kind: a key of `REGISTRY`.
        values: `{"name": ..., **arguments}`, or the name alone; not changed.
        *positional: arguments that do not come from a config.
        at: where the config has it, as in `model.loss`; errors begin with it.

    Raises:
        ValueError: an unknown name or argument, or a value that is not of the argument's type or
            out of its range; the message names what came and what is allowed.

    Example:
        >>> part("loss", {"name": "hinge", "margin": "wide"}, at="model.loss")
        Traceback (most recent call last):
        ValueError: model.loss.margin must be a number above 0, not 'wide'
    """
    return recipe(kind, values, len(positional), at)(*positional)


def recipe(
    kind: str, values: dict | str, num_positional: int = 0, at: str | None = None
) -> Callable[..., Any]:
    """What makes a part as `part` does, once it is given the arguments that no config gives.

    All that the config gives is checked here, before it is made.

    Args:
        kind, values, at: as in `part`.
        num_positional: how many arguments do not come from a config.

    Raises:
        ValueError: as `part`.
    """
    at = at or kind
    arguments = dict(as_mapping(values, at))
    name = arguments.pop("name")
    maker = find(kind, name, at)
    title = _title(kind, name, at)
    known = dict(list(keywords(maker).items())[num_positional:])
    takes = f"it takes: {', '.join(known) or 'nothing'}"
    for key in arguments:
        if key not in known:
            raise ValueError(f"{title} takes no {key!r}; {meant(key, known)}{takes}")
    if missing := [
        key for key, each in known.items() if each.default is each.empty and key not in arguments
    ]:
        raise ValueError(f"{title}: missing {', '.join(missing)}; {takes}")
    types = types_of(maker)
    made = {
        key: _argument(key, types.get(key, Any), value, f"{at}.{key}")
        for key, value in arguments.items()
    }
    return functools.partial(_made, maker, at, made)


def check_argument(kind: str, name: str, key: str, value: Any, at: str) -> None:
    """Refuses a value that an argument of a part does not take.

    Args:
        kind, name: the part.
        key: the argument.
        value: what a config gives; a part in it is made.
        at: where the config has it; errors begin with it.

    Raises:
        ValueError: as `part`.

    Example:
        >>> check_argument("loss", "hinge", "margin", -1, "model.loss.margin")
        Traceback (most recent call last):
        ValueError: model.loss.margin must be a number above 0, not -1
    """
    _argument(key, types_of(find(kind, name, at)).get(key, Any), value, at)


def _made(maker, at, arguments, *positional):
    try:
        return maker(*positional, **arguments)
    except ValueError as error:
        if "." not in at:  # a section of its own, or no config's
            raise
        raise ValueError(f"{at}: {error}") from error


def _title(kind, name, at):
    """A part in an error: where it is, what it is, and its name."""
    where = at if at.rpartition(".")[2] == kind else f"{at}: {kind}"
    return f"{where} {shown(name)}"


def _argument(key, type_, value, at):
    """An argument as the constructor takes it, checked, the parts in it made."""
    kind = PARTS.get(key)
    made = value
    # where a number would do too, a text that names no part is a wrong number
    is_number = isinstance(value, str) and float in members(type_)
    if kind and not (is_number and value not in REGISTRY[kind]):
        made = with_parts(type_, value, at, functools.partial(_part_at, kind))
    check(at, type_, made, value, functools.partial(_names, kind))
    return made


def _part_at(kind, values, at):
    return part(kind, values, at=at)


def _names(kind, class_, many=False):
    """What a config may give for a class: the registered parts that are of it."""
    parts = [name for name in REGISTRY.get(kind, ()) if issubclass(find(kind, name), class_)]
    if not parts:
        return ""  # an object that Python alone can give
    return f"{'parts' if many else 'a part'} ({', '.join(parts)})"
