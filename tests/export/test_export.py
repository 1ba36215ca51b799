"""Exports: what is written, that it is whole or not there, and that whoever loads it gets the
service's own answers.
"""

import functools
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import yaml
from tensorflow_serving.apis import prediction_log_pb2

from tf_recall.data.catalog import Catalog
from tf_recall.data.ids import raw_ids
from tf_recall.data.interactions import Interactions
from tf_recall.export.load import load, restore
from tf_recall.export.write import save
from tf_recall.features import Categorical, Id, MultiValued, Numeric, Pretrained, Text, Timestamp
from tf_recall.index import Exact
from tf_recall.models.two_tower import TwoTower
from tf_recall.recommend.arrays import batch
from tf_recall.recommend.service import Service
from tf_recall.towers.features import FeatureTower

NUM_USERS, NUM_ITEMS = 40, 120


def make(number=False, seed=0):
    """An untrained two-tower model over every kind of feature, and its service."""
    generator = np.random.default_rng(seed)
    user_id = np.arange(NUM_USERS) * 10 if number else [f"user {at} ü" for at in range(NUM_USERS)]
    item_id = np.arange(NUM_ITEMS) * 3 if number else [f"item {at}" for at in range(NUM_ITEMS)]
    users = pd.DataFrame(
        {"user_id": user_id, "device": generator.choice(["phone", "desk"], NUM_USERS)}
    )
    users["age"] = np.where(
        generator.random(NUM_USERS) < 0.2, np.nan, generator.integers(10, 80, NUM_USERS)
    )
    items = pd.DataFrame(
        {
            "item_id": item_id,
            "title": [
                f"The {word} returns" for word in generator.choice(list("abcdef"), NUM_ITEMS)
            ],
        }
    )
    items["genres"] = generator.choice(["Drama", "Comedy|Drama", "", "War"], NUM_ITEMS)
    items["picture"] = list(generator.normal(size=(NUM_ITEMS, 3)))
    log = Interactions.from_columns(
        user_id=np.array(user_id)[generator.integers(NUM_USERS, size=600)],
        item_id=np.array(item_id)[generator.integers(NUM_ITEMS, size=600)],
        timestamp=1_600_000_000 + generator.integers(0, 10**7, size=600),
        users=users,
        items=items,
    )
    keras.utils.set_random_seed(seed)
    catalog = Catalog.fit(log)
    query = [Id(4), Categorical("device"), Numeric("age"), Timestamp("timestamp")]
    item = [Id(4), Text("title", dim=4), MultiValued("genres", dim=4), Pretrained("picture")]
    model = TwoTower(
        FeatureTower("user", query, units=[8, 6]), FeatureTower("item", item, units=[8, 6])
    )
    model.adapt(log, catalog)
    return model, catalog


def ask(service, users, items):
    """Answers to requests of many shapes, by name."""
    asked = {
        "plain": {},
        "features": {"device": "desk", "age": 33, "timestamp": 1.6e9},
        "filters": {"exclude": [items[:3], [], items[5:6]], "exclude_seen": [True, False, True]},
        "allow": {
            "allow": [items[10:20], [], items[7:9]],
            "exclude": items[:12],
            "timestamp": [1.6e9, np.nan, 1.605e9],
        },
    }
    answers = {}
    for name, given in asked.items():
        answers[name], answers[f"{name} scores"] = service.recommend(users, k=25, **given)
    known = [*items[:2], users[2]]  # the stranger's id is no item's either
    for name, given in {
        "similar": {},
        "similar to what is said": {"title": "The c departs", "picture": [0.5, 0.5, 0.5]},
        "similar within lists": {
            "exclude": [items[:3], [], items[5:6]],
            "allow": [items[:9], [], items[7:9]],
        },
    }.items():
        answers[name], answers[f"{name} scores"] = service.similar(known, k=25, **given)
    answers["queries"] = service.embed_query(users, device=["desk", None, "phone"])
    answers["items"] = service.embed_item(items[:4], title="The c departs", picture=[0.5, 0.5, 0.5])
    return answers


def users_of(catalog):
    return [*catalog.users.ids[:2], -5 if catalog.users.dtype == "int64" else "a stranger"]


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """A service and its export, once with string ids and once with integer ids."""
    made = []
    for number in (False, True):
        model, catalog = make(number)
        service = Service.build(model, catalog, index=Exact(), k_max=50)
        directory = tmp_path_factory.mktemp("saved_models") / "tiny"
        metrics = {"recall@20": np.float32(0.5)}
        made.append(
            (service, save(service, directory, config={"k_max": 50}, metrics=metrics, model=model))
        )
    return made


@pytest.fixture(params=[0, 1], ids=["string ids", "integer ids"])
def service(request, exports):
    return exports[request.param][0]


@pytest.fixture
def exported(service, exports):
    return dict(exports)[service]


