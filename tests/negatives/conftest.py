"""What the samplers' tests share: a batch whose item tower is a table, and the comparison of draws
with log q.
"""

import numpy as np
import pytest
import tensorflow as tf

from tf_recall.negatives.base import Batch


@pytest.fixture(scope="session")
def batch_of():
    """`batch_of(positives, ...)` makes a `Batch`; line r of `table` is the vector of row r."""

    def make(positives, table=None, query=None, **fields):
        positives = tf.constant(positives, tf.int32)
        table = tf.random.stateless_normal([100, 4], [0, 0]) if table is None else table
        query = tf.zeros([positives.shape[0], table.shape[1]]) if query is None else query
        return Batch(
            query,
            positives,
            tf.gather(table, positives),
            lambda rows: tf.gather(table, rows),
            **fields,
        )

    return make


@pytest.fixture(scope="session")
def assert_drawn():
    """`assert_drawn(rows, log_q)`: the rows are draws from these probabilities, by chi-square,
    and none is row 0.
    """

    def check(rows, log_q):
        rows, expected = np.ravel(rows), np.exp(np.asarray(log_q, np.float64)[1:])
        np.testing.assert_allclose(expected.sum(), 1, rtol=1e-5)
        count = np.bincount(rows, minlength=len(expected) + 1)
        assert count[0] == 0 and len(count) == len(expected) + 1
        expected *= len(rows)
        assert expected.min() > 5
        chi_square, freedom = np.sum((count[1:] - expected) ** 2 / expected), len(expected) - 1
        assert abs(chi_square - freedom) < 5 * np.sqrt(2 * freedom)

    return check


@pytest.fixture(scope="session")
def partition():
    """`partition(sampler, batches, scores)`: the mean over batches and negatives of exp(s[j] -
    log_q[j]), its error.
    """

    def estimate(sampler, batches, scores):
        means = []
        for batch in batches:
            drawn = sampler.draw(batch)
            valid = [tf.ones_like(c.ids) if c.valid is None else c.valid for c in drawn]
            pairs = zip(drawn, valid, strict=True)
            ids = np.concatenate([np.ravel(c.ids)[np.ravel(valid) > 0] for c, valid in pairs])
            means.append(np.mean(np.exp(scores[ids] - sampler.log_q(ids, batch))))
        return np.mean(means), np.std(means) / np.sqrt(len(means))

    return estimate
