"""Several channels from a config to an export and back: the same answers and reasons, and nothing
half-written.
"""

import json

import numpy as np
import pandas as pd
import pytest

import tf_recall as tr
from tf_recall.channels.item_cf import ItemCF
from tf_recall.channels.merge import Quotas
from tf_recall.channels.multi import MultiChannel
from tf_recall.channels.rank_fusion import ReciprocalRank
from tf_recall.channels.similarity import Pearson
from tf_recall.config import Config
from tf_recall.export.channels import read_channels, write_channels
from tf_recall.export.describe import described
from tf_recall.export.load import load
from tf_recall.export.write import save
from tf_recall.registry import REGISTRY
from tf_recall.runs.prepared import TrainedChannel

TOWER = {"features": [{"name": "id", "dim": 8}]}
VALUES = {
    "data": {"name": "synthetic", "num_users": 150, "num_items": 120, "num_interactions": 3000},
    "split": {"name": "leave_last_out", "validation": True},
    "channels": {
        "popular": "popularity",
        "hot": {"name": "trending", "half_life": 30},
        "tags": {"name": "inverted_index", "attributes": [{"column": "genres", "separator": "|"}]},
        "items": {
            "name": "item_cf",
            "similarity": {"name": "pearson", "shrinkage": 2.0},
            "top": 20,
        },
        "filter": {"name": "graph_filter", "dim": 16, "alpha": 0.5},
        "linear": "ease",
        "circles": {"name": "swing", "alpha": 2.0},
        "users": {"name": "user_cf", "top": 20},
        "towers": {
            "name": "trained",
            "model": {"name": "two_tower", "query_tower": TOWER, "item_tower": TOWER},
            "train": {"epochs": 1, "batch_size": 256},
        },
    },
    "merge": {"name": "quotas", "quotas": {"items": 3, "towers": 2}},
    "train": {"refit": False},
    "evaluate": {"ks": [5, 20]},
    "name": "many",
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return tr.train(Config.from_dict(VALUES), tmp_path_factory.mktemp("models"))


def test_the_report_is_of_the_merge_and_of_each_channel(trained):
    values = json.loads(json.dumps(trained.summary()))
    assert values["metrics"]["recall@20"] > 0 and set(VALUES["channels"]) <= set(
        json.dumps(values["channels"]).split('"')
    )
    for name in VALUES["channels"]:
        assert name in str(trained.report)
    assert values["model"] == str(trained.path) and json.loads(
        (trained.path / "metrics.json").read_text()
    )
    assert (trained.path / "channels.png").stat().st_size > 1000
    assert not (trained.path.parent / "checkpoints").exists()


def test_the_same_answers_and_reasons_after_a_reload(trained):
    again, users = tr.load(trained.path.parent), trained.service.catalog.users.ids[:20]
    assert isinstance(again, MultiChannel) and isinstance(again.merge, Quotas)
    request = {
        "k": 15,
        "exclude_seen": True,
        "history": [*[[]] * 19, trained.service.catalog.items.ids[:3]],
    }
    for one, other in zip(
        trained.service.recommend(users, **request), again.recommend(users, **request), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    item_id = trained.service.recommend(users, k=3)[0]
    for user, items in zip(users[:3], item_id, strict=False):
        for item in items:
            ours, theirs = (each.explain(user, item) for each in (trained.service, again))
            assert [(e["channel"], e["rank"]) for e in ours] == [
                (e["channel"], e["rank"]) for e in theirs
            ]
            reasons = [
                [(r["kind"], r["id"]) for e in each for r in e["reasons"]]
                for each in (ours, theirs)
            ]
            assert reasons[0] == reasons[1] and reasons[0]


def test_what_the_settings_were_is_in_the_folder(trained):
    settings = json.loads((trained.path / "channels.json").read_text())
    assert settings["channels"]["items"]["similarity"] == {"name": "pearson", "shrinkage": 2.0}
    assert settings["channels"]["towers"] == {"name": "trained"}
    again = Config.load(trained.path / "config.yaml")
    assert again.to_dict() == Config.from_dict(VALUES).to_dict()


def test_a_merge_learns_on_the_validation_part(tmp_path):
    values = {
        **VALUES,
        "channels": {name: VALUES["channels"][name] for name in ("popular", "items", "users")},
    }
    trained = tr.train(
        Config.from_dict({**values, "merge": "marginal_rank", "depth": 50}), tmp_path
    )
    merge = trained.service.merge
    weights = merge.weights
    assert set(weights) == {"popular", "items", "users"} and max(weights.values()) == 1
    again = tr.load(trained.path)
    assert again.merge.weights == weights and again.merge.by == merge.by and again.depth == 50
    for by in ("ranks", "scores"):
        merge.by = by
        multi = tr.load(tr.save(trained.service, tmp_path / by))
        assert multi.merge.by == by and multi.merge.weights == weights
        users = trained.service.catalog.users.ids[:5]
        for one, other in zip(
            multi.recommend_sources(users, 9),
            trained.service.recommend_sources(users, 9),
            strict=True,
        ):
            np.testing.assert_array_equal(one, other)
    with pytest.raises(
        ValueError, match="marginal_rank learns on a validation part: give the split one"
    ):
        tr.train(
            Config.from_dict(
                {**values, "merge": "marginal_rank", "split": {"name": "leave_last_out"}}
            ),
            tmp_path,
        )


def test_what_is_missing_or_truncated_is_named(trained, tmp_path):
    def saved():
        return save(trained.service, tmp_path / "copy")

    path = saved()
    (path / "channels" / "items" / "right.npz").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"lacks channels/items/right.npz: copy the whole folder"
    ):
        load(path)
    path = saved()
    assert path.name == "2"
    file = path / "channels" / "users" / "likes.npz"
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(ValueError, match="likes.npz is damaged: it has .* bytes and should have"):
        tr.load(path)


def test_a_channel_alone_is_not_saved(trained, tmp_path):
    channel = trained.service.channels["items"]
    with pytest.raises(TypeError, match=r"ItemCF is neither; .* MultiChannel\(\{name: channel\}"):
        save(channel, tmp_path / "alone")
    assert not list((tmp_path / "alone").iterdir())


def test_nothing_half_written_is_left(trained, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr(ItemCF, "save", full)
    with pytest.raises(OSError, match="No space left"):
        save(trained.service, tmp_path / "model")
    assert list((tmp_path / "model").iterdir()) == []


def test_parts_tell_how_they_were_made():
    assert described("merge", ReciprocalRank(10, {"a": 2})) == {
        "name": "reciprocal_rank",
        "constant": 10,
        "weights": {"a": 2},
    }
    channel = ItemCF(Pearson(4.0), last=7)
    assert described("channel", channel)["similarity"] == {"name": "pearson", "shrinkage": 4.0}
    with pytest.raises(
        ValueError, match="dict is no registered merge; there are: " + ", ".join(REGISTRY["merge"])
    ):
        described("merge", {})


def test_a_trained_channel_goes_by_another_config():
    whole = Config.from_dict({**VALUES, "k_max": 50})
    part = TrainedChannel("two_tower_quickstart", train={"epochs": 3}).settings(whole, "towers")
    base = Config.load("two_tower_quickstart")
    assert part.model == base.model and part.train.batch_size == base.train.batch_size
    assert (part.train.epochs, part.data, part.split, part.k_max) == (
        3,
        whole.data,
        whole.split,
        50,
    )
    changed = TrainedChannel("two_tower_quickstart", model={"loss": "bpr"}).settings(
        whole, "towers"
    )
    assert changed.model == {**base.model, "loss": "bpr"}
    other = TrainedChannel("two_tower_quickstart", model={"name": "item2vec"}).settings(
        whole, "towers"
    )
    assert other.model == {"name": "item2vec"}
    with pytest.raises(
        ValueError, match="a trained channel needs a config to start from, or a model"
    ):
        TrainedChannel()


@pytest.mark.parametrize("name", ["../evil", "/evil", "..", "", "a/b", "a\nb"])
def test_a_channel_is_named_as_one_folder(name, tmp_path):
    folder = tmp_path / "in" / "1"
    folder.mkdir(parents=True)
    channels = {name: {"name": "trained"}}
    settings = {"channels": channels, "merge": {"name": "round_robin"}, "depth": None}
    (folder / "channels.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match="channels.json: a name must be valid for a folder"):
        read_channels(folder, lambda home: pytest.fail(f"{home} was read"))
    frame = pd.DataFrame({"user_id": ["a", "b"], "item_id": ["x", "y"]})
    log = tr.Interactions.from_frame(frame)
    catalog = tr.Catalog.fit(log)
    multi = MultiChannel({name: ItemCF().fit(log, catalog)}, catalog)
    with pytest.raises(ValueError, match="^channels: a name must be valid for a folder"):
        write_channels(multi, tmp_path / "out", lambda *each: pytest.fail("written"))
    assert [path.name for path in tmp_path.rglob("*")] == ["in", "1", "channels.json"]
