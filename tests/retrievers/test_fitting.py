"""Keras's own arguments: each has its effect on every family of models, or is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_recall.config import Train
from tf_recall.data.catalog import Catalog
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.features import Id
from tf_recall.models import FM, GraphSAGE, Item2Vec, TwoTower, YouTubeDNN
from tf_recall.negatives import (
    CrossBatch,
    Curriculum,
    EasyHard,
    HighestInBatch,
    InBatch,
    Mixture,
)
from tf_recall.positives import user_item
from tf_recall.retrievers.fitting import Watch
from tf_recall.retrievers.optimizers import LazyAdam, SparseAdagrad
from tf_recall.towers.features import FeatureTower
from tf_recall.towers.fm import FMItemTower, FMQueryTower


def tower(entity, **settings):
    return FeatureTower(entity, [Id(4, unknown_rate=0)], **settings)


FAMILIES = {
    "two towers": lambda: TwoTower(tower("user"), tower("item")),
    "FM": lambda: FM(FMQueryTower("user", [Id()], 4), FMItemTower("item", [Id()], 4)),
    "sequences": lambda: Item2Vec(dim=4),
    "histories": lambda: YouTubeDNN(dim=4),
    "graph": lambda: GraphSAGE(tower("user"), tower("item"), dim=4, fan_outs=(3, 2)),
}


@pytest.fixture(scope="module")
def train():
    return synthetic(40, 30, 600).interactions


@pytest.fixture(scope="module")
def catalog(train):
    return Catalog.fit(train)


@pytest.fixture
def make(train, catalog):
    """From a family and the arguments of `compile` to a model and its batches."""

    def made(family="two towers", **settings):
        keras.utils.set_random_seed(0)
        model = FAMILIES[family]().adapt(train, catalog)
        model.compile(**settings)
        return model, model.batches(train, catalog, batch_size=64)

    return made


def weights(model):
    return [variable.numpy() for variable in model.trainable_variables]


def tensors(batch):
    return {k: tensors(v) if isinstance(v, dict) else tf.constant(v) for k, v in batch.items()}


def moved(make, family, step, **optimizer):
    """The weights before, and after the steps up to `step` of plain gradient descent."""
    optimizer = keras.optimizers.SGD(0.5, **optimizer)
    model, batches = make(family, optimizer=optimizer, run_eagerly=True)
    for _ in range(step.start):
        model.end_step()
    before = weights(model)
    model.step.assign(step.start)
    for at in step:
        model.train_on_batch(tensors(batches.at(at)))
    assert int(model.step) == step.stop
    return before, weights(model)


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_accumulate_to_the_mean_of_two_batches(make, family):
    both = moved(make, family, range(2), gradient_accumulation_steps=2)
    one, two = moved(make, family, range(1)), moved(make, family, range(1, 2))
    assert any((a != b).any() for a, b in zip(*both, strict=True))
    for start, end, first, second in zip(*both, one[1], two[1], strict=True):
        np.testing.assert_allclose(end, (first + second) / 2, atol=1e-6)
        assert start.shape == end.shape
    half = moved(make, family, range(1), gradient_accumulation_steps=2)
    for start, end in zip(*half, strict=True):
        np.testing.assert_array_equal(start, end)  # halfway nothing has moved


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_fits_and_evaluates_as_it_is_compiled(make, family):
    model, batches = make(family, optimizer="adam", steps_per_execution=2)
    history = model.fit(batches.dataset(), epochs=2, steps_per_epoch=4, verbose=0).history
    assert len(history["loss"]) == 2 and np.isfinite(history["loss"]).all()
    assert int(model.step) == 8
    assert np.isfinite(model.evaluate(batches.dataset().take(2), verbose=0))
    assert int(model.step) == 8  # to evaluate is not to train
    for name, value in {"loss": "mse", "metrics": ["mae"]}.items():
        with pytest.raises(ValueError, match=f"^{name}=.* does not go with {type(model).__name__}"):
            model.compile(**{name: value})
    with pytest.raises(ValueError, match="x has no end: give steps_per_epoch"):
        model.fit(batches.dataset())


def test_the_average_of_the_weights_comes_at_the_end(make):
    model, batches = make(optimizer=keras.optimizers.SGD(5.0, use_ema=True, ema_momentum=0.5))
    start = weights(model)
    seen = []
    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda *_, **__: seen.append(weights(model))
    )
    model.fit(batches.dataset(), steps_per_epoch=3, callbacks=note, verbose=0)
    for before, first, second, third, end in zip(start, *seen, weights(model), strict=True):
        assert (before != first).any()
        average = 0.5 * (0.5 * first + 0.5 * second) + 0.5 * third  # starts at the first weights
        np.testing.assert_allclose(end, average, atol=1e-6)


@pytest.mark.parametrize("clip", ["clipnorm", "global_clipnorm"])
def test_no_step_is_longer_than_the_clip(make, clip):
    free, short = (moved(make, "two towers", range(1), **option) for option in ({}, {clip: 0.001}))

    def length(pair):
        return [np.linalg.norm(end - start) for start, end in zip(*pair, strict=True)]

    bound = 0.5 * 0.001  # learning rate times norm
    assert max(length(free)) > 10 * bound
    joined = np.linalg.norm(length(short)) if clip == "global_clipnorm" else max(length(short))
    np.testing.assert_allclose(joined, bound, rtol=1e-4)


@pytest.mark.parametrize("ours", [SparseAdagrad, LazyAdam])
@pytest.mark.parametrize(
    "option",
    [{"use_ema": True}, {"gradient_accumulation_steps": 2}, {"loss_scale_factor": 2.0}],
    ids=lambda option: next(iter(option)),
)
def test_our_optimizers_refuse_at_compile_what_touches_whole_tables(make, ours, option):
    (name,) = option
    with pytest.raises(ValueError, match=f"leave {name}=.* out of {ours.__name__}: it .+"):
        make(optimizer=ours(0.1, **option))


@pytest.mark.parametrize(
    "given, message",
    [
        ({"loss": "mse"}, "loss='mse' .* its own loss"),
        ({"loss_weights": [1.0]}, "loss_weights="),
        ({"metrics": ["mae"]}, "CatalogRecall"),
        ({"weighted_metrics": ["mae"]}, "weighted_metrics="),
        ({"jit_compile": "maybe"}, "jit_compile must be one of True, False, 'auto', not 'maybe'"),
        ({"run_eagerly": "no"}, "run_eagerly must be one of"),
        ({"auto_scale_loss": 1}, "auto_scale_loss must be one of"),
        (
            {"steps_per_execution": 0},
            "steps_per_execution must be a whole number, 1 or more",
        ),
        ({"optimizer": ""}, "optimizer identifier"),
    ],
    ids=str,
)
def test_compile_refuses(make, given, message):
    with pytest.raises(ValueError, match=message):
        make(**given)


def test_empty_lists_of_metrics_are_none(make):
    make(metrics=[], weighted_metrics=[])


@pytest.fixture(scope="module")
def model(train, catalog):
    model = FAMILIES["two towers"]().adapt(train, catalog)
    model.compile(steps_per_execution=2)
    return model


@pytest.mark.parametrize(
    "given, message",
    [
        ({"x": None}, "x must be batches"),
        ({"y": np.ones(2)}, "y=<ndarray> does not go with TwoTower, which has no labels"),
        ({"sample_weight": np.ones(2)}, "sample_weight=.*column 'weight'"),
        ({"class_weight": {0: 1.0}}, "class_weight=.*column 'weight'"),
        ({"epochs": 0}, "epochs must be a whole number, 1 or more, not 0"),
        ({"epochs": True}, "epochs must be a whole number"),
        ({"epochs": 1.5}, "epochs must be a whole number"),
        ({"initial_epoch": -1}, "initial_epoch must be a whole number, 0 or more"),
        ({"steps_per_epoch": 0}, "steps_per_epoch must be a whole number"),
        ({"steps_per_epoch": 3}, "steps_per_epoch=3 must be a multiple of steps_per_execution, 2"),
        ({"batch_size": 8}, "batch_size=8 has no effect on a dataset"),
        ({"validation_split": 1.0}, "validation_split must be a share"),
        ({"validation_freq": 0}, "validation_freq must be a whole number"),
        ({"validation_data": "endless"}, "validation_data has no end: give validation_steps"),
        ({"validation_data": "labels"}, "y=<ndarray>"),
        ({"x": "batches"}, r"batches.dataset\(\)"),
        ({"x": "empty"}, "x has no batches"),
        ({"x": "labeled"}, "y=<TensorSpec>"),
        ({"x": "generator"}, "x has no end"),
        ({"x": "endless"}, "x has no end: give steps_per_epoch"),
    ],
    ids=str,
)
def test_fit_refuses_before_it_trains(model, train, catalog, given, message):
    batches = model.batches(train, catalog, 64)
    forms = {
        "batches": batches,
        "endless": batches.dataset(),
        "empty": batches.dataset().take(0),
        "labeled": batches.dataset().take(2).map(lambda batch: (batch, tf.ones(64))),
        "generator": ((batches.at(step),) for step in range(2)),
        "labels": (batches.at(0), np.ones(64)),
    }
    given = {"x": batches.dataset().take(2), **given}
    given = {k: forms[v] if isinstance(v, str) else v for k, v in given.items()}
    before = weights(model)
    with pytest.raises(ValueError, match=message):
        model.fit(verbose=0, **given)
    assert all((a == b).all() for a, b in zip(before, weights(model), strict=True))


def test_what_comes_with_the_data_is_seen_too(model, train, catalog):
    batches = model.batches(train, catalog, 64)
    with pytest.raises(ValueError, match="sample_weight=.*column 'weight'"):
        model.train_on_batch(batches.at(0), sample_weight=np.ones(64))
    with pytest.raises(ValueError, match="y=.* no labels"):
        model.test_on_batch(batches.at(0), np.ones(64))
    with pytest.raises(ValueError, match="x has no end: give steps"):
        model.evaluate(batches.dataset())
    with pytest.raises(ValueError, match="call embed_query, embed_item"):
        model.predict(batches.dataset().take(1), verbose=0)
    with pytest.raises(ValueError, match=r"tf_recall.save\(Service.build"):
        model.export("anywhere")
    with pytest.raises(TypeError, match="foo"):
        model.fit(batches.dataset(), foo=1)


def test_columns_validation_and_callbacks_in_any_form(make, train, catalog):
    model, batches = make()
    columns = user_item(train, catalog, model.needs())
    seen = []
    note = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, _: seen.append(epoch))
    many = keras.callbacks.CallbackList([note], model=model, add_history=True)
    for callbacks in (note, [note], many):
        model.fit(batches.dataset().take(1), None, None, 1, 0, callbacks)
    assert seen == [0, 0, 0]
    history = model.fit(columns, batch_size=64, validation_split=0.5, verbose=0).history
    assert set(history) == {"loss", "val_loss"}
    history = model.fit(
        batches.dataset(),
        steps_per_epoch=1,
        initial_epoch=1,
        epochs=3,
        validation_data=batches.dataset(),
        validation_steps=1,
        validation_freq=2,
        verbose=0,
    ).history
    assert len(history["loss"]) == 2 and len(history["val_loss"]) == 1
    assert int(model.epoch) == 2


def test_a_loss_that_is_not_finite_stops_before_a_checkpoint(make):
    model, batches = make()
    saved = []
    after = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_, **__: saved.append(1))
    batch = batches.at(0) | {"weight": np.full(64, np.nan, "float32")}
    data = tf.data.Dataset.from_tensors(tensors(batch))
    with pytest.raises(ValueError, match="the loss is nan in epoch 2: the learning rate"):
        model.fit(data, initial_epoch=1, epochs=2, callbacks=[after], verbose=0)
    with pytest.raises(ValueError, match="the loss is nan in epoch 1"):
        model.fit(data.repeat(), steps_per_epoch=10_000, verbose=0)  # long before the epoch ends
    assert not saved


def test_a_callback_of_the_model_does_not_make_training_wait_for_each_loss():
    callbacks = keras.callbacks.CallbackList([Watch()], add_history=True)
    assert callbacks._async_train == keras.callbacks.CallbackList([])._async_train


def test_updates_that_a_loss_scale_skips_are_batches_all_the_same(make):
    skips = keras.optimizers.LossScaleOptimizer(SparseAdagrad(0.1), initial_scale=1e38)
    model, batches = make(optimizer=skips)
    model.fit(batches.dataset(), steps_per_epoch=3, verbose=0)
    assert int(model.optimizer.iterations) < int(model.step) == 3


def test_a_loss_of_0_is_suspect_in_a_fresh_model_only(make):
    model, batches = make()
    batch = batches.at(0) | {"weight": np.zeros(64, "float32")}
    data = tf.data.Dataset.from_tensors(tensors(batch))
    with pytest.raises(ValueError, match="the loss is 0 throughout the first epoch"):
        model.fit(data, verbose=0)
    none = tf.data.Dataset.from_tensors(tensors(batch)).filter(lambda _: False)
    with pytest.raises(ValueError, match="epoch 1 has no batches"):
        model.fit(none, verbose=0)
    model, batches = make()
    model.fit(batches.dataset().take(1), verbose=0)
    assert model.fit(data, verbose=0).history["loss"] == [0]


@pytest.mark.parametrize(
    "negatives, empty",
    [
        (CrossBatch(64, warm_up=1), True),
        (Curriculum(HighestInBatch(2), wait=1), True),
        (Mixture([CrossBatch(64), InBatch()]), False),
        (EasyHard(InBatch(), Curriculum(HighestInBatch())), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_sampler_that_starts_without_negatives_may_lose_nothing(negatives, empty, train, catalog):
    assert negatives.starts_empty == empty
    model = TwoTower(tower("user"), tower("item"), negatives=negatives).adapt(train, catalog)
    model.compile()
    data = model.batches(train, catalog, 64).dataset()
    losses = model.fit(data, steps_per_epoch=1, epochs=3, verbose=0).history["loss"]
    assert (losses[0] == 0) == empty and losses[-1] > 0


def test_a_model_that_knows_no_data_says_so_and_can_still_be_adapted(train, catalog, make):
    _, batches = make()
    model = FAMILIES["two towers"]()
    model.compile()
    for ask in (
        lambda: model.fit(batches.dataset(), steps_per_epoch=1),
        lambda: model.evaluate(batches.dataset(), steps=1),
        lambda: model(tensors(batches.at(0))),
        lambda: model.train_on_batch(batches.at(0)),
        lambda: model.batches(train, catalog),
        model.embed_catalog,
        lambda: model.embed_item({"item": tf.range(2)}),
    ):
        with pytest.raises(ValueError, match=r"call adapt\(train, catalog\)"):
            ask()
    model.adapt(train, catalog).fit(batches.dataset(), steps_per_epoch=1, verbose=0)


def test_a_run_goes_on_at_the_next_batch_whatever_the_optimizer_counted(make, train, catalog):
    def until(epoch):
        return Train(epochs=epoch, batch_size=64)

    def trained(epochs):
        model, _ = make(optimizer=keras.optimizers.SGD(0.5, gradient_accumulation_steps=2))
        for epoch in epochs:
            model.train(train, catalog, until(epoch + 1), initial_epoch=epoch)
        return model

    halves, whole = trained([0, 1]), trained([])
    whole.train(train, catalog, until(2))
    assert int(halves.step) == int(whole.step) == 2 * len(halves.batches(train, catalog, 64))
    for one, other in zip(weights(halves), weights(whole), strict=True):
        np.testing.assert_array_equal(one, other)
