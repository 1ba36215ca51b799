"""Attention over a history: by hand, beside a slow twin, and where one item in fifty decides."""

from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import tf_recall as tr
from tf_recall.features import (
    Categorical,
    ExampleAge,
    History,
    Id,
    LastAttention,
    MeanPooling,
    ProfileAttention,
    RequestAttention,
    Text,
)

VECTORS = tf.constant([[[9.0, 9.0], [1.0, 0.0], [0.0, 1.0]]] * 2)
VALID = tf.constant([[False, True, True], [False, False, False]])


def test_attention_by_hand():
    """Of (1, 0) and (0, 1), by a query that W takes to (ln 3, 0): scores ln 3 and 0.

    Shares 3 / 4 and 1 / 4: (3/4, 1/4). The query (0, 5) is (0, 1) once of length 1.
    """
    pooling = ProfileAttention()
    pooling.build((None, None, 2), (None, None), (None, 2))
    pooling.kernel.assign([[7.0, 7.0], [np.log(3), 0.0]])
    found = pooling(VECTORS, VALID, tf.constant([[0.0, 5.0], [0.0, 5.0]])).numpy()
    np.testing.assert_allclose(found, [[0.75, 0.25], [0, 0]], rtol=1e-6)
    nothing = pooling(VECTORS, VALID, tf.zeros([2, 2])).numpy()
    np.testing.assert_allclose(nothing, [[0.5, 0.5], [0, 0]], rtol=1e-6)


def test_by_the_last_item_by_hand():
    """The last is (0, 1), which W takes to (0, ln 3): of itself three quarters."""
    pooling = LastAttention()
    pooling.build((None, None, 2))
    pooling.kernel.assign(np.log(3) * np.eye(2))
    np.testing.assert_allclose(pooling(VECTORS, VALID).numpy()[0], [0.25, 0.75], rtol=1e-6)


def twin(vectors, valid, query, kernel, num_heads):
    """Attention as its docstring has it, one number after the other."""
    size = vectors.shape[2]
    pooled = np.zeros([len(vectors), num_heads * size])
    for b in range(len(vectors)):
        for h in range(num_heads):
            asked = query[b] / np.linalg.norm(query[b]) @ kernel[:, h * size : (h + 1) * size]
            scores = {at: np.exp(asked @ vectors[b, at]) for at in np.flatnonzero(valid[b])}
            for at, score in scores.items():
                share = score / sum(scores.values())
                pooled[b, h * size : (h + 1) * size] += share * vectors[b, at]
    return pooled


@pytest.mark.parametrize("num_heads", [1, 3])
@pytest.mark.parametrize("kind", [ProfileAttention, LastAttention])
def test_a_slow_twin(kind, num_heads):
    rng = np.random.default_rng(num_heads)
    vectors = rng.normal(size=(6, 5, 4)).astype(np.float32)
    valid = rng.random((6, 5)) < 0.6
    valid[:, 2] = True
    last = kind is LastAttention
    at = [np.flatnonzero(row)[-1] for row in valid]
    query = vectors[np.arange(6), at] if last else rng.normal(size=(6, 3)).astype(np.float32)
    pooling = kind(num_heads=num_heads)
    given = [] if last else [tf.constant(query)]
    found = pooling(tf.constant(vectors), tf.constant(valid), *given).numpy()
    expected = twin(vectors, valid, query, pooling.kernel.numpy(), num_heads)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    vectors[~valid] = 1e3
    np.testing.assert_array_equal(pooling(tf.constant(vectors), tf.constant(valid), *given), found)


LOG = pd.DataFrame(
    [("u", "a", 1, "x"), ("u", "b", 2, "y"), ("u", "c", 3, "x"), ("v", "b", 4, "y")],
    columns=["user_id", "item_id", "timestamp", "search"],
)
USERS = pd.DataFrame({"user_id": ["u", "v"], "land": ["CH", "AT"]})
TRAIN = tr.Interactions.from_frame(LOG, users=USERS)
CATALOG = tr.Catalog.fit(TRAIN)


def tower(*features):
    made = tr.FeatureTower("user", features)
    made.adapt(TRAIN, CATALOG)
    return made


def test_the_query_is_made_of_the_features_named():
    history = History(4, pooling=ProfileAttention())
    # histories and ages say nothing of who the user is, whatever the order of the features
    made = tower(
        history, Id(2), ExampleAge(), Categorical("land", 3), History(4, name="mean", length=2)
    )
    assert made.asked == {"history": ["id", "categorical_land"]}
    assert history.pooling.kernel.shape == (5, 4)
    by_column = tower(History(4, pooling=ProfileAttention(["land"])), Id(2), Categorical("land", 3))
    assert by_column.asked == {"history": ["categorical_land"]}
    by_name = tower(Id(2), History(4, pooling=ProfileAttention(["id"], num_heads=2)))
    assert by_name.dim == 2 + 2 * 4
    found = by_name({"user": tf.constant([1, 2])})
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(by_name))
    again.set_weights(by_name.get_weights())
    np.testing.assert_array_equal(again({"user": tf.constant([1, 2])}), found)


def test_a_search_comes_with_rows_and_requests_and_one_without_it_gets_the_mean():
    keras.utils.set_random_seed(0)
    made = tower(History(4, pooling=RequestAttention(["search"])), Text("search", 3), Id(2))
    assert [feature.name for feature in made.needs().context] == ["text_search"]
    assert list(made.raw_columns) == ["search"]
    history, text, _ = made.features
    text.table.embeddings.assign([[0.0] * 3, [1.0, 0, 0], [0, 1.0, 0]])
    history.pooling.kernel.assign(np.random.default_rng(0).normal(size=(3, 4)))
    history.table.embeddings.assign(np.random.default_rng(1).normal(size=(4, 4)))
    rows, items = tf.constant([1, 1, 1]), tf.constant([[1, 2, 3]] * 3)
    inputs = made.inputs_from_raw(rows, {"search": tf.constant(["x", "y", "unheard of"])}, items)
    x, y, nothing = made.vectors(inputs)[0].numpy()
    mean = MeanPooling()(history.table(items), items > 0).numpy()[0]
    np.testing.assert_allclose(nothing, mean, rtol=1e-5)
    assert np.abs(x - y).max() > 0.01 and np.abs(x - mean).max() > 0.01


