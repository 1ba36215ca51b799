"""Whole runs as processes: interrupted, paused, killed, and several of one name at a time."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tf_recall.cli import main
from tf_recall.export.load import load
from tf_recall.runs.callbacks import Checkpoint, saved_epochs

TOWER = {"features": [{"name": "id", "dim": 8}]}
VALUES = {
    "data": {"name": "synthetic", "num_users": 200, "num_items": 150, "num_interactions": 5000},
    "split": {"name": "by_time", "test": 0.1, "validation": 0.1},
    "model": {"name": "two_tower", "query_tower": TOWER, "item_tower": TOWER},
    "train": {"epochs": 30, "batch_size": 64},
    "evaluate": {"ks": [5]},
}


@pytest.fixture
def path(tmp_path):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(VALUES))
    return tmp_path / "run.yaml"


def test_an_interrupted_command_ends_in_one_line(path, tmp_path, monkeypatch):
    def interrupted(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "on_epoch_begin", interrupted)
    arguments = ["train", str(path), "--out", str(tmp_path), "--set", "train.epochs=2"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 130
    assert result.stderr.endswith("Error: interrupted: go on with --resume\n")
    assert "Traceback" not in result.output
    assert saved_epochs(tmp_path / "run" / "checkpoints") == [0]


class Runs:
    """Starts runs of one config, and ends them."""

    def __init__(self, path, folder):
        self.path, self.folder, self.processes = path, folder, []
        self.checkpoints = folder / "run" / "checkpoints"

    def start(self, *more):
        command = ["-m", "tf_recall.cli", "train", self.path, "--out", self.folder, *more]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen([sys.executable, *map(str, command)], **pipes)
        self.processes.append(process)
        return process

    def wait_for_epoch(self, epoch, process):
        end = time.monotonic() + 300
        while not any(done >= epoch for done in saved_epochs(self.checkpoints)):
            assert process.poll() is None and time.monotonic() < end, process.communicate()
            time.sleep(0.05)

    def versions(self):
        return sorted(path.name for path in (self.folder / "run").iterdir())


@pytest.fixture
def runs(path, tmp_path):
    started = Runs(path, tmp_path / "out")
    yield started
    for process in started.processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        process.communicate()


def whole(process):
    """The answer of a run that must end well."""
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    return json.loads(out)


@pytest.mark.slow
def test_interrupted_killed_and_resumed(runs, path, tmp_path):
    first = runs.start()
    runs.wait_for_epoch(1, first)
    first.send_signal(signal.SIGINT)
    _, error = first.communicate(timeout=60)
    assert first.returncode == 130
    assert error.splitlines()[-1] == "Error: interrupted: go on with --resume"
    rng = random.Random(0)
    for _ in range(3):
        killed = runs.start("--resume")
        runs.wait_for_epoch(saved_epochs(runs.checkpoints)[-1] + 1, killed)
        time.sleep(rng.random() / 2)
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
    answer = whole(runs.start("--resume"))
    assert runs.versions() == ["1"]  # and nothing hidden is left
    alone = Runs(path, tmp_path / "alone")
    uninterrupted = whole(alone.start())
    assert answer["metrics"] == uninterrupted["metrics"]
    one, other = (
        load(each["model"]).recommend(["u1", "u2"], 9) for each in (answer, uninterrupted)
    )
    assert one[0].tolist() == other[0].tolist() and one[1].tolist() == other[1].tolist()
    again = runs.start("--resume")
    _, error = again.communicate(timeout=60)
    assert again.returncode == 1 and "nothing to resume: run is finished" in error


@pytest.mark.slow
def test_of_runs_of_one_name_one_trains(runs):
    first = runs.start("--set", "train.seed=1")
    runs.wait_for_epoch(0, first)
    first.send_signal(signal.SIGSTOP)
    others = [runs.start("--set", "train.seed=2") for _ in range(2)]
    others.append(runs.start("--resume", "--set", "train.seed=2"))
    for other in others:
        _, error = other.communicate(timeout=120)
        assert other.returncode == 1
        assert f"in use by another run, process {first.pid} on" in error.splitlines()[-1]
    first.send_signal(signal.SIGCONT)
    version = whole(first)["model"]
    assert runs.versions() == ["1"]
    assert yaml.safe_load(Path(version, "config.yaml").read_text())["train"]["seed"] == 1


@pytest.mark.slow
def test_runs_that_start_together(runs):
    processes = [
        runs.start("--set", "train.epochs=2", "--set", f"train.seed={n}") for n in range(4)
    ]
    ends = [process.communicate(timeout=300) for process in processes]
    trained = [json.loads(out) for out, _ in ends if out]
    for process, (out, error) in zip(processes, ends, strict=True):
        assert (process.returncode == 0) == bool(out)
        assert out or "in use by another run" in error.splitlines()[-1]
    assert 1 <= len(trained) == len(runs.versions())


@pytest.mark.slow
def test_runs_of_other_names_train_side_by_side(runs):
    more = ["--set", "train.epochs=2"]
    both = [runs.start(*more), runs.start(*more, "--set", "name=other")]
    models = [whole(process)["model"] for process in both]
    assert [os.path.relpath(model, runs.folder) for model in models] == ["run/1", "other/1"]
