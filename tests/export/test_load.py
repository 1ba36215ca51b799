"""Loading an export: what is missing or truncated is named, and the requests of the manual are
answered.
"""

import gc
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.export.load import load, restore
from tf_recall.export.write import save
from tf_recall.features import Categorical, Id, Numeric, Pretrained
from tf_recall.index import Exact
from tf_recall.recommend.service import Service
from tf_recall.towers.features import FeatureTower

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def service():
    """Over two users with a device and an age, and ten items."""
    users = pd.DataFrame(
        {"user_id": ["u1", "u2"], "device": ["phone", "desk"], "age": [20.0, 30.0]}
    )
    log = Interactions.from_columns(
        user_id=["u1", "u2"] * 5, item_id=[f"i{at}" for at in range(10)], users=users
    )
    catalog = Catalog.fit(log)
    query = FeatureTower("user", [Categorical("device"), Numeric("age")], units=[4])
    item = FeatureTower("item", [Id(4)])
    query.adapt(log, catalog)
    item.adapt(log, catalog)
    return Service(
        query, item, Exact().build(np.random.default_rng(0).normal(size=(10, 4))), catalog, k_max=10
    )


def test_what_is_missing_or_truncated_is_named(service, tmp_path):
    folder = save(service, tmp_path / "a")
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json"]
    assert len(files) >= 8
    for path in files:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(ValueError, match=re.escape(f"{path} is damaged")):
            load(folder)
        path.unlink()
        with pytest.raises(
            FileNotFoundError,
            match="no export at" if path.name == "saved_model.pb" else f"lacks .*{path.name}",
        ):
            load(folder)
        path.write_bytes(content)
    assert load(folder)
    message = "holds no model: the export was written without model="
    with pytest.raises(FileNotFoundError, match=message):
        restore(folder)
    with pytest.raises(FileNotFoundError, match="no export at .*nowhere"):
        load(tmp_path / "nowhere")


def size_of(table):
    """How many ids a lookup table holds; None where it is gone, or is none."""
    try:
        return int(tf.raw_ops.LookupTableSizeV2(table_handle=table))
    except (tf.errors.NotFoundError, tf.errors.InvalidArgumentError):
        return None


def test_tables_of_ids_leave_memory_with_what_was_loaded(service, tmp_path):
    """TensorFlow would keep them for good: 50 bytes an id, with every version of a server."""
    folder = save(service, tmp_path / "a")

    def tables_of(loaded):
        found = [each for f in loaded.signatures.values() for each in f.captured_inputs]
        # others' handles: those of the graphs keep the tables
        return [tf.identity(each) for each in found if size_of(each)]

    stays, goes = load(folder), load(folder)
    kept, gone = tables_of(stays), tables_of(goes)
    assert {size_of(each) for each in kept} == {size_of(each) for each in gone} == {11, 3}
    expected = stays.recommend(["u1", "u2"], k=3)[0].tolist()
    del goes
    gc.collect()
    assert {size_of(each) for each in gone} == {None}
    assert {size_of(each) for each in kept} == {11, 3}
    assert stays.recommend(["u1", "u2"], k=3)[0].tolist() == expected
    assert load(folder).recommend(["u1", "u2"], k=3)[0].tolist() == expected


def server_side(request, inputs):
    """Tensors as the server makes them of JSON: every input, every row of one length, exact
    types.
    """
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
    assert len(requests) == 6
    served = load(save(service, tmp_path / "manual"))
    for request in requests:
        endpoint = request.get("signature_name", "serving_default")
        answer = served._signatures[endpoint](**server_side(request, served.inputs[endpoint]))
        if endpoint == "similar_items":
            assert set(answer["item_id"].numpy()[0, :9]) == {b"i0", b"i1", b"i2"} | {
                b"i%d" % at for at in range(4, 10)
            }
        elif "instances" in request or len(request["inputs"]["user_id"]) == 2:
            catalog = service.catalog
            seen = catalog.seen.of(1), catalog.seen.of(2)
            found = catalog.items.encode(answer["item_id"].numpy())
            assert not any(
                set(row) & set(rows) - {0} for row, rows in zip(found, seen, strict=True)
            )


