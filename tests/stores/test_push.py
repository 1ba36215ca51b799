"""An export's items in a store: filled whole, versions swapped, asked with a user's vector."""

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import tf_recall as tr
from tf_recall.cli import main
from tf_recall.export.versions import digest_of
from tf_recall.stores import push as pushing
from tf_recall.stores.places import content_of, fill, open_store, parsed


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    rng = np.random.default_rng(0)
    log = tr.Interactions.from_columns(
        [f"u{each}" for each in rng.integers(0, 20, 300)],
        [f"i{each}" for each in rng.integers(0, 30, 300)],
    )
    catalog = tr.Catalog.fit(log)
    model = tr.TwoTower(dim=8).adapt(log, catalog)
    service = tr.Service.build(model, catalog)
    path = tr.save(service, folder / "model", model=model)
    items = pd.DataFrame({"item_id": catalog.items.ids[:-1], "new": True})
    items.to_csv(folder / "items.csv", index=False)
    return path, folder / "items.csv", service


@pytest.mark.parametrize("kind", ["faiss-flat", "faiss-hnsw", "scann", "milvus"])
def test_a_store_answers_as_the_export(export, tmp_path, kind):
    path, items, service = export
    address = f"{kind}:{tmp_path / 'store'}" + (".db#films" if kind == "milvus" else "")
    pytest.importorskip({"scann": "scann", "milvus": "milvus_lite"}.get(kind, "faiss"))
    table = None if kind == "scann" else items
    contents = [content_of(address)]
    for _ in range(2):  # the second takes the first one's place
        answer = pushing.push(path, address, table)
        contents.append(content_of(address))
    assert contents[0] is None and len(set(contents)) == 3
    assert (answer["items"], answer["dim"]) == (30, 8)
    store = open_store(address)
    assert store.export == digest_of(path)
    users = ["u1", "u2"]
    queries = service.embed_query(users)
    found, scores = store.search(queries, 5)
    expected, values = service.recommend(users, k=5)
    assert found.tolist() == expected.tolist()
    np.testing.assert_allclose(scores, values, rtol=1e-4)
    if table is not None:
        narrowed, _ = store.search(queries, 30, where={"new": True})
        assert (narrowed != "").sum() == 2 * 29
    assert len(store) == 30
    store.close()


def test_the_command(export, tmp_path):
    pytest.importorskip("faiss")
    path, items, _ = export
    address = f"faiss-flat:{tmp_path / 'store'}"
    result = CliRunner().invoke(main, ["index", "push", str(path), address, "--items", str(items)])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout.splitlines()[-1])
    assert answer == {"store": address, "items": 30, "dim": 8, "columns": ["new"]}


def test_a_folder_keeps_the_version_before(tmp_path):
    pytest.importorskip("faiss")
    address = f"faiss-flat:{tmp_path / 'store'}"
    for number in range(4):
        fill(address, np.array([number]), np.ones((1, 2), np.float32))
    assert sorted(each.name for each in (tmp_path / "store").iterdir()) == ["3", "4"]
    assert open_store(address).search(np.ones((1, 2)), 1)[0].tolist() == [[3]]


@pytest.mark.parametrize(
    "address", ["", "faiss", "flat:x", "faiss-flat:", "milvus:x.db", "milvus:#a"]
)
def test_other_addresses(address, export):
    with pytest.raises(ValueError, match="is no address"):
        parsed(address)
    result = CliRunner().invoke(main, ["index", "push", "nothing", address])
    assert result.exit_code == 1 and "is no address" in result.output


def test_there_is_no_store(tmp_path):
    with pytest.raises(FileNotFoundError, match="index push"):
        open_store(f"faiss-flat:{tmp_path}")
    pytest.importorskip("milvus_lite")
    with pytest.raises(FileNotFoundError, match="no collection"):
        open_store(f"milvus:{tmp_path / 'a.db'}#films")
