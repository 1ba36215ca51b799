"""Row-wise optimizers: by hand, against the dense Keras ones, under XLA, and by what they leave
alone.
"""

import subprocess
import sys
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_recall.features.embedding import RowEmbedding
from tf_recall.retrievers.optimizers import AdagradAdam, LazyAdam, SparseAdagrad, prepare

# where ours starts by default
Adagrad = partial(keras.optimizers.Adagrad, initial_accumulator_value=1e-6)
PAIRS = [(SparseAdagrad, Adagrad), (LazyAdam, keras.optimizers.Adam)]
pairs = pytest.mark.parametrize("ours, dense", PAIRS)
all_ours = pytest.mark.parametrize("ours", [SparseAdagrad, LazyAdam])
xla = pytest.mark.parametrize("jit", [False, True], ids=["plain", "xla"])


def table(num_rows=6, dim=3, seed=0):
    return keras.Variable(
        np.random.default_rng(seed).normal(size=(num_rows, dim)).astype("float32")
    )


def slices(rows, values, num_rows=6):
    values = tf.convert_to_tensor(values, tf.float32)
    return tf.IndexedSlices(values, tf.constant(rows), tf.constant([num_rows, *values.shape[1:]]))


def run(optimizer, variables, steps, jit=False):
    """Applies each step's gradients in one compiled function; gradients become dense ones for a
    Keras optimizer.
    """
    by_row = isinstance(optimizer, SparseAdagrad | LazyAdam)
    optimizer.build(variables)
    apply = tf.function(lambda gradients: optimizer.apply(gradients, variables), jit_compile=jit)
    for gradients in steps:
        apply(gradients if by_row else [tf.convert_to_tensor(gradient) for gradient in gradients])
    return [variable.numpy() for variable in variables]


def steps(rows, num_steps=4, dim=3, num_rows=6, seed=1):
    generator = np.random.default_rng(seed)
    return [
        [slices(rows, generator.normal(size=(len(rows), dim)), num_rows)] for _ in range(num_steps)
    ]


def test_adagrad_by_hand():
    # Row 1 comes twice: gradient 1 + 2 = 3, accumulator 7 + 9 = 16, so it moves by 0.5 * 3 / 4 =
    # 0.375. Row 3 once: gradient 3, the same. Were the copies squared apart, row 1's accumulator
    # would be 7 + 1 + 4.
    variable = keras.Variable(np.ones((4, 1), "float32"))
    optimizer = SparseAdagrad(0.5, initial_accumulator_value=7.0, epsilon=0.0)
    optimizer.apply([slices([1, 3, 1], [[1], [3], [2]], 4)], [variable])
    assert variable.numpy().ravel().tolist() == [1, 0.625, 1, 0.625]
    assert optimizer._accumulators[0].numpy().ravel().tolist() == [7, 16, 7, 16]


def test_adam_by_hand():
    # beta 1/2 and 3/4, gradient 1 + 3 = 4: m = 2, v = 4; step 1 scales by sqrt(1 - 3/4) / (1 - 1/2)
    # = 1, so row 2 moves by 0.1 * 2 / 2. Step 2 leaves it out: it stays, as do its moments.
    variable = keras.Variable(np.ones((4, 1), "float32"))
    optimizer = LazyAdam(0.1, beta_1=0.5, beta_2=0.75, epsilon=0.0)
    optimizer.apply([slices([2, 2], [[1], [3]], 4)], [variable])
    np.testing.assert_allclose(variable.numpy().ravel(), [1, 1, 0.9, 1], rtol=1e-6)
    optimizer.apply([slices([0], [[5]], 4)], [variable])
    assert variable.numpy()[0] < 1
    np.testing.assert_allclose(variable.numpy().ravel()[1:], [1, 0.9, 1], rtol=1e-6)
    assert [optimizer._momentums[0].numpy()[2, 0], optimizer._velocities[0].numpy()[2, 0]] == [2, 4]


