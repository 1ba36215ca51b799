"""ItemCF on Beam: the similarities of one machine, whatever the shards and the order, limits that
are reported.
"""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import sparse

from tf_recall.channels.item_cf import ItemCF
from tf_recall.channels.similarity import Cosine, Jaccard, WeightedCosine
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions

pytest.importorskip(
    "apache_beam", reason="tf_recall.beam needs apache-beam: pip install 'tf-recall[beam]'"
)

from apache_beam.utils.shared import Shared  # noqa: E402

from tf_recall.beam import likes, tables  # noqa: E402
from tf_recall.beam.item_cf import AddUp, Multiply, item_cf, main  # noqa: E402
from tf_recall.beam.likes import Read, interactions_table, latest  # noqa: E402
from tf_recall.beam.similar import Some, Work  # noqa: E402


def write(frame, folder, files=2):
    """In several files of several row groups."""
    folder.mkdir()
    for number, rows in enumerate(np.array_split(np.arange(len(frame)), files)):
        frame.iloc[rows].to_parquet(folder / f"{number}.parquet", index=False, row_group_size=300)
    return str(folder)


def read(out):
    """`{item: ([similar], [similarity])}`, each item once."""
    table = pq.read_table(out / "similar")
    assert table.schema.field("similarity").type == pa.list_(pa.float32())
    columns = (table[name].to_pylist() for name in ("item_id", "similar", "similarity"))
    found = {item: each for item, *each in zip(*columns, strict=True)}
    assert len(found) == len(table)
    return found


def drawn(seed=0, num=2000, text=True):
    """Interactions of skewed popularity: pairs and times repeat, some weights are 0."""
    rng = np.random.default_rng(seed)
    items = (40 * rng.random(num) ** 2).astype(int) + 1
    return pd.DataFrame(
        {
            "user_id": (80 * rng.random(num) ** 1.5).astype(int) + 1,
            "item_id": np.array([f"item {item} ü" for item in items], object) if text else items,
            "timestamp": rng.integers(0, 30, num),
            "weight": np.where(rng.random(num) < 0.1, 0, rng.random(num)).round(3),
        }
    )


def in_memory(frame, **settings):
    """What the channel finds, as `read`."""
    log = Interactions.from_frame(frame)
    channel = ItemCF(**settings).fit(log, Catalog.fit(log))
    ids = sorted(set(frame["item_id"][frame["weight"] > 0]))
    similar, similarity = channel.similar(ids, min(settings["top"], len(ids)))
    there = np.isfinite(similarity)
    return {
        item: [similar[at][there[at]].tolist(), similarity[at][there[at]]]
        for at, item in enumerate(ids)
    }


def same(found, wanted):
    """Equal ones are in another order in memory."""
    assert sorted(found) == sorted(wanted)
    for item, (similar, similarity) in wanted.items():
        np.testing.assert_allclose(found[item][1], similarity, rtol=1e-5)
        values = dict(zip(*found[item], strict=True))
        last = similarity[-1] * (1 + 1e-5)  # of those equal to the last, any may have found room
        for each, value in zip(similar, similarity, strict=True):
            assert value <= last or values[each] == pytest.approx(value, rel=1e-5)


def test_by_hand(tmp_path):
    # ann likes tea and cup, bob tea, cup and pot, cat tea, as she said twice; her pot weighs
    # nothing. tea and cup: 2 / sqrt(3 * 2) = 0.8165; tea and pot: 1 / sqrt(3 * 1) = 0.5774; cup and
    # pot: 1 / sqrt(2) = 0.7071.
    rows = [
        "ann tea 1",
        "ann cup 1",
        "bob tea 1",
        "bob cup 1",
        "bob pot 1",
        "cat tea 1",
        "cat tea 1",
        "cat pot 0",
    ]
    frame = pd.DataFrame([row.split() for row in rows], columns=["user_id", "item_id", "weight"])
    done = item_cf(
        write(frame.astype({"weight": float}), tmp_path / "in"), tmp_path / "out", items_per_shard=2
    )
    found = read(tmp_path / "out")
    assert {item: similar for item, (similar, _) in found.items()} == {
        "tea": ["cup", "pot"],
        "cup": ["tea", "pot"],
        "pot": ["cup", "tea"],
    }
    for item, wanted in {
        "tea": [0.8165, 0.5774],
        "cup": [0.8165, 0.7071],
        "pot": [0.7071, 0.5774],
    }.items():
        np.testing.assert_allclose(found[item][1], wanted, atol=1e-4)
    assert done["rows"] == 3 and done["similar"] == str(tmp_path / "out" / "similar" / "*.parquet")
    assert done["counted"]["interactions"] == 8 and done["counted"]["likes"] == 6
    assert len(list((tmp_path / "out" / "similar").iterdir())) == 2


