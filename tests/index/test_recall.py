"""Recall by hand, and among equals."""

import numpy as np

from tf_recall.index.recall import Truth


def test_by_hand():
    # scores of (1, 0): 4, 3, 2, 1; of (0, 1): 0, 5, 0, 6
    truth = Truth(
        np.array([[4, 0], [3, 5], [2, 0], [1, 6]], np.float32), np.eye(2, dtype=np.float32)
    )
    assert truth.depth == 4
    # true best two: 4, 3 and 6, 5. Found: one of them, both of them
    assert truth.recall([[4, 2], [6, 5]], 2) == 0.75
    assert truth.recall([[4, 2], [6, 5]], 1) == 1
    assert truth.recall([[-np.inf, -np.inf], [6, -np.inf]], 2) == 0.25


def test_an_equal_item_is_no_miss():
    vectors = np.ones([500, 3], np.float32)
    truth = Truth(vectors, vectors[:2])
    assert truth.recall(np.full([2, 100], 3.0), 100) == 1
    assert truth.recall(np.full([2, 100], 2.99), 100) == 0
