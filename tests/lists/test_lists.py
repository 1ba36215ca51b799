"""Precomputed lists: what is written is what the recommender answers, read again as it was, and
nothing by halves.
"""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tf_recall.channels.item_cf import ItemCF
from tf_recall.channels.multi import MultiChannel
from tf_recall.channels.swing import Swing
from tf_recall.channels.user_cf import UserCF
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.export.load import load
from tf_recall.export.write import save
from tf_recall.features import Id
from tf_recall.index import Exact
from tf_recall.lists.read import ItemLists, Lists
from tf_recall.lists.write import FORM, write_lists, write_similar
from tf_recall.recommend.base import Recommender
from tf_recall.recommend.rankings import Popularity
from tf_recall.recommend.service import Service
from tf_recall.towers.features import FeatureTower


class Fixed(Recommender):
    """Recommends the same list to all, and remembers how many users it was asked for at once."""

    def __init__(self, catalog, ids):
        self.catalog, self.rows, self.asked = catalog, catalog.items.encode(ids), []

    def _recommend(self, request, k):
        self.asked.append(len(request))
        rows = np.zeros((len(request), k), np.int32)
        rows[:, : len(self.rows)] = self.rows[:k]
        return rows, np.where(rows > 0, 1 / np.arange(1, k + 1), -np.inf)


@pytest.fixture(scope="module")
def small():
    """Items a to h; ann has had a and b, bob c."""
    users, items = ["ann", "ann", "bob", *["cat"] * 8], [*"abc", *"abcdefgh"]
    return Catalog.fit(Interactions.from_columns(user_id=users, item_id=items))


def log_of(kind, num_users=60, num=700):
    """Users and 40 items of falling popularity, named by text or by numbers."""
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, 41)
    users, items = rng.integers(0, num_users, num), rng.choice(40, num, p=share / share.sum())
    if kind == "string":
        users, items = [f"ü{user}" for user in users], [f'i"{item}' for item in items]
    return Interactions.from_columns(user_id=users, item_id=items)


@pytest.fixture(scope="module", params=["string", "int64"])
def world(request, tmp_path_factory):
    log = log_of(request.param)
    catalog = Catalog.fit(log)
    query, item = FeatureTower("user", [Id(4)]), FeatureTower("item", [Id(4)])
    query.adapt(log, catalog)
    item.adapt(log, catalog)
    vectors = np.random.default_rng(0).normal(size=(catalog.num_items, 4))
    service = Service(query, item, Exact().build(vectors), catalog, k_max=catalog.num_items)
    counted = {
        "item_cf": ItemCF(top=5),
        "swing": Swing(top=5),
        "user_cf": UserCF(top=3),
        "popular": Popularity(),
    }
    counted = {name: channel.fit(log, catalog) for name, channel in counted.items()}
    several = {"item_cf": counted["item_cf"], "swing": counted["swing"], "service": service}
    served = load(save(service, tmp_path_factory.mktemp("models") / request.param))
    return catalog, {
        **counted,
        "service": service,
        "served": served,
        "multi": MultiChannel(several, catalog),
    }


