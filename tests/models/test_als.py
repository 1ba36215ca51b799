"""ALS: sweeps, fold-in, resuming, and what is refused."""

from dataclasses import replace

import keras
import numpy as np
import pytest

import tf_recall as tr
from tf_recall.config import Config, Train
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.runs.model import fit
from tf_recall.runs.prepared import Prepared
from tf_recall.towers.fold_in import Weighing
from tf_recall.tuning.space import Space

CONFIG = {
    "data": {"name": "synthetic", "num_users": 150, "num_items": 80, "num_interactions": 4000},
    "split": {"name": "by_time", "test": 0.1, "validation": 0.1},
    "model": {"name": "als", "dim": 8, "alpha": 1.0, "regularization": 0.02},
    "train": {"epochs": 4, "patience": "never"},
}


@pytest.fixture(scope="module")
def world():
    split = tr.by_time(synthetic(150, 80, 4000, seed=1).interactions, test=0.1)
    return split, tr.Catalog.fit(split.train)


def made(split, catalog, epochs=6, **arguments):
    keras.utils.set_random_seed(0)
    model = tr.ALS(**{"dim": 8, "alpha": 1.0, **arguments}).adapt(split.train, catalog)
    model.compile()
    history = model.train(split.train, catalog, Train(epochs=epochs))
    return model, history.history["loss"]


@pytest.fixture(scope="module")
def model(world):
    return made(*world)[0]


@pytest.fixture(scope="module")
def service(model, world):
    return tr.Service.build(model, world[1], k_max=20)


def histories(catalog, rows):
    return [catalog.items.ids[catalog.histories.of(row) - 1].tolist() for row in rows]


def test_the_loss_falls_with_every_sweep(world):
    _, losses = made(*world)
    assert (np.diff(losses) < 0).all()


def test_a_known_users_own_history_gives_their_vector(service, world):
    _, catalog = world
    rows = np.arange(1, 60)
    known = service.embed_query(catalog.users.ids[rows - 1])
    folded = service.embed_query(["new"] * len(rows), history=histories(catalog, rows))
    np.testing.assert_allclose(folded, known, atol=1e-4)
    assert np.linalg.norm(known, axis=1).min() > 0.1


def test_an_item_counts_once_for_each_time_it_occurs(model, service, world):
    _, catalog = world
    items = catalog.items.ids[[2, 5]].tolist()
    found = service.embed_query(["new"], history=[[items[0], "no item", items[1], items[0]]])[0]
    y, w = model.item_tower.vectors.numpy().astype(np.float64), model.weighing
    some, c = y[[3, 6]], np.array([1 + w.alpha * 2, 1 + w.alpha * 1])
    matrix = w.alpha_0 * y.T @ y + (some.T * c) @ some
    matrix += w.regularization * (2 + w.alpha_0 * catalog.num_items) ** w.nu * np.eye(8)
    np.testing.assert_allclose(found, np.linalg.solve(matrix, some.T @ c), atol=1e-5)


def test_a_request_overrides_what_is_stored_and_strangers_get_everybodys(model, service, world):
    _, catalog = world
    user, items = catalog.users.ids[0], catalog.items.ids[:3].tolist()
    given = service.embed_query([user, user, "new"], history=[items, [], []])
    alone = service.embed_query(["new"], history=[items])
    np.testing.assert_allclose(given[0], alone[0], atol=1e-6)
    np.testing.assert_array_equal(given[1], model.query_tower.vectors.numpy()[1])
    np.testing.assert_array_equal(given[2], model.query_tower.everybody.numpy())
    top, _ = service.recommend(["new"], k=10)
    counts = catalog.items.counts[catalog.items.encode(top[0])]
    assert counts.mean() > 1.5 * catalog.items.counts[1:].mean()
    assert np.linalg.norm(given[2]) > 0.05


def test_each_event_is_asked_with_its_history(service, world):
    split, catalog = world
    report = tr.evaluate(service, tr.cases_by_row(split.test, catalog), catalog, ks=(10,))
    assert report.metrics["recall@10"] > 1.2 * report.baseline["recall@10"]


def test_similar_items_are_what_a_user_with_that_one_gets(service, world):
    _, catalog = world
    item = catalog.items.ids[4]
    similar, _ = service.similar([item], k=5)
    wanted, _ = service.recommend(["new"], history=[[item]], exclude=[[item]], k=5)
    np.testing.assert_array_equal(similar, wanted)


