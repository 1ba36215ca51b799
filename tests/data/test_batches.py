"""Batches: every row at most once an epoch, orders that follow the seed, and a resume that reads
the same.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_recall.data import batches as batches_module
from tf_recall.data.batches import Batches


def columns(num_rows):
    rows = np.arange(num_rows, dtype=np.int32)
    return {
        "query": {"user": rows, "history": np.stack([rows, -rows], 1)},
        "item": {"item": rows + 1},
    }


def rows_of(batches, epoch):
    steps = range(epoch * batches.steps_per_epoch, (epoch + 1) * batches.steps_per_epoch)
    return np.concatenate([batches.at(step)["query"]["user"] for step in steps])


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of three batches of ten and pools of forty rows: 103 rows are several of each."""
    monkeypatch.setattr(batches_module, "BLOCK_ROWS", 30)
    monkeypatch.setattr(batches_module, "POOL_ROWS", 40)


@pytest.mark.parametrize("run", [1, 4, 7])
def test_every_row_at_most_once_an_epoch(small_blocks, run):
    batches = Batches(columns(103), batch_size=10, run=run)
    assert batches.steps_per_epoch == len(batches) == (103 - 103 % run) // 10
    for epoch in range(3):
        rows = rows_of(batches, epoch)
        assert len(rows) == len(set(rows)) == 10 * batches.steps_per_epoch
        assert rows.min() >= 0 and rows.max() < 103


@pytest.mark.parametrize("run", [1, 4])
def test_rows_left_out_are_not_always_the_same(small_blocks, run):
    batches = Batches(columns(103), batch_size=10, run=run)
    assert set(np.concatenate([rows_of(batches, epoch) for epoch in range(20)])) == set(range(103))


@pytest.mark.parametrize("run", [1, 4])
def test_the_order_follows_seed_and_epoch(small_blocks, run):
    def order(seed, epoch):
        return rows_of(Batches(columns(103), batch_size=10, seed=seed, run=run), epoch).tolist()

    assert order(0, 0) == order(0, 0)
    assert order(0, 3) == order(0, 3)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)
    assert order(0, 1) != order(1, 0)
    assert order(0, 0) != list(range(100))


def test_the_columns_stay_together():
    batches = Batches(columns(103), batch_size=10)
    batch = batches.at(17)
    assert list(batch) == ["query", "item"] and list(batch["query"]) == ["user", "history"]
    rows = batch["query"]["user"]
    np.testing.assert_array_equal(batch["query"]["history"], np.stack([rows, -rows], 1))
    np.testing.assert_array_equal(batch["item"]["item"], rows + 1)
    assert rows.shape == (10,) and rows.dtype == np.int32


def test_the_shuffle_is_uniform():
    """Over many seeds each row is as often in each place: 2000 draws of 12 places, six deviations
    allowed.
    """
    places = np.zeros((12, 12))
    for seed in range(2000):
        order = Batches({"row": np.arange(12)}, batch_size=12, seed=seed).at(0)["row"]
        places[order, np.arange(12)] += 1
    assert np.abs(places - 2000 / 12).max() < 6 * np.sqrt(2000 / 12)


