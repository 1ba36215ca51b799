"""What every index promises, by one test for all: an index of the registry is tested by being in
it.
"""

import importlib.util
import logging
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tf_recall.index import Exact, default_index
from tf_recall.registry import REGISTRY, find

V, D = 700, 8


@pytest.fixture(scope="module", params=sorted(REGISTRY["index"]))
def kind(request):
    if request.param == "scann" and importlib.util.find_spec("scann") is None:
        pytest.skip("ScaNN is not installed")
    return find("index", request.param)


@pytest.fixture(scope="module")
def vectors():
    generator = np.random.default_rng(0)
    centers = generator.standard_normal([20, D])
    return (
        centers[generator.integers(20, size=V)] + 0.3 * generator.standard_normal([V, D])
    ).astype(np.float32)


@pytest.fixture(scope="module")
def queries(vectors):
    return vectors[::100] + 0.1


@pytest.fixture(scope="module")
def index(kind, vectors):
    return kind().build(vectors)


def check(answer, queries, vectors, k, exclude=None):
    """Shapes; falling scores that are the products; no item twice; nothing excluded; padding only
    at the end.
    """
    scores, positions = (np.asarray(part) for part in answer)
    assert scores.shape == positions.shape == (len(queries), k)
    assert scores.dtype == np.float32 and positions.dtype == np.int32
    assert (scores[:, 1:] <= scores[:, :-1]).all()
    for row in range(len(queries)):
        real = positions[row] >= 0
        found = positions[row][real]
        assert (np.isneginf(scores[row]) == ~real).all() and (positions[row][~real] == -1).all()
        assert len(set(found)) == len(found)
        assert exclude is None or not set(found) & set(exclude[row])
        np.testing.assert_allclose(
            scores[row][real], vectors[found] @ queries[row], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("k", [1, 10, 100])
def test_answers_and_recall(index, vectors, queries, k):
    answer = index.search(queries, k)
    check(answer, queries, vectors, k)
    worst = np.sort(queries @ vectors.T, axis=1)[:, -k][:, None]
    assert np.mean(np.asarray(answer[0]) >= worst - 1e-4) >= 0.9
    assert (answer[1].numpy() >= 0).all()


def test_k_above_what_there_is_gives_every_item_once_then_padding(index, vectors, queries):
    answer = index.search(queries, V + 9)
    check(answer, queries, vectors, V + 9)
    assert (np.sort(answer[1].numpy(), axis=1)[:, 9:] == np.arange(V)).all()


def test_exclusions(index, vectors, queries):
    best = index.search(queries, 30)[1].numpy()
    exclude = np.full([len(queries), 25], -1)
    exclude[0, ::2] = best[0, :13]  # the best, between paddings
    exclude[1] = best[1, 0]  # one item, many times
    exclude[2] = best[2, 3:28]
    scores, positions = index.search(queries, 20, exclude)
    check((scores, positions), queries, vectors, 20, exclude)
    assert (positions.numpy() >= 0).all()
    np.testing.assert_array_equal(positions[3:], best[3:, :20])
    np.testing.assert_array_equal(positions[1], best[1, 1:21])


def test_all_but_two_excluded(index, vectors, queries):
    exclude = np.tile(np.delete(np.arange(V), [5, 600]), [len(queries), 1])
    answer = index.search(queries, 4, exclude)
    check(answer, queries, vectors, 4, exclude)
    assert (np.sort(answer[1].numpy(), axis=1) == [-1, -1, 5, 600]).all()


def test_equal_vectors_are_each_found_and_the_same_way_each_time(kind):
    index = kind().build(np.ones([300, 4]))
    first, again = (index.search(np.ones([2, 4]), 300)[1].numpy() for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (np.sort(first, axis=1) == np.arange(300)).all() and index.recall == 1


def test_one_graph_for_any_number_of_queries_and_any_k(index, vectors, queries):
    @tf.function(
        input_signature=[
            tf.TensorSpec([None, D]),
            tf.TensorSpec([], tf.int32),
            tf.TensorSpec([None, None], tf.int32),
        ]
    )
    def search(queries, k, exclude):
        return index.search(queries, k, exclude)

    for rows, k in ((7, 3), (1, 50), (0, 5)):
        exclude = np.arange(3 * rows, dtype=np.int32).reshape(rows, 3)
        answer = search(queries[:rows], k, exclude)
        check(answer, queries[:rows], vectors, k, exclude)
        expected = index.search(queries[:rows], k, exclude)
        np.testing.assert_array_equal(answer[1], expected[1])
    assert max(part.shape.num_elements() or 0 for part in _constants(search)) < V * D


def _constants(function):
    graph = function.get_concrete_function().graph
    return [
        operation.outputs[0] for operation in graph.get_operations() if operation.type == "Const"
    ]


def test_static_k_gives_static_shapes(index):
    function = tf.function(lambda queries: index.search(queries, 5))
    shapes = [
        part.shape.as_list()
        for part in function.get_concrete_function(tf.TensorSpec([None, D])).outputs
    ]
    assert shapes == [[None, 5], [None, 5]]


STRANGER = """
import importlib.util, sys, numpy as np, tensorflow as tf
if importlib.util.find_spec("scann"):
    from scann.scann_ops.py import scann_ops
for line in sys.stdin:
    folder = line.strip()
    module = tf.saved_model.load(folder + "/model")
    queries = tf.constant(np.load(folder + "/queries.npy"))
    for number in range(2):
        scores, positions = getattr(module, f"search_{number}")(queries, 12)
        np.savez(f"{folder}/{number}.npz", scores=scores, positions=positions)
    assert "tf_recall" not in sys.modules
    print("answered", flush=True)
"""


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """`stranger(folder)` asks the saved model of a folder in a process that does not know the
    package: one for all, which imports TensorFlow once.
    """
    log = tmp_path_factory.mktemp("stranger") / "log"
    command, pipe = [sys.executable, "-c", STRANGER], subprocess.PIPE
    with open(log, "w") as errors:
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=errors, text=True)

    def ask(folder):
        process.stdin.write(f"{folder}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "answered\n", log.read_text()[-2000:]

    yield ask
    process.stdin.close()
    process.wait(60)


def test_a_saved_model_answers_the_same_in_a_process_without_tf_recall(
    kind, index, vectors, queries, stranger, tmp_path
):
    """Two indexes in one SavedModel: a ScaNN searcher without a name of its own would answer for
    the other's.
    """
    module = tf.Module()
    module.indexes = [index, kind().build(-2 * vectors)]
    signature = [tf.TensorSpec([None, D], name="queries"), tf.TensorSpec([], tf.int32, name="k")]
    for number, each in enumerate(module.indexes):
        setattr(module, f"search_{number}", tf.function(each.search, input_signature=signature))
    tf.saved_model.save(module, str(tmp_path / "model"))
    np.save(tmp_path / "queries.npy", queries)
    stranger(tmp_path)
    for number, each in enumerate(module.indexes):
        answer = np.load(tmp_path / f"{number}.npz")
        check((answer["scores"], answer["positions"]), queries, (vectors, -2 * vectors)[number], 12)
        np.testing.assert_allclose(answer["scores"], each.search(queries, 12)[0], rtol=1e-6)


def test_vectors_at(index, vectors):
    np.testing.assert_array_equal(index.vectors_at([[3, 699], [0, 3]]), vectors[[[3, 699], [0, 3]]])
    assert index.vectors_at(tf.constant([-1, 2])).shape == (2, D)


def test_settings_round_trip(kind):
    index = kind.from_config(kind().get_config())
    assert index.get_config() == kind().get_config()


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_few_vectors(kind, rows):
    vectors = np.eye(5, dtype=np.float32)[:rows]
    check(kind().build(vectors).search(np.eye(5), 3), np.eye(5), vectors, 3)


def test_recall_is_measured_on_the_queries_given_and_logged(kind, vectors, caplog):
    with caplog.at_level(logging.INFO, "tf_recall"):
        index = kind().build(vectors, queries=vectors[:50])
    assert 0.95 <= index.recall <= 1
    assert kind is Exact or "recall@10 " in caplog.text


def test_errors(kind, index, vectors):
    with pytest.raises(ValueError, match=r"call build\(vectors\) before search"):
        kind().search(vectors[:1], 3)
    with pytest.raises(ValueError, match="700 vectors already"):
        index.build(vectors)
    for bad, message in (
        (vectors[:0], "at least one of each"),
        (vectors[0], "at least one of each"),
        (
            np.where(np.arange(V)[:, None] == 4, np.nan, vectors),
            "1 rows are not, the first is row 4",
        ),
        (np.where(np.arange(V)[:, None] == 4, np.inf, vectors), "the first is row 4"),
    ):
        with pytest.raises(ValueError, match=message):
            kind().build(bad)
    with pytest.raises(ValueError, match="8 dimensions, got 3"):
        kind().build(vectors, queries=np.ones([2, 3]))
    with pytest.raises(ValueError, match=r"must be \[B, 8\]"):
        index.search(vectors[:, :3], 5)
    with pytest.raises(ValueError, match=r"must be \[B, 8\]"):
        index.search(vectors[0], 5)
    for k in (0, -1, 2.5, [3]):
        with pytest.raises(ValueError, match="whole number, 1 or more"):
            index.search(vectors[:2], k)
    with pytest.raises(ValueError, match=r"must be \[B, E\]"):
        index.search(vectors[:2], 5, exclude=[1, 2])
    with pytest.raises(ValueError, match="a row for each of 2"):
        index.search(vectors[:2], 5, exclude=[[1, 2]])


def test_default_index_by_size():
    assert [type(default_index(size)).__name__ for size in (1, 19_999, 20_000)] == [
        "Exact",
        "Exact",
        "IVF",
    ]
    with pytest.raises(ValueError, match="1 or more"):
        default_index(0)
