"""Weight decay of tables: by hand, beside the dense one, in expectation, and what it leaves."""

from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_recall.losses.temperature import LearnedTemperature
from tf_recall.retrievers.optimizers import LazyAdam, SparseAdagrad, prepare

all_ours = pytest.mark.parametrize("ours", [SparseAdagrad, LazyAdam])


def rows_of(indices, values, num_rows):
    values = tf.convert_to_tensor(values, tf.float32)
    return tf.IndexedSlices(
        values, tf.constant(indices), tf.constant([num_rows, *values.shape[1:]])
    )


def applied(optimizer, variable, steps, jit=False):
    """The variable after each step's gradient, an array or `IndexedSlices`."""
    optimizer.build([variable])
    apply = tf.function(
        lambda gradient: optimizer.apply([gradient], [variable]),
        jit_compile=jit,
        reduce_retracing=not jit,
    )
    for gradient in steps:
        apply(gradient)
    return variable.numpy()


def test_by_hand():
    # A step's share is 1 - 0.5 * 0.5 = 0.75. Step 1 has row 1, steps 2 and 3 row 2, twice. Row 1
    # shrinks to 0.75; row 2 catches up at step 2 to 0.75^2 = 0.5625, at step 3 to 0.421875; row 0
    # is in no batch and stays.
    zero = [[0.0]]
    steps = [rows_of([1], zero, 3), rows_of([2, 2], zero * 2, 3), rows_of([2, 2], zero * 2, 3)]
    optimizer = SparseAdagrad(0.5, weight_decay=0.5)
    found = applied(optimizer, keras.Variable(np.ones((3, 1), "float32")), steps)
    np.testing.assert_allclose(found.ravel(), [1, 0.75, 0.421875], rtol=1e-6)


def test_the_gradient_comes_after_the_decay_and_is_not_decayed():
    # 1 * (1 - 0.5 * 0.5) - 0.5 * 3 / sqrt(7 + 9) = 0.75 - 0.375
    optimizer = SparseAdagrad(0.5, 7.0, epsilon=0.0, weight_decay=0.5)
    found = applied(optimizer, keras.Variable([[1.0], [1.0]]), [rows_of([1], [[3.0]], 2)])
    np.testing.assert_allclose(found.ravel(), [1, 0.375], rtol=1e-6)


def drawn(shares, num_steps, seed):
    """Each step's rows, of which row r is in a step with probability `shares[r]`."""
    generator = np.random.default_rng(seed)
    present = generator.random((num_steps, len(shares))) < shares
    return [np.flatnonzero(each) for each in present if each.any()]


@pytest.mark.parametrize("jit", [False, True], ids=["plain", "xla"])
def test_equals_the_dense_one_where_the_last_batch_has_every_row(jit):
    """Adagrad moves no row without gradient, so all that is left to differ is the decay."""
    rate = keras.optimizers.schedules.CosineDecay(0.0, 60, 0.1, warmup_target=0.5, warmup_steps=9)
    generator = np.random.default_rng(0)
    steps = [
        rows_of(rows, generator.normal(size=(len(rows), 2)), 8)
        for rows in [*drawn(np.linspace(0.05, 0.9, 8), 60, seed=1), np.arange(8)]
    ]
    start = generator.normal(size=(8, 2)).astype("float32")
    ours = SparseAdagrad(rate, 0.1, weight_decay=0.2)
    dense = keras.optimizers.Adagrad(rate, 0.1, weight_decay=0.2)
    one = applied(ours, keras.Variable(start), steps, jit)
    other = applied(dense, keras.Variable(start), [tf.convert_to_tensor(each) for each in steps])
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    plain = applied(SparseAdagrad(rate, 0.1), keras.Variable(start), steps)
    assert np.abs(one - plain).max() > 0.1