@pytest.mark.parametrize(
    ("similarity", "text", "top"),
    [(Cosine(), True, 7), (WeightedCosine(), False, 60), (Cosine(user_power=1.0), False, 9)],
)
def test_it_is_the_one_of_one_machine(tmp_path, monkeypatch, similarity, text, top):
    monkeypatch.setattr(likes, "ROWS_AT_ONCE", 200)  # a row group of 300 is read in two goes
    frame = drawn(text=text)
    settings = {"similarity": similarity, "top": top, "user_limit": 9}
    done = item_cf(
        write(frame, tmp_path / "in"),
        tmp_path / "out",
        **settings,
        rows_per_shard=450,
        items_per_shard=11,
    )
    found = read(tmp_path / "out")
    same(found, in_memory(frame, **settings))
    for similar, similarity in found.values():  # falling, equal ones by id
        assert similar == [similar[at] for at in np.lexsort([similar, -np.array(similarity)])]
    # A user has as many likes as distinct items of weight above 0; beyond nine they are left out.
    count = frame[frame["weight"] > 0].groupby("user_id")["item_id"].nunique()
    assert done["counted"] == {
        "interactions": 2000,
        "likes": count.sum(),
        "capped_users": (count > 9).sum(),
        "left_out_by_user_limit": (count - 9).clip(lower=0).sum(),
        "capped_items": 0,
        "left_out_by_item_limit": 0,
        "items": len(found),
    }


def test_the_latest_count_by_time_then_by_line():
    # Group 0: times 5, 5, 3, 9 on the lines 0, 1, 2, 3: the latest two are line 3, and line 1
    # before line 0. Group 1 has one entry.
    kept, capped = latest(
        np.array([0, 0, 1, 0, 0]), np.array([3, 5, 1, 9, 5]), np.array([2, 1, 9, 3, 0]), 2
    )
    assert kept.tolist() == [False, True, True, True, False] and capped == 1


def test_sums_do_not_depend_on_the_order_of_the_parts(tmp_path):
    rng = np.random.default_rng(0)
    multiply = Multiply(Work(str(tmp_path / "out"), Shared(), 9, 6, 1), WeightedCosine())
    multiply._items = SimpleNamespace(ids=range(9), square=np.full(9, 7.0))
    shards = [sparse.random(5, 9, 0.6, "csr", rng=rng) for _ in range(6)]
    elements = [(0, [Some(*each.nonzero(), each.data)]) for each in shards]
    parts = [product for element in elements for part, product in multiply.process(element)]
    everybody = sparse.vstack(shards).toarray()
    orders = [parts, parts[::-1], *([parts[at] for at in rng.permutation(6)] for _ in range(4))]
    sums = [found.toarray() for order in orders for _, found in AddUp(None).process((0, order))]
    np.testing.assert_array_equal(sums, [sums[0]] * 6)
    np.testing.assert_allclose(sums[0], everybody.T @ everybody / 7, rtol=1e-12)


