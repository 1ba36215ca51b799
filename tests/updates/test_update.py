"""A new log on the second day: learned and published, refused, killed, rolled back."""

import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from tf_recall.cli import main
from tf_recall.config import Config
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.export import lineage
from tf_recall.export.load import load, restore
from tf_recall.export.versions import publish, version_folder, versions
from tf_recall.runs.run import train
from tf_recall.updates import update as updating
from tf_recall.updates.update import update

TOWERS = {
    "query_tower": {"features": [{"name": "id", "dim": 8}], "units": [8]},
    "item_tower": {"features": [{"name": "id", "dim": 8}], "units": [8]},
}


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """The first days' log, and the next day's with users and items of its own."""
    folder = tmp_path_factory.mktemp("logs")
    frame = synthetic(150, 60, 4000).interactions.frame.sort_values("timestamp")
    new = frame["user_id"].isin(frame["user_id"].unique()[:5])
    new |= frame["item_id"].isin(frame["item_id"].unique()[:2])
    late = np.arange(len(frame)) >= 3000
    frame[~late & ~new].to_csv(folder / "first.csv", index=False)
    frame[late].to_csv(folder / "next.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def trained(logs, tmp_path_factory):
    values = {
        "data": {"name": "files", "interactions": str(logs / "first.csv")},
        "split": {"name": "by_time", "test": 0.05},
        "model": {"name": "two_tower", **TOWERS},
        "train": {"epochs": 4, "batch_size": 128, "optimizer": "lazy_adam"},
        "evaluate": {"ks": [20]},
        "k_max": 30,
        "name": "clicks",
    }
    Config.from_dict(values).save(logs / "config.yaml")
    return train(Config.from_dict(values), tmp_path_factory.mktemp("models")).path.parent


@pytest.fixture
def served(trained, tmp_path):
    """A copy of the model's folder."""
    return shutil.copytree(trained, tmp_path / "models" / "clicks")


def weights(path):
    """The weights of a version by their place, and its users' and items' ids."""
    model, catalog = restore(path)
    return [each.numpy() for each in model.trainable_variables], catalog


def test_a_new_log_is_learned_and_published_once(served, logs):
    answer = update(served, logs / "next.csv", margin=0.9)
    assert answer["published"] and versions(served) == [1, 2]
    assert answer["gate"]["cases"] > 50
    recommender = load(served)
    frame = np.loadtxt(logs / "next.csv", dtype=str, delimiter=",", skiprows=1, usecols=(0, 1))
    assert set(frame[:, 0]) <= set(recommender.catalog.users.ids)
    assert set(frame[:, 1]) <= set(recommender.catalog.items.ids)
    events = len(recommender.catalog.histories.items)
    entries = lineage.read(Path(answer["model"]))
    assert entries["parent"]["version"] == "1" and entries["log"]["interactions"] == 1000
    assert (
        entries["data"]["interactions"]
        == events
        == 1000 + len(restore(served / "1")[1].histories.items)
    )
    assert entries["update"]["gate"] == answer["gate"]
    again = update(served, logs / "next.csv", margin=0.9)
    assert again == {"published": False, "model": answer["model"], "already_learned": True}
    assert versions(served) == [1, 2] and not (served / "update").exists()


def test_a_version_that_is_worse_is_refused_with_what_was_found(served, logs, monkeypatch):
    monkeypatch.setattr(updating._Run, "serve", _spoiled(updating._Run.serve))
    answer = CliRunner().invoke(main, ["update", str(served), str(logs / "next.csv")])
    assert answer.exit_code == 3
    said = json.loads(answer.stdout.splitlines()[-1])
    assert not said["published"] and "recall@20 is" in said["refused"][0]
    assert said["model"] == str(served / "1") and versions(served) == [1]
    assert not (served / "update").exists()


def _spoiled(serve):
    def spoiled(self, known):
        rng = np.random.default_rng(0)
        for variable in known.model.trainable_variables:
            variable.assign(rng.normal(size=variable.shape))
        return serve(self, known)

    return spoiled


def test_an_incremental_update_trains_user_ids_alone(served, logs):
    answer = update(served, logs / "next.csv", incremental=True, margin=0.9)
    assert answer["published"]
    before, known = weights(served / "1")
    after, catalog = weights(served / "2")
    assert catalog.items.ids.tolist() == known.items.ids.tolist()
    assert catalog.users.size > known.users.size
    changed = [
        one.shape != other.shape or (one != other).any()
        for one, other in zip(before, after, strict=True)
    ]
    assert sum(changed) == 1
    (at,) = np.flatnonzero(changed)
    assert len(after[at]) == catalog.users.size
    one, other = load(served / "1"), load(served / "2")
    ids = known.items.ids
    np.testing.assert_array_equal(one.embed_item(ids), other.embed_item(ids))
    np.testing.assert_array_equal(one._model.index.vectors, other._model.index.vectors)
    # everything trains again in the next update of everything
    assert all(each.trainable for each in restore(served / "2")[0].trainable_variables)
    assert update(served, logs / "next.csv", margin=0.9)["already_learned"]


def test_models_whose_users_are_what_they_did_refuse_to_train_users_alone(served, logs, tmp_path):
    values = Config.load(served / "1" / "config.yaml").to_dict()
    values["model"] = {"name": "item2vec", "dim": 4}
    values["train"] = {"epochs": 1}
    path = train(Config.from_dict(values), tmp_path).path.parent
    with pytest.raises(ValueError, match="Item2Vec has no vectors of user ids that train"):
        update(path, logs / "next.csv", incremental=True)


KILLED = """
import os, signal, sys
from tf_recall.updates import update as updating
from tf_recall.export import write
from tf_recall.runs import callbacks

count = 0

def killing(function):
    def killed(*args, **kwargs):
        global count
        count += 1
        own = count
        result = function(*args, **kwargs)
        if own == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return killed

callbacks.Checkpoint._save = killing(callbacks.Checkpoint._save)
write.write_notes = killing(write.write_notes)
updating.save = killing(updating.save)
updating.update(sys.argv[1], sys.argv[2], margin=0.9)
"""


@pytest.mark.slow
def test_killed_anywhere_it_goes_on_and_publishes_whole_versions(trained, logs, tmp_path):
    whole = shutil.copytree(trained, tmp_path / "whole" / "clicks")
    update(whole, logs / "next.csv", margin=0.9)
    expected, _ = weights(whole / "2")
    # after the first epoch's checkpoint, that of the held-out share, the export, and within it
    for at in (1, 2, 3, 4):
        served = shutil.copytree(trained, tmp_path / str(at) / "clicks")
        command = [
            sys.executable,
            "-c",
            textwrap.dedent(KILLED),
            served,
            logs / "next.csv",
            str(at),
        ]
        assert subprocess.run(command, capture_output=True).returncode == -9
        assert versions(served) == ([1, 2] if at == 3 else [1])
        answer = update(served, logs / "next.csv", margin=0.9)
        assert answer.get("already_learned", False) == (at == 3)
        assert versions(served) == [1, 2]
        for one, other in zip(weights(served / "2")[0], expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_version_is_rolled_back_and_brought_back(served, logs):
    shutil.copytree(served / "1", served / "2")
    runner = CliRunner()
    answer = runner.invoke(main, ["rollback", str(served)])
    assert json.loads(answer.stdout.splitlines()[-1]) == {
        "model": str(served / "1"),
        "withdrawn": str(served / "withdrawn.2"),
    }
    assert version_folder(served) == served / "1" and load(served).k_max == 30
    third = publish(served, None, lambda to: (to / "saved_model.pb").touch())
    assert third.name == "3"  # the number of one that was rolled back is not given again
    shutil.rmtree(third)
    listed = runner.invoke(main, ["versions", str(served)]).stdout.splitlines()[-1]
    found = json.loads(listed)["versions"]
    assert [(each["version"], each["withdrawn"]) for each in found] == [(1, False), (2, True)]
    assert {"parent", "data", "config", "code", "made"} <= set(found[0])
    answer = runner.invoke(main, ["rollback", str(served)])
    assert answer.exit_code == 1 and "no version before the newest" in answer.stderr
    runner.invoke(main, ["rollback", str(served)])
    answer = runner.invoke(main, ["rollback", str(served), "--undo"])
    assert version_folder(served) == served / "2"
    answer = runner.invoke(main, ["rollback", str(served), "--undo"])
    assert "nothing to bring back" in answer.stderr


@pytest.mark.slow
def test_a_folder_of_files_with_tables_and_an_age(trained, logs, tmp_path):
    frame = pd.read_csv(logs / "first.csv")
    items = pd.DataFrame({"item_id": sorted(set(frame["item_id"]))})
    items = items.assign(color=[f"c{n % 3}" for n in range(len(items))])
    items.to_csv(tmp_path / "items.csv", index=False)
    values = Config.load(logs / "config.yaml").to_dict()
    data = {"name": "files", "interactions": str(logs / "first.csv")}
    values["data"] = {**data, "items": str(tmp_path / "items.csv")}
    features = [{"name": "id", "dim": 4}, {"name": "categorical", "column": "color", "dim": 4}]
    model = {"name": "two_tower", "dim": 8, "item_tower": {"features": features}}
    values["model"] = {**model, "negatives": {"name": "easy_hard", "easy": {"name": "uniform"}}}
    values["model"]["negatives"]["easy"]["num"] = 64
    values["model"]["negatives"]["hard"] = {"name": "same_group", "column": "color"}
    values["train"] = {"epochs": 1, "batch_size": 256}
    values["update"] = {"margin": 0.95, "coverage": 0.0, "drop_after_days": 200}
    path = train(Config.from_dict(values), tmp_path).path.parent
    later = pd.read_csv(logs / "next.csv")
    (tmp_path / "day").mkdir()
    later.iloc[:500].to_csv(tmp_path / "day" / "1.csv", index=False)
    later.iloc[500:].to_parquet(tmp_path / "day" / "2.parquet")
    new = set(later["item_id"]) - set(items["item_id"])
    described = pd.DataFrame({"item_id": sorted(new), "color": "new"})
    described.to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(ValueError, match="SameGroup is made of the whole item table"):
        update(path, tmp_path / "day", items=tmp_path / "new.csv")
    pd.concat([items, described]).to_csv(tmp_path / "items.csv", index=False)
    answer = update(path, tmp_path / "day")
    assert answer["published"], answer
    model, catalog = restore(path)
    assert "new" in model.item_tower.features[1].vocabulary.ids
    assert catalog.histories.times.max() - catalog.histories.times.min() > 200 * 86400
    last = pd.Series(catalog.histories.times).groupby(catalog.histories.users).max()
    assert last.min() >= catalog.histories.times.max() - 200 * 86400


def test_what_cannot_be_an_update_is_refused(served, logs, tmp_path):
    with pytest.raises(ValueError, match="is a version: give the folder of all"):
        update(served / "1", logs / "next.csv")
    with pytest.raises(FileNotFoundError, match="no log at"):
        update(served, tmp_path / "none.csv")
    with pytest.raises(ValueError, match="update has no 'marign'; did you mean 'margin'"):
        update(served, logs / "next.csv", marign=0.1)
    with pytest.raises(ValueError, match="update.margin must be"):
        update(served, logs / "next.csv", margin=2)
    (tmp_path / "short.csv").write_text("user_id,item_id,timestamp\nu1,i1,5\n")
    with pytest.raises(ValueError, match="same time"):
        update(served, tmp_path / "short.csv")


REPLICAS = """
import sys
from pathlib import Path
import numpy as np, tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tf_recall.config import Config
from tf_recall.export.load import restore
from tf_recall.updates.update import update

folder, day, users = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
found = {"one": [], "two": []}
two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for name, strategy in {"one": tf.distribute.get_strategy(), "two": two}.items():
    Config.make_strategy = lambda self, strategy=strategy: strategy
    for log, incremental in ((day, False), (users, True)):
        answer = update(folder / name, log, incremental, margin=0.9, coverage=0.0)
        assert answer["published"], answer
        model, _ = restore(answer["model"])
        found[name] += [each.numpy() for each in model.variables]
assert len(found["one"]) == len(found["two"])
for one, other in zip(found["one"], found["two"]):
    np.testing.assert_allclose(one, other, atol=1e-5)
"""


@pytest.mark.slow
def test_two_devices_learn_what_one_does(trained, logs, tmp_path):
    for name in ("one", "two"):
        shutil.copytree(trained, tmp_path / name)
    frame = pd.read_csv(logs / "next.csv")
    frame.iloc[:-200].to_csv(tmp_path / "day.csv", index=False)
    frame.iloc[-200:].to_csv(tmp_path / "users.csv", index=False)
    files = [str(tmp_path / name) for name in ("", "day.csv", "users.csv")]
    command = [sys.executable, "-c", textwrap.dedent(REPLICAS), *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]


def test_where_an_update_trains(served):
    config = Config.load(served / "1" / "config.yaml")
    train = {**config.to_dict()["train"], "strategy": "multi_worker"}
    with pytest.raises(ValueError, match="one process, on one_device, mirrored or tpu"):
        updating._strategy(Config.from_dict({**config.to_dict(), "train": train}))
    assert updating._strategy(config).num_replicas_in_sync == 1
