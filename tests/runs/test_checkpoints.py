"""Checkpoints that are damaged or meet a full disk: one line, and what is kept."""

import json
import resource
import shutil

import keras
import numpy as np
import pytest

from tf_recall.config import Config
from tf_recall.data.catalog import Catalog
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.data.splits import by_time
from tf_recall.runs.callbacks import STATE, WEIGHTS, Checkpoint, saved_epochs
from tf_recall.runs.model import fit
from tf_recall.runs.prepared import Prepared

TOWER = {"features": [{"name": "id", "dim": 4}]}
VALUES = {
    "data": {"name": "synthetic"},
    "split": {"name": "by_time"},
    "model": {"name": "two_tower", "query_tower": TOWER, "item_tower": TOWER},
    "evaluate": {"ks": [5]},
}
DATA = f"{WEIGHTS}.data-00000-of-00001"
LOGS = {"loss": 1.0, "val_recall@5": 0.5}


@pytest.fixture(scope="module")
def world():
    split = by_time(synthetic(60, 50, 900).interactions, test=0.1, validation=0.1)
    return split, Catalog.fit(split.train)


def made(world):
    """A compiled model, as training leaves it."""
    model = Config.from_dict(VALUES).make_model().adapt(*world_train(world))
    model.compile()
    model.optimizer.build(model.trainable_variables)
    return model


def world_train(world):
    return world[0].train, world[1]


@pytest.fixture
def saved(world, tmp_path):
    """A folder with the checkpoints of epoch 1, the best one, and 2, the last."""
    checkpoint = Checkpoint(tmp_path / "run", monitor="val_recall@5")
    checkpoint.set_model(made(world))
    for epoch, value in enumerate([0.1, 0.9, 0.5]):
        checkpoint.on_epoch_end(epoch, {**LOGS, "val_recall@5": value})
    assert saved_epochs(tmp_path / "run") == [1, 2]
    return tmp_path / "run"


def one_line(error):
    assert "\n" not in str(error.value) and "{{" not in str(error.value), str(error.value)
    return str(error.value)


def restored(world, folder):
    checkpoint = Checkpoint(folder, monitor="val_recall@5")
    return checkpoint.restore(made(world)), checkpoint


def flip(path, at=0.5):
    """Turns one bit over."""
    content = bytearray(path.read_bytes())
    content[int(at * (len(content) - 1))] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


DAMAGES = {
    "a bit of the weights": lambda folder: flip(folder / DATA),
    "the weights' end": lambda folder: cut(folder / DATA),
    "no weights": lambda folder: (folder / DATA).unlink(),
    "empty weights": lambda folder: (folder / DATA).write_bytes(b""),
    "the index": lambda folder: cut(folder / f"{WEIGHTS}.index"),
    "no index": lambda folder: (folder / f"{WEIGHTS}.index").unlink(),
    "the metrics": lambda folder: (folder / STATE).write_text('[{"loss": 1'),
    "no metrics": lambda folder: (folder / STATE).write_text(""),
    "other metrics": lambda folder: (folder / STATE).write_text("{}"),
    "fewer metrics": lambda folder: (folder / STATE).write_text("[{}]"),
    "bytes": lambda folder: (folder / STATE).write_bytes(b"\xff\xfe"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_taken(world, saved, damage):
    damage(saved / "2")
    with pytest.raises(
        ValueError, match="is damaged .*: remove it to go on after epoch 2"
    ) as error:
        restored(world, saved)
    assert str(saved / "2") in one_line(error)
    shutil.rmtree(saved / "2")  # as the message says
    assert restored(world, saved)[0] == 2
    damage(saved / "1")
    with pytest.raises(ValueError, match="is damaged .*: remove it to begin anew") as error:
        restored(world, saved)
    assert str(saved / "1") in one_line(error)


def test_the_best_epoch_is_damaged_or_gone(world, saved):
    _, checkpoint = restored(world, saved)
    model = made(world)
    checkpoint.restore_best(model)
    assert len(checkpoint.history) == 3  # the epochs after the best one too
    flip(saved / "1" / DATA)
    with pytest.raises(ValueError, match="1 is damaged"):
        checkpoint.restore_best(model)
    shutil.rmtree(saved / "1")
    with pytest.raises(ValueError, match="1 is damaged"):
        checkpoint.restore_best(model)


WIDER = {"features": [{"name": "id", "dim": 8}]}


@pytest.mark.parametrize(("tower", "optimizer"), [(WIDER, None), (TOWER, "sgd"), (TOWER, "adam")])
def test_a_checkpoint_of_another_model(world, saved, tower, optimizer):
    values = {**VALUES, "model": {**VALUES["model"], "query_tower": tower, "item_tower": tower}}
    model = Config.from_dict(values).make_model().adapt(*world_train(world))
    model.compile(optimizer)
    with pytest.raises(ValueError, match="2 is damaged") as error:
        Checkpoint(saved).restore(model)
    one_line(error)


@pytest.mark.parametrize("size", [0, 100, 2000])
def test_a_disk_that_fills_up(world, tmp_path, size, small_disk):
    checkpoint = Checkpoint(tmp_path / "run")
    checkpoint.set_model(made(world))
    with small_disk(size), pytest.raises(OSError, match="none is whole: free space") as error:
        checkpoint.on_epoch_end(0, LOGS)
    assert list((tmp_path / "run").iterdir()) == []
    checkpoint.history.clear()
    checkpoint.on_epoch_end(0, LOGS)
    with small_disk(size), pytest.raises(OSError, match="is that of epoch 1: free space") as error:
        checkpoint.on_epoch_end(1, LOGS)
    assert f"{tmp_path / 'run' / '1'} could not be written: " in one_line(error)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["0"]
    assert Checkpoint(tmp_path / "run").restore(made(world)) == 1


def test_a_run_goes_on_when_there_is_room(world, tmp_path, monkeypatch, small_disk):
    settings = Config.from_dict({**VALUES, "train": {"epochs": 3, "batch_size": 64}})
    save = Checkpoint._save

    def full(self, epoch):
        with small_disk(1000 if epoch == 1 else resource.RLIM_INFINITY):
            save(self, epoch)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "_save", full)
        with pytest.raises(OSError, match="go on with --resume"):
            fit(Prepared.of(settings, *world), tmp_path / "run")
    resumed = fit(Prepared.of(settings, *world), tmp_path / "run")
    whole = fit(Prepared.of(settings, *world), tmp_path / "whole")
    for one, other in zip(whole.variables, resumed.variables, strict=True):
        np.testing.assert_array_equal(one, other)


def test_tensorboard_meets_a_full_disk(world, tmp_path, monkeypatch, small_disk):
    settings = Config.from_dict({**VALUES, "train": {"epochs": 2, "batch_size": 64}})
    begin = keras.callbacks.TensorBoard.on_epoch_end

    def full(self, *arguments):
        with small_disk(0):
            begin(self, *arguments)
            self._val_writer.flush()

    monkeypatch.setattr(keras.callbacks.TensorBoard, "on_epoch_end", full)
    with pytest.raises(OSError, match="could not be written.*or without --tensorboard") as error:
        fit(Prepared.of(settings, *world), tmp_path / "run", tmp_path / "board")
    assert str(tmp_path / "board") in one_line(error)


def test_metrics_are_written_as_json(saved):
    assert [logs["val_recall@5"] for logs in json.loads((saved / "2" / STATE).read_text())] == [
        0.1,
        0.9,
        0.5,
    ]
