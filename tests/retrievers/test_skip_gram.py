"""The binder of the Word2Vec family, on batches cut by hand: against loops, by what trains,
compiled, and saved.
"""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.sessions import ByColumn, ByUser, WithConversion
from tf_recall.losses import BPR, NCE, NEG, SampledSoftmax
from tf_recall.models.airbnb_i2i import AirbnbI2I
from tf_recall.models.item2vec import Item2Vec
from tf_recall.negatives import (
    EasyHard,
    Given,
    HighestInBatch,
    InBatch,
    Mixture,
    Popularity,
    SameGroup,
    Uniform,
)
from tf_recall.positives import ShrinkingWindows, Windows
from tf_recall.retrievers.optimizers import SparseAdagrad
from tf_recall.retrievers.skip_gram import in_window

# The sessions 3 5 3 7 and 2 6, one after the other, then nothing: two segments of 4 centers, and 2
# places either side. A center of the first session has up to 2 contexts on each side, as far as its
# session goes.
BATCH = {
    "item": np.array([[0, 0, 3, 5, 3, 7, 2, 6], [3, 7, 2, 6, 0, 0, 0, 0]], np.int32),
    "left": np.array([[0, 1, 2, 2], [0, 1, 0, 0]], np.int32),
    "right": np.array([[2, 2, 1, 0], [1, 0, 0, 0]], np.int32),
}
CENTERS = [3, 5, 3, 7, 2, 6, 0, 0]
CONTEXTS = [[5], [3, 3, 7], [5, 7], [5, 3], [6], [2], [], []]  # never the center's own item
CONVERSION = {"conversion": np.array([[7, 7, 7, 7], [5, 0, 0, 0]], np.int32)}
CONTEXTS_AND_CONVERSION = [[5, 7], [3, 3, 7, 7], [5, 7, 7], [5, 3], [6, 5], [2], [], []]
NUM_ITEMS, DIM = 8, 4


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(0)
    train = Interactions.from_columns(
        user_id=rng.integers(20, size=200),
        item_id=np.concatenate([np.arange(NUM_ITEMS), rng.integers(NUM_ITEMS, size=192)]),
        items=pd.DataFrame({"item_id": range(NUM_ITEMS), "city": list("aabbbccc")}),
    )
    return train, Catalog.fit(train)


def shared(loss):
    return Item2Vec(DIM, negatives=Popularity(num=6, seed=2), loss=loss)


def with_own(loss):
    return AirbnbI2I("city", Windows(), DIM, EasyHard(Uniform(4), SameGroup("city"), ratio=2), loss)


@pytest.fixture
def make(world):
    """An adapted model, its tables filled at random, and the tables: the items as centers and as
    contexts.
    """

    def adapted(kind=shared, loss=None, jit=False):
        keras.utils.set_random_seed(0)
        model = kind(loss or NEG(3)).adapt(*world)
        rng = np.random.default_rng(1)
        tables = model.item_tower.features[0].table.embeddings, model.contexts.embeddings
        for table in tables:
            table.assign(rng.normal(size=table.shape))
        model.compile(SparseAdagrad(0.1), jit_compile=jit)
        return model, *tables

    return adapted


def draws(model, monkeypatch):
    """A list that comes to hold what the model draws, by call."""
    drawn, draw = [], model.negatives.draw

    def recorded(batch):
        drawn.append(draw(batch))
        return drawn[-1]

    monkeypatch.setattr(model.negatives, "draw", recorded)
    return drawn


def softplus(x):
    return np.logaddexp(0, x)


def twin(centers, contexts, drawn, of, negatives, temperature, price, own_once):
    """Pair by pair, as if each were a row of its own: the sum over a center's contexts, in the mean
    over centers.
    """
    total = 0.0
    for t, item in enumerate(CENTERS):
        shared = np.concatenate([part.ids.numpy() for part in drawn if part.shared])
        own = np.concatenate(
            [np.zeros(0, int), *(part.ids.numpy()[t] for part in drawn if not part.shared)]
        )
        share = negatives / (len(shared) if own_once else len(shared) + len(own))
        rows = [
            *((row, share) for row in shared),
            *((row, 1 if own_once else share) for row in own),
        ]
        for context in of[t]:
            total += softplus(price[context] - centers[item] @ contexts[context] / temperature)
            for row, weight in rows:
                gap = centers[item] @ contexts[row] / temperature - price[row]
                total += weight * softplus(gap) * (row != context)
    return total / len(CENTERS)


def test_in_window_by_hand():
    found = in_window(*(tf.constant(BATCH[name]) for name in ("item", "left", "right"))).numpy()
    segment = [
        [0, 0, 0, 1, 0, 0, 0, 0],  # 3: the other 3 is no context of it
        [0, 0, 1, 0, 1, 1, 0, 0],
        [0, 0, 0, 1, 0, 1, 0, 0],  # 3 once more: 5 and 7, not 2 of the next session
        [0, 0, 0, 1, 1, 0, 0, 0],
    ]
    np.testing.assert_array_equal(found[0], np.array(segment, bool))
    np.testing.assert_array_equal(found[1, :2], np.eye(8, dtype=bool)[[3, 2]])
    assert not found[1, 2:].any()
    reached = found * BATCH["item"][:, None]  # [G, I, J]
    assert [sorted(row[row > 0]) for row in reached.reshape(8, 8)] == [
        sorted(items) for items in CONTEXTS
    ]