loaded = functools.cache(load)  # what only reads an export shares it


def test_the_same_answers_after_a_reload(service, exported):
    users, items, served = users_of(service.catalog), service.catalog.items.ids, loaded(exported)
    again, answers = ask(served, users, items), ask(service, users, items)
    for name, values in answers.items():
        if values.dtype == np.float32:
            np.testing.assert_allclose(again[name], values, atol=1e-6, err_msg=name)
        else:
            assert again[name].tolist() == values.tolist(), name
    rows, score = served.recommend_rows(users, k=7, exclude_seen=True)
    expected = service.recommend_rows(users, k=7, exclude_seen=True)
    np.testing.assert_array_equal(rows, expected[0])
    np.testing.assert_allclose(score, expected[1], atol=1e-6)
    assert served.k_max == service.k_max and set(served.query_columns) == set(service.query_columns)
    reasons, expected = (
        each.explain(users[0], items[5], exclude_seen=True) for each in (served, service)
    )
    assert [reason["id"] for reason in reasons] == [reason["id"] for reason in expected]
    np.testing.assert_allclose(
        [r["share"] for r in reasons], [r["share"] for r in expected], atol=1e-5
    )
    assert served.explain(users[0], items[5]) and not served.explain(users[2], items[5])
    with pytest.raises(ValueError, match="k must be a whole number from 1 to 50"):
        served.recommend(users, k=51)


def test_numbers_that_float32_cannot_hold_are_missing(service, exported):
    users, items, served = users_of(service.catalog), service.catalog.items.ids, loaded(exported)
    for asked in (service, served):
        plain, other = asked.recommend(users, k=25), asked.embed_item(items[:2])
        for number in (1e40, -1e40, np.inf, 1e308, 10**400):
            given = {"age": number, "timestamp": [number, None, number]}
            for one, expected in zip(asked.recommend(users, k=25, **given), plain, strict=True):
                np.testing.assert_array_equal(one, expected)
        for broken in ([1e40, 0, 0], [np.nan, 0, 0], [2e19, 0, 0]):
            np.testing.assert_array_equal(asked.embed_item(items[:2], picture=broken), other)
        _, score = asked.recommend(users, k=25, age=[3e38, -3e38, 1e20], timestamp=-3e38)
        assert np.isfinite(score).all()


def test_a_text_is_one_however_it_is_encoded(service, exported):
    items = service.catalog.items.ids[:1]
    for asked in (service, loaded(exported)):
        vectors = [
            asked.embed_item(items, title=title, genres=genres)
            for title, genres in (
                ("The c returns", "Drama"),
                ("THE\u00ad C returns", " Drama |"),
                ("the c; Returns\u200d", "Drama| |"),
            )
        ]
        np.testing.assert_allclose(vectors[1:], [vectors[0]] * 2, atol=1e-6)


CLEAN = """
import sys
import numpy as np
import tensorflow as tf

answers = []
for path, asked in np.load(sys.argv[1], allow_pickle=True)[()]:
    signatures, found = tf.saved_model.load(path).signatures, {}
    for endpoint, arrays in asked.items():
        specs = signatures[endpoint].structured_input_signature[1]
        given = {name: tf.constant(array, specs[name].dtype) for name, array in arrays.items()}
        answer = signatures[endpoint](**given)
        found.update({f"{endpoint}/{name}": tensor.numpy() for name, tensor in answer.items()})
    answers.append(found)
ours = ("tf_recall", "keras", "tensorflow_recommenders")
assert not [name for name in sys.modules if name.startswith(ours)]
np.save(sys.argv[1], np.array(answers, dtype=object), allow_pickle=True)
"""


@pytest.mark.slow
def test_a_clean_process_needs_tensorflow_only(exports, tmp_path):
    asked = np.empty(len(exports), dtype=object)
    for at, (service, exported) in enumerate(exports):
        users, items = users_of(service.catalog), service.catalog.items.ids[:5]
        query = {"user_id": users, "timestamp": 1.6e9}
        given = {
            "serving_default": ("user_id", {**query, "exclude": items, "exclude_seen": True}),
            "embed_query": ("user_id", query),
            "embed_item": ("item_id", {"item_id": items}),
            "similar_items": ("item_id", {"item_id": items, "exclude": items[:2]}),
        }
        asked[at] = (
            str(exported),
            {name: batch(service.inputs[name], *one) for name, one in given.items()},
        )
    np.save(tmp_path / "asked.npy", asked, allow_pickle=True)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["TF_USE_LEGACY_KERAS"] = "1"  # TensorFlow itself would load Keras 3
    command = [sys.executable, "-c", CLEAN, str(tmp_path / "asked.npy")]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for (service, _), found in zip(
        exports, np.load(tmp_path / "asked.npy", allow_pickle=True), strict=True
    ):
        users, items = users_of(service.catalog), service.catalog.items.ids[:5]
        item_id, score = service.recommend(
            users, k=50, exclude=items, exclude_seen=True, timestamp=1.6e9
        )
        assert raw_ids(found["serving_default/item_id"]).tolist() == item_id.tolist()
        np.testing.assert_allclose(found["serving_default/score"], score, atol=1e-6)
        query = service.embed_query(users, timestamp=1.6e9)
        np.testing.assert_allclose(found["embed_query/embedding"], query, atol=1e-6)
        np.testing.assert_allclose(
            found["embed_item/embedding"], service.embed_item(items), atol=1e-6
        )
        item_id, score = service.similar(items, k=50, exclude=items[:2])
        assert raw_ids(found["similar_items/item_id"]).tolist() == item_id.tolist()
        np.testing.assert_allclose(found["similar_items/score"], score, atol=1e-6)


