"""Dates such as 3/4/2024 are read in one way for all rows, or refused."""

import re

import pandas as pd
import pytest

from tf_recall.data.interactions import Interactions
from tf_recall.data.times import to_seconds


def read(texts, unit=None):
    seconds, _ = to_seconds(pd.Series(texts), unit)
    return [str(pd.Timestamp(each, unit="s")) for each in seconds]


@pytest.mark.parametrize(
    "texts, expected",
    [
        # the day is first in all rows where it is in one, wherever that stands
        (["01/02/2024", "13/02/2024"], ["2024-02-01", "2024-02-13"]),
        (["13.2.2024 08:26", "1.2.2024 08:26"], ["2024-02-13 08:26", "2024-02-01 08:26"]),
        (["01-02-2024", "02-13-2024"], ["2024-01-02", "2024-02-13"]),
        (
            ["2/13/2024 8:26:01 PM", "1/2/2024 8:26:01 AM"],
            ["2024-02-13 20:26:01", "2024-01-02 8:26:1"],
        ),
        (["1/2/24", "2/13/24"], ["2024-01-02", "2024-02-13"]),
        (["5/5/2024", "06/06/2024"], ["2024-05-05", "2024-06-06"]),
        (["2024/01/02", "2024/02/13"], ["2024-01-02", "2024-02-13"]),
    ],
)
@pytest.mark.filterwarnings("ignore:Could not infer format")
def test_one_row_tells_for_all(texts, expected):
    assert read(texts) == [str(pd.Timestamp(each)) for each in expected]


@pytest.mark.parametrize(
    "texts, formats",
    [
        (["01/02/2024", "02/01/2024"], ["%d/%m/%Y", "%m/%d/%Y"]),
        (["1.2.2024 8:26"], ["%d.%m.%Y %H:%M", "%m.%d.%Y %H:%M"]),
        (["1/2/2024 8:26:01 PM"], ["%d/%m/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M:%S %p"]),
        (["1-2-24 08:26:01"], ["%d-%m-%y %H:%M:%S", "%m-%d-%y %H:%M:%S"]),
        (["5-5-05"], ["%d-%m-%y", "%m-%d-%y"]),  # of 2005; or is the year first?
        (["24-01-02", "24-02-03"], ["%d-%m-%y", "%y-%m-%d"]),
    ],
)
def test_what_may_be_read_in_two_ways_asks_for_the_format(texts, formats):
    says = f"timestamp '{texts[0]}', like all others, may be read in two ways: say time_unit="
    says += " or ".join(repr(each) for each in formats)
    with pytest.raises(ValueError, match=re.escape(says)):
        read(texts)
    assert read(texts, formats[0]) != read(texts, formats[1]) or texts == ["5-5-05"]


def test_a_day_and_a_month_first_in_one_column_are_refused():
    with pytest.raises(
        ValueError, match="day first in '13/02/2024' and the month first in '02/14/2"
    ):
        read(["01/02/2024", "13/02/2024", "02/14/2024"])


def test_files_of_one_log_are_not_read_in_different_orders():
    """One file of days up to the 12th was read month first, the next one day first."""
    for texts in (["01/12/2023", "02/12/2023"], ["13/12/2023", "14/12/2023"]):
        ids = {"user_id": ["u", "v"], "item_id": ["a", "b"]}
        log = pd.DataFrame({**ids, "timestamp": texts})
        months = pd.to_datetime(
            Interactions.from_frame(log, time_unit="%d/%m/%Y").frame["timestamp"], unit="s"
        ).dt.month
        assert set(months) == {12}
    with pytest.raises(ValueError, match="may be read in two ways"):
        Interactions.from_frame(log.assign(timestamp=["01/12/2023", "02/12/2023"]))