def test_the_export_folds_in_too(model, service, world, tmp_path):
    _, catalog = world
    served = tr.load(tr.save(service, tmp_path / "als", model=model))
    past = histories(catalog, [7, 9])
    for asked in ({"history": past}, {}):
        ours = service.recommend(["new", catalog.users.ids[3]], k=10, **asked)
        theirs = served.recommend(["new", catalog.users.ids[3]], k=10, **asked)
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_allclose(ours[1], theirs[1], atol=1e-6)


def test_settings_follow_the_data_where_none_is_given(world):
    split, catalog = world
    model = tr.ALS(alpha=2.0).adapt(split.train, catalog)
    pairs = len(catalog.seen.rows)
    c = 1 + 2.0 * len(split.train) / pairs  # the mean r is how often a pair occurs
    assert model.alpha_0 == pytest.approx(c)  # a third of all pairs is seen: 40 / 3 is more than 1
    of_user, of_item = pairs / 150, pairs / 80
    sizes = (of_user + c * 80) * (of_item + c * 150)
    chance = c * (of_user**0.5 + of_item**0.5)
    assert model.regularization**2 * sizes == pytest.approx((0.5 * chance) ** 2)
    sparse = Weighing(0.0, None, None, 0.0).fitted(1000, 2000, 5000, 1.0)
    assert sparse.alpha_0 == pytest.approx(40 * 5000 / 2e6)
    given = tr.ALS(alpha_0=0.2, regularization=0.03).adapt(split.train, catalog)
    assert (given.alpha_0, given.regularization) == (0.2, 0.03)
    again = tr.ALS.from_config(model.get_config())
    assert again.weighing == model.weighing


def test_weights_are_how_much_a_pair_counts(world):
    split, catalog = world
    frame = split.train.frame
    weight = np.where(frame["item_id"] == catalog.items.ids[0], 20.0, 1.0).astype(np.float32)
    heavy = replace(split, train=replace(split.train, frame=frame.assign(stars=weight)))
    model, _ = made(heavy, catalog, weight="stars", alpha_0=0.1)
    plain, _ = made(split, catalog, alpha_0=0.1)
    users = np.flatnonzero(catalog.histories.items == 1)
    users = catalog.histories.users[users]
    scores = [
        m.query_tower.vectors.numpy()[users] @ m.item_tower.vectors.numpy()[1]
        for m in (model, plain)
    ]
    heavy_gap, gap = (np.abs(1 - each).mean() for each in scores)
    assert heavy_gap < 0.5 * gap
    none = replace(split.train, frame=frame.assign(stars=0.0))
    with pytest.raises(ValueError, match="nobody likes anything"):
        made(replace(split, train=none), catalog, weight="stars")


def test_resuming_ends_with_the_same_weights(tmp_path):
    prepared = Prepared.of(Config.from_dict(CONFIG))
    whole = fit(prepared, tmp_path / "whole")
    parts = tmp_path / "parts"
    half = Config.from_dict({**CONFIG, "train": {"epochs": 2, "patience": "never"}})
    fit(Prepared.of(half), parts)
    resumed = fit(prepared, parts)
    for one, other in zip(whole.weights, resumed.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_it_stops_early(tmp_path):
    config = Config.from_dict({**CONFIG, "train": {"epochs": 60, "patience": 1}})
    prepared = Prepared.of(config)
    model = fit(prepared, tmp_path / "run")
    assert int(model.step) < 2 * 60


@pytest.mark.parametrize(
    "train",
    [{"optimizer": "lazy_adam"}, {"precision": "mixed_bfloat16"}, {"strategy": "mirrored"}],
)
def test_what_gradients_need_is_refused(train, world):
    (name,) = train
    with pytest.raises(ValueError, match=f"train.{name} is .* sweeps.* leave train.{name} out"):
        Prepared.of(Config.from_dict({**CONFIG, "train": train}))
    for argument in ("loss", "negatives", "positives"):
        with pytest.raises(ValueError, match=f"takes no '{argument}'"):
            Config.from_dict({**CONFIG, "model": {"name": "als", argument: "hinge"}}).make_model()
    model = tr.ALS()
    with pytest.raises(ValueError, match="optimizer=SGD does not go with ALS"):
        model.compile(keras.optimizers.SGD())
    for way in (model.fit, lambda: model.batches(*world)):
        with pytest.raises(ValueError, match="model.train"):
            way()


def test_it_does_not_grow_and_says_what_to_do(model, world):
    split, catalog = world
    for tower in (model.query_tower, model.item_tower):
        with pytest.raises(ValueError, match="folded in from a history.*model.train"):
            tower.grown(split.train, catalog)


def test_a_search_leaves_out_what_gradients_need():
    names = [each.name for each in Space.of(Config.from_dict(CONFIG)).every()]
    assert "model.alpha_0" in names and not any(name.startswith("train.") for name in names)
