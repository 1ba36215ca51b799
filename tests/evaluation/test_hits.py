"""Hits: ranks under ties, repeats and padding, by hand and against a loop."""

import numpy as np
import pytest

from tf_recall.evaluation.hits import check_lists, drop_repeats, find_hits

INF = np.inf


def hits(rows, scores, relevant, complete=False):
    """`{(list, row): rank}` of what was found, with a list of relevant rows per list."""
    offsets = np.cumsum([0, *map(len, relevant)])
    flat = np.array([row for rows in relevant for row in sorted(rows)], np.int32)
    pair, rank = find_hits(
        np.array(rows, np.int32), np.array(scores, np.float32), offsets, flat, complete
    )
    owner = np.repeat(np.arange(len(relevant)), np.diff(offsets))
    assert (np.diff(owner[pair] * 1000 + rank) > 0).all()  # ordered by list, then rank
    return {(int(owner[p]), int(flat[p])): int(r) for p, r in zip(pair, rank, strict=True)}


def test_distinct_scores_keep_their_places():
    rows, scores = [[5, 7, 2, 9], [2, 5, 9, 1]], [[9, 8, 7, 6], [4, 3, 2, 1]]
    # Row 9 stands in the last place of the first list, which may be tied with what is outside: a
    # miss.
    assert hits(rows, scores, [[7, 9], [2, 9]]) == {(0, 7): 1, (1, 2): 0, (1, 9): 2}


def test_relevant_items_come_last_among_equals():
    # First list: places 1 to 3 are equal and hold the relevant 7 and 4, so these have ranks 2 and
    # 3. Second list: the relevant 2 leads a run of two: rank 1, though it stands at place 0.
    rows, scores = [[5, 7, 4, 9, 1], [2, 5, 9, 1, 3]], [[9, 8, 8, 8, 1], [4, 4, 3, 2, 1]]
    assert hits(rows, scores, [[4, 7], [2]]) == {(0, 7): 2, (0, 4): 3, (1, 2): 1}


def test_a_run_that_leaves_the_list_holds_no_hit():
    rows, scores = [[5, 7, 4, 9], [1, 2, 3, 4]], [[9, 8, 8, 8], [1, 1, 1, 1]]
    assert hits(rows, scores, [[5, 7, 4, 9], [1, 2, 3]]) == {(0, 5): 0}


def test_a_complete_list_has_no_outside():
    rows, scores = [[3, 1, 2], [1, 2, 3]], [[5, 5, 5], [3, 2, 1]]
    assert hits(rows, scores, [[3], [3]], complete=True) == {(0, 3): 2, (1, 3): 2}


def test_padding_ends_a_run():
    # Only three items were left for the first user, two of them equal: nothing can stand outside.
    rows, scores = [[3, 1, 2, 0], [0, 0, 0, 0]], [[5, 4, 4, -INF], [-INF] * 4]
    assert hits(rows, scores, [[1], [1]]) == {(0, 1): 2}


def test_rounding_makes_no_order():
    near = np.float32(0.7) * (1 - np.float32(2e-7))
    assert near < np.float32(0.7)
    assert hits([[1, 2, 3]], [[0.7, near, 0.1]], [[1]]) == {(0, 1): 1}
    assert hits([[1, 2, 3]], [[0.7, 0.69999, 0.1]], [[1]]) == {(0, 1): 0}
    assert hits([[1, 2, 3]], [[-0.7, -0.70001, -0.9]], [[1]]) == {(0, 1): 0}


def test_repeats_move_up_what_follows():
    rows = np.array([[4, 4, 2, 4, 9], [1, 2, 3, 4, 5], [7, 8, 8, 0, 0]], np.int32)
    scores = np.array([[9, 8, 7, 6, 5], [5, 4, 3, 2, 1], [3, 2, 2, -INF, -INF]], np.float32)
    kept, their = drop_repeats(rows, scores)
    assert kept.tolist() == [[4, 2, 9, 0, 0], [1, 2, 3, 4, 5], [7, 8, 0, 0, 0]]
    assert their.tolist() == [[9, 7, 5, 5, 5], [5, 4, 3, 2, 1], [3, 2, -INF, -INF, -INF]]
    assert rows[0].tolist() == [4, 4, 2, 4, 9]  # the caller's arrays stay as they were


