"""Loading an export: what is missing or truncated is named, and the requests of the manual are answered."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.features import Categorical, Id, Numeric
from tf_recall.index import Exact
from tf_recall.served import load, restore
from tf_recall.service import Service
from tf_recall.towers.features import FeatureTower

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def service():
    """Over two users with a device and an age, and ten items."""
    users = pd.DataFrame({"user_id": ["u1", "u2"], "device": ["phone", "desk"], "age": [20.0, 30.0]})
    log = Interactions.from_columns(user_id=["u1", "u2"] * 5, item_id=[f"i{at}" for at in range(10)], users=users)
    catalog = Catalog.fit(log)
    query = FeatureTower("user", [Categorical("device"), Numeric("age")], units=[4])
    item = FeatureTower("item", [Id(4)])
    query.adapt(catalog.users, catalog.user_table)
    item.adapt(catalog.items)
    return Service(query, item, Exact().build(np.random.default_rng(0).normal(size=(10, 4))), catalog, k_max=10)


def test_what_is_missing_or_truncated_is_named(service, tmp_path):
    folder = service.export(tmp_path / "a")
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json"]
    assert len(files) >= 8
    for path in files:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(ValueError, match=re.escape(f"{path} is damaged")):
            load(folder)
        path.unlink()
        with pytest.raises(
            FileNotFoundError, match="no export at" if path.name == "saved_model.pb" else f"lacks .*{path.name}"
        ):
            load(folder)
        path.write_bytes(content)
    assert load(folder)
    graph = (folder / "saved_model.pb").read_bytes()
    (folder / "saved_model.pb").write_bytes(b"\xff" * len(graph))
    with pytest.raises(ValueError, match="saved_model.pb is damaged"):
        load(folder)
    (folder / "saved_model.pb").write_bytes(graph)
    weights = folder / "variables" / "variables.data-00000-of-00001"
    weights.write_bytes(bytes(len(weights.read_bytes())))
    with pytest.raises(ValueError, match="is damaged, export or copy it again"):
        load(folder)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="manifest.json is damaged"):
        load(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError, match="manifest.json is missing"):
        load(folder)
    with pytest.raises(FileNotFoundError, match="holds no model: the export was written without model="):
        restore(folder)
    with pytest.raises(FileNotFoundError, match="no export at .*nowhere"):
        load(tmp_path / "nowhere")


def server_side(request, inputs):
    """Tensors as the server makes them of JSON: every input, every row of one length, exact types."""
    if "instances" in request:
        rows = request["instances"]
        assert all(set(row) == set(inputs) for row in rows)
        values = {name: [row[name] for row in rows] for name in inputs}
    else:
        values = request["inputs"]
    assert set(values) == set(inputs)
    return {name: tf.constant(value, inputs[name].dtype) for name, value in values.items()}


def test_the_requests_of_the_manual(service, tmp_path):
    page = (ROOT / "saved_models" / "README.md").read_text()
    requests = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]
    assert len(requests) == 5
    served = load(service.export(tmp_path / "manual"))
    for request in requests:
        endpoint = request.get("signature_name", "serving_default")
        answer = served._signatures[endpoint](**server_side(request, served.inputs[endpoint]))
        if "instances" in request or len(request["inputs"]["user_id"]) == 2:
            catalog = service.catalog
            seen = catalog.seen.of(1), catalog.seen.of(2)
            found = catalog.items.encode(answer["item_id"].numpy())
            assert not any(set(row) & set(rows) - {0} for row, rows in zip(found, seen, strict=True))
