"""The inverted file: its lists, the extra coordinate, and what it promises of recall."""

import logging

import numpy as np
import pytest
import tensorflow as tf

from tf_recall.index import IVF, Exact, ivf
from tf_recall.index.lists import directions, partition


def clustered(number, dim=16, clusters=60, seed=0):
    generator = np.random.default_rng(seed)
    centers = generator.standard_normal([clusters, dim])
    drawn = centers[generator.integers(clusters, size=number)] + 0.4 * generator.standard_normal(
        [number, dim]
    )
    return drawn.astype(np.float32)


def test_directions_by_hand():
    # longest^2 = 25; (3, 4) has nothing to add, (0, 3) needs sqrt(25 - 9) = 4; both over 5
    np.testing.assert_allclose(
        directions(np.array([[3.0, 4.0], [0.0, 3.0]])), [[0.6, 0.8, 0], [0, 0.6, 0.8]]
    )


def test_angles_of_directions_order_dot_products_of_vectors_of_any_length():
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal([50, 5]) * generator.lognormal(size=[50, 1])
    query = generator.standard_normal(5)
    points = directions(vectors)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(
        np.argsort(points @ np.append(query, 0)), np.argsort(vectors @ query)
    )


@pytest.mark.parametrize("shape", ["clustered", "equal", "one far larger than the others"])
def test_every_row_is_in_one_list_and_none_is_over_twice_the_mean(shape):
    points = directions(clustered(3000))
    if shape == "equal":
        points[:] = points[0]
    elif shape != "clustered":
        points[:2500] = points[0] + 1e-3 * points[:2500]
    centroids, members = partition(points, 50, seed=0)
    lengths = [len(rows) for rows in members]
    assert max(lengths) <= 2 * 3000 / 50 and min(lengths) >= 1
    np.testing.assert_array_equal(np.sort(np.concatenate(members)), np.arange(3000))
    assert all((np.diff(rows) > 0).all() for rows in members)
    np.testing.assert_allclose(np.linalg.norm(centroids, axis=1), 1, rtol=1e-5)
    assert len(centroids) == len(members)


def test_lists_follow_planted_clusters():
    """Ten tight clusters, thirty lists: none mixes two clusters."""
    generator = np.random.default_rng(1)
    cluster = generator.integers(10, size=2000)
    points = directions(np.eye(10)[cluster] + 0.01 * generator.standard_normal([2000, 10]))
    for rows in partition(points, 30, seed=0)[1]:
        assert len(set(cluster[rows])) == 1


@pytest.mark.parametrize("lengths", ["unit", "various"])
def test_finds_the_recall_it_reports_on_other_queries(lengths):
    drawn = clustered(12_000)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    if lengths == "various":
        drawn *= np.random.default_rng(2).uniform(0.5, 2, [len(drawn), 1]).astype(np.float32)
    vectors, queries = drawn[:-500], drawn[-500:]
    index = IVF().build(vectors)
    assert 0.95 <= index.recall <= 1
    found, true = (each.search(queries, 100)[1].numpy() for each in (index, Exact().build(vectors)))
    recall = np.mean([len(set(f) & set(t)) / 100 for f, t in zip(found, true, strict=True)])
    assert recall > 0.9
    assert index.probes < index.centroids.shape[0] / 2


def test_few_probes_find_less_and_say_so(caplog):
    vectors = clustered(5000)
    recalls = []
    for probes in (1, 5, 500):
        with caplog.at_level(logging.WARNING, "tf_recall"):
            recalls.append(IVF(num_probes=probes).build(vectors).recall)
    assert recalls[0] < recalls[1] < recalls[2] == 1
    assert (
        caplog.text.count("below min_recall, 0.95") == sum(recall < 0.95 for recall in recalls) >= 1
    )


def test_more_is_probed_for_a_higher_recall():
    vectors = clustered(5000)
    low, high = (IVF(min_recall=wanted).build(vectors) for wanted in (0.6, 0.99))
    assert low.probes < high.probes and 0.6 <= low.recall < high.recall


def test_the_same_seed_builds_the_same_index():
    vectors = clustered(2000)
    indexes = [IVF(seed=seed).build(vectors) for seed in (3, 3, 4)]
    first, same, other = (index.positions.numpy() for index in indexes)
    assert (first == same).all() and (first != other).any()


def test_queries_in_parts_answer_as_the_whole(monkeypatch):
    vectors, queries = clustered(3000), clustered(37, seed=5)
    index = IVF().build(vectors)
    whole = index.search(queries, 20, np.arange(74).reshape(37, 2))
    monkeypatch.setattr(ivf, "MOST_SCORES", 5 * index.probes * index.width)
    parts = tf.function(index.search)(queries, 20, np.arange(74).reshape(37, 2))
    np.testing.assert_array_equal(whole[1], parts[1])


@pytest.mark.parametrize("settings", [{"num_lists": 0}, {"num_probes": -1}, {"min_recall": 1.5}])
def test_settings_out_of_range(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        IVF(**settings)
