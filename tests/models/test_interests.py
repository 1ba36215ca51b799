"""ComiRec and MIND: what learns, what moves no query, what serves them, and two unlike tastes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_recall as tr
from tf_recall.data.ids import raw_ids
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.index import IVF, Exact, ScaNN
from tf_recall.retrievers.vectors import nearest

MODELS = (tr.ComiRec, tr.MIND)


def trained(kind, train, catalog, epochs=2, **kwargs):
    keras.utils.set_random_seed(0)
    model = kind(**{"dim": 8, "length": 10, **kwargs}).adapt(train, catalog)
    model.compile(tr.LazyAdam(0.01))
    batches = model.batches(train, catalog, batch_size=256)
    steps = batches.steps_per_epoch
    model.fit(batches.dataset(), steps_per_epoch=steps, epochs=epochs, verbose=0, shuffle=False)
    return model


@pytest.fixture(scope="module")
def world():
    split = tr.by_time(synthetic(200, 120, 4000, seed=1).interactions, test=0.1)
    return split, tr.Catalog.fit(split.train)


@pytest.fixture(scope="module", params=MODELS)
def model(request, world):
    split, catalog = world
    return trained(request.param, split.train, catalog, adaptive=True)


@pytest.fixture(scope="module")
def service(model, world):
    return tr.Service.build(model, world[1], k_max=60)


def test_the_nearest_vector_by_hand():
    """Rows: (1, 0) and (0, 2) against (1, 1): 1 and 2; against (3, 1): 3 and 2."""
    queries = tf.constant([[[1.0, 0.0], [0.0, 2.0]]] * 2)
    with tf.GradientTape() as tape:
        tape.watch(queries)
        found = nearest(queries, tf.constant([[1.0, 1.0], [3.0, 1.0]]))
    assert found.numpy().tolist() == [[0, 2], [1, 0]]
    moved = tf.convert_to_tensor(tape.gradient(found, queries)).numpy()
    assert moved.tolist() == [[[0, 0], [1, 1]], [[1, 1], [0, 0]]]  # the nearest learns alone


def test_the_candidate_moves_no_query(model, world):
    """All vectors of a user are made before the candidate is known; it chooses one of them."""
    split, catalog = world
    batch = tf.nest.map_structure(tf.constant, model.batches(split.train, catalog, 64).at(0))
    assert not (batch["query"]["history"] == batch["item"]["item"][:, None]).numpy().any()
    every = model.query_tower(batch["query"]).numpy()  # [B, K, D]
    assert every.shape == (64, 4, 8)
    np.testing.assert_allclose(np.linalg.norm(every, axis=2), 1, rtol=1e-5)
    other = {**batch, "item": {"item": batch["item"]["item"][::-1]}}
    for each in (batch, other):
        chosen = model.encode(each, training=False)
        scores = np.einsum("bkd,bd->bk", every, chosen.vectors)
        expected = every[np.arange(64), scores.argmax(1)]
        np.testing.assert_allclose(chosen.query, expected, rtol=1e-5)


def test_the_history_is_made_of_the_vectors_that_are_recommended(model):
    assert model.query_tower.features[0].items is model.item_tower
    tables = [v for v in model.trainable_variables if v.shape[0] == model.item_tower.num_rows]
    assert len(tables) == 1


def test_a_request_with_a_history_and_without(service, world):
    _, catalog = world
    user, items = catalog.users.ids[0], catalog.items.ids[[3, 30, 60]].tolist()
    known, stranger = service.recommend([user, "nobody"], 10, history=items)[0]
    assert known.tolist() == stranger.tolist()
    stored = service.recommend([user], 10)[0][0]
    last = catalog.items.decode(catalog.histories.of(1)[-10:]).tolist()
    longer = [*items, *last, "no item"]
    assert service.recommend(["nobody"], 10, history=longer)[0][0].tolist() == stored.tolist()
    unknown, empty = service.recommend(["nobody"], 10, history=["no item"])[0], []
    assert unknown.tolist() == service.recommend(["nobody"], 10, history=empty)[0].tolist()
    kept = service.recommend(["nobody"], 60, history=items, exclude_seen=True)[0]
    assert not set(kept[0]) & set(items)


def test_lists_and_counted_ranks_give_the_same_figures(service, world):
    split, catalog = world
    cases = tr.cases_by_row(split.test, catalog)
    figures = [
        tr.evaluate(service, cases, catalog, ks=(5, 20), lists=lists).metrics
        for lists in (True, False)
    ]
    for name, value in figures[1].items():
        np.testing.assert_allclose(figures[0][name], value, rtol=1e-6)


@pytest.mark.parametrize(
    "index", [Exact, *(pytest.param(each, marks=pytest.mark.slow) for each in (IVF, ScaNN))]
)
def test_a_loaded_export_answers_and_explains_the_same(index, model, world, tmp_path):
    _, catalog = world
    service = tr.Service.build(model, catalog, index(), k_max=20)
    served = tr.load(tr.save(service, tmp_path / "model", model=model))
    assert served.interests == service.interests == 4
    items = catalog.items.ids[[5, 50, 20]].tolist()
    users = ["nobody", catalog.users.ids[7]]
    for given in ({}, {"history": [items, []]}, {"history": [items, items], "exclude_seen": True}):
        ours = service.recommend(users, 15, **given)
        theirs = served.recommend(users, 15, **given)
        np.testing.assert_allclose(theirs[1], ours[1], rtol=1e-5)
        assert (theirs[0] == ours[0]).all()
    vectors = served.embed_query(users)
    assert vectors.shape == (2, 4, 8)
    np.testing.assert_allclose(vectors, service.embed_query(users), rtol=1e-4, atol=1e-6)
    nothing = {"exclude": [[""]] * 2, "allow": [[""]] * 2, "exclude_seen": [False] * 2}
    given = {name: tf.constant(values) for name, values in nothing.items()}
    found = served.signatures["items_by_vector"](
        embedding=tf.constant(vectors), user_id=tf.constant(users), **given
    )
    assert (raw_ids(found["item_id"].numpy())[:, :15] == served.recommend(users, 15)[0]).all()
    (item,) = served.recommend(users[1], 1)[0][0]
    reasons = served.explain(users[1], item)
    nearest_one = (vectors[1] @ served.embed_item([item])[0]).argmax()
    assert reasons and {each["interest"] for each in reasons} == {nearest_one}
    own = catalog.items.decode(catalog.histories.of(catalog.users.encode([users[1]])[0]))
    assert {each["id"] for each in reasons} <= set(own)
    for one, other in zip(reasons, service.explain(users[1], item), strict=True):
        assert (one["id"], one["interest"]) == (other["id"], other["interest"])
        np.testing.assert_allclose(one["share"], other["share"], rtol=1e-4)
    given = served.explain("nobody", items[0], history=[*items, "no item"])
    assert {each["id"] for each in given} <= set(items[1:])
    assert served.explain("nobody", items[0]) == []


def test_any_sampler_goes_with_them(world):
    split, catalog = world
    hard = tr.EasyHard(tr.InBatch(), tr.HighestInBatch(num=2))
    for negatives in (hard, tr.CrossBatch(500), tr.Uniform(20)):
        loss = tr.BPR() if negatives is hard else tr.SampledSoftmax()
        model = tr.ComiRec(dim=8, length=5, negatives=negatives, loss=loss)
        model.adapt(split.train, catalog).compile()
        data = model.batches(split.train, catalog, batch_size=64).dataset()
        model.fit(data, steps_per_epoch=2, verbose=0, shuffle=False)


def test_without_times_no_example_has_an_age():
    rng = np.random.default_rng(0)
    log = tr.Interactions.from_columns(
        user_id=[f"u{n}" for n in rng.integers(0, 20, 400)],
        item_id=[f"i{n}" for n in rng.integers(0, 30, 400)],
    )
    model = tr.MIND(dim=4).adapt(log, tr.Catalog.fit(log))
    assert [feature.name for feature in model.query_tower.features] == [
        "history",
        "mean_history",
    ]
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model))
    assert again.features == [] and again.built


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODELS)
def test_under_xla_it_learns_the_same(kind, world):
    split, catalog = world
    losses = []
    for jit in (False, True):
        keras.utils.set_random_seed(0)
        model = kind(dim=8, length=5).adapt(split.train, catalog)
        model.compile(jit_compile=jit)
        data = model.batches(split.train, catalog, batch_size=64).dataset()
        fit = model.fit(data, steps_per_epoch=3, verbose=0, shuffle=False)
        losses.append(fit.history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-3)


@pytest.fixture(scope="module")
def two_tastes():
    """Users of two random clusters out of 60, in 8 dimensions; their last item is held out."""
    rng, rows = np.random.default_rng(0), []
    for user in range(1200):
        clusters = rng.choice(60, 2, replace=False)
        items = (clusters[:, None] * 8 + np.arange(8)).ravel()
        rows += [
            (f"u{user}", f"i{item}", at) for at, item in enumerate(rng.permutation(items)[:10])
        ]
    users, items, times = zip(*rows, strict=True)
    log = tr.Interactions.from_columns(user_id=users, item_id=items, timestamp=times)
    split = tr.leave_last_out(log)
    return split, tr.Catalog.fit(split.train)


def found_of(kind, two_tastes):
    """recall@12, of the 16 items of two clusters less what was seen; and the vectors."""
    split, catalog = two_tastes
    model = trained(kind, split.train, catalog, epochs=8, features=[])
    service = tr.Service.build(model, catalog, k_max=30)
    cases = tr.cases_by_user(split.test, catalog)
    recall = tr.evaluate(service, cases, catalog, ks=(12,)).metrics["recall@12"]
    return recall, service.embed_query(catalog.users.ids[:200])


@pytest.fixture(scope="module")
def one_vector(two_tastes):
    return found_of(tr.YouTubeDNN, two_tastes)[0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODELS)
def test_two_unlike_tastes_need_more_than_one_vector(kind, two_tastes, one_vector):
    recall, vectors = found_of(kind, two_tastes)
    assert one_vector < 0.55 < 0.8 < recall
    cosines = np.einsum("bkd,bjd->bkj", vectors, vectors)[:, ~np.eye(4, dtype=bool)]
    assert cosines.mean() < 0.5  # the interests have not become one
