"""LightGCN: what it serves, histories as edges, growth, resuming, and what is refused."""

from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import tf_recall as tr
from tf_recall.config import Config, Train
from tf_recall.data.interactions import Interactions
from tf_recall.data.splits import random
from tf_recall.retrievers.propagation import edges
from tf_recall.runs.model import fit
from tf_recall.runs.prepared import Prepared

NUM_USERS, NUM_ITEMS = 40, 60


def log_of(users, items):
    return Interactions.from_columns(
        user_id=[f"u{n}" for n in users],
        item_id=[f"i{n}" for n in items],
        timestamp=np.arange(len(users)),
    )


def clusters(seed=0, num=1200):
    """Users and items of four clusters, by their number modulo 4."""
    rng = np.random.default_rng(seed)
    users = rng.integers(0, NUM_USERS, num)
    return log_of(users, rng.integers(0, NUM_ITEMS // 4, num) * 4 + users % 4)


def made(log, epochs=6, **arguments):
    keras.utils.set_random_seed(0)
    catalog = tr.Catalog.fit(log)
    model = tr.LightGCN(**{"dim": 8, **arguments}).adapt(log, catalog)
    model.compile()
    model.train(log, catalog, Train(epochs=epochs))
    return model, catalog


@pytest.fixture(scope="module")
def trained():
    return made(clusters())


@pytest.fixture(scope="module")
def service(trained):
    return tr.Service.build(*trained, k_max=20)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def own(ids, clusters):
    """The share of items that are of the cluster of their line."""
    numbers = np.char.lstrip(ids.astype(str), "i").astype(int)
    return np.mean(numbers % 4 == np.asarray(clusters)[:, None])


def histories(catalog, rows):
    return [catalog.items.ids[catalog.seen.of(row) - 1].tolist() for row in rows]


def test_it_learns_who_goes_with_whom(service):
    ids, _ = service.recommend(["u0", "u1", "u2", "u3"], k=10)
    assert own(ids, range(4)) > 0.9  # by chance 0.25
    ids, _ = service.similar(["i0", "i5", "i10", "i15"], k=10)
    assert own(ids, range(4)) > 0.9


def test_what_is_served_is_what_a_step_computes(trained):
    model, catalog = trained
    users, items, _ = (each.numpy() for each in model.propagation.over_all())
    np.testing.assert_allclose(model.embed_catalog(), unit(items[1:]), atol=1e-6)
    rows = tf.range(1, catalog.users.size)
    np.testing.assert_allclose(model.embed_query({"user": rows}), unit(users[1:]), atol=1e-6)


def test_a_known_users_own_history_gives_their_vector(service, trained):
    _, catalog = trained
    rows = np.arange(1, NUM_USERS + 1)
    users, past = catalog.users.ids[rows - 1], histories(catalog, rows)
    known = service.embed_query(users)
    np.testing.assert_allclose(service.embed_query(users, history=past), known, atol=1e-6)
    again = [each + each[:2] + ["no item"] for each in past]  # an edge is there or not
    np.testing.assert_allclose(service.embed_query(users, history=again), known, atol=1e-6)
    other = service.embed_query(users, history=past[::-1])
    assert np.abs(other - known).max() > 0.1


def test_strangers_are_their_history_or_anybody(service, trained):
    model, catalog = trained
    past = histories(catalog, [7])[0]
    given = service.embed_query(["new", "u3", "new"], history=[past, [], ["no item"]])
    sent = model.query_tower.sent.numpy()
    rows = catalog.items.encode(past)
    np.testing.assert_allclose(given[0], unit(sent[rows].sum(axis=0)), atol=1e-5)
    stored = model.query_tower.stored.numpy()
    np.testing.assert_array_equal(given[1], stored[catalog.users.encode(["u3"])[0]])
    np.testing.assert_array_equal(given[2], stored[0])


def test_somebody_unknown_gets_what_many_like():
    rng = np.random.default_rng(0)
    items = NUM_ITEMS * rng.random(1200) ** 2
    log = log_of(rng.integers(0, NUM_USERS, 1200), items.astype(int))
    ids = {}
    for rate in (0.0, 0.05):
        model, catalog = made(log, 20, unknown_rate=rate)
        assert np.any(model.query_tower.stored.numpy()[0]) == (rate > 0)
        ids[rate] = tr.Service.build(model, catalog, k_max=20).recommend(["new"], k=10)[0]
    counts = catalog.items.counts[catalog.items.encode(ids[0.05][0])]
    assert counts.mean() > 1.5 * catalog.items.counts[1:].mean()


def test_the_export_takes_histories_too(service, trained, tmp_path):
    model, catalog = trained
    served = tr.load(tr.save(service, tmp_path / "light_gcn", model=model))
    for asked in ({"history": histories(catalog, [7, 9])}, {}):
        ours = service.recommend(["new", "u3"], k=10, **asked)
        theirs = served.recommend(["new", "u3"], k=10, **asked)
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_allclose(ours[1], theirs[1], atol=1e-6)


def test_new_nodes_are_attached_and_found(trained):
    model, catalog = trained
    before, frame = model.embed_catalog(), clusters().frame
    fans = np.flatnonzero(np.arange(NUM_USERS) % 4 == 1)
    more = log_of([*fans, 99, 99], [NUM_ITEMS] * (len(fans) + 1) + [1])
    grown = Interactions(pd.concat([frame, more.frame], ignore_index=True))
    attached, larger = model.attached(grown, catalog)
    assert (larger.num_items, larger.users.size) == (NUM_ITEMS + 1, NUM_USERS + 2)
    service = tr.Service.build(attached, larger, k_max=20)
    ids, _ = service.similar([f"i{NUM_ITEMS}"], k=10)
    assert own(ids, [1]) > 0.9
    ids, _ = service.recommend([f"u{n}" for n in fans], k=16, exclude_seen=False)
    assert np.mean([f"i{NUM_ITEMS}" in line for line in ids]) > 0.5
    # the new user has no vector of their own, so that edges and a history are the same
    by_history = service.embed_query(["new"], history=[[f"i{NUM_ITEMS}", "i1"]])
    np.testing.assert_allclose(by_history, service.embed_query(["u99"]), atol=1e-6)
    np.testing.assert_array_equal(model.embed_catalog(), before)  # the first is as it was
    attached.compile()
    attached.train(grown, larger, Train(epochs=1))  # and goes on to learn


def test_a_saved_model_answers_without_its_graph_and_learns_on(trained, tmp_path):
    model, catalog = trained
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.propagation.graph is None
    np.testing.assert_array_equal(again.embed_catalog(), model.embed_catalog())
    users = {"user": tf.range(catalog.users.size)}
    np.testing.assert_array_equal(again.embed_query(users), model.embed_query(users))
    again.train(clusters(), catalog, Train(epochs=7), initial_epoch=6)
    assert np.abs(again.embed_catalog() - model.embed_catalog()).max() > 1e-4


CONFIG = {
    "data": {"name": "synthetic", "num_users": 100, "num_items": 60, "num_interactions": 2000},
    "split": {"name": "by_time", "test": 0.1, "validation": 0.1},
    "model": {"name": "light_gcn", "dim": 4, "num_layers": 2},
    "train": {"epochs": 4, "patience": "never"},
}


@pytest.mark.slow
def test_resuming_ends_with_the_same_weights(tmp_path):
    prepared = Prepared.of(Config.from_dict(CONFIG))
    whole = fit(prepared, tmp_path / "whole")
    half = Config.from_dict({**CONFIG, "train": {"epochs": 2, "patience": "never"}})
    fit(Prepared.of(half), tmp_path / "parts")
    resumed = fit(prepared, tmp_path / "parts")
    for one, other in zip(whole.weights, resumed.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    assert int(whole.step) == 4 * 25  # 1600 rows in batches of 64, the fewest


def test_batches_are_a_hundredth_of_the_log_unless_a_size_is_asked_for(trained):
    model, catalog = trained
    log = clusters()
    sizes = {600: 64, 20_000: 192, 800_000: 8000, 10_000_000: 8192}
    assert all(model.default_batch_size(range(rows)) == size for rows, size in sizes.items())
    sampled = tr.LightGCN(propagation=tr.SampledNeighbors())
    assert [sampled.default_batch_size(range(rows)) for rows in sizes] == [64, 192, 1024, 1024]
    assert model.batches(log, catalog).batch_size == 64
    assert model.batches(log, catalog, 100).batch_size == 100
    assert tr.TwoTower().default_batch_size(log) == 1024


def test_an_interaction_of_weight_0_is_no_edge():
    log = log_of([0, 0, 1, 1, 1], [0, 1, 0, 2, 2])
    frame = log.frame.assign(weight=np.float32([1, 0, 2, 3, 1]))
    weighted = replace(log, frame=frame)
    catalog = tr.Catalog.fit(weighted)
    graph = edges(weighted, catalog)
    rows = np.repeat(np.arange(graph.num_nodes), graph.degrees)
    names = zip(catalog.users.ids[rows - 1], catalog.items.ids[graph.targets - 1], strict=True)
    assert sorted(names) == [("u0", "i0"), ("u1", "i0"), ("u1", "i2")]
    none = replace(log, frame=log.frame.assign(weight=np.float32(0)))
    with pytest.raises(ValueError, match="nothing to learn: .* all weights are 0"):
        tr.LightGCN().adapt(none, catalog)


def test_it_learns_by_bpr_of_any_length_and_in_half_precision():
    arguments = {"normalize": False, "loss": tr.BPR(1.0), "negatives": tr.Uniform(64)}
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model, catalog = made(clusters(), 20, **arguments)
    finally:
        keras.config.set_dtype_policy(before)
    ids, _ = tr.Service.build(model, catalog, k_max=20).recommend(["u0", "u1"], k=10)
    assert own(ids, range(2)) > 0.9
    assert np.ptp(np.linalg.norm(model.embed_catalog(), axis=1)) > 0.05
    assert {each.dtype for each in model.propagation.tables.values()} == {"float32"}


def test_xla_is_refused():
    config = Config.from_dict({**CONFIG, "train": {"jit_compile": True}})
    with pytest.raises(ValueError, match="train.jit_compile is true.*leave train.jit_compile out"):
        Prepared.of(config)
    with pytest.raises(ValueError, match="jit_compile=True does not go with LightGCN.*leave it"):
        tr.LightGCN().compile(jit_compile=True)


SAMPLED = {"propagation": tr.SampledNeighbors([5, 3]), "num_layers": 2}


@pytest.fixture(scope="module")
def sampled():
    return made(clusters(), **SAMPLED)


@pytest.mark.slow
def test_from_sampled_neighbors_it_learns_as_much():
    keras.utils.set_random_seed(0)
    split = random(clusters(num=900), test=0.2)
    cases = tr.cases_by_user(split.test, tr.Catalog.fit(split.train))
    recall = []
    for way in (tr.WholeGraph(), tr.SampledNeighbors([5, 3])):
        model, catalog = made(split.train, 10, propagation=way, num_layers=2)
        report = tr.evaluate(tr.Service.build(model, catalog), cases, catalog, (10,), lists=False)
        recall.append(report.metrics["recall@10"])
    assert recall[0] > 0.5  # by chance 0.17
    assert recall[1] > 0.9 * recall[0]


@pytest.mark.slow
def test_what_sampling_serves_is_of_the_whole_graph(sampled, tmp_path):
    model, catalog = sampled
    whole = tr.LightGCN(dim=8, num_layers=2).adapt(clusters(), catalog)
    for entity, table in whole.propagation.tables.items():
        table.assign(model.propagation.tables[entity])
    whole.refresh()
    for tower in ("query_tower", "item_tower"):
        ours, theirs = getattr(model, tower), getattr(whole, tower)
        np.testing.assert_allclose(ours.stored, theirs.stored, atol=1e-5)
    np.testing.assert_allclose(model.query_tower.sent, whole.query_tower.sent, atol=1e-5)
    served = tr.load(tr.save(tr.Service.build(*sampled), tmp_path / "sampled", model=model))
    ids, _ = served.recommend(["new", "u1"], k=10, history=[["i2", "i6"], []])
    assert own(ids, [2, 1]) > 0.8


def test_a_mapped_graph_trains_as_one_in_memory(sampled, tmp_path):
    model, catalog = sampled
    relations = []
    for each in model.propagation.graph.relations:
        each.graph.save(tmp_path / each.name)
        relations.append(replace(each, graph=tr.Graph.load(tmp_path / each.name)))
    keras.utils.set_random_seed(0)
    mapped = tr.LightGCN(dim=8, **SAMPLED)
    mapped.adapt(clusters(), catalog, tr.TypedGraph(relations, {"user": catalog.users}))
    mapped.compile()
    mapped.train(clusters(), catalog, Train(epochs=6))
    np.testing.assert_allclose(mapped.embed_catalog(), model.embed_catalog(), atol=1e-5)
    others = tr.Catalog.fit(log_of(np.arange(NUM_USERS) + 1, np.arange(NUM_USERS)))
    with pytest.raises(ValueError, match="the graph"):
        graph = tr.TypedGraph(relations, {"user": others.users})
        tr.LightGCN(dim=8, **SAMPLED).adapt(clusters(), catalog, graph)


def test_a_sampled_model_is_saved_and_attached_and_learns_on(sampled, tmp_path):
    model, catalog = sampled
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.propagation.way.fan_outs == [5, 3]
    np.testing.assert_array_equal(again.embed_catalog(), model.embed_catalog())
    again.train(clusters(), catalog, Train(epochs=7), initial_epoch=6)
    assert np.abs(again.embed_catalog() - model.embed_catalog()).max() > 1e-4
    more = pd.concat([clusters().frame, log_of([99, 99], [1, 5]).frame], ignore_index=True)
    attached, larger = model.attached(Interactions(more), catalog)
    ids, _ = tr.Service.build(attached, larger, k_max=20).recommend(["u99"], k=10)
    assert own(ids, [1]) > 0.9


@pytest.mark.slow
def test_sampling_goes_with_xla():
    catalog = tr.Catalog.fit(clusters())
    model = tr.LightGCN(dim=8, **SAMPLED).adapt(clusters(), catalog)
    model.compile(jit_compile=True)
    batches = model.batches(clusters(), catalog)
    history = model.fit(batches.dataset(), steps_per_epoch=2, verbose=0, shuffle=False)
    assert np.isfinite(history.history["loss"]).all()


def test_negatives_that_are_drawn_in_the_step_are_refused():
    negatives, log = tr.SameGroup("color", num=2), clusters()
    items = pd.DataFrame({"item_id": tr.Catalog.fit(log).items.ids, "color": "red"})
    log = Interactions(log.frame, items=items)
    with pytest.raises(ValueError, match="draws items that are not known before the batch is"):
        tr.LightGCN(negatives=negatives, **SAMPLED).adapt(log, tr.Catalog.fit(log))
