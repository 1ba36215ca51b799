"""Metrics by hand and against loops written from their formulas."""

import math

import numpy as np
import pytest

from tf_recall.evaluation.metrics import gini, list_metrics, ranking_metrics


def test_by_hand():
    # Case 0: R = 3, hits at ranks 0 and 2. Case 1: R = 1, hit at rank 3. Case 2: R = 2, no hit.
    # Case 3 counts not.
    case, rank = np.array([0, 0, 1]), np.array([0, 2, 3])
    metrics = ranking_metrics(case, rank, np.array([3, 1, 2, 0]), [2, 4])
    log = math.log2
    expected = {
        "recall@2": (1 / 3 + 0 + 0) / 3,
        "hit_rate@2": 1 / 3,
        "ndcg@2": 1 / (1 + 1 / log(3)) / 3,  # case 0: ideal has min(3, 2) = 2 hits
        "mrr@2": 1 / 3,
        "precision@2": (1 / 2) / 3,
        "map@2": (1 / 1) / 2 / 3,  # over min(3, 2)
        "recall@4": (2 / 3 + 1 + 0) / 3,
        "hit_rate@4": 2 / 3,
        "ndcg@4": ((1 + 1 / log(4)) / (1 + 1 / log(3) + 1 / log(4)) + 1 / log(5)) / 3,
        "mrr@4": (1 + 1 / 4) / 3,
        "precision@4": (2 / 4 + 1 / 4) / 3,
        "map@4": ((1 + 2 / 3) / 3 + 1 / 4) / 3,
    }
    assert metrics.keys() == expected.keys()
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(value, abs=1e-12), name


def slow_metrics(ranks, num_relevant, ks):
    metrics = {}
    for k in ks:
        rows = []
        for found, total in zip(ranks, num_relevant, strict=True):
            if not total:
                continue
            gains = [1 if place in found else 0 for place in range(k)]
            ideal = sum(1 / math.log2(place + 2) for place in range(min(total, k)))
            precisions = [
                sum(gains[: place + 1]) / (place + 1) for place in range(k) if gains[place]
            ]
            rows.append(
                (
                    sum(gains) / total,
                    max(gains),
                    sum(gain / math.log2(place + 2) for place, gain in enumerate(gains)) / ideal,
                    1 / (gains.index(1) + 1) if any(gains) else 0,
                    sum(gains) / k,
                    sum(precisions) / min(total, k),
                )
            )
        names = ("recall", "hit_rate", "ndcg", "mrr", "precision", "map")
        metrics |= {
            f"{name}@{k}": sum(row[n] for row in rows) / len(rows) for n, name in enumerate(names)
        }
    return metrics


@pytest.mark.parametrize("seed", range(5))
def test_against_a_loop(seed):
    rng = np.random.default_rng(seed)
    ranks = [np.sort(rng.permutation(30)[: rng.integers(0, 9)]) for _ in range(50)]
    num_relevant = np.array([len(found) + rng.integers(0, 4) for found in ranks])
    case = np.repeat(np.arange(50), [len(found) for found in ranks])
    ours = ranking_metrics(case, np.concatenate(ranks), num_relevant, [1, 5, 30])
    theirs = slow_metrics(
        [set(found.tolist()) for found in ranks], num_relevant.tolist(), [1, 5, 30]
    )
    assert ours == pytest.approx(theirs, abs=1e-12)


def test_nothing_relevant_gives_no_figures():
    none = np.array([], np.int64)
    assert ranking_metrics(none, none, np.array([0, 0]), [5]) == {}


def test_lists_by_hand():
    # Training counts 8, 4, 2, 0. At k = 1 the first item came up 3 times; at k = 2 the four came up
    # 3, 2, 0, 1 times.
    # padding came up too, and is no item
    recommended = np.array([[0, 3, 0, 0, 0], [9, 3, 2, 0, 1]])
    metrics = list_metrics(recommended, np.array([0, 8, 4, 2, 0]), np.array([2, 3, 3]), [1, 2])
    base = (4 + 2 + 2) / 3
    assert metrics == pytest.approx(
        {
            "coverage@1": 1 / 4,
            "coverage@2": 3 / 4,
            "popularity_lift@1": 8 / base,
            "popularity_lift@2": (3 * 8 + 2 * 4) / 6 / base,
            "gini@1": 3 / 4,  # (V - 1) / V: one takes all
            "gini@2": (-1 * 1 + 1 * 2 + 3 * 3) / (4 * 6)
            + 0,  # rising 0, 1, 2, 3 with weights -3, -1, 1, 3
        }
    )


def test_lift_is_undefined_where_nothing_held_out_was_trained_on():
    recommended = np.array([[0, 3, 1]])
    assert (
        list_metrics(recommended, np.array([0, 8, 0]), np.array([2]), [1])["popularity_lift@1"]
        is None
    )
    assert (
        list_metrics(recommended, np.array([0, 8, 0]), np.array([], int), [1])["popularity_lift@1"]
        is None
    )


@pytest.mark.parametrize("seed", range(3))
def test_gini_is_half_the_mean_difference_over_the_mean(seed):
    times = np.random.default_rng(seed).poisson(1.5, 60)
    assert gini(times) == pytest.approx(
        np.abs(times[:, None] - times).mean() / 2 / times.mean(), abs=1e-12
    )
    assert gini(np.full(7, 3)) == pytest.approx(0)
    assert gini(np.zeros(7, int)) == 0
