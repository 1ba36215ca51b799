"""Times of interactions, written in any way, as seconds since 1970."""

import logging

import numpy as np
import pandas as pd
import pyarrow as pa

from tf_recall.data.numbered_dates import day_first

LAST_SECOND = 253_402_300_799  # of the year 9999
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
SECONDS = {"min": 60, "h": 3600, "D": 86_400, "spreadsheet": 86_400}
FIRST_DAY = 25_569  # of 1970, by the days of a spreadsheet, which count from 1899-12-30
# digits of a date by their number: how to name them, and the parts' bounds after the year
DATES = {
    4: ("%Y", []),
    6: ("%Y%m", [(1, 12)]),
    8: ("%Y%m%d", [(1, 12), (1, 31)]),
    10: ("%Y%m%d%H", [(1, 12), (1, 31), (0, 23)]),
    12: ("%Y%m%d%H%M", [(1, 12), (1, 31), (0, 23), (0, 59)]),
    14: ("%Y%m%d%H%M%S", [(1, 12), (1, 31), (0, 23), (0, 59), (0, 60)]),
}
FIRST_AND_LAST = (788_918_400, 2_524_608_000)  # 1995 and 2050: when logs are of
NAMES = {
    "min": "minutes since 1970",
    "h": "hours since 1970",
    "D": "days since 1970",
    "spreadsheet": "the day numbers of a spreadsheet",
}
UNDATED = r"\s*\d{1,2}:\d\d|\s*(now|today)\s*$"
YEAR = 365 * 86_400
STEP = 2**24  # from here on float32 does not tell seconds apart
FINEST = 1e-6  # seconds that float64 tells apart for centuries
log = logging.getLogger("tf_recall")


