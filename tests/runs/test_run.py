"""A run from a config to an export: interrupted, corrected, resumed, and not trained twice."""

import subprocess
import sys

import numpy as np
import pytest

from tf_recall.config import Config
from tf_recall.data.interactions import Interactions
from tf_recall.export.items import read_items
from tf_recall.export.load import restore
from tf_recall.export.write import save
from tf_recall.index import Exact
from tf_recall.recommend.service import Service
from tf_recall.retrievers.base import Retriever
from tf_recall.runs import run
from tf_recall.runs.callbacks import Checkpoint
from tf_recall.runs.claim import claimed
from tf_recall.runs.run import diagnose, evaluate, load, reindex, train

TOWER = {"features": [{"name": "id", "dim": 4}]}
MODEL = {"name": "two_tower", "query_tower": TOWER, "item_tower": TOWER}
VALUES = {
    "data": {"name": "synthetic", "num_users": 60, "num_items": 50, "num_interactions": 900},
    "split": {"name": "by_time", "test": 0.1},
    "model": MODEL,
    "train": {"epochs": 2, "batch_size": 64},
    "evaluate": {"ks": [5, 100]},
}
BY_ROW = {"ks": [3], "cases": "by_row", "exclude_seen": False}
CHANNELS = {"items": "item_cf", "towers": {"name": "trained", "model": MODEL}}


def config(**sections):
    return Config.from_dict({**VALUES, **sections})