class MeanOfItems(FeatureTower):
    """A user is the mean of the items that the request names, and without any the `taste` stored of
    the user.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.takes_history = True

    def inputs_from_raw(self, rows, raw, history=None):
        return {**super().inputs_from_raw(rows, raw), "history": history}

    def call(self, inputs, training=False):
        rows = inputs["history"]  # [B, L]
        known = tf.cast(rows > 0, tf.float32)[:, :, None]
        vectors = tf.gather(tf.constant(VECTORS, tf.float32), rows) * known  # [B, L, dim]
        count = tf.reduce_sum(known, axis=1)  # [B, 1]
        return tf.where(
            count > 0, tf.reduce_sum(vectors, axis=1) / tf.maximum(count, 1), super().call(inputs)
        )


# of nothing, and of the items a, b, c, d
VECTORS = [
    [0, 0],
    [1, 0],
    [0.75, 0.25],
    [0, 1],
    [0.5, 0.5],
]


@pytest.fixture(scope="module", params=["service", "export"])
def by_history(request, tmp_path_factory):
    """Items a, b, c, d; user u took a, and likes c."""
    users = pd.DataFrame({"user_id": ["u"], "taste": [[0.0, 1.0]]})
    items = pd.DataFrame({"item_id": list("abcd"), "vector": VECTORS[1:]})
    log = Interactions.from_columns(user_id=["u"], item_id=["a"], users=users, items=items)
    catalog = Catalog.fit(log)
    query = MeanOfItems("user", [Pretrained("taste")], normalize=False)
    item = FeatureTower("item", [Pretrained("vector")], normalize=False)
    query.adapt(log, catalog)
    item.adapt(log, catalog)
    model = SimpleNamespace(
        query_tower=query, item_tower=item, embed_catalog=lambda: np.array(VECTORS[1:])
    )
    service = Service.build(model, catalog)
    return (
        load(save(service, tmp_path_factory.mktemp("history") / "a"))
        if request.param == "export"
        else service
    )


def test_it_says_whether_it_takes_a_history(by_history, service, tmp_path):
    assert by_history.takes_history and not service.takes_history
    assert not load(save(service, tmp_path / "model")).takes_history


def test_a_history_stands_for_what_is_stored(by_history):
    # the means of a and b: [0.875, 0.125]; of c: [0, 1], which is also what is stored of u
    given = {"history": [["a", "b"], ["c"], [], ["nowhere"]]}
    users = ["", "", "u", "u"]
    item_id, score = by_history.recommend(users, k=2, **given)
    assert item_id.tolist() == [["a", "b"], ["c", "d"], ["c", "d"], ["c", "d"]]
    np.testing.assert_allclose(score, [[0.875, 0.6875], [1, 0.5], [1, 0.5], [1, 0.5]])
    np.testing.assert_allclose(
        by_history.embed_query(users, **given), [[0.875, 0.125], [0, 1], [0, 1], [0, 1]]
    )
    assert by_history.recommend("u", k=1)[0].tolist() == [["c"]]  # none given: the same
    # one list for all
    assert by_history.recommend(["u", ""], k=1, history=["b"])[0].tolist() == [
        ["a"],
        ["a"],
    ]
    assert set(by_history.query_columns) == {"taste"}
    with pytest.raises(
        ValueError, match="history must have one list for each of the 2 rows, got 1"
    ):
        by_history.recommend(["u", ""], k=1, history=[["b"]])


def test_a_history_explains_in_place_of_what_is_stored(by_history):
    if not by_history.explains:
        with pytest.raises(ValueError, match="LoadedService answers without explanations"):
            by_history.explain("u", "d")
        return
    # u has seen a; d is at an angle to a, b and c, and nearest to b
    assert [reason["id"] for reason in by_history.explain("u", "d")] == ["a"]
    found = by_history.explain("u", "d", history=["c", "nowhere", "c"])
    assert found == [{"kind": "item", "id": "c", "share": 1.0}]
    found = by_history.explain("nobody", "d", history=["c", "b"])
    assert [reason["id"] for reason in found] == ["b", "c"]


def test_exclude_seen_leaves_out_the_history_given(by_history):
    # u has seen a
    ask = {"k": 4, "history": [["a", "b"], ["c"], []], "exclude_seen": [True, True, True]}
    item_id, _ = by_history.recommend(["", "u", "u"], **ask)
    assert item_id.tolist() == [["d", "c", "", ""], ["d", "b", "", ""], ["c", "d", "b", ""]]
    item_id, _ = by_history.recommend(
        ["", "u", "u"], **{**ask, "exclude_seen": [False, True, False]}
    )
    assert item_id.tolist() == [["a", "b", "d", "c"], ["d", "b", "", ""], ["c", "d", "b", "a"]]
    rows, _ = by_history.recommend_rows(["", "u"], k=4, history=[["b"], ["b"]], exclude_seen=True)
    assert [set(row) - {0} for row in rows.tolist()] == [{1, 3, 4}, {3, 4}]
