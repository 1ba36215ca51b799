"""Searches in processes of their own: killed, interrupted, several at once."""

import json
import os
import signal
import subprocess
import sys
import time

import optuna
import pytest

from tf_recall.config import Config
from tf_recall.tuning.study import opened
from tf_recall.tuning.tune import tune

pytestmark = pytest.mark.slow

DATA = {"name": "synthetic", "num_users": 120, "num_items": 60, "num_interactions": 1500}
SPLIT = {"name": "leave_last_out", "validation": True}
RUNNING = [optuna.trial.TrialState.RUNNING]


def of_channels(**values):
    channels = {"only": {"name": "ease", "l2": 5000.0}}
    return Config.from_dict(
        {"data": DATA, "split": SPLIT, "channels": channels, "name": "search", **values}
    )


def of_model(epochs):
    tower = {"features": [{"name": "id", "dim": 16}]}
    model = {"name": "two_tower", "query_tower": tower, "item_tower": tower}
    train = {"epochs": epochs, "batch_size": 256, "patience": 50}
    return of_channels(channels=None, model=model, train=train)


def begun(tmp_path, config, *options):
    """The command line, in a process of its own."""
    path = tmp_path / "config.yaml"
    config.save(path)
    command = [sys.executable, "-m", "tf_recall.cli", "tune", str(path), "--out", str(tmp_path)]
    return subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(tmp_path, what, seconds=120):
    """Waits until a study is as it should be, and returns its trials."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.2)
        if (tmp_path / "search" / "config.yaml").is_file():
            study = opened(tmp_path / "search", 0)
            if what(study):
                return study.trials
    raise TimeoutError("the search does not get there")


def is_in_its_second(study):
    """Whether the second trial is running and has reported an epoch."""
    running = study.get_trials(states=RUNNING)
    return len(study.trials) == 2 and any(trial.intermediate_values for trial in running)


def processes_of(folder):
    """The processes that work in a folder."""
    found = []
    for number in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{number}/cmdline", "rb") as file:
                line = file.read().decode()
        except OSError:
            continue
        if "tf_recall.tuning.worker" in line and str(folder) in line:
            found.append(int(number))
    return found


def test_a_search_survives_kill_9_and_goes_on(tmp_path):
    config = of_model(epochs=40)
    process = begun(tmp_path, config, "--trials", "3")
    trials = wait_for(tmp_path, is_in_its_second)
    process.kill()
    process.wait()
    lost = trials[1].params
    assert lost and trials[0].value is not None
    assert (tmp_path / "search" / "best.yaml").is_file()
    # what was found stays; another config is refused
    with pytest.raises(ValueError, match="another search"):
        tune(of_model(epochs=41), 3, out=tmp_path, resume=True)
    process = begun(tmp_path, config, "--trials", "3", "--resume")
    out, _ = process.communicate()
    summary = json.loads(out.splitlines()[-1])
    assert summary["failed"] == 1 and summary["trials"] == 4  # the lost one and its repetition
    trials = opened(tmp_path / "search", 0).trials
    assert trials[2].params == lost and trials[0].value == summary["start"]


def test_several_processes_share_a_study(tmp_path):
    tuned = tune(of_model(epochs=3), trials=5, jobs=2, out=tmp_path)
    assert len(tuned.trials) == 5 and set(tuned.trials["state"]) <= {"complete", "pruned"}
    trials = opened(tmp_path / "search", 0).trials
    assert {trial.user_attrs["drawn"]["worker"] for trial in trials} == {0, 1}
    assert tuned.trials["value"][0] == tuned.start
    assert not list((tmp_path / "search").glob("worker_*.log"))
    alone = tune(of_model(epochs=3), trials=1, out=tmp_path / "alone")
    assert alone.start == pytest.approx(tuned.start, abs=0.02)  # other numbers of threads


def test_a_process_that_dies_fails_its_trial_alone_and_the_search_goes_on(tmp_path):
    process = begun(tmp_path, of_model(epochs=60), "--trials", "3", "--jobs", "2")
    trials = wait_for(tmp_path, lambda study: len(study.get_trials(states=RUNNING)) == 2)
    worker = trials[1].user_attrs["drawn"]["worker"] if "drawn" in trials[1].user_attrs else 0
    for pid in processes_of(tmp_path):
        with open(f"/proc/{pid}/cmdline") as file:
            if f'"worker": {worker}' in file.read():
                os.kill(pid, signal.SIGKILL)
    out, said = process.communicate()
    summary = json.loads(out.splitlines()[-1])
    assert summary["trials"] == 3 and summary["failed"] == 1, said
    table = (tmp_path / "search" / "trials.csv").read_text()
    assert "its process was killed, or ran out of memory" in table


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_the_search(tmp_path, how):
    process = begun(tmp_path, of_model(epochs=400), "--jobs", "2")
    wait_for(tmp_path, lambda study: study.get_trials(states=RUNNING))
    assert len(processes_of(tmp_path)) == 2
    process.send_signal(how)
    _, said = process.communicate()
    if how == signal.SIGINT:
        assert process.returncode == 130 and "go on with --resume" in said.splitlines()[-1]
    end = time.monotonic() + 20
    while processes_of(tmp_path) and time.monotonic() < end:
        time.sleep(0.2)
    assert not processes_of(tmp_path)


def test_processes_that_cannot_begin_say_why(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", [*sys.path, "/nowhere"])
    monkeypatch.setenv("TF_RECALL_NOTHING", "1")
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if 'tf_recall.tuning.worker' in ' '.join(sys.orig_argv):\n"
        "    print('no room for it', flush=True)\n"
        "    os._exit(3)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="a process of the search ended: no room for it"):
        tune(of_channels(), trials=2, jobs=2, out=tmp_path / "out")
