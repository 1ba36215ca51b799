"""A run that learns the validation part at last: exactly a run of both parts, resumed exactly."""

import contextlib

import numpy as np
import pandas as pd
import pytest

from tf_recall.channels.ease import EASE
from tf_recall.config import Config
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.data.split import Split
from tf_recall.data.splits import by_time, random
from tf_recall.export.load import restore
from tf_recall.models import ALS, TwoTower
from tf_recall.retrievers.base import Retriever
from tf_recall.runs.callbacks import Checkpoint
from tf_recall.runs.refit import enough
from tf_recall.runs.run import evaluate, train
from tf_recall.tuning.tune import tune

VALUES = {
    "data": {"name": "synthetic", "num_users": 60, "num_items": 50, "num_interactions": 900},
    "split": {"name": "by_time", "test": 0.1, "validation": 0.2},
    "model": {"name": "two_tower", "dim": 4},
    "train": {"epochs": 2, "batch_size": 64},
    "evaluate": {"ks": [5]},
}


def config(**sections):
    return Config.from_dict({**VALUES, **sections})


def log():
    return synthetic(60, 50, 900).interactions


def split():
    return by_time(log(), 0.1, 0.2)


@contextlib.contextmanager
def recorded():
    """The number of interactions and of epochs of each training."""
    seen, plain = [], Retriever.train

    def train(self, interactions, *args, **kwargs):
        history = plain(self, interactions, *args, **kwargs)
        seen.append((len(interactions), len(history.epoch)))
        return history

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Retriever, "train", train)
        yield seen


