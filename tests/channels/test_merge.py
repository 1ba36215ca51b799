"""Merges by hand, against loops from the docstrings, and nobody starves in whatever order the
channels stand.
"""

import itertools

import numpy as np
import pytest

from tf_recall.channels.merge import Merged, Quotas, RoundRobin
from tf_recall.channels.rank_fusion import MarginalRank, ReciprocalRank

MERGES = {
    "turns": RoundRobin(),
    "quotas": Quotas({"c": 4, "a": 1, "d": 0}),
    "ranks": ReciprocalRank(),
    "weighted": ReciprocalRank(5, {"b": 3.0, "e": 0.5}),
}


def merge(kind, lists, k, begins=None) -> Merged:
    return kind.merge({name: np.array(rows, np.int32) for name, rows in lists.items()}, k, begins)


def world(seed, count=40, num=5, items=30, width=12):
    """Lists that overlap, some with repeats, holes, or nothing at all, of different lengths."""
    rng = np.random.default_rng(seed)
    lists = {
        name: rng.integers(0, items, (count, width - 2 * at))
        for at, name in enumerate("abcde"[:num])
    }
    for rows in lists.values():
        rows[rng.random(count) < 0.15] = 0
    return lists, rng.integers(0, num, count)


def test_turns_by_hand():
    # 4 of a, 5 of b; a has 6 left (4 and 5 are taken), b 9 (5 and 4 are); then nobody has anything.
    # c is empty. In the second row a gives 1, b 2, c 3; a 4 and nothing more, b nothing new, c 5.
    lists = {"a": [[4, 5, 6], [1, 4, 0]], "b": [[5, 4, 9], [2, 1, 2]], "c": [[0, 0], [3, 5]]}
    rows, ranks = merge(RoundRobin(), lists, k=6)
    assert rows.tolist() == [[4, 5, 6, 9, 0, 0], [1, 2, 3, 4, 5, 0]]
    first = [[1, 2, 0], [2, 1, 0], [3, 0, 0], [0, 3, 0], [0, 0, 0], [0, 0, 0]]
    second = [[1, 2, 0], [0, 1, 0], [0, 0, 1], [2, 0, 0], [0, 0, 2], [0, 0, 0]]
    assert ranks.tolist() == [first, second]
    assert rows.dtype == ranks.dtype == np.int32
    # b begins, then c that has nothing, then a: 5, 4, and b's 9 before a's 6. In the second row c
    # begins.
    assert merge(RoundRobin(), lists, 6, [1, 2]).rows.tolist() == [
        [5, 4, 9, 6, 0, 0],
        [3, 1, 2, 5, 4, 0],
    ]


def test_quotas_by_hand():
    # b may give two and c one: b 5, c 5 is taken so 6, b 7; then all take turns: a 1, b 8, c (6, 5
    # taken) nothing, a 2.
    lists = {"a": [[1, 2, 3]] * 2, "b": [[5, 7, 8]] * 2, "c": [[5, 6, 0]] * 2}
    rows, ranks = merge(Quotas({"b": 2, "c": 1}), lists, k=6)
    assert rows.tolist() == [[5, 6, 7, 1, 8, 2]] * 2
    assert ranks[0, 0].tolist() == [0, 1, 1]
    # Of quotas that are more than k, turn by turn: b and c give one each.
    assert merge(Quotas({"b": 9, "c": 9}), lists, k=2).rows.tolist() == [[5, 6]] * 2
    # What c cannot fill of its nine goes to all: 5, 6; then a, b, a, b.
    assert merge(Quotas({"c": 9}), lists, k=6).rows.tolist() == [[5, 6, 1, 7, 2, 8]] * 2


def test_reciprocal_ranks_by_hand():
    # With constant 1: 7 has 1/2 of a and 1/4 of b, 3/4; 8 has 1/3 + 1/2 = 5/6; 9 has 1/4 of a and
    # 1/3 of b = 7/12.
    lists = {"a": [[7, 8, 9], [1, 2, 0]], "b": [[8, 9, 7], [3, 4, 0]]}
    rows, ranks = merge(ReciprocalRank(1), lists, k=4)
    # In the second row nothing is shared: of equal scores a's comes first, its turn is sooner.
    assert rows.tolist() == [[8, 7, 9, 0], [1, 3, 2, 4]]
    assert ranks[0].tolist() == [[2, 1], [1, 3], [3, 2], [0, 0]]
    assert merge(ReciprocalRank(1), lists, 4, [1, 1]).rows.tolist() == [[8, 7, 9, 0], [3, 1, 4, 2]]
    # a twice: 7 has 1 + 1/4 = 5/4, 8 has 2/3 + 1/2 = 7/6, 9 has 1/2 + 1/3 = 5/6; 1, 2 have 1, 2/3
    # and 3, 4 1/2, 1/3.
    assert merge(ReciprocalRank(1, {"a": 2}), lists, k=4).rows.tolist() == [
        [7, 8, 9, 0],
        [1, 2, 3, 4],
    ]


