"""Negatives without encoding: the batch's positives and a cache of recent ones, their log q, and
the ring by hand.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_recall.losses.scores import Scores
from tf_recall.negatives import CrossBatch, InBatch, Streaming

COUNTS = np.array([0, 400, 300, 100, 100, 50, 50])
SHARES = COUNTS / COUNTS.sum()


def stream(steps, size, seed=0):
    """Batches of positives `[steps, size]`, drawn by `COUNTS`."""
    return np.random.default_rng(seed).choice(len(COUNTS), [steps, size], p=SHARES)


def adapted(sampler, counts=COUNTS, dim=4):
    sampler.adapt(counts, dim=dim)
    return sampler


def test_in_batch_by_hand():
    negatives = adapted(InBatch(), [0, 6, 1, 0, 1])
    # 8 positives; row 3 was never one and costs what a single one does, as does the unknown row
    logs = negatives.log_q(tf.constant([[1, 2], [3, 0]]))
    assert logs.dtype == tf.float32
    np.testing.assert_allclose(logs, np.log([[6 / 8, 1 / 8], [1 / 8, 1 / 8]]), rtol=1e-6)


def test_cross_batch_by_hand():
    np.testing.assert_allclose(
        adapted(CrossBatch(2), [0, 6, 2]).log_q([1, 2]), np.log([6 / 8, 2 / 8]), rtol=1e-6
    )


def test_in_batch_draws_are_the_positives(batch_of, assert_drawn):
    negatives = adapted(InBatch())
    (candidates,) = negatives.draw(batch_of([3, 1, 3]))
    np.testing.assert_array_equal(candidates.ids, [3, 1, 3])
    assert candidates.shared and candidates.fresh and candidates.valid is None
    assert negatives.max_draws(batch_of([3, 1, 3])) == negatives.num_draws(batch_of([3, 1, 3])) == 3
    assert_drawn(
        [negatives.draw(batch_of(rows))[0].ids for rows in stream(100, 2000)],
        negatives.log_q(range(len(COUNTS))),
    )


def test_in_batch_vectors_learn(batch_of):
    table = tf.ones([3, 2])
    with tf.GradientTape() as tape:
        tape.watch(table)
        (candidates,) = adapted(InBatch()).draw(batch_of([1, 1], table))
        loss = tf.reduce_sum(candidates.vectors)
    np.testing.assert_array_equal(tf.convert_to_tensor(tape.gradient(loss, table))[:, 0], [0, 2, 0])


def test_cross_batch_draws_match_log_q(batch_of, assert_drawn):
    negatives, drawn = adapted(CrossBatch(4000, warm_up=0)), []
    for step, rows in enumerate(stream(102, 2000)):
        (candidates,) = negatives.draw(batch_of(rows, step=step))
        if step >= 2 and step % 2 == 0:  # every slot is new
            drawn.append(candidates.ids[candidates.valid])
    assert_drawn(drawn, negatives.log_q(range(len(COUNTS))))


def test_the_ring_by_hand(batch_of):
    negatives = adapted(CrossBatch(5, warm_up=0))
    table = tf.range(10, dtype=tf.float32)[:, None] * tf.ones(4)
    seen = []
    for step, rows in enumerate([[1, 2], [3, 4], [5, 6], [7], [1, 2, 3, 4, 5, 6, 7], [8, 9]]):
        (candidates,) = negatives.draw(batch_of(rows, table, step=step))
        assert candidates.shared and not candidates.fresh
        np.testing.assert_array_equal(candidates.vectors[:, 0], tf.cast(candidates.ids, tf.float32))
        np.testing.assert_array_equal(candidates.valid, candidates.ids > 0)
        seen.append(candidates.ids.numpy().tolist())
    assert seen == [  # never the batch itself
        [0, 0, 0, 0, 0],
        [1, 2, 0, 0, 0],
        [1, 2, 3, 4, 0],
        [6, 2, 3, 4, 5],  # 5 filled the last slot, 6 the first one again
        [6, 7, 3, 4, 5],
        [6, 7, 3, 4, 5],  # of seven the last five, from slot 2 on: 3 4 5, then 6 7
    ]
    assert negatives.ids.numpy().tolist() == [6, 7, 8, 9, 5]


def test_nothing_counts_before_the_warm_up(batch_of):
    negatives = adapted(CrossBatch(4, warm_up=3))
    counts = []
    for step in range(5):
        batch = batch_of([1, 2, 3], step=tf.constant(step, tf.int64))
        (candidates,) = negatives.draw(batch)
        counts.append((np.sum(candidates.valid), float(negatives.num_draws(batch))))
    assert counts == [(0, 0), (0, 0), (0, 0), (4, 4), (4, 4)]


def test_draws_are_counted_as_they_were_drawn(batch_of):
    negatives = adapted(CrossBatch(5, warm_up=0))
    for step, rows in enumerate([[1, 2], [3, 4], [5, 6], [1] * 9, [2]]):
        batch = batch_of(rows, step=step)
        (candidates,) = negatives.draw(batch)
        assert float(negatives.num_draws(batch)) == np.sum(candidates.valid)
        assert negatives.max_draws(batch) == 5


def test_the_cache_does_not_change_outside_training(batch_of):
    negatives = adapted(CrossBatch(3, warm_up=0, frequency=Streaming(num_buckets=64)))
    negatives.draw(batch_of([1, 2]))
    before = [weight.numpy() for weight in negatives.weights]
    batch = batch_of([4, 5], training=False)
    (candidates,) = negatives.draw(batch)
    np.testing.assert_array_equal(candidates.ids, [1, 2, 0])
    assert float(negatives.num_draws(batch)) == 2
    for weight, value in zip(negatives.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_no_gradient_flows_into_the_cache(batch_of):
    negatives = adapted(CrossBatch(3, warm_up=0))
    table = tf.ones([6, 4])
    with tf.GradientTape() as tape:
        tape.watch(table)
        negatives.draw(batch_of([1, 2, 3], table))
        (candidates,) = negatives.draw(batch_of([4, 5], table, step=1))
        assert candidates.valid.numpy().all()
        loss = tf.reduce_sum(candidates.vectors)
    assert tape.gradient(loss, table) is None
    assert negatives.trainable_weights == []


def test_a_cached_copy_of_the_positive_does_not_count(batch_of):
    negatives = adapted(CrossBatch(3, warm_up=0))
    negatives.draw(batch_of([1, 2]))
    batch = batch_of([2, 3], step=1)
    candidates = negatives.draw(batch)
    _, counts = Scores.of(
        batch.query, batch.items, batch.positives, candidates, log_q=negatives.log_q
    ).table()
    # cached: 1, 2, an empty slot
    np.testing.assert_array_equal(counts, [[True, False, False], [True, True, False]])


@pytest.mark.parametrize(
    "make", [InBatch, lambda: CrossBatch(400, warm_up=0)], ids=["in batch", "cross batch"]
)
def test_the_partition_function_is_not_biased(make, batch_of, partition):
    scores = np.random.default_rng(0).normal(0, 1, len(COUNTS))
    negatives = adapted(make())
    batches = [batch_of(rows, step=step) for step, rows in enumerate(stream(201, 400))]
    negatives.draw(batches[0])  # fills the cache
    mean, error = partition(negatives, batches[1:], scores)
    truth = np.exp(scores[1:]).sum()
    assert abs(mean - truth) < 4 * error
    # N5's probability for the cache's content, 1 / size, weighs what it holds by popularity
    negatives.log_q = lambda ids, batch: np.full(np.shape(ids), -np.log(400))
    mean, error = partition(negatives, batches[1:], scores)
    assert abs(mean - truth) > 100 * error


def test_log_q_from_a_stream(batch_of):
    negatives = adapted(InBatch(Streaming(num_buckets=1024, rate=0.02)), np.full(7, 100))
    np.testing.assert_allclose(negatives.log_q([1, 6]), np.log([1 / 7, 1 / 7]), rtol=1e-5)
    for step, rows in enumerate(stream(300, 64)):
        negatives.draw(batch_of(rows, step=step))
    np.testing.assert_allclose(np.exp(negatives.log_q(range(1, 7))), SHARES[1:], rtol=0.5)
    learned = negatives.log_q([1, 6]).numpy()
    negatives.draw(batch_of([6] * 64, training=False))
    np.testing.assert_array_equal(negatives.log_q([1, 6]), learned)


def test_the_current_batch_is_part_of_a_streams_log_q(batch_of):
    """As in the paper, where the estimate is updated before it is used."""
    negatives = adapted(InBatch(Streaming(num_buckets=1024, rate=0.5)), np.ones(7))
    before = float(negatives.log_q(5))
    negatives.draw(batch_of([5] * 4))
    assert negatives.log_q(5) > before


@pytest.mark.parametrize("make", [InBatch, lambda: CrossBatch(4)], ids=["in batch", "cross batch"])
def test_adapt_again_replaces_log_q(make):
    negatives = adapted(make(), [0, 1, 1])
    num_weights = len(negatives.weights)
    adapted(negatives, [0, 1, 3])
    np.testing.assert_allclose(negatives.log_q([1, 2]), np.log([1 / 4, 3 / 4]), rtol=1e-6)
    assert len(negatives.weights) == num_weights


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_the_cache_is_float32_in_any_precision(policy, batch_of):
    negatives = adapted(CrossBatch(2, warm_up=0, dtype=policy))
    table = tf.constant(np.full([9, 4], 1 / 3), tf.float16)
    negatives.draw(batch_of([1, 2], table))
    (candidates,) = negatives.draw(batch_of([3], table, step=1))
    assert candidates.vectors.dtype == tf.float32 and negatives.log_q([1]).dtype == tf.float32


@keras.saving.register_keras_serializable("test_negatives")
class Holder(keras.Model):
    """A model that holds a sampler, and uses its log q."""

    def __init__(self, negatives, **kwargs):
        super().__init__(**kwargs)
        self.negatives = negatives
        self.built = True

    def call(self, rows):
        return self.negatives.log_q(rows)

    def build_from_config(self, config):
        self.built = True

    def get_config(self):
        return {
            **super().get_config(),
            "negatives": keras.saving.serialize_keras_object(self.negatives),
        }

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config.pop("negatives")), **config)


def test_the_ring_goes_on_after_a_save(batch_of, tmp_path):
    negatives = adapted(CrossBatch(5, warm_up=0, frequency=Streaming(num_buckets=64)))
    negatives.draw(batch_of([1, 2, 3]))
    Holder(negatives).save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras").negatives
    for step, rows in enumerate([[4, 5, 6], [1]]):
        ours, theirs = (
            sampler.draw(batch_of(rows, step=1 + step))[0] for sampler in (negatives, again)
        )
        np.testing.assert_array_equal(ours.ids, theirs.ids)
        np.testing.assert_array_equal(ours.vectors, theirs.vectors)
        np.testing.assert_array_equal(negatives.log_q(range(7)), again.log_q(range(7)))
    assert theirs.ids.numpy().tolist() == [6, 2, 3, 4, 5]


@pytest.mark.parametrize("make", [InBatch, lambda: CrossBatch(4)], ids=["in batch", "cross batch"])
def test_survives_a_save_before_adapt(make, tmp_path):
    Holder(make()).save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=r"call adapt\(counts\)"):
        again.negatives.log_q([1])
    adapted(again.negatives)


@pytest.mark.parametrize("size, warm_up", [(0, 0), (-1, 0), (1, -1)])
def test_refuses_a_cache_that_is_none(size, warm_up):
    with pytest.raises(ValueError, match="size must be at least 1 and warm_up at least 0"):
        CrossBatch(size, warm_up)
