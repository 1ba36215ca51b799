import numpy as np
import pandas as pd
import pytest

from tf_recall.data import splits
from tf_recall.data.interactions import Interactions


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
    assert sorted(row for side in sides for row in rows(side)) == list(range(len(given)))
    assert all(rows(side) == sorted(rows(side)) and side.users is given.users for side in sides)
    assert rows(done.test) == rows(again.test) and rows(done.train) == rows(again.train)


def test_by_time_by_hand():
    # times 0..9 once each: test 0.2 takes 8, 9 and validation 0.3 takes 5, 6, 7
    done = splits.by_time(
        events([1] * 10, [9, 0, 8, 1, 7, 2, 6, 3, 5, 4]), test=0.2, validation=0.3
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
    assert abs(len(times[2]) - 80) < 10 and abs(len(times[1]) - 60) < 15


def test_leave_last_out_by_hand():
    # user 1 at times 3 1 2, user 2 once, user 3 at 5 5 (the later line is later), user 4 at 1 2 3 4
    given = events([1, 2, 1, 1, 3, 3, 4, 4, 4, 4], [3, 9, 1, 2, 5, 5, 1, 2, 3, 4])
    done = splits.leave_last_out(given)
    assert done.test.frame["item_id"].tolist() == [0, 5, 9] and done.validation is None
    done = splits.leave_last_out(given, validation=True)
    assert done.test.frame["item_id"].tolist() == [0, 5, 9]
    assert done.validation.frame["item_id"].tolist() == [3, 8]
    assert done.train.frame["item_id"].tolist() == [1, 2, 4, 6, 7]


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
    assert (len(done.test), len(done.validation), len(done.train)) == (200, 100, 700)
    assert rows(done.test) != rows(splits.random(given, test=0.2, validation=0.1, seed=4).test)
    # the chosen rows are spread over the log: 200 of 1,000, so about 100 +- 4 * 9 in the first half
    assert 64 < sum(row < 500 for row in rows(done.test)) < 136


def test_by_user_keeps_each_user_whole_and_ignores_the_order_of_lines():
    given = log(1000, users=51)
    done = splits.by_user(given, test=0.2, validation=0.1, seed=1)
    users = [set(side.frame["user_id"]) for side in (done.train, done.validation, done.test)]
    assert [len(side) for side in users] == [35, 5, 10] and len(set.union(*users)) == 50
    shuffled = given.select(np.random.default_rng(0).permutation(1000))
    assert (
        set(splits.by_user(shuffled, test=0.2, validation=0.1, seed=1).test.frame["user_id"])
        == users[2]
    )
    assert (
        set(splits.by_user(given, test=0.2, validation=0.1, seed=2).test.frame["user_id"])
        != users[2]
    )


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
        (lambda: splits.random(log(), test=0), "leave some for train, got 0 and 0.0"),
        (lambda: splits.by_user(log(), test=0.6, validation=0.4), "leave some for train"),
        (lambda: splits.by_time(log(), test=20), "leave some for train"),
        (lambda: splits.by_time(log(), test=0.2, validation=-0.1), "leave some for train"),
    ],
    ids=range(17),
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
