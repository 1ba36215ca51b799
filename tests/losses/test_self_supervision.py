"""Self-supervision: the loss by hand and by a loop, what it moves, and what it finds."""

import math

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import tf_recall as tr
from tf_recall.config import Config
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.features import Categorical, Id, MultiValued
from tf_recall.features.views import CorrelatedMask, RandomMask, ValueDropout
from tf_recall.index import Exact
from tf_recall.losses.self_supervision import SelfSupervision, contrast
from tf_recall.registry import REGISTRY, find, keywords


@pytest.fixture(scope="module")
def world():
    log = synthetic(100, 60, 2000, seed=1).interactions
    return log, tr.Catalog.fit(log)


def made(world, extra, kind=None, **compiling):
    keras.utils.set_random_seed(0)
    items = tr.FeatureTower("item", [Id(8), MultiValued("genres", 8)], units=[16])
    model = tr.TwoTower(tr.FeatureTower("user", [Id(16)]), items, self_supervision=extra)
    model.adapt(*world).compile(**compiling)
    return model


def fitted(model, world, first, steps):
    batches = model.batches(*world, batch_size=128)
    fit = model.fit(batches.dataset(first), steps_per_epoch=steps, verbose=0, shuffle=False)
    return {name: values[0] for name, values in fit.history.items()}


def test_the_loss_by_hand():
    """Two items, b' = x and y, b'' = (0.6, 0.8) and y, temperature 0.5.

    cosines: x against both 0.6 and 0; y against both 0.8 and 1
    item 1: log(1 + exp((0 - 0.6) / 0.5)) = log(1 + exp(-1.2)) = 0.263282
    item 2: log(1 + exp((0.8 - 1) / 0.5)) = log(1 + exp(-0.4)) = 0.513015
    """
    one = tf.constant([[1.0, 0.0], [0.0, 1.0]])
    other = tf.constant([[0.6, 0.8], [0.0, 1.0]])
    found = contrast(one, other, tf.constant([3, 8]), 0.5)
    assert float(found) == pytest.approx((0.263282 + 0.513015) / 2, rel=1e-5)
    # one item twice: each is told from nothing
    assert float(contrast(one, other, tf.constant([3, 3]), 0.5)) == pytest.approx(0, abs=1e-6)


def test_against_a_loop(world):
    """The tower is asked item by item, with the codes of the views."""
    extra = SelfSupervision([RandomMask(0.3), ValueDropout()], 0.7, 0.2, num=12, seed=5)
    model = made(world, extra)
    tower, step = model.item_tower, tf.constant(4, tf.int64)
    rows = extra.rows(tower.num_rows - 1, step)
    sides = []
    for codes in extra.codes(tower, rows, step):
        side = []
        for at in range(12):
            inputs = {name: of_rows[at : at + 1] for name, of_rows in codes.items()}
            vector = tower({"item": rows[at : at + 1], **inputs}, training=True).numpy()[0]
            side.append(vector / np.linalg.norm(vector))
        sides.append(side)
    losses = []
    for i in range(12):
        others = [j for j in range(12) if j == i or rows[j] != rows[i]]
        scores = {j: math.exp(sides[0][i] @ sides[1][j] / 0.2) for j in others}
        losses.append(-math.log(scores[i] / sum(scores.values())))
    found = float(extra.of(tower, step))
    assert found == pytest.approx(0.7 * np.mean(losses), rel=1e-4)
    assert float(extra.mean.result()) == pytest.approx(np.mean(losses), rel=1e-4)


def test_items_are_drawn_evenly_whatever_their_clicks():
    extra = SelfSupervision(num=1000)
    drawn = np.concatenate([extra.rows(20, tf.constant(step, tf.int64)) for step in range(50)])
    counts = np.bincount(drawn, minlength=21)
    assert counts[0] == 0 and len(counts) == 21
    # 50,000 draws of 20 items: 2,500 each, five deviations are 244
    assert np.abs(counts[1:] - 2500).max() < 250


def test_it_acts_in_training_alone_and_the_logs_have_it(world):
    plain, extra = made(world, None), made(world, SelfSupervision(num=32))
    batch = tf.nest.map_structure(tf.constant, plain.batches(*world, 128).at(0))
    assert float(plain(batch)) == float(extra(batch))
    data = extra.batches(*world, 128).dataset().take(2)
    assert extra.evaluate(data, verbose=0) == pytest.approx(plain.evaluate(data, verbose=0))
    logs, without = (fitted(each, world, 0, 1) for each in (extra, plain))
    whole = without["loss"] + 0.1 * logs["self_supervision"]
    assert logs["loss"] == pytest.approx(whole, rel=1e-5) and "self_supervision" not in without


