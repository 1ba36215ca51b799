"""Ids and features as they are typed on a command line, and what of them is unknown."""

import re
from collections.abc import Callable, Iterable

import numpy as np

from tf_recall.data.ids import MISSING
from tf_recall.features.base import RESERVED

# a line of CSV: text in quotes, which may hold commas, blanks and doubled quotes, or plain text
FIELD = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^",][^,]*)?)\s*(,|$)')


def typed_ids(option: str, texts: Iterable[str], dtype: str) -> list[str] | list[int]:
    """The ids of an option that may be given several times, each time with a line of CSV.

    Blanks around an id do not count. An id with a comma, or with blanks around it, stands in
    quotes: `"a,b",c`.

    Args:
        option: what it is called in an error, such as "--exclude".
        texts: what was given.
        dtype: "string" or "int64", the type of the model's ids.

    Raises:
        ValueError: an empty id, quotes that do not end, an id that is no whole number where the
            model's are.

    Example:
        >>> typed_ids("--exclude", ["i9, i81", '"a,b"'], "string")
        ['i9', 'i81', 'a,b']
    """
    ids = [each for text in texts for each in _fields(option, text)]
    if dtype == "string":
        return ids
    for each in ids:
        if not re.fullmatch("-?[0-9]+", each):
            raise ValueError(
                f"{option} takes ids of this model, which are whole numbers, not {each}"
            )
        if int(each) == MISSING[dtype]:
            raise ValueError(f"{option} takes ids; {each} stands for a missing one")
    return list(map(int, ids))


def typed_features(pairs: Iterable[str]) -> dict[str, str]:
    """The values of `--feature NAME=VALUE` by name, as text.

    Raises:
        ValueError: no equals sign, a name given twice, one that has an option of its own.
    """
    features = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"--feature takes NAME=VALUE, not {pair!r}")
        if name in RESERVED:
            raise ValueError(f"--feature names a column, and {name} is none: it has its own option")
        if name in features:
            raise ValueError(f"--feature gives {name} twice, {features[name]!r} and {value!r}")
        features[name] = value
    return features


def unknown_of(parse: Callable, ids: list, request: dict) -> dict[str, list]:
    """What of a request the model does not know, by argument.

    That is `Request.unknown`, and text that stands for no number that a feature can take.

    Args:
        parse: the recommender's `request_for_users`, or `request_for_items`.
        ids, request: its arguments.

    Raises:
        ValueError: a request that is refused.
    """
    try:
        parsed = parse(ids, **request)
    except TypeError as error:
        raise ValueError(str(error)) from error
    unknown = parsed.unknown()
    for name, array in parsed.arrays.items():
        if array.dtype.kind == "f" and request.get(name) and np.isnan(array).any():
            unknown[name] = [request[name]]
    return unknown


def _fields(option, line):
    ids, start, more = [], 0, ","
    while more:
        found = FIELD.match(line, start)
        if found is None:
            raise ValueError(
                f"{option} takes ids with commas between them, one with a comma in double quotes; "
                f"the quotes do not match in {line!r}"
            )
        quoted, plain, more = found.groups()
        ids.append((plain or "").strip() if quoted is None else quoted.replace('""', '"'))
        start = found.end()
    if "" in ids:
        raise ValueError(f"{option} takes ids with commas between them; one is empty in {line!r}")
    return ids
