"""A model that learns from a stream learns each event once, and ends with the same weights."""

import subprocess
import sys
import time

import keras
import numpy as np
import pandas as pd
import pytest

import tf_recall as tr
from tf_recall.data.atomic import atomic_folder
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.data.stream_folder import StreamFolder
from tf_recall.positives.user_item import user_item
from tf_recall.runs import streaming
from tf_recall.runs.streaming import train_on_stream

LOG = synthetic(30, 20, 400, seed=5).interactions
CATALOG = tr.Catalog.fit(LOG)
MORE = LOG.frame.sample(190, random_state=1)


def made():
    keras.utils.set_random_seed(0)
    model = tr.TwoTower().adapt(LOG, CATALOG)
    model.compile()
    return model


def write(folder, name, frame):
    frame.to_parquet(folder / f"_{name}")
    (folder / f"_{name}").rename(folder / name)


def weights(model):
    return [variable.numpy() for variable in [*model.variables, *model.optimizer.variables]]


def assert_same_weights(one, other):
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder of all events, and the weights of one run over it."""
    folder = tmp_path_factory.mktemp("whole")
    stranger = MORE.head(3).assign(item_id="nobody knows it")
    frame = pd.concat([MORE.head(50), stranger, MORE.tail(-50)], ignore_index=True)
    for number, rows in enumerate(np.array_split(np.arange(len(frame)), 3)):
        write(folder, f"{number}.parquet", frame.iloc[rows])
    model = made()
    learned = tmp_path_factory.mktemp("learned")
    done = train_on_stream(model, CATALOG, StreamFolder(folder), learned, 16)
    return folder, weights(model), done


def test_a_step_takes_the_next_events_and_the_rest_waits(whole):
    _, learned, done = whole
    assert done.steps == 190 // 16 == 11
    # 11 * 16 = 176 known events, after the 53rd the 3 unknown ones are passed too
    assert done.offset.events == 176 + 3
    twin = made()
    known = MORE.head(176)
    columns = user_item(tr.Interactions.from_frame(known), CATALOG, twin.needs())
    for at in range(0, 176, 16):
        twin.train_on_batch(streaming.select(columns, slice(at, at + 16)))
    assert_same_weights(weights(twin), learned)


@pytest.mark.slow
def test_files_that_arrive_one_by_one_teach_the_same(whole, tmp_path):
    source, learned, done = whole
    folder = tmp_path / "in"
    folder.mkdir()
    for path in sorted(source.glob("*.parquet")):
        write(folder, path.name, pd.read_parquet(path))
        model = made()  # a new process each time
        result = train_on_stream(model, CATALOG, StreamFolder(folder), tmp_path / "out", 16)
    assert result.offset.events == done.offset.events and result.steps == done.steps
    assert_same_weights(weights(model), learned)
    (kept,) = (tmp_path / "out").glob("[0-9]*")
    assert kept.name == str(done.offset.events)


def test_a_run_that_dies_at_any_step_or_write_goes_on_and_ends_the_same(
    whole, tmp_path, monkeypatch
):
    folder, learned, done = whole

    def run(model):
        return train_on_stream(
            model, CATALOG, StreamFolder(folder), tmp_path / "out", 16, commit_steps=2
        )

    for writes in (1, 0, 2):

        def mortal(path, left=iter(range(writes))):  # noqa: B008
            if next(left, None) is None:
                raise KeyboardInterrupt
            return atomic_folder(path)

        monkeypatch.setattr(streaming, "atomic_folder", mortal)
        with pytest.raises(KeyboardInterrupt):
            run(made())
    monkeypatch.setattr(streaming, "atomic_folder", atomic_folder)
    model = made()
    assert run(model).offset.events == done.offset.events
    assert_same_weights(weights(model), learned)


def test_what_cannot_learn_from_a_stream_is_refused(tmp_path):
    folder = StreamFolder(tmp_path)
    model = tr.TwoTower(positives=tr.UserItem(alpha=0.1)).adapt(LOG, CATALOG)
    model.compile()
    with pytest.raises(ValueError, match="TwoTower cannot learn from a stream.*draws anew"):
        train_on_stream(model, CATALOG, folder, tmp_path / "out")
    model = tr.YouTubeDNN(dim=8).adapt(LOG, CATALOG)
    model.compile()
    with pytest.raises(ValueError, match="its positives are NextItem"):
        train_on_stream(model, CATALOG, folder, tmp_path / "out")
    other = tr.Catalog.fit(LOG.select(np.arange(50)))
    with pytest.raises(ValueError, match="do not go together"):
        train_on_stream(made(), other, folder, tmp_path / "out")


def test_a_damaged_checkpoint_is_refused(whole, tmp_path):
    folder = StreamFolder(whole[0])
    train_on_stream(made(), CATALOG, folder, tmp_path / "out", 16)
    (index,) = (tmp_path / "out").glob("*/weights.index")
    index.write_bytes(b"half")
    with pytest.raises(ValueError, match="is damaged, or of another model"):
        train_on_stream(made(), CATALOG, folder, tmp_path / "out", 16)


LEARNER = """
import sys
sys.path.insert(0, {tests!r})
from test_streaming import CATALOG, StreamFolder, made, train_on_stream, weights
import numpy as np
model = made()
print("begun", flush=True)
train_on_stream(model, CATALOG, StreamFolder(sys.argv[1]), sys.argv[2], 16, commit_steps=1)
np.savez(sys.argv[2] + ".npz", *weights(model))
"""


@pytest.mark.slow
def test_a_killed_process_goes_on_and_ends_the_same(whole, tmp_path):
    folder, learned, _ = whole
    code = LEARNER.format(tests=str(__file__).rpartition("/")[0])
    command = [sys.executable, "-c", code, str(folder), str(tmp_path / "out")]
    random = np.random.default_rng(0)
    for _ in range(4):
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(random.uniform(0, 2))
        process.kill()
        process.communicate()
    subprocess.run(command, check=True)
    with np.load(tmp_path / "out.npz") as found:
        assert_same_weights([found[name] for name in found.files], learned)
