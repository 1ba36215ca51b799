"""What every sampler and every loss must do, together and compiled: a pair works, or is refused by
name. The registry says which there are; the tables below say how to make each.
"""

import functools
import itertools
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_recall.data.batches import Batches
from tf_recall.data.catalog import Catalog
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.features import Id
from tf_recall.models.two_tower import TwoTower
from tf_recall.negatives.base import Batch
from tf_recall.positives import user_item
from tf_recall.registry import REGISTRY, find, keywords, make
from tf_recall.retrievers.optimizers import SparseAdagrad
from tf_recall.towers.features import FeatureTower

EPOCH, STEPS = 25, 3  # steps of an epoch, and those that are compared with XLA's


def sampler(name, **arguments):
    return make("negatives", name, **arguments)


def streaming():
    return make("frequency", "streaming", num_buckets=4096, rate=0.05)


SAMPLERS = {  # every argument, none at its default
    "in_batch": lambda: dict(frequency=streaming()),
    "cross_batch": lambda: dict(size=100, warm_up=1, frequency=streaming()),
    "uniform": lambda: dict(num=48, seed=3),
    "popularity": lambda: dict(num=48, power=0.5, seed=3),
    "log_uniform": lambda: dict(num=48, seed=3),
    "whole_catalog": dict,
    "mixture": lambda: dict(
        samplers=[
            sampler("in_batch"),
            sampler("uniform", num=32),
            sampler("cross_batch", size=100, warm_up=1),
        ]
    ),
    "easy_hard": lambda: dict(
        easy=sampler("in_batch"), hard=sampler("curriculum", **SAMPLERS["curriculum"]()), ratio=20
    ),
    "same_group": lambda: dict(column="genres", num=3, separator="|", seed=3),
    "given": lambda: dict(num=2),
    "rank_window": lambda: dict(num=2, low=3, high=9),
    "highest_in_batch": lambda: dict(num=2),
    "curriculum": lambda: dict(
        hard=sampler("same_group", column="genres", separator="|", num=3, seed=3), wait=0, grow=2
    ),
}
LOSSES = {
    "sampled_softmax": lambda: dict(temperature=0.2),
    "uncorrected_softmax": lambda: dict(temperature=0.2),
    "retrieval_task": lambda: dict(temperature=0.2, corrected=False, remove_accidental_hits=False),
    "hinge": lambda: dict(temperature=0.5, margin=0.2),
    "bpr": lambda: dict(temperature=0.2),
    "triplet_logistic": lambda: dict(temperature=0.5, sigma=5.0),
    "pointwise_cross_entropy": lambda: dict(temperature=0.2, ratio=2.0),
    "cosine_contrastive": lambda: dict(margin=0.2, weight=5.0),
    "squared_error": dict,
    "neg": lambda: dict(temperature=0.2, negatives=3.0),
    "nce": lambda: dict(temperature=0.2, negatives=3.0),
    "nce_loss": lambda: dict(temperature=0.2),
}
SAMPLER, LOSS = next(iter(SAMPLERS)), next(iter(LOSSES))  # what the others are tried with first
EACH = [(name, LOSS) for name in REGISTRY["negatives"]] + [
    (SAMPLER, name) for name in REGISTRY["loss"]
]
EACH = list(dict.fromkeys(EACH))
# two samplers that hold others, and a loss of each form: a softmax, pairs, vectors, of a peer
FORMS = [("mixture", LOSS), ("easy_hard", LOSS)]
FORMS += [(SAMPLER, each) for each in (LOSS, "hinge", "nce_loss", "retrieval_task")]
HELD = ("uniform", "cross_batch", "curriculum", "same_group")  # by the two
POLICIES = ["mixed_bfloat16", "bfloat16", "mixed_float16"]


def pairs_of(pairs):
    """All pairs; those that are not given are slow tests."""
    return [
        pytest.param(*pair, marks=[] if pair in pairs else pytest.mark.slow)
        for pair in itertools.product(REGISTRY["negatives"], REGISTRY["loss"])
    ]


