import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest

from tf_recall.data.interactions import Interactions

FRAME = pd.DataFrame(
    {
        "user_id": ["ann", "bob", "ann"],
        "item_id": [7, 8, 9],
        "timestamp": [3, 1, 2],
        "weight": [1, 0, 0.5],
        "device": list("xyx"),
    }
)


def with_column(name, values):
    return FRAME.assign(**{name: values})


@pytest.fixture(
    params=["pandas", "polars", "arrow", "csv", "gz", "tsv", "parquet", "columns", "file"]
)
def same(request, tmp_path):
    """The same three interactions by every way in."""
    kind = request.param
    if kind == "pandas":
        return Interactions.from_frame(FRAME.set_index(np.array([5, 5, 5])))
    if kind in ("polars", "arrow"):
        frame = pl.from_pandas(FRAME)
        return Interactions.from_frame(frame if kind == "polars" else frame.to_arrow())
    if kind == "columns":
        return Interactions.from_columns(**{name: FRAME[name].to_numpy() for name in FRAME})
    if kind == "parquet":
        FRAME.to_parquet(tmp_path / "a.parquet")
        return Interactions.from_parquet(tmp_path / "a.parquet")
    path = tmp_path / {"csv": "a.csv", "gz": "a.csv.gz", "tsv": "a.tsv", "file": "a.csv"}[kind]
    FRAME.to_csv(path, index=False, sep="\t" if kind == "tsv" else ",")
    return Interactions.from_file(path) if kind == "file" else Interactions.from_csv(path)


def test_every_way_in_gives_the_same_table(same):
    frame = same.frame
    assert len(same) == 3 and same.items is None and same.users is None
    assert frame.index.tolist() == [0, 1, 2]
    assert [frame[name].dtype for name in frame][:4] == [object, np.int64, np.int64, np.float32]
    assert {name: frame[name].tolist() for name in frame} == {
        name: FRAME[name].tolist() for name in FRAME
    }
    assert {type(one) for one in frame["user_id"]} == {str}


def test_columns_are_renamed_and_a_shadowed_one_drops_out():
    theirs = pd.DataFrame(
        {
            "item_id": [1, 2],
            "sku": ["a", "b"],
            "who": [4, 5],
            "day": ["2024-01-01", "2024-01-02"],
            "x": [0, 0],
        }
    )
    ours = Interactions.from_frame(theirs, {"user_id": "who", "item_id": "sku", "timestamp": "day"})
    assert list(ours.frame) == ["user_id", "item_id", "timestamp", "x"]
    assert ours.frame["item_id"].tolist() == ["a", "b"]
    swapped = Interactions.from_frame(
        FRAME, {"user_id": "item_id", "item_id": "user_id", "kind": "device"}
    )
    assert swapped.frame["user_id"].tolist() == [7, 8, 9] and swapped.frame["kind"].tolist() == [
        "x",
        "y",
        "x",
    ]
    assert list(FRAME) == ["user_id", "item_id", "timestamp", "weight", "device"]


@pytest.mark.parametrize(
    "times",
    [
        [86_400, 90_061],
        np.array([86_400.0, 90_061.0]),
        ["86400", "90061"],
        ["1970-01-02", "1970-01-02 01:01:01"],
        ["1970-01-02T00:00:00Z", "1970-01-02T02:01:01.000+01:00"],
        ["Jan 2 1970 0:00:00", "Jan 2 1970 1:01:01"],
        [datetime.datetime(1970, 1, 2), datetime.datetime(1970, 1, 2, 1, 1, 1)],
        pd.to_datetime(["1970-01-02 00:00:00", "1970-01-02 01:01:01.000000000"], format="ISO8601"),
        pd.to_datetime(["1970-01-01 19:00:00", "1970-01-01 20:01:01"]).tz_localize(
            "America/New_York"
        ),
        np.array(["1970-01-02T00:00:00", "1970-01-02T01:01:01"], "datetime64[ms]"),
        pl.Series([datetime.datetime(1970, 1, 2), datetime.datetime(1970, 1, 2, 1, 1, 1)]),
        np.array([86_400, 90_061], dtype=object),
        pd.array([86_400, 90_061], dtype="Int64"),
    ],
    ids=range(13),
)
def test_times_of_every_kind_become_seconds(times):
    given = Interactions.from_columns(user_id=[1, 2], item_id=[1, 2], timestamp=times)
    assert given.frame["timestamp"].dtype == np.int64
    assert given.frame["timestamp"].tolist() == [86_400, 90_061]


def test_dates_and_times_before_1970():
    given = Interactions.from_columns(
        user_id=[1, 2],
        item_id=[1, 2],
        timestamp=[datetime.date(1970, 1, 2), datetime.date(1969, 12, 31)],
    )
    assert given.frame["timestamp"].tolist() == [86_400, -86_400]
    for half_a_second_before in ("1969-12-31T23:59:59.5", -0.5):
        given = Interactions.from_columns(
            user_id=[1], item_id=[1], timestamp=[half_a_second_before]
        )
        assert given.frame["timestamp"].tolist() == [-0.5]