@pytest.fixture
def epochs(monkeypatch):
    """The epochs that are trained, one after the other."""
    seen, train = [], Retriever.train

    def recorded(self, interactions, catalog, settings, callbacks=(), initial_epoch=0):
        history = train(self, interactions, catalog, settings, callbacks, initial_epoch)
        seen.extend(history.epoch)
        return history

    monkeypatch.setattr(Retriever, "train", recorded)
    return seen


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that has come to its end."""
    return train(config(), tmp_path_factory.mktemp("finished"))


def test_a_list_length_beyond_the_catalog_keeps_its_name(finished):
    assert set(finished.report.metrics) == set(finished.report.baseline)
    for figures in (finished.report.metrics, finished.report.slices["head_items"]["metrics"]):
        assert {"recall@5", "recall@100", "ndcg@100"} <= set(figures)
    again = evaluate(config(evaluate={"ks": [5, 100, 300]}), finished.path)
    assert again.metrics["recall@100"] == again.metrics["recall@300"] > 0.7  # all items are listed
    assert again.metrics["recall@5"] == finished.report.metrics["recall@5"]


@pytest.mark.parametrize("sections", [{}, {"model": None, "channels": CHANNELS}])
def test_a_failed_export_does_not_cost_the_training(
    tmp_path, finished, epochs, monkeypatch, sections
):
    settings = config(**sections)
    with monkeypatch.context() as patch:
        patch.setattr(Exact, "_store", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(settings, tmp_path)
    trained_epochs = list(epochs)
    assert trained_epochs and (tmp_path / "model" / "checkpoints").is_dir()
    corrected = config(**sections, k_max=40, evaluate={"ks": [3], "exclude_seen": False})
    again = train(corrected, tmp_path, resume=True)
    assert epochs == trained_epochs and set(again.report.to_dict()["metrics"]) >= {"recall@3"}
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["1"]
    whole = (train(settings, tmp_path / "whole") if sections else finished).service
    answers = again.service.recommend(["u1"], 9), whole.recommend(["u1"], 9)
    for one, other in zip(*answers, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_finished_run_is_not_trained_anew_by_resuming(tmp_path, epochs, caplog):
    first = train(config(), tmp_path)
    with pytest.raises(ValueError, match="nothing to resume: model is finished, its export is .*1"):
        train(config(), tmp_path, resume=True)
    assert epochs == [0, 1]
    assert train(config(), tmp_path).path.name == "2" and first.path.name == "1"
    assert "training begins anew" not in caplog.text
    train(config(name="other"), tmp_path, resume=True)
    assert f"nothing to resume in {tmp_path / 'other'}: training begins anew" in caplog.text
    assert epochs == [0, 1] * 3


def test_a_folder_without_a_checkpoint_is_nothing_to_resume(tmp_path, epochs, caplog):
    checkpoints = tmp_path / "model" / "checkpoints"
    with pytest.raises(KeyboardInterrupt), claimed(checkpoints):
        (checkpoints / f".0.{'0123abcd' * 4}.part").mkdir()  # killed in the first epoch
        raise KeyboardInterrupt
    train(config(train={"epochs": 1, "batch_size": 64}), tmp_path, resume=True)
    assert epochs == [0] and "nothing to resume" in caplog.text


def stopped_after(epoch, error=KeyboardInterrupt):
    """`Checkpoint.on_epoch_begin` of a run that stops after so many epochs."""

    def on_epoch_begin(self, at, logs=None):
        if at == epoch:
            raise error

    return on_epoch_begin


@pytest.mark.parametrize(
    ("change", "more"),
    [
        (
            {"evaluate": BY_ROW, "train": {"epochs": 4, "batch_size": 64}},
            [1, 2, 3],
        ),
        pytest.param(
            {"index": {"name": "ivf"}, "k_max": 20, "evaluate": {"ks": [5]}},
            [1],
            marks=pytest.mark.slow,
        ),
        ({"train": {"epochs": 1, "batch_size": 64}}, []),  # it is trained for that long already
    ],
)
def test_what_changes_no_weight_may_change(tmp_path, epochs, monkeypatch, change, more):
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "on_epoch_begin", stopped_after(1))
        with pytest.raises(KeyboardInterrupt):
            train(config(), tmp_path)
    resumed = train(config(**change), tmp_path, resume=True)
    assert epochs == more
    whole = train(config(**change), tmp_path / "whole")
    assert resumed.report.to_dict() == whole.report.to_dict()


def test_an_interruption_says_how_to_go_on(tmp_path, monkeypatch):
    for epoch, message in [(0, "interrupted: no epoch was finished"), (1, "go on with --resume")]:
        monkeypatch.setattr(Checkpoint, "on_epoch_begin", stopped_after(epoch))
        with pytest.raises(KeyboardInterrupt, match=message):
            train(config(), tmp_path)


def test_what_a_killed_export_left_is_cleared_before_training(tmp_path, monkeypatch):
    left = tmp_path / "model" / f".export.{'a' * 32}.part"
    left.mkdir(parents=True)
    monkeypatch.setattr(Checkpoint, "on_epoch_begin", stopped_after(0))
    with pytest.raises(KeyboardInterrupt):
        train(config(), tmp_path)
    assert not left.exists()


@pytest.mark.slow
def test_another_process_keeps_its_checkpoints(tmp_path, epochs):
    checkpoints = tmp_path / "model" / "checkpoints"
    code = f"""
