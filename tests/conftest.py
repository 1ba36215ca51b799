"""What every test shares: the real data, a small disk, free ports, and a Redis."""

import contextlib
import gc
import os
import resource
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # as many processes as cores: more threads would wait
    for name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")

# The costliest of their kind, which run with the slow tests; others of the kind stand for them.
GRAPHS = ("graph_tr", "multi_bi_sage", "graph_sage_i2i")
LONG = (*GRAPHS, "pin_sage", "sasrec", "gru4rec", "mind", "comirec", "sdm")
PAIRS = ("simplex", "fm", "siamese", "airbnb_u2i", "airbnb_i2i", "eges")
# what these learn is shown in tests of their own
SHOWN = ("fm", "siamese", "airbnb_u2i", "airbnb_i2i", "eges", "graph_sage", "youtube_dnn")
SLOW = {
    "test_it_learns_what_was_planted": {*LONG, *SHOWN},
    "test_the_same_seed_gives_the_same_model": {*LONG, *PAIRS, "graph_sage", "youtube_dnn"},
    "test_gradients_accumulate_to_the_mean_of_two_batches": {"histories"},  # as two towers
    "test_every_family_fits_and_evaluates_as_it_is_compiled": {"histories"},
    "test_noise_cannot_be_learned_but_by_its_own_edges": {*GRAPHS, "pin_sage"},
    "test_beam_computes_what_is_served": {"graph_tr", "multi_bi_sage"},
    "test_on_beam_it_is_layer_by_layer": {"part1"},
    "test_recall_is_kept_at_any_k_and_with_the_best_excluded": {"partitioned"},
    # the contract asks an export of every model; with SASRec and ComiRec they share all else
    "test_every_index_and_a_loaded_export_answer_the_same": {"GRU4Rec-Exact"},
    "test_a_loaded_export_answers_and_explains_the_same": {"MIND-Exact"},
    # exports like those of TwoTower, Item2Vec, LightGCN and YouTubeDNN; of SASRec and ComiRec the
    # two tests above load one
    "test_it_answers_the_same_in_a_process_that_does_not_know_the_package": {
        *("airbnb_u2i", "airbnb_i2i", "eges", "fm", "sdm", "sasrec", "comirec", "mind"),
        *(*GRAPHS, "graph_sage", "pin_sage", "gru4rec", "simplex", "matrix_completion"),
    },
    "test_every_argument_survives_the_config": {
        *("graph_tr", "multi_bi_sage", "pin_sage", "gru4rec", "comirec"),
    },
    # one of a kind stands for the other
    "test_what_is_known_stays_and_what_is_new_is_learned": {
        *("item2vec", "light_gcn", "siamese", "graph_sage", "youtube_dnn"),
    },
    "test_the_same_answers_after_a_reload": {"string ids"},
    "test_a_stock_export_answers_as_the_service_did": {"Exact-True", "IVF-False"},
    "test_warm_up_requests_run": {"integer ids"},
    "test_a_run_that_is_interrupted_ends_like_one_that_is_not": {"kinds1"},
    "test_what_comes_next_is_found": {"GRU4Rec"},
    "test_what_changes_no_weight_may_change": {"change0-more0"},
    "test_a_failed_export_does_not_cost_the_training": {"sections0"},
    "test_it_learns_and_what_is_served_is_the_inner_product": {"BPR"},
    "test_ivf_keeps_its_recall_at_any_k_and_with_the_best_excluded": {
        *("each twenty times", "of any length, queries unlike items"),
    },
    "test_a_head_is_trained_and_exported": {"simplex", "graph_sage"},
    "test_xla_learns_the_same": {"easy_hard-sampled_softmax"},
    # the examples of the other models are the same few lines, and the contract trains these too
    "test_example_runs": {
        f"models.{name}"
        for name in (
            *("graph_tr.GraphTR", "multi_bi_sage.MultiBiSage", "pin_sage.PinSage"),
            *("graph_sage_i2i.GraphSAGEI2I", "sasrec.SASRec", "gru4rec.GRU4Rec"),
            *("comirec.ComiRec", "mind.MIND", "sdm.SDM", "eges.EGES"),
        )
    },
    **dict.fromkeys(
        (
            "test_it_learns_who_goes_with_whom",
            "test_new_nodes_are_attached_and_found",
            "test_a_saved_model_answers_without_its_graph",
        ),
        {"graph_tr", "multi_bi_sage", "pin_sage"},
    ),
}
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        test, _, case = item.name.partition("[")
        if case.removesuffix("]") in SLOW.get(test, ()):
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish():
    """What is imported by now stays: to look through it for garbage again and again takes longer
    than many a test.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets, or a skip with the reason."""
    if not SHARED.is_dir():
        pytest.skip(f"real data is not at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def small_disk():
    """`with small_disk(limit)`: nobody can write more than so many bytes to one file."""

    @contextlib.contextmanager
    def limited(limit):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


@pytest.fixture(scope="session")
def free_ports():
    """`free_ports(count)`: ports of this machine that nobody listens on."""

    def find(count):
        sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
        ports = [each.getsockname()[1] for each in sockets]
        for each in sockets:
            each.close()
        return ports

    return find


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory, free_ports):
    """The address of a Redis that keeps nothing, with a password."""
    from tf_recall.lists.redis_store import connect

    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    pytest.importorskip("redis")
    folder, (port,) = tmp_path_factory.mktemp("redis"), free_ports(1)
    settings = (
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        folder,
        "--requirepass",
        "secret",
    )
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(
            ["redis-server", "--port", str(port), *map(str, settings)], stdout=log, stderr=log
        )
    url = f"redis://:secret@127.0.0.1:{port}/0"
    try:
        for _ in range(100):
            try:
                connect(url)
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def url(redis_server):
    """The server, empty."""
    from tf_recall.lists.redis_store import connect

    connect(redis_server).flushall()
    return redis_server