@pairs
@xla
@pytest.mark.parametrize(
    "options",
    [
        {"epsilon": 0.4},
        {"clipnorm": 0.5},
        {"global_clipnorm": 0.5},
        {"clipvalue": 0.3},
        {"weight_decay": 0.7},
    ],
    ids=str,
)
def test_equals_the_dense_optimizer_where_every_row_is_touched(ours, dense, jit, options):
    rows = [0, 1, 2, 3, 4, 5, 1, 1, 4]
    one, other = table(), table()
    run(ours(0.1, **options), [one], steps(rows), jit)
    run(dense(0.1, **options), [other], steps(rows))
    np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=2e-6, atol=1e-6)
    assert abs(one.numpy() - table().numpy()).min() > 1e-4


@xla
def test_adagrad_equals_the_dense_one_whatever_rows_come(jit):
    one, other = table(num_rows=50), table(num_rows=50)
    generator = np.random.default_rng(3)
    batches = [
        [slices(generator.integers(0, 50, 12), generator.normal(size=(12, 3)), 50)]
        for _ in range(6)
    ]
    run(SparseAdagrad(0.1, clipnorm=1.5), [one], batches, jit)
    run(Adagrad(0.1, clipnorm=1.5), [other], batches)
    np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=2e-6, atol=1e-6)


def lazy_adam_twin(start, batches, rate, beta_1=0.9, beta_2=0.999, epsilon=1e-7, amsgrad=False):
    """The docstring's formula, row by row."""
    variable = np.float64(start)
    m, v, largest = (np.zeros_like(variable) for _ in range(3))
    for step, [gradient] in enumerate(batches, 1):
        rows = gradient.indices.numpy()
        for row in set(rows.tolist()):
            total = gradient.values.numpy()[rows == row].sum(0)
            m[row] += (1 - beta_1) * (total - m[row])
            v[row] += (1 - beta_2) * (total**2 - v[row])
            largest[row] = np.maximum(largest[row], v[row])
            scale = rate * np.sqrt(1 - beta_2**step) / (1 - beta_1**step)
            variable[row] -= (
                scale * m[row] / (np.sqrt(largest[row] if amsgrad else v[row]) + epsilon)
            )
    return variable


@xla
@pytest.mark.parametrize("amsgrad", [False, True])
def test_adam_matches_the_slow_twin(jit, amsgrad):
    generator = np.random.default_rng(4)
    batches = [
        [slices(generator.integers(0, 20, 9), generator.normal(size=(9, 3)), 20)] for _ in range(6)
    ]
    variable = table(num_rows=20)
    expected = lazy_adam_twin(variable.numpy(), batches, 0.1, amsgrad=amsgrad, beta_2=0.5)
    run(LazyAdam(0.1, amsgrad=amsgrad, beta_2=0.5), [variable], batches, jit)
    np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-5, atol=1e-6)


@all_ours
@xla
def test_rows_left_out_keep_their_bits_and_the_order_of_rows_does_not_matter(ours, jit):
    one, other = table(num_rows=40), table(num_rows=40)
    rows = np.array([7, 3, 7, 39, 0])
    batches = steps(rows, num_rows=40)
    order = np.array([4, 2, 3, 1, 0])
    shuffled = [[slices(rows[order], gradient.values.numpy()[order], 40)] for [gradient] in batches]
    run(ours(0.1, clipnorm=0.2), [one], batches, jit)
    run(ours(0.1, clipnorm=0.2), [other], shuffled, jit)
    np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-5, atol=1e-6)
    moved = np.flatnonzero((one.numpy() != table(num_rows=40).numpy()).any(1))
    assert moved.tolist() == [0, 3, 7, 39]


@pairs
def test_dense_variables_go_the_keras_way_and_count_in_the_global_norm(ours, dense):
    kernel = np.random.default_rng(5).normal(size=(3, 2)).astype("float32")
    results = []
    for make in (ours, dense):
        variables = [keras.Variable(kernel), table(), table(seed=9)]
        gradients = steps([0, 1, 2, 3, 4, 5, 0]), steps([5, 5, 4, 3, 2, 1, 0], seed=2)
        batches = [
            [tf.constant(kernel * 2), *one, *other] for one, other in zip(*gradients, strict=True)
        ]
        results.append(run(make(0.1, global_clipnorm=0.7), variables, batches))
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-6, atol=1e-6)


