"""A catalog's vectors on Beam: the service's own, of every item once, however often the run was
interrupted.
"""

import json

import keras
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.export.write import save
from tf_recall.features import Categorical, Id, Numeric, Pretrained
from tf_recall.models.two_tower import TwoTower
from tf_recall.recommend.service import Service
from tf_recall.towers.features import FeatureTower

pytest.importorskip(
    "apache_beam", reason="tf_recall.beam needs apache-beam: pip install 'tf-recall[beam]'"
)

from tf_recall.beam import embed as module  # noqa: E402
from tf_recall.beam.embed import embed, main  # noqa: E402

NUM_ITEMS = 60


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """An untrained model of 60 items, its export, and a catalog of 20 items more:
    `(service, export, frame)`.
    """
    rng = np.random.default_rng(0)
    num = NUM_ITEMS + 20
    items = pd.DataFrame(
        {"item_id": [f"item {at} ü" for at in range(num)], "brand": rng.choice(list("abc"), num)}
    )
    items["price"] = np.where(rng.random(num) < 0.2, np.nan, rng.integers(1, 90, num))
    items["picture"] = list(rng.normal(size=(num, 3)))
    items.loc[::7, "brand"] = None
    known, taken = items[:NUM_ITEMS], rng.integers(NUM_ITEMS, size=300)
    log = Interactions.from_columns(
        user_id=rng.integers(1, 9, 300),
        item_id=known["item_id"].to_numpy()[taken],
        items=known,
    )
    keras.utils.set_random_seed(0)
    catalog = Catalog.fit(log)
    features = [Id(4), Categorical("brand"), Numeric("price"), Pretrained("picture")]
    model = TwoTower(
        FeatureTower("user", [Id(4)], units=[6]), FeatureTower("item", features, units=[6])
    )
    model.adapt(log, catalog)
    service = Service.build(model, catalog)
    return service, save(service, tmp_path_factory.mktemp("models") / "two"), items


def write(frame, folder, rows_per_group=10, **changes):
    folder.mkdir()
    table = pa.Table.from_pandas(frame.assign(color="red", **changes), preserve_index=False)
    half = len(table) // 2
    pq.write_table(table[:half], folder / "a.parquet", row_group_size=rows_per_group)
    pq.write_table(table[half:], folder / "b.parquet", row_group_size=rows_per_group)
    return str(folder)


def read(folder):
    table = pq.read_table(sorted(folder.glob("*.parquet")))
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), 6)
    return table["item_id"].to_pylist(), np.array(table["embedding"].to_pylist(), np.float32)


def wanted(service, frame):
    columns = {name: frame[name] for name in ("brand", "price", "picture")}
    return frame["item_id"].tolist(), service.embed_item(frame["item_id"], **columns)


def same(found, expected):
    assert found[0] == expected[0]
    np.testing.assert_allclose(found[1], expected[1], atol=1e-6)


def test_they_are_the_services_own(world, tmp_path, monkeypatch):
    service, export, frame = world
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 7)
    done = embed(
        write(frame, tmp_path / "items"), export.parent, tmp_path / "out", rows_per_shard=20
    )
    same(read(tmp_path / "out"), wanted(service, frame))
    # 40 rows in groups of 10, 20 in a shard: two shards of each of the two files.
    assert len(list((tmp_path / "out").glob("embeddings-*-of-00004.parquet"))) == 4
    assert done["rows"] == 80 and done["counted"] == {"rows": 80}


def test_interrupted_and_run_again_nothing_is_lost_or_doubled(world, tmp_path, monkeypatch):
    service, export, frame = world
    items, out = write(frame, tmp_path / "items"), tmp_path / "out"
    embedded = []

    class Fragile:
        """A model that fails in the middle of the third shard."""

        def __init__(self, served, fails):
            self.inputs, self._served, self._fails = served.inputs, served, fails

        def embed_item(self, item_id, **given):
            if self._fails and len(embedded) == 5:
                raise MemoryError("the worker is gone")
            embedded.extend(item_id[:1])
            return self._served.embed_item(item_id, **given)

    monkeypatch.setattr(module, "ROWS_AT_ONCE", 10)
    load = module.load
    monkeypatch.setattr(module, "load", lambda path: Fragile(load(path), fails=True))
    with pytest.raises((MemoryError, RuntimeError), match="the worker is gone"):
        embed(items, export, out, 20)
    finished = {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}
    assert len(finished) == 2
    (out / "embeddings-00003-of-00004.parquet.abc.part").write_bytes(
        b"half a file of a worker that was killed"
    )
    with pytest.raises(
        ValueError, match="begun with other inputs, these differ: rows_per_shard. Choose another"
    ):
        embed(items, export, out, 30)

    monkeypatch.setattr(module, "load", lambda path: Fragile(load(path), fails=False))
    assert embed(items, export, out, 20)["counted"] == {"rows": 40}
    same(read(out), wanted(service, frame))
    assert {name: (out / name).stat().st_mtime_ns for name in finished} == finished
    assert not list(out.glob("*.part"))
    assert embed(items, export, out, 20)["counted"] == {}
    pq.write_table(
        pq.read_table(tmp_path / "items" / "a.parquet"), tmp_path / "items" / "a.parquet"
    )
    with pytest.raises(ValueError, match="these differ: items"):
        embed(items, export, out, 20)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"item_id": 1.5},
            r"items: column 'item_id' of .* must hold strings or whole numbers, not double",
        ),
        ({"item_id": "one"}, r"items: item_id 'one' comes more than once"),
        ({"item_id": ["", *"abcdefghi"]}, r"items: .*a.parquet has rows without an item_id"),
        ({"item_id": range(10)}, r"item_id must hold string ids, as the training data did"),
        ({"price": "dear"}, r"column 'price' must hold numbers"),
    ],
)
def test_bad_items_are_named(world, tmp_path, changes, message):
    _, export, frame = world
    with pytest.raises((ValueError, TypeError, RuntimeError), match=message):
        embed(write(frame[:10], tmp_path / "items", **changes), export, tmp_path / "out")


def test_bad_arguments_are_named(world, tmp_path):
    _, export, frame = world
    items = write(frame, tmp_path / "items")
    for given, error, message in [
        ((items, tmp_path, tmp_path / "out"), FileNotFoundError, "no export at"),
        (
            (str(tmp_path / "nothing"), export, tmp_path / "out"),
            FileNotFoundError,
            "no files .*nothing",
        ),
        (
            (items, export, tmp_path / "items"),
            ValueError,
            "holds files and no manifest.json of an earlier run",
        ),
        (
            (write(frame[:0], tmp_path / "b"), export, tmp_path / "out"),
            ValueError,
            "items: there are no rows in",
        ),
        (
            (items, export, tmp_path / "out", 0),
            ValueError,
            "rows_per_shard must be at least 1, got 0",
        ),
    ]:
        with pytest.raises(error, match=message):
            embed(*given)


def test_on_the_command_line_and_what_is_not_said_is_missing(world, tmp_path, capsys):
    service, export, frame = world
    given = ["--model", str(export), "--out", str(tmp_path / "out"), "--runner", "FnApiRunner"]
    main(["--items", write(frame[["item_id", "price"]], tmp_path / "items"), *given])
    assert json.loads(capsys.readouterr().out)["rows"] == 80
    expected = service.embed_item(frame["item_id"], price=frame["price"])
    same(read(tmp_path / "out"), (frame["item_id"].tolist(), expected))
    with pytest.raises(SystemExit):
        main(["--items", str(tmp_path / "nothing"), *given])
    assert capsys.readouterr().err.startswith("Error: no files ")
