"""Exports in the loader and session that TensorFlow Serving uses, with no Python TensorFlow in the process."""

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
from tf_recall.export import export
from tf_recall.features import Categorical, Pretrained
from tf_recall.index import Exact
from tf_recall.request import batch
from tf_recall.service import Service
from tf_recall.towers.features import FeatureTower

NUM_ITEMS, DIM = 2000, 8


def make(index, number=False):
    """A service whose query is the user's own vector and whose items lie in clusters."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(20, DIM))
    vectors = (centres[generator.integers(20, size=NUM_ITEMS)] + 0.2 * generator.normal(size=(NUM_ITEMS, DIM))).tolist()
    item_id = np.arange(NUM_ITEMS) + 7 if number else [f"item {at}" for at in range(NUM_ITEMS)]
    user_id = np.arange(20) + 1000 if number else [f"user {at} ü" for at in range(20)]
    users = pd.DataFrame({"user_id": user_id, "taste": centres.tolist(), "plan": ["free", "paid"] * 10})
    items = pd.DataFrame({"item_id": item_id, "vector": vectors})
    log = Interactions.from_columns(user_id=user_id, item_id=item_id[:20], users=users, items=items)
    catalog = Catalog.fit(log)
    keras.utils.set_random_seed(0)
    query = FeatureTower("user", [Pretrained("taste"), Categorical("plan")], units=[DIM])
    item = FeatureTower("item", [Pretrained("vector")])
    query.adapt(catalog.users, catalog.user_table)
    item.adapt(catalog.items, catalog.item_table)
    embedded = item({"item": tf.range(1, NUM_ITEMS + 1)}).numpy()
    return Service(query, item, index.build(embedded), catalog, k_max=20)


def ask(folder, endpoint, arrays, path, libraries=()):
    """Runs one request in a process of its own: outputs by name, or the error."""
    model = saved_model_pb2.SavedModel.FromString((Path(folder) / "saved_model.pb").read_bytes())
    signature = model.meta_graphs[0].signature_def[endpoint]
    feeds = [
        {"tensor": info.name, "dtype": info.dtype, "shape": arrays[name].shape, "values": arrays[name].tolist()}
        for name, info in signature.inputs.items()
    ]
    fetches = {name: info.name for name, info in signature.outputs.items()}
    request = {"export": str(folder), "libraries": list(libraries), "feeds": feeds, "fetches": list(fetches.values())}
    path.write_text(json.dumps(request))
    command = [sys.executable, str(Path(__file__).with_name("c_api.py")), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    answer = json.loads(done.stdout)
    return (
        {name: np.array(answer["outputs"][tensor]) for name, tensor in fetches.items()}
        if "outputs" in answer
        else answer
    )


def requests(service):
    users, items = service.catalog.users.ids[:3], service.catalog.items.ids
    return [
        {"user_id": users},
        {"user_id": users, "exclude": items[:4], "exclude_seen": True, "plan": "paid"},
        {"user_id": users, "exclude": items[:2], "allow": [items[:5], items[5:6], []]},
    ]


@pytest.mark.parametrize("number", [False, True], ids=["string ids", "integer ids"])
@pytest.mark.parametrize("index", [Exact])
def test_a_stock_export_answers_as_the_service_did(index, number, tmp_path):
    service = make(index(), number)
    folder = export(service, tmp_path / "portable")
    for given in requests(service):
        arrays = batch(service.inputs["serving_default"], "user_id", given)
        item_id, score = service.recommend(k=20, **given)
        answer = ask(folder, "serving_default", arrays, tmp_path / "request.json")
        np.testing.assert_array_equal(answer["item_id"], item_id)
        np.testing.assert_allclose(answer["score"], score, atol=1e-6)
