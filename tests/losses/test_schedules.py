"""The schedule of a whole run: by hand, from a config that knows the run, and what it refuses."""

import keras
import numpy as np
import pytest

from tf_recall.config import Config
from tf_recall.data.catalog import Catalog
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.data.splits import by_time
from tf_recall.losses import SampledSoftmax
from tf_recall.losses.schedules import WarmUpCosine
from tf_recall.retrievers.optimizers import SparseAdagrad
from tf_recall.runs.callbacks import Checkpoint
from tf_recall.runs.model import compiled, fit
from tf_recall.runs.prepared import Prepared

TOWER = {"features": [{"name": "id", "dim": 8}]}


@pytest.fixture(scope="module")
def world():
    split = by_time(synthetic(100, 60, 2000).interactions, test=0.1)
    return split, Catalog.fit(split.train)


def config(rate, epochs=4, **train):
    model = {"name": "two_tower", "query_tower": TOWER, "item_tower": TOWER}
    train = {"epochs": epochs, "batch_size": 256, **train}
    optimizer = {"name": "sparse_adagrad", "learning_rate": rate}
    return Config.from_dict(
        {
            "data": "synthetic",
            "split": "by_time",
            "model": model,
            "train": {**train, "optimizer": optimizer},
        }
    )


def test_by_hand():
    # Of 10 steps 4 rise: 2 * (1, 2, 3, 4) / 4. The other 6 fall from 2 to 0.25 * 2: the cosine of
    # half the way, step 7, is 0, so 2 * (0.25 + 0.75 / 2) = 1.25; a step past the end stays there.
    rate = WarmUpCosine(2.0, warm_up=0.4, lowest=0.25, steps=10)
    found = [float(rate(step)) for step in (0, 1, 2, 3, 4, 7, 10, 99)]
    np.testing.assert_allclose(found, [0.5, 1, 1.5, 2, 2, 1.25, 0.5, 0.5], rtol=1e-6)


def test_without_a_rise_it_starts_at_the_peak_and_without_a_fall_it_stays_there():
    falls = WarmUpCosine(1.0, warm_up=0.0, steps=10)
    assert float(falls(0)) == 1 and float(falls(10)) == pytest.approx(0, abs=1e-6)
    keras_rate = keras.optimizers.schedules.CosineDecay(1.0, 10)
    for step in range(12):
        assert float(falls(step)) == pytest.approx(float(keras_rate(step)), abs=1e-6)
    stays = WarmUpCosine(1.0, warm_up=0.5, lowest=1.0, steps=10)
    assert [float(stays(step)) for step in (4, 5, 8, 10)] == pytest.approx([1, 1, 1, 1])


def test_a_config_knows_the_run(world):
    prepared = Prepared.of(config({"name": "warm_up_cosine", "peak": 0.2}), *world)
    model = compiled(prepared)
    steps = 4 * model.batches(*data(prepared), 256).steps_per_epoch
    rate = model.optimizer.get_config()["learning_rate"]["config"]
    assert rate == {"peak": 0.2, "warm_up": 0.1, "lowest": 0.0, "steps": steps, "start": 0}
    given = config({"name": "warm_up_cosine", "peak": 0.2, "steps": 7})
    kept = compiled(Prepared.of(given, *world)).optimizer.get_config()["learning_rate"]["config"]
    assert kept["steps"] == 7


def data(prepared):
    return prepared.split.train, prepared.catalog


def test_an_interrupted_run_goes_on_exactly_and_another_length_is_another_run(
    world, tmp_path, monkeypatch
):
    settings = config({"name": "warm_up_cosine", "peak": 0.3, "warm_up": 0.25})
    prepared = Prepared.of(settings, *world)
    whole = fit(prepared, tmp_path / "whole")
    steps = int(whole.step.numpy())
    ended = whole.optimizer.learning_rate  # of the step after the last
    assert float(ended) == pytest.approx(0, abs=1e-6) and steps % 4 == 0
    with monkeypatch.context() as patch:
        cut = lambda self, epoch, logs=None: 1 / 0 if epoch == 2 else None  # noqa: E731
        patch.setattr(Checkpoint, "on_epoch_begin", cut)
        with pytest.raises(ZeroDivisionError):
            fit(prepared, tmp_path / "cut")
    longer = config({"name": "warm_up_cosine", "peak": 0.3, "warm_up": 0.25}, epochs=5)
    with pytest.raises(ValueError, match=r"another config \(train.epochs differ"):
        fit(Prepared.of(longer, *world), tmp_path / "cut")
    resumed = fit(prepared, tmp_path / "cut")
    for one, other in zip(whole.weights, resumed.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_constant_rate_may_go_on_for_longer(world, tmp_path):
    fit(Prepared.of(config(0.1, epochs=1), *world), tmp_path)
    assert fit(Prepared.of(config(0.1, epochs=2), *world), tmp_path).epoch.numpy() == 1


@pytest.mark.parametrize(
    "rate, message",
    [
        ("warm_up_cosine", "learning_rate.*missing peak"),
        ({"name": "warm_up_cosine", "peak": 0}, "peak must be a number above 0, not 0"),
        ({"name": "warm_up_cosine", "peak": 1, "warm_up": 1}, "warm_up must be .* below 1, not 1"),
        ({"name": "warm_up_cosine", "peak": 1, "warmup": 0.1}, "did you mean 'warm_up'"),
        ({"name": "warm_up", "peak": 1}, "did you mean 'warm_up_cosine'"),
        ({"peak": 1}, "needs a name"),
    ],
    ids=str,
)
def test_a_config_refuses(rate, message, world):
    with pytest.raises(ValueError, match=message):
        Prepared.of(config(rate), *world)


def test_python_gives_the_steps():
    variable = keras.Variable([1.0])
    with pytest.raises(ValueError, match="give it steps=epochs \\* batches.steps_per_epoch"):
        SparseAdagrad(WarmUpCosine(0.1)).apply([variable.value], [variable])
    with pytest.raises(ValueError, match="temperature: WarmUpCosine needs its steps here"):
        SampledSoftmax(WarmUpCosine(0.1))
    for wrong in ({"peak": 0}, {"peak": 1, "warm_up": 1}, {"peak": 1, "steps": 0}):
        with pytest.raises(ValueError, match="must be"):
            WarmUpCosine(**wrong)
