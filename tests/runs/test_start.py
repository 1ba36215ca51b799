"""A run that goes on from an export: exactly where nothing is new, resumed exactly, or refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tf_recall.cli import main
from tf_recall.config import Config
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.export import lineage
from tf_recall.export.load import restore
from tf_recall.runs.callbacks import Checkpoint
from tf_recall.runs.run import train

VALUES = {
    "split": {"name": "by_time", "test": 0.1},
    "model": {"name": "two_tower", "dim": 4},
    "train": {"epochs": 2, "batch_size": 64},
    "evaluate": {"ks": [5]},
    "name": "clicks",
}


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """The files of a first day's log, and of that of two days."""
    folder = tmp_path_factory.mktemp("logs")
    frame = synthetic(60, 50, 900).interactions.frame.sort_values("timestamp")
    frame.iloc[:600].to_csv(folder / "first.csv", index=False)
    frame.to_csv(folder / "both.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def exported(logs, tmp_path_factory):
    """The first day's model."""
    return train(config(logs / "first.csv"), tmp_path_factory.mktemp("models")).path


def config(log, **changes):
    values = {**VALUES, "data": {"name": "files", "interactions": str(log)}}
    values["train"] = {**VALUES["train"], **changes.pop("train", {})}
    return Config.from_dict({**values, **changes})


def state(path):
    model, _ = restore(path)
    return [each.numpy() for each in (*model.variables, *model.optimizer.variables)]


@pytest.mark.slow
def test_where_nothing_is_new_it_equals_one_longer_run(logs, exported, tmp_path):
    log = logs / "first.csv"
    longer = train(config(log, train={"epochs": 3}), tmp_path / "longer")
    after = train(config(log, train={"epochs": 1, "start_from": str(exported)}), tmp_path)
    for one, other in zip(state(after.path), state(longer.path), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_with_a_validation_part_it_goes_on_from_the_same_start_on_both(logs, exported, tmp_path):
    held = {"name": "by_time", "test": 0.1, "validation": 0.2}
    start = {"epochs": 1, "start_from": str(exported), "drop_after_days": 10_000}
    both = train(config(logs / "both.csv", split=held, train=start), tmp_path / "held")
    plain = train(config(logs / "both.csv", train=start), tmp_path / "plain")
    for one, other in zip(state(both.path), state(plain.path), strict=True):
        np.testing.assert_array_equal(one, other)


def test_it_learns_who_is_new_and_says_where_it_comes_from(logs, exported, tmp_path):
    name = str(exported.parent)
    config(logs / "both.csv").save(tmp_path / "clicks.yaml")
    command = ["train", str(tmp_path / "clicks.yaml"), "--from", name, "--out", str(tmp_path)]
    answer = CliRunner().invoke(main, command)
    path = Path(json.loads(answer.stdout.splitlines()[-1])["model"])
    _, catalog = restore(path)
    _, before = restore(exported)
    assert catalog.users.ids[: before.users.size - 1].tolist() == before.users.ids.tolist()
    entries = lineage.read(path)
    assert entries["parent"]["version"] == "1" and entries["parent"]["path"] == name
    manifest = json.loads((exported / "manifest.json").read_text())
    assert entries["parent"]["digest"] == manifest["sha256"]
    assert entries["data"]["interactions"] == 810 and entries["data"]["first"].startswith("20")
    assert {"when", "by", "host", "command"} <= set(entries["made"])
    assert lineage.read(exported)["parent"] is None


def test_an_age_drops_who_has_not_been_there_for_long(logs, exported, tmp_path):
    settings = {"epochs": 1, "start_from": str(exported), "drop_after_days": 30}
    trained = train(config(logs / "both.csv", train=settings), tmp_path)
    _, catalog = restore(trained.path)
    _, before = restore(exported)
    known = set(before.users.ids) | set(before.items.ids)
    assert known - set(catalog.users.ids) - set(catalog.items.ids)
    assert catalog.users.counts[1:].min() > 0
    with pytest.raises(ValueError, match="goes with train.start_from"):
        config("log.csv", train={"drop_after_days": 30})


@pytest.mark.slow
def test_an_interrupted_run_goes_on_from_the_same_start_exactly(
    logs, exported, tmp_path, monkeypatch
):
    rate = {"name": "warm_up_cosine", "peak": 0.1}
    settings = {"start_from": str(exported)}
    settings["optimizer"] = {"name": "sparse_adagrad", "learning_rate": rate}
    whole = train(config(logs / "both.csv", train=settings), tmp_path / "whole")
    saved = Checkpoint._save

    def once(self, epoch):
        saved(self, epoch)
        raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "_save", once)
    with pytest.raises(KeyboardInterrupt, match="go on with --resume"):
        train(config(logs / "both.csv", train=settings), tmp_path)
    monkeypatch.setattr(Checkpoint, "_save", saved)
    resumed = train(config(logs / "both.csv", train=settings), tmp_path, resume=True)
    for one, other in zip(state(resumed.path), state(whole.path), strict=True):
        np.testing.assert_array_equal(one, other)


def test_another_model_is_refused_by_what_differs(logs, exported, tmp_path):
    start = {"start_from": str(exported)}
    other = config(logs / "both.csv", model={"name": "two_tower", "dim": 8}, train=start)
    with pytest.raises(ValueError, match=r"its model.dim is 4, here it is 8; take the model of"):
        train(other, tmp_path)
    with pytest.raises(ValueError, match="train.precision is 'float32', here"):
        train(config(logs / "both.csv", train={**start, "precision": "mixed_bfloat16"}), tmp_path)
    with pytest.raises(FileNotFoundError, match="no export at"):
        train(config(logs / "both.csv", train={"start_from": str(tmp_path)}), tmp_path)


def test_a_learning_rate_that_has_come_to_its_end_is_refused(logs, exported, tmp_path):
    rate = {"name": "cosine_decay", "initial_learning_rate": 0.1, "decay_steps": 4}
    settings = {"start_from": str(exported)}
    settings["optimizer"] = {"name": "sparse_adagrad", "learning_rate": rate}
    with pytest.raises(ValueError, match="before, the learning rate is 0: its schedule has come"):
        train(config(logs / "both.csv", train=settings), tmp_path)


def test_another_optimizer_begins_anew_and_says_so(logs, exported, tmp_path, caplog):
    settings = {"epochs": 1, "start_from": str(exported), "optimizer": "lazy_adam"}
    trained = train(config(logs / "first.csv", train=settings), tmp_path)
    assert "the export has the state of SparseAdagrad: LazyAdam begins anew" in caplog.text
    assert trained.path.is_dir()
