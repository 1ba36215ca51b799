"""Lists in Redis: the answers of the file, in text that other languages read; mistakes are
named.
"""

import json
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from tf_recall.channels.item_cf import ItemCF
from tf_recall.channels.multi import MultiChannel
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.lists.read import ItemLists, Lists
from tf_recall.lists.redis_load import to_redis
from tf_recall.lists.redis_store import RedisItemLists, RedisLists, connect, masked
from tf_recall.lists.write import write_lists, write_similar
from tf_recall.recommend.rankings import Popularity


def world(kind="string"):
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 50, 600), rng.geometric(0.1, 600)
    if kind == "string":
        users, items = [f"ü:{user}" for user in users], [f'i"{item}' for item in items]
    log = Interactions.from_columns(user_id=users, item_id=items)
    return log, Catalog.fit(log)


@pytest.mark.parametrize("kind", ["string", "int64"])
def test_the_answers_of_the_file(url, tmp_path, kind):
    log, catalog = world(kind)
    channels = {
        "item_cf": ItemCF(top=3, last=4).fit(log, catalog),
        "popular": Popularity().fit(log, catalog),
    }
    path = write_lists(
        MultiChannel(channels, catalog), catalog.users.ids, tmp_path / "l.parquet", 12
    )
    alone = write_lists(channels["item_cf"], catalog.users.ids, tmp_path / "a.parquet", 12)
    like = write_similar(channels["item_cf"], catalog.items.ids, tmp_path / "s.parquet", 3)
    assert to_redis(path, url, "home") == to_redis(alone, url, "alone") == len(catalog.users.ids)
    to_redis(like, url, "like")
    asked = np.concatenate([catalog.users.ids[::-1], catalog.users.decode([0])])
    for name, file in (("home", path), ("alone", alone)):
        ours, theirs = RedisLists(url, name), Lists.load(file)
        for some, k in ((asked, 12), (asked, 1), (asked[0], 2), ([], 2)):
            for one, other in zip(ours.recommend(some, k), theirs.recommend(some, k), strict=True):
                assert (
                    one.dtype == other.dtype and one.shape == other.shape and (one == other).all()
                )
    items = catalog.items.ids
    assert (
        RedisItemLists(url, "like").similar(items, 3)[0]
        == ItemLists.load(like).similar(items, 3)[0]
    ).all()
    # What other languages read, the columns of the file.
    line = pq.read_table(path).to_pylist()[0]
    version = json.loads(connect(url).get("home:current"))["version"]
    stored = json.loads(connect(url).get(f"home:{version}:{line.pop('user_id')}"))
    assert (
        stored == {**line, "score": pytest.approx(line["score"], rel=1e-6)}
        and len(stored["sources"]) == 12
    )


def test_ten_thousand_users(url, tmp_path):
    _, catalog = world()
    users = [f"user {number}" for number in range(10_000)]
    path = write_lists(Popularity().fit(None, catalog), users, tmp_path / "l.parquet", 20)
    assert to_redis(path, url, "home") == 10_000
    assert connect(url).dbsize() == 10_002  # with what is current, and the versions
    item_id, _ = RedisLists(url, "home").recommend(users, 20)
    assert (item_id == Lists.load(path).recommend(users, 20)[0]).all()


def test_mistakes_are_named(url, files, tmp_path):
    path = files(1)
    to_redis(path, url, "home")
    lists = RedisLists(url, "home")
    with pytest.raises(ValueError, match="k must be a whole number from 1 to 2"):
        lists.recommend(["u1"], 3)
    with pytest.raises(TypeError, match="user_id must hold string ids"):
        lists.recommend([1], 1)
    with pytest.raises(ValueError, match="there are no lists 'nothing' in Redis at"):
        RedisLists(url, "nothing")
    with pytest.raises(
        ValueError, match="'home' in Redis at .* holds lists by user_id, .* and not by item_id"
    ):
        RedisItemLists(url, "home")
    for name in ("", "a:b", "a*", "../a"):
        with pytest.raises(ValueError, match="name: a name must be valid for a folder"):
            to_redis(path, url, name)
    with pytest.raises(ValueError, match="ttl is a number of seconds above 0, or None, got 0"):
        to_redis(path, url, "home", ttl=0)
    with pytest.raises(FileNotFoundError, match="no file"):
        to_redis(tmp_path / "none.parquet", url, "home")
    with pytest.raises(OSError, match=r"Redis at redis://\*\*\*@127.0.0.1:\d+/0: ") as told:
        connect(url.replace("secret", "wrong"))
    assert "wrong" not in str(told.value)
    assert lists.recommend(["u2999"], 2)[0].tolist() == [["1 a", "1 b"]]


def test_no_server_and_no_address(free_ports):
    pytest.importorskip("redis")
    (port,) = free_ports(1)
    with pytest.raises(
        OSError, match=rf"Redis at redis://\*\*\*@127.0.0.1:{port}/0: .*refused"
    ) as told:
        RedisLists(f"redis://me:geheim@127.0.0.1:{port}/0", "home")
    assert "geheim" not in str(told.value)
    for address in ("localhost:6379", "http://me:geheim@localhost", "redis://:ge/heim@localhost:1"):
        with pytest.raises((ValueError, OSError), match="is no address of Redis") as told:
            connect(address)
        assert "heim" not in str(told.value)


def test_passwords_are_not_shown():
    assert masked("redis://host:1/0") == "redis://host:1/0"
    assert masked("redis://a:b@host:1/0?x=1") == "redis://***@host:1/0"
    for options in (
        "redis://:p?w@h",
        "redis://h?password=p@w",
        "redis://u:p@w@h/0",
        "redis://h?password=pw",
    ):
        assert not set("pw") & set(masked(options))


def test_without_the_extra(monkeypatch, files):
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ImportError, match=r"pip install 'tf-recall\[redis\]'"):
        to_redis(files(1), "redis://localhost", "home")
    with pytest.raises(ImportError, match=r"pip install 'tf-recall\[redis\]'"):
        RedisLists("redis://localhost", "home")
