"""The softmax in chunks: equal to plain autodiff over the whole table, to TensorFlow Recommenders,
and small.
"""

import gc
import subprocess
import sys
import weakref

import numpy as np
import pytest
import tensorflow as tf

from tf_recall.losses import SampledSoftmax, UncorrectedSoftmax
from tf_recall.losses import chunked as softmax
from tf_recall.losses.retrieval_task import load_tfrs
from tf_recall.losses.scores import Scores
from tf_recall.negatives.base import Candidates

ROWS, DIM, ITEMS = 23, 4, 9


def data(seed, own=False):
    """Repeated items, sampling probabilities of many orders, different weights."""
    rng = np.random.default_rng(seed)
    made = {
        "query": rng.normal(size=(ROWS, DIM)),
        "item": rng.normal(size=(ROWS, DIM)),
        "temperature": 0.3,
        "weight": rng.exponential(size=ROWS) * (rng.random(ROWS) < 0.9),
        "share": rng.dirichlet(np.full(ITEMS, 0.3)) + 1e-5,
    }
    made = {key: tf.constant(value, tf.float32) for key, value in made.items()}
    made["ids"] = tf.constant(rng.choice(ITEMS, ROWS), tf.int32)
    made["own"] = tf.constant(rng.normal(size=(ROWS, 2, DIM)), tf.float32) if own else None
    made["own_ids"] = tf.constant(rng.choice(ITEMS, (ROWS, 2)), tf.int32)
    return made


def scores_of(d, merge=False):
    candidates = [Candidates(d["ids"], d["item"])]
    if d["own"] is not None:
        candidates.append(Candidates(d["own_ids"], d["own"]))
    log_q = lambda ids: tf.math.log(tf.gather(d["share"], ids))  # noqa: E731
    return Scores.of(d["query"], d["item"], d["ids"], candidates, d["temperature"], log_q, merge)


def chunks(d, merge=False):
    return SampledSoftmax().of(scores_of(d, merge), d["weight"])


def dense(d):
    """Plain operations of TensorFlow, and its own derivatives."""
    table, mask = scores_of(d).table()
    logits = tf.concat([table[:, :1], tf.where(mask, table[:, 1:], -float("inf"))], axis=1)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
        tf.zeros(tf.shape(logits)[0], tf.int32), logits
    )
    return tf.reduce_mean(losses * d["weight"])


def with_gradients(computation, d):
    variables = [d[key] for key in ("query", "item", "temperature", "own") if d[key] is not None]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        value = computation(d)
    return [value, *tape.gradient(value, variables)]


def assert_same(ours, theirs, tolerance=1e-5):
    for one, other in zip(ours, theirs, strict=True):
        size = max(1.0, np.abs(other).max())
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * size)


@pytest.mark.parametrize("own", [False, True])
def test_equals_plain_autodiff(own):
    for seed in range(5):
        d = data(seed, own)
        theirs = with_gradients(dense, d)
        assert all(np.abs(g).max() > 1e-2 for g in theirs)
        assert_same(with_gradients(chunks, d), theirs)


# Of 23 rows: one a chunk, two (an odd end), five, ten, all.
@pytest.mark.parametrize("chunk", [1, 30, 99, 230, 10**6])
@pytest.mark.parametrize("own", [False, True])
def test_chunks_make_no_difference(monkeypatch, chunk, own):
    d = data(1, own)
    one = with_gradients(chunks, d)
    monkeypatch.setattr(softmax, "CHUNK", chunk)
    assert_same(with_gradients(chunks, d), one, 1e-6)


def test_the_cut_covers_all_rows_and_holds_little():
    cases = [
        (1, 1),
        (23, 23),
        (4096, 4096),
        (16384, 16384),
        (1000, 2**22),
        (7, 10**8),
        (2**17, 2**20),
        (65536, 65536),
    ]
    for num_rows, num_items in cases:
        num_chunks, rows = softmax._cut(num_rows, num_items)
        assert (num_chunks - 1) * rows < num_rows <= num_chunks * rows
        assert rows == 1 or (rows - 1) * num_items <= softmax.CHUNK
        # As tensors, whose product would wrap around above 2^31.
        assert [int(n) for n in softmax._cut(tf.constant(num_rows), tf.constant(num_items))] == [
            num_chunks,
            rows,
        ]


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("chunk", [50, 2**22])
def test_the_same_under_xla(monkeypatch, own, chunk):
    monkeypatch.setattr(softmax, "CHUNK", chunk)
    d = data(2, own)
    compiled = tf.function(lambda: with_gradients(chunks, d), jit_compile=True)
    assert_same(compiled(), with_gradients(dense, d))


