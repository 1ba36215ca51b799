"""Growth by hand: what is new starts as what is usual, codes stay, slots begin anew."""

from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tf_recall.data.catalog import Catalog
from tf_recall.data.growth import joined
from tf_recall.data.interactions import Interactions
from tf_recall.features import (
    Buckets,
    Categorical,
    Crossed,
    Id,
    MultiValued,
    Numeric,
    Pretrained,
    Text,
)
from tf_recall.models.two_tower import TwoTower
from tf_recall.negatives import CrossBatch, InBatch, Mixture, Streaming, Uniform
from tf_recall.retrievers.optimizers import LazyAdam, SparseAdagrad
from tf_recall.towers.features import FeatureTower


def log(users, items, start=0):
    return Interactions.from_columns(
        [f"u{n}" for n in users], items, timestamp=start + np.arange(len(items))
    )


FIRST = log([1, 1, 2, 2, 3, 3], list("abbcca"))
LATER = log([1, 4, 4, 2], list("ddab"), start=100)


def fitted(model, train=FIRST, optimizer=None):
    keras.utils.set_random_seed(0)
    catalog = Catalog.fit(train)
    model.adapt(train, catalog).compile(optimizer, run_eagerly=True)  # three steps: not worth more
    steps(model, train, catalog)
    return model, catalog


def steps(model, train, catalog, num=3):
    batches = model.batches(train, catalog, batch_size=4)
    start = model.next_batch(batches.steps_per_epoch)
    model.fit(batches.dataset(start), steps_per_epoch=num, shuffle=False, verbose=0)


def grown(model, catalog, first=FIRST, later=LATER):
    both = joined(first, later)
    catalog = catalog.grown(both)
    return model.grown(both, catalog), both, catalog


def ids(model, side="item_tower"):
    return getattr(model, side).features[0].table.embeddings


def test_the_counts_are_those_of_what_is_learned_next():
    model, catalog = fitted(TwoTower(dim=4))
    model, _, catalog = grown(model, catalog)
    rows = catalog.items.encode(["d", "a", "c"])
    # d twice and a once of four new events; c has none, and counts as one
    expected = np.log([2 / 4, 1 / 4, 1 / 4])
    np.testing.assert_allclose(model.negatives.log_q(rows), expected, rtol=1e-6)


@pytest.mark.parametrize("weight_decay", [None, 0.5])
def test_slots_of_new_rows_begin_as_those_of_a_new_optimizer(weight_decay):
    optimizer = SparseAdagrad(0.1, initial_accumulator_value=0.25, weight_decay=weight_decay)
    model, catalog = fitted(TwoTower(dim=4), optimizer=optimizer)
    new, _, catalog = grown(model, catalog)
    at = int(catalog.items.encode(["d"])[0])
    (index,) = [n for n, each in enumerate(new.trainable_variables) if each is ids(new)]
    slots = new.optimizer._accumulators[index].numpy()
    np.testing.assert_array_equal(slots[at], np.full(4, 0.25))
    np.testing.assert_array_equal(slots[:at], model.optimizer._accumulators[index])
    assert int(new.optimizer.iterations) == int(model.optimizer.iterations) == 3
    if weight_decay:  # else the first batch would shrink it by all that passed before it was there
        last = new.optimizer._last_decays[index].numpy()
        assert last[at] == float(new.optimizer._log_decay.numpy()) < 0


OPTIMIZERS = {
    "adam": lambda: keras.optimizers.Adam(0.01, amsgrad=True),
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(LazyAdam()),
    "averaged": lambda: keras.optimizers.Adam(0.01, use_ema=True),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_any_optimizer_of_keras_keeps_what_it_knows(name):
    model, catalog = fitted(TwoTower(dim=4), optimizer=OPTIMIZERS[name]())
    new, both, catalog = grown(model, catalog)
    pairs = list(zip(new.optimizer.variables, model.optimizer.variables, strict=True))
    for now, known in pairs:
        size = known.shape[:1]
        kept = now.numpy() if now.shape == known.shape else now.numpy()[: size[0]]
        np.testing.assert_array_equal(kept, known)
    assert any(now.shape != known.shape for now, known in pairs)
    steps(new, both, catalog)


def test_the_state_of_streams_and_caches_stays_unless_rows_move():
    sampler = Mixture([InBatch(Streaming(64)), CrossBatch(8, warm_up=0), Uniform(4)])
    model, catalog = fitted(TwoTower(dim=4, negatives=sampler))
    new, both, _ = grown(model, catalog)
    stream, cache = (model.negatives.samplers[n] for n in range(2))
    now, filled = (new.negatives.samplers[n] for n in range(2))
    assert int(now.frequency.now.numpy()) == int(stream.frequency.now.numpy()) == 12
    np.testing.assert_array_equal(filled.ids, cache.ids)
    moved = catalog.grown(LATER, keep=False)
    begun = model.grown(LATER, moved)
    assert not begun.negatives.samplers[1].ids.numpy().any()
    assert int(begun.negatives.samplers[0].frequency.now.numpy()) == 0
    kept = moved.items.encode(["a", "b"])
    np.testing.assert_array_equal(
        ids(begun).numpy()[kept], ids(model).numpy()[catalog.items.encode(["a", "b"])]
    )


def test_a_row_that_was_never_trained_starts_as_the_mean_too():
    table = pd.DataFrame({"item_id": list("abcd"), "color": list("rgbr")})
    model, catalog = fitted(TwoTower(dim=4), replace(FIRST, items=table))
    at = int(catalog.items.encode(["d"])[0])
    assert model.item_tower.tables["id"].numpy()[at] == 0
    new, _, catalog = grown(model, catalog)
    assert new.item_tower.tables["id"].numpy()[at] == at
    np.testing.assert_allclose(ids(new)[at], ids(model)[0])  # as what is unknown


@pytest.mark.parametrize("unknown_rate", [0.1, 0.0])
def test_a_new_row_starts_as_the_unknown_one_or_where_that_learns_nothing_as_the_mean(unknown_rate):
    tower = FeatureTower("item", [Id(4, unknown_rate=unknown_rate)])
    model, catalog = fitted(TwoTower(None, tower, dim=4))
    new, _, catalog = grown(model, catalog)
    at = int(catalog.items.encode(["d"])[0])
    mean = ids(model).numpy()[1:].mean(axis=0)
    np.testing.assert_allclose(ids(new)[at], ids(model)[0] if unknown_rate else mean, rtol=1e-5)


ITEMS = pd.DataFrame(
    {
        "item_id": list("abc"),
        "color": ["red", "blue", "red"],
        "tags": ["x|y", "y", "z"],
        "title": ["old tea", "new tea", "rum"],
        "price": [1.0, 2.0, 9.0],
        "image": [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]],
    }
)
NEW = pd.DataFrame(
    {
        "item_id": ["d", "a"],
        "color": ["green", "blue"],
        "tags": ["w|x", "x"],
        "title": ["green tea", "old tea"],
        "price": [100.0, 5.0],
        "image": [[3.0, 3.0], [1.0, 0.0]],
    }
)


