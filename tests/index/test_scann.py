"""ScaNN in its three sizes, made small; two searchers that must not mix."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tf_recall.index import Exact, ScaNN

pytest.importorskip("scann", reason="ScaNN is not installed")
from tf_recall.index import scann as module  # noqa: E402


@pytest.fixture(scope="module")
def drawn():
    generator = np.random.default_rng(0)
    centers = generator.standard_normal([60, 16])
    drawn = centers[generator.integers(60, size=6200)] + 0.4 * generator.standard_normal([6200, 16])
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(params=["exact", "compressed", "partitioned", "partitioned, various lengths"])
def size(request, monkeypatch):
    limits = {"exact": (10_000, 20_000), "compressed": (1000, 10_000)}.get(
        request.param, (1000, 2000)
    )
    monkeypatch.setattr(module, "FEW", limits[0])
    monkeypatch.setattr(module, "MANY", limits[1])
    return request.param


def test_each_size_finds_what_is_wanted_on_other_queries(size, drawn):
    if size.endswith("lengths"):
        drawn = drawn * np.random.default_rng(2).uniform(0.7, 1.5, [len(drawn), 1]).astype(
            np.float32
        )
    vectors, queries = drawn[:6000], drawn[6000:]
    index = ScaNN().build(vectors)
    assert (index.lists > 1) == size.startswith("partitioned")
    assert index.recall >= 0.95
    scores, positions = (part.numpy() for part in index.search(queries, 100))
    true = Exact().build(vectors).search(queries, 100)[1].numpy()
    assert np.mean([len(set(f) & set(t)) / 100 for f, t in zip(positions, true, strict=True)]) > 0.9
    np.testing.assert_allclose(
        scores, np.einsum("bd,bkd->bk", queries, vectors[positions]), atol=1e-5
    )
    np.testing.assert_array_equal(index.vectors_at(positions), vectors[positions])


def test_each_size_gives_as_many_as_are_asked_for(size, drawn):
    """More than the lists of one visit hold, and more than are rescored by default."""
    index = ScaNN(num_probes=1, reorder=100, min_recall=0).build(drawn[:6000])
    positions = index.search(drawn[6000:6005], 2500, np.arange(50).reshape(5, 10))[1].numpy()
    assert (positions >= 0).all()
    assert all(len(set(row)) == 2500 for row in positions)


def test_two_in_one_process_do_not_mix(drawn):
    first, second = (ScaNN().build(vectors) for vectors in (drawn[:3000], drawn[3000:6000]))
    search = tf.function(lambda queries: (first.search(queries, 5), second.search(queries, 5)))
    both = search(drawn[6000:6010])
    for index, vectors, answer in zip(
        (first, second), (drawn[:3000], drawn[3000:6000]), both, strict=True
    ):
        expected = Exact().build(vectors).search(drawn[6000:6010], 5)
        np.testing.assert_allclose(answer[0], expected[0], rtol=1e-5)
        np.testing.assert_array_equal(answer[1], expected[1])
        np.testing.assert_array_equal(index.search(drawn[6000:6010], 5)[1], expected[1])


def test_without_the_package_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "scann.scann_ops.py", None)
    with pytest.raises(ImportError, match=r"pip install 'tf_recall\[scann\]'"):
        ScaNN()


def test_short_rows_end_in_minus_infinity_not_in_nan(size, drawn):
    index = ScaNN(num_probes=1, reorder=100, min_recall=0).build(drawn[:6000])
    scores, _ = index._candidates(
        drawn[6000:6005], tf.constant(3000), tf.constant(1), tf.constant(3000)
    )
    assert not np.isnan(scores).any()
    assert np.isneginf(scores).any() == size.startswith("partitioned")


def test_no_variable_holds_what_was_never_set(drawn):
    index = ScaNN().build(drawn[:500])
    numbers = [
        each.numpy() for each in index.state if each.shape.rank == 0 and each.dtype != tf.string
    ]
    assert numbers and not any(numbers)


@pytest.mark.parametrize("sizes", [(1000, 10_000), (1000, 2000)], ids=["compressed", "partitioned"])
def test_recall_is_kept_at_any_k_and_with_the_best_excluded(sizes, drawn, monkeypatch):
    monkeypatch.setattr(module, "FEW", sizes[0])
    monkeypatch.setattr(module, "MANY", sizes[1])
    vectors, like, queries = drawn[:6000], drawn[6000:6100], drawn[6100:]
    index = ScaNN().build(vectors, like)
    exact = Exact().build(vectors)
    order = exact.search(queries, 2000)[1].numpy()
    for k in (10, 100, 1000, 2000):
        for excluded in (0, 100, 500, 2000):
            best = order[:, :excluded]
            found = index.search(queries, k, best)[0].numpy()
            true = exact.search(queries, k, best)[0].numpy()
            least = 0.92 if k <= 100 and not excluded else 0.95
            assert np.mean(found >= true[:, -1:] - 1e-5) >= least, (k, excluded)
    assert index.sizes.numpy()[0, 0].tolist() == [index.probes, 0]  # a plain search is as before


THREADS = """
import gc, os
import numpy as np
from tf_recall.index import ScaNN
from tf_recall.index import scann as module

def threads():
    gc.collect()
    return len(os.listdir("/proc/self/task"))

def more():
    before = threads()
    for _ in range(4):
        index = ScaNN().build(vectors[3000:])
        index.search(vectors[:2], 10)
        del index
    return threads() - before

module.FEW = 1000  # compressed: then a searcher has a thread
vectors = np.random.default_rng(0).standard_normal([6000, 16]).astype(np.float32)
other = ScaNN().build(vectors[:3000])
expected = [part.numpy() for part in other.search(vectors[:3], 10)]
module._release("a name that nobody has")
found = more(), more()
assert min(found) < 4, found  # TensorFlow starts some threads of its own, once
for one, again in zip(expected, other.search(vectors[:3], 10), strict=True):
    np.testing.assert_array_equal(again, one)
"""


@pytest.mark.slow
def test_a_searcher_goes_with_its_index():
    """Each has a thread; another index's searcher, and one that was never made, do not matter."""
    command = [sys.executable, "-c", THREADS]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-2000:]