def test_runs_are_mixed():
    """Runs of 64 rows in pools of 64 runs: a batch of 256 should hold few rows of any run, and no
    run is told apart.
    """
    batches = Batches({"row": np.arange(64 * 64 * 4)}, batch_size=256, run=64)
    shares = [
        np.bincount(batches.at(step)["row"] // 64, minlength=256)
        for step in range(batches.steps_per_epoch)
    ]
    assert np.max(shares) <= 12  # 4 on average were 64 runs mixed, 1 were all 256.
    order = np.concatenate([batches.at(step)["row"] for step in range(batches.steps_per_epoch)])
    assert np.mean(np.abs(np.diff(order)) == 1) < 0.05


def test_other_rows_are_neighbors_each_epoch(monkeypatch):
    """With a pool of one run, every ten places hold one run: ten neighbors, which start elsewhere
    each epoch.
    """
    monkeypatch.setattr(batches_module, "POOL_ROWS", 10)
    batches = Batches({"row": np.arange(100)}, batch_size=10, run=10)
    starts = set()
    for epoch in range(20):
        rows = np.sort(batches.at(epoch * 10)["row"])
        start = (
            rows[0] if rows[-1] - rows[0] == 9 else rows[np.flatnonzero(np.diff(rows) > 1)[0] + 1]
        )
        assert set((start + np.arange(10)) % 100) == set(rows)
        starts.add(int(start) % 10)
    assert len(starts) > 5


@pytest.mark.parametrize("run", [1, 4])
def test_start_is_skip(small_blocks, run):
    batches = Batches(columns(103), batch_size=10, run=run)
    for start in (0, 2, 7, 10, 23):
        ours, skipped = batches.dataset(start=start), batches.dataset().skip(start)
        for step, (one, other) in enumerate(
            zip(ours.take(25), skipped.take(25), strict=True), start
        ):
            at = batches.at(step)
            for side, name in (("query", "user"), ("query", "history"), ("item", "item")):
                np.testing.assert_array_equal(one[side][name], other[side][name])
                np.testing.assert_array_equal(one[side][name], at[side][name])


def test_two_iterations_at_once(small_blocks):
    """Epochs apart, so that neither may rely on the order the other has just computed."""
    batches = Batches(columns(103), batch_size=10, run=4)
    for one, other in zip(
        batches.dataset().take(30), batches.dataset(start=15).take(30), strict=True
    ):
        assert not np.array_equal(one["query"]["user"], other["query"]["user"])
    for step, (one, other) in enumerate(
        zip(batches.dataset().take(30), batches.dataset(15), strict=False)
    ):
        np.testing.assert_array_equal(one["query"]["user"], batches.at(step)["query"]["user"])
        np.testing.assert_array_equal(
            other["query"]["user"], batches.at(step + 15)["query"]["user"]
        )


def test_the_dataset_is_endless_with_static_shapes():
    dataset = Batches(columns(103), batch_size=10).dataset()
    assert dataset.cardinality() == tf.data.INFINITE_CARDINALITY
    spec = dataset.element_spec
    assert spec["query"]["history"] == tf.TensorSpec([10, 2], tf.int32)
    assert spec["item"]["item"] == tf.TensorSpec([10], tf.int32)


def test_the_graph_holds_no_columns():
    """A million rows: the dataset's graph must stay small."""
    dataset = Batches({"x": np.zeros((1_000_000, 4), np.float32)}, batch_size=1000).dataset()
    assert len(dataset._as_serialized_graph().numpy()) < 100_000


def test_a_batch_larger_than_the_data_is_the_data():
    batches = Batches(columns(7), batch_size=100)
    assert batches.batch_size == 7 and batches.steps_per_epoch == 1
    assert sorted(batches.at(5)["query"]["user"]) == list(range(7))
    for _, batch in zip(range(3), batches.dataset(), strict=False):
        assert sorted(batch["query"]["user"].numpy()) == list(range(7))


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint32, np.float16, np.float64, bool])
def test_dtypes_pass_through(dtype):
    batch = next(iter(Batches({"x": np.ones(20, dtype)}, 5).dataset()))
    assert batch["x"].dtype == tf.as_dtype(dtype)