def test_a_run_cut_by_a_repeat_still_leaves_the_list():
    # The last two entries are equal: with the repeat gone, 9 still stands in a run that may go on
    # outside.
    rows, scores = drop_repeats(np.array([[5, 9, 5]], np.int32), np.array([[3, 2, 2]], np.float32))
    assert hits(rows, scores, [[5, 9]]) == {(0, 5): 0}


def slow_hits(rows, scores, relevant, complete):
    """The docstring, read aloud: one list at a time, one run at a time."""
    found = {}
    for number, (line, values, wanted) in enumerate(zip(rows, scores, relevant, strict=True)):
        distinct, taken = [], set()
        for row, value in zip(line, values, strict=True):
            if row and row not in taken and value > -INF:
                taken.add(row)
                distinct.append((row, value))
        rank = 0
        while distinct:
            value = distinct[0][1]
            run = [row for row, other in distinct if other == value]
            distinct = distinct[len(run) :]
            leaves = value == values[-1] and not complete
            for row in [row for row in run if row not in wanted] + [
                row for row in run if row in wanted
            ]:
                if row in wanted and not leaves:
                    found[number, row] = rank
                rank += 1
    return found


@pytest.mark.parametrize("seed", range(20))
def test_against_a_loop(seed):
    rng = np.random.default_rng(seed)
    num_lists, width, num_items = 40, 12, 15
    if seed % 2:
        rows = np.stack([rng.permutation(num_items)[:width] + 1 for _ in range(num_lists)])
    else:
        rows = rng.integers(1, num_items + 1, (num_lists, width))  # repeats
    scores = -np.sort(
        -rng.integers(0, [3, 8, 1000][seed % 3], (num_lists, width)).astype(np.float32), axis=1
    )
    for line in range(0, num_lists, 4):
        cut = rng.integers(0, width)
        rows[line, cut:], scores[line, cut:] = 0, -INF
    relevant = [rng.permutation(num_items)[: rng.integers(0, 6)] + 1 for _ in range(num_lists)]
    complete = seed % 6 == 1  # a list with repeats cannot hold every item
    expected = slow_hits(
        rows.tolist(), scores.tolist(), [set(row.tolist()) for row in relevant], complete
    )
    assert hits(*drop_repeats(rows, scores), relevant, complete) == expected
    assert expected


def test_more_pairs_than_one_block():
    num_lists, width = 3000, 9
    rows = np.tile(np.arange(1, width + 1), (num_lists, 1))
    scores = np.tile(-np.arange(width, dtype=np.float32), (num_lists, 1))
    found = hits(rows, scores, [range(1, width)] * num_lists)
    assert len(found) == 3000 * 8 and all(rank == row - 1 for (_, row), rank in found.items())


GOOD = np.array([[1, 2], [3, 0]]), np.array([[2.0, 1.0], [1.0, -INF]])


@pytest.mark.parametrize(
    "rows, scores, message",
    [
        (GOOD[0][:, :1], GOOD[1], r"rows \(2, 1\) and scores \(2, 2\); both must be \(2, 2\)"),
        (GOOD[0] + 1, GOOD[1], "rows from 1 to 4; rows are 0"),
        (GOOD[0] - 1, GOOD[1], "rows from -1 to 2"),
        (GOOD[0], GOOD[1] * np.nan, "NaN scores"),
        (GOOD[0], GOOD[1][:, ::-1], "scores rise"),
    ],
)
def test_malformed_lists(rows, scores, message):
    check_lists(*GOOD, (2, 2), 3)
    with pytest.raises(ValueError, match=message):
        check_lists(rows, scores, (2, 2), 3)
