"""In-batch softmax: by hand, against a loop in NumPy, between its two computations, and by what moves it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_recall.losses import InBatchSoftmax


def batch(seed, num_rows=24, num_items=9, dim=5):
    """Vectors of unit scale, repeated items, prices spread over many orders, uneven weights."""
    generator = np.random.default_rng(seed)
    return {
        "query": generator.normal(size=(num_rows, dim)).astype("float32"),
        "table": generator.normal(size=(num_items, dim)).astype("float32"),
        "ids": generator.choice(num_items, num_rows, p=generator.dirichlet(np.full(num_items, 0.7))),
        "log_q": np.log(generator.dirichlet(np.full(num_items, 0.3)) + 1e-9).astype("float32"),
        "weight": generator.exponential(size=num_rows).astype("float32"),
    }


def distinct(loss, query, table, ids, log_q=None, weight=None):
    rows, positive, count = tf.unique_with_counts(ids)
    log_q = None if log_q is None else tf.gather(log_q, rows)
    return loss(query, tf.gather(table, rows), positive, count, log_q=log_q, weight=weight)


def reference(loss, query, table, ids, log_q=None, weight=None):
    log_q = None if log_q is None else tf.gather(log_q, ids)
    return loss.reference(query, tf.gather(table, ids), tf.convert_to_tensor(ids), log_q=log_q, weight=weight)


def twin(temperature, query, table, ids, log_q=None, weight=None):
    """The docstring's formula, row by row in double precision."""
    query, table = np.float64(query), np.float64(table)
    log_q = np.zeros(len(table)) if log_q is None else np.float64(log_q)
    weight = np.ones(len(ids)) if weight is None else np.float64(weight)
    total = 0.0
    for i in range(len(ids)):
        g = [query[i] @ table[ids[j]] / temperature - log_q[ids[j]] for j in range(len(ids))]
        rivals = [g[j] for j in range(len(ids)) if ids[j] != ids[i]]
        total += weight[i] * (np.logaddexp.reduce([g[i], *rivals]) - g[i])
    return total / len(ids)


def value_and_gradients(computation, loss, data):
    query, table = tf.constant(data["query"]), tf.constant(data["table"])
    with tf.GradientTape() as tape:
        tape.watch([query, table])
        value = computation(loss, query, table, **{key: data[key] for key in ("ids", "log_q", "weight") if key in data})
    return [value.numpy(), *(tf.convert_to_tensor(g).numpy() for g in tape.gradient(value, [query, table]))]


both = pytest.mark.parametrize("computation", [distinct, reference])


@both
def test_by_hand(computation):
    # temperature 1/2, q = (1/2, 1/4), so G = 2 s + (log 2, log 4):
    # row 0 likes item 0: exp G = (e^0 * 2, e^{2 * 1/2} * 4) -> p = 2 / (2 + 4e), loss log(1 + 2e)
    # row 1 likes item 1: exp G = (e^{2 * -1} * 2, e^{2 * 1} * 4) -> p = 4e^2 / (4e^2 + 2e^-2), loss log(1 + e^-4 / 2)
    query = tf.constant([[0.0, 0.5], [-1.0, 1.0]])
    table = tf.constant([[1.0, 0.0], [0.0, 1.0]])
    log_q = np.log([1 / 2, 1 / 4]).astype("float32")
    rows = np.log1p(2 * np.e), np.log1p(np.exp(-4) / 2)
    loss = InBatchSoftmax(temperature=0.5)
    ids = np.array([0, 1])
    assert computation(loss, query, table, ids, log_q).numpy() == pytest.approx(np.mean(rows), rel=1e-6)
    weighted = computation(loss, query, table, ids, log_q, weight=np.array([3.0, 1.0], "float32"))
    assert weighted.numpy() == pytest.approx((3 * rows[0] + rows[1]) / 2, rel=1e-6)


@both
def test_by_hand_with_a_repeated_item(computation):
    # ids (0, 0, 1), all scores 0, no prices: rows 0 and 1 have one rival, the other is an accidental hit: log 2 each.
    # Row 2 has two rivals, both item 0: log 3.
    value = computation(InBatchSoftmax(), tf.zeros([3, 2]), tf.zeros([2, 2]), np.array([0, 0, 1]))
    assert value.numpy() == pytest.approx((2 * np.log(2) + np.log(3)) / 3, rel=1e-6)


@both
def test_worked_value_of_the_temperature(computation):
    # Logits (1, -1, -1, -1) have a cross-entropy of 0.34075; divided by 0.2, of 0.000136.
    for temperature, expected in (1.0, 0.34075), (0.2, 0.000136):
        table = tf.constant(np.where(np.eye(4), 1.0, -1.0).astype("float32"))
        value = computation(InBatchSoftmax(temperature), tf.eye(4), table, np.arange(4))
        assert value.numpy() == pytest.approx(expected, rel=2e-3)


@both
@pytest.mark.parametrize("temperature", [1.0, 0.1])
@pytest.mark.parametrize("options", [(), ("log_q",), ("weight",), ("log_q", "weight")])
def test_matches_the_slow_twin(computation, temperature, options):
    for seed in range(3):
        data = batch(seed)
        data = {key: data[key] for key in ("query", "table", "ids", *options)}
        value = computation(InBatchSoftmax(temperature), **data).numpy()
        assert value == pytest.approx(twin(temperature, **data), rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_both_computations_have_one_value_and_one_gradient(temperature):
    for seed in range(5):
        data = batch(seed)
        ours = value_and_gradients(distinct, InBatchSoftmax(temperature), data)
        theirs = value_and_gradients(reference, InBatchSoftmax(temperature), data)
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-6)