def test_it_moves_items_that_no_batch_has(world):
    """Categories of new items alone are trained by it, and by nothing else."""
    log, _ = world
    items = pd.concat(
        [
            log.items.assign(kind="old"),
            pd.DataFrame({"item_id": [f"n{n}" for n in range(9)], "kind": "new", "genres": "x"}),
        ]
    )
    train = tr.Interactions(log.frame, items=items.assign(kind=items["kind"]))
    catalog = tr.Catalog.fit(train)

    def unknown_moved(extra):
        keras.utils.set_random_seed(0)
        tower = tr.FeatureTower("item", [Id(4, unknown_rate=0), Categorical("kind", 4)], [8])
        model = tr.TwoTower(tr.FeatureTower("user", [Id(8)]), tower, self_supervision=extra)
        model.adapt(train, catalog).compile()
        table = model.item_tower.features[0].table.embeddings
        before = table.numpy()[0]
        fitted(model, (train, catalog), 0, 3)
        return np.abs(table.numpy()[0] - before).max()

    assert unknown_moved(None) == 0
    assert unknown_moved(SelfSupervision(num=32)) > 1e-4


@pytest.mark.parametrize("kinds", [[CorrelatedMask, ValueDropout], [RandomMask]])
def test_a_run_that_is_interrupted_ends_like_one_that_is_not(world, kinds, tmp_path):
    whole = made(world, SelfSupervision([kind() for kind in kinds], num=16))
    fitted(whole, world, 0, 6)
    half = made(world, SelfSupervision([kind() for kind in kinds], num=16))
    fitted(half, world, 0, 3)
    half.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert int(again.step) == 3
    fitted(again, world, 3, 3)
    for one, other in zip(whole.trainable_variables, again.trainable_variables, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_under_xla_and_in_half_precision_it_learns_the_same(world):
    plain = fitted(made(world, SelfSupervision(num=16)), world, 0, 3)
    xla = fitted(made(world, SelfSupervision(num=16), jit_compile=True), world, 0, 3)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = fitted(made(world, SelfSupervision(num=16)), world, 0, 3)
    finally:
        keras.config.set_dtype_policy(before)
    for name, value in plain.items():
        assert xla[name] == pytest.approx(value, rel=1e-4)
        assert half[name] == pytest.approx(value, rel=0.05)


def test_who_has_nothing_to_leave_out_is_told_what_to_type(world):
    with pytest.raises(ValueError, match=r"this TwoTower has id: give it features, such as item_"):
        tr.TwoTower(self_supervision=SelfSupervision())
    with pytest.raises(ValueError, match=r"this YouTubeDNN has id: take TwoTower with item_tower"):
        tr.YouTubeDNN(dim=4, self_supervision=SelfSupervision())
    items = tr.FeatureTower("item", [Id(4), Categorical("genres", 4)])
    users = tr.FeatureTower("user", [Id(8)])
    with pytest.raises(ValueError, match="values of MultiValued or Text features, and the item"):
        tr.TwoTower(users, items, self_supervision=SelfSupervision([ValueDropout()]))
    model = tr.TwoTower(users, items, self_supervision=SelfSupervision())
    assert [type(view) for view in model.self_supervision.views] == [RandomMask]
    for wrong in ({"weight": 0}, {"temperature": 0}, {"num": 1}, {"views": []}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            SelfSupervision(**wrong)


FEATURES = [{"name": "id", "dim": 8}, {"name": "multi_valued", "column": "genres", "dim": 8}]
QUERY = {"features": [{"name": "id", "dim": 8}]}
TOWERS = {  # where they are not of features through an MLP
    "two_tower": {"query_tower": QUERY},
    "graph_sage": {"query_tower": QUERY},
    "eges": {"item_tower": {"name": "weighted", "features": FEATURES}},
    "fm": {
        "query_tower": {"features": ["id"], "num_factors": 8},
        "item_tower": {"features": FEATURES, "num_factors": 8},
    },
}
TAKES = [name for name in REGISTRY["model"] if "self_supervision" in keywords(find("model", name))]


QUICKLY = ("eges", "fm", "graph_sage", "item2vec")  # of each kind of tower one; the others are slow


@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=[pytest.mark.slow] * (each not in QUICKLY)) for each in TAKES],
)
def test_every_model_with_an_item_tower_learns_by_it(name, world):
    items = {"features": FEATURES, "units": [8]}
    extra = {"num": 16, "weight": 0.3, "views": ["correlated_mask", "value_dropout"]}
    model = {"name": name, "item_tower": items, "self_supervision": extra, **TOWERS.get(name, {})}
    config = {"data": "synthetic", "split": "random", "model": model}
    made = Config.from_dict(config).make_model().adapt(*world)
    made.compile()
    logs = fitted(made, world, 0, 2)
    assert 0 < logs["self_supervision"] < 10 and np.isfinite(logs["loss"])


