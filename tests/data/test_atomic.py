"""Written aside: whole under its name, or nothing is left and what was there stays."""

import errno
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorflow as tf

from tf_recall.data import atomic, holds
from tf_recall.data.atomic import (
    atomic_file,
    atomic_folder,
    folder_aside,
    locked,
    rename_folder,
    translated_disk_errors,
)


def test_a_file_takes_its_name_at_the_end(tmp_path):
    path = tmp_path / "new" / "file.txt"
    for content in ("one", "two"):
        with atomic_file(path) as aside:
            aside.write_text(content)
            assert not path.exists() or path.read_text() == "one"
        assert path.read_text() == content and list(path.parent.iterdir()) == [path]


def test_a_file_that_fails_leaves_the_old_one(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    for error in (OSError, KeyboardInterrupt):
        with pytest.raises(error), atomic_file(path) as aside:
            aside.write_text("half")
            raise error
        assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_folder_takes_its_name_at_the_end(tmp_path):
    path = tmp_path / "new" / "folder"
    with atomic_folder(path) as aside:
        (aside / "in" / "side").mkdir(parents=True)
        (aside / "in" / "file.txt").write_text("one")
        assert not path.exists()
    assert (path / "in" / "file.txt").read_text() == "one"
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(FileExistsError, match="folder is there already"), atomic_folder(path):
        pass


def test_a_folder_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "folder") as aside:
        (aside / "file.txt").write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_of_two_folders_at_once_the_later_one_is_refused(tmp_path):
    path = tmp_path / "folder"
    with pytest.raises(FileExistsError), atomic_folder(path) as aside:
        (aside / "late.txt").write_text("late")
        with atomic_folder(path) as sooner:
            (sooner / "soon.txt").write_text("soon")
    assert [each.name for each in path.iterdir()] == ["soon.txt"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_aside_may_be_renamed_by_hand(tmp_path):
    with folder_aside(tmp_path, "any") as aside:
        assert rename_folder(aside, tmp_path / "7") == tmp_path / "7"
    assert list(tmp_path.iterdir()) == [tmp_path / "7"]


def test_a_file_is_renamed_and_not_copied(tmp_path):
    """Who reads the old one meanwhile reads it to its end."""
    path = tmp_path / "file.txt"
    path.write_text("old")
    with open(path) as reader:
        with atomic_file(path) as aside:
            aside.write_text("new")
            inode = aside.stat().st_ino
        assert reader.read() == "old"
    assert path.read_text() == "new" and path.stat().st_ino == inode


def test_a_file_aside_keeps_the_ending_that_writers_look_at(tmp_path):
    with atomic_file(tmp_path / "array.npy") as aside:
        np.save(aside, np.arange(3))
    assert np.load(tmp_path / "array.npy").tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", ["ü" * 120, "a[b]*?", ".hidden", "-rf", "two words", "x" * 250])
def test_names_of_all_kinds(tmp_path, name):
    with atomic_file(tmp_path / "file" / name) as aside:
        aside.write_text("whole")
    with atomic_folder(tmp_path / "folder" / name) as aside:
        (aside / "whole.txt").write_text("whole")
    assert (tmp_path / "file" / name).read_text() == "whole"
    assert [each.name for each in (tmp_path / "folder").iterdir()] == [name]


def test_a_name_is_taken_by_whatever_has_it(tmp_path):
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").write_text("mine")
    for name in ("dangling", "file"):
        taken = pytest.raises(FileExistsError, match=f"{name} is there already")
        with taken, atomic_folder(tmp_path / name):
            pass
        with folder_aside(tmp_path, "any") as aside, pytest.raises(FileExistsError, match=name):
            rename_folder(aside, tmp_path / name)
    no_folder = pytest.raises(NotADirectoryError, match="file is a file, and should be a folder")
    with no_folder, atomic_folder(tmp_path / "file" / "folder"):
        pass
    assert (tmp_path / "file").read_text() == "mine"


@pytest.fixture
def steps(monkeypatch):
    """What is forced to the disk and what is renamed, in order, by names without `.hex.part`."""
    taken = []
    fsync, replace, rename = os.fsync, os.replace, os.rename

    def shown(path):
        parts = [part.split(".")[1] if part.endswith(".part") else part for part in path.parts]
        return "/".join(parts[-2:])

    def noted(what, path):
        taken.append((what, shown(Path(path))))

    def watched_fsync(handle):
        noted("fsync", os.readlink(f"/proc/self/fd/{handle}"))
        fsync(handle)

    def watched_replace(aside, path):
        noted("rename", path)
        replace(aside, path)

    def watched_rename(aside, path, **given):
        noted("rename", path)
        rename(aside, path, **given)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    monkeypatch.setattr(os, "rename", watched_rename)
    return taken


def test_names_are_on_the_disk_before_a_file_is_published(steps, tmp_path):
    home = tmp_path / "new" / "newer"
    with atomic_file(home / "file.txt") as aside:
        aside.write_text("whole")
        del aside
    assert steps == [
        ("fsync", f"{tmp_path.parent.name}/{tmp_path.name}"),  # now holds `new`
        ("fsync", f"{tmp_path.name}/new"),  # and that holds `newer`
        ("fsync", "file/file.txt"),
        ("rename", "newer/file.txt"),
        ("fsync", "new/newer"),
    ]


def test_names_are_on_the_disk_before_a_folder_is_published(steps, tmp_path):
    with atomic_folder(tmp_path / "new" / "folder") as aside:
        (aside / "side").mkdir()
        (aside / "side" / "file.txt").write_text("whole")
    renamed = steps.index(("rename", "new/folder"))
    assert set(steps[1:renamed]) == {
        ("fsync", "side/file.txt"),
        ("fsync", "folder/side"),
        ("fsync", "new/folder"),  # the folder aside
    }
    assert steps[0] == ("fsync", f"{tmp_path.parent.name}/{tmp_path.name}")
    assert steps[renamed + 1 :] == [("fsync", f"{tmp_path.name}/new")]


KILLED = """
import sys, time
from tf_recall.data.atomic import atomic_file, atomic_folder
with {"file": atomic_file, "folder": atomic_folder}[sys.argv[1]](sys.argv[2]) as aside:
    (aside / "half.txt" if aside.is_dir() else aside).write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_stays(tmp_path, kind):
    path = tmp_path / "name"
    command = [sys.executable, "-c", KILLED, kind, str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "writing\n"
        (left,) = tmp_path.iterdir()
        with folder_aside(tmp_path, "name"), folder_aside(tmp_path, "other"):
            assert left.exists()
    finally:
        process.kill()
        process.wait()
    with folder_aside(tmp_path, "other"):
        assert left.exists()  # it is of another name
    with atomic_file(path) if kind == "file" else atomic_folder(path) as aside:
        (aside if kind == "file" else aside / "whole.txt").write_text("whole")
    assert list(tmp_path.iterdir()) == [path]
    assert kind == "file" or [each.name for each in path.iterdir()] == ["whole.txt"]


def test_a_folder_that_is_cleared_before_it_is_held_is_made_again(tmp_path, monkeypatch):
    """Another process may take a folder that was made this moment for one that was left."""
    held, times = holds.alone, []

    def late(folder):
        times.append(folder)
        if len(times) < 3:
            folder.rmdir()
        return held(folder)

    monkeypatch.setattr(holds, "alone", late)
    with atomic_folder(tmp_path / "name") as aside:
        (aside / "whole.txt").write_text("whole")
    assert len(times) == 3 and [each.name for each in tmp_path.iterdir()] == ["name"]
    monkeypatch.setattr(holds, "alone", lambda folder: folder.rmdir() or held(folder))
    gone = pytest.raises(OSError, match="other processes remove every folder")
    with gone, atomic_folder(tmp_path / "never"):
        pass


def test_without_locks_it_writes_and_clears_nothing(tmp_path, monkeypatch):
    def none(handle, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", none)
    other = tmp_path / f".name.{'a' * 32}.part"
    other.mkdir()  # perhaps another process writes it
    with locked(tmp_path / "name"), atomic_folder(tmp_path / "name") as aside:
        (aside / "whole.txt").write_text("whole")
    assert (tmp_path / "name" / "whole.txt").exists() and other.exists()


ADDING = """
import sys
from pathlib import Path
from tf_recall.data.atomic import atomic_file, locked
path = Path(sys.argv[1])
for _ in range(50):
    with locked(path), atomic_file(path) as aside:
        aside.write_text(str(int(path.read_text()) + 1))
"""


def test_changes_under_a_lock_do_not_undo_each_other(tmp_path):
    path = tmp_path / "number.txt"
    path.write_text("0")
    command = [sys.executable, "-c", ADDING, str(path)]
    others = [subprocess.Popen(command) for _ in range(3)]
    thread = threading.Thread(target=exec, args=(ADDING.replace("sys.argv[1]", repr(str(path))),))
    thread.start()
    exec(ADDING.replace("sys.argv[1]", repr(str(path))), {})
    thread.join()
    assert [other.wait(60) for other in others] == [0, 0, 0]
    assert path.read_text() == "250"
    assert {each.name for each in tmp_path.iterdir()} == {"number.txt", ".number.txt.lock"}


def test_a_lock_that_is_never_given_back_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "LOCK_SECONDS", 0)
    held = pytest.raises(TimeoutError, match="another process holds .*lock")
    with locked(tmp_path / "file"), held, locked(tmp_path / "file"):
        pass
    with locked(tmp_path / "file"):
        pass


def zip_cut(path):
    with zipfile.ZipFile(path, "w") as archive, archive.open("member", "w") as member:
        for _ in range(100):
            member.write(os.urandom(10_000))


def hdf5_cut(path):
    with h5py.File(path, "w") as file:
        file["array"] = np.random.default_rng(0).random(100_000)


WRITERS = {
    "text": lambda path: path.write_text("long" * 100_000),
    "npy": lambda path: np.save(path, np.zeros(100_000)),
    "zip": zip_cut,
    "hdf5": hdf5_cut,
    "records": lambda path: tf.io.TFRecordWriter(str(path)).write(b"long" * 100_000),
    "tensors": lambda path: tf.raw_ops.Save(
        filename=str(path), tensor_names=["x"], data=[tf.random.normal([100_000])]
    ),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_one_line_whoever_writes(tmp_path, writer, small_disk):
    path = tmp_path / "model.npy"
    path.write_text("old")
    with small_disk(50_000), pytest.raises(OSError) as caught, atomic_file(path) as aside:
        WRITERS[writer](aside)
    # NumPy says only that it wrote less than it should
    code = errno.ENOSPC if writer == "npy" else errno.EFBIG
    told = f"{path} could not be written: {os.strerror(code)}; what was there stays"
    assert str(caught.value) == told and caught.value.errno == code
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_faults_of_a_disk_and_what_is_none():
    def told(error, path="models/a"):
        raised = pytest.raises(Exception)  # noqa: B017, PT011  any kind
        with raised as caught, translated_disk_errors(path, "version 1 stays"):
            raise error
        return caught.value

    full = "models/a could not be written: No space left on device; version 1 stays"
    op = tf.errors.ResourceExhaustedError
    for error in (
        OSError(errno.ENOSPC, "No space left on device", "models/.a.part/file"),
        op(None, None, "models/.a.part/variables.data.tempstate123"),
        tf.errors.UnknownError(None, None, "variables.index; No space left on device"),
        RuntimeError("Can't decrement id ref count (errno = 28, 'No space left on device')"),
    ):
        assert str(told(error)) == full and type(told(error)) is OSError
    refused = told(PermissionError(errno.EACCES, "Permission denied", "/tmp/other"))
    assert type(refused) is PermissionError and "Permission denied at /tmp/other;" in str(refused)
    twice = told(told(OSError(errno.ENOSPC, "No space left on device")), "models/b")
    assert str(twice) == full.replace("models/a", "models/b")
    for error in (
        op(None, None, "OOM when allocating tensor"),
        ValueError("a mistake"),
        FileExistsError("models/a is there already"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "features.csv"),
        KeyError("key"),
    ):
        assert told(error) is error


def test_of_what_is_left_only_our_own_is_removed(tmp_path):
    foreign = [".any.notes.part", ".any.part", ".any.12.part", f".other.{'a' * 32}.part", "any"]
    ours = f".any.{'a' * 32}.part"
    for name in (*foreign, ours):
        (tmp_path / name / "in").mkdir(parents=True)
    with folder_aside(tmp_path, "any"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == set(foreign)
