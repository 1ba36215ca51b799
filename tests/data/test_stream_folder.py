"""Each event of a folder is read once, whatever happens to the process that reads it."""

import json
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from tf_recall.data.sources.stream import stream
from tf_recall.data.stream_folder import Offset, StreamFolder

# learns how often it saw each event, 7 at a time; a write takes a while, so that it is hit too
LEARNER = """
import json, shutil, sys, time
from pathlib import Path
import numpy as np
from tf_recall.data.atomic import atomic_folder
from tf_recall.data.stream_folder import Offset, StreamFolder

folder, learned = Path(sys.argv[1]), Path(sys.argv[2])
def latest():
    return sorted(learned.glob("[0-9]*/offset.json"), key=lambda path: int(path.parent.name))[-1:]
print("begun", flush=True)
while True:
    seen, offset = np.zeros(1000, int), Offset()
    for path in latest():
        seen, offset = np.load(path.parent / "seen.npy"), Offset.from_json(path.read_text())
    for arrived in StreamFolder(folder).new(offset):
        events = arrived.log.frame["item_id"].to_numpy()
        for end in range(7, len(events) + 7, 7):
            np.add.at(seen, events[end - 7 : end], 1)
            after = arrived.after(min(end, len(events)))
            with atomic_folder(learned / str(after.events)) as aside:
                np.save(aside / "seen.npy", seen)
                time.sleep(0.001)
                (aside / "offset.json").write_text(after.to_json())
            for path in learned.glob("[0-9]*"):
                if int(path.name) < after.events:
                    shutil.rmtree(path)
    if offset.events == int(sys.argv[3]):
        break
    time.sleep(0.01)
"""


def write(folder, name, events):
    """A file that arrives: it is there whole, by a rename."""
    frame = pd.DataFrame({"user_id": "u", "item_id": events, "timestamp": 1_700_000_000})
    aside = folder / f"_{name}"
    frame.to_parquet(aside) if name.endswith("parquet") else frame.to_csv(aside, index=False)
    aside.rename(folder / name)


def read(folder, offset=None):
    """The items of the new events, and the offset after them."""
    found = []
    for arrived in StreamFolder(folder).new(offset):
        if arrived.log is not None:
            found += arrived.log.frame["item_id"].tolist()
        offset = arrived.after(0 if arrived.log is None else len(arrived.log))
    return found, offset


def test_new_files_alone_are_read_and_an_offset_is_text(tmp_path):
    write(tmp_path, "b.parquet", [3, 4])
    write(tmp_path, "a.csv", [1, 2])
    found, offset = read(tmp_path)
    assert found == [1, 2, 3, 4] and offset.events == 4
    (tmp_path / "a.csv").unlink()  # it has been read
    write(tmp_path, "Z.parquet", [5])  # its name comes first
    found, offset = read(tmp_path, Offset.from_json(offset.to_json()))
    assert found == [5] and offset.events == 5
    assert read(tmp_path, offset) == ([], offset)


def test_a_file_is_gone_on_with_where_it_was_left(tmp_path):
    write(tmp_path, "a.parquet", [1, 2, 3])
    (arrived,) = StreamFolder(tmp_path).new()
    offset = arrived.after(1)
    assert offset.events == 1 and not offset.files["a.parquet"].whole
    found, after = read(tmp_path, offset)
    assert found == [2, 3] and after.events == 3 and after.files["a.parquet"].whole
    (tmp_path / "a.parquet").unlink()
    with pytest.raises(ValueError, match="is gone, of which 1 events were read"):
        read(tmp_path, offset)


def test_files_that_are_still_written_are_left_alone(tmp_path):
    write(tmp_path, "a.parquet", [1])
    for name in ("_b.parquet", ".c.parquet", "d.parquet.tmp"):
        (tmp_path / name).write_bytes(b"half")
    pd.DataFrame({"user_id": [], "item_id": []}).to_csv(tmp_path / "e.csv", index=False)
    found, offset = read(tmp_path)
    assert found == [1] and offset.files["e.csv"].whole
    (tmp_path / "notes.txt").write_text("?")
    with pytest.raises(ValueError, match="neither Parquet nor CSV by its name"):
        read(tmp_path)


def test_a_file_that_changed_after_it_was_read_is_refused(tmp_path):
    write(tmp_path, "a.csv", [1, 2])
    _, offset = read(tmp_path)
    text = (tmp_path / "a.csv").read_text()
    (tmp_path / "a.csv").write_text(text)  # touched: still the same
    assert read(tmp_path, offset)[0] == []
    (tmp_path / "a.csv").write_text(text.replace("2", "3"))
    with pytest.raises(ValueError, match="changed after 2 of its events were read"):
        read(tmp_path, offset)


def test_an_offset_that_is_damaged_and_a_folder_that_is_not_there_are_refused(tmp_path):
    with pytest.raises(ValueError):
        Offset.from_json('{"files": {"a": {}}, "events": 1}')
    with pytest.raises(ValueError):
        Offset.from_json("half a fi")
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        list(StreamFolder(tmp_path / "none").new())
    with pytest.raises(ValueError, match="No events have arrived"):
        stream(tmp_path)


def test_what_has_arrived_is_a_log_of_text_where_any_file_has_text(tmp_path):
    write(tmp_path, "a.csv", [7, 8])
    write(tmp_path, "b.csv", ["x", "007"])
    items = pd.DataFrame({"item_id": ["7", "x"], "title": ["t", "u"]})
    items.to_csv(tmp_path / "_items.csv", index=False)
    log = stream(tmp_path, items=tmp_path / "_items.csv")
    assert log.frame["item_id"].tolist() == ["7", "8", "x", "007"]
    assert log.items["title"].tolist() == ["t", "u"]


def test_a_killed_learner_neither_loses_nor_doubles_an_event(tmp_path):
    folder, learned = tmp_path / "in", tmp_path / "learned"
    folder.mkdir(), learned.mkdir()
    events = np.arange(300)
    random = np.random.default_rng(0)
    parts = iter(np.split(events, [40, 90, 91, 200]))
    write(folder, "0.parquet", next(parts))
    command = [sys.executable, "-c", LEARNER, str(folder), str(learned), str(len(events))]
    for number, part in enumerate(parts, start=1):
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        process.stdout.readline()
        write(folder, f"{number}.{('parquet', 'csv')[number % 2]}", part)
        time.sleep(random.uniform(0, 0.25))
        process.kill()
        process.communicate()
    subprocess.run(command, check=True, timeout=60)
    (path,) = learned.glob("[0-9]*")
    assert json.loads((path / "offset.json").read_text())["events"] == len(events)
    seen = np.load(path / "seen.npy")
    assert (seen[: len(events)] == 1).all() and seen.sum() == len(events)
