"""Dates of three numbers, the year last: which of the others is the month."""

import re

import pandas as pd

DATE = re.compile(
    r"\s*(?P<first>\d{1,2})(?P<sep>[/.-])(?P<second>\d{1,2})(?P=sep)(?P<year>\d{4}|\d\d)(?!\d)"
)
CLOCKS = {
    r" \d{1,2}:\d\d": " %H:%M",
    r" \d{1,2}:\d\d:\d\d": " %H:%M:%S",
    r" \d{1,2}:\d\d [AaPp][Mm]": " %I:%M %p",
    r" \d{1,2}:\d\d:\d\d [AaPp][Mm]": " %I:%M:%S %p",
}
MONTHS = 12


def day_first(column: pd.Series) -> bool:
    """Whether a column is of dates such as 31/1/2024, the day first.

    All rows are looked at: a number above 12 is no month. Where none of them tells, nothing is
    guessed, since another file of the same log could then be read in the other order.

    Args:
        column: text of times.

    Raises:
        ValueError: all may be read in two ways, or some have the day first and some the month.
    """
    texts = column.drop_duplicates()
    if not isinstance(texts.iloc[0], str) or not DATE.match(texts.iloc[0]):
        return False
    parts = texts.map(str).str.extract(DATE)
    if parts["first"].isna().any():
        return False  # some are written otherwise
    high_first, high_second = (parts[name].astype(int) > MONTHS for name in ("first", "second"))
    if (high_first & high_second).any():
        return False  # no date at all, which who reads it says
    short = (parts["year"].str.len() == 2).any()
    if high_first.any() and high_second.any():
        pair = texts[high_first].iloc[0], texts[high_second].iloc[0]
        raise ValueError(
            f"timestamp has the day first in {pair[0]!r} and the month first in {pair[1]!r}: give "
            "text such as 2024-03-31 18:05:00."
        )
    if high_second.any():
        return False
    if high_first.any() and not short:
        return True
    if not high_first.any() and (parts["first"] == parts["second"]).all() and not short:
        return False  # 5/5/2024 is one day in both
    ways = ["dmy", "ymd"] if high_first.any() else ["dmy", "mdy"]
    named = " or ".join(repr(_format(texts.iloc[0], each)) for each in ways)
    raise ValueError(
        f"timestamp {texts.iloc[0]!r}, like all others, may be read in two ways: say time_unit="
        f"{named}."
    )


def _format(text, order):
    """The format of a time by `strptime` where its numbers have this order."""
    found = DATE.match(text)
    if "y" not in order[:2] and len(found["year"]) == 4:
        order = order.replace("y", "Y")
    clock = next(
        (form for each, form in CLOCKS.items() if re.fullmatch(each, text[found.end() :])), ""
    )
    return found["sep"].join(f"%{each}" for each in order) + clock
