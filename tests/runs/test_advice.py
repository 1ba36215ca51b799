"""What training tells while it can be mended: each finding where it holds, and only there."""

import pytest

from tf_recall.config import Config
from tf_recall.data.interactions import Interactions
from tf_recall.evaluation import Report
from tf_recall.losses import BPR, Hinge, SampledSoftmax
from tf_recall.losses.temperature import LearnedTemperature
from tf_recall.models import FM, Item2Vec, SASRec, SimpleX, TwoTower
from tf_recall.runs.advice import (
    check_beside_popularity,
    check_epochs,
    check_order,
    check_temperature,
    check_validation,
)
from tf_recall.runs.run import diagnose, train

VALUES = {
    "data": {"name": "synthetic", "num_users": 300, "num_items": 200, "num_interactions": 9000},
    "split": {"name": "random", "test": 0.2, "validation": 0.1},
    "model": "two_tower",
    "train": {"epochs": 3, "batch_size": 256, "refit": False},
    "evaluate": {"ks": [20]},
}


def names(findings):
    return [finding.name for finding in findings]


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (lambda: TwoTower(), []),
        (lambda: TwoTower(loss=SampledSoftmax(0.2)), []),
        (lambda: TwoTower(loss=SampledSoftmax(LearnedTemperature())), []),
        (lambda: TwoTower(loss=SampledSoftmax(1.0)), ["useless_temperature"]),
        (lambda: TwoTower(loss=SampledSoftmax(1)), ["useless_temperature"]),
        (lambda: TwoTower(loss=BPR(1.0)), ["useless_temperature"]),
        (lambda: TwoTower(loss=SampledSoftmax(0.001)), ["useless_temperature"]),
        (lambda: TwoTower(loss=Hinge(0.1, temperature=1.0)), []),  # the margin is one of cosines
        (lambda: FM(loss=BPR(1.0)), []),  # dot products have any size
    ],
)
def test_a_temperature_that_unit_vectors_cannot_use(model, found):
    assert names(check_temperature(model())) == found


def test_the_best_epoch_tells_whether_training_ended_in_time():
    assert names(check_epochs([0.1, 0.2, 0.3], epochs=3)) == ["still_rising"]
    assert "train.epochs=6" in check_epochs([0.1, 0.2, 0.3], epochs=3)[0].message
    assert names(check_epochs([0.3, 0.2, 0.1], epochs=3)) == ["first_epoch_best"]
    assert check_epochs([0.1, 0.3, 0.2], epochs=3) == []
    assert check_epochs([0.1, 0.2, 0.3], epochs=9) == []  # interrupted, not at its end
    assert check_epochs([0.3], epochs=1) == []  # one epoch tells nothing


def test_nothing_tells_when_to_end_without_a_validation_part():
    def found(split="random", **train):
        config = Config.from_dict({**VALUES, "split": split, "train": train})
        return check_validation(config, config.make_split())

    (finding,) = found({"name": "random", "test": 0.3})
    assert finding.name == "no_validation"
    assert "`split: {name: random, test: 0.3, validation: 0.1}`" in finding.message
    assert found(epochs=4) == found({"name": "random", "validation": 0.1}) == []


def test_less_than_popularity_is_told_of_with_what_is_unknown():
    def report(recall, cold):
        slices = {"cold_users": {"cases": cold}}
        return Report({"recall@20": recall}, {"recall@20": 0.3}, slices, {"cases": 10})

    assert check_beside_popularity(report(0.3, cold=9)) == []
    (finding,) = check_beside_popularity(report(0.1, cold=9))
    assert "0.1000, and popularity has 0.3000" in finding.message and "90%" in finding.message
    assert "%" not in check_beside_popularity(report(0.1, cold=1))[0].message


def run(tmp_path, **sections):
    values = {**VALUES, **sections, "name": "m"}
    return train(Config.from_dict(values), tmp_path)


def test_a_model_that_learns_nothing_is_told_of_and_so_is_its_export(tmp_path, caplog):
    slow = {**VALUES["train"], "optimizer": {"name": "sparse_adagrad", "learning_rate": 1e-9}}
    trained = run(tmp_path, train=slow)
    found = names(trained.findings)
    assert "flat_loss" in found and "below_counted" in found
    assert "train.optimizer.learning_rate" in caplog.text
    assert trained.summary()["findings"][0].keys() == {"name", "message", "severity"}
    again = names(diagnose(Config.from_dict({**VALUES, "name": "m"}), trained.path))
    assert {"flat_loss", "below_counted"} <= set(again)


@pytest.mark.slow
def test_a_model_that_learns_well_is_left_alone(tmp_path):
    data = {"name": "synthetic", "num_users": 600, "num_items": 1000, "num_interactions": 40_000}
    found = names(run(tmp_path, data=data, train={"epochs": 12, "refit": False}).findings)
    assert not {"flat_loss", "below_counted", "useless_temperature"} & set(found)


def test_doctor_knows_a_useless_temperature_before_training():
    model = {"name": "two_tower", "loss": {"name": "sampled_softmax", "temperature": 1.0}}
    findings = diagnose(Config.from_dict({**VALUES, "model": model}))
    assert "useless_temperature" in names(findings)
    assert "useless_temperature" not in names(diagnose(Config.from_dict(VALUES)))


def test_dates_hide_what_comes_next_unless_lines_are_in_order():
    log = Interactions.from_columns(["a", "a", "b"], [1, 2, 3], timestamp=[86_400, 86_400, 0])
    (finding,) = check_order(SASRec(), log)
    assert finding.name == "order_unknown" and "67%" in finding.message
    assert check_order(TwoTower(), log) == []  # it reads no order
    assert check_order(SASRec(), log.in_order()) == []
    baskets = Interactions.from_columns(["a", "a", "b"], [1, 2, 3], timestamp=[50, 50, 0])
    assert check_order(SASRec(), baskets) == []  # of one instant
    (finding,) = check_order(SASRec(), Interactions.from_columns(["a", "a"], [1, 2]))
    assert finding.name == "order_of_lines" and "simplex" in finding.message
    assert check_order(Item2Vec(), Interactions.from_columns(["a", "a"], [1, 2]))
    assert check_order(Item2Vec(), log) == check_order(SimpleX(), log.in_order()) == []
    assert check_order(SimpleX(), Interactions.from_columns(["a", "a"], [1, 2])) == []
