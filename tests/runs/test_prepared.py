"""What can be known to be wrong is refused before training."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tf_recall.channels.item_cf import ItemCF
from tf_recall.config import Config, Train
from tf_recall.data.interactions import Interactions
from tf_recall.data.split import Split
from tf_recall.data.splits import by_time
from tf_recall.retrievers.base import Retriever
from tf_recall.runs.prepared import Prepared
from tf_recall.runs.run import train

TOWER = {"features": [{"name": "id", "dim": 4}]}
MODEL = {"name": "two_tower", "query_tower": TOWER, "item_tower": TOWER}
VALUES = {
    "data": {"name": "synthetic", "num_users": 60, "num_items": 50, "num_interactions": 900},
    "split": {"name": "by_time", "test": 0.1, "validation": 0.1},
    "model": MODEL,
    "train": {"epochs": 1, "batch_size": 64},
    "evaluate": {"ks": [5]},
}
NO_VALIDATION = {"name": "by_time", "test": 0.1}
COSINE = {"name": "warm_up_cosine", "peak": 0.1}


def values(**sections):
    return {**VALUES, **sections}


def channels(**sections):
    """A config of several channels, one of them trained."""
    trained = {"name": "trained", "model": MODEL, **sections.pop("trained", {})}
    both = {"items": "item_cf", "towers": trained, **sections.pop("more", {})}
    return {**VALUES, "model": None, "channels": both, **sections}


@pytest.fixture(autouse=True)
def untrained(monkeypatch):
    """Training, and counting, fail the test."""
    for kind, method in ((Retriever, "fit"), (Retriever, "train"), (ItemCF, "fit")):
        monkeypatch.setattr(kind, method, lambda *args, **kwargs: pytest.fail("training started"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (values(index={"name": "ivff"}), "index 'ivff' is unknown; did you mean 'ivf'"),
        (values(index={"name": "ivf", "lists": 3}), "takes no 'lists'.*it takes: num_lists"),
        (
            values(index={"name": "ivf", "min_recall": 2}),
            "index.min_recall must be a number from 0 to 1",
        ),
        (values(index={"name": "ivf", "seed": -1}), "index.seed must be a whole number"),
        (values(index={"name": "ivf", "seed": 1 << 32}), "index.seed must be a whole number"),
        (values(index="ivf", train={"optimizer": {"name": "adamm"}}), "optimizer 'adamm'"),
        (values(train={"strategy": "mirrord"}), "strategy 'mirrord' is unknown"),
        (values(train={"precision": "float23"}), "float23"),
        (values(train={"monitor": "foo@20"}), "monitor is 'foo@20'; the metrics are recall"),
        (values(train={"monitor": "gini@20"}), "monitor is 'gini@20'; the metrics are"),
        (values(train={"monitor": "recall@0"}), "length of at least 1, .*not 'recall@0'"),
        (
            values(split=NO_VALIDATION, train={"patience": 2}),
            r"the split one, `split: {name: by_time, test: 0.1, validation: 0.1}` or --set "
            r"split.validation=0.1, or leave train.patience out",
        ),
        (
            values(split="leave_last_out", train={"patience": 2}),
            "`split: {name: leave_last_out, validation: true}` or --set split.validation=true",
        ),
        (values(split={"name": "by_time", "validation": True}), "validation must be a number of"),
        (values(split={"name": "leave_last_out", "validation": 1.5}), "true or false or a number"),
        (values(evaluate={"ks": [0]}), r"ks must be a list of whole numbers .* 1, not \[0\]"),
        (values(evaluate={"ks": []}), "evaluate.ks is a list of list lengths"),
        (values(k_max=0), "k_max must be a whole number of at least 1 or null, not 0"),
        (values(k_max=5), "k_max is 5, and evaluate.ks up to 5 ask for lists of 6"),
        (values(k_max=49, evaluate={"ks": [100]}), "k_max is 49, .* up to 100 .* lists of 50"),
        ({**values(k_max=20), "evaluate": {}}, "k_max is 20, and evaluate.ks up to 100 .* of 50"),
        (values(name="a/b"), "name: a name must be valid for a folder, and 'a/b' is not"),
        (values(model={**MODEL, "loss": "bprr"}), "loss 'bprr' is unknown"),
        (channels(merge="marginal_rank", split=NO_VALIDATION), "marginal_rank learns on a valid"),
        (channels(merge={"name": "quotas", "quotas": {"tow": 3}}), "names the channel 'tow'"),
        (channels(merge="quota"), "merge 'quota' is unknown"),
        (channels(depth=0), "depth must be a whole number of at least 1"),
        (channels(more={"merged": "popularity"}), "'merged' is the name of the merge"),
        (channels(more={"a/b": "popularity"}), "channels: a name must be valid for a folder"),
        (channels(trained={"index": {"name": "ivff"}}), "channels.towers: index 'ivff'"),
        (channels(trained={"train": {"epoch": 1}}), "channels.towers: train has no 'epoch'"),
        (channels(k_max=5), "channels.towers: k_max is 5, and evaluate.ks up to 5"),
        (channels(trained={"train": {"strategy": "multi_worker"}}), "one process trains"),
        (channels(trained={"train": {"refit": False}}), "refit counts for all channels"),
    ],
)
def test_a_mistake_in_the_config(given, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        train(Config.from_dict(given), tmp_path)
    assert not (tmp_path / "model" / "checkpoints").exists()


def test_a_missing_column_of_any_channel(tmp_path):
    tower = {"features": [{"name": "text", "column": "titel", "dim": 4}]}
    second = {"name": "trained", "model": {**MODEL, "item_tower": tower}}
    with pytest.raises(ValueError, match="titel"):
        train(Config.from_dict(channels(more={"second": second, "items": "popularity"})), tmp_path)


@pytest.mark.parametrize(
    ("split", "given", "most"),
    [
        (VALUES["split"], {}, 100),
        (VALUES["split"], {"patience": 2}, 100),
        (VALUES["split"], {"patience": "never"}, 30),
        (VALUES["split"], {"optimizer": {"name": "lazy_adam", "learning_rate": 0.1}}, 100),
        # else a schedule over all steps would not come to its end
        (VALUES["split"], {"optimizer": {"name": "lazy_adam", "learning_rate": COSINE}}, 30),
        (NO_VALIDATION, {}, 30),
        (VALUES["split"], {"epochs": 7}, 7),
    ],
)
def test_training_is_long_where_a_validation_part_ends_it(split, given, most):
    prepared = Prepared.of(Config.from_dict(values(split=split, train=given)))
    assert prepared.most_epochs == most
    again = prepared.on(prepared.split, prepared.catalog, 3)
    assert again.most_epochs == 3


@pytest.mark.parametrize(
    ("events", "most"),
    [(None, 30), (0, 100), (200_000, 100), (400_000, 50), (666_667, 30), (10**9, 30)],
)
def test_an_epoch_of_a_small_log_is_few_steps(events, most):
    assert Train().most_epochs(events) == most
    assert Train(epochs=7).most_epochs(events) == 7


def test_an_output_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        train(Config.from_dict(VALUES), tmp_path / "file")


@pytest.fixture(scope="module")
def split():
    return Config.from_dict(VALUES).make_split()


def test_a_test_part_that_users_have_seen_whole(split):
    for part in ("test", "validation"):
        seen = replace(split, **{part: split.train.select(np.arange(len(split.train)) < 9)})
        with pytest.raises(ValueError, match=f"filters out every pair of the {part} part"):
            Prepared.of(Config.from_dict(VALUES), seen)
        again = {"ks": [5], "exclude_seen": False}
        assert Prepared.of(Config.from_dict(values(evaluate=again)), seen)


def test_a_test_part_that_the_validation_part_holds_whole(split):
    """What was held out just before is seen too."""
    pairs = split.train.frame.iloc[::-1].drop_duplicates(["user_id", "item_id"])[:9]
    users = pairs["user_id"].to_numpy()[::-1]  # of others, so that they are new
    frame = pairs.assign(user_id=users)
    known = split.train.frame.set_index(["user_id", "item_id"]).index
    frame = frame[~frame.set_index(["user_id", "item_id"]).index.isin(known)]
    late = int(split.train.frame["timestamp"].max())
    parts = {
        name: Interactions.from_frame(frame.assign(timestamp=late + day))
        for day, name in enumerate(["validation", "test"], start=1)
    }
    repeated = replace(split, **parts)
    for cases in ("by_row", "by_user"):
        evaluate = {"ks": [5], "cases": cases}
        with pytest.raises(ValueError, match="filters out every pair of the test part"):
            Prepared.of(Config.from_dict(values(evaluate=evaluate)), repeated)
        again = {**evaluate, "exclude_seen": False}
        assert Prepared.of(Config.from_dict(values(evaluate=again)), repeated)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"weight": np.float32(0)}, "nothing to learn: the weights of all .* are 0"),
        ({"item_id": "tea"}, "nothing to learn: the catalog holds one item"),
    ],
)
def test_nothing_to_learn(split, columns, message):
    frame = split.train.frame.assign(**columns)
    nothing = replace(split, train=replace(split.train, frame=frame, items=None))
    with pytest.raises(ValueError, match=message):
        Prepared.of(Config.from_dict(values()), nothing)
    with pytest.raises(ValueError, match=f"channels.towers: there is {message}"):
        Prepared.of(Config.from_dict(channels()), nothing)
    counted = {**values(), "model": None, "channels": {"popular": "popularity"}}
    assert Prepared.of(Config.from_dict(counted), nothing)


def test_some_weights_of_0(split):
    weight = np.zeros(len(split.train), np.float32)
    weight[-1] = 1
    frame = split.train.frame.assign(weight=weight)
    some = replace(split, train=replace(split.train, frame=frame))
    assert Prepared.of(Config.from_dict(values()), some)


def test_an_empty_part(split):
    for part in ("train", "test", "validation"):
        empty = replace(split, **{part: split.test.select(np.zeros(len(split.test), bool))})
        with pytest.raises(ValueError, match=f"the {part} part is empty"):
            Prepared.of(Config.from_dict(VALUES), empty)


def test_a_batch_that_replicas_cannot_share(split):
    two = SimpleNamespace(num_replicas_in_sync=2)
    with pytest.raises(
        ValueError, match="batch_size must be a multiple of the replicas, 2, not 255"
    ):
        Prepared.of(Config.from_dict(values(train={"batch_size": 255})), split=split, strategy=two)


def test_k_max_is_cut_to_the_catalog_once(split, caplog):
    caplog.set_level("INFO", "tf_recall")
    items = len(set(split.train.frame["item_id"]))
    assert Prepared.of(Config.from_dict(values(k_max=7)), split).k_max == 7
    assert "the catalog's" not in caplog.text
    prepared = Prepared.of(Config.from_dict(VALUES), split)
    assert prepared.k_max == prepared.catalog.num_items >= items
    assert f"the catalog's {prepared.k_max} items (k_max is 200)" in caplog.text


def test_a_split_may_be_given():
    log = Interactions.from_columns(
        user_id=[1, 1, 2, 2, 1], item_id=[1, 2, 1, 3, 3], timestamp=[1, 2, 3, 4, 5]
    )
    split = by_time(log, test=0.2)
    prepared = Prepared.of(Config.from_dict(VALUES), split)
    assert isinstance(prepared.split, Split) and prepared.catalog.num_items == 3