@both
def test_gradient_matches_differences(computation):
    data = batch(7, num_rows=6, num_items=4, dim=2)
    _, *gradients = value_and_gradients(computation, InBatchSoftmax(0.5), data)
    for name, gradient in zip(("query", "table"), gradients, strict=True):
        for at in np.ndindex(gradient.shape):
            ends = []
            for move in (1e-5, -1e-5):
                moved = {**data, name: np.float64(data[name])}
                moved[name][at] += move
                ends.append(twin(0.5, **moved))
            assert gradient[at] == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-5)


@both
def test_the_price_of_a_rare_item_is_exact(computation):
    # Scores 0, prices (0, -20): row 0 pays log(1 + e^20), row 1 log(1 + e^-20), half of it 10 each way. A price clipped
    # at 1e-6 (log -13.8) would give 6.9.
    log_q = np.array([0, -20], "float32")
    value = computation(InBatchSoftmax(0.05), tf.zeros([2, 3]), tf.zeros([2, 3]), np.array([0, 1]), log_q)
    assert value.numpy() == pytest.approx(10, rel=1e-6)
    log_q = np.array([0, -40], "float32")  # an item beyond any catalogue
    value = computation(InBatchSoftmax(0.05), tf.zeros([2, 3]), tf.zeros([2, 3]), np.array([0, 1]), log_q)
    assert value.numpy() == pytest.approx(20, rel=1e-6)


@both
def test_an_accidental_hit_cannot_move_a_row_however_large_its_score(computation):
    # Rows 0 and 1 share item 0, whose score for row 0 is huge. Only rivals may lower the positive's share.
    query = tf.constant([[1e4], [1.0], [1.0]])
    table = tf.constant([[1.0], [-1.0]])
    loss, ids = InBatchSoftmax(), np.array([0, 0, 1])
    first = np.array([1, 0, 0], "float32")  # the loss of row 0 alone
    assert computation(loss, query, table, ids, weight=first).numpy() == 0
    # Of equal scores the share of row 0 is 1/2, with any number of other rows that like item 0 too.
    for copies in (1, 2, 50):
        ids = np.array([0] * copies + [1])
        first = np.eye(len(ids), dtype="float32")[0] * len(ids)
        value = computation(loss, tf.zeros([len(ids), 1]), table, ids, weight=first)
        assert value.numpy() == pytest.approx(np.log(2), rel=1e-6)


@both
def test_what_moves_it_and_what_does_not(computation):
    data = batch(3)
    loss = InBatchSoftmax(0.3)
    value = computation(loss, **data).numpy()
    assert abs(computation(InBatchSoftmax(0.4), **data).numpy() - value) > 1e-2
    assert abs(computation(loss, **{**data, "log_q": None}).numpy() - value) > 1e-2
    shuffled = np.random.default_rng(0).permutation(len(data["ids"]))
    data.update({key: data[key][shuffled] for key in ("query", "ids", "weight")})
    assert computation(loss, **data).numpy() == pytest.approx(value, rel=1e-6)
    shifted = {**data, "log_q": data["log_q"] + 5}  # a factor common to all prices cancels
    assert computation(loss, **shifted).numpy() == pytest.approx(value, rel=1e-5)
    doubled = {**data, "weight": 2 * data["weight"]}
    assert computation(loss, **doubled).numpy() == pytest.approx(2 * value, rel=1e-6)


@both
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_vectors_meet_in_float32(computation, dtype):
    # 100.5 / 0.05 and its rival 99.5 / 0.05 differ by 20: 2010 and 1990 are the same number in bfloat16.
    query = tf.cast([[201.0], [199.0]], dtype)
    table = tf.cast([[0.5], [0.5]], dtype)
    ids, log_q = np.array([0, 1]), np.array([0, -2.001], "float32")
    value = computation(InBatchSoftmax(0.05), query, table, ids, log_q)
    assert value.dtype == tf.float32
    assert value.numpy() == pytest.approx((np.logaddexp(0, 2.001) + np.logaddexp(0, -2.001)) / 2, rel=1e-4)
    with tf.GradientTape() as tape:
        tape.watch(query)
        value = computation(InBatchSoftmax(0.05), query, table, ids, log_q)
    assert tape.gradient(value, query).dtype.name == dtype


def test_reference_runs_under_xla_with_the_same_result():
    data, loss = batch(1), InBatchSoftmax(0.2)
    data.pop("weight")
    value = tf.function(lambda: reference(loss, **data), jit_compile=True)()
    assert value.numpy() == pytest.approx(twin(0.2, **data), rel=1e-5)


@both
def test_trains_inside_a_keras_step(computation):
    loss = InBatchSoftmax(0.5)

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.query, self.item = keras.layers.Dense(4), keras.layers.Dense(4)

        def call(self, data):
            return computation(loss, self.query(data["query"]), self.item(tf.eye(8)), data["id"])

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return y_pred

    keras.utils.set_random_seed(0)
    model = Model()
    model.compile(keras.optimizers.Adam(0.1), jit_compile=False)
    data = {"query": np.eye(8, dtype="float32"), "id": np.arange(8, dtype="int32")}
    history = model.fit(data, batch_size=8, epochs=30, verbose=0).history["loss"]
    assert history[0] > 1.5 and history[-1] < 0.2  # log 8 is 2.08


def test_config_round_trip():
    loss = InBatchSoftmax(temperature=0.07)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert isinstance(again, InBatchSoftmax) and again.temperature == 0.07


@pytest.mark.parametrize("temperature", [0, -1, float("nan"), float("inf"), "1e-3", None])
def test_refuses_a_temperature_that_is_none(temperature):
    with pytest.raises(ValueError, match="temperature must be a number above 0"):
        InBatchSoftmax(temperature)
