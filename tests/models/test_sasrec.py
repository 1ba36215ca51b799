"""SASRec and GRU4Rec: order is what they learn, and requests with histories are answered by it."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import tf_recall as tr
from tf_recall.features import Categorical, Id
from tf_recall.index import IVF, Exact, ScaNN

MODELS = [tr.SASRec, tr.GRU4Rec]
CHAIN, LINKS = 5, 12  # items of a chain, chains


def chains(num_users=150, seed=0):
    """Users go along chains of items: what comes next is known, by the last item alone."""
    rng = np.random.default_rng(seed)
    users, items = [], []
    for user in range(num_users):
        for chain in rng.choice(LINKS, 2, replace=False):
            users += [f"u{user}"] * CHAIN
            items += [f"i{chain}_{link}" for link in range(CHAIN)]
    kind = [f"i{chain}_{link}" for chain in range(LINKS) for link in range(CHAIN)]
    table = pd.DataFrame({"item_id": kind, "chain": [each.split("_")[0] for each in kind]})
    return tr.Interactions.from_columns(
        user_id=users, item_id=items, timestamp=np.arange(len(users)), items=table
    )


def trained(kind, log, catalog, epochs=20, compiled=None, **kwargs):
    keras.utils.set_random_seed(0)
    model = kind(**{"dim": 16, "length": 8, "dropout": 0.1, **kwargs}).adapt(log, catalog)
    model.compile(tr.LazyAdam(0.01), **(compiled or {}))
    batches = model.batches(log, catalog, batch_size=256)
    steps = batches.steps_per_epoch
    model.fit(batches.dataset(), steps_per_epoch=steps, epochs=epochs, verbose=0, shuffle=False)
    return model


@pytest.fixture(scope="module")
def world():
    log = chains()
    return log, tr.Catalog.fit(log)


@pytest.fixture(scope="module", params=MODELS)
def model(request, world):
    return trained(request.param, *world)


def test_what_comes_next_is_found(model, world):
    service = tr.Service.build(model, world[1], k_max=20)
    histories = [[f"i{chain}_{link}" for link in range(3)] for chain in range(LINKS)]
    found = service.recommend(["nobody"] * LINKS, 1, history=histories)[0][:, 0]
    right = np.mean(found == [f"i{chain}_3" for chain in range(LINKS)])
    assert right > 0.9
    first = service.recommend(["nobody"], 10, history=[])[0][0]  # from nothing: first links
    assert sum(each.endswith("_0") for each in first) >= 8


def test_a_request_with_a_history_and_without(model, world):
    _, catalog = world
    service = tr.Service.build(model, catalog, k_max=20)
    stored = service.recommend([catalog.users.ids[0]], 10)[0]
    last = catalog.items.decode(catalog.histories.of(1)[-8:]).tolist()
    assert (service.recommend(["nobody"], 10, history=last)[0] == stored).all()
    older = ["i0_0", "i0_1", *last]  # only the newest count
    assert (service.recommend(["nobody"], 10, history=older)[0] == stored).all()
    given = service.recommend([catalog.users.ids[0]], 10, history=["i3_1"])[0]
    assert (given == service.recommend(["nobody"], 10, history=["no item", "i3_1"])[0]).all()
    assert given.tolist() != stored.tolist()


def test_the_candidate_moves_no_query(model, world):
    batch = model.batches(*world, 128).at(0)
    other = {**batch, "item": {"item": batch["item"]["item"][::-1].copy()}}
    queries = [
        model.encode(tf.nest.map_structure(tf.constant, each), training=False).query.numpy()
        for each in (batch, other)
    ]
    np.testing.assert_array_equal(*queries)


@pytest.mark.slow
def test_training_goes_on_where_it_was(world, tmp_path):
    log, catalog = world
    whole = trained(tr.SASRec, log, catalog, epochs=1)
    whole.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    for model in (whole, again):
        batches = model.batches(log, catalog, batch_size=256)
        steps = batches.steps_per_epoch
        rest = batches.dataset(int(model.step.numpy()))
        model.fit(rest, steps_per_epoch=steps, verbose=0, shuffle=False)
    np.testing.assert_allclose(again.embed_catalog(), whole.embed_catalog(), atol=1e-5)
    rows = {"user": tf.range(9)}
    np.testing.assert_allclose(again.embed_query(rows), whole.embed_query(rows), atol=1e-5)


def test_a_step_reads_and_writes_rows_of_the_table_alone(world):
    log, catalog = world
    model = tr.SASRec(dim=8).adapt(log, catalog)
    batch = tf.nest.map_structure(tf.constant, model.batches(log, catalog, 64).at(0))
    with tf.GradientTape() as tape:
        loss = model(batch, training=True)
    table = model.item_tower.features[0].table.embeddings
    gradient = tape.gradient(loss, table.value)
    assert isinstance(gradient, tf.IndexedSlices)


@pytest.mark.slow
def test_new_items_are_answered_by_their_features(world):
    log, _ = world
    seen = log.select(np.flatnonzero(log.frame["item_id"] != "i4_3"))
    catalog = tr.Catalog.fit(seen)
    tower = tr.FeatureTower("item", [Id(16), Categorical("chain", 16)], [16])
    model = trained(tr.SASRec, seen, catalog, item_tower=tower, dim=None)
    service = tr.Service.build(model, catalog, k_max=20)
    near = service.recommend(["nobody"], 5, history=["i4_0", "i4_1", "i4_2"])[0][0]
    assert "i4_4" in near.tolist()
    new = catalog.items.encode(np.array(["i4_3"]))
    scores = model.embed_item({"item": tf.constant(new)}).numpy() @ model.embed_catalog().T
    assert catalog.items.decode(scores[0].argsort()[::-1][1:4] + 1)[0].startswith("i4_")


HARD = tr.EasyHard(tr.Mixture([tr.InBatch(), tr.Uniform(32)]), tr.SameGroup("chain", 2))


@pytest.mark.parametrize(
    "negatives, loss",
    [
        (HARD, None),
        pytest.param(tr.WholeCatalog(), tr.UncorrectedSoftmax(), marks=pytest.mark.slow),
        pytest.param(tr.Popularity(64), tr.BPR(), marks=pytest.mark.slow),
        pytest.param(tr.InBatch(), tr.CosineContrastive(), marks=pytest.mark.slow),
    ],
)
def test_every_loss_and_sampler_of_one_positive_a_row(negatives, loss, world):
    model = trained(tr.SASRec, *world, epochs=1, negatives=negatives, loss=loss)
    assert all(np.isfinite(each).all() for each in model.get_weights())


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODELS)
def test_xla_and_half_precision_learn_the_same(kind, world):
    plain = trained(kind, *world, epochs=2).embed_catalog()
    fast = trained(kind, *world, epochs=2, compiled={"jit_compile": True}).embed_catalog()
    np.testing.assert_allclose(fast, plain, atol=0.02)
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        half = trained(kind, *world, epochs=2).embed_catalog()
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    assert np.mean(np.sum(half * plain, axis=1)) > 0.8


@pytest.mark.parametrize(
    "index", [Exact, *(pytest.param(each, marks=pytest.mark.slow) for each in (IVF, ScaNN))]
)
def test_every_index_and_a_loaded_export_answer_the_same(index, model, world, tmp_path):
    _, catalog = world
    service = tr.Service.build(model, catalog, index(), k_max=20)
    served = tr.load(tr.save(service, tmp_path / "model", model=model))
    for given in ({}, {"history": [["i1_0", "i1_1"], []]}, {"history": [["i2_0"], ["x"]]}):
        ours = service.recommend(["nobody", catalog.users.ids[7]], 15, **given)
        theirs = served.recommend(["nobody", catalog.users.ids[7]], 15, **given)
        np.testing.assert_allclose(theirs[1], ours[1], rtol=1e-4, atol=1e-5)
        assert (theirs[0] == ours[0]).mean() > 0.9
