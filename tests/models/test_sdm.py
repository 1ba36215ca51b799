"""SDM: its query beside a slow twin, what moves it, and what serves it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_recall as tr
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.features import Categorical, ExampleAge, History, Id, LogNumeric, MultiValued, Text

SETTINGS = {"dim": 8, "session": 3, "length": 6}
EVERY = {
    "features": [Categorical("favorite_genre", 4)],
    "gaps": 6,
    "item_features": [MultiValued("genres", 5), Text("title", 3), LogNumeric("length")],
}


@pytest.fixture(scope="module")
def world():
    interactions = synthetic(200, 120, 6000, seed=1).interactions
    items = interactions.items.assign(length=np.arange(len(interactions.items)) % 7)
    log = tr.Interactions(interactions.frame, items=items, users=interactions.users)
    split = tr.by_time(log, test=0.1)
    return split, tr.Catalog.fit(split.train)


def made(world, **kwargs):
    keras.utils.set_random_seed(0)
    split, catalog = world
    return tr.SDM(**{**SETTINGS, **kwargs}).adapt(split.train, catalog)


def trained(world, epochs=2, **kwargs):
    model = made(world, **kwargs)
    model.compile()
    batches = model.batches(world[0].train, world[1], batch_size=256)
    steps = batches.steps_per_epoch
    model.fit(batches.dataset(), steps_per_epoch=steps, epochs=epochs, verbose=0, shuffle=False)
    return model


@pytest.fixture(scope="module")
def model(world):
    return trained(world, **EVERY)


@pytest.fixture(scope="module")
def service(model, world):
    return tr.Service.build(model, world[1], k_max=60)


def softmax(scores):
    shares = np.exp(scores - scores.max())
    return shares / shares.sum()


def attended(vectors, profile, attention):
    """The weighted mean of vectors `[L, D]`."""
    asked = profile / np.linalg.norm(profile) @ attention.kernel.numpy()
    return softmax(vectors @ asked) @ vectors


def self_attended(x, layer):
    """Keras's multi-head attention of `[S, D]`, a head and a position after the other."""
    query, key, value, out = (weight.numpy() for weight in layer.weights)  # [D, H, d]; [H, d, D]
    sums = np.zeros_like(x)
    for head in range(query.shape[1]):
        q, k, v = (x @ kernel[:, head] for kernel in (query, key, value))
        for at in range(len(x)):
            sums[at] += softmax(k @ q[at] / np.sqrt(query.shape[2])) @ v @ out[head]
    return sums


def twin(tower, items, profile):
    """The tower's vector of a history without gaps, as its docstring has it."""
    history, session = tower.features[0], items[-tower.session :]
    x = history.items({"item": tf.constant(session)}).numpy()
    x = x + tower.places.numpy()[tower.session - len(session) :]
    buckets = history.usual.numpy()[-len(session) :]  # a history without times has the usual ones
    x = x + history.gap_table.embeddings.numpy()[buckets]
    h = x + self_attended(x, tower.attend)
    short = attended(h, profile, tower.of_session)
    pooled = []
    for feature, vectors, attention in zip(
        history.items.features,
        history.items.vectors({"item": tf.constant(items)}),
        tower.of_attributes,
        strict=True,
    ):
        vectors = vectors.numpy()
        if feature.width is not None:
            length = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
        pooled.append(attended(vectors, profile, attention))
    long = np.tanh(np.concatenate(pooled) @ tower.join.kernel.numpy() + tower.join.bias.numpy())
    weight, bias = tower.gate.kernel.numpy(), tower.gate.bias.numpy()
    gate = 1 / (1 + np.exp(-(np.concatenate([profile, short, long]) @ weight + bias)))
    vector = (1 - gate) * long + gate * short
    return vector / np.linalg.norm(vector)


def test_a_slow_twin(model):
    tower = model.query_tower
    rng = np.random.default_rng(0)
    tower.places.assign(rng.normal(size=tower.places.shape))  # as if they had learned more
    gaps = tower.features[0].gap_table.embeddings
    gaps.assign(rng.normal(size=gaps.shape))
    genders = tower.tables["categorical_favorite_genre"].numpy()
    users, items = np.array([1, 2, 3]), rng.integers(1, 100, size=[3, 6]).astype(np.int32)
    items[1, :4] = 0
    items[2, :5] = 0
    found = tower({"user": tf.constant(users), "history": tf.constant(items)}).numpy()
    table = tower.features[1].table.embeddings.numpy()
    for row, (user, of_row) in enumerate(zip(users, items, strict=True)):
        profile = np.concatenate([[1.0], table[genders[user]]])
        expected = twin(tower, of_row[of_row > 0], profile)
        np.testing.assert_allclose(found[row], expected, rtol=1e-3, atol=1e-5)


