"""Every loss of the registry: by hand, against loops in NumPy, and by what moves it and what
cannot.
"""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_recall.losses import (
    BPR,
    NCE,
    NEG,
    CosineContrastive,
    Hinge,
    PointwiseCrossEntropy,
    RetrievalTask,
    SampledSoftmax,
    TripletLogistic,
    UncorrectedSoftmax,
)
from tf_recall.losses.base import ScoreLoss
from tf_recall.losses.scores import MASKED, Scores
from tf_recall.losses.temperature import LearnedTemperature
from tf_recall.negatives.base import Candidates
from tf_recall.registry import REGISTRY, find, keywords

ALL = {name: find("loss", name) for name in REGISTRY["loss"]}
LOSSES = {name: make for name, make in ALL.items() if issubclass(make, ScoreLoss)}
ARGUMENTS = {
    Hinge: {"margin": 0.7},
    TripletLogistic: {"sigma": 3.0},
    PointwiseCrossEntropy: {"ratio": 2.5},
    RetrievalTask: {"corrected": False, "remove_accidental_hits": False},
    NEG: {"negatives": 2.5},
    NCE: {"negatives": 2.5},
    CosineContrastive: {"margin": 0.2, "weight": 2.5},
}
APART = (
    PointwiseCrossEntropy,
    NEG,
    NCE,
    CosineContrastive,
)  # positives and negatives by themselves
log, exp, log1p = math.log, math.exp, math.log1p

each = pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES)
any_loss = pytest.mark.parametrize("make", ALL.values(), ids=ALL)
SCALED = {name: make for name, make in ALL.items() if "temperature" in keywords(make)}
scaled = pytest.mark.parametrize("make", SCALED.values(), ids=SCALED)


def table(loss, scores, mask=None, weight=None):
    return loss(scores, mask, weight)


def parts(loss, scores, mask=None, weight=None):
    """The same scores, as each row's own negatives, next to a shared one that does not count.

    To NCE that one would be a draw all the same, so it gets none. To NEG a row's own negatives are
    no draws.
    """
    if type(loss) is NEG:
        return table(loss, scores, mask, weight)
    scores = tf.convert_to_tensor(scores)
    own = scores[:, 1:] if mask is None else tf.where(mask, scores[:, 1:], MASKED)
    size = scores.shape[0]
    num = 0 if type(loss) is NCE else 1
    none = tf.zeros([num, 2]), tf.zeros([num], tf.int32), tf.fill([num], MASKED)
    return loss.of(
        Scores(tf.ones([size, 2]), scores[:, 0], tf.range(1, size + 1), own, *none), weight
    )


both = pytest.mark.parametrize("way", [table, parts])


def made(make, **others):
    return make(**ARGUMENTS.get(make, {}), **others)


def data(seed, rows=7, negatives=5):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(rows, 1 + negatives), scale=2).astype("float32")
    mask = rng.random((rows, negatives)) < 0.7
    mask[2] = False  # a row without any negative
    return scores, mask, rng.exponential(size=rows).astype("float32")


def value_and_gradient(way, loss, scores, mask=None, weight=None):
    scores = tf.constant(scores)
    with tf.GradientTape() as tape:
        tape.watch(scores)
        value = way(loss, scores, mask, weight)
    return value.numpy(), tape.gradient(value, scores).numpy()


