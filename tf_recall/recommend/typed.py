"""Ids as they are typed on a command line."""

import re
from collections.abc import Iterable

from tf_recall.data.ids import MISSING

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