import time
from tf_recall.runs.claim import claimed
with claimed({str(checkpoints)!r}) as folder:
    (folder / "7").mkdir()
    print("held", flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        for resume in (False, True):
            with pytest.raises(ValueError, match=f"in use by another run, process {process.pid}"):
                train(config(), tmp_path, resume)
        assert not epochs and (checkpoints / "7").is_dir()
        train(config(name="other"), tmp_path)
    finally:
        process.kill()
        process.wait()
    train(config(), tmp_path, resume=True)  # a killed process holds nothing
    assert not checkpoints.exists()


@pytest.mark.slow
def test_an_export_gets_another_index(tmp_path, monkeypatch):
    first = train(config(k_max=20, evaluate={"ks": [5]}), tmp_path)
    path = reindex(first.path, {"name": "ivf", "num_lists": 2, "num_probes": 2}, tmp_path)
    assert path == tmp_path / "model_ivf" / "1" and load(path).k_max == 20
    one, other = load(first.path).recommend(["u1"], 9)[0], load(path).recommend(["u1"], 9)[0]
    np.testing.assert_array_equal(one, other)
    assert read_items(path).equals(read_items(first.path))  # titles go along
    monkeypatch.setattr(run, "restore", lambda path: pytest.fail("the model was loaded"))
    with pytest.raises(ValueError, match="takes no 'lists'"):
        reindex(first.path, {"name": "ivf", "lists": 2}, tmp_path)


def test_the_doctor_looks_at_data_features_and_answers(finished, monkeypatch):
    assert all(finding.severity != "error" for finding in diagnose(config()))
    names = [finding.name for finding in diagnose(config(), finished.path)]
    assert "identical_lists" not in names
    rows = np.tile(np.arange(1, 21), (60, 1))
    same = SameForAll(rows, finished.service.catalog)
    monkeypatch.setattr(run, "load", lambda path: same)
    assert "identical_lists" in [finding.name for finding in diagnose(config(), finished.path)]


@pytest.fixture(scope="module")
def exported(finished, tmp_path_factory):
    """The exports of a model, and of several channels."""
    folder = tmp_path_factory.mktemp("exports")
    counted = {"items": "item_cf", "popular": "popularity"}
    return finished.path, train(config(model=None, channels=counted, name="several"), folder).path


def test_evaluation_of_data_that_an_export_does_not_know(exported, monkeypatch, caplog):
    for path in exported:
        for ids in [
            {"user_id": np.arange(9), "item_id": np.arange(9)},  # numbers, where text is known
            {"user_id": ["a"] * 9, "item_id": [f"b{n}" for n in range(9)]},
        ]:
            log = Interactions.from_columns(**ids, timestamp=np.arange(9))
            with monkeypatch.context() as patch:
                patch.setattr(Config, "make_data", lambda self, log=log: log)
                for command in (evaluate, diagnose):
                    with pytest.raises(ValueError, match="on other data than the config's: ") as no:
                        command(config(model=MODEL), path)
                    assert str(path) in str(no.value) and "\n" not in str(no.value)
        assert evaluate(config(evaluate={"ks": [5]}), path)
        assert "on other data" not in caplog.text
        evaluate(config(split={"name": "by_time", "test": 0.2}), path)
        assert f"{path} was trained on other data than the train part" in caplog.text
        caplog.clear()


def test_wrong_paths_are_refused_before_the_data_are_read(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(Config, "make_data", lambda self: pytest.fail("the data were read"))
    bare = save(load_service(exported[0]), tmp_path / "bare")  # without its model
    (tmp_path / "file").write_text("")
    for command in (evaluate, diagnose):
        for path in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
            with pytest.raises(FileNotFoundError, match=f"no export at {path}"):
                command(config(), path)
        with pytest.raises(FileNotFoundError, match="without its model, and so without a catalog"):
            command(config(), bare)
    with pytest.raises(ValueError, match="was exported without its config"):
        reindex(bare, {"name": "ivf"}, tmp_path)
    with pytest.raises(FileNotFoundError, match="holds several channels, no model"):
        reindex(exported[1], {"name": "ivf"}, tmp_path)
    with pytest.raises(FileNotFoundError, match="no export at"):
        reindex(tmp_path / "nowhere", {"name": "ivf"}, tmp_path)


def load_service(path):
    """A service like the exported one."""
    return Service.build(*restore(path))


def test_the_index_of_a_new_export_is_checked_first(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "restore", lambda path: pytest.fail("the model was loaded"))
    for index in ({"name": "a/b"}, {"name": "ivff"}):
        with pytest.raises(ValueError, match=f"index '{index['name']}' is unknown"):
            reindex(exported[0], index, tmp_path)
    (tmp_path / "models.config").write_text("{{")
    with pytest.raises(ValueError, match="models.config"):
        reindex(exported[0], {"name": "ivf"}, tmp_path)
    with pytest.raises(OSError, match="cannot be written to"):
        reindex(exported[0], {"name": "ivf"}, tmp_path / "models.config")


def test_the_doctor_looks_at_the_answers_of_channels(exported):
    findings = diagnose(config(), exported[1])
    assert not {finding.name for finding in findings} & {"identical_lists"}


class SameForAll:
    """Recommends the same items to everyone."""

    k_max = 20

    def __init__(self, rows, catalog):
        self.rows, self.catalog = rows, catalog

    def recommend_rows(self, user_id, k):
        return self.rows[: len(user_id), :k], None
