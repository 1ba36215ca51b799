"""Swing on Beam: the sums over pairs of users, whatever the shards, limits that are reported."""

import json
from itertools import combinations

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from scipy import sparse

from tf_recall.channels.swing import Swing
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions

pytest.importorskip(
    "apache_beam", reason="tf_recall.beam needs apache-beam: pip install 'tf-recall[beam]'"
)

from apache_beam.utils.shared import Shared  # noqa: E402

from tf_recall.beam import tables  # noqa: E402
from tf_recall.beam.similar import Work  # noqa: E402
from tf_recall.beam.swing import Count, main, swing  # noqa: E402


def write(frame, folder):
    """In two files of several row groups."""
    folder.mkdir()
    for number, rows in enumerate(np.array_split(np.arange(len(frame)), 2)):
        frame.iloc[rows].to_parquet(folder / f"{number}.parquet", index=False, row_group_size=100)
    return str(folder)


def read(out):
    """`{item: {similar: similarity}}`, each item once, the similar ones in their order."""
    columns = pq.read_table(out / "similar").to_pydict()
    pairs = zip(columns["similar"], columns["similarity"], strict=True)
    found = dict(
        zip(columns["item_id"], [dict(zip(*pair, strict=True)) for pair in pairs], strict=True)
    )
    assert len(found) == len(columns["item_id"])
    return found


def drawn(num=700):
    """Interactions of skewed popularity: pairs and times repeat."""
    rng = np.random.default_rng(0)
    users, items = (
        (50 * rng.random(num) ** 1.5).astype(int) + 1,
        (30 * rng.random(num) ** 2).astype(int),
    )
    items = np.array([f"item {item} ü" for item in items], object)
    return pd.DataFrame({"user_id": users, "item_id": items, "timestamp": rng.integers(0, 90, num)})


def twin(frame, alpha, user_limit, item_limit):
    """Loops over the formula: `({item: {similar: similarity}}, what the limits left out)`."""
    last = {}
    for line, (user, item, time) in enumerate(
        frame[["user_id", "item_id", "timestamp"]].itertuples(index=False)
    ):
        last[user, item] = max(last.get((user, item), (0, 0)), (time, line))
    counted = {"likes": len(last), "items": frame["item_id"].nunique()}
    for at, (of, limit) in enumerate([("user", user_limit), ("item", item_limit)]):
        mine = {}
        for pair in sorted(last, key=last.get, reverse=True):
            mine.setdefault(pair[at], []).append(pair)
        counted[f"capped_{of}s"] = sum(len(pairs) > limit for pairs in mine.values())
        counted[f"left_out_by_{of}_limit"] = sum(
            max(0, len(pairs) - limit) for pairs in mine.values()
        )
        last = {pair: last[pair] for pairs in mine.values() for pair in pairs[:limit]}
    likes = {}
    for user, item in last:
        likes.setdefault(user, set()).add(item)
    found = {item: {} for item in frame["item_id"].unique()}
    for u, v in combinations(likes, 2):
        both = likes[u] & likes[v]
        for i in both:
            for j in both - {i}:
                found[i][j] = found[i].get(j, 0) + 1 / (alpha + len(both))
    return found, counted | {"interactions": len(frame)}


def same(found, wanted):
    assert sorted(found) == sorted(wanted)
    for item, similar in wanted.items():
        assert found[item] == pytest.approx(similar, rel=1e-5)


def test_by_hand(tmp_path):
    # ann and bob both like tea, cup and pot, and nothing else: a pair counts 1 / (1 + 3). cat likes
    # tea and cup: with ann and with bob 1 / (1 + 2) each. tea and cup: 1/4 + 1/3 + 1/3 = 0.9167;
    # tea and pot, cup and pot: 1/4.
    rows = [
        "ann tea",
        "ann cup",
        "ann pot",
        "bob tea",
        "bob cup",
        "bob pot",
        "cat tea",
        "cat cup",
        "cat hat",
    ]
    frame = pd.DataFrame([row.split() for row in rows], columns=["user_id", "item_id"])
    done = swing(
        write(frame, tmp_path / "in"), tmp_path / "out", rows_per_shard=2, items_per_shard=2
    )
    same(
        read(tmp_path / "out"),
        {
            "tea": {"cup": 11 / 12, "pot": 1 / 4},
            "cup": {"tea": 11 / 12, "pot": 1 / 4},
            "pot": {"tea": 1 / 4, "cup": 1 / 4},
            "hat": {},
        },
    )
    assert list(read(tmp_path / "out")["pot"]) == ["cup", "tea"]  # equal ones by id
    assert done["rows"] == 4 and done["counted"]["likes"] == 9


