"""Temperatures that change: a learned one trains and is kept, a scheduled one follows the
optimizer's steps.
"""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tf_recall.data.batches import Batches
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.features import Id
from tf_recall.losses import BPR, Hinge, SampledSoftmax, TripletLogistic
from tf_recall.losses.scores import Scores
from tf_recall.losses.temperature import LearnedTemperature
from tf_recall.models import FM, GraphSAGE, Item2Vec, TwoTower
from tf_recall.negatives.base import Candidates
from tf_recall.positives import user_item
from tf_recall.retrievers.optimizers import LazyAdam, SparseAdagrad
from tf_recall.towers.features import FeatureTower


@pytest.fixture(scope="module")
def train():
    rng = np.random.default_rng(0)
    return Interactions.from_columns(
        user_id=[f"u{n}" for n in rng.integers(0, 20, 300)],
        item_id=[f"i{n}" for n in rng.integers(0, 12, 300)],
        timestamp=rng.integers(0, 1000, 300),
        items=pd.DataFrame({"item_id": [f"i{n}" for n in range(12)]}),
    )


def made(train, temperature, optimizer=None):
    keras.utils.set_random_seed(0)
    catalog = Catalog.fit(train)
    towers = (
        FeatureTower("user", [Id(4, unknown_rate=0)], [4]),
        FeatureTower("item", [Id(4, unknown_rate=0)], [4]),
    )
    model = TwoTower(*towers, loss=SampledSoftmax(temperature)).adapt(train, catalog)
    model.compile(optimizer or SparseAdagrad(0.1), jit_compile=False)
    return model, Batches(user_item(train, catalog, model.needs()), 32)


def tensors(batch):
    return {k: tensors(v) if isinstance(v, dict) else tf.constant(v) for k, v in batch.items()}


def test_starts_where_it_is_set():
    for initial, lowest in (0.1, 0.01), (0.5, 0.05), (0.02, 0.0199):
        assert float(LearnedTemperature(initial, lowest)()) == pytest.approx(initial, rel=1e-5)
    assert float(LearnedTemperature()(step=10**6)) == pytest.approx(0.1)


def test_it_stays_above_the_lowest_and_comes_back():
    # Pushed down hard it ends just above the lowest; from there the opposite push must still move
    # it.
    temperature = LearnedTemperature(0.1, lowest=0.05)
    adam = keras.optimizers.Adam(0.1)
    adam.build(temperature.trainable_variables)

    def push(sign, steps):
        for _ in range(steps):
            with tf.GradientTape() as tape:
                value = sign * temperature()
            adam.apply(tape.gradient(value, [temperature.log.value]))
        return float(temperature())

    assert 0.05 < push(1, 60) < 0.055
    assert push(-1, 90) > 0.1
    temperature.log.assign(-1e4)
    assert float(temperature()) == pytest.approx(0.05)


@pytest.mark.parametrize("own", [False, True])
def test_its_gradient_is_that_of_differences(own):
    rng = np.random.default_rng(1)
    query, item, negatives = (
        tf.constant(rng.normal(size=s), tf.float32) for s in [(6, 3), (6, 3), (6, 2, 3)]
    )
    ids, log_q = tf.range(6), tf.constant(rng.normal(size=8), tf.float32)
    candidates = [
        Candidates(ids, item),
        *([Candidates(tf.stack([ids + 1, ids + 2], axis=1), negatives)] if own else []),
    ]
    temperature = LearnedTemperature(0.4)
    loss = SampledSoftmax(temperature)

    def value():
        log_q_of = lambda ids: tf.gather(log_q, ids)  # noqa: E731
        return loss.of(Scores.of(query, item, ids, candidates, loss.temperature_at(0), log_q_of))

    with tf.GradientTape() as tape:
        found = value()
    gradient = tape.gradient(found, temperature.log.value).numpy()
    start, ends = temperature.log.numpy(), []
    for move in 1e-2, -1e-2:
        temperature.log.assign(start + move)
        ends.append(value().numpy())
    assert abs(gradient) > 0.05 and gradient == pytest.approx((ends[0] - ends[1]) / 2e-2, rel=1e-2)


@pytest.mark.parametrize("optimizer", [SparseAdagrad, LazyAdam, keras.optimizers.Adam])
def test_it_trains_with_the_model(train, optimizer):
    # Fits of many epochs on few pairs get surer, which is what a lower temperature says.
    model, batches = made(train, LearnedTemperature(0.5), optimizer(0.05))
    assert any(variable is model.loss_fn.temperature.log for variable in model.trainable_variables)
    batch = tensors(batches.at(0))
    for _ in range(40):
        model.train_on_batch(batch)
    assert float(model.loss_fn.temperature()) < 0.4


