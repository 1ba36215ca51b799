"""Rolling evaluation: each held-out event is asked with the history at that moment, no more."""

import numpy as np
import pandas as pd
import pytest

import tf_recall as tr
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.evaluation.cases import cases_by_row, cases_by_user
from tf_recall.recommend.rankings import Popularity

TRAIN = [("ann", "a", 1), ("ann", "b", 2), ("bob", "c", 1), ("ann", "c", 30)]
TEST = [("ann", "c", 20), ("eve", "a", 10), ("eve", "b", 12), ("eve", "a", 12), ("bob", "x", 11)]
TEST += [("bob", "a", 15), ("ann", "a", 25)]


def frame(rows, times=True):
    made = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    return Interactions.from_frame(made if times else made.drop(columns="timestamp"))


def pasts(cases):
    return ["".join(cases.past.items.decode(row)) for row in cases.past.every.rows()]


def test_by_hand():
    catalog = Catalog.fit(frame(TRAIN))
    cases = cases_by_row(frame(TEST), catalog)
    # Ann's c of time 30 comes later than both of her events; Bob's x is no item of the catalog.
    assert pasts(cases) == ["ab", "", "a", "a", "c", "c", "abc"]


def test_what_lies_between_train_and_test_is_known_too():
    catalog = Catalog.fit(frame(TRAIN))
    cases = cases_by_row(frame(TEST), catalog, earlier=frame([("eve", "c", 5), ("ann", "a", 22)]))
    assert pasts(cases) == ["ab", "c", "ca", "ca", "c", "c", "abca"]


def test_without_times_lines_follow_one_another():
    catalog = Catalog.fit(frame(TRAIN, times=False))
    cases = cases_by_row(frame(TEST, times=False), catalog)
    assert pasts(cases) == ["abc", "", "a", "ab", "c", "c", "abcc"]


@pytest.mark.parametrize("times", [True, False])
def test_users_are_asked_with_all_that_lies_before_the_test(times):
    catalog = Catalog.fit(frame(TRAIN, times))
    earlier = frame([("eve", "c", 5), ("ann", "a", 22), ("bob", "x", 5), ("dan", "a", 5)], times)
    cases = cases_by_user(frame(TEST, times), catalog, earlier=earlier)
    assert cases.user_id.tolist() == ["ann", "eve", "bob"]
    # Ann's c of time 30 is of the training part, whatever the times of her test
    expected = {"eve": "c", "bob": "c", "ann": "abac" if times else "abca"}
    assert pasts(cases) == [expected[user] for user in cases.user_id]
    left = cases.without_seen(catalog)
    assert {
        u: catalog.items.decode(left.rows[left.owner == n]).tolist()
        for n, u in enumerate(left.user_id)
    } == {"eve": ["a", "b"], "bob": ["a"]}
    assert cases_by_user(frame(TEST, times), catalog).past is None


@pytest.mark.parametrize("timed", ["train", "earlier", "test"])
def test_where_a_part_lacks_times_parts_and_lines_follow_one_another(timed):
    catalog = Catalog.fit(frame(TRAIN, times=timed == "train"))
    earlier = frame([("eve", "c", 5), ("ann", "a", 22)], times=timed == "earlier")
    cases = cases_by_row(frame(TEST, times=timed == "test"), catalog, earlier=earlier)
    assert pasts(cases) == ["abca", "c", "ca", "cab", "c", "c", "abcac"]


