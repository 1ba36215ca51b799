"""A folder of checkpoints: one process holds it, whatever becomes of that process."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from tf_recall.config import Config
from tf_recall.runs.claim import LOCK, begin, claimed, remove

HOLD = """
import sys, time
from tf_recall.runs.claim import claimed
with claimed(sys.argv[1], resume=True):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the folder `run`."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_by_name_and_changes_nothing(tmp_path, holder):
    (tmp_path / "run" / "3").mkdir()
    refusal = f"in use by another run, process {holder.pid} on {socket.gethostname()}: .*name"
    for resume in (False, True):
        with pytest.raises(ValueError, match=refusal), claimed(tmp_path / "run", resume):
            pytest.fail("both hold the folder")
    assert (tmp_path / "run" / "3").is_dir()


def test_a_killed_process_holds_nothing(tmp_path, holder):
    (tmp_path / "run" / "3").mkdir()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert json.loads((tmp_path / "run" / LOCK).read_text())["pid"] == holder.pid  # left behind
    with claimed(tmp_path / "run", resume=True):
        assert json.loads((tmp_path / "run" / LOCK).read_text())["pid"] == os.getpid()
        assert (tmp_path / "run" / "3").is_dir()  # to resume from


def test_of_two_that_come_at_once_one_holds_the_folder(tmp_path):
    code = HOLD.replace("time.sleep(60)", "time.sleep(3)")
    commands = [[sys.executable, "-c", code, str(tmp_path / "run")]] * 4
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for command in commands]
    results = [process.communicate(timeout=60) for process in processes]
    assert sorted(out for out, _ in results) == ["", "", "", "held\n"]
    assert sum("in use by another run" in error for _, error in results) == 3


def test_a_lock_of_another_host_is_respected(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).write_text(json.dumps({"pid": 7, "host": "elsewhere"}))
    refusal = f"process 7 on elsewhere.*remove .*{LOCK}"
    with pytest.raises(ValueError, match=refusal), claimed(tmp_path / "run"):
        pytest.fail("the other host may still write")


def test_a_failed_run_can_be_resumed_or_begun_anew(tmp_path):
    with pytest.raises(KeyboardInterrupt), claimed(tmp_path / "run"):
        (tmp_path / "run" / "3").mkdir()
        raise KeyboardInterrupt
    with claimed(tmp_path / "run", resume=True):
        assert (tmp_path / "run" / "3").is_dir()
    with claimed(tmp_path / "run"):
        assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK]
    assert not (tmp_path / "run").exists()  # nothing to resume from


def test_only_folders_of_ours_are_removed(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("1")
    refusal = "no run of tf_recall wrote: move them away"
    with pytest.raises(ValueError, match=refusal), claimed(tmp_path / "thesis"):
        pytest.fail("these files are somebody's")
    remove(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "1"
    with claimed(tmp_path / "run"):
        remove(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"), claimed(tmp_path / "file" / "run"):
        pytest.fail("there is no folder")


SECTIONS = {"data": {"name": "a"}, "split": {"name": "b"}, "model": {"name": "c"}}


@pytest.mark.parametrize(
    ("change", "different"),
    [
        ({"data": {"name": "x"}}, "data"),
        ({"split": {"name": "b", "test": 0.1}}, "split"),
        ({"model": {"name": "c", "dim": 1e-10}}, "model"),
        ({"train": {"seed": 1, "batch_size": 8}}, "train.batch_size, train.seed"),
        ({"train": {"monitor": "ndcg@5"}}, "train.monitor"),
        ({"train": {"epochs": 3, "patience": 2, "jit_compile": True, "strategy": "tpu"}}, None),
        ({"evaluate": {"ks": [5]}, "index": {"name": "ivf"}, "k_max": 50, "name": "n"}, None),
    ],
)
def test_a_run_is_the_same_if_its_weights_are(tmp_path, change, different):
    begin(tmp_path, Config.from_dict(SECTIONS))
    changed = Config.from_dict({**SECTIONS, **change})
    if different is None:
        begin(tmp_path, changed)
        return
    with pytest.raises(ValueError, match=rf"another config \({different} differ\)"):
        begin(tmp_path, changed)
    begin(tmp_path, Config.from_dict(SECTIONS))  # the note is as it was
