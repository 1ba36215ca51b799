"""Dropout in towers: what it leaves out, that a row has one draw in a step, and how it goes on."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import tf_recall as tr
from tf_recall.data.draws import unit_of
from tf_recall.features import Categorical, Id
from tf_recall.towers.dropout import RowDropout
from tf_recall.towers.features import FeatureTower

ROWS = tf.constant([1, 2, 3])


@pytest.fixture(scope="module")
def world():
    random = np.random.default_rng(0)
    train = tr.Interactions.from_columns(
        user_id=random.integers(20, size=300),
        item_id=random.integers(12, size=300),
        items=pd.DataFrame({"item_id": range(12), "city": [f"city {at % 3}" for at in range(12)]}),
    )
    return train, tr.Catalog.fit(train)


def tower(world, entity="item", **options):
    keras.utils.set_random_seed(0)
    features = [Id(8, unknown_rate=0.0), *([Categorical("city", 8)] if entity == "item" else [])]
    made = FeatureTower(entity, features, **options)
    made.adapt(*world)
    return made


def test_slow_twin(world):
    """The concatenation and the hidden layer lose numbers, the last layer none."""
    made = tower(world, units=[6, 4], normalize=False, dropout=0.4, seed=7)
    made.end_step()
    made.end_step()
    kernels = [layer.kernel.numpy() for layer in made.dense]
    biases = [layer.bias.numpy() for layer in made.dense]
    rows = [1, 5]
    vectors = np.concatenate(
        [each.numpy() for each in made.vectors({"item": tf.constant(rows)})], 1
    )

    def dropped(vector, row, depth):
        ids = (row + depth * 2**31) * 2**20 + np.arange(len(vector))
        drawn = unit_of(tf.constant(ids), [made.drop.seed, 2]).numpy()
        return np.array([x / 0.6 if u >= 0.4 else 0 for x, u in zip(vector, drawn, strict=True)])

    expected = []
    for row, vector in zip(rows, vectors, strict=True):
        hidden = np.maximum(dropped(vector, row, 0) @ kernels[0] + biases[0], 0)
        expected.append(dropped(hidden, row, 1) @ kernels[1] + biases[1])
    found = made({"item": tf.constant(rows)}, training=True)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_the_share_is_left_out_and_the_mean_stays():
    layer = RowDropout(0.3, seed=0, entity="item")
    found = layer(tf.ones([2000, 50]), tf.range(2000), training=True).numpy()
    assert (found == 0).mean() == pytest.approx(0.3, abs=0.01)
    assert found.mean() == pytest.approx(1, abs=0.01)
    assert np.abs((found == 0).mean(0) - 0.3).max() < 0.05  # each number alike


def test_a_draw_is_of_the_seed_the_step_the_row_the_depth_and_the_entity():
    def kept(seed=0, entity="item", rows=ROWS, depth=0, steps=0, jit=False):
        layer = RowDropout(0.5, seed, entity)
        for _ in range(steps):
            layer.end_step()
        call = tf.function(layer, jit_compile=jit)
        return call(tf.ones([len(rows), 40]), rows, depth=depth, training=True).numpy() > 0

    first = kept()
    np.testing.assert_array_equal(kept(rows=ROWS[::-1])[::-1], first)
    np.testing.assert_array_equal(kept(jit=True), first)
    others = [{"seed": 1}, {"entity": "user"}, {"depth": 1}, {"steps": 1}, {"rows": ROWS + 3}]
    for other in others:
        assert (kept(**other) != first).mean() == pytest.approx(0.5, abs=0.2), other
    assert (first[0] != first[1]).any()


def test_answers_are_without_it_and_no_state_is_kept_where_there_is_none(world):
    plain, with_it = tower(world, units=[4]), tower(world, units=[4], dropout=0.9)
    np.testing.assert_array_equal(plain({"item": ROWS}), with_it({"item": ROWS}))
    assert len(with_it.weights) == len(plain.weights) + 1
    trained = with_it({"item": ROWS}, training=True)
    assert (trained.numpy() != plain({"item": ROWS}).numpy()).any()


def test_an_untrained_step_moves_the_draws_and_a_file_keeps_them(world, tmp_path):
    train, catalog = world
    towers = [FeatureTower(side, [Id(8)], units=[4], dropout=0.5) for side in ("user", "item")]
    model = tr.TwoTower(*towers).adapt(train, catalog)
    model.compile()
    batches = model.batches(train, catalog, 64)
    model.fit(batches.dataset(), steps_per_epoch=3, verbose=0, shuffle=False)
    assert [each.drop.draws.numpy() for each in towers] == [3, 3]
    model.evaluate(batches.dataset(), steps=1, verbose=0)
    assert [each.drop.draws.numpy() for each in towers] == [3, 3]
    model.save(tmp_path / "model.keras")
    again = tr.load_model(tmp_path / "model.keras")
    start = int(model.step.numpy())
    for each in (model, again):
        data = each.batches(train, catalog, 64).dataset(start)
        each.fit(data, steps_per_epoch=3, verbose=0, shuffle=False)
    for one, other in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_in_a_graph_it_is_that_of_the_layers_between_convolutions_too(world, monkeypatch):
    train, catalog = world
    depths, drop = [], RowDropout.call

    def noted(self, vectors, rows, depth=0, training=False):
        depths.append((depth, training))
        assert vectors.shape[1] == (5 if depth else 8)
        return drop(self, vectors, rows, depth, training)

    monkeypatch.setattr(RowDropout, "call", noted)
    towers = [FeatureTower(side, [Id(8)], dropout=0.5) for side in ("user", "item")]
    model = tr.GraphSAGE(*towers, dim=5, fan_outs=[3, 2]).adapt(train, catalog)
    model.compile()
    batches = model.batches(train, catalog, 64)
    model.fit(batches.dataset(), steps_per_epoch=2, verbose=0, shuffle=False)
    assert {depth for depth, training in depths if training} == {0, -1}
    assert [each.drop.draws.numpy() for each in towers] == [2, 2]
    np.testing.assert_array_equal(model.embed_catalog(), model.embed_catalog())


def test_gradients_reach_what_is_kept_alone():
    vectors = tf.Variable(tf.ones([3, 20]))
    layer = RowDropout(0.5, seed=0, entity="item")
    with tf.GradientTape() as tape:
        out = layer(vectors, ROWS, training=True)
    np.testing.assert_array_equal(tape.gradient(out, vectors), np.where(out.numpy() > 0, 2.0, 0.0))


@pytest.mark.parametrize("share", [1.0, -0.1, float("nan")])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(ValueError, match="dropout must be a share from 0 to below 1, not"):
        FeatureTower("item", [Id(4)], dropout=share)
