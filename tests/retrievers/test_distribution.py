"""Two replicas, of one process or of two, end where one device with the whole batch does."""

import contextlib
import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tf_recall.retrievers.distribution import gather, num_replicas, rank

ONE_PROCESS = ("local", "graph")  # kinds of the program that have both replicas in one
PROGRAM, TIMEOUT = Path(__file__).with_name("two_replicas.py"), 400


def start(log, env, *arguments):
    with open(log, "w") as out:
        return subprocess.Popen(
            [sys.executable, PROGRAM, *arguments], env=env, stdout=out, stderr=subprocess.STDOUT
        )


@pytest.fixture(scope="module")
def ends(tmp_path_factory, free_ports):
    """`ends(*kinds)`: what each process of these kinds saw and where it ended, by name. They run
    side by side.
    """
    env = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }

    @functools.cache
    def run(*kinds):
        folder = tmp_path_factory.mktemp("replicas")
        cluster = {"worker": [f"localhost:{port}" for port in free_ports(2)]}
        processes = {}
        for kind in kinds:
            for index in range(1 if kind in ONE_PROCESS else 2):
                task = {"cluster": cluster, "task": {"type": "worker", "index": index}}
                given = {} if kind in ONE_PROCESS else {"TF_CONFIG": json.dumps(task)}
                log = folder / f"{kind}{index}.log"
                processes[log.stem] = start(log, {**env, **given}, kind, folder)
        with contextlib.suppress(subprocess.TimeoutExpired):
            for process in processes.values():
                process.wait(TIMEOUT)
        # None: still running
        failed = {name: each.poll() for name, each in processes.items() if each.poll() != 0}
        for process in processes.values():
            process.kill()
            process.wait()
        said = [f"--- {log.stem}\n{log.read_text()[-5000:]}" for log in folder.glob("*.log")]
        assert not failed, "\n".join([f"exit codes: {failed}", *said])
        return {path.stem: dict(np.load(path)) for path in folder.glob("*.npz")}

    return run


# by default two replicas of one process stand for those of two, which run the same code
@pytest.fixture(params=[1, pytest.param(2, marks=pytest.mark.slow)], ids=["one process", "two"])
def by_replica(request, ends):
    """`by_replica(name)`: what each of the two replicas saw under it."""
    if request.param == 2:
        seen = ends("probe")
        return lambda name: [seen[f"worker{replica}"][f"{name}/0"] for replica in range(2)]
    seen = ends("local")["mirrored"]
    return lambda name: [seen[f"{name}/{replica}"] for replica in range(2)]


def test_gather_gives_every_replica_the_rows_of_all(by_replica):
    for rows in by_replica("rows"):
        np.testing.assert_array_equal(rows, [[1, 2], [3, 4], [11, 12], [13, 14]])
    for ids in by_replica("ids"):  # integers, and one row more from the second replica
        np.testing.assert_array_equal(ids, [5, 6, 6])


def test_a_row_gets_the_gradients_of_all_replicas(by_replica):
    # the loss weighs the numbers by 0 ... 7, then by ten times that
    first, second = by_replica("dense")
    np.testing.assert_array_equal(first, [[0, 11], [22, 33]])
    np.testing.assert_array_equal(second, [[44, 55], [66, 77]])
    # rows 0, 3 and 3 are read, by weight 1, then 2
    first, second = by_replica("sparse")
    np.testing.assert_array_equal(first, [[3, 3], [0, 0]])
    np.testing.assert_array_equal(second, [[0, 0], [6, 6]])


def test_without_replicas_there_is_one():
    x = tf.constant([[1.0, 2]])
    assert gather(x) is x
    assert (num_replicas(), int(rank())) == (1, 0)


def test_replicas_know_how_many_they_are(by_replica):
    assert all(count == 2 for count in by_replica("num_replicas"))


@pytest.mark.parametrize(
    "name, model",
    [
        ("mirrored", "two_tower"),
        # by default `test_propagation` trains over a graph on two replicas
        pytest.param("mirrored", "graph_sage", marks=pytest.mark.slow),
        pytest.param("worker0", "two_tower", marks=pytest.mark.slow),
        pytest.param("worker1", "two_tower", marks=pytest.mark.slow),
    ],
)
def test_training_ends_where_one_device_ends(ends, name, model):
    local = ends("graph" if model == "graph_sage" else "local")
    one = local["one"]
    other = (ends("worker") if name.startswith("worker") else local)[name]
    for key in (key for key in one if key.startswith(model)):
        np.testing.assert_allclose(other[key], one[key], rtol=1e-5, atol=1e-5, err_msg=key)
    assert one[f"{model}/evaluated"] < one[f"{model}/loss"][-1] < one[f"{model}/loss"][0]