def test_every_input_and_output_is_batch_first(service, exported):
    for name, function in tf.saved_model.load(str(exported)).signatures.items():
        specs = {**function.structured_input_signature[1], **function.structured_outputs}
        assert {key: spec.shape[0] for key, spec in specs.items()} == dict.fromkeys(specs), name
    for name in ("serving_default", "similar_items"):
        outputs = loaded(exported)._signatures[name].structured_outputs
        shapes = {key: spec.shape.as_list() for key, spec in outputs.items()}
        assert shapes == {"item_id": [None, 50], "score": [None, 50]}


def test_the_model_and_catalog_come_back(service, exported):
    model, catalog = restore(exported.parent)
    again = Service.build(model, catalog, index=Exact(), k_max=50)
    users = users_of(service.catalog)
    for one, other in zip(
        again.recommend(users, timestamp=1.6e9),
        service.recommend(users, timestamp=1.6e9),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_warm_up_requests_run(service, exported):
    signatures = tf.saved_model.load(str(exported)).signatures
    asked = []
    for record in tf.data.TFRecordDataset(
        str(exported / "assets.extra" / "tf_serving_warmup_requests")
    ):
        request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        assert request.model_spec.name == "tiny"
        asked.append(request.model_spec.signature_name)
        arrays = {name: tf.make_ndarray(proto) for name, proto in request.inputs.items()}
        assert signatures[asked[-1]](**{name: tf.constant(array) for name, array in arrays.items()})
    assert set(asked) == set(signatures)


def test_vectors_that_were_computed_before_find_the_same_items(service, exported):
    users, items = users_of(service.catalog), service.catalog.items.ids[:5]
    lists = {"exclude": items, "exclude_seen": True}
    specs = dict(service.inputs["items_by_vector"])
    shape = specs.pop("embedding").shape.as_list()
    query = service.embed_query(users, timestamp=1.6e9)
    assert shape == [None, query.shape[1]]
    given = batch(specs, "user_id", {"user_id": users, **lists})
    tensors = {name: tf.constant(array, specs[name].dtype) for name, array in given.items()}
    found = loaded(exported).signatures["items_by_vector"](embedding=tf.constant(query), **tensors)
    item_id, score = service.recommend(users, k=50, timestamp=1.6e9, **lists)
    assert raw_ids(found["item_id"].numpy()).tolist() == item_id.tolist()
    np.testing.assert_allclose(found["score"], score, atol=1e-6)


def test_notes_lie_beside_the_model(exported):
    assert yaml.safe_load((exported / "config.yaml").read_text()) == {"k_max": 50}
    assert json.loads((exported / "metrics.json").read_text()) == {"recall@20": 0.5}


@pytest.mark.slow
def test_a_large_catalog_stays_out_of_the_graph(tmp_path):
    num_items = 200_000
    items = pd.DataFrame(
        {
            "item_id": [f"item number {at}" for at in range(num_items)],
            "vector": list(np.eye(num_items, 2)),
        }
    )
    users = pd.DataFrame({"user_id": ["u"], "taste": [[1.0, 2.0]]})
    log = Interactions.from_columns(
        user_id=["u"], item_id=["item number 0"], users=users, items=items
    )
    catalog = Catalog.fit(log)
    query, item = (
        FeatureTower("user", [Pretrained("taste")]),
        FeatureTower("item", [Pretrained("vector")]),
    )
    query.adapt(log, catalog)
    item.adapt(log, catalog)
    service = Service(query, item, Exact().build(np.eye(num_items, 2) + 1), catalog)
    folder = save(service, tmp_path / "large")
    assert (folder / "saved_model.pb").stat().st_size < 1_000_000
    item_id, score = load(folder).recommend(["u"], k=200)
    expected = service.recommend(["u"], k=200)
    assert item_id.tolist() == expected[0].tolist()
    np.testing.assert_allclose(score, expected[1], atol=1e-6)
