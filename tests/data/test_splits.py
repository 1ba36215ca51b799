import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_recall.data import splits
from tf_recall.data.catalog import Catalog
from tf_recall.data.held_out import latest
from tf_recall.data.interactions import Interactions
from tf_recall.positives.user_item import pasts


def log(size=400, users=20, moments=60, seed=0):
    """A log whose rows are told apart by the context column `row`, with many ties of time."""
    random = np.random.default_rng(seed)
    return Interactions.from_columns(
        user_id=random.integers(1, users, size),
        item_id=random.integers(1, 50, size),
        timestamp=random.integers(0, moments, size),
        row=np.arange(size),
        visit=random.integers(0, 4, size),
        users=pd.DataFrame({"user_id": np.arange(users)}),
    )


def events(users, times):
    return Interactions.from_columns(user_id=users, item_id=np.arange(len(users)), timestamp=times)


def with_gap():
    return Interactions.from_columns(
        user_id=[1, 1], item_id=[1, 2], timestamp=[1, 2], visit=["a", None]
    )


def rows(side):
    return side.frame["row"].tolist()


EVERY = [
    lambda given: splits.by_time(given, 0.2, 0.1),
    lambda given: splits.by_time(given),
    lambda given: splits.leave_last_out(given, validation=True),
    lambda given: splits.leave_last_out(given),
    lambda given: splits.leave_last_session_out(given, "visit", validation=True),
    lambda given: splits.leave_last_session_out(given, "visit"),
    lambda given: splits.random(given, 0.2, 0.1),
    lambda given: splits.random(given),
    lambda given: splits.by_user(given, 0.2, 0.1),
    lambda given: splits.by_user(given),
]


@pytest.mark.parametrize("split", EVERY, ids=range(len(EVERY)))
def test_every_row_is_on_one_side_in_its_order_and_twice_the_same(split):
    given = log()
    done, again = split(given), split(given)
    sides = [done.train, done.test] + ([done.validation] if done.validation else [])
    if done.validation:
        both = done.together()
        assert rows(both.train) == sorted(rows(done.train) + rows(done.validation))
        assert rows(both.test) == rows(done.test) and both.validation is None
    assert sorted(row for side in sides for row in rows(side)) == list(range(len(given)))
    assert all(rows(side) == sorted(rows(side)) and side.users is given.users for side in sides)
    assert rows(done.test) == rows(again.test) and rows(done.train) == rows(again.train)


def test_by_time_by_hand():
    # times 0..9 once each: test 0.2 takes 8, 9; of the other 8 validation 0.375 takes 5, 6, 7
    done = splits.by_time(
        events([1] * 10, [9, 0, 8, 1, 7, 2, 6, 3, 5, 4]), test=0.2, validation=0.375
    )
    assert sorted(done.test.frame["timestamp"]) == [8, 9]
    assert sorted(done.validation.frame["timestamp"]) == [5, 6, 7]
    assert sorted(done.train.frame["timestamp"]) == [0, 1, 2, 3, 4]


def test_by_time_keeps_the_events_of_one_time_together():
    # the wanted last 1 of 10 would cut the 4 events at time 5; 4 is nearer to 1 than 10 or 0 is
    done = splits.by_time(events([1] * 10, [0] * 6 + [5] * 4), test=0.1)
    assert (len(done.train), len(done.test)) == (6, 4)
    # 95 at time 0 and 5 at time 1: the wanted 10 lie inside time 0, which can only be train
    done = splits.by_time(events([1] * 100, [0] * 95 + [1] * 5), test=0.1)
    assert (len(done.train), len(done.test)) == (95, 5)
    # 85, 8 and 3 events at times 0, 1, 2: of 11 and 3, 11 is nearer to the wanted 9.6
    done = splits.by_time(events([1] * 96, [0] * 85 + [1] * 8 + [2] * 3), test=0.1)
    assert (len(done.train), len(done.test)) == (85, 11)


