"""Exports where they are loaded: in TensorFlow Serving's loader and session without Python, and
beside each other.
"""

import gc
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.export.load import load
from tf_recall.export.write import save
from tf_recall.features import Categorical, Pretrained
from tf_recall.index import IVF, Exact, ScaNN
from tf_recall.index import scann as module
from tf_recall.recommend.arrays import batch
from tf_recall.recommend.service import Service
from tf_recall.towers.features import FeatureTower

NUM_ITEMS, DIM = 2000, 8


def make(index, number=False, seed=0):
    """A service over items that lie in clusters, for users who like one cluster each."""
    generator = np.random.default_rng(seed)
    centers = generator.normal(size=(20, DIM))
    vectors = (
        centers[generator.integers(20, size=NUM_ITEMS)]
        + 0.2 * generator.normal(size=(NUM_ITEMS, DIM))
    ).tolist()
    item_id = np.arange(NUM_ITEMS) + 7 if number else [f"item {at}" for at in range(NUM_ITEMS)]
    user_id = np.arange(20) + 1000 if number else [f"user {at} ü" for at in range(20)]
    users = pd.DataFrame(
        {"user_id": user_id, "taste": centers.tolist(), "plan": ["free", "paid"] * 10}
    )
    items = pd.DataFrame({"item_id": item_id, "vector": vectors})
    log = Interactions.from_columns(user_id=user_id, item_id=item_id[:20], users=users, items=items)
    catalog = Catalog.fit(log)
    keras.utils.set_random_seed(seed)
    query = FeatureTower("user", [Pretrained("taste"), Categorical("plan")], units=[DIM])
    item = FeatureTower("item", [Pretrained("vector")])
    query.adapt(log, catalog)
    item.adapt(log, catalog)
    embedded = item({"item": tf.range(1, NUM_ITEMS + 1)}).numpy()
    return Service(query, item, index.build(embedded), catalog, k_max=20)


def run_of(service, endpoint, signature, given):
    """A request as what to feed to a session, and what to fetch."""
    key = "user_id" if "user_id" in given else "item_id"
    arrays = batch(service.inputs[endpoint], key, given)
    tensors = [(info, arrays[name]) for name, info in signature.inputs.items()]
    feeds = [
        {"tensor": i.name, "dtype": i.dtype, "shape": a.shape, "values": a.tolist()}
        for i, a in tensors
    ]
    return {"feeds": feeds, "fetches": [info.name for info in signature.outputs.values()]}