def same(one, other):
    for ours, theirs in zip(one, other, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_by_hand(small, tmp_path):
    multi = MultiChannel(
        {"one": Fixed(small, list("abd")), "two": Fixed(small, list("dah"))}, small
    )
    path = write_lists(multi, ["ann", "bob"], tmp_path / "new" / "lists.parquet", k=3)
    table = pq.read_table(path)
    assert [str(field.type).replace("element", "item") for field in table.schema] == [
        *("string", "list<item: string>", "list<item: float>", "list<item: list<item: string>>")
    ]
    ann, bob = table.to_pylist()
    # Ann has had a and b: one has d, two has d and h. Bob has had c alone; whose turn is first, his
    # id says.
    assert ann["item_id"] == ["d", "h"] and ann["sources"] == [["one", "two"], ["two"]]
    assert ann["score"] == [1.0, 0.5] and ann["user_id"] == "ann"
    assert bob["item_id"] in (["a", "d", "b"], ["d", "a", "b"], ["d", "a", "h"], ["a", "d", "h"])
    has = {"a": ["one", "two"], "d": ["one", "two"], "b": ["one"], "h": ["two"]}
    assert bob["sources"] == [has[item] for item in bob["item_id"]]
    assert bob["score"] == np.float32([1, 1 / 2, 1 / 3]).tolist()


@pytest.mark.parametrize("seen", [True, False])
def test_what_is_read_is_what_the_recommender_answers(world, tmp_path, seen):
    catalog, recommenders = world
    unknown = ["nobody"] if catalog.users.dtype == "string" else [10**12]
    users = np.concatenate([catalog.users.ids[::-1], np.array(unknown, catalog.users.ids.dtype)])
    for recommender in recommenders.values():
        lists = Lists.load(
            write_lists(recommender, users, tmp_path / "l.parquet", 20, exclude_seen=not seen)
        )
        same(
            lists.recommend(users, k=20), recommender.recommend(users, k=20, exclude_seen=not seen)
        )
        item_id, score = recommender.recommend(users, k=20, exclude_seen=not seen)
        same(lists.recommend(users[5:9], k=3), (item_id[5:9, :3], score[5:9, :3]))


def test_items_like_items(world, tmp_path):
    catalog, recommenders = world
    for name in ("item_cf", "swing", "service", "served"):
        path = write_similar(
            recommenders[name], catalog.items.ids, tmp_path / "similar.parquet", k=9, batch_size=16
        )
        assert pq.read_schema(path).names == ["item_id", "similar", "score"]
        lists = ItemLists.load(path)
        item_id, score = lists.similar(catalog.items.ids, k=9)
        expected_id, expected = recommenders[name].similar(catalog.items.ids, k=9)
        assert item_id.dtype == expected_id.dtype and (item_id == expected_id).all()
        np.testing.assert_allclose(score, expected, rtol=1e-5)  # sums of a batch of another size
    for name in ("popular", "multi"):
        with pytest.raises(ValueError, match=r"\w+ answers users, not items"):
            write_similar(recommenders[name], catalog.items.ids, tmp_path / "none.parquet")
    with pytest.raises(ValueError, match="holds lists by item_id, of similar, and not by user_id"):
        Lists.load(path)


def test_rows_need_a_catalog(small, tmp_path):
    path = write_lists(Popularity().fit(None, small), ["ann", "bob"], tmp_path / "l.parquet", 3)
    with pytest.raises(ValueError, match="Lists knows raw ids alone: ask recommend"):
        Lists.load(path).recommend_rows(["ann"], 3)
    rows, score = Lists.load(path, catalog=small).recommend_rows(["ann", "nobody"], 3)
    item_id, same = Lists.load(path).recommend(["ann", "nobody"], 3)
    assert small.items.decode(rows).tolist() == item_id.tolist() and (score == same).all()


def test_each_is_asked_once_in_batches(small, tmp_path):
    one, two = Fixed(small, ["a"]), Fixed(small, ["b"])
    users = [f"user {number}" for number in range(25)]
    path = write_lists(
        MultiChannel({"one": one, "two": two}, small),
        users,
        tmp_path / "l.parquet",
        2,
        batch_size=10,
    )
    assert one.asked == two.asked == [10, 10, 5]
    file = pq.ParquetFile(path)
    assert [file.metadata.row_group(group).num_rows for group in range(3)] == [
        10,
        10,
        5,
    ] and file.num_row_groups == 3
    assert file.read().column("user_id").to_pylist() == users


def test_whom_the_file_does_not_know_gets_nothing(world, tmp_path):
    catalog, recommenders = world
    known, other = catalog.users.ids[:2], catalog.users.ids[2]
    lists = Lists.load(write_lists(recommenders["popular"], known, tmp_path / "l.parquet", 4))
    item_id, score = lists.recommend([other, known[1]], k=4)
    assert (item_id[0] == ("" if item_id.dtype == object else -1)).all() and (
        score[0] == -np.inf
    ).all()
    same((item_id[1:], score[1:]), lists.recommend(known[1], k=4))  # one id, not in a list
    assert [answer.shape for answer in lists.recommend([], k=2)] == [(0, 2)] * 2
    assert lists.ids.tolist() == known.tolist()


@pytest.mark.parametrize("k", [0, 5, 2.0])
def test_k_beyond_what_is_stored_is_refused(small, tmp_path, k):
    lists = Lists.load(
        write_lists(Popularity().fit(None, small), ["ann"], tmp_path / "l.parquet", 4)
    )
    with pytest.raises(ValueError, match=f"k must be a whole number from 1 to 4, .*; got {k}"):
        lists.recommend(["ann"], k=k)


def test_mistakes_are_named_and_leave_nothing(small, tmp_path):
    popular, path = Popularity().fit(None, small), tmp_path / "l.parquet"
    with pytest.raises(ValueError, match="there is no user_id to write a list for"):
        write_lists(popular, [], path, 2)
    with pytest.raises(
        ValueError, match="user_id: The ids of a vocabulary must differ, got 'ann' twice"
    ):
        write_lists(popular, ["ann", "bob", "ann"], path, 2)
    with pytest.raises(ValueError, match="user_id: '' stands for a missing id"):
        write_lists(popular, ["ann", None], path, 2)
    with pytest.raises(ValueError, match="k must be a whole number from 1 to 8, .*; got 9"):
        write_lists(popular, ["ann"], path, 9)
    with pytest.raises(ValueError, match="batch_size is a whole number of at least 1, got 0"):
        write_lists(popular, ["ann"], path, 2, batch_size=0)
    with pytest.raises(TypeError, match="user_id must hold string ids"):
        write_lists(popular, [1, 2], path, 2)
    with pytest.raises(IsADirectoryError, match="is a folder: lists go to a file"):
        write_lists(popular, ["ann"], tmp_path, 2)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TypeError, match="user_id must hold string ids"):
        Lists.load(write_lists(popular, ["ann"], path, 2)).recommend([1], 1)