# exp s is (2; 3, 5) in the first row and (4; 1, 3) in the second. The mask takes away the 5 and the
# 1.
SCORES = np.log([[2, 3, 5], [4, 1, 3]]).astype("float32")
MASK = np.array([[True, False], [False, True]])
SOFTMAX = [log(10 / 2), log(8 / 4)], [log(5 / 2), log(7 / 4)]
BY_HAND = {  # the rows' losses, without the mask and with it
    UncorrectedSoftmax: ({}, *SOFTMAX),
    SampledSoftmax: ({}, *SOFTMAX),
    # margin + s- - s+ is 1 + log 3/2, 1 + log 5/2; 1 + log 1/4 = -0.39 -> 0, 1 + log 3/4
    Hinge: (
        {"margin": 1.0},
        [(2 + log(15 / 4)) / 2, (0 + 1 + log(3 / 4)) / 2],
        [1 + log(3 / 2), 1 + log(3 / 4)],
    ),
    # 1 + exp(s- - s+) is 5/2, 7/2; 5/4, 7/4
    BPR: ({}, [log(5 / 2 * 7 / 2) / 2, log(5 / 4 * 7 / 4) / 2], [log(5 / 2), log(7 / 4)]),
    # 1 + exp(2 (s- - s+)) is 1 + 9/4 = 13/4, 1 + 25/4 = 29/4; 1 + 1/16 = 17/16, 1 + 9/16 = 25/16
    TripletLogistic: (
        {"sigma": 2.0},
        [log(13 / 4 * 29 / 4) / 2, log(17 / 16 * 25 / 16) / 2],
        [log(13 / 4), log(25 / 16)],
    ),
    # 1 + exp(-s+) is 3/2; 5/4, and 1 + exp(s-) is 4, 6; 2, 4
    PointwiseCrossEntropy: (
        {"ratio": 3.0},
        [log(3 / 2) + 3 * log(4 * 6) / 2, log(5 / 4) + 3 * log(2 * 4) / 2],
        [log(3 / 2) + 3 * log(4), log(5 / 4) + 3 * log(4)],
    ),
    # The same with 4 / N = 2 instead of 3 / 2, and with the mask too: N is how many were drawn.
    NEG: (
        {"negatives": 4.0},
        [log(3 / 2) + 2 * log(4 * 6), log(5 / 4) + 2 * log(2 * 4)],
        [log(3 / 2) + 2 * log(4), log(5 / 4) + 2 * log(4)],
    ),
    # exp(s - log 4) is (1/2; 3/4, 5/4) and (1; 1/4, 3/4)
    NCE: (
        {"negatives": 4.0},
        [log(3) + 2 * log(7 / 4 * 9 / 4), log(2) + 2 * log(5 / 4 * 7 / 4)],
        [log(3) + 2 * log(7 / 4), log(2) + 2 * log(7 / 4)],
    ),
    # s- - margin is log 3/2, log 5/2; log 1/2 -> 0, log 3/2
    CosineContrastive: (
        {"margin": log(2), "weight": 4.0},
        [1 - log(2) + 2 * log(3 / 2 * 5 / 2), 1 - log(4) + 2 * log(3 / 2)],
        [1 - log(2) + 4 * log(3 / 2), 1 - log(4) + 4 * log(3 / 2)],
    ),
}


@both
@each
def test_by_hand(make, way):
    arguments, whole, masked = BY_HAND[make]
    loss, weight = make(**arguments), np.array([3, 1], "float32")
    for mask, (first, second) in (None, whole), (MASK, masked):
        assert way(loss, SCORES, mask).numpy() == pytest.approx((first + second) / 2, rel=1e-5)
        # The mean divides by the number of rows, not by the weights' sum.
        assert way(loss, SCORES, mask, weight).numpy() == pytest.approx(
            (3 * first + second) / 2, rel=1e-5
        )


@both
@pytest.mark.parametrize("make", [UncorrectedSoftmax, SampledSoftmax])
def test_worked_values(make, way):
    # METHODS.md: logits (1, -1, -1, -1) have a cross-entropy of 0.34075; divided by 0.2, of
    # 0.000136.
    logits = np.array([[1, -1, -1, -1]] * 3, "float32")
    assert way(make(), logits).numpy() == pytest.approx(0.34075, abs=5e-6)
    assert way(make(), logits / 0.2).numpy() == pytest.approx(0.000136, abs=5e-7)


def softplus(x):
    return max(x, 0) + log1p(exp(-abs(x)))


def mean(values):
    return sum(values) / max(len(values), 1)


def softmax(positive, negatives, num):
    return log1p(sum(exp(negative - positive) for negative in negatives))


def negative_sampling(positive, negatives, num, shift=0.0):
    return softplus(shift - positive) + 2.5 / num * sum(
        softplus(negative - shift) for negative in negatives
    )


TWINS = {  # of a positive, the negatives that count, and how many there are in all
    CosineContrastive: lambda positive, negatives, num: (
        1 - positive + 2.5 * mean([max(0, negative - 0.2) for negative in negatives])
    ),
    UncorrectedSoftmax: softmax,
    SampledSoftmax: softmax,
    Hinge: lambda positive, negatives, num: mean(
        [max(0, 0.7 + negative - positive) for negative in negatives]
    ),
    BPR: lambda positive, negatives, num: mean(
        [softplus(negative - positive) for negative in negatives]
    ),
    TripletLogistic: lambda positive, negatives, num: mean(
        [softplus(3.0 * (negative - positive)) for negative in negatives]
    ),
    PointwiseCrossEntropy: lambda positive, negatives, num: (
        softplus(-positive) + 2.5 * mean([softplus(negative) for negative in negatives])
    ),
    NEG: negative_sampling,
    NCE: lambda positive, negatives, num: negative_sampling(
        positive, negatives, num, shift=log(2.5)
    ),
}