def test_a_saved_model_keeps_what_was_learned(train, tmp_path):
    model, batches = made(train, LearnedTemperature(0.5, lowest=0.02))
    batch = tensors(batches.at(0))
    for _ in range(5):
        model.train_on_batch(batch)
    learned = float(model.loss_fn.temperature())
    assert abs(learned - 0.5) > 0.01
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert (
        float(again.loss_fn.temperature()) == learned and again.loss_fn.temperature.lowest == 0.02
    )
    assert again(batch).numpy() == pytest.approx(model(batch).numpy(), rel=1e-6)
    assert len(again.trainable_variables) == len(model.trainable_variables)
    again.train_on_batch(batch)
    assert float(again.loss_fn.temperature()) != learned


def test_a_schedule_follows_the_steps_of_the_optimizer(train, tmp_path):
    # from the third step after the 0th
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([2], [0.5, 0.1])
    model, batches = made(train, schedule, SparseAdagrad(1e-9))
    batch = tensors(batches.at(0))
    warm, cold = (made(train, number)[0](batch).numpy() for number in (0.5, 0.1))
    assert abs(warm - cold) > 0.1
    losses = [float(model.train_on_batch(batch)) for _ in range(5)]
    assert int(model.optimizer.iterations) == 5
    np.testing.assert_allclose(losses, [warm, warm, warm, cold, cold], rtol=1e-4)
    model.save(tmp_path / "model.keras")  # which keeps the optimizer's steps
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert float(again.train_on_batch(batch)) == pytest.approx(cold, rel=1e-4)


@pytest.mark.parametrize(
    "initial, lowest", [(0.1, 0), (0.1, -1), (0.1, 0.1), (0.01, 0.1), (float("inf"), 0.1)]
)
def test_refuses_a_lowest_that_is_not_below_the_start(initial, lowest):
    with pytest.raises(ValueError, match="0 < lowest < initial"):
        LearnedTemperature(initial, lowest)


def test_a_schedule_that_ends_at_zero_is_held_above_it():
    loss = SampledSoftmax(keras.optimizers.schedules.CosineDecay(0.5, decay_steps=10))
    assert float(loss.temperature_at(tf.constant(10**6))) == pytest.approx(0.001)


def test_by_default_it_follows_the_vectors_and_the_catalog():
    def of(loss, unit_length=True, num_items=40_000):
        return loss.fitted(unit_length, num_items, positives=20).temperature_at(0)

    assert of(SampledSoftmax()) == pytest.approx(1.2 / np.log(40_000)) == pytest.approx(0.113, 1e-2)
    assert of(BPR(), num_items=3000) == pytest.approx(0.15, 1e-2)
    assert of(SampledSoftmax(), num_items=2) == of(SampledSoftmax(), num_items=10)  # never above 1
    assert of(SampledSoftmax(), unit_length=False) == 1  # their length is learned
    assert of(Hinge()) == of(TripletLogistic()) == 1  # a margin, a steepness of their own
    assert of(SampledSoftmax(0.7)) == 0.7
    loss = Hinge(margin=0.3)
    assert loss.fitted(True, 40_000, 20) is loss


@pytest.mark.parametrize(
    ("model", "unit_length"),
    [
        (lambda: TwoTower(), True),
        (lambda: TwoTower(FeatureTower("user", [Id(4)], normalize=False)), False),
        (lambda: FM(), False),
        (lambda: Item2Vec(), False),  # its vectors are compared as they are
        (lambda: GraphSAGE(), True),
    ],
)
def test_a_model_knows_its_vectors(model, unit_length):
    assert model().unit_length is unit_length


def test_a_default_temperature_is_that_number_from_then_on(train):
    weights = []
    for temperature in None, 1.2 / np.log(12):
        model, batches = made(train, temperature)
        assert model.loss_fn.temperature == pytest.approx(1.2 / np.log(12))
        model.fit(batches.dataset(), steps_per_epoch=3, verbose=0, shuffle=False)
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model))
        assert again.loss_fn.temperature == model.loss_fn.temperature
        weights.append(model.item_tower.trainable_variables[0].numpy())
    np.testing.assert_array_equal(*weights)