@pytest.mark.parametrize("conversion", [False, True], ids=["window", "conversion"])
@pytest.mark.parametrize("loss", [NEG, NCE])
@pytest.mark.parametrize("kind", [shared, with_own])
def test_the_loss_is_the_sum_over_contexts_in_the_mean_over_centers(
    kind, loss, conversion, make, monkeypatch
):
    model, centers, contexts = make(kind, loss(3, temperature=0.5))
    drawn = draws(model, monkeypatch)
    value = model(BATCH | (CONVERSION if conversion else {}), training=True).numpy()
    (drawn,) = drawn
    # accidental hits are put to the test
    assert any(set(CENTERS) & set(np.ravel(part.ids)) for part in drawn)
    price = np.zeros(NUM_ITEMS + 1)
    if loss is NCE:
        price = model.negatives.log_q(tf.range(NUM_ITEMS + 1)).numpy() + np.log(3)
    of = CONTEXTS_AND_CONVERSION if conversion else CONTEXTS
    expected = twin(
        centers.numpy(), contexts.numpy(), drawn, of, 3, 0.5, price, own_once=loss is NEG
    )
    assert value == pytest.approx(expected, rel=1e-5)


def test_own_negatives_are_of_the_centers_own_group(make, monkeypatch, world):
    model, *_ = make(with_own)
    drawn = draws(model, monkeypatch)
    model(BATCH)
    ((_, own),) = drawn
    city = np.concatenate([["nothing"], world[1].item_table["city"]])
    for t in range(6):
        assert set(city[own.ids.numpy()[t]]) == {city[CENTERS[t]]}


def train(model, batch, steps):
    data = tf.data.Dataset.from_tensors(batch).repeat()
    return model.fit(data, steps_per_epoch=1, epochs=steps, shuffle=False, verbose=0).history[
        "loss"
    ]


@pytest.mark.parametrize("kind", [shared, with_own])
def test_what_fills_up_a_batch_trains_nothing(kind, make, monkeypatch):
    """Row 0, and an item that is beside no center of its session and is not drawn."""
    model, centers, contexts = make(kind)
    before = [table.numpy() for table in (centers, contexts)]
    train(model, BATCH | CONVERSION, 1)
    moved = [
        np.any(table.numpy() != was, axis=1)
        for table, was in zip((centers, contexts), before, strict=True)
    ]
    np.testing.assert_array_equal(np.flatnonzero(moved[0]), sorted(set(CENTERS) - {0}))
    assert moved[1][[2, 3, 5, 6, 7]].all() and not moved[1][0]


def test_a_batch_of_nothing_loses_nothing(make):
    model, *tables = make()
    before = [table.numpy() for table in tables]
    nothing = {name: np.zeros_like(value) for name, value in BATCH.items()}
    batch = {name: tf.constant(value) for name, value in nothing.items()}
    assert [model.train_on_batch(batch) for _ in range(2)] == [0, 0]
    with pytest.raises(ValueError, match="the loss is 0 throughout the first epoch"):
        train(make()[0], nothing, 2)
    for table, was in zip(tables, before, strict=True):
        np.testing.assert_array_equal(table.numpy(), was)


@pytest.mark.slow
def test_xla_learns_the_same(make):
    plain, compiled = make(with_own, NCE(3)), make(with_own, NCE(3), jit=True)
    np.testing.assert_allclose(
        train(compiled[0], BATCH | CONVERSION, 3), train(plain[0], BATCH | CONVERSION, 3), rtol=1e-5
    )
    for one, other in zip(compiled[1:], plain[1:], strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-3, atol=1e-5)


def test_half_precision_trains(make):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model, *tables = make(with_own)
        losses = train(model, BATCH | CONVERSION, 4)
        assert np.isfinite(losses).all() and losses[-1] < losses[0]
        assert all(np.isfinite(table.numpy()).all() for table in tables)
        assert np.isfinite(model.embed_query({"user": tf.constant([0, 1, 2])}).numpy()).all()
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize(
    "negatives",
    [
        InBatch(),
        Given(2),
        HighestInBatch(2),
        Mixture([Uniform(4), InBatch()]),
        EasyHard(Uniform(4), Given(2)),
    ],
    ids=lambda negatives: negatives.name,
)
def test_refuses_negatives_of_other_rows(negatives):
    with pytest.raises(
        ValueError, match=f"{type(negatives).__name__} needs them: use Popularity, Uniform"
    ):
        Item2Vec(negatives=negatives)


@pytest.mark.parametrize("loss", [SampledSoftmax(), BPR()])
def test_refuses_losses_of_one_positive(loss):
    message = f"several positives a row: it learns by .*NEG.*, not by {type(loss).__name__}"
    with pytest.raises(ValueError, match=message):
        Item2Vec(loss=loss)


def item2vec():
    positives = ShrinkingWindows(ByColumn("invoice"), window=3, alpha=0.01)
    return Item2Vec(DIM, positives, Uniform(5, seed=3), NCE(4, temperature=0.3), 7)


def airbnb():
    positives = Windows(WithConversion(ByUser(), "conversion"), window=2)
    return AirbnbI2I(
        "city", positives, DIM, EasyHard(Uniform(4), SameGroup("city"), ratio=2), NEG(4), 7
    )


@pytest.mark.parametrize("of", [item2vec, airbnb])
def test_the_keras_round_trip(of, world, tmp_path):
    model = of().adapt(*world)
    model.compile()
    train(model, BATCH, 2)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again) is type(model) and again.get_config() == model.get_config()
    assert type(again.positives) is type(model.positives)
    assert again.positives.get_config() == model.positives.get_config()
    assert type(again.positives.sessions) is type(model.positives.sessions)
    assert again(BATCH).numpy() == pytest.approx(model(BATCH).numpy(), rel=1e-6)
    users = {"user": tf.range(20)}
    np.testing.assert_array_equal(again.embed_query(users), model.embed_query(users))
    # the optimizer's state is there
    assert train(again, BATCH, 2) == pytest.approx(train(model, BATCH, 2), rel=1e-5)