def twin(make, scores, mask, weight):
    total = 0.0
    for i, (positive, *negatives) in enumerate(np.float64(scores)):
        kept = [negative for j, negative in enumerate(negatives) if mask[i, j]]
        total += float(weight[i]) * TWINS[make](positive, kept, len(negatives))
    return total / len(scores)


@both
@each
def test_matches_the_slow_twin_and_its_differences(make, way):
    for seed in range(3):
        scores, mask, weight = data(seed)
        value, gradient = value_and_gradient(way, made(make), scores, mask, weight)
        assert value == pytest.approx(twin(make, scores, mask, weight), rel=1e-5)
    for at in np.ndindex(scores.shape):
        ends = []
        for move in 1e-5, -1e-5:
            moved = np.float64(scores)
            moved[at] += move
            ends.append(twin(make, moved, mask, weight))
        assert gradient[at] == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=2e-5)


@both
@each
def test_a_masked_negative_moves_nothing_whatever_its_score(make, way):
    scores, mask, weight = data(3)
    value, gradient = value_and_gradient(way, made(make), scores, mask, weight)
    assert not gradient[:, 1:][~mask].any() and gradient[:, 1:][mask].any()
    for other in 1e4, -1e4, 1e30:
        moved = scores.copy()
        moved[:, 1:][~mask] = other
        again = value_and_gradient(way, made(make), moved, mask, weight)
        assert again[0] == value
        np.testing.assert_array_equal(again[1], gradient)


@both
@each
def test_what_moves_it_and_what_does_not(make, way):
    scores, mask, weight = data(4)
    loss = made(make)
    value = way(loss, scores, mask, weight).numpy()
    order = np.random.default_rng(0).permutation(mask.shape[1])
    shuffled = np.concatenate([scores[:, :1], scores[:, 1:][:, order]], axis=1)
    assert way(loss, shuffled, mask[:, order], weight).numpy() == pytest.approx(value, rel=1e-6)
    assert way(loss, scores, mask, 2 * weight).numpy() == pytest.approx(2 * value, rel=1e-6)
    # the positives are one higher
    better = scores - np.eye(1, scores.shape[1], dtype="float32") * -1
    assert way(loss, better, mask, weight).numpy() < value - 1e-2
    worse = np.concatenate([scores[:, :1], scores[:, 1:] + 1], axis=1)
    assert way(loss, worse, mask, weight).numpy() > value + 1e-2


@both
@each
def test_a_row_of_no_weight_is_not_there(make, way):
    scores, mask, weight = data(5)
    weight[:3] = 0
    value, gradient = value_and_gradient(way, made(make), scores, mask, weight)
    rest = way(made(make), scores[3:], mask[3:], weight[3:]).numpy()
    assert value == pytest.approx(rest * 4 / 7, rel=1e-6)  # of 7 rows 4 are left
    assert not gradient[:3].any() and gradient[3:].any()


@both
@each
def test_rows_do_not_mix(make, way):
    scores, mask, _ = data(6)
    for i in range(len(scores)):
        only = np.eye(len(scores), dtype="float32")[i]
        value, gradient = value_and_gradient(way, made(make), scores, mask, only)
        assert not np.delete(gradient, i, axis=0).any()
        others = -3 * scores
        others[i] = scores[i]
        assert way(made(make), others, mask, only).numpy() == pytest.approx(value, rel=1e-6)


@both
@each
def test_a_row_without_negatives_is_finite(make, way):
    scores, mask, _ = data(7)
    alone = way(made(make), scores, mask, np.eye(7, dtype="float32")[2]).numpy() * 7
    # Nothing to lose against; those that judge each pair by itself still want the positive high.
    expected = TWINS[make](scores[2, 0], [], 5) if make in APART else 0
    assert alone == pytest.approx(expected, rel=1e-6)
    value, gradient = value_and_gradient(way, made(make), scores, np.zeros_like(mask))
    assert np.isfinite(value) and np.isfinite(gradient).all()


@both
@each
@pytest.mark.parametrize("size", [1e4, 1e6])
def test_scores_of_any_size_give_numbers(make, way, size):
    # all 27 of a positive and two negatives
    signs = np.array(np.meshgrid(*[[-1, 0, 1]] * 3)).reshape(3, -1).T
    scores = (signs * size).astype("float32")
    for mask in None, np.tile([[True, False]], [27, 1]):
        value, gradient = value_and_gradient(way, made(make), scores, mask)
        assert np.isfinite(value) and np.isfinite(gradient).all()
        slow = twin_of_large(make, scores, mask)
        assert value == pytest.approx(slow, rel=1e-5)


