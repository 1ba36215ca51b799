"""A folder of checkpoints: one process holds it, whatever becomes of that process."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from tf_recall.config import Config
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.data.split import Split
from tf_recall.runs.callbacks import STATE
from tf_recall.runs.claim import LOCK, SETTINGS, begin, claimed, remove
from tf_recall.runs.fingerprint import fingerprint

HEX = "0123abcd" * 4
# Imports once, and forks a process for each folder of a line, which holds it and says so
HOLD = """
import json, os, sys, time
from tf_recall.runs.claim import claimed
for line in sys.stdin:
    folders = json.loads(line)
    for folder in folders:
        if os.fork() == 0:
            try:
                with claimed(folder, resume=True):
                    print("held", os.getpid(), flush=True)
                    time.sleep(60)
            except ValueError as error:
                print(error, flush=True)
            os._exit(0)
    for _ in folders:
        os.wait()
    print("ended", flush=True)
"""


@pytest.fixture(scope="module")
def others():
    """`others(folder, ...)` starts a process for each, and gives what they say."""
    command, pipe = [sys.executable, "-c", HOLD], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:

        def start(*folders):
            process.stdin.write(json.dumps([str(folder) for folder in folders]) + "\n")
            process.stdin.flush()
            for line in iter(process.stdout.readline, "ended\n"):
                assert line, f"ended with {process.wait()}"
                yield line.strip()

        yield start
        process.stdin.close()


@pytest.fixture
def holder(others, tmp_path):
    """Another process that holds the folder `run`, by its number; and what kills it."""
    said = others(tmp_path / "run")
    number = int(next(said).removeprefix("held "))
    (tmp_path / "run" / "3").mkdir()

    def kill():
        os.kill(number, signal.SIGKILL)
        assert not list(said)  # it says nothing more, and has ended

    yield number, kill
    with contextlib.suppress(ProcessLookupError):
        kill()


def test_a_second_process_is_refused_by_name_and_changes_nothing(holder, tmp_path):
    """Not even a paused one loses the folder; who wants another folder does not wait."""
    number, _ = holder
    refusal = f"in use by another run, process {number} on {socket.gethostname()}: .*name"
    for resume in (False, True):
        with pytest.raises(ValueError, match=refusal), claimed(tmp_path / "run", resume):
            pytest.fail("both hold the folder")
    with claimed(tmp_path / "other"), claimed(tmp_path / "third"):
        os.kill(number, 0)  # it runs
    os.kill(number, signal.SIGSTOP)
    with pytest.raises(ValueError, match=refusal):
        claimed(tmp_path / "run").__enter__()
    os.kill(number, signal.SIGCONT)
    os.kill(number, 0)
    assert (tmp_path / "run" / "3").is_dir()


def test_a_killed_process_holds_nothing(holder, tmp_path):
    number, kill = holder
    kill()
    lock = tmp_path / "run" / LOCK
    assert json.loads(lock.read_text())["pid"] == number  # left behind
    with claimed(tmp_path / "run", resume=True):
        assert json.loads(lock.read_text())["pid"] == os.getpid()
        assert (tmp_path / "run" / "3").is_dir()  # to resume from


def test_a_number_that_another_process_has_by_now_holds_nothing(tmp_path):
    (tmp_path / "run").mkdir()
    living = {"pid": os.getppid(), "host": socket.gethostname()}  # it runs, and holds no lock
    (tmp_path / "run" / LOCK).write_text(json.dumps(living))
    with claimed(tmp_path / "run", resume=True) as folder:
        assert json.loads((folder / LOCK).read_text())["pid"] == os.getpid()


def test_of_two_that_come_at_once_one_holds_the_folder(others, tmp_path):
    at_once = others(tmp_path / "run", tmp_path / "run")
    said = [next(at_once), next(at_once)]
    refused, held = sorted(said, key=lambda line: line.startswith("held "))
    assert "in use by another run" in refused and held.startswith("held "), said
    os.kill(int(held.removeprefix("held ")), signal.SIGKILL)
    assert not list(at_once)


def test_a_lock_of_another_host_is_respected(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).write_text(json.dumps({"pid": 7, "host": "elsewhere"}))
    (tmp_path / "run" / SETTINGS).write_text("")
    refusal = f"process 7 on elsewhere.*remove .*{LOCK}"
    with pytest.raises(ValueError, match=refusal), claimed(tmp_path / "run"):
        pytest.fail("the other host may still write")
    (tmp_path / "run" / LOCK).unlink()  # as the message says
    with claimed(tmp_path / "run", resume=True):
        assert (tmp_path / "run" / SETTINGS).is_file()


@pytest.mark.parametrize("text", ["", "7", "null", "{}", '{"pid": "x", "host": 1}', "\0\0", "{"])
def test_a_damaged_lock_is_taken_over(tmp_path, text):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).write_text(text)
    with claimed(tmp_path / "run", resume=True) as folder:
        assert json.loads((folder / LOCK).read_text())["pid"] == os.getpid()


def test_what_a_killed_process_was_writing_is_removed(tmp_path):
    for home in (tmp_path / "run", tmp_path / "run" / "towers"):
        for name in ("3", f".4.{HEX}.part", f".run.yaml.{HEX}.part"):
            (home / name).mkdir(parents=True)
        (home / f".4.{HEX}.part" / "weights").write_text("half")
    (tmp_path / "run" / LOCK).write_text("")
    with claimed(tmp_path / "run", resume=True) as folder:
        left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    assert left == ["3", LOCK, "towers", "towers/3"]


def test_a_file_system_without_locks(tmp_path, monkeypatch, caplog):
    def flock(*arguments):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", flock)
    with claimed(tmp_path / "run"):
        assert "start no second run of its name" in caplog.text


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
    begin(tmp_path, Config.from_dict(SECTIONS), "data")
    write_checkpoint(tmp_path)
    changed = Config.from_dict({**SECTIONS, **change})
    if different is None:
        begin(tmp_path, changed, "data")
        return
    with pytest.raises(ValueError, match=rf"another config \({different} differ\)"):
        begin(tmp_path, changed, "data")
    begin(tmp_path, Config.from_dict(SECTIONS), "data")  # the note is as it was


def write_checkpoint(folder):
    (folder / "0").mkdir()
    (folder / "0" / STATE).write_text("[{}]")


def test_other_data_under_the_same_config_are_another_run(tmp_path):
    begin(tmp_path, Config.from_dict(SECTIONS), "data")
    write_checkpoint(tmp_path)
    with pytest.raises(ValueError, match=r"another config \(the data's content differ\)"):
        begin(tmp_path, Config.from_dict(SECTIONS), "other data")


def test_without_a_checkpoint_any_run_may_begin(tmp_path):
    begin(tmp_path, Config.from_dict(SECTIONS), "data")
    corrected = Config.from_dict({**SECTIONS, "model": {"name": "d"}})
    begin(tmp_path, corrected, "data")
    write_checkpoint(tmp_path)
    begin(tmp_path, corrected, "data")


def test_epochs_that_are_measured_in_another_way(tmp_path, caplog):
    begin(tmp_path, Config.from_dict(SECTIONS), "data")
    write_checkpoint(tmp_path)
    begin(tmp_path, Config.from_dict({**SECTIONS, "evaluate": {"exclude_seen": False}}), "data")
    assert "were measured by {'cases': 'by_user', 'exclude_seen': True}" in caplog.text


@pytest.mark.parametrize("text", [None, "", "- a", "a: [", "\x00"])
def test_a_damaged_note(tmp_path, text):
    write_checkpoint(tmp_path)
    if text is not None:
        (tmp_path / SETTINGS).write_text(text)
    with pytest.raises(ValueError, match=f"{SETTINGS} is missing or damaged: train without"):
        begin(tmp_path, Config.from_dict(SECTIONS), "data")


class TestFingerprint:
    def split(self, change=lambda log: log, **parts):
        log = change(synthetic(20, 15, 100).interactions)
        return Split(log, log, **parts)

    def test_equal_data_have_one(self):
        assert fingerprint(self.split()) == fingerprint(self.split())

    @pytest.mark.parametrize(
        "change",
        [
            lambda log: log.select(range(99)),
            lambda log: log.select([1, 0, *range(2, 100)]),  # other rows in a batch
            lambda log: replace(log, frame=log.frame.assign(device="pc")),
            lambda log: replace(log, frame=log.frame.rename(columns={"timestamp": "time"})),
            lambda log: replace(log, items=log.items.assign(title="tea")),
            lambda log: replace(log, items=None),
            lambda log: replace(log, users=log.users.iloc[::-1]),
        ],
    )
    def test_other_data_have_another(self, change):
        assert fingerprint(self.split()) != fingerprint(self.split(change))

    def test_the_test_part_changes_nothing_and_the_validation_part_does(self):
        plain = self.split()
        part = plain.train.select(range(9))
        assert fingerprint(replace(plain, test=part)) == fingerprint(plain)
        assert fingerprint(replace(plain, validation=part)) != fingerprint(plain)

    def test_columns_of_lists_and_vectors(self):
        def with_lists(last):
            lists = [[1, 2], [], *[[3]] * 97, last]
            vectors = [np.full(2000, n) for n in range(100)]
            return lambda log: replace(log, frame=log.frame.assign(tags=lists, vector=vectors))

        one = fingerprint(self.split(with_lists([4])))
        assert one == fingerprint(self.split(with_lists([4])))
        assert one != fingerprint(self.split(with_lists([5])))