def test_a_failure_half_way_leaves_the_old_file(small, tmp_path, monkeypatch):
    popular, path = Popularity().fit(None, small), tmp_path / "l.parquet"
    write_lists(popular, ["ann"], path, 2)
    before, write, written = path.read_bytes(), pq.ParquetWriter.write_table, []

    def full(self, table, *settings):
        write(self, table, *settings)
        written.append(table)
        if len(written) == 3:
            raise OSError("No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        write_lists(popular, [f"user {number}" for number in range(50)], path, 2, batch_size=10)
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == before and len(written) == 3


def test_what_is_damaged_is_named(small, tmp_path):
    path = write_lists(
        Popularity().fit(None, small),
        [f"user {at}" for at in range(300)],
        tmp_path / "l.parquet",
        8,
    )
    whole = path.read_bytes()
    column = pq.read_metadata(path).row_group(0).column(0)
    at = column.dictionary_page_offset + column.total_compressed_size // 3  # among the users' names
    flipped = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
    for content in (whole[:-30], whole[: len(whole) // 2], b"", b"user_id,item_id\n", flipped):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"l.parquet is damaged"):
            Lists.load(path)
    for name, other in (("key_type", "int64"), ("k", 0), ("column", "score"), ("key", "x")):
        table = pq.read_table(pa.BufferReader(whole))
        form = {**json.loads(table.schema.metadata[FORM]), name: other}
        pq.write_table(table.replace_schema_metadata({FORM: json.dumps(form)}), path)
        with pytest.raises(ValueError, match=r"l.parquet holds no lists that write_lists"):
            Lists.load(path)
    with pytest.raises(FileNotFoundError, match="no file .*other.parquet"):
        Lists.load(tmp_path / "other.parquet")
    pq.write_table(pa.table({"user_id": ["ann"], "item_id": [["a"]], "score": [[1.0]]}), path)
    with pytest.raises(ValueError, match="holds no lists that write_lists or write_similar wrote"):
        Lists.load(path)


def test_a_bit_that_flips_changes_no_answer(small, tmp_path):
    users = [f"user {at}" for at in range(300)]
    path = write_lists(Popularity().fit(None, small), users, tmp_path / "l.parquet", 8)
    whole, refused = path.read_bytes(), 0
    expected = Lists.load(path).recommend(users, k=8)
    rng = np.random.default_rng(0)
    for place in rng.integers(len(whole), size=150):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        try:
            answer = Lists.load(path).recommend(users, k=8)
        except ValueError as error:
            refused += 1
            assert str(path) in str(error) and "\n" not in str(error)
        else:
            for one, other in zip(answer, expected, strict=True):
                np.testing.assert_array_equal(one, other)
    assert refused > 75


def test_against_a_loop(tmp_path):
    rng = np.random.default_rng(1)
    log = log_of("int64", 3000, 9000)
    channel = ItemCF(top=2, last=2).fit(log, Catalog.fit(log))  # lists of many lengths
    path = write_lists(
        channel, channel.catalog.users.ids, tmp_path / "l.parquet", 6, batch_size=700
    )
    stored = {line["user_id"]: line for line in pq.read_table(path).to_pylist()}
    assert len({len(line["score"]) for line in stored.values()}) > 2
    users = rng.integers(-100, 3100, 2000)
    item_id, score = Lists.load(path).recommend(users, k=5)
    for user, items, values in zip(users.tolist(), item_id, score, strict=True):
        line = stored.get(user, {"item_id": [], "score": []})
        assert [item for item in items if item >= 0] == line["item_id"][:5]
        assert [value for value in values.tolist() if value > -np.inf] == line["score"][:5]