@all_ours
def test_a_rare_row_decays_as_much_as_a_popular_one_in_expectation(ours):
    """Without gradients dense decay leaves the share (1 - 0.1 * 0.02)^200 = 0.67 of each row."""
    shares = np.repeat([0.05, 0.2, 0.9], 300)
    steps = [
        rows_of(rows, np.zeros((len(rows), 1)), len(shares)) for rows in drawn(shares, 200, seed=2)
    ]
    start = np.ones((len(shares), 1), "float32")
    found = applied(ours(0.1, weight_decay=0.02), keras.Variable(start), steps)
    dense = (1 - 0.1 * 0.02) ** 200
    # a row has missed 1 / share steps on average since it was last in a batch
    means = found.reshape(3, 300).mean(axis=1)
    np.testing.assert_allclose(
        means, dense * (1 - 0.1 * 0.02) ** -(1 / shares[::300] - 1), rtol=5e-3
    )
    np.testing.assert_allclose(means, dense, rtol=0.05)


def test_small_steps_add_up_after_large_ones():
    """20,000 steps of 1e-6 are 2 %; float32 would not move from -8, the sum of the steps before."""
    optimizer = SparseAdagrad(1.0, weight_decay=1 - np.exp(-1))
    variable = keras.Variable(np.ones((2, 1), "float32"))
    first, both = (rows_of(range(n), np.zeros((n, 1)), 2) for n in (1, 2))
    for _ in range(8):
        optimizer.apply([both], [variable])
    variable.assign([[1.0], [1.0]])
    optimizer.learning_rate = 1e-6 / optimizer.weight_decay

    @tf.function
    def steps():
        for _ in tf.range(20_000):
            optimizer.apply([first], [variable])

    steps()
    optimizer.apply([both], [variable])
    np.testing.assert_allclose(variable.numpy()[1], np.exp(-0.02), rtol=2e-5)


@all_ours
def test_dense_weights_decay_at_each_step_and_what_is_excluded_does_not(ours):
    names = ["kernel", "embeddings", "kept"]
    variables = [keras.Variable(np.ones((4, 2), "float32"), name=name) for name in names]
    scalar = LearnedTemperature(0.1).log
    before = scalar.numpy()
    optimizer = ours(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["kept"])
    none = rows_of([1], [[0.0, 0.0]], 4)
    for _ in range(2):
        optimizer.apply([tf.zeros((4, 2)), none, none, tf.zeros(())], [*variables, scalar])
    kernel, embeddings, kept = [each.numpy()[:, 0] for each in variables]
    np.testing.assert_allclose(kernel, 0.95**2, rtol=1e-6)
    np.testing.assert_allclose(embeddings, [1, 0.95**2, 1, 1], rtol=1e-6)
    np.testing.assert_array_equal(kept, 1)
    assert scalar.numpy() == before


def test_an_optimizer_of_keras_leaves_a_learned_temperature_alone_too():
    temperature, kernel = LearnedTemperature(0.1).log, keras.Variable([[1.0]])
    before = temperature.numpy()
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    prepare(optimizer)
    optimizer.apply([tf.zeros(()), tf.zeros((1, 1))], [temperature, kernel])
    assert temperature.numpy() == before
    np.testing.assert_allclose(kernel.numpy(), 0.95)


@all_ours
@pytest.mark.parametrize("weight_decay", [None, 0.0])
def test_none_keeps_no_state(ours, weight_decay):
    variable = keras.Variable([[1.0], [1.0]])
    plain, optimizer = ours(0.1), ours(0.1, weight_decay=weight_decay)
    for each in (plain, optimizer):
        each.build([variable])
    assert len(plain.variables) == len(optimizer.variables)


@all_ours
def test_the_state_goes_through_a_checkpoint(ours, tmp_path):
    make = partial(ours, 0.1, weight_decay=0.5)
    steps = [rows_of(rows, np.ones((len(rows), 2)), 9) for rows in drawn(np.full(9, 0.3), 20, 3)]
    whole = keras.Variable(np.ones((9, 2), "float32"))
    expected = applied(make(), whole, steps)

    def state(optimizer, variable):
        variables = [variable, *optimizer.variables]
        return tf.train.Checkpoint(variables=[each.value for each in variables])

    first, again = (keras.Variable(np.full((9, 2), start, "float32")) for start in (1, 0))
    optimizer = make()
    applied(optimizer, first, steps[:7])
    path = state(optimizer, first).write(str(tmp_path / "weights"))
    other = make()
    other.build([again])
    state(other, again).read(path).assert_consumed()
    np.testing.assert_array_equal(applied(other, again, steps[7:]), expected)
