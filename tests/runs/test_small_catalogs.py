"""Catalogs of one, two, three items through a whole run, and lists that are longer than them."""

import numpy as np
import pandas as pd
import pytest

from tf_recall.config import Config
from tf_recall.export.load import load
from tf_recall.runs.run import diagnose, evaluate, reindex, train

TOWER = {"features": [{"name": "id", "dim": 4}]}
MODEL = {"name": "two_tower", "query_tower": TOWER, "item_tower": TOWER}


@pytest.fixture
def config(tmp_path):
    """`config(num_items, **sections)`: a run over so many items, from a file."""

    def make(num_items, **sections):
        rng = np.random.default_rng(0)
        pairs = [(f"u{u}", f"i{i}") for u in range(20) for i in rng.permutation(num_items)[:3]]
        log = pd.DataFrame(pairs, columns=["user_id", "item_id"])
        log.to_csv(tmp_path / "log.csv", index=False)
        values = {
            "data": {"name": "files", "interactions": str(tmp_path / "log.csv")},
            "split": {"name": "random", "test": 0.3, "validation": 0.2},
            "train": {"epochs": 1, "batch_size": 8, "monitor": "recall@20"},
            "model": MODEL,
            "name": "small",
        }
        return Config.from_dict({**values, **sections})

    return make


def test_one_item_is_nothing_to_choose_from(config, tmp_path):
    with pytest.raises(ValueError, match="nothing to learn: the catalog holds one item"):
        train(config(1), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("num_items", "index"),
    [(2, None), pytest.param(3, {"name": "ivf"}, marks=pytest.mark.slow)],
)
def test_two_or_three_items(config, tmp_path, num_items, index):
    settings = config(num_items, index=index)
    trained = train(settings, tmp_path / "out")
    metrics, baseline = trained.report.metrics, trained.report.baseline
    assert {"recall@10", "recall@20", "recall@100"} <= set(metrics) == set(baseline)
    assert metrics["recall@100"] == 1 == baseline["recall@10"]  # every item is listed
    assert evaluate(settings, trained.path).metrics == pytest.approx(metrics)
    names = {finding.name for finding in diagnose(settings, trained.path)}
    assert not names & {"identical_lists", "similar_lists"}  # of so few items they are no news
    other = load(reindex(trained.path, {"name": "ivf", "num_lists": 9}, tmp_path / "out"))
    items, score = other.recommend(["u1", "a stranger"], k=num_items)
    assert all(set(row) == {f"i{n}" for n in range(num_items)} for row in items)
    assert np.isfinite(score).all()


@pytest.mark.parametrize("num_items", [1, 3])
def test_counted_channels(config, tmp_path, num_items):
    counted = ["popularity", "item_cf", "swing", "user_cf"]
    settings = config(
        num_items,
        model=None,
        channels={name: name for name in counted},
        merge="marginal_rank",
        evaluate={"exclude_seen": False},
    )
    trained = train(settings, tmp_path / "out")
    assert trained.report.merged.metrics["recall@100"] == 1
    assert trained.report.channels.k == 100 and "recall@100" in str(trained.report)
    assert trained.report.channels.lines["popularity"]["coverage"] == 1
    loaded = load(trained.path)
    items, _ = loaded.recommend(["a stranger"], k=num_items)
    assert set(items[0]) == {f"i{n}" for n in range(num_items)}
    assert loaded.explain("a stranger", items[0, 0])[0]["channel"] == "popularity"
    again = evaluate(settings, trained.path)
    assert again.merged.metrics == trained.report.merged.metrics
