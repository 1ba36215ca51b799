"""Ranges of buckets as a file writes them: "0-99,200-249"."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from tf_recall.data.arguments import shown

if TYPE_CHECKING:
    from tf_recall.experiments.plan import Experiment

RANGE = re.compile(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?")


def ranges_of(text: str | int, key: str, num: int) -> np.ndarray:
    """The buckets of a text, rising.

    Args:
        text: such as "0-99,200".
        key: whose it is, for an error.
        num: how many buckets there are.

    Raises:
        ValueError: not of this form, beyond the last bucket, or one twice.

    Example:
        >>> ranges_of("0-2,7", "buckets", 10).tolist()
        [0, 1, 2, 7]
    """
    found = []
    for each in str(text).split(","):
        match = RANGE.fullmatch(each)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < num:
            raise ValueError(
                f"{key} must be buckets from 0 to {num - 1}, such as 0-{num // 10}, or several "
                f"ranges with commas between them, not {shown(text)}"
            )
        found.append(np.arange(first, last + 1))
    joined = np.sort(np.concatenate(found))
    if (twice := joined[1:][np.diff(joined) == 0]).size:
        raise ValueError(f"{key} names bucket {twice[0]} twice")
    return joined


def table_of(claimed: dict[str, np.ndarray], num: int, at: str) -> np.ndarray:
    """The number of the arm that has each bucket, `[num]`; -1 for none.

    Args:
        claimed: buckets by arm.
        num: how many buckets there are.
        at: whose arms they are, for an error.

    Raises:
        ValueError: two arms claim one bucket.
    """
    table = np.full(num, -1)
    names = list(claimed)
    for number, buckets in enumerate(claimed.values()):
        if (taken := buckets[table[buckets] >= 0]).size:
            owner = names[table[taken[0]]]
            raise ValueError(
                f"{at}.arms: {owner} and {names[number]} both claim bucket {taken[0]}, and "
                f"{taken.size} in all"
            )
        table[buckets] = number
    return table


def free(experiments: Iterable["Experiment"], but: "Experiment") -> str:
    """The buckets that nobody claims while an experiment runs, as text; "none" where there are not.

    Args:
        experiments: of its layer.
        but: the experiment.
    """
    others = [each.table for each in experiments if each is not but and each.meets(but)]
    return text_of(np.flatnonzero(~np.any([table >= 0 for table in others], axis=0)))


def text_of(buckets: np.ndarray) -> str:
    """Rising buckets as text that `ranges_of` reads, "none" for none.

    Example:
        >>> text_of(np.array([0, 1, 2, 7]))
        '0-2,7'
    """
    runs = np.split(buckets, np.flatnonzero(np.diff(buckets) != 1) + 1)
    said = [f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs if len(run)]
    return ",".join(said) or "none"