def slow(kind, lists, k, begins):
    """One row, from the docstrings."""
    names = list(lists)
    rank = {item: {} for rows in lists.values() for item in rows if item}
    for name, rows in lists.items():
        for at, item in enumerate(rows, 1):
            if item:
                rank[item].setdefault(name, at)
    if isinstance(kind, ReciprocalRank):

        def key(item):
            score = sum(
                kind.weights.get(name, 1) / (kind.constant + at) for name, at in rank[item].items()
            )
            return -round(score, 9), min(
                (at, (names.index(name) - begins) % len(names)) for name, at in rank[item].items()
            )

        merged = sorted(rank, key=key)[:k]
    else:
        merged, turns = [], names[begins:] + names[:begins]
        for quotas in ([kind.quotas] if isinstance(kind, Quotas) else []) + [
            dict.fromkeys(names, k)
        ]:
            left, going = {name: quotas.get(name, 0) for name in names}, True
            while going:
                going = False
                for name in turns:
                    fresh = [item for item in lists[name] if item and item not in merged]
                    if fresh and left[name] and len(merged) < k:
                        merged.append(fresh[0])
                        left[name] -= 1
                        going = True
    merged += [0] * (k - len(merged))
    return merged, [[rank.get(item, {}).get(name, 0) for name in names] for item in merged]


@pytest.mark.parametrize("k", [1, 3, 10, 40])
@pytest.mark.parametrize("name", MERGES)
def test_against_a_loop(name, k):
    lists, begins = world(k)
    rows, ranks = merge(MERGES[name], lists, k, begins)
    for line, begin in enumerate(begins):
        one = {name: rows[line].tolist() for name, rows in lists.items()}
        assert (rows[line].tolist(), ranks[line].tolist()) == slow(MERGES[name], one, k, begin)