def test_a_config_needs_no_name_for_it():
    model = {"name": "two_tower", "dim": 8, "item_tower": {"features": ["id", "x"], "units": [8]}}
    model["item_tower"]["features"] = [{"name": "id"}, {"name": "text", "column": "title"}]
    model["self_supervision"] = {"views": ["random_mask", {"name": "value_dropout"}], "weight": 0.3}
    values = {"data": "synthetic", "split": "random", "model": model}
    model["query_tower"] = {"features": [{"name": "id", "dim": 8}]}
    extra = Config.from_dict(values).make_model().self_supervision
    assert extra.weight == 0.3 and [type(each) for each in extra.views] == [
        RandomMask,
        ValueDropout,
    ]
    model["self_supervision"] = {"wait": 1}
    with pytest.raises(ValueError, match="takes no 'wait'; .*views, weight, temperature, num"):
        Config.from_dict(values).make_model()
    space = tr.tune.__globals__["Space"]
    model["self_supervision"] = {"views": ["random_mask"]}
    names = [each.name for each in space.of(Config.from_dict(values)).every()]
    assert {"model.self_supervision.weight", "model.self_supervision.views[0].rate"} <= set(names)


@pytest.mark.slow
def test_a_planted_long_tail_is_found():
    """Users of 4 kinds like popular items of their kind, which have tags of their kind.

    Rare items have tags too, and a brand, and one event each, by anybody: it tells nothing of the
    brand, and the catalog tells which tags it goes with. New items have a brand alone.
    """
    rng = np.random.default_rng(0)
    kinds, num = 4, 240
    kind = np.arange(num) % kinds
    popular, new = np.arange(num) < 80, np.arange(num) >= 200
    drawn = ["|".join(f"t{kind[n]}_{t}" for t in rng.permutation(4)[:2]) for n in range(num)]
    brand = [f"b{kind[n]}_{rng.integers(2)}" for n in range(num)]
    items = pd.DataFrame(
        {
            "item_id": [f"i{n}" for n in range(num)],
            "tags": np.where(new, "", drawn),
            "brand": np.where(popular, "", brand),
        }
    )
    users = np.repeat(np.arange(300), 10)
    liked = users % kinds + kinds * np.minimum(rng.geometric(0.15, len(users)) - 1, 19)
    users = np.concatenate([users, rng.integers(0, 300, 120)])
    liked = np.concatenate([liked, np.arange(80, 200)])
    frame = {"user_id": [f"u{n}" for n in users], "item_id": [f"i{n}" for n in liked]}
    train = tr.Interactions.from_columns(**frame, items=items)
    catalog = tr.Catalog.fit(train)
    everybody = [f"u{n}" for n in range(300)]

    def of_own_kind(extra):
        """How many of the first 5 popular, and new, items of a list are of the user's kind."""
        keras.utils.set_random_seed(0)
        features = [Id(16), MultiValued("tags", 16), Categorical("brand", 16)]
        model = tr.TwoTower(
            tr.FeatureTower("user", [Id(16)]),
            tr.MeanTower("item", features),
            negatives=tr.Mixture([tr.InBatch(), tr.Uniform(64)]),
            loss=tr.SampledSoftmax(0.2),
            self_supervision=extra,
        ).adapt(train, catalog)
        model.compile()
        batches = model.batches(train, catalog, 256)
        steps = batches.steps_per_epoch
        model.fit(batches.dataset(), steps_per_epoch=steps, epochs=12, verbose=0, shuffle=False)
        service = tr.Service.build(model, catalog, Exact(), k_max=5)
        found = []
        for some in (popular, new):
            best, _ = service.recommend(everybody, 5, allow=[f"i{n}" for n in np.flatnonzero(some)])
            number = np.char.lstrip(best.astype(str), "i").astype(int)
            found.append((number % kinds == np.arange(300)[:, None] % kinds).mean())
        return found

    head, tail = of_own_kind(None)
    helped_head, helped_tail = of_own_kind(SelfSupervision(weight=1.0, num=64))
    print(head, tail, helped_head, helped_tail)
    assert helped_tail > tail + 0.2
    assert helped_head > head - 0.02