def make_part(kind, name):
    table = {"negatives": SAMPLERS, "loss": LOSSES}[kind]
    assert name in table, f"say in this file how to make {kind} {name!r}"
    return make(kind, name, **table[name]())


@pytest.fixture(scope="module")
def world():
    planted = synthetic(num_users=100, num_items=80, num_interactions=2000, seed=1)
    return SimpleNamespace(train=planted.interactions, catalog=Catalog.fit(planted.interactions))


@pytest.fixture(scope="module")
def make_model(world):
    def adapted(negatives, loss, jit=False):
        keras.utils.set_random_seed(0)
        model = TwoTower(
            query_tower=FeatureTower("user", [Id(8)]),
            item_tower=FeatureTower("item", [Id(8)]),
            negatives=make_part("negatives", negatives),
            loss=make_part("loss", loss),
        )
        model.adapt(world.train, world.catalog).compile(SparseAdagrad(0.1), jit_compile=jit)
        return model

    return adapted


@pytest.fixture(scope="module")
def batches(world):
    def of(model):
        needs = model.needs().also(negatives=0)  # drawn at random below
        columns = user_item(world.train, world.catalog, needs)
        if num := model.negatives.num_given:
            columns["negatives"] = np.random.default_rng(0).integers(
                0, 81, [len(world.train), num], np.int32
            )
        return Batches(columns, batch_size=64)

    return of


@pytest.fixture(scope="module")
def train(batches):
    def losses(model, steps, epochs):
        """The mean loss of each epoch."""
        data = batches(model).dataset(int(model.optimizer.iterations))
        return model.fit(
            data, steps_per_epoch=steps, epochs=epochs, shuffle=False, verbose=0
        ).history["loss"]

    return losses


@pytest.fixture(scope="module")
def losses_of(make_model, train):
    """`losses_of(negatives, loss)`: those of the first steps, and the means of the epochs then."""

    @functools.cache
    def trained(negatives, loss):
        model = make_model(negatives, loss)
        return train(model, 1, STEPS), train(model, EPOCH, 4)

    return trained


def drawn(model):
    """What the model's sampler would draw at a step, and log q."""
    table = tf.random.stateless_normal([81, 8], [0, 0])
    positives = tf.range(1, 5)
    items = tf.gather(table, positives)
    negatives = tf.constant([[5, 6], [7, 0], [0, 0], [8, 9]])
    embed = functools.partial(tf.gather, table)
    batch = Batch(items, positives, items, embed, 5, 2, negatives, training=False)
    candidates = model.negatives.draw(batch)
    return [
        *(c.ids for c in candidates),
        *(c.vectors for c in candidates),
        model.negatives.log_q(range(81), batch),
    ]