@pytest.mark.parametrize("seed", range(5))
def test_by_time_never_lets_the_future_into_the_past(seed):
    done = splits.by_time(log(seed=seed), test=0.2, validation=0.15)
    times = [side.frame["timestamp"] for side in (done.train, done.validation, done.test)]
    assert times[0].max() < times[1].min() and times[1].max() < times[2].min()
    assert abs(len(times[2]) - 80) < 10 and abs(len(times[1]) - 48) < 15


def test_leave_last_out_by_hand():
    # user 1 at times 3 1 2, user 2 once, user 3 at 5 5 (the later line is later), user 4 at 1 2 3 4
    given = events([1, 2, 1, 1, 3, 3, 4, 4, 4, 4], [3, 9, 1, 2, 5, 5, 1, 2, 3, 4])
    done = splits.leave_last_out(given)
    assert done.test.frame["item_id"].tolist() == [0, 5, 9] and done.validation is None
    done = splits.leave_last_out(given, validation=True)
    assert done.test.frame["item_id"].tolist() == [0, 5, 9]
    assert done.validation.frame["item_id"].tolist() == [3, 8]
    assert done.train.frame["item_id"].tolist() == [1, 2, 4, 6, 7]


DAY = 86_400


def dated(users=20, events=6, days=2):
    """A log whose times are dates, each user's events in order of lines."""
    user = np.tile(np.arange(users), events)
    day = np.repeat(np.arange(events) * days // events, users)
    return Interactions.from_columns(user, np.arange(len(user)), timestamp=day * DAY)


def test_lines_of_one_date_are_in_order_where_the_last_line_is_held_out():
    log = events([1, 1, 2, 1, 2, 2], [DAY] * 6)
    split = splits.leave_last_out(log, validation=True)
    assert split.train.frame["timestamp"].tolist() == [DAY, DAY]
    assert split.validation.frame["timestamp"].tolist() == [DAY + 1, DAY + 1]
    assert split.test.frame["timestamp"].tolist() == [DAY + 2, DAY + 2]
    assert log.frame["timestamp"].tolist() == [DAY] * 6  # as it was


def test_models_learn_what_follows_what_where_the_protocol_asks_it():
    split = splits.leave_last_out(dated())
    histories, past = pasts(split.train, Catalog.fit(split.train))
    assert (past["cut"] - past["begin"] == np.repeat(np.arange(5), 20)).all()
    assert len(histories.items) == 100


def test_files_of_dates_are_in_order_of_lines_where_their_parts_meet_on_one():
    whole = dated()
    last = np.arange(len(whole)) >= 100
    parts = splits.files(whole.select(~last), whole.select(last), validation=0.2)
    together = pd.concat([parts.train.frame, parts.validation.frame, parts.test.frame])
    for _, own in together.sort_values("item_id").groupby("user_id"):
        assert (np.diff(own["timestamp"]) > 0).all()
    later = whole.frame["timestamp"].to_numpy() > 0
    parts = splits.files(whole.select(~later), whole.select(later))
    assert set(parts.train.frame["timestamp"]) == {0}  # no user's parts meet on a date


def test_what_happened_at_once_stays_simultaneous():
    log = dated()
    sessions = Interactions.from_frame(log.frame.assign(visit=log.frame["timestamp"]))
    split = splits.leave_last_session_out(sessions, "visit")
    assert set(split.train.frame["timestamp"]) == {0}
    few = pd.concat([dated(50, days=6).frame, dated(2).frame.assign(user_id=[70, 71] * 6)])
    split = splits.leave_last_out(Interactions.from_frame(few))  # two users of 52
    assert (split.train.frame["timestamp"] % DAY == 0).all()


def test_no_room_between_times_is_told(caplog):
    near = Interactions.from_columns([1, 1, 1, 2, 2], range(5), timestamp=[1e-7, 0, 0, 0, 0])
    split = splits.leave_last_out(near)
    assert split.train.frame["timestamp"].tolist() == [0, 0, 0]
    assert "no room" in caplog.text


@pytest.mark.parametrize("seed", range(3))
def test_leave_last_out_agrees_with_a_loop(seed):
    given = log(size=150, users=60, moments=5, seed=seed)
    expected = {"train": [], "validation": [], "test": []}
    for _, history in given.frame.groupby("user_id"):
        in_time = sorted(history["row"], key=lambda row: (given.frame["timestamp"][row], row))
        for place, row in enumerate(in_time):
            left = len(in_time) - 1 - place
            expected["train" if place == 0 or left > 1 else ("test", "validation")[left]].append(
                row
            )
    done = splits.leave_last_out(given, validation=True)
    assert {name: sorted(side) for name, side in expected.items()} == {
        name: rows(getattr(done, name)) for name in expected
    }


def test_leave_last_session_out_by_hand():
    given = Interactions.from_columns(
        # user 1: a ends at 4, b at 3, so a is last though b began later; user 2: one session; user
        # 3: x and y end at 5, y on the later line; user 4: p, q, r in this order. Sessions of one
        # name under two users are two.
        user_id=[1, 1, 1, 1, 2, 2, 3, 3, 3, 4, 4, 4],
        item_id=np.arange(12),
        timestamp=[1, 4, 2, 3, 7, 8, 5, 5, 5, 1, 2, 3],
        visit=["a", "a", "b", "b", "a", "a", "y", "x", "y", "p", "q", "r"],
    )
    done = splits.leave_last_session_out(given, "visit")
    assert done.test.frame["item_id"].tolist() == [0, 1, 6, 8, 11] and done.validation is None
    assert done.train.frame["item_id"].tolist() == [2, 3, 4, 5, 7, 9, 10]
    done = splits.leave_last_session_out(given, "visit", validation=True)
    assert done.test.frame["item_id"].tolist() == [0, 1, 6, 8, 11]
    assert done.validation.frame["item_id"].tolist() == [10]
    assert done.train.frame["item_id"].tolist() == [2, 3, 4, 5, 7, 9]


@pytest.mark.parametrize("seed", range(3))
def test_leave_last_session_out_agrees_with_a_loop(seed):
    given = log(size=150, users=60, moments=8, seed=seed)
    expected = {"train": [], "validation": [], "test": []}
    for _, history in given.frame.groupby("user_id"):
        visits = [visit["row"].tolist() for _, visit in history.groupby("visit")]
        visits.sort(key=lambda visit: max((given.frame["timestamp"][row], row) for row in visit))
        for place, visit in enumerate(visits):
            left = len(visits) - 1 - place
            expected["train" if place == 0 or left > 1 else ("test", "validation")[left]] += visit
    done = splits.leave_last_session_out(given, "visit", validation=True)
    assert {name: sorted(side) for name, side in expected.items()} == {
        name: rows(getattr(done, name)) for name in expected
    }


def test_random_meets_its_shares_and_follows_its_seed():
    given = log(1000)
    done = splits.random(given, test=0.2, validation=0.1, seed=3)
    assert (len(done.test), len(done.validation), len(done.train)) == (200, 80, 720)
    assert rows(done.test) == rows(splits.random(given, test=0.2, seed=3).test)
    assert rows(done.test) != rows(splits.random(given, test=0.2, validation=0.1, seed=4).test)
    # the chosen rows are spread over the log: 200 of 1,000, so about 100 +- 4 * 9 in the first half
    assert 64 < sum(row < 500 for row in rows(done.test)) < 136


def test_by_user_keeps_each_user_whole_and_ignores_the_order_of_lines():
    given = log(1000, users=51)
    done = splits.by_user(given, test=0.2, validation=0.1, seed=1)
    users = [set(side.frame["user_id"]) for side in (done.train, done.validation, done.test)]
    assert [len(side) for side in users] == [36, 4, 10] and len(set.union(*users)) == 50
    shuffled = given.select(np.random.default_rng(0).permutation(1000))
    assert (
        set(splits.by_user(shuffled, test=0.2, validation=0.1, seed=1).test.frame["user_id"])
        == users[2]
    )
    assert (
        set(splits.by_user(given, test=0.2, validation=0.1, seed=2).test.frame["user_id"])
        != users[2]
    )


def test_a_share_of_each_users_events_before_the_last_by_hand():
    # before the last are 4 events of user 1, 2 of user 2, 1 of user 3, and none goes of user 4's
    # one: of 4, 2, 1 a half is 2, 1 and, since a user keeps one, 0
    users, times = [1] * 5 + [2] * 3 + [3] * 2 + [4], [1, 2, 3, 4, 5, 1, 2, 3, 1, 2, 1]
    done = splits.leave_last_out(events(users, times), validation=0.5)
    assert done.test.frame["item_id"].tolist() == [4, 7, 9]
    assert done.validation.frame["item_id"].tolist() == [2, 3, 6]
    assert done.train.frame["item_id"].tolist() == [0, 1, 5, 8, 10]


def test_a_share_of_each_users_sessions_holds_whole_ones():
    given = log(2000, users=40)
    done = splits.leave_last_session_out(given, "visit", validation=0.34)
    sides = [
        set(map(tuple, side.frame[["user_id", "visit"]].to_numpy().tolist()))
        for side in (done.train, done.validation, done.test)
    ]
    # all 39 users have 4 visits: one is tested, and 0.34 of three is one, or seldom two
    assert len(sides[2]) == 39 and 39 <= len(sides[1]) <= 46
    assert len(set.union(*sides)) == sum(map(len, sides)) == 4 * 39


def test_few_events_count_towards_a_share_too():
    # 3,000 users of two events besides the tested one: a tenth of 6,000 is from every fifth user
    users = np.repeat(np.arange(3000), 3)
    given = events(users, np.tile([1, 2, 3], 3000))
    done = splits.leave_last_out(given, validation=0.1, seed=1)
    assert abs(len(done.validation) - 600) < 4 * 22  # binomial, sqrt(3000 * 0.2 * 0.8) = 22
    assert done.validation.frame["timestamp"].eq(2).all()
    backwards = splits.leave_last_out(given.select(np.arange(9000)[::-1]), 0.1, seed=1)
    held = [set(side.validation.frame["item_id"]) for side in (done, backwards)]
    assert held[0] == held[1]
    assert held[0] != set(splits.leave_last_out(given, 0.1, seed=2).validation.frame["item_id"])


def test_a_share_of_a_train_file_without_times_is_random_within_each_user():
    train = log(4000, users=41)
    train = Interactions.from_frame(train.frame.drop(columns="timestamp"))
    only = Interactions.from_columns(user_id=[99], item_id=[1])
    whole = Interactions.from_frame(pd.concat([train.frame, only.frame]))
    done = splits.files(whole, test=only, validation=0.1)
    assert abs(len(done.validation) - 400) <= 40  # at most one a user is rounded
    share = done.validation.frame["user_id"].value_counts() / train.frame["user_id"].value_counts()
    assert len(share) == 40 and share.between(0.085, 0.12).all()
    assert 99 in set(done.train.frame["user_id"])  # who keeps the only event
    assert sorted(rows(done.validation)) == rows(done.validation)
    assert len(done.train) + len(done.validation) == 4001
    assert 0.4 < np.mean(np.array(rows(done.validation)) < 2000) < 0.6
    again, other = (splits.files(whole, only, 0.1, seed=seed) for seed in (0, 1))
    assert rows(again.validation) == rows(done.validation) != rows(other.validation)


def test_nobodys_only_event_is_held_out():
    train = Interactions.from_columns(user_id=np.arange(200), item_id=np.arange(200))
    with pytest.raises(ValueError, match="validation part .*: 0.9 of each user's .* keeps one"):
        splits.files(train, train, validation=0.9)
    given = events(np.repeat(np.arange(200), 2), np.tile([1, 2], 200))
    with pytest.raises(ValueError, match="validation part .*: a user needs two events"):
        splits.leave_last_out(given, validation=0.9)


def test_a_share_of_a_train_file_is_held_out_as_the_test_was():
    given = log(4000, users=41, moments=1000)
    by_time, last = splits.by_time(given, test=0.1), splits.leave_last_out(given)
    whole = splits.by_time(given, test=0.1, validation=0.1)
    again = splits.files(by_time.train, by_time.test, validation=0.1)
    assert rows(again.validation) == rows(whole.validation)
    whole = splits.leave_last_out(given, validation=0.1)
    again = splits.files(last.train, last.test, validation=0.1)
    assert rows(again.validation) == rows(whole.validation)
    mixed = splits.random(given, test=0.1)
    again = splits.files(mixed.train, mixed.test, validation=0.1)
    assert 0.35 < (again.validation.frame["timestamp"] < 500).mean() < 0.65


@pytest.mark.parametrize("name", ["by_time", "leave_last_out", "random", "by_user"])
def test_every_split_takes_a_validation_file_as_it_is(name, tmp_path):
    (tmp_path / "validation.csv").write_text("user_id,item_id\n1,49\nx,7\n")
    split = getattr(splits, name)
    done, plain = split(log(), validation=tmp_path / "validation.csv"), split(log())
    assert done.validation.frame.to_dict("list") == {"user_id": ["1", "x"], "item_id": [49, 7]}
    assert rows(done.train) == rows(plain.train) and rows(done.test) == rows(plain.test)
    assert set(done.train.frame["user_id"]) == set(plain.train.frame["user_id"].astype(str))
    given = Interactions.from_columns(user_id=[1], item_id=[7])
    assert split(log(), validation=given).validation.frame.equals(given.frame)


def test_files_that_were_split_before(tmp_path):
    train = Interactions.from_columns(
        user_id=[1, 2], item_id=[7, 8], items=pd.DataFrame({"item_id": [7, 8, 9]})
    )
    (tmp_path / "test.csv").write_text("u,item_id\n1,9\n3,7\n")
    pd.DataFrame({"u": [2], "item_id": [9]}).to_parquet(tmp_path / "validation.parquet")
    done = splits.files(
        train,
        test=str(tmp_path / "test.csv"),
        validation=tmp_path / "validation.parquet",
        columns={"user_id": "u"},
    )
    assert done.test.frame.to_dict("list") == {"user_id": [1, 3], "item_id": [9, 7]}
    assert done.validation.frame.to_dict("list") == {"user_id": [2], "item_id": [9]}
    assert done.train is train and done.test.items is train.items
    assert splits.files(train, test=train.select([0])).validation is None


def test_files_of_two_dtypes_of_ids_meet_as_strings(tmp_path):
    (tmp_path / "train.csv").write_text("user_id,item_id\n1,22752\n2,21\n")
    (tmp_path / "test.csv").write_text("user_id,item_id\n1,85123A\n2,21\n")
    items = pd.DataFrame({"item_id": [22752], "title": ["Mug"]})
    done = splits.files(
        Interactions.from_csv(tmp_path / "train.csv", items=items), tmp_path / "test.csv"
    )
    assert done.train.frame["item_id"].tolist() == ["22752", "21"] and done.train.frame[
        "user_id"
    ].tolist() == [1, 2]
    assert done.test.frame["item_id"].tolist() == ["85123A", "21"] and done.test.items[
        "item_id"
    ].tolist() == ["22752"]


@pytest.mark.parametrize(
    "call, says",
    [
        (
            lambda: splits.by_time(Interactions.from_columns(user_id=[1, 2], item_id=[1, 2])),
            "by_time needs timestamps",
        ),
        (
            lambda: splits.leave_last_out(Interactions.from_columns(user_id=[1], item_id=[1])),
            "leave_last_out needs timestamps",
        ),
        (
            lambda: splits.by_time(events([1, 2, 3], [5, 5, 5])),
            "3 events that all happened at the same time",
        ),
        (lambda: splits.by_time(events([1, 2, 3], [5, 5, 6]), validation=0.3), "same time"),
        (lambda: splits.leave_last_out(events([1, 2], [1, 2])), "test part would be empty"),
        (
            lambda: splits.leave_last_out(events([1, 1], [1, 2]), validation=True),
            "validation part would be empty",
        ),
        (
            lambda: splits.leave_last_session_out(
                Interactions.from_columns(user_id=[1], item_id=[1]), "item_id"
            ),
            "leave_last_session_out needs timestamps",
        ),
        (
            lambda: splits.leave_last_session_out(events([1, 1], [1, 2]), "visit"),
            "needs the column 'visit'; there are",
        ),
        (lambda: splits.leave_last_session_out(with_gap(), "visit"), "1 of 2 rows have no 'visit'"),
        (
            lambda: splits.leave_last_session_out(events([1, 2], [1, 2]), "item_id"),
            "test part would be empty",
        ),
        (
            lambda: splits.leave_last_session_out(
                events([1, 1], [1, 2]), "item_id", validation=True
            ),
            "validation part would be empty",
        ),
        (lambda: splits.random(events([1, 2], [1, 2]), test=0.1), "test part would be empty"),
        (lambda: splits.by_user(events([1, 1], [1, 2]), test=0.9), "train part would be empty"),
        (lambda: splits.random(log(), test=0), "test is a share .* some for train, got 0"),
        (lambda: splits.by_user(log(), test=0.6, validation=1.0), "validation is a share of the"),
        (lambda: splits.by_time(log(), test=20), "leaves some for train, got 20"),
        (lambda: splits.by_time(log(), test=0.2, validation=-0.1), "or a file; got -0.1"),
        (lambda: splits.by_time(log(), validation=True), "or a file; got True"),
        (lambda: splits.leave_last_out(log(), validation=2), "or a file; got 2"),
        (lambda: splits.files(log(), log(), validation=2), "or a file; got 2"),
    ],
    ids=range(20),
)
def test_what_cannot_be_split_is_named(call, says):
    with pytest.raises(ValueError, match=says):
        call()


@pytest.mark.parametrize(
    "call, says",
    [
        (
            lambda: splits.leave_last_out(events(range(1000), range(1000))),
            "test part .*: a user needs two events for a test, .* and none has over 1",
        ),
        (
            lambda: splits.leave_last_out(events([1, 1, 2, 2], [1, 2, 3, 4]), validation=True),
            "validation part .*: a user needs .* three for a validation, and none has over 2",
        ),
        (
            lambda: splits.leave_last_session_out(events(range(9), range(9)), "item_id"),
            "test part .*: a user needs two sessions for a test, .* and none has over 1",
        ),
        (
            lambda: splits.by_user(events([1] * 500 + [2] * 500, range(1000)), test=0.1),
            "test part .*: 2 users are too few",
        ),
        (
            lambda: splits.random(events([1, 2], [1, 2]), test=0.1),
            "test part .*: 2 interactions are too few",
        ),
    ],
    ids=range(5),
)
def test_an_empty_part_has_its_true_reason(call, says):
    with pytest.raises(ValueError, match=says):
        call()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 12), min_size=2, max_size=40),
    st.floats(0.01, 0.99),
    st.sampled_from([np.int64, np.float64]),
)
def test_the_cut_by_time_is_the_nearest_of_all_cuts(times, share, dtype):
    times = np.array(times, dtype) / (2 if dtype is np.float64 else 1)
    moments = np.unique(times)
    if len(moments) < 2:
        with pytest.raises(ValueError, match="all happened at the same time"):
            latest(times, share)
        return
    missed = [abs((times >= moment).sum() - share * len(times)) for moment in moments[1:]]
    np.testing.assert_array_equal(latest(times, share), times >= moments[1 + np.argmin(missed)])