@pytest.mark.parametrize(
    "frame, says",
    [
        (FRAME.iloc[:0], "no interactions"),
        (FRAME.drop(columns="item_id"), "no column 'item_id'.*columns={'item_id'"),
        (pd.concat([FRAME, FRAME["device"]], axis=1), r"same name: \['device'\]"),
        (with_column("user_id", ["a", None, ""]), "2 of 3 user_id .*missing.* first in row 1"),
        (with_column("item_id", [1, np.nan, 3]), "1 of 3 item_id .*missing"),
        (with_column("item_id", [1, -1, 3]), "1 of 3 item_id .*missing"),
        (
            with_column("timestamp", [1, np.nan, 3]),
            "1 of 3 timestamp are missing, the first in row 1",
        ),
        (
            with_column("timestamp", ["2024-01-01", "soon", "2024-01-01"]),
            "timestamp 'soon' in row 1",
        ),
        (with_column("timestamp", ["2024-01-01", "5", "2024-01-01"]), "timestamp '5' in row 1"),
        (
            with_column("timestamp", ["1/2/2024", "13/14/2024", "1/2/2024"]),
            "timestamp '13/14/2024' in row 1",
        ),
        (
            with_column("timestamp", [1, 1_700_000_000_000, 2]),
            "past the year 9999: divide milliseconds",
        ),
        (with_column("timestamp", [1, np.inf, 2]), "past the year 9999"),
        (with_column("timestamp", [1, np.iinfo(np.int64).min, 2]), "past the year 9999"),
        (with_column("weight", [1, -0.5, 2]), "weight must be .* '-0.5' in row 1"),
        (with_column("weight", [1, 1, np.nan]), "weight must be .* 'nan' in row 2"),
        (with_column("weight", [np.inf, 1, 1]), "weight must be .* 'inf' in row 0"),
        (with_column("weight", ["1", "heavy", "1"]), "weight must be .* 'heavy' in row 1"),
    ],
)
def test_what_is_wrong_is_named(frame, says):
    with pytest.raises(ValueError, match=says):
        Interactions.from_frame(frame)


def test_other_types_are_refused():
    with pytest.raises(
        TypeError, match="item_id of interactions must be all strings or all integers"
    ):
        Interactions.from_frame(with_column("item_id", ["a", 1, 2]))
    for times in (
        [True] * 3,
        pd.to_timedelta([1, 2, 3], "s"),
        pd.period_range("2024-01-01", periods=3),
    ):
        with pytest.raises(
            TypeError, match="timestamp must be seconds since 1970, datetimes or text, got"
        ):
            Interactions.from_frame(with_column("timestamp", times))
    with pytest.raises(TypeError, match="must be a pandas or polars dataframe, got dict"):
        Interactions.from_frame({"user_id": [1]})
    with pytest.raises(TypeError, match="items must be .* got list"):
        Interactions.from_frame(FRAME, items=[1])
    with pytest.raises(ValueError, match="one length, got {'user_id': 2, 'item_id': 1}"):
        Interactions.from_columns(user_id=[1, 2], item_id=[1])
    with pytest.raises(ValueError, match="columns names {'timestamp': 'when'}.*lacks"):
        Interactions.from_frame(FRAME, {"timestamp": "when"})


def test_side_tables_come_along():
    items = pl.DataFrame({"sku": [9, 7, 100], "title": ["nine", "seven", "unseen"]})
    users = pd.DataFrame({"user_id": [b"ann", b"bob"], "age": [30, 40]}, index=[4, 4])
    frame = FRAME.rename(columns={"item_id": "sku"})
    given = Interactions.from_frame(frame, {"item_id": "sku"}, items=items, users=users)
    assert given.items.to_dict("list") == {
        "item_id": [9, 7, 100],
        "title": ["nine", "seven", "unseen"],
    }
    assert given.users.to_dict("list") == {"user_id": ["ann", "bob"], "age": [30, 40]}
    assert given.users.index.tolist() == [0, 1]


@pytest.mark.parametrize(
    "items, says",
    [
        (
            pd.DataFrame({"item_id": [7, 8, 7]}),
            "item_id must differ in items, got '7' twice .*row 2",
        ),
        (pd.DataFrame({"item_id": ["7", "8", "7"]}), "item_id must differ in items, got '7' twice"),
        (pd.DataFrame({"title": ["a"]}), "items has no column 'item_id'"),
        (pd.DataFrame({"item_id": [7, None]}), "1 of 2 item_id in items are missing"),
        (
            pd.DataFrame({"item_id": [70, 80]}),
            r"share no item_id: \[70, 80\] and so on in items, \[7, 8, 9\]",
        ),
        (pd.DataFrame({"item_id": ["seven"]}), "share no item_id"),
        ("items.json", "must end in .csv"),
    ],
)
def test_side_tables_are_checked(items, says):
    with pytest.raises(ValueError, match=says):
        Interactions.from_frame(FRAME, items=items)


