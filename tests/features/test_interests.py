"""Several vectors of a history: by hand, against loops, and of short histories."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_recall.features import CapsuleRouting, InterestAttention
from tf_recall.features.interests import squash

TWO = tf.constant([[[1.0, 0.0], [0.0, 1.0]]])
BOTH = tf.constant([[True, True]])
CASES = [
    (kind, adaptive) for kind in (InterestAttention, CapsuleRouting) for adaptive in (False, True)
]


def built(pooling, length, size):
    pooling.build((None, length, size))
    return pooling


def test_attention_by_hand():
    """W1 = [atanh(1/2), 0], so that tanh is 1/2 for the first item and 0 for the second.

    W2 = [2 log 3, -2 log 3], so that the first interest's logits are log 3 and 0: weights 3/4 and
    1/4; the second's are -log 3 and 0: 1/4 and 3/4. With log 3 for the latest place through W1, a
    tanh of 1/2 for both, all logits of an interest are equal: 1/2 and 1/2.
    """
    pooling = built(InterestAttention(2, units=1), 3, 2)
    pooling.hidden.assign([[np.arctanh(0.5)], [0.0]])
    pooling.heads.assign([[2 * np.log(3), -2 * np.log(3)]])
    pooled = pooling(TWO, BOTH).numpy()
    np.testing.assert_allclose(pooled, [[0.75, 0.25, 0.25, 0.75]], rtol=1e-6)
    pooling.positions.assign([[9.0, 9.0], [0.0, 0.0], [1.0, 0.0]])  # two items: the latest two
    np.testing.assert_allclose(pooling(TWO, BOTH), [[0.5] * 4], rtol=1e-6)
    alone = pooling(TWO, tf.constant([[False, True]])).numpy()
    np.testing.assert_allclose(alone, [[0, 1, 0, 1]], atol=1e-7)


def test_routing_by_hand():
    """S = I; the first logits log 3 for each item's own interest, 0 for the other.

    Softmax over interests: 3/4 and 1/4. z1 = (3/4, 1/4): |z|^2 = 0.625, squashed by
    0.790569 / 1.625 = 0.486504: u1 = (0.364878, 0.121626), u2 the reverse.
    Logits: log 3 + 0.364878 and 0.121626, which are 1.341864 apart: 0.792796 and 0.207204.
    z1 = (0.792796, 0.207204): |z|^2 = 0.671460, squashed by 0.819427 / 1.671460 = 0.490246.
    """
    pooling = built(CapsuleRouting(2, iterations=2), 2, 2)
    pooling.bilinear.assign(np.eye(2))
    pooling.first.assign(np.log(3) * np.eye(2))
    np.testing.assert_allclose(
        pooling.coefficients(TWO, BOTH),
        [[[0.792796, 0.207204], [0.207204, 0.792796]]],
        rtol=1e-5,
    )
    first, second = 0.490246 * 0.792796, 0.490246 * 0.207204
    np.testing.assert_allclose(pooling(TWO, BOTH), [[first, second, second, first]], rtol=1e-5)


def softmax(values):
    values = np.exp(values - values.max())
    return values / values.sum()


def active(pooling, number):
    if not pooling.adaptive:
        return pooling.interests
    return max(1, min(pooling.interests, int(np.log2(max(number, 1)))))


def attention_twin(pooling, vectors):
    """The docstring, read aloud, of the vectors of one history."""
    hidden, heads, positions = (np.array(w) for w in pooling.weights)
    found = []
    for k in range(pooling.interests):
        k = k if k < active(pooling, len(vectors)) else 0
        logits = []
        for place, vector in zip(range(-len(vectors), 0), vectors, strict=True):
            logits.append(np.tanh((vector + positions[place]) @ hidden) @ heads[:, k])
        found.append(softmax(np.array(logits)) @ vectors)
    return np.concatenate(found)


def routing_twin(pooling, vectors):
    def short(z):
        return (z @ z) / (1 + z @ z) * z / np.linalg.norm(z)

    mapped = vectors @ np.array(pooling.bilinear)
    count = active(pooling, len(vectors))
    logits = np.array(pooling.first)[:count, -len(vectors) :]
    for _ in range(pooling.iterations):
        weights = np.stack([softmax(column) for column in logits.T], axis=1)
        capsules = [short(weights[k] @ mapped) for k in range(count)]
        logits = logits + np.array([[u @ h for h in mapped] for u in capsules])
    return np.concatenate([capsules[k if k < count else 0] for k in range(pooling.interests)])


@pytest.mark.parametrize("kind, adaptive", CASES)
def test_against_loops(kind, adaptive):
    keras.utils.set_random_seed(2)
    pooling = built(kind(interests=3, adaptive=adaptive), 9, 4)
    rng = np.random.default_rng(0)
    for weight in pooling.trainable_weights:
        weight.assign(weight + 0.3 * rng.standard_normal(weight.shape))
    vectors = rng.standard_normal([9, 9, 4]).astype(np.float32)
    valid = np.arange(9) >= 9 - np.arange(1, 10)[:, None]  # 1, 2, ..., 9 items, the latest
    found = pooling(tf.constant(vectors), tf.constant(valid)).numpy()
    twin = attention_twin if kind is InterestAttention else routing_twin
    for line, kept, pooled in zip(vectors, valid, found, strict=True):
        np.testing.assert_allclose(pooled, twin(pooling, line[kept]), rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("kind, adaptive", CASES)
def test_what_is_not_there_counts_nothing(kind, adaptive):
    pooling = built(kind(adaptive=adaptive), 6, 4)
    vectors = tf.random.stateless_normal([2, 6, 4], seed=[1, 2])
    valid = tf.constant([[False, False, True, True, True, True], [False] * 6])
    found = pooling(vectors, valid).numpy()
    other = tf.where(valid[:, :, None], vectors, 7.0)
    np.testing.assert_array_equal(pooling(other, valid), found)
    np.testing.assert_allclose(found[:1], pooling(vectors[:1, 2:], valid[:1, 2:]), rtol=1e-5)
    assert not found[1].any()
    weights = pooling.coefficients(vectors, valid).numpy()
    assert not weights[:, :, :2].any() and not weights[1].any()


def test_few_items_make_few_interests():
    """log2 of 1, 3, 4, 8 and 16 items is 0, 1, 2, 3 and 4: 1, 1, 2, 3 and 4 different vectors."""
    for pooling in (InterestAttention(4, adaptive=True), CapsuleRouting(4, adaptive=True)):
        built(pooling, 16, 5)
        for number, count in ((1, 1), (3, 1), (4, 2), (8, 3), (16, 4)):
            vectors = tf.random.stateless_normal([1, number, 5], seed=[3, number])
            pooled = pooling(vectors, tf.ones([1, number], tf.bool)).numpy().reshape(4, 5)
            assert len({each.round(4).tobytes() for each in pooled}) == count
            np.testing.assert_allclose(pooled[count:], pooled[[0] * (4 - count)], rtol=1e-5)


def test_no_gradient_flows_through_the_routing():
    pooling = built(CapsuleRouting(2), 5, 3)
    vectors = tf.random.stateless_normal([4, 5, 3], seed=[1, 2])
    valid = tf.ones([4, 5], tf.bool)
    fixed = pooling.coefficients(vectors, valid)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(vectors)
        routed = pooling(vectors, valid)
        mapped = pooling.mapped(vectors)
        by_hand = tf.reshape(squash(tf.einsum("bkl,bld->bkd", fixed, mapped)), [4, -1])
    one, other = (tape.gradient(each, vectors) for each in (routed, by_hand))
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_the_draws_belong_to_the_seed():
    draws = [built(CapsuleRouting(seed=seed), 5, 3).first.numpy() for seed in (1, 1, 2)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).all()


def test_errors():
    for make in (InterestAttention, CapsuleRouting):
        with pytest.raises(ValueError, match="interests must be at least 1, not 0"):
            make(interests=0)
    with pytest.raises(ValueError, match="iterations must be at least 1, not 0"):
        CapsuleRouting(iterations=0)
