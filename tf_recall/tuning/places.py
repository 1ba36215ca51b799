"""Places in nested values: `("model", "negatives", "samplers", 1, "num")`."""

from typing import Any

Place = tuple[str | int, ...]


def written(place: Place) -> str:
    """A place as a config's errors and `tune` have it.

    Example:
        >>> written(("model", "negatives", "samplers", 1, "num"))
        'model.negatives.samplers[1].num'
    """
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return text.removeprefix(".")


def value_at(values: Any, place: Place) -> Any:
    """The value at a place.

    Raises:
        LookupError: there is none.
    """
    for step in place:
        values = values[step]
    return values


def put(values: dict, place: Place, value: Any) -> None:
    """Changes the value at a place; mappings on the way are made where they are missing.

    Example:
        >>> values = {"merge": {"name": "reciprocal_rank"}}
        >>> put(values, ("merge", "weights", "item_cf"), 2.0)
        >>> values
        {'merge': {'name': 'reciprocal_rank', 'weights': {'item_cf': 2.0}}}
    """
    *above, last = place
    for step in above:
        if isinstance(values, dict) and values.get(step) is None:
            values[step] = {}
        values = values[step]
    values[last] = value