@pairs
@pytest.mark.parametrize("shape", [(6,), (6, 2, 2)], ids=str)
def test_tables_of_other_rank(ours, dense, shape):
    start = np.random.default_rng(6).normal(size=shape).astype("float32")
    rows, values = [0, 1, 2, 3, 4, 5, 5], np.random.default_rng(7).normal(size=(7, *shape[1:]))
    results = [
        run(make(0.1, clipnorm=0.5), [keras.Variable(start)], [[slices(rows, values)]])[0]
        for make in (ours, dense)
    ]
    np.testing.assert_allclose(*results, rtol=2e-6, atol=1e-6)


@pairs
def test_learning_rate_schedules(ours, dense):
    rate = keras.optimizers.schedules.ExponentialDecay(0.5, decay_steps=1, decay_rate=0.3)
    one, other = table(), table()
    run(ours(rate), [one], steps(range(6)))
    run(dense(rate), [other], steps(range(6)))
    np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=2e-6, atol=1e-6)


@all_ours
def test_a_step_reads_no_whole_table(ours):
    """No dense read of the table or its state is left in the graph of a step, with any clipping."""
    clippings = {"clipnorm": 1.0}, {"global_clipnorm": 1.0}, {"clipvalue": 1.0}
    for options in ({}, *clippings, {"weight_decay": 0.1}):
        variable, optimizer = table(num_rows=1234), ours(0.1, **options)
        optimizer.build([variable])
        gradient = slices([3, 3, 5], tf.ones([3, 3]), 1234)
        graph = (
            tf.function(partial(optimizer.apply, [gradient], [variable]))
            .get_concrete_function()
            .graph
        )
        whole = [
            op
            for op in graph.get_operations()
            if any(1234 in (out.shape or ()) for out in op.outputs)
        ]
        assert whole == []