def test_an_empty_history_has_the_learned_vector():
    history = History(4, pooling=ProfileAttention())
    made = tower(Id(2), history)
    found = made.vectors({"user": tf.constant([1]), "history": tf.constant([[0, 0]])})[1]
    np.testing.assert_array_equal(found[0], history.empty)


def test_what_cannot_ask_is_refused_with_what_to_type():
    with pytest.raises(ValueError, match="none describes the user: add one, such as Id"):
        tr.FeatureTower("user", [History(2, pooling=ProfileAttention()), ExampleAge()])
    with pytest.raises(ValueError, match="asks with 'land', which is no other .* there are: id$"):
        tr.FeatureTower("user", [History(2, pooling=ProfileAttention(["land"])), Id(2)])
    history = History(2, pooling=RequestAttention(["land"]))
    with pytest.raises(ValueError, match="'categorical_land' is known of each user: take Profile"):
        tower(history, Categorical("land", 3))


GROUPS, VALUES, FILLERS, ITEMS = 10, 5, 100, 50


def clues(num_users, seed=0):
    """Fifty items each, in any order: an item of each of ten kinds, in one of five values, and
    fillers. One kind's value decides what follows. Which kind it is the user's group says, or the
    last item, or the search text, of worlds of their own.
    """
    rng = np.random.default_rng(seed)
    rows, users = [], []
    for user in range(num_users):
        value, kind = rng.integers(VALUES, size=GROUPS), rng.integers(GROUPS)
        items = [f"kind{k}_{value[k]}" for k in range(GROUPS)]
        items += [f"filler{n}" for n in rng.choice(FILLERS, ITEMS - GROUPS - 1, replace=False)]
        rng.shuffle(items)
        items += [f"pointer{kind}", f"next{value[kind]}"]
        users.append((f"u{user}", f"group{kind}"))
        rows += [
            (f"u{user}", item, at, f"for {kind}" if at == ITEMS else "", at == ITEMS)
            for at, item in enumerate(items)
        ]
    columns = ["user_id", "item_id", "timestamp", "search", "decides"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame, pd.DataFrame(users, columns=["user_id", "group"])


@pytest.fixture(scope="module")
def worlds():
    """By kind of query, the training part, the held-out events, and the catalog."""
    frame, users = clues(1300)
    held = frame["user_id"].str[1:].astype(int) >= 1100

    def world(pointer):
        # where the last item does not point, none does
        some = frame["item_id"].where(
            pointer | ~frame["item_id"].str.startswith("pointer"), "filler0"
        )
        log = tr.Interactions.from_frame(frame.assign(item_id=some), users=users, time_unit="s")
        decides = frame["decides"].to_numpy()
        train = log.select(np.flatnonzero(~(held & decides)))
        test = log.select(np.flatnonzero(held & decides))
        return SimpleNamespace(train=train, test=test, catalog=tr.Catalog.fit(train))

    of_user = world(False)
    return {"profile": of_user, "request": of_user, "last": world(True)}


def found_first(model, world, epochs=27):
    """How often the item that follows is the first recommended."""
    model.adapt(world.train, world.catalog).compile(tr.LazyAdam(0.01))
    batches = model.batches(world.train, world.catalog, batch_size=100)
    steps = batches.steps_per_epoch
    model.fit(batches.dataset(), steps_per_epoch=steps, epochs=epochs, verbose=0, shuffle=False)
    service = tr.Service.build(model, world.catalog, k_max=5)
    cases = tr.cases_by_row(world.test, world.catalog)
    return tr.evaluate(service, cases, world.catalog, ks=(1,)).metrics["recall@1"]


def over_clues(pooling, *features):
    keras.utils.set_random_seed(0)
    return tr.YouTubeDNN(
        dim=32,
        length=ITEMS,
        features=features,
        pooling=pooling,
        positives=tr.NextItem(where="decides"),
        negatives=tr.InBatch(),
    )


@pytest.mark.slow
def test_one_item_in_fifty_decides_by_the_profile(worlds):
    model = over_clues(ProfileAttention(["group"]), Categorical("group"))
    assert found_first(model, worlds["profile"]) > 0.8


@pytest.mark.slow  # by default the profile's stands for it
def test_one_item_in_fifty_decides_by_the_request(worlds):
    model = over_clues(RequestAttention(["search"]), Text("search", 16))
    assert found_first(model, worlds["request"]) > 0.8


@pytest.mark.slow
def test_one_item_in_fifty_decides_by_the_last(worlds):
    assert found_first(over_clues(LastAttention()), worlds["last"]) > 0.8


def test_the_mean_finds_none(worlds):
    """Of five values one, or a little more by what the last item and the others have in common."""
    features = Categorical("group"), Text("search", 16)
    assert found_first(over_clues(MeanPooling(), *features), worlds["last"], epochs=12) < 0.45


@pytest.mark.slow
def test_sdm_finds_it_too(worlds):
    keras.utils.set_random_seed(0)
    model = tr.SDM(
        dim=32,
        features=[Categorical("group")],
        session=4,
        positives=tr.NextItem(where="decides"),
        negatives=tr.InBatch(),
    )
    assert found_first(model, worlds["profile"]) > 0.8