def test_interrupted_and_run_again_nothing_is_lost_or_doubled(tmp_path, monkeypatch):
    frame, write_table, written = drawn(1), tables.write_table, []
    given = {"interactions": write(frame, tmp_path / "in"), "user_limit": 9, "rows_per_shard": 800}
    given |= {"out": tmp_path / "out", "items_per_shard": 9, "top": 50}

    def fragile(path, columns):
        """Fails at the fourth of the 3 + 3 files of likes and items, and later at the third of
        similarities.
        """
        written.append(path)
        if len(written) in (4, 4 + 6 + 3):
            raise MemoryError("the worker is gone")
        write_table(path, columns)

    monkeypatch.setattr(tables, "write_table", fragile)
    for _ in range(2):
        with pytest.raises((MemoryError, RuntimeError), match="the worker is gone"):
            item_cf(**given)
    first = {
        path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "similar").glob("*.parquet")
    }
    assert len(first) == 2
    (tmp_path / "out" / "similar" / "similar-00003-of-00005.parquet.abc.part").write_bytes(
        b"half a file"
    )

    done = item_cf(**given)
    wanted = in_memory(frame, top=50, user_limit=9)
    same(read(tmp_path / "out"), wanted)
    assert done["counted"]["interactions"] == 2000 and done["rows"] == len(wanted)
    assert {path: path.stat().st_mtime_ns for path in first} == first
    assert not list((tmp_path / "out").rglob("*.part"))
    num = len(written)
    assert item_cf(**given) == done and len(written) == num
    with pytest.raises(
        ValueError, match="begun with other inputs, these differ: user_limit. Choose another folder"
    ):
        item_cf(**given | {"user_limit": 8})
    with pytest.raises(
        ValueError, match="begun with other inputs, these differ: similarity. Choose another folder"
    ):
        item_cf(**given, similarity=WeightedCosine())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"item_id": None}, "lacks the column 'item_id'; it has"),
        ({"user_id": 1.5}, "column 'user_id' of .* must hold strings or whole numbers, not double"),
        ({"weight": "much"}, "column 'weight' of .* must hold numbers, not "),
        (
            {"timestamp": "today"},
            "column 'timestamp' of .* must hold seconds since 1970, or datetimes, not ",
        ),
    ],
)
def test_bad_tables_are_named(tmp_path, changes, message):
    frame = drawn(num=20).assign(**changes)
    frame = frame.drop(columns=[name for name, value in changes.items() if value is None])
    with pytest.raises(ValueError, match=f"interactions: .*{message}"):
        item_cf(write(frame, tmp_path / "in"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"item_id": ["a", None]},
            "1 of 2 item_id in interactions are missing .*the first in row 1",
        ),
        ({"user_id": [-1, 2]}, "1 of 2 user_id in interactions are missing .*the first in row 0"),
        ({"weight": [1, np.nan]}, "weight must be a number of at least 0, got 'nan' in row 1"),
        ({"weight": [-0.5, 1]}, "weight must be a number of at least 0, got '-0.5' in row 0"),
        ({"timestamp": [1, 10**12]}, "timestamp must be seconds since 1970"),
    ],
)
def test_bad_rows_are_named(tmp_path, changes, message):
    table = interactions_table(write(drawn(num=2).assign(**changes), tmp_path / "in", files=1))
    with pytest.raises(
        ValueError, match=f"0.parquet: {message}.* Rows are counted from line 70 of all files"
    ):
        list(Read(table.schema.names, 3).process((70, table.blocks(10)[0])))


def test_bad_arguments_and_what_workers_find_are_named(tmp_path):
    interactions, empty = (
        write(drawn(num=20), tmp_path / "in"),
        write(drawn(num=0, text=False), tmp_path / "empty"),
    )
    mixed = write(drawn(num=20), tmp_path / "mixed")
    drawn(num=9, text=False).to_parquet(tmp_path / "mixed" / "1.parquet")
    nobody = write(drawn(num=20).assign(weight=0.0), tmp_path / "nobody")
    less = write(drawn(num=20).assign(weight=-1.0), tmp_path / "less")
    for source, settings, message in [
        (empty, {}, "interactions: there are no rows in"),
        (mixed, {}, "item_id is text in .*0.parquet and whole numbers in .*1.parquet"),
        (
            interactions,
            {"similarity": Jaccard()},
            r"similarity is Cosine\(\) or WeightedCosine\(\) here, got Jaccard",
        ),
        (interactions, {"top": 0}, "top is a whole number of at least 1, got 0"),
        (interactions, {"user_limit": 0}, "user_limit is a whole number of at least 1, got 0"),
        (interactions, {"items_per_shard": 0}, "items_per_shard must be at least 1, got 0"),
        (nobody, {}, "no interaction has a weight above 0: nobody likes anything"),
        (less, {}, "weight must be a number of at least 0, got '-1.0' in row 0"),
    ]:
        with pytest.raises((ValueError, RuntimeError), match=message):
            item_cf(source, tmp_path / f"out {message[:9]}", **settings)


def test_on_the_command_line_by_two_workers(tmp_path, capsys):
    frame = drawn(2)
    times = frame["timestamp"].where(frame.index < 1000, frame["timestamp"] / 8)  # then fractions
    frame["timestamp"] = pd.to_datetime(1.7e9 + times, unit="s", utc=True)
    given = [
        "--interactions",
        write(frame, tmp_path / "in"),
        "--out",
        str(tmp_path / "out"),
        "--top",
        "5",
    ]
    given += [
        "--user-limit",
        "9",
        "--rows-per-shard",
        "300",
        "--items-per-shard",
        "9",
        "--similarity",
        "WeightedCosine",
        "--user-power",
        "0.5",
    ]
    main(
        [
            *given,
            "--runner=FnApiRunner",
            "--direct_num_workers=2",
            "--direct_running_mode=multi_threading",
        ]
    )
    assert json.loads(capsys.readouterr().out)["counted"]["capped_users"] > 0
    expected = in_memory(frame, similarity=WeightedCosine(0.5), top=5, user_limit=9)
    same(read(tmp_path / "out"), expected)
    with pytest.raises(SystemExit):
        main(["--interactions", str(tmp_path / "nothing"), "--out", str(tmp_path / "other")])
    assert capsys.readouterr().err.startswith("Error: no files ")