def ask(service, folder, path, endpoints=("serving_default",), libraries=()):
    """Answers by name to each of the endpoints' `requests`, from a process that is not this one; or
    its error.
    """
    model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    signatures = model.meta_graphs[0].signature_def
    asked = [(name, given) for name in endpoints for given in requests(service)[name]]
    runs = [run_of(service, name, signatures[name], given) for name, given in asked]
    libraries = [str(library) for library in libraries]
    path.write_text(json.dumps({"export": str(folder), "libraries": libraries, "runs": runs}))
    command = [sys.executable, str(Path(__file__).with_name("c_api.py")), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    answer = json.loads(done.stdout)
    if "error" in answer:
        return answer["error"]
    return [
        {name: np.array(run[info.name]) for name, info in signatures[endpoint].outputs.items()}
        for (endpoint, _), run in zip(asked, answer["outputs"], strict=True)
    ]


def check(service, answers, endpoints=("serving_default",)):
    asked = [(name, given) for name in endpoints for given in requests(service)[name]]
    answer_of = {"serving_default": service.recommend, "similar_items": service.similar}
    for (endpoint, given), answer in zip(asked, answers, strict=True):
        item_id, score = answer_of[endpoint](k=20, **given)
        np.testing.assert_array_equal(answer["item_id"], item_id)
        np.testing.assert_allclose(answer["score"], score, atol=1e-6)


def requests(service):
    users, items = service.catalog.users.ids[:3], service.catalog.items.ids
    nobody = -5 if service.catalog.items.dtype == "int64" else "a stranger"
    return {
        "serving_default": [
            {"user_id": users},
            {"user_id": users, "exclude": items[:4], "exclude_seen": True, "plan": "paid"},
            {"user_id": users, "exclude": items[:2], "allow": [items[:5], items[5:6], []]},
        ],
        "similar_items": [
            {"item_id": items[:3]},
            {
                "item_id": [items[3], nobody],
                "exclude": items[:4],
                "vector": [[np.nan] * DIM, [1.0] * DIM],
            },
            {"item_id": items[:3], "exclude": items[:2], "allow": [items[:5], items[5:6], []]},
        ],
    }


@pytest.mark.parametrize("index, number", [(Exact, False), (Exact, True), (IVF, False)])
def test_a_stock_export_answers_as_the_service_did(index, number, tmp_path):
    service = make(index(), number)
    folder = save(service, tmp_path / "portable")
    endpoints = ("serving_default", "similar_items")
    check(service, ask(service, folder, tmp_path / "request.json", endpoints), endpoints)


@pytest.fixture(scope="module")
def scann(tmp_path_factory):
    """Two services with ScaNN over different vectors, and their exports."""
    pytest.importorskip("scann", reason="ScaNN is not installed")
    folder = tmp_path_factory.mktemp("saved_models")
    services = [make(ScaNN(), seed=seed) for seed in (1, 2)]
    return [(service, save(service, folder / f"scann_{at}")) for at, service in enumerate(services)]


@pytest.mark.slow
def test_a_scann_export_needs_the_op_library(scann, tmp_path):
    service, folder = scann[0]
    assert "Op type not registered 'Scann>" in ask(service, folder, tmp_path / "request.json")
    library = (
        Path(importlib.util.find_spec("scann").origin).parent / "scann_ops" / "cc" / "_scann_ops.so"
    )
    check(service, ask(service, folder, tmp_path / "request.json", libraries=[library]))


@pytest.mark.slow
def test_two_scann_exports_in_one_process_do_not_mix(scann):
    loaded = [load(folder) for _, folder in scann]
    for _ in range(2):
        for (service, _), served in zip(scann, loaded, strict=True):
            for given in requests(service)["serving_default"]:
                item_id, score = service.recommend(k=20, **given)
                again, its_score = served.recommend(k=20, **given)
                np.testing.assert_array_equal(again, item_id)
                np.testing.assert_allclose(its_score, score, atol=1e-6)
                exact = service.embed_query(given["user_id"], plan=given.get("plan"))
                exact = np.einsum(
                    "bd,bkd->bk",
                    exact,
                    service.embed_item(item_id.ravel()).reshape(*item_id.shape, -1),
                )
                np.testing.assert_allclose(
                    np.where(item_id == "", -np.inf, exact), score, atol=1e-5
                )
    first, second = (
        service.recommend(service.catalog.users.ids[:3], k=20)[0].tolist() for service, _ in scann
    )
    assert first != second


@pytest.mark.slow
def test_what_a_scann_export_searches_with_goes_when_it_is_dropped(scann, monkeypatch):
    """Each load has a searcher of its own; that of another, of the same folder too, stays."""
    released, release = [], module._release
    monkeypatch.setattr(module, "_release", lambda name: released.append(name) or release(name))
    service, folder = scann[0]
    given = requests(service)["serving_default"][1]
    expected = service.recommend(k=20, **given)[0].tolist()
    stays = load(folder)
    assert stays.recommend(k=20, **given)[0].tolist() == expected
    for number in range(2):
        dropped = load(folder)
        assert dropped.recommend(k=20, **given)[0].tolist() == expected
        del dropped
        gc.collect()
        assert len(set(released)) == number + 1
        assert stays.recommend(k=20, **given)[0].tolist() == expected
    assert load(folder).recommend(k=20, **given)[0].tolist() == expected
    assert service.recommend(k=20, **given)[0].tolist() == expected


def test_a_scann_export_names_the_extra_that_is_missing(scann, monkeypatch):
    monkeypatch.setitem(sys.modules, "scann.scann_ops.py", None)
    with pytest.raises(ImportError, match=r"searches with ScaNN: pip install 'tf-recall\[scann\]'"):
        load(scann[0][1])