class Recorder(keras.Model):
    """Keeps the rows that its training steps saw."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)
        self.seen = []

    def call(self, inputs, training=False):
        return self.dense(tf.cast(inputs["user"], tf.float32)[:, None])

    def train_step(self, data):
        tf.numpy_function(lambda rows: self.seen.append(rows.copy()), [data["user"]], [])
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(self(data) ** 2)
        variables = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        return {"loss": loss}


@pytest.mark.parametrize("steps_per_execution", [1, 4])
def test_fit_reads_every_batch_and_resumes(steps_per_execution):
    """A model not built yet loses no batch to the building; the optimizer's iterations are the step
    to go on at.

    With steps_per_execution 4, Keras makes 12 steps of an epoch of 10: the iterations count, not
    the epochs.
    """
    batches = Batches({"user": np.arange(100, dtype=np.int32)}, 10)
    model = Recorder()
    model.compile(
        keras.optimizers.SGD(1e-9), steps_per_execution=steps_per_execution, jit_compile=False
    )
    for epoch in range(3):
        model.fit(
            batches.dataset(start=int(model.optimizer.iterations)),
            steps_per_epoch=batches.steps_per_epoch,
            initial_epoch=epoch,
            epochs=epoch + 1,
            verbose=0,
            shuffle=False,
        )
    assert len(model.seen) == int(model.optimizer.iterations) >= 30
    for step, rows in enumerate(model.seen):
        np.testing.assert_array_equal(rows, batches.at(step)["user"])


@pytest.mark.parametrize(
    "given, message",
    [
        (dict(batch_size=0), "batch_size is 0"),
        (dict(batch_size=-3), "batch_size is -3"),
        (dict(batch_size=4, run=0), "run is 0"),
        (dict(batch_size=4, run=11), "between 1 and the number of rows, 10"),
    ],
)
def test_sizes_out_of_range(given, message):
    with pytest.raises(ValueError, match=message):
        Batches(columns(10), **given)


@pytest.mark.parametrize(
    "given, message",
    [
        ({}, "no columns"),
        ({"query": {}}, "no columns"),
        ({"user": np.zeros(0, np.int32)}, "no rows"),
        (
            {"query": {"user": np.zeros(3)}, "item": {"item": np.zeros(4)}},
            "'query/user': 3, 'item/item': 4",
        ),
        ({"title": np.array(["a", "b"])}, "'title'.*Vocabulary.encode"),
        ({"title": np.array(["a", None], dtype=object)}, "'title'.*Vocabulary.encode"),
        ({"user": 7}, "first axis"),
    ],
)
def test_columns_that_cannot_be_batched(given, message):
    with pytest.raises(ValueError, match=message):
        Batches(given, 2)


def test_steps_before_the_first():
    batches = Batches(columns(10), 2)
    with pytest.raises(ValueError, match="step is -1"):
        batches.at(-1)
    with pytest.raises(ValueError, match="start is -1"):
        batches.dataset(start=-1)


def thinned(keep, batch_size=10, seed=0):
    return Batches(columns(len(keep)), batch_size, seed, keep=np.array(keep, np.float32))


def test_a_row_is_in_an_epoch_by_its_chance():
    """72 of 150 rows an epoch, all of them in batches: 400 epochs, six deviations allowed."""
    keep = np.repeat([1.0, 0.6, 0.3, 0.0, 0.5], 30)  # 30 + 18 + 9 + 0 + 15 = 72
    batches = thinned(keep, batch_size=12)
    assert batches.steps_per_epoch == 6
    epochs = [rows_of(batches, epoch) for epoch in range(400)]
    assert all(len(rows) == len(set(rows)) == 72 for rows in epochs)
    rates = np.bincount(np.concatenate(epochs), minlength=150) / 400
    assert np.abs(rates - keep).max() < 6 * np.sqrt(0.25 / 400)
    assert (rates[keep == 1] == 1).all() and (rates[keep == 0] == 0).all()
    for chance in 0.6, 0.3, 0.5:  # of all rows of one chance: 12,000 draws
        assert rates[keep == chance].mean() == pytest.approx(chance, abs=6 * np.sqrt(0.25 / 12_000))


def test_rows_that_may_be_dropped_are_drawn_anew_and_by_the_seed():
    def order(seed, epoch):
        return rows_of(thinned(np.full(100, 0.5), seed=seed), epoch).tolist()

    assert order(0, 0) == order(0, 0) and order(0, 3) == order(0, 3)
    assert len({tuple(sorted(order(seed, epoch))) for seed in range(3) for epoch in range(3)}) == 9
    assert order(0, 0) != sorted(order(0, 0))


@pytest.mark.parametrize(
    "keep, num", [([0.5] * 21, 10), ([0.75] * 30 + [1.0] * 3, 25), ([0.1] * 100, 10)]
)
def test_every_epoch_has_as_many_rows(keep, num):
    """Rounded down: 10.5 are 10. A tenth is none in binary; a hundred of them are 10 all the
    same.
    """
    batches = thinned(keep, batch_size=1)
    assert batches.steps_per_epoch == num
    for epoch in range(20):
        assert len(set(rows_of(batches, epoch))) == num
    assert thinned(keep, batch_size=200).batch_size == num


def test_a_chance_of_one_keeps_every_row_where_it_was():
    every, none = thinned(np.ones(103)), Batches(columns(103), batch_size=10)
    assert every.steps_per_epoch == none.steps_per_epoch
    for epoch in 0, 5:
        np.testing.assert_array_equal(rows_of(every, epoch), rows_of(none, epoch))


def test_thinned_batches_resume(small_blocks):
    batches = thinned(np.linspace(0.1, 1, 103))
    assert batches.steps_per_epoch == 5  # 103 * 0.55 = 56.65
    for start in 0, 3, 5, 12:
        steps = zip(batches.dataset(start).take(8), batches.dataset().skip(start), strict=False)
        for step, (one, other) in enumerate(steps, start):
            rows = one["query"]["user"].numpy()
            np.testing.assert_array_equal(rows, other["query"]["user"])
            np.testing.assert_array_equal(rows, batches.at(step)["query"]["user"])
            np.testing.assert_array_equal(rows + 1, one["item"]["item"])


@pytest.mark.parametrize(
    "keep, run, message",
    [
        (np.ones(9), 1, r"for each of the 10 rows; got \(9,\)"),
        (np.ones((10, 1)), 1, r"got \(10, 1\)"),
        (np.full(10, 1.1), 1, "a probability between 0 and 1"),
        (np.full(10, -0.1), 1, "a probability between 0 and 1"),
        (np.full(10, np.nan), 1, "a probability between 0 and 1"),
        (np.ones(10), 2, "leave out run=2"),
        (np.full(10, 0.09), 1, "less than one row"),
    ],
)
def test_probabilities_out_of_range(keep, run, message):
    with pytest.raises(ValueError, match=message):
        Batches(columns(10), 2, run=run, keep=keep)