def test_the_gate_by_hand(world):
    """A gate of 0 is the long history, tanh; one of 1 is the session, here of one item: itself."""
    tower = made(world, session=1, num_heads=1).query_tower
    tower.attend.set_weights([np.zeros_like(each) for each in tower.attend.get_weights()])
    tower.gate.kernel.assign(np.zeros(tower.gate.kernel.shape))
    given = {"user": tf.constant([1]), "history": tf.constant([[4, 5]])}
    items = tower.features[0].items({"item": tf.constant([4, 5])}).numpy()
    tower.gate.bias.assign(np.full(8, 50.0))
    np.testing.assert_allclose(tower(given).numpy()[0], items[1], rtol=1e-5)
    tower.gate.bias.assign(np.full(8, -50.0))
    tower.join.kernel.assign(np.zeros([8, 8]))
    tower.join.bias.assign(np.arctanh([0.6, 0.8, 0, 0, 0, 0, 0, 0]))
    np.testing.assert_allclose(tower(given).numpy()[0], [0.6, 0.8, 0, 0, 0, 0, 0, 0], atol=1e-6)


def test_history_and_candidates_are_of_the_same_tables(model):
    history = model.query_tower.features[0]
    assert isinstance(history, History) and history.items is model.item_tower
    shapes = [tuple(variable.shape) for variable in model.trainable_variables]
    assert shapes.count((model.item_tower.num_rows, 8)) == 1


def test_the_order_of_the_session_counts_and_what_is_older_does_too(model):
    def query(*items):
        return model.embed_query({"user": tf.constant([1]), "history": tf.constant([items])})

    given = query(1, 2, 3, 4, 5, 6).numpy()
    model.query_tower.places.assign_add(tf.reshape(tf.range(24.0) % 5, [3, 8]))
    assert np.abs(query(1, 2, 3, 4, 5, 6) - query(1, 2, 3, 6, 5, 4)).max() > 1e-3
    assert np.abs(query(1, 2, 3, 4, 5, 6) - query(7, 2, 3, 4, 5, 6)).max() > 1e-4
    padded = model.embed_query(
        {"user": tf.constant([1]), "history": tf.constant([[0, 0, 0, 0, 5, 6]])}
    )
    np.testing.assert_allclose(query(5, 6), padded, rtol=1e-4, atol=1e-6)
    assert given.shape == (1, 8)


def test_anonymous_sessions_are_answered_by_the_service_and_its_export(
    model, service, world, tmp_path
):
    _, catalog = world
    items = catalog.items.ids[[3, 30, 60]].tolist()
    served = tr.load(tr.save(service, tmp_path / "model", model=model))
    for given in (
        {"history": items},
        {"history": [*["no item"] * 9, *items]},
        {"history": catalog.items.ids[:30].tolist(), "exclude_seen": True},
        {"favorite_genre": "Drama", "history": items},
        {},
    ):
        ours = service.recommend(["nobody"], 15, **given)
        theirs = served.recommend(["nobody"], 15, **given)
        np.testing.assert_allclose(theirs[1], ours[1], rtol=1e-4)
        assert (theirs[0] == ours[0]).mean() > 0.9 and np.isfinite(ours[1]).all()
    one, other = (service.recommend(["nobody"], 15, history=each)[0] for each in (items, items[:1]))
    assert one.tolist() != other.tolist()
    unknown = service.recommend(["nobody"], 15, history=["no item"])[0]
    assert unknown.tolist() == service.recommend(["nobody"], 15)[0].tolist()


def test_a_keras_file_and_the_config_bring_it_back(model, tmp_path):
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.query_tower.features[0].items is again.item_tower
    rows = {"user": tf.range(5), "history": tf.constant([[0, 0, n] for n in range(5)])}
    np.testing.assert_array_equal(again.embed_query(rows), model.embed_query(rows))
    assert type(model).from_config(model.get_config()).get_config() == model.get_config()


@pytest.mark.slow
def test_profiles_of_ids_and_ages(world):
    model = trained(world, epochs=1, features=[Id(4), ExampleAge()])
    service = tr.Service.build(model, world[1], k_max=10)
    item = world[1].items.ids[5]
    known, stranger = service.recommend([world[1].users.ids[0], "nobody"], 10, history=[item])[1]
    assert np.abs(known - stranger).max() > 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"jit_compile": True}, {"dtype": "mixed_bfloat16"}])
def test_under_xla_and_in_half_precision_it_learns_the_same(settings, world):
    losses = []
    for given in ({}, settings):
        model = made(world, dtype=given.get("dtype"))
        model.compile(jit_compile=given.get("jit_compile", False))
        data = model.batches(world[0].train, world[1], batch_size=64).dataset()
        fit = model.fit(data, steps_per_epoch=3, verbose=0, shuffle=False)
        losses.append(fit.history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-2)


def test_errors(world):
    with pytest.raises(ValueError, match="num_heads must divide the length 8, and is 3"):
        tr.SDM(dim=8, num_heads=3)
    with pytest.raises(ValueError, match="is a History of items=a tower of features, not Id"):
        tr.SDMTower("user", [Id(8)])
