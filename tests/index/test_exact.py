"""Exact search against a sort in NumPy, over the sizes where its computation changes."""

import numpy as np
import pytest
import tensorflow as tf

from tf_recall.index import Exact
from tf_recall.index import exact as module


def sorted_twin(queries, vectors, k, exclude=None):
    """Scores by one product, excluded ones -inf, a stable sort: the lower position first among
    equals.
    """
    scores = (queries @ vectors.T).astype(np.float32)
    for row, columns in enumerate(() if exclude is None else exclude):
        scores[row, columns[columns >= 0]] = -np.inf
    positions = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    scores = np.take_along_axis(scores, positions, 1)
    return scores, np.where(np.isinf(scores), -1, positions)


def test_by_hand():
    # scores of (1, 0): 3, 1, 2; of (0, 1): 0, 5, 0, where positions 0 and 2 tie and the lower comes
    # first
    index = Exact().build([[3.0, 0.0], [1.0, 5.0], [2.0, 0.0]])
    scores, positions = index.search([[1.0, 0.0], [0.0, 1.0]], k=2)
    np.testing.assert_array_equal(scores, [[3, 2], [5, 0]])
    np.testing.assert_array_equal(positions, [[0, 2], [1, 0]])


@pytest.mark.parametrize("num_items", [70, 1000, module.MANY, module.MANY + 37])
@pytest.mark.parametrize("k", [1, 65, 300])
def test_matches_a_sort_with_ties_exclusions_and_small_blocks(num_items, k, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 2048)
    monkeypatch.setattr(module, "MOST_SCORES", 3 * 2048)
    generator = np.random.default_rng(num_items + k)
    # whole numbers: exact sums, many ties
    vectors = generator.integers(-2, 3, [num_items, 4]).astype(np.float32)
    queries = generator.integers(-2, 3, [5, 4]).astype(np.float32)
    exclude = generator.integers(-1, num_items, [5, 40])
    exclude[2] = -1
    index = Exact().build(vectors)
    for excluded in (None, exclude):
        scores, positions = index.search(queries, k, excluded)
        want_scores, want_positions = sorted_twin(queries, vectors, k, excluded)
        np.testing.assert_array_equal(scores[:, : want_scores.shape[1]], want_scores)
        np.testing.assert_array_equal(positions[:, : want_positions.shape[1]], want_positions)
        assert scores.shape == (5, k) and (positions.numpy()[:, num_items:] == -1).all()


def test_no_queries_no_answers():
    scores, positions = Exact().build(np.eye(3)).search(tf.zeros([0, 3]), k=2)
    assert scores.shape == positions.shape == (0, 2)


def test_no_gather_from_the_variable_which_would_be_copied_whole_at_every_later_read():
    index = Exact().build(np.eye(3))
    graph = (
        tf.function(index.vectors_at).get_concrete_function(tf.TensorSpec([None], tf.int32)).graph
    )
    assert "ResourceGather" not in {operation.type for operation in graph.get_operations()}
    np.testing.assert_array_equal(index.vectors_at([[2, 0]]), [[[0, 0, 1], [1, 0, 0]]])