@pytest.mark.parametrize("merge", [False, True])
@pytest.mark.parametrize("chunk", [50, 2**22])
def test_the_same_with_a_batch_of_unknown_size(monkeypatch, merge, chunk):
    monkeypatch.setattr(softmax, "CHUNK", chunk)
    d = data(3)
    d["item"] = tf.gather(d["item"], d["ids"])  # equal ids have equal vectors, as merging expects
    matrix, vector = tf.TensorSpec([None, DIM]), tf.TensorSpec([None])
    signature = [matrix, matrix, tf.TensorSpec([None], tf.int32), vector]

    @tf.function(input_signature=signature)
    def traced(query, item, ids, weight):
        assert query.shape[0] is None
        part = {**d, "query": query, "item": item, "ids": ids, "weight": weight}
        value, by_query, by_item, _ = with_gradients(lambda d: chunks(d, merge), part)
        # Merged negatives give their gradient to one of the equal vectors; what an item gets is the
        # sum.
        return value, by_query, tf.math.unsorted_segment_sum(by_item, ids, ITEMS)

    for size in ROWS, 6, 1:
        part = {**d, **{key: d[key][:size] for key in ("query", "item", "ids", "weight")}}
        value, by_query, by_item, _ = with_gradients(dense, part)
        expected = value, by_query, tf.math.unsorted_segment_sum(by_item, part["ids"], ITEMS)
        assert_same(traced(part["query"], part["item"], part["ids"], part["weight"]), expected)


def retrieval(d):
    """The peer. Its loss is a sum over the batch."""
    task = load_tfrs().tasks.Retrieval(
        temperature=float(d["temperature"]), remove_accidental_hits=True
    )
    share = tf.gather(d["share"], d["ids"])
    loss = task(d["query"], d["item"], d["weight"], share, d["ids"], compute_metrics=False)
    return loss / tf.cast(tf.shape(d["query"])[0], tf.float32)


@pytest.mark.parametrize("temperature", [1.0, 0.1])
@pytest.mark.parametrize("weighted", [True, False])
def test_equals_tensorflow_recommenders(temperature, weighted):
    for seed in range(3):
        d = {**data(seed), "temperature": tf.constant(temperature)}
        if not weighted:
            d["weight"] = None
        ours, theirs = (with_gradients(computation, d)[:3] for computation in (chunks, retrieval))
        assert_same(ours, theirs)


@pytest.mark.parametrize("log_share", [-20.0, -40.0])
def test_log_q_of_a_rare_item_is_exact(log_share):
    # Scores 0, log q 0 and -20: row 0 has log(1 + e^20), row 1 log(1 + e^-20), on average 10.
    zeros, ids = tf.zeros([2, 3]), tf.constant([0, 1])
    log_q = tf.constant([0.0, log_share])
    scores = Scores.of(
        zeros, zeros, ids, [Candidates(ids, zeros)], 0.05, lambda ids: tf.gather(log_q, ids)
    )
    assert SampledSoftmax().of(scores).numpy() == pytest.approx(-log_share / 2, rel=1e-6)
    # The peer takes a probability, and none below 1e-6: log 1e-6 = -13.8.
    share = tf.exp(log_q)
    d = {
        "query": zeros,
        "item": zeros,
        "ids": ids,
        "share": share,
        "weight": None,
        "temperature": 0.05,
    }
    assert retrieval(d).numpy() == pytest.approx(-np.log(1e-6) / 2, rel=1e-5)


def test_a_weight_gets_no_gradient_and_no_weight_is_one():
    d = data(4)
    whole = UncorrectedSoftmax().of(scores_of(d)).numpy()
    assert UncorrectedSoftmax().of(scores_of(d), tf.ones(ROWS)).numpy() == whole
    assert UncorrectedSoftmax().of(scores_of(d), tf.ones(ROWS, tf.int32)).numpy() == whole


BIG = """
import pathlib
import tensorflow as tf
from tf_recall.losses import SampledSoftmax
from tf_recall.negatives.base import Candidates
from tf_recall.losses.retrieval_task import load_tfrs
from tf_recall.losses.scores import Scores

VECTORS, IDS = tf.TensorSpec([None, 16]), tf.TensorSpec([None], tf.int32)
@tf.function(input_signature=[VECTORS, VECTORS, IDS])
def step(query, item, ids):
    with tf.GradientTape() as tape:
        tape.watch([query, item])
        log_q = lambda ids: tf.cast(-ids, tf.float32)
        scores = Scores.of(query, item, ids, [Candidates(ids, item)], 0.1, log_q, MERGE)
        value = SampledSoftmax().of(scores)
    return value, *tape.gradient(value, [query, item])

def peak(size):
    step(tf.random.normal([size, 16]), tf.random.normal([size, 16]), tf.range(size))
    # getrusage's peak is inherited from the parent
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])  # KiB

small = peak(64)
print(peak(16384) - small)
"""


@pytest.mark.slow
@pytest.mark.parametrize("merge", [False, True])
def test_memory_does_not_grow_with_rows_times_negatives(merge):
    # All scores at once would be 16384 * 16384 * 4 bytes: 1 GiB, and their gradients as much again.
    program = BIG.replace("MERGE", str(merge))
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) < 400 * 1024


def test_no_graph_outlives_its_model():
    d = data(5)
    step = tf.function(lambda: with_gradients(chunks, d)).get_concrete_function()
    graph = weakref.ref(step.graph)
    del step
    gc.collect()
    assert graph() is None