@pytest.mark.parametrize("seed", range(4))
def test_no_event_sees_itself_or_what_came_later(seed):
    """Against a loop over all events, with ties, strangers and unknown items."""
    rng = np.random.default_rng(seed)

    def log(num, users, items, low, high):
        names = [f"u{n}" for n in rng.integers(0, users, num)]
        things = [f"i{n}" for n in rng.integers(0, items, num)]
        return list(zip(names, things, rng.integers(low, high, num).tolist(), strict=True))

    train, test = log(200, 12, 20, 0, 60), log(150, 18, 25, 30, 90)
    catalog = Catalog.fit(frame(train))
    cases = cases_by_row(frame(test), catalog)
    known = set(catalog.items.ids)
    for row, (user, _, time) in zip(cases.past.every.rows(), test, strict=True):
        events = [
            (when, held, line, item)
            for held, part in enumerate((train, test))
            for line, (who, item, when) in enumerate(part)
            if who == user and when < time and item in known
        ]
        found = catalog.items.decode(row[row > 0]).tolist()
        assert found == [item for *_, item in sorted(events)]


class Recorder(tr.Recommender):
    """Answers nothing, and keeps what it is asked."""

    takes_history = True

    def __init__(self, catalog):
        self.catalog = catalog


def requests(recommender, catalog, exclude_seen=True):
    return cases_by_row(frame(TEST), catalog).request(
        slice(None), recommender, catalog, exclude_seen
    )


def test_a_recommender_is_asked_with_as_much_as_it_looks_at():
    catalog = Catalog.fit(frame(TRAIN))
    recorder = Recorder(catalog)
    asked = requests(recorder, catalog)
    assert ["".join(row) for row in asked["history"]] == ["ab", "", "a", "a", "c", "c", "abc"]
    # what is not in the training part: of Eve, her own first item; of Ann, her first held-out one
    assert ["".join(row) for row in asked["exclude"]] == ["", "", "a", "a", "", "", "c"]
    recorder.history_length = 1
    assert ["".join(row) for row in requests(recorder, catalog)["history"]] == [
        *["b", "", "a", "a"],
        *["c", "c", "c"],
    ]
    recorder.takes_history = False
    asked = requests(recorder, catalog)
    assert "history" not in asked and asked["user_id"].tolist() == [row[0] for row in TEST]
    assert "exclude" not in requests(recorder, catalog, exclude_seen=False)


def test_a_known_user_without_a_past_is_not_answered_from_what_came_later():
    """All of Ann's training events lie after the held-out one: what is stored of her is later."""
    catalog = Catalog.fit(frame([("ann", "a", 50), ("bob", "b", 1)]))
    cases = cases_by_row(frame([("ann", "b", 10), ("bob", "a", 10)]), catalog)
    asked = cases.request(slice(None), Recorder(catalog), catalog, True)
    assert asked["user_id"].tolist() == ["", "bob"]
    assert ["".join(row) for row in asked["history"]] == ["", "b"]


def test_what_is_in_the_past_is_not_to_be_found_again():
    catalog = Catalog.fit(frame(TRAIN))
    cases = cases_by_row(frame([*TEST, ("eve", "b", 40)]), catalog)
    left = cases.without_seen(catalog)
    # Ann has a and c in train; Eve's second b was hers at 12; x stays: no recommender can reach it
    assert left.user_id.tolist() == ["eve", "eve", "bob", "bob"]
    assert pasts(left) == ["", "a", "c", "c"]


def test_a_model_of_histories_learns_from_held_out_events_what_one_of_ids_cannot():
    """Each user likes one of four groups; all held-out users are new.

    The first held-out event of a user is anybody's guess, 1 in 4 groups; from the second on the
    history tells the group.
    """
    rng = np.random.default_rng(0)
    rows = []
    for user in range(300):
        group = rng.integers(4)
        items = rng.permutation(10)[:6]
        rows += [
            (f"u{user}", f"g{group}_{item}", user * 100 + step) for step, item in enumerate(items)
        ]
    split = tr.by_time(frame(rows), test=0.2)
    catalog = Catalog.fit(split.train)
    cases = cases_by_row(split.test, catalog)
    found = {}
    for name, channel in {"items": tr.ItemCF(), "popular": Popularity()}.items():
        channel.fit(split.train, catalog)
        found[name] = tr.evaluate(channel, cases, catalog, ks=(10,)).metrics["recall@10"]
    assert found["items"] > 0.75 > 0.4 > found["popular"]
