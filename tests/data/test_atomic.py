"""Written aside: whole under its name, or nothing is left and what was there stays."""

import subprocess
import sys

import pytest

from tf_recall.data.atomic import atomic_file, atomic_folder, folder_aside, rename_folder


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


KILLED = """
import sys, time
from tf_recall.data.atomic import atomic_folder
with atomic_folder(sys.argv[1]) as aside:
    (aside / "half.txt").write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_stays(tmp_path):
    path = tmp_path / "folder"
    command = [sys.executable, "-c", KILLED, str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "writing\n"
        (half,) = tmp_path.rglob("half.txt")
        with folder_aside(tmp_path, "folder"):
            assert half.exists()
    finally:
        process.kill()
        process.wait()
    assert half.exists()
    with atomic_folder(path) as aside:
        (aside / "whole.txt").write_text("whole")
    assert list(tmp_path.iterdir()) == [path]
    assert [each.name for each in path.iterdir()] == ["whole.txt"]


def test_of_what_is_left_only_our_own_is_removed(tmp_path):
    foreign = [".any.notes.part", ".any.part", ".any.12.part", f".other.{'a' * 32}.part", "any"]
    ours = f".any.{'a' * 32}.part"
    for name in (*foreign, ours):
        (tmp_path / name / "in").mkdir(parents=True)
    with folder_aside(tmp_path, "any"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == set(foreign)