def test_it_is_the_sum_over_pairs_with_limits_that_bind(tmp_path):
    frame, limits = drawn(), {"alpha": 0.5, "user_limit": 9, "item_limit": 8}
    settings = {**limits, "rows_per_shard": 150, "items_per_shard": 7}
    done = swing(write(frame, tmp_path / "in"), tmp_path / "out", **settings)
    wanted, counted = twin(frame, **limits)
    assert done["counted"] == counted and min(counted.values()) > 0
    found = read(tmp_path / "out")
    same(found, wanted)
    for item, similar in found.items():
        assert list(similar.values()) == sorted(similar.values(), reverse=True)
        assert all(found[other][item] == similarity for other, similarity in similar.items())


def test_it_is_the_one_of_one_machine(tmp_path):
    frame = drawn()
    settings = {"alpha": 2.0, "top": 4, "user_limit": 11, "item_limit": 13}
    swing(write(frame, tmp_path / "in"), tmp_path / "out", **settings, rows_per_shard=300)
    log = Interactions.from_frame(frame)
    ids, found = sorted(frame["item_id"].unique()), read(tmp_path / "out")
    similar, similarity = Swing(**settings).fit(log, Catalog.fit(log)).similar(ids, 4)
    wanted, _ = twin(
        frame, **{name: settings[name] for name in ("alpha", "user_limit", "item_limit")}
    )
    for at, item in enumerate(ids):
        there = np.isfinite(similarity[at])
        np.testing.assert_allclose(list(found[item].values()), similarity[at][there], rtol=1e-5)
        for other, value in found[
            item
        ].items():  # which of equal ones are there is another matter in memory
            assert value == pytest.approx(wanted[item][other], rel=1e-5)


def test_sums_do_not_depend_on_the_order_of_the_lists():
    rng = np.random.default_rng(0)
    likes = [sparse.random(9, 12, 0.6, "csr", rng=rng).sign() for _ in range(5)]
    lists = [(shard + 5 * np.arange(9), each) for shard, each in enumerate(likes)]
    count = Count(Work("out", Shared(), top=9, num_shards=5, num_parts=2), alpha=0.7)
    orders = [lists, lists[::-1], *([lists[at] for at in rng.permutation(5)] for _ in range(4))]
    sums = [found.toarray() for order in orders for _, found in count.process((1, order))]
    assert sums[0].shape == (6, 12)
    np.testing.assert_array_equal(sums, [sums[0]] * 6)


def test_interrupted_and_run_again_nothing_is_lost_or_doubled(tmp_path, monkeypatch):
    frame, write_table, written = drawn(), tables.write_table, []
    given = {
        "interactions": write(frame, tmp_path / "in"),
        "out": tmp_path / "out",
        "alpha": 1,
        "items_per_shard": 9,
    }
    given |= {"user_limit": 9, "item_limit": 12}

    def fragile(path, columns):
        """Fails after the files of likes and items and two of similarities."""
        if len(written) == 4:
            raise MemoryError("the worker is gone")
        written.append(path)
        write_table(path, columns)

    monkeypatch.setattr(tables, "write_table", fragile)
    with pytest.raises((MemoryError, RuntimeError), match="the worker is gone"):
        swing(**given)
    first = {
        path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "similar").glob("*.parquet")
    }
    monkeypatch.setattr(tables, "write_table", write_table)
    done = swing(**given)
    wanted, counted = twin(frame, 1, 9, 12)
    same(read(tmp_path / "out"), wanted)
    assert done["counted"] == counted
    assert len(first) == 2 and {path: path.stat().st_mtime_ns for path in first} == first
    with pytest.raises(
        ValueError, match="begun with other inputs, these differ: alpha, item_limit. Choose another"
    ):
        swing(**given | {"alpha": 2, "item_limit": 13})


def test_on_the_command_line(tmp_path, capsys):
    frame = drawn()
    given = ["--interactions", write(frame, tmp_path / "in"), "--out", str(tmp_path / "out")]
    given += ["--alpha", "0", "--user-limit", "7", "--item-limit", "9"]
    main(
        [
            *given,
            "--runner=FnApiRunner",
            "--direct_num_workers=2",
            "--direct_running_mode=multi_threading",
        ]
    )
    wanted, counted = twin(frame, 0, 7, 9)
    assert json.loads(capsys.readouterr().out)["counted"] == counted
    same(read(tmp_path / "out"), wanted)
    for settings, message in [
        (["--alpha", "-1"], "alpha is a number of at least 0, got -1.0"),
        (["--item-limit", "0"], "item_limit is a whole number of at least 1, got 0"),
    ]:
        with pytest.raises(SystemExit):
            main([*given, *settings])
        assert capsys.readouterr().err == f"Error: {message}\n"