def test_ids_of_two_dtypes_become_strings_in_both_tables():
    given = Interactions.from_frame(FRAME, items=pd.DataFrame({"item_id": ["7", "8", "x"]}))
    assert given.frame["item_id"].tolist() == ["7", "8", "9"] and given.items[
        "item_id"
    ].tolist() == ["7", "8", "x"]
    given = Interactions.from_frame(
        FRAME, users=pd.DataFrame({"user_id": ["ann"]})
    ).with_string_ids("item_id")
    assert given.frame["item_id"].tolist() == ["7", "8", "9"] and given.items is None


@pytest.mark.parametrize(
    "written, expected",
    [
        (["7", "12", "-3"], [7, 12, -3]),
        (["007", "7", "12"], ["007", "7", "12"]),
        (["7", "7A", "12"], ["7", "7A", "12"]),
        (["7.0", "8", "9"], ["7.0", "8", "9"]),
        (["9223372036854775808", "8", "9"], ["9223372036854775808", "8", "9"]),
        (["9223372036854775807", "8", "9"], [9223372036854775807, 8, 9]),
    ],
)
def test_ids_of_a_csv_are_integers_only_where_nothing_is_lost(written, expected, tmp_path):
    with_column("item_id", written).to_csv(tmp_path / "a.csv", index=False)
    assert Interactions.from_csv(tmp_path / "a.csv").frame["item_id"].tolist() == expected


def test_files_with_their_own_names_and_side_tables(tmp_path):
    (tmp_path / "clicks.csv").write_text(
        "u,i,t,w\nann,22752,2024-01-01 10:00,a\nbob,85123A,2024-01-01 11:00,b\n"
    )
    (tmp_path / "items.csv").write_text("i,title\n22752,Mug\n")
    pd.DataFrame({"user_id": ["ann"], "age": [3]}).to_parquet(tmp_path / "users.parquet")
    given = Interactions.from_csv(
        tmp_path / "clicks.csv",
        {"user_id": "u", "item_id": "i", "timestamp": "t"},
        items=str(tmp_path / "items.csv"),
        users=tmp_path / "users.parquet",
    )
    assert list(given.frame) == ["user_id", "item_id", "timestamp", "w"]
    assert given.frame["timestamp"].tolist() == [1_704_103_200, 1_704_106_800]
    assert given.items.to_dict("list") == {"item_id": ["22752"], "title": ["Mug"]}
    assert given.users["age"].tolist() == [3]


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "header.csv").write_text("user_id,item_id\n")
    (tmp_path / "bytes.csv").write_bytes(b"user_id,item_id\n\xff,1\n")
    (tmp_path / "hole.csv").write_text("user_id,item_id\n1,2\n,3\n")
    for name, says in {
        "empty.csv": "empty.csv cannot be read as CSV",
        "header.csv": "no rows",
        "bytes.csv": "bytes.csv cannot be read as CSV",
        "hole.csv": "1 of 2 user_id in interactions are missing",
    }.items():
        with pytest.raises(ValueError, match=says):
            Interactions.from_file(tmp_path / name)
    for name in ("none.csv", "none.parquet"):
        with pytest.raises(FileNotFoundError):
            Interactions.from_file(tmp_path / name)


def test_select_takes_masks_and_positions():
    given = Interactions.from_frame(FRAME, items=pd.DataFrame({"item_id": [7]}))
    for rows in ([False, True, True], given.frame["timestamp"] < 3, [1, 2], np.array([1, 2])):
        chosen = given.select(rows)
        assert chosen.frame["item_id"].tolist() == [8, 9] and chosen.frame.index.tolist() == [0, 1]
        assert chosen.items is given.items
    assert given.select([2, 0, 0]).frame["item_id"].tolist() == [9, 7, 7]
    assert len(given.select([])) == 0


def test_events_of_one_time_in_order_of_their_lines():
    day = 86_400
    log = Interactions.from_columns(
        ["a", "b", "a", "a", "b"], [1, 2, 3, 4, 5], timestamp=[day, day, day, 0, day]
    )
    ordered = log.in_order()
    assert ordered.frame["timestamp"].tolist() == [day, day, day + 1, 0, day + 1]
    assert log.frame["timestamp"].tolist() == [day, day, day, 0, day]  # as it was


def test_order_does_not_reach_the_next_time():
    times = np.repeat([1_700_000_000, 1_700_000_001], 50)
    rng = np.random.default_rng(0)
    log = Interactions.from_columns(
        rng.integers(1, 3, 100), np.arange(100), timestamp=times
    ).in_order()
    for _, events in log.frame.groupby("user_id"):
        assert (np.diff(events["timestamp"]) > 0).all()
        assert (events["timestamp"] >= times[events.index]).all()
        assert (events["timestamp"] < times[events.index] + 1).all()


def test_order_needs_times_and_room():
    with pytest.raises(ValueError, match="no timestamp"):
        Interactions.from_columns(["a"], [1]).in_order()
    times = [0, 0, 2e-7]
    with pytest.raises(ValueError, match="no room"):
        Interactions.from_columns(["a"] * 3, [1, 2, 3], timestamp=times).in_order()
