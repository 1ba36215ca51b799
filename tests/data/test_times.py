"""Times of any kind: to their full precision and in their order, or refused."""

import datetime
import logging

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_recall.data.catalog import Catalog
from tf_recall.data.histories import Histories, by_user
from tf_recall.data.interactions import Interactions
from tf_recall.data.likes import Likes
from tf_recall.data.sessions import ByGap, ByUser
from tf_recall.data.splits import by_time, files, leave_last_out
from tf_recall.data.times import to_seconds
from tf_recall.evaluation.cases import cases_by_row
from tf_recall.positives.user_item import pasts

NOON = 1_706_702_400  # 2024-01-31 12:00 UTC


def seconds(column, unit=None):
    return to_seconds(pd.Series(column), unit)[0].tolist()


def of_unit(unit, zone=None):
    ticks = {"ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    fractions = [ticks * 9 // 10, ticks // 10, ticks // 2]
    return pa.array([NOON * ticks + each for each in fractions], pa.timestamp(unit, zone))


# .900, .100 and .500 of one second, in every form
WRITTEN = {
    "floats": [NOON + 0.9, NOON + 0.1, NOON + 0.5],
    "text of floats": [f"{NOON}.9", f"{NOON}.1", f"{NOON}.5"],
    "decimals": pa.array([NOON * 10 + 9, NOON * 10 + 1, NOON * 10 + 5], pa.int64())
    .cast(pa.decimal128(20, 0))
    .to_pandas()
    / 10,
    "ISO text": [f"2024-01-31T12:00:00.{each}Z" for each in ("900", "100", "500")],
    "text of another zone": [f"2024-01-31 14:00:00.{each}+02:00" for each in (9, 1, 5)],
    "text with and without": [
        "2024-01-31 12:00:00.9",
        "2024-01-31 12:00:00.10",
        "2024-01-31 12:00:00.5",
    ],
    "Python's": [datetime.datetime(2024, 1, 31, 12, 0, 0, 100_000 * each) for each in (9, 1, 5)],
    "pandas'": pd.to_datetime(of_unit("ns").to_pandas()),
    "pandas' with a zone": of_unit("us", "America/New_York").to_pandas(),
    "pandas' on Arrow": pd.Series(of_unit("ns", "UTC").to_pandas()).convert_dtypes(
        dtype_backend="pyarrow"
    ),
    "polars": pl.Series(of_unit("us")),
    **{f"Arrow's {unit}": of_unit(unit) for unit in ("ms", "us", "ns")},
}


def three(timestamp):
    return Interactions.from_columns(
        user_id=["ann"] * 3, item_id=["last", "first", "second"], timestamp=timestamp
    )


@pytest.mark.parametrize("written", WRITTEN)
def test_fractions_of_a_second_are_kept(written):
    log = three(WRITTEN[written])
    assert log.frame["timestamp"].tolist() == [NOON + 0.9, NOON + 0.1, NOON + 0.5]
    split = leave_last_out(log, validation=True)
    assert split.test.frame["item_id"].tolist() == ["last"]
    assert split.validation.frame["item_id"].tolist() == ["second"]


def test_all_that_goes_by_time_sees_the_order_within_a_second():
    log = three(WRITTEN["ISO text"])
    catalog = Catalog.fit(log)

    def ids(rows):
        return catalog.items.decode(rows).tolist()

    user = catalog.users.encode(["ann"])[0]
    assert ids(catalog.histories.of(user)) == ["first", "second", "last"]
    assert ids(ByUser()(log, catalog).items) == ["first", "second", "last"]
    # the gaps are 0.4 s each
    assert len(ByGap(gap=0.3)(log, catalog)) == 3 and len(ByGap(gap=0.5)(log, catalog)) == 1
    assert sorted(ids(Likes.fit(log, catalog).last(2).indices)) == ["last", "second"]
    # "last" is the first line: two events are before it, none before "first", one before "second"
    _, past = pasts(log, catalog)
    assert (past["cut"] - past["begin"]).tolist() == [2, 0, 1]
    split = by_time(log, test=0.3)
    assert split.test.frame["item_id"].tolist() == ["last"]


def test_parts_that_were_read_apart_keep_the_order(tmp_path):
    for name, fraction in (("train", "1"), ("validation", "5"), ("test", "9")):
        text = f"user_id,item_id,timestamp\nann,tea,2024-01-31 12:00:00.{fraction}\n"
        (tmp_path / f"{name}.csv").write_text(text)
    train = Interactions.from_csv(tmp_path / "train.csv")
    split = files(train, tmp_path / "test.csv", tmp_path / "validation.csv")
    catalog = Catalog.fit(split.train)
    past = cases_by_row(split.test, catalog, earlier=split.validation).past
    assert (past.every.cut - past.every.begin).tolist() == [2]


@pytest.mark.parametrize("given_as", ["datetimes", "integers", "text"])
def test_nanoseconds_that_floats_do_not_tell_apart_are_rows_in_order(given_as):
    nanoseconds = NOON * 10**9 + np.array([90, 10, 50, 10, 999_999_999])
    times = nanoseconds.astype("datetime64[ns]")
    timestamp = {
        "datetimes": times,
        "integers": nanoseconds,
        "text": np.datetime_as_string(times).astype(object),
    }[given_as]
    log = Interactions.from_columns(
        user_id=list("aabba"),
        item_id=["i90", "i10", "i50", "also10", "next second"],
        timestamp=timestamp,
        time_unit="ns" if given_as == "integers" else None,
        line=list("01234"),
    )
    assert log.frame["timestamp"].tolist() == [NOON] * 4 + [NOON + 1]
    assert log.frame["item_id"].tolist() == ["i10", "also10", "i50", "i90", "next second"]
    assert log.frame["line"].tolist() == list("13204") and log.frame["user_id"].tolist() == list(
        "abbaa"
    )


@given(
    st.lists(st.integers(0, 3 * 10**6), min_size=1, max_size=30),
    st.sampled_from(["us", "ns"]),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_histories_are_in_the_exact_order(fractions, unit, as_text):
    """A slow twin: Python sorts whole numbers of microseconds or nanoseconds."""
    ticks = [NOON * (10**6 if unit == "us" else 10**9) + each for each in fractions]
    times = pd.Series(np.array(ticks).astype(f"datetime64[{unit}]"))
    log = Interactions.from_columns(
        user_id=[at % 2 for at in range(len(ticks))],
        item_id=list(range(len(ticks))),
        timestamp=times.astype(str) if as_text else times,
    )
    catalog = Catalog.fit(log)
    for user in range(min(2, len(ticks))):
        own = [at for at in range(len(ticks)) if at % 2 == user]
        row = catalog.users.encode([user])[0]
        found = catalog.items.decode(catalog.histories.of(row)).tolist()
        assert found == sorted(own, key=lambda at: ticks[at])


def test_whole_seconds_are_whole_numbers():
    for times in (
        [NOON, NOON + 1],
        [float(NOON), NOON + 1.0],
        pa.array([NOON * 1000, NOON * 1000 + 1000], pa.timestamp("ms")).to_pandas(),
    ):
        found, order = to_seconds(pd.Series(times))
        assert found.dtype == np.int64 and found.tolist() == [NOON, NOON + 1] and order is None


@pytest.mark.parametrize(
    "times, unit, says",
    [
        ([20240131, 20240201], "%Y%m%d", "20240131 to 20240201, looks like the digits of dates"),
        ([20240131.0, 20231231.0], "%Y%m%d", "the digits of dates"),
        (["20240131", "20240201"], "%Y%m%d", "the digits of dates"),
        ([202401, 202312], "%Y%m", "the digits of dates"),
        ([2024, 1997], "%Y", "the digits of dates"),
        ([2024013118], "%Y%m%d%H", "the digits of dates"),
        ([202401311805], "%Y%m%d%H%M", "the digits of dates"),
        ([20240131180559], "%Y%m%d%H%M%S", "the digits of dates"),
        ([45322, 45321], "spreadsheet", "looks like the day numbers of a spreadsheet"),
        ([45322.75, 45321.5], "spreadsheet", "looks like the day numbers of a spreadsheet"),
        ([19753, 19752], "D", "looks like days since 1970"),
        ([474_072, 474_073], "h", "looks like hours since 1970"),
        ([NOON // 60, NOON // 60 + 1], "min", "looks like minutes since 1970"),
    ],
)
def test_numbers_that_are_hardly_seconds_are_refused(times, unit, says):
    with pytest.raises(ValueError, match=f"timestamp.*{says}.*: say time_unit='{unit}', or 's'"):
        to_seconds(pd.Series(times))
    found = seconds(times, unit)  # what the error advises
    assert all(788_918_400 < each < NOON + 86_400 for each in found)


@pytest.mark.parametrize("unit, ticks", [("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
def test_finer_units_are_refused_unless_they_are_named(unit, ticks):
    times = [NOON * ticks, (NOON + 1) * ticks]
    with pytest.raises(ValueError, match="past the year 9999: .* time_unit, one of s, ms, us, ns"):
        seconds(times)
    for given_as in (times, [str(each) for each in times], pd.array(times, "Int64")):
        assert seconds(given_as, unit) == [NOON, NOON + 1]
    assert seconds([NOON * ticks + ticks // 2], unit) == [NOON + 0.5]
    assert seconds([NOON * ticks + ticks / 2], unit) == [NOON + 0.5]


@pytest.mark.parametrize(
    "times, unit, expected",
    [
        ([20240131, 20240201], "%Y%m%d", ["2024-01-31", "2024-02-01"]),
        ([20240131.0], "%Y%m%d", ["2024-01-31"]),
        (["31/01/2024 18:05"], "%d/%m/%Y %H:%M", ["2024-01-31 18:05"]),
        ([45322, 45322.75], "spreadsheet", ["2024-01-31", "2024-01-31 18:00"]),
        ([19753, 19753.5], "D", ["2024-01-31", "2024-01-31 12:00"]),
        ([474_084], "h", ["2024-01-31 12:00"]),
        ([NOON // 60], "min", ["2024-01-31 12:00"]),
        # numbers alone have a unit
        (["2024-01-31 12:00"], "ms", ["2024-01-31 12:00"]),
        ([datetime.datetime(2024, 1, 31)], "%Y", ["2024-01-31"]),
    ],
)
def test_units_that_are_named(times, unit, expected):
    assert seconds(times, unit) == [pd.Timestamp(each).timestamp() for each in expected]


def test_errors_of_units():
    for unit in ("seconds", "", 1, ["s"]):
        with pytest.raises(
            ValueError, match="time_unit is one of s, ms, us, ns, min, h, D, spread"
        ):
            seconds([1], unit)
    with pytest.raises(ValueError, match="timestamp 20241331 in row 1 is not in the format %Y%m%d"):
        seconds([20240131, 20241331], "%Y%m%d")
    with pytest.raises(ValueError, match="timestamp is float32, which rounds the seconds of today"):
        seconds(np.array([NOON], np.float32))


@pytest.mark.parametrize(
    "times",
    [
        [100, 200],
        [0.5, 0.25],
        list(range(2000)),
        [1, 45_322],  # a clock that begins near 0
        [0, 20_240_131],
        [NOON, 45_322],
        [12_049_931, 12_040_131],  # no month 99, and no year 1204
        [881_250_949, 891_717_742],  # MovieLens 100k: 1997 and 1998
    ],
)
def test_relative_clocks_and_seconds_stay_as_they_are(times):
    assert seconds(times) == times


def test_a_log_wholly_in_1970_is_remarked_upon(caplog):
    with caplog.at_level(logging.WARNING, "tf_recall"):
        to_seconds(pd.Series([NOON, 5]))
        to_seconds(pd.Series([5, 6]), "s")
        assert caplog.text == ""
        to_seconds(pd.Series([5, 6]))
        to_seconds(pd.to_datetime(pd.Series([NOON, NOON])))  # nanoseconds to pandas
    assert caplog.text.count("all 2 timestamps lie within a year of 1970") == 2


@pytest.mark.parametrize(
    "times", [["10:30", "11:00"], ["now", "today"], ["Jan 5", "Jan 6"], ["9:05:00", "9:06:00"]]
)
def test_text_without_a_date_is_refused(times):
    with pytest.raises(ValueError, match=f"timestamp '{times[0]}' in row 0 does not name a date"):
        seconds(times)


def test_histories_of_fractions_equal_those_of_their_ranks():
    rng = np.random.default_rng(0)
    users, items = rng.integers(1, 20, 500), rng.integers(1, 30, 500)
    ticks = rng.integers(0, 100, 500)
    by_ticks = Histories.fit(users, items, ticks, 20)
    by_floats = Histories.fit(users, items, NOON + ticks / 128, 20)
    np.testing.assert_array_equal(by_floats.items, by_ticks.items)
    np.testing.assert_array_equal(by_floats.cuts(), by_ticks.cuts())
    np.testing.assert_array_equal(by_floats.times, NOON + by_ticks.times / 128)


def test_fractions_count_for_the_last_of_many_users():
    times = np.array([NOON + 0.9, NOON + 0.85, 0.0, NOON + 0.87])
    lines = by_user(np.full(4, 10**8), times, 10**8 + 1)
    assert lines.tolist() == [2, 1, 3, 0]
