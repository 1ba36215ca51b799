"""Publishing a version: renamed whole under a number that is free, or nothing is left."""

import errno
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import tensorflow as tf

from tf_recall.data.atomic import rename_folder
from tf_recall.export import versions as module
from tf_recall.export.load import load, restore
from tf_recall.export.versions import check_manifest, clear, publish, versions
from tf_recall.export.write import save


def note(text="whole"):
    return lambda folder: (folder / "note.txt").write_text(text)


def test_versions_rise_and_the_newest_is_loaded(small, tmp_path):
    assert save(small, tmp_path / "a") == tmp_path / "a" / "1"
    assert save(small, tmp_path / "a", version=9) == tmp_path / "a" / "9"
    assert save(small, tmp_path / "a") == tmp_path / "a" / "10"
    (tmp_path / "a" / "11").mkdir()  # no model in it
    assert versions(tmp_path / "a") == [1, 9, 10]
    assert load(tmp_path / "a").recommend(["u1"], k=5)[0].shape == (1, 5)
    with pytest.raises(FileExistsError, match="9 exists"):
        save(small, tmp_path / "a", version=9)


@pytest.mark.parametrize("version", [0, -1, 2**63, True, 1.0, "1"])
def test_a_version_is_a_number_that_the_server_reads(tmp_path, version):
    with pytest.raises(ValueError, match="whole number from 1"):
        publish(tmp_path / "a", version, note())
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("names", "number"),
    [
        (["1", "2/saved_model.pb", "3"], 4),
        (["7/variables/", "8/saved_model.pb"], 9),
        (["12.txt", "x13", "-14", "1_5", "16 ", "²", "٣", ".17"], 1),
        (["007/saved_model.pb"], 8),  # the server reads 7 in it
        (["0"], 1),
        ([str(2**63)], 1),  # too large for the server
        ([str(2**62)], 2**62 + 1),
        (["dangling"], 5),
    ],
)
def test_a_number_that_anything_has_is_taken(tmp_path, names, number):
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.mkdir() if name.endswith("/") else path.write_text("mine")
    if names == ["dangling"]:
        (tmp_path / "4").symlink_to(tmp_path / "nowhere")
    before = {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert publish(tmp_path, None, note()).name == str(number)
    assert publish(tmp_path, None, note()).name == str(number + 1)
    assert {path: path.read_text() for path in before} == before


def test_a_version_is_named_as_a_number_is_written(tmp_path):
    for name in ("007", "8", "٣", "x"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "saved_model.pb").write_text("")
    assert versions(tmp_path) == [8]


def test_a_number_given_that_anything_has_is_refused_before_the_work(tmp_path):
    def never(folder):
        raise AssertionError

    (tmp_path / "3").write_text("mine")
    (tmp_path / "4").symlink_to(tmp_path / "nowhere")
    for version in (3, 4):
        with pytest.raises(FileExistsError, match=f"{version} exists: choose another version"):
            publish(tmp_path, version, never)
    with pytest.raises(NotADirectoryError, match="3 is a file"):
        publish(tmp_path / "3", None, never)


def test_exports_at_once_take_numbers_of_their_own(tmp_path):
    barrier, taken = threading.Barrier(6), []

    def write(folder):
        note()(folder)
        barrier.wait()  # all have begun before one looks for a number

    def export():
        taken.append(publish(tmp_path, None, write).name)

    threads = [threading.Thread(target=export) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list("123456") == sorted(os.listdir(tmp_path))
    for name in taken:
        check_manifest(tmp_path / name)


def test_it_never_looks_for_a_number_without_end(tmp_path, monkeypatch):
    tried = []

    def taken(aside, path):
        tried.append(int(path.name))
        raise FileExistsError

    monkeypatch.setattr(module, "rename_folder", taken)
    with pytest.raises(FileExistsError, match="other exports took all of 100 numbers up to 100"):
        publish(tmp_path, None, note())
    assert tried == list(range(1, 101)) and os.listdir(tmp_path) == []


KILLED = """
import sys, time
from pathlib import Path
from tf_recall.export.versions import publish
def write(folder):
    (folder / "half.txt").write_text("half")
    print("writing", flush=True)
    time.sleep(60)
publish(Path(sys.argv[1]), None, write)
"""


def test_what_a_killed_export_left_is_cleared_and_what_a_living_one_writes_stays(tmp_path):
    def begun():
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "writing\n"
        return process

    dead, living = begun(), begun()
    try:
        dead.kill()
        dead.wait()
        assert len(list(tmp_path.glob(".export.*"))) == 2
        clear(tmp_path)
        (left,) = tmp_path.iterdir()
        assert publish(tmp_path, None, note()).name == "1"
        assert (left / "half.txt").exists()
    finally:
        living.kill()
        living.wait()
    assert publish(tmp_path, None, note()).name == "2"
    assert sorted(os.listdir(tmp_path)) == ["1", "2"]
    clear(tmp_path / "nowhere")


STEPS = {"open", "os.mkdir", "os.rename", "os.rmdir", "os.remove", "os.link", "os.symlink"}


@pytest.fixture
def at_each_step():
    """A list for a function, which is called before whatever this process does to a file."""
    looks = []

    def step(event, arguments):
        if looks and (event in STEPS or event.startswith("shutil.")):
            look = looks.pop()  # its own steps are none
            try:
                look()
            finally:
                looks.append(look)

    sys.addaudithook(step)
    yield looks
    looks.clear()


def test_a_loader_that_polls_sees_whole_versions_only(small, model, tmp_path, at_each_step):
    """It looks before every file that an export opens, and loads each version that it finds."""
    directory, seen, wrong, times = tmp_path / "a", {}, [], []

    def look():
        times.append(len(seen))
        names = os.listdir(directory) if directory.exists() else []
        for name in names:
            if not name.isdecimal():
                continue
            try:
                check_manifest(directory / name)
                if name not in seen:
                    restore(directory / name)
                    seen[name] = load(directory / name).recommend(["u1"], k=5)[0].tolist()
            except (OSError, ValueError) as error:
                wrong.append(error)

    at_each_step.append(look)
    for _ in range(2):
        save(small, directory, model=model)
    at_each_step.clear()
    look()
    assert not wrong
    assert list(seen) == ["1", "2"] and seen["1"] == seen["2"]
    assert times.count(0) > 20 and times.count(1) > 20  # it looked in the midst of both


def test_what_is_published_is_the_folder_that_was_written(small, tmp_path, monkeypatch):
    inodes = []

    def watched(aside, path):
        inodes.append({each.name: each.stat().st_ino for each in (*aside.rglob("*.*"), aside)})
        return rename_folder(aside, path)

    monkeypatch.setattr(module, "rename_folder", watched)
    folder = save(small, tmp_path / "a")
    for name, inode in list(inodes[0].items())[:-1]:
        (path,) = folder.rglob(name)
        assert path.stat().st_ino == inode
    assert folder.stat().st_ino == list(inodes[0].values())[-1]


def test_all_is_on_the_disk_before_it_is_published(small, model, tmp_path, monkeypatch):
    synced, whole = {}, []
    fsync, rename = os.fsync, os.rename

    def watched_fsync(handle):
        status = os.fstat(handle)
        synced[status.st_ino] = status.st_size, status.st_mtime_ns
        fsync(handle)

    def watched_rename(aside, path, **given):
        if Path(path).name == "1":
            for each in (Path(aside), *Path(aside).rglob("*"), tmp_path, tmp_path / "new"):
                status = each.stat()
                whole.append(synced.get(status.st_ino) == (status.st_size, status.st_mtime_ns))
        rename(aside, path, **given)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "rename", watched_rename)
    folder = save(small, tmp_path / "new" / "a", model=model)
    assert all(whole) and len(whole) == 3 + len(list(folder.rglob("*")))
    parent = (tmp_path / "new" / "a").stat()
    assert synced[parent.st_ino] == (parent.st_size, parent.st_mtime_ns)  # and afterwards its name


def test_an_interrupted_export_leaves_nothing(small, tmp_path, monkeypatch):
    write = tf.saved_model.save

    def interrupted(module, path, **settings):
        write(module, path, **settings)
        raise KeyboardInterrupt

    monkeypatch.setattr(tf.saved_model, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(small, tmp_path / "a")
    monkeypatch.undo()
    assert os.listdir(tmp_path / "a") == []
    with pytest.raises(FileNotFoundError, match="no export at"):
        load(tmp_path / "a")
    assert save(small, tmp_path / "a").name == "1"


@pytest.mark.parametrize("limit", [0, 100, 1500, 10_000, 100_000])
@pytest.mark.parametrize("what", ["model", "channels"])
def test_a_full_disk_is_one_line_and_leaves_nothing(
    small, several, model, tmp_path, limit, what, small_disk
):
    """Whoever meets it: TensorFlow, Keras's archive, HDF5 in it, NumPy, or this package."""
    earlier = publish(tmp_path / "a", None, note())
    recommender = small if what == "model" else several
    models = model if what == "model" else {"towers": model}
    with small_disk(limit), pytest.raises(OSError) as caught:
        save(recommender, tmp_path / "a", model=models)
    assert str(caught.value) == (
        f"{tmp_path / 'a'} could not be written: {os.strerror(caught.value.errno)}; "
        "nothing of this version is left, earlier ones stay"
    )
    assert caught.value.errno in (errno.EFBIG, errno.ENOSPC)
    assert [path for path in tmp_path.iterdir()] == [tmp_path / "a"]
    assert os.listdir(tmp_path / "a") == ["1"]
    check_manifest(earlier)


@pytest.mark.parametrize(
    "error", [PermissionError(errno.EACCES, "Permission denied"), OSError(errno.EIO, "I/O error")]
)
def test_a_disk_that_refuses_is_one_line(small, tmp_path, monkeypatch, error):
    def refuse(*args, **given):
        raise error

    monkeypatch.setattr(shutil, "copyfile", refuse)
    monkeypatch.setattr(tf.saved_model, "save", refuse)
    with pytest.raises(type(error), match=r"a could not be written: .*; nothing of this version"):
        save(small, tmp_path / "a")
    assert os.listdir(tmp_path / "a") == []
