"""YouTubeDNN: what moves its queries, what serves it, and what histories find that ids cannot."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_recall as tr
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.features import ExampleAge, Id, LastPooling
from tf_recall.index import IVF, Exact, ScaNN


def trained(train, catalog, epochs=3, **kwargs):
    keras.utils.set_random_seed(0)
    model = tr.YouTubeDNN(**{"dim": 16, "units": [32], "length": 10, **kwargs})
    model.adapt(train, catalog).compile()
    batches = model.batches(train, catalog, batch_size=256)
    steps = batches.steps_per_epoch
    model.fit(batches.dataset(), steps_per_epoch=steps, epochs=epochs, verbose=0, shuffle=False)
    return model


@pytest.fixture(scope="module")
def world():
    split = tr.by_time(synthetic(200, 120, 6000, seed=1).interactions, test=0.1)
    return split, tr.Catalog.fit(split.train)


@pytest.fixture(scope="module")
def model(world):
    split, catalog = world
    return trained(split.train, catalog)


@pytest.fixture(scope="module")
def service(model, world):
    return tr.Service.build(model, world[1], k_max=60)


def test_the_loss_by_hand():
    """Two rows, vectors of one item table, no MLP: a history of one item is that item's vector.

    Items of length 1: x (1, 0), y (0, 1), z (-1, 0). Rows: after x comes y; after y comes z. Each
    row's negative is the other row's positive, uncorrected, at temperature 1:
    row 1: scores x.y = 0 and x.z = -1: log(1 + exp(-1)) = 0.313262
    row 2: scores y.z = 0 and y.y = 1: log(1 + exp(1)) = 1.313262
    """
    log = tr.Interactions.from_columns(
        user_id=["u", "u", "v", "v"], item_id=["x", "y", "y", "z"], timestamp=[1, 2, 1, 2]
    )
    catalog = tr.Catalog.fit(log)
    model = tr.YouTubeDNN(
        dim=2, units=[], features=[], negatives=tr.InBatch(), loss=tr.UncorrectedSoftmax(1.0)
    )
    model.adapt(log, catalog)
    (dense,) = model.query_tower.dense
    dense.kernel.assign(np.eye(2))
    vectors = {"x": [1.0, 0], "y": [0, 1.0], "z": [-1.0, 0]}
    table = [[0.0, 0.0], *(vectors[item] for item in catalog.items.ids)]
    model.item_tower.features[0].table.embeddings.assign(table)
    batch = model.batches(log, catalog, batch_size=2).at(0)
    assert sorted(catalog.items.decode(batch["query"]["history"][:, -1])) == ["x", "y"]
    loss = model(tf.nest.map_structure(tf.constant, batch)).numpy()
    np.testing.assert_allclose(loss, (0.313262 + 1.313262) / 2, rtol=1e-5)


def test_the_history_is_made_of_the_vectors_that_are_recommended(model):
    (history, *_) = model.query_tower.features
    assert history.items is model.item_tower
    tables = [v for v in model.trainable_variables if v.shape[0] == model.item_tower.num_rows]
    assert len(tables) == 1


def test_the_candidate_and_what_is_later_move_no_query(world):
    """The query is made before the candidate is known: another positive changes no query."""
    split, catalog = world
    model = trained(split.train, catalog, epochs=1)
    batch = tf.nest.map_structure(tf.constant, model.batches(split.train, catalog, 64).at(0))
    other = {**batch, "item": {"item": batch["item"]["item"][::-1]}}
    queries = [model.encode(each, training=False).query.numpy() for each in (batch, other)]
    np.testing.assert_array_equal(*queries)
    assert not (batch["query"]["history"] == batch["item"]["item"][:, None]).numpy().any()


def test_a_request_with_a_history_and_without(service, world):
    _, catalog = world
    user, items = catalog.users.ids[0], catalog.items.ids[[3, 30, 60]].tolist()
    known, stranger = service.recommend([user, "nobody"], 10, history=items)[0]
    assert known.tolist() == stranger.tolist()  # who they are is what they did
    stored = service.recommend([user], 10)[0][0]
    last = catalog.items.decode(catalog.histories.of(1)[-10:]).tolist()
    assert service.recommend(["nobody"], 10, history=last)[0][0].tolist() == stored.tolist()
    assert stored.tolist() != known.tolist()
    unknown, empty = service.recommend(["nobody"], 10, history=["no item"])[0], []
    assert unknown.tolist() == service.recommend(["nobody"], 10, history=empty)[0].tolist()
    kept = service.recommend(["nobody"], 60, history=items, exclude_seen=True)[0]
    assert not set(kept[0]) & set(items)


def test_the_age_of_an_example_matters_in_training_alone(model, world):
    split, catalog = world
    age = next(f for f in model.query_tower.features if isinstance(f, ExampleAge))
    rows = {"user": tf.constant([1, 2])}
    now = model.embed_query({**rows, age.name: tf.zeros([2, 1])}).numpy()
    old = model.embed_query({**rows, age.name: tf.ones([2, 1])}).numpy()
    np.testing.assert_array_equal(model.embed_query(rows).numpy(), now)
    assert np.abs(old - now).max() > 1e-3
    batch = model.batches(split.train, catalog, 512).at(0)
    assert batch["query"][age.name].std() > 0.1


@pytest.mark.parametrize(
    "index", [Exact, *(pytest.param(each, marks=pytest.mark.slow) for each in (IVF, ScaNN))]
)
def test_every_index_and_a_loaded_export_answer_the_same(index, model, world, tmp_path):
    _, catalog = world
    service = tr.Service.build(model, catalog, index(), k_max=20)
    served = tr.load(tr.save(service, tmp_path / "model", model=model))
    items = catalog.items.ids[[5, 50]].tolist()
    for given in ({}, {"history": [items, []]}, {"history": [items, items], "exclude_seen": True}):
        ours = service.recommend(["nobody", catalog.users.ids[7]], 15, **given)
        theirs = served.recommend(["nobody", catalog.users.ids[7]], 15, **given)
        np.testing.assert_allclose(theirs[1], ours[1], rtol=1e-5)
        assert (theirs[0] == ours[0]).mean() > 0.95


def test_a_keras_file_answers_the_same(model, tmp_path):
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.query_tower.features[0].items is again.item_tower
    rows = {"user": tf.range(5), "history": tf.constant([[0, 0, n] for n in range(5)])}
    np.testing.assert_array_equal(again.embed_query(rows), model.embed_query(rows))


def test_other_features_and_poolings(world):
    split, catalog = world
    model = trained(
        split.train, catalog, epochs=1, features=[Id(4)], pooling=LastPooling(), units=[]
    )
    assert [feature.name for feature in model.query_tower.features] == ["history", "id"]
    again = type(model).from_config(model.get_config())
    assert again.get_config() == model.get_config()


@pytest.mark.slow
def test_under_xla_it_learns_the_same(world):
    split, catalog = world
    losses = []
    for jit in (False, True):
        keras.utils.set_random_seed(0)
        model = tr.YouTubeDNN(dim=8, units=[16], length=5).adapt(split.train, catalog)
        model.compile(jit_compile=jit)
        data = model.batches(split.train, catalog, batch_size=64).dataset()
        fit = model.fit(data, steps_per_epoch=3, verbose=0, shuffle=False)
        losses.append(fit.history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_new_users_are_answered_from_what_they_just_did():
    """Four groups of items; all held-out users are new, so a model of ids knows nothing of them."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(500):
        group = rng.integers(4)
        rows += [
            (f"u{user}", f"g{group}_{item}", user * 100 + step)
            for step, item in enumerate(rng.permutation(12)[:8])
        ]
    users, items, times = zip(*rows, strict=True)
    log = tr.Interactions.from_columns(user_id=users, item_id=items, timestamp=times)
    split = tr.by_time(log, test=0.2)
    catalog = tr.Catalog.fit(split.train)
    cases = tr.cases_by_row(split.test, catalog)

    def recall(model):
        service = tr.Service.build(model, catalog, k_max=13)
        return tr.evaluate(service, cases, catalog, ks=(12,)).metrics["recall@12"]

    ids = tr.TwoTower(tr.FeatureTower("user", [Id(16)]), tr.FeatureTower("item", [Id(16)]))
    ids.adapt(split.train, catalog).compile()
    batches = ids.batches(split.train, catalog, batch_size=256)
    ids.fit(batches.dataset(), steps_per_epoch=batches.steps_per_epoch, epochs=5, verbose=0)
    assert recall(trained(split.train, catalog, epochs=15)) > 0.8 > 0.5 > recall(ids)


def test_without_times_no_example_has_an_age():
    rng = np.random.default_rng(0)
    log = tr.Interactions.from_columns(
        user_id=[f"u{n}" for n in rng.integers(0, 20, 400)],
        item_id=[f"i{n}" for n in rng.integers(0, 30, 400)],
    )
    catalog = tr.Catalog.fit(log)
    model = tr.YouTubeDNN(dim=4, units=[]).adapt(log, catalog)
    assert [feature.name for feature in model.query_tower.features] == ["history"]
    model.compile()
    batches = model.batches(log, catalog, batch_size=50)
    model.fit(batches.dataset(), steps_per_epoch=2, verbose=0, shuffle=False)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model))
    assert again.features == [] and again.built
    with pytest.raises(ValueError, match="timestamp"):
        tr.YouTubeDNN(dim=4, features=[ExampleAge()]).adapt(log, catalog)