def test_nobody_starves_in_any_order():
    rng = np.random.default_rng(0)
    lists = {
        name: np.stack([rng.choice(40, 25, replace=False) + 1 for _ in range(30)])
        for name in "abcd"
    }
    for order in itertools.permutations(lists):
        rows, _ = merge(RoundRobin(), {name: lists[name] for name in order}, k=23)
        for n in (4, 10, 23):
            for name in order:  # the first n hold each channel's n // 4 best
                best = lists[name][:, : n // 4]
                assert (best[:, :, None] == rows[:, None, :n]).any(axis=2).all(), (order, name, n)


def test_what_channels_give_differs_by_one_at_most():
    # Nothing in common, so whose list an item is on gave it; c runs out after two.
    lists = {
        "a": np.arange(1, 31)[None],
        "b": np.arange(31, 61)[None],
        "c": np.array([[61, 62]]),
        "d": [[*range(63, 93)]],
    }
    for order in itertools.permutations(lists):
        _, ranks = merge(RoundRobin(), {name: lists[name] for name in order}, k=41)
        # among the first 1, 2, ...
        gave = dict(zip(order, np.cumsum(ranks[0] > 0, axis=0).T, strict=True))
        assert gave["c"][-1] == 2
        most = np.max([gave[name] - gave[other] for name in "abd" for other in "abd"])
        assert most == 1 and (gave["c"] >= np.minimum(2, gave["a"] - 1)).all()


def test_whose_turn_is_first_shares_out_lists_shorter_than_the_channels():
    lists = {name: np.full((12, 1), at) for at, name in enumerate("abcdef", 1)}
    rows, _ = merge(RoundRobin(), lists, 2, np.arange(12) % 6)
    assert np.bincount(rows.ravel()).tolist() == [0, *[4] * 6]
    assert np.bincount(merge(RoundRobin(), lists, 2).rows.ravel()).tolist() == [0, 12, 12]


def test_the_order_of_channels_is_nothing_to_ranks_but_where_they_tie():
    lists, begins = world(3)
    names = list(lists)
    rows, ranks = merge(ReciprocalRank(), lists, 20, begins)
    for order in itertools.islice(itertools.permutations(range(5)), 1, None, 17):
        # With a weight each, nothing ties.
        kind = ReciprocalRank(60, dict(zip(names, [1.0, 1.1, 1.23, 1.37, 1.51], strict=True)))
        there = merge(kind, lists, 20)
        other = merge(kind, {names[at]: lists[names[at]] for at in order}, 20)
        np.testing.assert_array_equal(there.rows, other.rows)
        np.testing.assert_array_equal(there.ranks[:, :, list(order)], other.ranks)
    # Without weights the scores are the same, and so whoever has the same ranks ties exactly.
    turned = merge(
        ReciprocalRank(),
        {name: lists[name] for name in names[1:] + names[:1]},
        20,
        (begins - 1) % 5,
    )
    np.testing.assert_array_equal(rows, turned.rows)
    np.testing.assert_array_equal(ranks, np.roll(turned.ranks, 1, axis=2))


def test_sums_of_the_same_terms_tie_whatever_order_they_are_added_in():
    # Each of 11 items is first of one channel, second of another, and so on: all tie, and come turn
    # by turn.
    lists = {f"c{at}": np.roll(np.arange(1, 12), -at)[None] for at in range(11)}
    for begin in range(11):
        rows, _ = merge(ReciprocalRank(), lists, 11, [begin])
        assert rows[0].tolist() == np.roll(np.arange(1, 12), -begin).tolist()


@pytest.mark.parametrize("name", MERGES)
def test_a_row_is_merged_by_itself_and_shorter_lists_are_the_beginning(name, monkeypatch):
    lists, begins = world(5)
    whole = merge(MERGES[name], lists, 15, begins)
    lines = np.array([31, 2, 2, 17])
    some = merge(
        MERGES[name], {name: rows[lines] for name, rows in lists.items()}, 15, begins[lines]
    )
    np.testing.assert_array_equal(some.rows, whole.rows[lines])
    np.testing.assert_array_equal(merge(MERGES[name], lists, 6, begins).rows, whole.rows[:, :6])
    monkeypatch.setattr("tf_recall.channels.merge.BLOCK", 7)
    for ours, theirs in zip(merge(MERGES[name], lists, 15, begins), whole, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", ["turns", "quotas"])
def test_the_first_k_of_each_list_are_enough(name):
    rng = np.random.default_rng(7)
    lists = {
        each: np.stack([rng.choice(9, 7, replace=False) + 1 for _ in range(40)]) for each in "abcde"
    }
    begins = rng.integers(0, 5, 40)
    shorter = {name: rows[:, :3] for name, rows in lists.items()}
    np.testing.assert_array_equal(
        merge(MERGES[name], lists, 3, begins).rows, merge(MERGES[name], shorter, 3, begins).rows
    )


def test_nothing_at_all():
    nothing = {"a": np.zeros((2, 0)), "c": np.zeros((2, 3), int), "d": np.zeros((2, 0), int)}
    for kind in (RoundRobin(), Quotas({"c": 4}), ReciprocalRank()):
        rows, ranks = kind.merge(nothing, 4)
        assert (
            not rows.any() and not ranks.any() and rows.shape == (2, 4) and ranks.shape == (2, 4, 3)
        )
        assert kind.merge({"c": np.zeros((0, 3), int)}, 4).rows.shape == (0, 4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Quotas({"a": 3, "b": -1}), "whole number of at least 0, got {'b': -1}"),
        (lambda: Quotas({"a": 2.5}), "whole number of at least 0, got {'a': 2.5}"),
        (lambda: ReciprocalRank(-1), "at least 0, got -1"),
        (lambda: ReciprocalRank(weights={"a": 0}), "above 0, got {'a': 0}"),
        (lambda: MarginalRank(weights={"a": -1}), "at least 0, got {'a': -1}"),
        (lambda: MarginalRank(by="score"), "by is 'ranks' or 'scores', got 'score'"),
        (lambda: MarginalRank(by="scores").merge({"a": [[1]]}, 1), "give the scores of the lists"),
        (
            lambda: MarginalRank(by="scores").merge({"a": [[1]]}, 1, scores={"a": [[1.0, 2.0]]}),
            r"scores of 'a' are of shape \(1, 2\), its list of \(1, 1\)",
        ),
        (lambda: RoundRobin().merge({}, 3), "no channel to merge"),
        (lambda: RoundRobin().merge({"a": [[1]]}, 0), "k is 0"),
        (lambda: RoundRobin().merge({"a": [[1]]}, 1, [1]), "a number from 0 to 0"),
        (
            lambda: Quotas({"z": 1}).merge({"a": [[1]], "b": [[1]]}, 1),
            "names the channel 'z'; there are: 'a', 'b'",
        ),
        (lambda: ReciprocalRank(weights={"z": 1}).merge({"a": [[1]]}, 1), "names the channel 'z'"),
        (
            lambda: RoundRobin().merge({"a": [[1]], "b": [[1], [2]]}, 1),
            r"lists of 'b' .* shape \[1, W\]",
        ),
        (lambda: RoundRobin().merge({"a": [[-1]]}, 1), "at least 0"),
        (lambda: RoundRobin().merge({"a": [[0.5]]}, 1), "whole numbers"),
    ],
)
def test_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
