"""A run on a log on disk is the run on the same log in memory, to the last bit."""

import numpy as np
import pandas as pd
import pytest

from tf_recall.config import Config, Evaluate
from tf_recall.data import columns, histories, stored
from tf_recall.data.catalog import Catalog
from tf_recall.data.sources.parquet import parquet
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.evaluation import Cases, RankMetrics
from tf_recall.recommend.rankings import Popularity
from tf_recall.runs.callbacks import CatalogRecall
from tf_recall.runs.measure import asked, measure
from tf_recall.runs.model import fit, serve
from tf_recall.runs.prepared import Prepared


@pytest.fixture
def folder(tmp_path):
    world = synthetic(80, 50, 1500, seed=1).interactions
    frame = world.frame.assign(weight=np.arange(1500) % 3 + 0.5, device=world.frame["user_id"])
    (tmp_path / "log").mkdir()
    frame.head(700).to_parquet(tmp_path / "log" / "1.parquet")
    frame.tail(800).to_parquet(tmp_path / "log" / "2.parquet")
    world.items.to_parquet(tmp_path / "items.parquet")
    return tmp_path


@pytest.mark.slow
def test_weights_and_figures_are_those_of_a_log_in_memory(folder, monkeypatch):
    context = {"name": "categorical", "column": "device", "dim": 4}
    data = {
        "files": {"interactions": str(folder / "log")},
        "parquet": {"path": str(folder / "log"), "context": ["device"]},
    }
    found = {}
    for name, values in data.items():
        config = Config.from_dict(
            {
                "data": {"name": name, "items": str(folder / "items.parquet"), **values},
                "split": {"name": "by_time", "test": 0.2, "validation": 0.1},
                "model": {
                    "name": "two_tower",
                    "query_tower": {"features": [{"name": "id", "dim": 8}, context], "units": [8]},
                    "item_tower": {"features": [{"name": "id", "dim": 8}]},
                },
                "train": {"epochs": 2, "batch_size": 128},
                "evaluate": {"ks": [5, 20]},
            }
        )
        prepared = Prepared.of(config)
        model = fit(prepared, folder / f"{name}.checkpoints")
        split = prepared.split
        service = serve(prepared, model)
        report = measure(service, config.evaluate, split.test, split.validation)
        found[name] = report.to_dict(), [variable.numpy() for variable in model.variables]
        # of the log on disk so small blocks that there are several of everything
        monkeypatch.setattr(columns, "BLOCK_ROWS", 111)
        monkeypatch.setattr(stored, "BLOCK", 200)
        monkeypatch.setattr(histories, "EVENTS", 300)
    assert found["files"][0] == found["parquet"][0]
    for mine, theirs in zip(found["files"][1], found["parquet"][1], strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_the_users_who_are_asked_are_few_and_the_same(folder, monkeypatch):
    log = parquet(folder / "log")
    settings = Evaluate(users=20)
    some = asked(settings, log)
    assert some.frame["user_id"].nunique() == 20
    every = log.frame["user_id"].isin(some.frame["user_id"].unique())
    assert len(some) == every.sum()  # all events of those
    # others that come along change nothing of who is asked but by their own hashes
    half = log.select(np.arange(len(log)) % 2 == 0)
    again = set(asked(settings, half).frame["user_id"])
    assert len(again & set(some.frame["user_id"])) > 15
    assert asked(Evaluate(), log) is not None and len(asked(Evaluate(), log)) == len(log)
    monkeypatch.setattr("tf_recall.runs.measure.USERS", 7)
    assert asked(Evaluate(), log).frame["user_id"].nunique() == 7
    assert asked(Evaluate(users="all"), log) is log


def test_figures_of_blocks_of_users_are_those_of_all_at_once(folder, monkeypatch):
    known = pd.read_parquet(folder / "log" / "1.parquet").head(1)
    ends = [known.assign(user_id="x", timestamp=time) for time in (0, 2_000_000_000)]
    pd.concat(ends).to_parquet(folder / "log" / "3.parquet")  # x has nothing left to find
    config = Config.from_dict(
        {
            "data": {"name": "parquet", "path": str(folder / "log"), "time_unit": "s"},
            "split": {"name": "by_time", "test": 0.3, "validation": 0.1},
            "model": "two_tower",
            "evaluate": {"users": "all", "ks": [5, 20]},
        }
    )
    split = config.make_split()
    channel = Popularity().fit(split.train, Catalog.fit(split.train))
    catalog = channel.catalog

    def after_an_epoch(blocked):
        cases = CatalogRecall(split.validation, catalog).cases
        assert isinstance(cases, Cases) != blocked
        ranking = RankMetrics(channel, cases, catalog, [5, 20])
        assert ranking.metrics() == ranking.metrics()
        return ranking.metrics()

    whole = measure(channel, config.evaluate, split.test, split.validation).to_dict()
    whole["epoch"] = after_an_epoch(blocked=False)
    monkeypatch.setattr("tf_recall.runs.measure.USERS", 1)
    blocks = measure(channel, config.evaluate, split.test, split.validation).to_dict()
    blocks["epoch"] = after_an_epoch(blocked=True)
    assert whole["counts"] == blocks["counts"] and whole["counts"]["seen_cases"] > 0
    for of_whole, of_blocks in zip(figures(whole), figures(blocks), strict=True):
        assert of_whole == pytest.approx(of_blocks, rel=1e-12)


def test_blocks_that_leave_nothing_to_find_are_refused(folder, monkeypatch):
    log = parquet(folder / "log")
    catalog = Catalog.fit(log)
    monkeypatch.setattr("tf_recall.runs.measure.USERS", 30)
    with pytest.raises(ValueError, match="every held-out item is in its user's training part"):
        CatalogRecall(log, catalog)
    assert len([*CatalogRecall(log, catalog, exclude_seen=False).cases]) == 3


def figures(report):
    """All numbers of a report, in order."""
    if isinstance(report, dict):
        for key in sorted(report):
            yield from figures(report[key])
    elif report is not None:
        yield report


def test_held_out_files_are_refused_beside_a_log_on_disk(folder):
    config = Config.from_dict(
        {
            "data": {"name": "parquet", "path": str(folder / "log")},
            "split": {"name": "files", "test": str(folder / "log" / "2.parquet")},
            "model": "two_tower",
        }
    )
    with pytest.raises(ValueError, match=r"data: parquet.*hold out with `split: by_time`"):
        config.make_split()
