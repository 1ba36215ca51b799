"""Searches of counted channels, which take moments; and one of a model."""

import json
import os

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import tf_recall as tr
from tf_recall.cli import main
from tf_recall.config import Config
from tf_recall.data import splits
from tf_recall.runs.claim import claimed
from tf_recall.runs.measure import measure
from tf_recall.runs.model import fit, serve
from tf_recall.runs.prepared import Prepared
from tf_recall.tuning import worker
from tf_recall.tuning.study import opened
from tf_recall.tuning.trial import measured
from tf_recall.tuning.tune import tune

SPLIT = {"name": "leave_last_out", "validation": True}
DATA = {"name": "synthetic", "num_users": 120, "num_items": 60, "num_interactions": 1500}
CHANNEL = {"name": "ease", "l2": 5000.0}


def config_of(**values):
    base = {"data": DATA, "split": SPLIT, "channels": {"only": CHANNEL}, "name": "search"}
    return Config.from_dict({**base, **values})


def of_model(**train):
    """A two-tower model at a temperature that is of no use, on a world of clear tastes."""
    tower = {"features": [{"name": "id", "dim": 16}]}
    model = {"name": "two_tower", "query_tower": tower, "item_tower": tower}
    model["loss"] = {"name": "sampled_softmax", "temperature": 0.003}
    return config_of(
        data={**DATA, "num_users": 300, "num_items": 200, "num_interactions": 6000},
        channels=None,
        model=model,
        train={"epochs": 4, "batch_size": 256, **train},
        tune={
            "model.loss.temperature": [0.1, 0.4],
            "model.dim": 16,
            "model.negatives": "in_batch",
            "model.query_tower.features[0].unknown_rate": 0.01,
            "model.item_tower.features[0].unknown_rate": 0.01,
            "train.batch_size": 256,
            "train.optimizer.learning_rate": 0.1,
        },
    )


@pytest.fixture
def no_plots(monkeypatch):
    """Plots take seconds, and one test looks at them."""
    monkeypatch.setattr("tf_recall.tuning.tune.plot", lambda *_: None)


def study_of(folder):
    return opened(folder / "search", 0)