@pytest.fixture
def trainings():
    with recorded() as seen:
        yield seen


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run to its end, and its trainings."""
    with recorded() as seen:
        return train(config(), tmp_path_factory.mktemp("models")), seen


def values_of(path):
    model, _ = restore(path)
    return [each.numpy() for each in model.variables]


def assert_same_values(one, other):
    for mine, theirs in zip(values_of(one), values_of(other), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_it_is_a_run_of_both_parts_for_the_best_number_of_epochs(finished, tmp_path):
    done, ((alone, _), (both, best)) = finished
    parts = split()
    assert (alone, both) == (len(parts.train), len(parts.train) + len(parts.validation))
    plain = {"epochs": best, "batch_size": 64}
    by_hand = train(config(split={"name": "by_time", "test": 0.1}, train=plain), tmp_path)
    assert_same_values(done.path, by_hand.path)
    assert done.report.metrics == by_hand.report.metrics
    assert evaluate(config(), done.path).metrics == done.report.metrics


def test_it_can_be_left(tmp_path, trainings):
    left = config(train={**VALUES["train"], "refit": False})
    done = train(left, tmp_path)
    assert [number for number, _ in trainings] == [len(split().train)]
    _, catalog = restore(done.path)
    assert catalog.identity == Catalog.fit(split().train).identity
    assert evaluate(left, done.path).metrics == done.report.metrics


def test_what_the_validation_part_alone_knows_is_found(tmp_path):
    old = Interactions.from_columns(
        user_id=[f"u{at % 40}" for at in range(400)],
        item_id=[f"i{at % 20}" for at in range(400)],
        timestamp=np.arange(400),
    ).frame
    hit = pd.DataFrame(
        {"user_id": [f"u{at}" for at in range(40)], "item_id": "new", "timestamp": 400}
    )
    paths = {}
    parts = {"train": old, "validation": hit.iloc[:30], "test": hit.iloc[30:]}
    for name, frame in parts.items():
        paths[name] = tmp_path / f"{name}.csv"
        frame.to_csv(paths[name], index=False)
    settings = config(
        data={"name": "files", "interactions": str(paths["train"])},
        split={"name": "files", "test": str(paths["test"]), "validation": str(paths["validation"])},
        model={"name": "als", "dim": 16},
        train={"epochs": 5},
    )
    recalls = {}
    for refit in (True, False):
        values = settings.to_dict()
        values["train"]["refit"] = refit
        recalls[refit] = train(Config.from_dict(values), tmp_path / str(refit)).report.metrics
    assert recalls[True]["recall@5"] == 1 and recalls[False]["recall@5"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("stop", [1, 3])
def test_an_interrupted_run_goes_on_exactly(finished, tmp_path, trainings, caplog, stop):
    """It stops in the first training, or after the first epoch of the second."""
    caplog.set_level("INFO", "tf_recall")
    whole, ((_, _), (_, best)) = finished
    begun = []

    def stopped(self, at, logs=None):
        begun.append(at)
        if len(begun) == stop + 1:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "on_epoch_begin", stopped)
        with pytest.raises(KeyboardInterrupt, match="go on with --resume"):
            train(config(), tmp_path)
    del trainings[:]
    resumed = train(config(), tmp_path, resume=True)
    assert_same_values(resumed.path, whole.path)
    assert resumed.report.to_dict() == whole.report.to_dict()
    assert len(trainings) == (2 if stop < 2 else 1)
    assert f"on the training and the validation part, {best} epochs" in caplog.text


def test_channels_are_counted_and_trained_again_and_the_merge_stays(tmp_path):
    channels = {"items": "ease", "solved": {"name": "trained", "model": "als"}}
    settings = config(model=None, channels=channels, merge="marginal_rank")
    done = train(settings, tmp_path)
    catalog = Catalog.fit(split().together().train)
    assert done.service.catalog.identity == catalog.identity
    alone = EASE().fit(split().together().train, catalog)
    alike = [each.similar(["i1"], 5) for each in (done.service.channels["items"], alone)]
    for one, other in zip(*alike, strict=True):
        np.testing.assert_array_equal(one, other)
    assert set(done.service.merge.weights) == {*channels}
    assert evaluate(settings, done.path).merged.metrics == done.report.merged.metrics


def test_a_search_learns_no_validation_part(tmp_path, trainings):
    tune(config(train={**VALUES["train"], "epochs": 1}), 1, out=tmp_path)
    assert {number for number, _ in trainings} == {len(split().train)}


def test_a_validation_part_that_lacks_a_column_is_not_learned(tmp_path, caplog, trainings):
    parts = split()
    weighted = parts.train.frame.assign(weight=1.0, mood="fine")
    weighted.to_csv(tmp_path / "train.csv", index=False)
    for name in ("validation", "test"):
        getattr(parts, name).frame.to_csv(tmp_path / f"{name}.csv", index=False)
    held = {name: str(tmp_path / f"{name}.csv") for name in ("validation", "test")}
    settings = config(
        data={"name": "files", "interactions": str(tmp_path / "train.csv")},
        split={"name": "files", **held},
    )
    train(settings, tmp_path / "models")
    assert "validation part, which lacks weight, mood" in caplog.text
    assert [number for number, _ in trainings] == [len(parts.train)]


def test_for_how_many_epochs():
    parts = split()
    model = TwoTower(dim=4).adapt(parts.train, Catalog.fit(parts.train))
    rising = [0.1, 0.3, 0.2]
    assert enough(model, parts, rising) == 2
    assert enough(model, parts, [0.0, 0.0, 0.0]) == 3
    strangers = Interactions(parts.validation.frame.assign(user_id="x"))
    later = Split(parts.train, parts.test, strangers)
    assert enough(model, later, rising) == 3
    solved = ALS(dim=4).adapt(parts.train, Catalog.fit(parts.train))
    assert enough(solved, later, rising) == 3


def test_impressions_of_the_validation_part_count_then():
    shown = log()
    taken = np.arange(len(shown)) % 3 > 0
    parts = by_time(Interactions(shown.frame.assign(taken=taken)).where("taken"), 0.1, 0.2)
    together = parts.together().train
    by_hand = by_time(Interactions(shown.frame.assign(taken=taken)).where("taken"), 0.1).train
    assert len(together.impressions) > len(parts.train.impressions)
    pd.testing.assert_frame_equal(together.impressions, by_hand.impressions)


def test_lines_without_times_are_where_they_were():
    plain = Interactions(log().frame.drop(columns="timestamp"))
    parts = random(plain, 0.1, 0.3, seed=1)
    by_hand = random(plain, 0.1, seed=1)
    pd.testing.assert_frame_equal(parts.together().train.frame, by_hand.train.frame)
    with pytest.raises(ValueError, match="a whole validation part to learn it too: there is none"):
        by_hand.together()