def assert_same(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


def allowed(negatives, loss):
    """Whether a loss takes what a sampler draws; what it does not take, it refuses by name."""
    sampler, loss = make_part("negatives", negatives), make_part("loss", loss)
    try:
        loss.check_negatives(sampler)
    except ValueError as error:
        for name in (type(sampler).__name__, type(loss).__name__, "use "):
            assert name in str(error)
        return False
    return True


@pytest.mark.parametrize("negatives, loss", pairs_of(EACH))
def test_it_learns(negatives, loss, make_model, losses_of):
    if not allowed(negatives, loss):
        with pytest.raises(ValueError):
            make_model(negatives, loss)
        return
    _, means = losses_of(negatives, loss)
    assert np.isfinite(means).all() and min(means) >= 0
    assert means[-1] < 0.97 * means[0]


@pytest.mark.parametrize("negatives, loss", pairs_of(FORMS))
def test_xla_learns_the_same(negatives, loss, make_model, train, losses_of):
    if not allowed(negatives, loss):
        pytest.skip("refused by name")
    first, _ = losses_of(negatives, loss)
    compiled = train(make_model(negatives, loss, jit=True), 1, STEPS)
    np.testing.assert_allclose(compiled, first, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "negatives, loss",
    [
        pytest.param(*pair, marks=[pytest.mark.slow] * (pair[0] in HELD))
        for pair in EACH
        if pair not in FORMS
    ],
)
def test_xla_draws_and_loses_the_same(negatives, loss, make_model, batches):
    plain, compiled = make_model(negatives, loss), make_model(negatives, loss, jit=True)
    under_xla = tf.function(compiled, jit_compile=True, autograph=False)
    for step in range(STEPS):
        batch = tf.nest.map_structure(tf.constant, batches(plain).at(step))
        expected, found = plain(batch, training=True), under_xla(batch, training=True)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
        plain.end_step(), compiled.end_step()


@pytest.mark.parametrize("negatives", REGISTRY["negatives"])
@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")  # it has not begun
def test_the_state_survives_a_save(negatives, make_model, batches, tmp_path):
    model, fresh = make_model(negatives, LOSS), make_model(negatives, LOSS)
    for step in range(3):
        model(tf.nest.map_structure(tf.constant, batches(model).at(step)), training=True)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    fresh.load_weights(tmp_path / "model.weights.h5")
    for other in (keras.saving.load_model(tmp_path / "model.keras"), fresh):
        assert_same(model.weights, other.weights)
        assert_same(drawn(model), drawn(other))


HALVES = list(itertools.product(POLICIES, EACH))
FEW = [("easy_hard", LOSS), (SAMPLER, LOSS), (SAMPLER, "nce_loss")]
STAND_FOR_ALL = [(POLICIES[0], each) for each in FEW]


@pytest.mark.parametrize(
    "policy, negatives, loss",
    [
        pytest.param(half, *pair, marks=[pytest.mark.slow] * ((half, pair) not in STAND_FOR_ALL))
        for half, pair in HALVES
    ],
)
def test_half_precision_trains(policy, negatives, loss, make_model, train):
    if not allowed(negatives, loss):
        pytest.skip("refused by name")
    keras.config.set_dtype_policy(policy)
    try:
        model = make_model(negatives, loss)
        before = model.item_tower.features[0].table.embeddings.numpy().astype("f")
        assert np.isfinite(train(model, 5, 2)).all()
        after = model.item_tower.features[0].table.embeddings.numpy().astype("f")
        assert np.isfinite(after).all() and np.any(after != before)
        assert drawn(model)[-1].dtype == tf.float32
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("loss", REGISTRY["loss"])
def test_a_loss_takes_many_samplers(loss):
    taken = [negatives for negatives in REGISTRY["negatives"] if allowed(negatives, loss)]
    assert len(taken) > len(REGISTRY["negatives"]) / 3  # NCELoss has none of a row's own


@pytest.mark.parametrize("negatives", REGISTRY["negatives"])
def test_a_sampler_is_taken_by_many_losses(negatives):
    taken = [loss for loss in REGISTRY["loss"] if allowed(negatives, loss)]
    assert len(taken) > len(REGISTRY["loss"]) / 2


@pytest.mark.parametrize(
    "kind, name",
    [("negatives", n) for n in REGISTRY["negatives"]] + [("loss", n) for n in REGISTRY["loss"]],
)
def test_every_argument_survives_the_config(kind, name):
    part = make_part(kind, name)
    given = {"negatives": SAMPLERS, "loss": LOSSES}[kind][name]()
    assert set(given) == set(keywords(find(kind, name))) - {"kwargs"}, (
        "name every argument in this file"
    )
    config = part.get_config()
    assert set(given) <= set(config)
    again = type(part).from_config(config)
    assert again.get_config() == config
    for key, value in given.items():
        default = keywords(find(kind, name))[key].default
        kept = getattr(again, key)
        if isinstance(value, keras.layers.Layer):
            assert type(kept) is type(value)
        elif isinstance(value, list):
            assert [type(part) for part in kept] == [type(part) for part in value]
        else:
            assert kept == value != default