def killed(folder, running=1):
    """Leaves trials in a study as a killed process does."""
    study = study_of(folder)
    for _ in range(running):
        trial = study.ask()
        trial.suggest_float("channels.only.l2", 10.0, 5000.0, log=True)
    return study


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A search of channels, and its folder."""
    out = tmp_path_factory.mktemp("tuned")
    return tune(config_of(), trials=5, out=out), out / "search"


@pytest.fixture(scope="module")
def of_tower(tmp_path_factory):
    """A search of a model, and its folder."""
    out = tmp_path_factory.mktemp("model")
    return tune(of_model(), trials=3, out=out), out / "search"


def test_the_first_trial_is_the_config_as_it_stands(found):
    tuned, _ = found
    first = tuned.trials.iloc[0]
    assert first["channels.only.l2"] == 5000.0 and first["channels.only.last"] == "null"
    assert first["value"] == tuned.start <= tuned.value == tuned.trials["value"].max()
    assert len(tuned.trials) == 5 and set(tuned.trials["state"]) == {"complete"}


def test_the_best_config_gives_the_same_figure_again(found):
    tuned, folder = found
    config = Config.load(folder / "best.yaml")
    assert (
        config == tuned.config and config.channels["only"]["l2"] == tuned.best["channels.only.l2"]
    )
    split = config.make_split()
    prepared = Prepared.of(config)
    channel = prepared.channels["only"].fit(split.train, prepared.catalog)
    report = measure(channel, config.evaluate, split.validation)
    assert report.metrics["recall@20"] == tuned.value


def test_what_a_search_leaves(found):
    tuned, folder = found
    left = {"study.db", "best.yaml", "trials.csv", "trials.parquet", "config.yaml"}
    assert left | {"history.png", "importance.png", "slices.png"} <= set(os.listdir(folder))
    assert not [name for name in os.listdir(folder) if name.endswith(".part")]
    table = pd.read_parquet(folder / "trials.parquet")
    assert list(table.columns) == list(tuned.trials.columns)
    assert np.allclose(table["value"], pd.read_csv(folder / "trials.csv")["value"])
    assert (table["seconds"] >= 0).all()
    summary = json.loads(json.dumps(tuned.summary()))
    assert summary["trials"] == 5 and summary["pruned"] == summary["failed"] == 0
    assert summary["value"] == tuned.value and summary["start"] == tuned.start
    assert summary["config"] == str(folder / "best.yaml") and summary["metric"] == "recall@20"


@pytest.mark.slow
def test_a_model_at_a_useless_temperature_finds_a_better_one(of_tower):
    tuned, _ = of_tower
    assert tuned.value > 1.5 * tuned.start
    assert 0.1 <= tuned.best["model.loss.temperature"] <= 0.4
    # what is fixed differs nowhere from the config, and its temperature is outside of the range
    assert pd.isna(tuned.trials["model.loss.temperature"][0])
    assert tuned.trials["epochs"][0] == 4


def test_a_best_model_trains_to_the_same_figure(of_tower, tmp_path):
    tuned, folder = of_tower
    config = Config.load(folder / "best.yaml")
    prepared = Prepared.of(config)
    service = serve(prepared, fit(prepared, tmp_path / "checkpoints"))
    report = measure(service, config.evaluate, prepared.split.validation)
    assert report.metrics["recall@20"] == tuned.value


def test_the_test_part_is_not_looked_at(tmp_path, found, monkeypatch, no_plots):
    tuned, _ = found
    make_split = Config.make_split

    def with_another_test(config):
        split = make_split(config)
        frame = split.test.frame.assign(item_id=split.test.frame["item_id"].iloc[0])
        return splits.Split(split.train, type(split.test)(frame), split.validation)

    monkeypatch.setattr(Config, "make_split", with_another_test)
    again = tune(config_of(), trials=5, out=tmp_path)
    columns = [name for name in tuned.trials if name != "seconds"]
    pd.testing.assert_frame_equal(again.trials[columns], tuned.trials[columns])


def test_a_poor_trial_is_pruned_by_its_epochs(monkeypatch, tmp_path, no_plots):
    def of_curve(config, material, after):
        l2 = config.channels["only"]["l2"]
        for epoch in range(5):
            after(epoch, 0.1 * epoch if l2 < 300 or l2 == 5000 else 0.0)
        return type("Figure", (), {"value": 0.4 if l2 < 300 or l2 == 5000 else 0.0, "epochs": 5})

    monkeypatch.setattr(worker, "measured", of_curve)
    tuned = tune(config_of(), trials=14, out=tmp_path)
    pruned = tuned.trials[tuned.trials["state"] == "pruned"]
    assert len(pruned) and (pruned["channels.only.l2"] >= 300).all()
    assert set(pruned["epochs"]) == {3}  # none in the first two
    assert tuned.summary()["pruned"] == len(pruned)


def test_a_trial_that_fails_has_its_reason_and_the_search_goes_on(monkeypatch, tmp_path, no_plots):
    def failing(config, material, after):
        if config.channels["only"].get("last") == 20:
            raise MemoryError("no\nmemory")
        if config.channels["only"].get("last") == 50:
            raise ValueError("the loss is no finite number")
        return measured(config, material, after)

    monkeypatch.setattr(worker, "measured", failing)
    tuned = tune(config_of(), trials=12, out=tmp_path)
    failed = tuned.trials[tuned.trials["state"] == "failed"]
    said = dict(zip(failed["channels.only.last"], failed["reason"], strict=True))
    assert said[20] == "MemoryError: no memory" and said[50] == "the loss is no finite number"
    assert tuned.summary()["failed"] == len(failed) < 12


def test_where_all_fail_the_first_reason_is_said(monkeypatch, tmp_path):
    def failing(config, material, after):
        raise ValueError(f"no l2 of {config.channels['only']['l2']}")

    monkeypatch.setattr(worker, "measured", failing)
    with pytest.raises(ValueError, match="all 3 trials failed, the first because: no l2 of 5000"):
        tune(config_of(), trials=3, out=tmp_path)


def test_a_config_that_was_tried_is_not_tried_again(monkeypatch, tmp_path, no_plots):
    tried = []

    def counted(config, material, after):
        tried.append(config.channels["only"].get("last"))
        return measured(config, material, after)

    monkeypatch.setattr(worker, "measured", counted)
    tuned = tune(config_of(tune={"channels.only.l2": 100.0}), trials=8, out=tmp_path)
    assert len(tuned.trials) == 8 and len(tried) <= 6 and len(tried) == len(set(tried[1:])) + 1
    assert tuned.trials["reason"].str.startswith("as trial ").sum() == 8 - len(tried)


def test_a_killed_search_goes_on_and_runs_the_lost_trial_again(tmp_path, no_plots):
    tune(config_of(), trials=2, out=tmp_path)
    lost = killed(tmp_path).trials[-1].params["channels.only.l2"]
    tuned = tune(config_of(), trials=4, out=tmp_path, resume=True)
    # two, the lost one, its repetition, and one more: a trial and its repetition are one of the 4
    assert list(tuned.trials["state"]) == ["complete"] * 2 + ["failed"] + ["complete"] * 2
    assert tuned.trials["reason"][2] == "its process was killed, or ran out of memory"
    assert tuned.trials["channels.only.l2"][3] == lost


def test_a_trial_that_killed_its_process_twice_is_left_alone(tmp_path):
    tune(config_of(), trials=1, out=tmp_path)
    study_of(tmp_path).enqueue_trial({"channels.only.l2": 77.0}, {"again": 0})
    assert killed(tmp_path).trials[-1].params["channels.only.l2"] == 77.0
    tuned = tune(config_of(), trials=3, out=tmp_path, resume=True)
    assert 77.0 not in list(tuned.trials["channels.only.l2"][2:])


def test_a_search_that_has_its_trials_is_finished(tmp_path):
    tune(config_of(), trials=3, out=tmp_path)
    assert len(tune(config_of(), trials=3, out=tmp_path, resume=True).trials) == 3


def test_a_study_of_the_name_is_refused_and_one_of_another_search_by_what_differs(tmp_path):
    tune(config_of(), trials=2, out=tmp_path)
    with pytest.raises(ValueError, match="search keeps a study of this name: go on with --resume"):
        tune(config_of(), trials=2, out=tmp_path)
    other = config_of(channels={"only": {**CHANNEL, "l2": 9.0}}, data={**DATA, "seed": 1})
    with pytest.raises(ValueError, match=r"another search \(data, channels, .*content differ\)"):
        tune(other, trials=3, out=tmp_path, resume=True)
    with pytest.raises(ValueError, match=r"\(tune, the parts' ranges differ\)"):
        tune(config_of(tune={"channels.only.l2": [1.0, 2.0]}), 3, out=tmp_path, resume=True)


def test_two_searches_of_one_name_are_refused(tmp_path):
    with claimed(tmp_path / "search"), pytest.raises(ValueError, match="in use by another run"):
        tune(config_of(), trials=2, out=tmp_path)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds files that no run of tf_recall wrote"):
        tune(config_of(), trials=2, out=tmp_path)
    assert os.listdir(tmp_path / "search") == ["mine.txt"]


def test_an_interrupted_search_says_how_to_go_on(monkeypatch, tmp_path):
    def interrupted(config, material, after):
        if config.channels["only"]["l2"] != 5000:
            raise KeyboardInterrupt
        return measured(config, material, after)

    monkeypatch.setattr(worker, "measured", interrupted)
    with pytest.raises(KeyboardInterrupt, match="interrupted after 1 trials: go on with --resume"):
        tune(config_of(), trials=5, out=tmp_path)
    assert (tmp_path / "search" / "best.yaml").is_file()
    monkeypatch.undo()
    assert len(tune(config_of(), trials=3, out=tmp_path, resume=True).trials) == 4


def test_trials_may_end_by_time(tmp_path):
    with pytest.raises(ValueError, match="no trial was trained to its end: give more --trials or"):
        tune(config_of(), minutes=1e-9, out=tmp_path)


@pytest.mark.parametrize(
    "values, said",
    [
        ({"split": {"name": "leave_last_out"}}, "split.validation=true"),
        ({"split": {"name": "by_time"}}, "split.validation=0.1"),
        ({"train": {"monitor": "recal@20"}}, "train.monitor is 'recal@20'; the metrics are"),
        ({"train": {"strategy": "multi_worker"}}, "multi_worker"),
        ({"channels": {"only": "popularity"}}, "nothing to search"),
        ({"tune": {"channels.only.l3": 1}}, "did you mean 'channels.only.l2'"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_the_first_trial(values, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        tune(config_of(**values), trials=2, out=tmp_path)
    assert not (tmp_path / "search" / "study.db").exists()


@pytest.mark.parametrize("wrong", [{"trials": 0}, {"minutes": -1.0}, {"jobs": 0}, {"trials": True}])
def test_limits_are_checked(wrong, tmp_path):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        tr.tune(config_of(), out=tmp_path, **wrong)


def test_the_command_line(tmp_path):
    path = tmp_path / "shop.yaml"
    config_of(name="shop").save(path)
    search = ["tune", str(path), "--out", str(tmp_path), "--set", "tune.channels.only.last=null"]
    result = CliRunner().invoke(main, [*search, "--trials", "2"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["trials"] == 2 and summary["config"] == str(tmp_path / "shop" / "best.yaml")
    assert "recall@20" in result.stderr and "tf-recall train" in result.stderr
    again = CliRunner().invoke(main, [*search, "--trials", "2"], catch_exceptions=False)
    assert again.exit_code == 1 and again.stderr.strip().count("\n") == 0
    wrong = CliRunner().invoke(main, [*search, "--set", "tune.channels.only.l3=1"])
    assert wrong.exit_code == 1 and "did you mean 'channels.only.l2'" in wrong.stderr
    assert wrong.stderr.strip().count("\n") == 0


def test_where_the_config_is_the_best_it_is_left_as_it_is(tmp_path):
    config = config_of(tune={"channels.only.l2": [4000.0, 4001.0]})
    tuned = tune(config, trials=1, out=tmp_path)
    assert tuned.config == config == Config.load(tmp_path / "search" / "best.yaml")
    assert tuned.value == tuned.start