def described():
    features = [
        Id(4),
        Categorical("color", 3),
        MultiValued("tags", 3),
        Text("title", 3),
        Numeric("price"),
        Buckets("price", 3, num_buckets=3),
        Pretrained("image"),
        Crossed(["color", {"column": "price", "quantiles": 2}], 4),
    ]
    return TwoTower(None, FeatureTower("item", features, units=[4]), dim=4)


@pytest.fixture(scope="module")
def of_features():
    """A model of all of them, and its catalog."""
    return fitted(described(), replace(FIRST, items=ITEMS))


def test_features_keep_what_they_know_and_learn_new_values(of_features):
    model, catalog = of_features
    new, both, catalog = grown(model, catalog, later=replace(LATER, items=NEW))
    items = new.item_tower
    color, crossed = items.features[1], items.features[7]
    assert color.vocabulary.ids.tolist() == ["red", "blue", "green"]
    a, b, c, d = catalog.items.encode(list("abcd"))
    codes = items.tables[color.name].numpy()
    # a is blue by now; nothing is said of b and c, which stay as they were
    assert codes[[a, b, c, d]].tolist() == [2, 2, 1, 3]
    price = items.features[4]
    assert float(price.mean.numpy()) == float(model.item_tower.features[4].mean.numpy()) == 4.0
    known = model.item_tower.tables["crossed_color_price"].numpy()
    rows = crossed.rows(items.tables[crossed.name].numpy()).numpy()
    before = model.item_tower.features[7]
    then = before.rows(known).numpy()
    for row in (b, c):
        np.testing.assert_array_equal(
            crossed.table.embeddings[rows[row]], before.table.embeddings[then[row]]
        )
    assert rows[d] > 0  # green and dear is a combination of its own
    steps(new, both, catalog)


def test_a_side_table_is_asked_for_where_new_rows_need_it(of_features):
    model, catalog = of_features
    with pytest.raises(ValueError, match="needs column 'color' of new items: give a side table"):
        grown(model, catalog)
    later = log([1, 4], list("ab"), start=100)
    new, both, catalog = grown(model, catalog, later=later)  # no item is new
    name = "categorical_color"
    np.testing.assert_array_equal(new.item_tower.tables[name], model.item_tower.tables[name])
    steps(new, both, catalog)


def test_a_catalog_that_did_not_grow_out_of_the_models_is_refused():
    model, catalog = fitted(TwoTower(dim=4))
    with pytest.raises(ValueError, match="takes the grown catalog: catalog.grown"):
        model.grown(LATER, Catalog.fit(LATER))
    with pytest.raises(ValueError, match="do not go together"):
        model.grown(LATER, Catalog.fit(LATER).grown(FIRST))
    with pytest.raises(ValueError, match="learned nothing yet"):
        TwoTower(dim=4).grown(LATER, catalog)


def test_a_model_that_has_grown_begins_with_a_whole_epoch_of_its_batches():
    model, catalog = fitted(TwoTower(dim=4), optimizer=LazyAdam())
    new, *_ = grown(model, catalog)
    assert (new.first_step, new.first_epoch) == (3, 1)
    assert new.next_batch(2) == 4  # not 3, within the second
    new.step.assign_add(1)
    assert new.next_batch(2) == 5


def test_a_step_of_a_catalog_that_has_tripled_touches_no_whole_table():
    model, catalog = fitted(TwoTower(dim=4), optimizer=SparseAdagrad(0.1, weight_decay=0.1))
    names = [f"i{n}" for n in range(1009)]
    later = log(np.arange(1009) + 10, names, start=100)
    new, both, catalog = grown(model, catalog, later=later)
    sizes = {catalog.users.size, catalog.items.size}
    batches = new.batches(both, catalog, batch_size=4)
    batch = tf.nest.map_structure(tf.constant, batches.at(0))

    @tf.function
    def step(batch):
        with tf.GradientTape() as tape:
            loss = new(batch, training=True)
        variables = new.trainable_variables
        new.optimizer.apply(tape.gradient(loss, variables), variables)

    graph = step.get_concrete_function(batch).graph
    whole = {
        each.type
        for each in graph.get_operations()
        for output in each.outputs
        if output.shape.rank and output.shape[0] in sizes
    }
    assert whole <= {"ReadVariableOp", "Placeholder"}, whole
    step(batch)
