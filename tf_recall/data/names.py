"""Names of models, channels and lists: each is a plain name of one folder."""

import unicodedata
from typing import Any

LONGEST = 200  # bytes: folders named after it, a little longer, fit a file system's 255 too
RESERVED = ("models.config",)  # what the model repository has itself


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
        ValueError: name must be letters, digits, ...
    """
    if not isinstance(name, str):
        raise ValueError(f"{key} must be text, not {name!r}: in quotes, '{name}', it is")
    letters = all(unicodedata.category(one)[0] in "LMN" or one in " ._-" for one in name)
    begins = name and (unicodedata.category(name[0])[0] in "LN" or name[0] == "_")
    if not letters or not begins or name[-1] in " ." or name in RESERVED:
        raise ValueError(
            f"{key} must be letters, digits, blanks, '.', '_' and '-', a letter, a digit or '_' "
            f"first, no blank and no '.' last, and not {' or '.join(RESERVED)}, since it names a "
            f"folder; not {name[:80]!r}"
        )
    if len(name.encode()) > LONGEST:
        raise ValueError(
            f"{key} must be at most {LONGEST} bytes long, since it names a folder, and "
            f"{name[:20]!r}... has {len(name.encode())}"
        )
