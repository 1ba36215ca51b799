"""Names of models, channels and lists: each is a plain name of one folder."""

import unicodedata
from typing import Any

from tf_recall.data.arguments import in_quotes, shown

LONGEST = 200  # bytes: folders named after it, a little longer, fit a file system's 255 too
RESERVED = "models.config"  # what the model repository has itself


def check_name(key: str, name: Any) -> None:
    """Refuses what is not a plain name of one folder, whatever the file system.

    Letters and digits of any script, blanks, `.`, `_` and `-`; a letter, a digit or `_` first, and
    no blank last.

    Args:
        key: where the name comes from, as in `channels`.
        name: the name.

    Raises:
        ValueError: in one line: the key, the name, and what is allowed.

    Example:
        >>> check_name("name", "../elsewhere")
        Traceback (most recent call last):
        ValueError: name: a name must be valid for a folder, and '../elsewhere' is not: ...
    """
    if not isinstance(name, str):
        raise ValueError(f"{key}: a name must be text, not {shown(name)}{in_quotes(name)}")
    if not _is_plain(name):
        raise ValueError(
            f"{key}: a name must be valid for a folder, and {shown(name)} is not: it may have "
            f"letters, digits, blanks, '.', '_' and '-', at most {LONGEST} bytes of them, begins "
            f"with a letter, a digit or '_', ends with no blank and no '.', and {RESERVED} is taken"
        )


def _is_plain(name):
    """Whether a text is a plain name of one folder."""
    kinds = [unicodedata.category(letter)[0] for letter in name]  # L: letters, M: marks, N: numbers
    return (
        all(kind in "LMN" or letter in " ._-" for kind, letter in zip(kinds, name, strict=True))
        and (name[:1] == "_" or kinds[:1] in (["L"], ["N"]))
        and name[-1] not in " ."
        and len(name.encode()) <= LONGEST
        and name != RESERVED
    )
