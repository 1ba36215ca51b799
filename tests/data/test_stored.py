"""A log on disk is the log in memory: its splits, vocabularies, rows and histories."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tf_recall.data import columns, histories, stored
from tf_recall.data.catalog import Catalog
from tf_recall.data.growth import active
from tf_recall.data.interactions import Interactions
from tf_recall.data.positions import Strings
from tf_recall.data.sources.parquet import parquet
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.data.splits import by_time, by_user, leave_last_out, leave_last_session_out, random
from tf_recall.data.stored import StoredInteractions
from tf_recall.evaluation.past import past_of_users
from tf_recall.runs.doctor import check_split
from tf_recall.runs.fingerprint import fingerprint


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """So small that every log has several blocks, and every run of users several users."""
    monkeypatch.setattr(columns, "BLOCK_ROWS", 77)
    monkeypatch.setattr(stored, "BLOCK", 101)
    monkeypatch.setattr(histories, "EVENTS", 60)


@pytest.fixture(scope="module", params=["string", "int64"])
def frame(request):
    frame = synthetic(60, 40, 1000, seed=3).interactions.frame
    number = np.arange(len(frame))
    frame = frame.assign(
        device=np.array(["phone", None, "web"], object)[number % 3],
        size=number % 7 / 2,
        visit=number // 9,
        bought=number % 2 == 0,
    )
    if request.param == "int64":
        frame = frame.assign(
            **{key: frame[key].str[1:].astype(np.int64) for key in ("user_id", "item_id")}
        )
    return frame


CONTEXT = ["device", "size", "visit", "bought"]


@pytest.fixture
def both(frame, tmp_path):
    """The log in memory, and the same on disk, in three files."""
    items = pd.DataFrame({"item_id": frame["item_id"].unique()[:-2]}).assign(title="t")
    more = "new" if frame["item_id"].dtype == object else 10**6
    items.loc[len(items)] = [more, "nobody took it"]
    folder = tmp_path / "log"
    folder.mkdir()
    for number, rows in enumerate(np.array_split(np.arange(len(frame)), 3)):
        frame.iloc[rows].to_parquet(folder / f"{number}.parquet")
    items.to_parquet(tmp_path / "items.parquet")
    (folder / "_half.parquet").write_bytes(b"still being written")
    on_disk = parquet(folder, context=CONTEXT, items=tmp_path / "items.parquet")
    return Interactions.from_frame(frame, items=items), on_disk


def plain(log):
    return pd.DataFrame({name: log.frame[name].to_numpy() for name in log.frame})


def is_mapped(array):
    while array is not None and not isinstance(array, np.memmap):
        array = getattr(array, "base", None)
    return array is not None


def assert_same(log, other):
    pd.testing.assert_frame_equal(plain(log), plain(other), check_dtype=False)
    assert isinstance(other, StoredInteractions)
    for name in ("user_id", "item_id", "timestamp"):
        assert plain(log)[name].dtype == plain(other)[name].dtype


def assert_same_catalog(one, other):
    assert one.identity == other.identity
    assert (one.users.counts == other.users.counts).all()
    assert (one.items.counts == other.items.counts).all()
    for name in ("offsets", "items", "times"):
        assert (getattr(one.histories, name) == getattr(other.histories, name)).all()
    assert (one.seen.offsets == other.seen.offsets).all()
    assert (one.seen.rows == other.seen.rows).all()
    pd.testing.assert_frame_equal(one.item_table, other.item_table)


SPLITS = {
    "by_time": lambda log: by_time(log, 0.2, 0.1),
    "by_user": lambda log: by_user(log, 0.2, 0.1, seed=2),
    "random": lambda log: random(log, 0.2, 0.1, seed=2),
    "leave_last_out": lambda log: leave_last_out(log, 0.1, seed=2),
    "sessions": lambda log: leave_last_session_out(log, "visit", True),
}


@pytest.mark.parametrize("name", SPLITS)
def test_parts_and_their_catalog_are_those_in_memory(both, name):
    one, other = (SPLITS[name](log) for log in both)
    for part in ("train", "validation", "test"):
        assert_same(getattr(one, part), getattr(other, part))
    assert_same(one.together().train, other.together().train)
    apart = replace(other, taken=None)  # the parts one after the other
    assert_same(replace(one, taken=None).together().train, apart.together().train)
    catalogs = Catalog.fit(one.train), Catalog.fit(other.train)
    assert_same_catalog(*catalogs)
    for entity in ("user", "item"):
        vocabulary = catalogs[0].side(entity).vocabulary
        for part in ("train", "test"):  # the test part holds unknown ids
            rows = [getattr(split, part).rows(entity, vocabulary) for split in (one, other)]
            assert rows[0].dtype == rows[1].dtype == np.int32 and (rows[0] == rows[1]).all()
    assert check_split(one) == check_split(other)


def test_columns_are_maps_and_a_second_run_writes_nothing(both, tmp_path):
    _, log = both
    for column in (log.frame["user_id"].array.codes, log.frame["size"].to_numpy(), log.times):
        assert is_mapped(column)
    Catalog.fit(by_time(log).train)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    again = parquet(tmp_path / "log", context=CONTEXT, items=tmp_path / "items.parquet")
    Catalog.fit(by_time(again).train)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")} == before
    assert fingerprint(by_time(log)) == fingerprint(by_time(again))


def test_other_files_are_other_columns(both, tmp_path):
    _, log = both
    whole = pd.read_parquet(tmp_path / "log" / "0.parquet")
    whole.iloc[:-1].to_parquet(tmp_path / "log" / "0.parquet")
    other = parquet(tmp_path / "log", context=CONTEXT)
    assert len(other) == len(log) - 1 and other.folder != log.folder
    assert fingerprint(by_time(log)) != fingerprint(by_time(other))


def test_a_write_that_is_cut_short_is_done_again(both, tmp_path, monkeypatch):
    def killed(folder, values):
        raise KeyboardInterrupt

    folder = tmp_path / "elsewhere"
    with monkeypatch.context() as patch:
        patch.setattr("tf_recall.data.sources.parquet.write_categories", killed)
        with pytest.raises(KeyboardInterrupt):
            parquet(tmp_path / "log", work=folder)
    assert not list(folder.glob("*"))
    assert len(parquet(tmp_path / "log", work=folder)) == len(both[0])


def test_pasts_of_users_are_those_in_memory(both):
    one, other = (by_time(log, 0.2, 0.3) for log in both)
    users = one.test.frame["user_id"].unique()
    pasts = [
        past_of_users(users, Catalog.fit(split.train), split.validation) for split in (one, other)
    ]
    assert (pasts[0].every.rows() == pasts[1].every.rows()).all()
    assert (pasts[0].held.rows() == pasts[1].held.rows()).all()


def test_what_cannot_be_stored_is_refused(frame, both, tmp_path):
    log = both[1]
    with pytest.raises(ValueError, match="write the order into the timestamps"):
        log.in_order()
    with pytest.raises(ValueError, match="hold out with `split: by_time`"):
        log.with_string_ids("user_id")
    frame.assign(when=pd.Timestamp("2024-01-01")).to_parquet(tmp_path / "dates.parquet")
    with pytest.raises(ValueError, match="column 'when' .* context is numbers, booleans or text"):
        parquet(tmp_path / "dates.parquet", context=["when"])
    with pytest.raises(FileNotFoundError, match="no Parquet file"):
        parquet(tmp_path / "nowhere")
    other = "7" if frame["item_id"].dtype != object else 7
    pd.DataFrame({"item_id": [other]}).to_parquet(tmp_path / "kinds.parquet")
    with pytest.raises(ValueError, match="share no item_id|write both alike"):
        parquet(tmp_path / "log", items=tmp_path / "kinds.parquet")


def test_a_catalog_grows_as_in_memory_and_ids_stay_codes(both, monkeypatch):
    first = np.arange(len(both[0])) < 300
    earlier, later = ([log.select(lines) for log in both] for lines in (first, ~first))
    catalogs = [Catalog.fit(log) for log in earlier]
    hashed, sizes = Strings._hash, []

    def counted(self, ids):
        sizes.append(len(ids))
        return hashed(self, ids)

    for keep in (True, False):
        grown = catalogs[0].grown(later[0], keep)
        with monkeypatch.context() as patch:
            patch.setattr(Strings, "_hash", counted)
            found = catalogs[1].grown(later[1], keep)
        assert_same_catalog(grown, found)
        assert grown.origin.sizes == found.origin.sizes
        for entity, rows in grown.origin.rows.items():
            assert (rows == found.origin.rows[entity]).all()
    assert max(sizes, default=0) <= 61  # of distinct ids, not of lines


READ = """
import sys, time
from tf_recall.data.sources.parquet import parquet
log = parquet(sys.argv[1])
print(log.folder, flush=True)
time.sleep(60)
"""


def test_columns_of_a_log_that_has_changed_go_when_nobody_reads_them(frame, tmp_path):
    log, other = tmp_path / "log", tmp_path / "other" / "log"
    for folder in (log, other):
        folder.mkdir(parents=True)
        frame.to_parquet(folder / "0.parquet")
    command = [sys.executable, "-c", READ, str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        read = Path(reader.stdout.readline().strip())
        with_size, elsewhere = parquet(log, context=["size"]), parquet(other, work=read.parent)
        part, history = with_size.select([1, 2]), Catalog.fit(with_size).histories
        folders = {read, with_size.folder, elsewhere.folder}
        del with_size
        left = read.parent / f".{'a' * 32}.{'b' * 32}.part"
        left.mkdir()  # by a process that was killed while it removed

        def still_there():
            frame.to_parquet(log / f"{len([*log.iterdir()])}.parquet")
            folders.add(parquet(log).folder)
            return {folder for folder in folders if folder.is_dir()}

        assert len(still_there()) == 4 and not left.exists()  # that of the first state is read
        assert len(history.seen().rows) and len(part) == 2
        kept = part.folder.parents[1]
        del part
        assert kept in still_there()  # its histories are
        del history
        assert still_there() == {read, elsewhere.folder, parquet(log).folder}
        reader.kill()
    assert still_there() == {elsewhere.folder, parquet(log).folder}


def test_who_has_left_is_who_has_left_in_memory(both):
    days = np.ptp(both[0].times) / 86_400 / 30
    one, other = (active(log, days) for log in both)
    assert_same(one, other)
    assert len(one) < len(both[0]) and one.items["item_id"].tolist() == other.items.item_id.tolist()
