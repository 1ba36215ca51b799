"""Histories: by hand, against a slow twin, and what they must never hold."""

import numpy as np
import pytest

from tf_recall.data.histories import Histories, Seen, by_user

# user 1: a at 5, b at 9, a at 5, c at 7; user 2: c at 3, d at 3; items a=1, b=2, c=3, d=4
USERS = np.array([1, 1, 2, 1, 2, 1])
ITEMS = np.array([1, 2, 3, 1, 4, 3], np.int32)
TIMES = np.array([5, 9, 3, 5, 3, 7])


def log(seed, num=400, users=12, items=9, times=40):
    rng = np.random.default_rng(seed)
    sides = rng.integers(0, users, num), rng.integers(0, items, num).astype(np.int32)
    return *sides, rng.integers(0, times, num)


def test_by_hand():
    histories, lines = Histories.with_lines(USERS, ITEMS, TIMES, 4)
    assert histories.offsets.tolist() == [0, 0, 4, 6, 6]
    assert histories.items.tolist() == [1, 1, 3, 2, 3, 4]  # a a c b, then c d
    assert lines.tolist() == [0, 3, 5, 1, 2, 4]
    assert histories.times.tolist() == [5, 5, 7, 9, 3, 3]
    assert histories.of(1).tolist() == [1, 1, 3, 2] and histories.of(3).tolist() == []
    assert histories.users.tolist() == [1, 1, 1, 1, 2, 2]
    assert histories.last(3).tolist() == [[0, 0, 0], [1, 3, 2], [0, 3, 4], [0, 0, 0]]
    # both a at time 5 begin at 0, so do c and d of user 2 at their own first position
    assert histories.cuts().tolist() == [0, 0, 2, 3, 4, 4]


def test_what_an_event_saw_by_hand():
    histories = Histories.fit(USERS, ITEMS, TIMES, 4)
    begin, cut = histories.offsets[histories.users], histories.cuts()
    found = histories.before(begin, cut, 2, histories.items)
    # a, a: nothing before; c: a a; b: the last two of a a c; c and d: nothing
    assert found.tolist() == [[0, 0], [0, 0], [1, 1], [1, 3], [0, 0], [0, 0]]


def test_without_times_the_lines_are_the_order():
    histories = Histories.fit(USERS, ITEMS, None, 3)
    assert histories.times is None and histories.of(1).tolist() == [1, 2, 1, 3]
    assert histories.cuts().tolist() == [0, 1, 2, 3, 4, 5]


def test_an_unknown_side_is_left_out():
    histories = Histories.fit(np.array([0, 1, 1]), np.array([1, 0, 2]), None, 2)
    assert histories.items.tolist() == [2] and histories.offsets.tolist() == [0, 0, 1]
    nobody = Histories.fit(np.zeros(2, int), np.array([1, 2]), None, 3)
    assert nobody.last(2).tolist() == [[0, 0]] * 3 and len(nobody.cuts()) == 0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("length", [1, 3, 50])
def test_matches_the_slow_twin(seed, length):
    users, items, times = log(seed)
    histories, lines = Histories.with_lines(users, items, times, 12)
    begin, cut = histories.offsets[histories.users], histories.cuts()
    found = histories.before(begin, cut, length, histories.items)
    for row, line in zip(found, lines, strict=True):
        past = [
            (times[other], other)
            for other in range(len(users))
            if users[other] == users[line] and times[other] < times[line] and items[other] > 0
        ]
        expected = [items[other] for _, other in sorted(past) if items[other] != items[line]]
        expected = expected[-length:]
        assert row.tolist() == [0] * (length - len(expected)) + expected


@pytest.mark.parametrize("seed", range(3))
def test_what_comes_later_changes_nothing(seed):
    """Events at or after an event's time, whatever they are, cannot move what it saw."""
    users, items, times = log(seed)
    moment = 20
    rng = np.random.default_rng(seed + 100)
    others = np.where(times >= moment, rng.integers(1, 9, len(items)), items).astype(np.int32)

    def seen(items):
        histories, lines = Histories.with_lines(users, items, times, 12)
        begin = histories.offsets[histories.users]
        found = histories.before(begin, histories.cuts(), 30)
        by_line = np.zeros((len(users), 30), np.int32)
        by_line[lines] = found
        return by_line[(times <= moment) & (items > 0) & (users > 0)]

    known = (items > 0) | (times < moment)
    np.testing.assert_array_equal(seen(np.where(known, items, 1)), seen(np.where(known, others, 1)))


def test_one_item_again_and_again():
    """Nine events of the positive among ten: the one other item is found, however far back."""
    items = np.array([7] + [5] * 9, np.int32)
    histories = Histories.fit(np.ones(10, int), items, np.arange(10), 2)
    found = histories.before(np.array([0]), np.array([9]), 2, np.array([5]))
    assert found.tolist() == [[0, 7]]


def test_seen_is_what_a_history_holds():
    users, items, times = log(7)
    histories, seen = Histories.fit(users, items, times, 12), Seen.fit(users, items, 12)
    np.testing.assert_array_equal(histories.seen().rows, seen.rows)
    np.testing.assert_array_equal(histories.seen().offsets, seen.offsets)


@pytest.mark.parametrize("seed", range(3))
def test_order_by_user_then_time_then_line(seed):
    users, _, times = log(seed)
    for moments in (times, times + 1_600_000_000, times - 20, np.sort(times), times * 2**57):
        order = np.lexsort((moments, users))
        np.testing.assert_array_equal(by_user(users, moments, 12), order)
    np.testing.assert_array_equal(by_user(users, None, 12), np.argsort(users, kind="stable"))