class Sums(keras.Model):
    """A table and a dense layer; the batch carries the target, so that the step is Keras's own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.table, self.head = RowEmbedding(50, 4), keras.layers.Dense(1)

    def call(self, data):
        return self.head(tf.reduce_sum(self.table(data["rows"]), axis=1))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return tf.reduce_mean((tf.cast(y_pred, tf.float32) - x["target"]) ** 2)


def data(num_rows=64):
    generator = np.random.default_rng(8)
    rows = generator.integers(0, 50, (num_rows, 3)).astype("int32")
    return {"rows": rows, "target": (rows % 5).sum(1, keepdims=True).astype("float32")}


def trained(optimizer, epochs=3, **options):
    keras.utils.set_random_seed(0)
    model = Sums(**options)
    model.compile(optimizer, jit_compile=False)
    history = model.fit(data(), batch_size=16, epochs=epochs, shuffle=False, verbose=0)
    return model, history.history["loss"]


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "mixed_bfloat16"])
@all_ours
def test_fits_in_any_precision_with_its_loss_scale(ours, policy):
    model, losses = trained(ours(0.1), epochs=10, dtype=policy)
    assert losses[-1] < losses[0] / 5
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer) == (
        policy == "mixed_float16"
    )


@all_ours
def test_loss_scale_divides_rows_and_skips_what_is_not_finite(ours):
    one, other = table(), table()
    scaled = keras.optimizers.LossScaleOptimizer(ours(0.1), initial_scale=8.0)
    scaled.apply([slices([1, 1, 2], np.full((3, 3), 8.0))], [one])
    ours(0.1).apply([slices([1, 1, 2], np.ones((3, 3)))], [other])
    np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-6)
    scaled.apply([slices([1, 1, 2], np.full((3, 3), np.inf))], [one])
    np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-6)
    assert float(scaled.dynamic_scale) == 4


@all_ours
def test_loss_scale_sees_each_gradient_of_a_row(ours):
    variable = table()
    scaled = keras.optimizers.LossScaleOptimizer(ours(0.1), initial_scale=8.0)
    prepare(scaled)
    infinite_before = np.ones((3, 3))
    infinite_before[0] = np.inf  # Keras alone looks at the row's last gradient
    scaled.apply([slices([1, 1, 2], infinite_before)], [variable])
    np.testing.assert_array_equal(variable.numpy(), table().numpy())
    assert float(scaled.dynamic_scale) == 4
    scaled.apply([slices([1, 1, 2], np.ones((3, 3)))], [variable])
    assert np.isfinite(variable.numpy()).all() and np.any(variable.numpy() != table().numpy())


def test_tables_learn_by_adagrad_and_matrices_by_adam():
    generator = np.random.default_rng(3)
    both = AdagradAdam(0.01, tables=20, weight_decay=0.1)
    alone = SparseAdagrad(0.2, epsilon=0.0, weight_decay=0.005), LazyAdam(0.01, weight_decay=0.1)
    start = generator.normal(size=[6, 3]), generator.normal(size=[3, 3])
    one, other = ([keras.Variable(each, dtype="float32") for each in start] for _ in range(2))
    both.build(one)
    for optimizer, variable in zip(alone, other, strict=True):
        optimizer.build([variable])
    for _ in range(5):
        rows = generator.integers(0, 6, 9)
        table, matrix = slices(rows, generator.normal(size=[9, 3])), tf.random.normal([3, 3])
        both.apply([table, matrix], one)
        alone[0].apply([table], other[:1])
        alone[1].apply([matrix], other[1:])
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)
    assert AdagradAdam.from_config(both.get_config()).tables == 20


def of_keras():
    """The optimizers of Keras itself; those that hold others are tested by name."""
    found = [getattr(keras.optimizers, name) for name in dir(keras.optimizers)]
    optimizer = keras.optimizers.Optimizer
    found = [each for each in found if isinstance(each, type) and issubclass(each, optimizer)]
    return set(found) - {
        optimizer,
        keras.optimizers.LossScaleOptimizer,
        keras.optimizers.MultiOptimizer,
    }


OPTIONS = [
    {"clipnorm": 0.5},
    {"clipvalue": 0.3},
    {"global_clipnorm": 0.5},
    {"use_ema": True, "ema_overwrite_frequency": 2},
    {"gradient_accumulation_steps": 2},
    {"weight_decay": 0.1},
    {"loss_scale_factor": 2.0},
]
PLAIN = [(kind, {}) for kind in sorted(of_keras(), key=lambda kind: kind.__name__)]
FEW = [(kind, each) for kind in (keras.optimizers.Adam, keras.optimizers.SGD) for each in OPTIONS]
ALL = [(kind, each) for kind, _ in PLAIN for each in OPTIONS if (kind, each) not in FEW]


def same_by_rows(make):
    """Whether rows, of which some repeat, move a table and a matrix as whole gradients do."""
    generator = np.random.default_rng(9)
    by_row, whole = make(), make()
    prepare(by_row)
    results = []
    batches = [
        (generator.integers(0, 6, 9), generator.normal(size=[9, 3]), generator.normal(size=[3, 3]))
        for _ in range(4)
    ]
    for optimizer in (by_row, whole):
        variables = [
            keras.Variable(np.ones([6, 3], "float32"), name="embeddings"),
            keras.Variable(np.ones([3, 3], "float32"), name="kernel"),
        ]
        optimizer.build(variables)
        for rows, values, kernel in batches:
            gradient = slices(rows, values)
            if optimizer is whole:
                gradient = tf.convert_to_tensor(gradient)
            optimizer.apply([gradient, tf.constant(kernel, tf.float32)], variables)
        results.append([variable.numpy() for variable in variables])
    for one, other in zip(*results, strict=True):
        assert (one != 1).any()
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("kind, option", PLAIN + FEW, ids=str)
def test_an_optimizer_of_keras_sees_the_sum_of_a_row(kind, option):
    same_by_rows(lambda: kind(learning_rate=0.1, **option))


@pytest.mark.slow
@pytest.mark.parametrize("kind, option", ALL, ids=str)
def test_every_option_of_every_optimizer_of_keras_sees_the_sum_of_a_row(kind, option):
    same_by_rows(lambda: kind(learning_rate=0.1, **option))


def test_optimizers_inside_of_others_see_it_too():
    adam, sgd, adagrad = (getattr(keras.optimizers, name) for name in ("Adam", "SGD", "Adagrad"))
    same_by_rows(lambda: keras.optimizers.LossScaleOptimizer(adagrad(0.1)))
    split = keras.optimizers.OptimizerMap
    same_by_rows(lambda: keras.optimizers.MultiOptimizer(split(adam(0.1), {"kernel": sgd(0.1)})))
    outer = keras.optimizers.LossScaleOptimizer(LazyAdam(0.1, use_ema=True))
    with pytest.raises(ValueError, match="leave use_ema=True out of LazyAdam"):
        prepare(outer)


@all_ours
@pytest.mark.parametrize(
    "option",
    [
        {"use_ema": True},
        {"gradient_accumulation_steps": 2},
        {"loss_scale_factor": 2.0},
    ],
    ids=lambda option: next(iter(option)),
)
def test_refuses_what_would_touch_every_row(ours, option):
    with pytest.raises(ValueError, match=next(iter(option))):
        ours(0.1, **option).apply([slices([1], [[1, 1, 1]])], [table()])
    # without tables it is the Keras optimizer, options and all
    optimizer, kernel = (
        ours(0.1, **option),
        table(),
    )
    optimizer.apply([tf.ones_like(kernel)], [kernel])


@all_ours
def test_config_and_state_survive_a_save(ours, tmp_path):
    rate = keras.optimizers.schedules.CosineDecay(0.1, 100)
    optimizer = ours(rate, epsilon=1e-6, clipnorm=2.0)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert type(again) is ours and again.get_config() == optimizer.get_config()

    model = keras.Sequential(
        [keras.Input((3,), dtype="int32"), RowEmbedding(50, 1), keras.layers.Flatten()]
    )
    model.compile(ours(0.1, weight_decay=0.5), "mse")
    x, y = data()["rows"], np.ones((64, 3), "float32")
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    for one, other in zip(model.optimizer.variables, again.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    for each in (model, again):
        each.fit(x, y, verbose=0, shuffle=False, epochs=2)
    np.testing.assert_array_equal(model.get_weights()[0], again.get_weights()[0])


@all_ours
def test_errors_of_keras_pass_through(ours):
    with pytest.raises(ValueError, match="must already be built"):
        ours(0.1).apply([slices([1], [[1, 1, 1]])])
    with pytest.raises(ValueError, match="No gradients"):
        ours(0.1).apply([None], [table()])


MIRRORED = """
import contextlib
import tf_recall, tensorflow as tf, keras, numpy as np
from tf_recall.retrievers import optimizers
from tf_recall.features.embedding import RowEmbedding
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

def train(make, strategy):
    keras.utils.set_random_seed(0)
    with strategy.scope() if strategy else contextlib.nullcontext():
        inputs, table = keras.Input((3,), dtype="int32"), RowEmbedding(20, 2)
        model = keras.Sequential([inputs, table, keras.layers.Flatten()])
        model.compile(make(0.1, weight_decay=0.5), "mse", jit_compile=False)
    generator = np.random.default_rng(0)
    x = generator.integers(0, 20, (64, 3)).astype("int32")
    y = generator.normal(size=(64, 6)).astype("float32")
    model.fit(x, y, batch_size=16, epochs=3, shuffle=False, verbose=0)
    return model.get_weights()[0]

for make in (optimizers.SparseAdagrad, optimizers.LazyAdam):
    one, two = train(make, None), train(make, tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)
"""


@pytest.mark.slow
def test_two_replicas_end_where_one_device_does():
    subprocess.run([sys.executable, "-c", MIRRORED], check=True, timeout=300)
