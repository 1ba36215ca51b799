"""Counting: by hand, against a loop over every pair, and with most of the products left out."""

import numpy as np
import pytest
import tensorflow as tf

from tf_recall.recommend import ranks
from tf_recall.recommend.ranks import count_above, counted_ranks
from tf_recall.recommend.vector_ranks import ranks_of_products

NONE = np.zeros(0, int), np.zeros(0, int)
EXACT = np.zeros(1, np.float32)


def cells(*pairs):
    line, column = np.array(pairs, int).reshape(-1, 2).T
    return line, column


def count(scores, asked, absent=NONE, most=99, slack=EXACT, floor=-np.inf):
    scores = np.atleast_2d(np.float32(scores))
    return [part.tolist() for part in count_above(scores, asked, absent, most, slack, floor)]


def test_by_hand():
    scores = [5, 3, 4, 3, 1]
    #                                        3 has a twin, 5 and 4 above; the best has nothing
    assert count(scores, cells((0, 1), (0, 0), (0, 4))) == [[2, 0, 4], [1, 0, 0]]
    # without 5, the item of 4 is first; what is absent itself is out of reach
    above, near = count(scores, cells((0, 2), (0, 0)), cells((0, 0)))
    assert (above[0], near) == (0, [0, 0]) and above[1] >= 99
    above, near = count(scores, cells((0, 1), (0, 2)), cells((0, 3)))  # nor has 3 its twin then
    assert (above, near) == ([2, 1], [0, 0])


def test_out_of_reach():
    above, near = count([5, 3, 4, 3, 1], cells((0, 1), (0, 2), (0, 0)), most=1)
    assert above[2] == 0 and min(above[:2]) >= 1 and near == [0, 0, 0]
    above, _ = count([2, 0, -1], cells((0, 0), (0, 1)), floor=0.0)
    assert above[0] == 0 and above[1] >= 99


def test_scores_that_rounding_may_order_either_way():
    near = np.float32(0.7) * (1 - np.float32(2e-7))
    assert count([0.7, near, 0.1], cells((0, 0), (0, 1))) == [[0, 0], [1, 1]]
    assert count([0.7, 0.69999, 0.1], cells((0, 0), (0, 1))) == [[0, 1], [0, 0]]
    slack = np.float32([1e-3])
    assert count([0.7, 0.6995, 0.1], cells((0, 0)), slack=slack) == [[0], [1]]
    assert count([0.7, 0.1], cells((0, 0)), slack=np.float32([np.inf]))[1] == [1]
    assert count([np.nan, 0.1], cells((0, 0)))[1] != [0]


def twin(scores, asked, absent, most, slack, floor):
    """The docstring, read aloud."""
    gone = set(zip(*map(np.ndarray.tolist, absent), strict=True))
    found = []
    for line, column in zip(*asked, strict=True):
        own, others = (
            scores[line, column],
            [
                value
                for other, value in enumerate(scores[line])
                if other != column and (line, other) not in gone
            ],
        )
        far = 2e-6 * abs(own) + slack[line]
        above = sum(value > own + far for value in others)
        near = sum(abs(value - own) <= far for value in others)
        lost = (line, column) in gone or own <= floor or above >= most
        found.append((most, 0) if lost else (above, near))
    return found


@pytest.mark.parametrize("seed", range(12))
def test_against_a_loop(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    shape = 13, 41
    levels = [5, 40, 10**6][seed % 3]
    scores = rng.integers(-levels // 4, levels, shape).astype(np.float32)
    some, other = rng.random(shape), rng.random(shape)
    # some lines have nothing asked for, nothing absent, or much of either
    asked = np.nonzero(some < rng.choice([0, 0.05, 0.5], (13, 1)))
    absent = np.nonzero(other < rng.choice([0, 0.1, 0.8], (13, 1)))
    slack = rng.choice([0, 0.5, 3], 13).astype(np.float32)
    most, floor = [3, 10, 41][seed % 3], [-np.inf, 0][seed % 2]
    expected = twin(scores, asked, absent, most, slack, floor)
    monkeypatch.setattr(ranks, "CACHED", 41 * 4)  # blocks of four lines, the last of one
    monkeypatch.setattr(ranks, "LEAST", 1)
    found = counted_ranks(lambda at: scores[at], shape, asked, absent, most, slack, floor)
    assert [(min(a, most), n) for a, n in zip(*map(np.ndarray.tolist, found), strict=True)] == (
        expected
    )
    assert len(expected) > 20


@pytest.mark.parametrize("seed", range(6))
def test_products_whatever_is_left_out_of_them(seed):
    """Vectors of whole numbers, whose products are exact, so that a tie is one."""
    rng = np.random.default_rng(seed)
    num, size, dim = 60, [300, 5, 1][seed % 3], 6
    queries = rng.integers(-9, 10, (num, dim)).astype(np.float32)
    vectors = rng.integers(-9, 10, (size, dim)).astype(np.float32)
    asked = np.nonzero(rng.random((num, size)) < 0.02 if size > 5 else np.ones((num, size)))
    absent = np.nonzero(rng.random((num, size)) < rng.choice([0, 0.4], (num, 1)))
    slack = 1e-5 * np.linalg.norm(vectors, axis=1).max() * np.linalg.norm(queries, axis=1)
    for most in (1, 20):
        expected = twin(queries @ vectors.T, asked, absent, most, slack, -np.inf)
        found = ranks_of_products(queries, tf.constant(vectors), asked, absent, most)
        above, near = map(np.ndarray.tolist, found)
        assert [(min(a, most), n) for a, n in zip(above, near, strict=True)] == expected
    none = ranks_of_products(queries[:0], tf.constant(vectors), NONE, NONE, 5)
    assert [len(part) for part in none] == [0, 0]