def spread(times: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Times that rise with the position within a group where they were equal: float64 `[n]`.

        time + delta * (equal times of the group at earlier positions)

    delta is a second, or so little that no time reaches the next.

    Args:
        times: `[n]`, in seconds.
        groups: `[n]`, such as users.

    Raises:
        ValueError: so many equal times stand so near the next that float64 cannot part them.

    Example:
        >>> spread(np.array([0, 86400, 0, 0]), np.array([7, 7, 7, 8])).tolist()
        [0.0, 86400.0, 1.0, 0.0]
    """
    earlier = pd.Series(times).groupby([groups, times]).cumcount().to_numpy()
    distinct = np.unique(times)
    gap = np.diff(distinct).min(initial=86_400)
    delta = min(1.0, gap / (earlier.max() + 1))
    if delta < FINEST:
        raise ValueError(
            f"{earlier.max() + 1} events of one user share a time, and other times are {gap:g} "
            "seconds apart: there is no room to put the events in order."
        )
    return times + delta * earlier


def to_seconds(column: pd.Series, unit: str | None = None) -> tuple[np.ndarray, np.ndarray | None]:
    """Reads a column of times as seconds since 1970 UTC, to their full precision.

    Numbers, also as text, count a unit. Datetimes and other text are UTC unless they have a time
    zone.

    Args:
        column: numbers, datetimes, dates or text.
        unit: what numbers count: "s", "ms", "us", "ns", "min", "h" or "D" (days) since 1970, or
            "spreadsheet" days; or the digits of a date as `strptime` names them, "%Y%m%d". None:
            seconds, unless they look like another of these.

    Returns:
        `[n]`, int64 where every time is a whole second, else float64; and, since float64 does not
        tell some nanoseconds apart, the order of the rows in which those of equal seconds are by
        their full time, or None where it is the rows' own order.

    Raises:
        TypeError: a column of another type.
        ValueError: a missing time, one that cannot be read or lies beyond the year 9999; numbers
            that look like dates or like days, hours or minutes where `unit` is None; dates of which
            none tells whether the day or the month is first; no such unit.
    """
    _check_unit(unit)
    column = _plain(column)
    missing = np.flatnonzero(column.isna())
    if missing.size:
        raise ValueError(
            f"{missing.size} of {len(column)} timestamp are missing, the first in row {missing[0]}."
        )
    if column.dtype.kind in "bmc" or isinstance(column.dtype, pd.PeriodDtype):
        raise TypeError(
            f"timestamp must be seconds since 1970, datetimes or text, got {column.dtype}."
        )
    seconds, order = _read(column, unit)
    if unit is None and (np.abs(seconds) < YEAR).all():
        log.warning(
            "all %d timestamps lie within a year of 1970: if they are no clock of the log's own, "
            "name what they count with time_unit ('s' ends this warning)",
            len(seconds),
        )
    return seconds, order


def _read(column, unit):
    if column.dtype.kind == "M":
        return _of_datetimes(column)
    if unit is not None and "%" in unit:
        return _of_digits(column, unit)
    numbers = pd.to_numeric(column, errors="coerce")
    if numbers.notna().all():
        return _of_numbers(numbers, unit)
    return _of_text(column)


def _check_unit(unit):
    known = [*PER_SECOND, *SECONDS]
    if unit is not None and not (isinstance(unit, str) and (unit in known or "%" in unit)):
        raise ValueError(
            f"time_unit is one of {', '.join(known)}, or a format such as %Y%m%d, not {unit!r}."
        )


def _plain(column):
    """A column of Arrow's types as one of NumPy's."""
    if isinstance(column.dtype, pd.ArrowDtype):
        return pa.array(column).to_pandas().set_axis(column.index)
    return column


def _of_numbers(numbers, unit):
    values = numbers.to_numpy()
    if values.dtype.kind == "b":
        raise TypeError("timestamp must be seconds since 1970, datetimes or text, got booleans.")
    if values.dtype.kind == "f" and values.dtype.itemsize < 8 and (np.abs(values) >= STEP).any():
        raise ValueError(
            f"timestamp is {values.dtype}, which rounds the seconds of today to minutes: give "
            "int64 or float64."
        )
    if values.dtype.kind not in "iu" or values.max() > np.iinfo(np.int64).max:
        values = values.astype(np.float64)
    if unit is None:
        _refuse_others(values)
    if unit in SECONDS:
        days = FIRST_DAY if unit == "spreadsheet" else 0
        # to the microsecond: of a day that is no binary fraction
        values = np.round((values.astype(np.float64) - days) * SECONDS[unit], 6)
    per_second = PER_SECOND.get(unit, 1)
    wrong = np.flatnonzero(~(np.abs(values.astype(np.float64)) <= LAST_SECOND * per_second))
    if wrong.size:
        raise ValueError(
            f"timestamp must be seconds since 1970, got {numbers.iloc[wrong[0]]} in row "
            f"{wrong[0]}, past the year 9999: divide milliseconds by 1000, or say what is counted "
            f"with time_unit, one of {', '.join(PER_SECOND)}."
        )
    return _divided(values, per_second)


def _refuse_others(values):
    """Refuses numbers that are hardly seconds: as seconds they would all be early in 1970."""
    low, high = values.min(), values.max()
    looks = _digits_of_dates(values, low, high)
    for unit, seconds in SECONDS.items():
        since = FIRST_DAY if unit == "spreadsheet" else 0
        first, last = (since + bound / seconds for bound in FIRST_AND_LAST)
        if looks is None and first <= low and high <= last:
            looks = unit
    if looks is not None:
        raise ValueError(
            f"timestamp, {low} to {high}, looks like {NAMES.get(looks, 'the digits of dates')} and "
            f"not like seconds since 1970: say time_unit='{looks}', or 's' where it is seconds."
        )


def _digits_of_dates(values, low, high):
    """The format of numbers that all are the digits of a date, such as 20240131; else None."""
    for digits, (form, parts) in DATES.items():
        after_year = 10 ** (digits - 4)
        if 1900 * after_year <= low and high < 2101 * after_year:
            rest = values
            for least, most in reversed(parts):
                rest, part = np.divmod(rest, 100)
                if not ((part >= least) & (part <= most)).all():
                    return None
            return form if (rest == np.floor(rest)).all() else None
    return None


def _divided(ticks, per_second):
    """The seconds of numbers that count so many a second, and the order of the rows."""
    if ticks.dtype.kind == "f":
        seconds = ticks / per_second
        whole = (seconds == np.floor(seconds)).all()
        return seconds.astype(np.int64) if whole else seconds, None
    whole, rest = np.divmod(ticks.astype(np.int64), per_second)
    if not rest.any():
        return whole, None
    seconds = whole + rest / per_second
    return seconds, _order(seconds, ticks)


def _order(seconds, ticks):
    """The order in which rows of equal seconds, in the places that they have, are by ticks."""
    by_ticks = np.argsort(ticks, kind="stable")
    same = np.diff(seconds[by_ticks]) == 0
    if not (np.diff(ticks[by_ticks])[same] > 0).any():
        return None
    order = np.empty(len(ticks), np.int64)
    order[np.argsort(seconds, kind="stable")] = by_ticks
    return order


def _of_datetimes(times):
    times = times.dt.tz_convert(None) if times.dt.tz is not None else times
    unit, _ = np.datetime_data(times.dtype)
    return _divided(times.to_numpy().view(np.int64), PER_SECOND[unit])


def _of_digits(column, form):
    if column.dtype.kind == "f" and (column == np.floor(column)).all():
        column = column.astype(np.int64)
    times = pd.to_datetime(column.map(str), format=form, errors="coerce", utc=True)
    unread = np.flatnonzero(times.isna())
    if unread.size:
        raise ValueError(
            f"timestamp {column.iloc[unread[0]]} in row {unread[0]} is not in the format {form}."
        )
    return _of_datetimes(times)


def _of_text(column):
    times = pd.to_datetime(column, errors="coerce", utc=True, dayfirst=day_first(column))
    unread = np.flatnonzero(times.isna())
    if unread.size:  # so far only text in the format of the first row was read
        times = pd.to_datetime(column, errors="coerce", utc=True, format="ISO8601")
    if times.isna().any():
        raise ValueError(
            f"timestamp '{column.iloc[unread[0]]}' in row {unread[0]} cannot be read in the format "
            f"of the first one, '{column.iloc[0]}': give seconds since 1970, datetimes, or text "
            "such as 2024-03-31 18:05:00."
        )
    _refuse_undated(column, times)
    return _of_datetimes(times)


def _refuse_undated(column, times):
    """Refuses a time of the day, which pandas takes as today's, and a day of no year."""
    undated = (times.dt.year == 1).to_numpy(copy=True)
    recent = (times > pd.Timestamp.now("UTC") - pd.Timedelta(days=2)).to_numpy()
    undated[recent] = column[recent].map(str).str.match(UNDATED)
    if undated.any():
        row = np.argmax(undated)
        raise ValueError(f"timestamp '{column.iloc[row]}' in row {row} does not name a date.")