def twin_of_large(make, scores, mask):
    if make in (UncorrectedSoftmax, SampledSoftmax):
        kept = [row if mask is None else row[:2] for row in np.float64(scores)]
        return mean([np.logaddexp.reduce(row) - row[0] for row in kept])
    return twin(make, scores, np.ones([27, 2], bool) if mask is None else mask, np.ones(27))


@both
@pytest.mark.parametrize("make", [UncorrectedSoftmax, SampledSoftmax])
def test_a_small_loss_of_large_scores_is_exact(make, way):
    # log(1 + e^-5) = 0.0067153 whatever is added to both; at 20,000 the next float is 0.002 away.
    scores = np.array([[20000, 19995]], "float32")
    assert way(make(), scores).numpy() == pytest.approx(log1p(exp(-5)), rel=1e-5)


@each
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_scores_meet_in_float32(make, dtype):
    scores, mask, weight = data(8)
    scores = tf.cast(scores, dtype)
    value = made(make)(scores, mask, tf.cast(weight, dtype))
    assert value.dtype == tf.float32
    weight = tf.cast(tf.cast(weight, dtype), tf.float32).numpy()
    assert value.numpy() == pytest.approx(
        twin(make, tf.cast(scores, tf.float32).numpy(), mask, weight), rel=1e-5
    )


def of_vectors(loss, query, item, ids, step=0):
    return loss.of_vectors(query, item, ids, [Candidates(ids, item)], step)


@scaled
def test_the_temperature_divides_the_scores(make):
    rng = np.random.default_rng(9)
    query, item = (tf.constant(rng.normal(size=(6, 3)), tf.float32) for _ in range(2))
    ids = tf.range(6)
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([10], [0.5, 0.1])
    warm, cold = (of_vectors(made(make), query / tau, item, ids).numpy() for tau in (0.5, 0.1))
    assert abs(warm - cold) > 1e-2
    assert of_vectors(made(make, temperature=0.1), query, item, ids).numpy() == pytest.approx(
        cold, rel=1e-5
    )
    learned = made(make, temperature=LearnedTemperature(0.1))
    assert of_vectors(learned, query, item, ids).numpy() == pytest.approx(cold, rel=1e-5)
    for step, expected in (3, warm), (30, cold):
        value = of_vectors(
            made(make, temperature=schedule), query, item, ids, tf.constant(step, tf.int64)
        )
        assert value.numpy() == pytest.approx(expected, rel=1e-5)


@any_loss
def test_it_teaches_which_item_is_the_positive(make):
    rng = np.random.default_rng(10)
    query, item = (
        tf.Variable(rng.normal(size=(12, 6), scale=0.1), dtype=tf.float32) for _ in range(2)
    )
    loss, ids, adam = made(make), tf.range(12), keras.optimizers.Adam(0.1)
    adam.build([query, item])

    @tf.function(jit_compile=False)
    def step():
        with tf.GradientTape() as tape:
            value = of_vectors(loss, query, item, ids)
        adam.apply(tape.gradient(value, [query, item]))
        return value

    values = [step().numpy() for _ in range(60)]
    assert values[-1] < 0.5 * values[0]
    assert (np.argmax(query.numpy() @ item.numpy().T, axis=1) == np.arange(12)).all()


TEMPERATURES = [
    0.07,
    keras.optimizers.schedules.ExponentialDecay(0.5, 100, 0.9),
    LearnedTemperature(0.3, lowest=0.02),
]


@scaled
@pytest.mark.parametrize("temperature", TEMPERATURES, ids=["number", "scheduled", "learned"])
def test_config_round_trip(make, temperature):
    loss = made(make, temperature=temperature)
    for name, parameter in keywords(make).items():
        assert getattr(loss, name) != parameter.default, f"{name} is not put to the test"
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(again) is make and again.get_config() == loss.get_config()
    for name in keywords(make):
        one, other = getattr(again, name), getattr(loss, name)
        assert type(one) is type(other) and (name == "temperature" or one == other)
    for step in 0, 70:
        assert float(again.temperature_at(step)) == pytest.approx(float(loss.temperature_at(step)))


WRONG = [0, -1, float("nan"), float("inf"), "1e-3"]


@scaled
@pytest.mark.parametrize("value", WRONG)
def test_refuses_what_is_not_above_0(make, value):
    with pytest.raises(
        ValueError, match="temperature must be a number above 0, a schedule or learned"
    ):
        make(temperature=value)
    for name, given in ARGUMENTS.get(make, {}).items():
        if isinstance(given, bool):
            continue
        with pytest.raises(ValueError, match=f"{name} must be a number above 0, not"):
            make(**{name: value})
