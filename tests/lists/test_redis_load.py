"""Loads into Redis: readers never see half of one, whatever interrupts it, and nothing is left
behind.
"""

import json
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from tf_recall.lists import redis_load
from tf_recall.lists.redis_load import to_redis
from tf_recall.lists.redis_store import RedisLists, connect


def keys(url, pattern="*"):
    return sorted(key.decode() for key in connect(url).scan_iter(pattern))


def version(url, name="home"):
    return json.loads(connect(url).get(f"{name}:current"))["version"]


def check_whole(url, number):
    """The lists of that number, and nothing of others."""
    users = [f"u{user}" for user in range(3000)]
    item_id, score = RedisLists(url, "home").recommend(users, k=2)
    assert (item_id == [f"{number} a", f"{number} b"]).all() and (score == [1, 0.5]).all()
    now = version(url)
    assert keys(url) == sorted(
        [*(f"home:{now}:{user}" for user in users), "home:current", "home:versions"]
    )


def test_a_reader_gets_the_new_lists_and_the_old_are_gone(url, files):
    to_redis(files(1), url, "home")
    reader = RedisLists(url, "home")
    check_whole(url, 1)
    to_redis(files(2), url, "home")
    assert reader.recommend(["u7"], 1)[0].tolist() == [["2 a"]]
    check_whole(url, 2)


def test_a_failure_half_way_leaves_the_old_lists_alone(url, files, monkeypatch):
    to_redis(files(1), url, "home")
    values, seen = redis_load._values, []

    def broken(batch, form):
        yield from values(batch, form)
        seen.append(
            (RedisLists(url, "home").recommend(["u7", "u2999"], 1)[0].tolist(), len(keys(url)))
        )
        if len(seen) == 3:
            raise RuntimeError("the cable")

    monkeypatch.setattr(redis_load, "_values", broken)
    with pytest.raises(RuntimeError, match="the cable"):
        to_redis(files(2), url, "home")
    assert [answer for answer, _ in seen] == [[["1 a"], ["1 a"]]] * 3  # as long as it went on
    assert seen[2][1] > 5000  # the first two batches were there
    connect(url).delete("home:loading")
    check_whole(url, 1)


def test_what_a_killed_load_left_is_deleted_before_the_next(url, files, monkeypatch):
    to_redis(files(1), url, "home")
    code = (
        "import os, sys\nfrom tf_recall.lists import redis_load\nvalues, calls = "
        "redis_load._values, []\n"
        "def killed(batch, form):\n    calls.append(1)\n    os._exit(9) if len(calls) == 3 else "
        "None\n"
        "    return values(batch, form)\n"
        "redis_load._values = killed\nredis_load.to_redis(sys.argv[1], sys.argv[2], 'home')\n"
    )
    assert (
        subprocess.run([sys.executable, "-c", code, str(files(2)), url], env=os.environ).returncode
        == 9
    )
    assert len(keys(url)) > 5000
    item_id, _ = RedisLists(url, "home").recommend([f"u{user}" for user in range(3000)], 1)
    assert (item_id == "1 a").all()
    values, found = redis_load._values, []
    monkeypatch.setattr(
        redis_load, "_values", lambda *given: found.append(len(keys(url))) or values(*given)
    )
    to_redis(files(3), url, "home")
    assert found[0] == 3003  # the old lists, and what is current, begun, and known
    check_whole(url, 3)


def test_a_full_redis_is_one_line_and_the_old_lists_stay(url, files):
    to_redis(files(1), url, "home")
    new, client = files(2), connect(url)
    before = client.config_get("maxmemory")["maxmemory"]
    client.config_set("maxmemory", client.info("memory")["used_memory"] + 100_000)
    try:
        with pytest.raises(OSError, match=r"^Redis at redis://.*: .*maxmemory.*$") as told:
            to_redis(new, url, "home")
        assert "\n" not in str(told.value)
        item_id, _ = RedisLists(url, "home").recommend(["u7", "u2999"], 1)
        assert item_id.tolist() == [["1 a"], ["1 a"]]
    finally:
        client.config_set("maxmemory", before)
    client.delete("home:loading")
    check_whole(url, 1)
    to_redis(new, url, "home")
    check_whole(url, 2)


@pytest.mark.parametrize("at", [1, 3, "published"])
def test_of_two_loads_at_once_the_later_one_goes_on(url, files, monkeypatch, at):
    values, publish, calls, later = redis_load._values, redis_load._publish, [], files(2)

    def meanwhile():
        calls.append(1)
        if len(calls) == at:
            to_redis(later, url, "home")

    def overtaken(batch, form):
        meanwhile()
        return values(batch, form)

    def overtaken_at_the_end(client, *arguments):
        if at == "published" and not calls[3:]:
            calls.append(1)
            to_redis(later, url, "home")
        publish(client, *arguments)

    monkeypatch.setattr(redis_load, "_values", overtaken)
    monkeypatch.setattr(redis_load, "_publish", overtaken_at_the_end)
    with pytest.raises(OSError, match="another load of 'home' began after this one"):
        to_redis(files(1), url, "home")
    check_whole(url, 2)


def test_a_load_that_begins_at_the_very_end_goes_on(url, files, monkeypatch):
    check, turns = redis_load._check_turn, []

    def checked(loading, version, name):
        check(loading, version, name)
        turns.append(version)
        if len(turns) == 4:  # three batches, and as it looks for the last time
            connect(url).set("home:loading", "later")

    to_redis(files(1), url, "home")
    monkeypatch.setattr(redis_load, "_check_turn", checked)
    with pytest.raises(OSError, match="another load of 'home' began after this one"):
        to_redis(files(2), url, "home")
    client = connect(url)
    assert (
        len(turns) == 4 and client.get("home:loading") == b"later" and client.delete("home:loading")
    )
    check_whole(url, 1)


def test_a_reader_never_gets_half(url, files):
    paths = [files(number) for number in range(4)]
    to_redis(paths[0], url, "home")
    reader, users, answers = RedisLists(url, "home"), [f"u{user}" for user in range(3000)], set()
    loads = threading.Thread(target=lambda: [to_redis(path, url, "home") for path in paths[1:]])
    loads.start()
    while loads.is_alive():
        item_id, _ = reader.recommend(users, 2)
        answers.add(
            tuple(map(tuple, np.unique(item_id.astype(str), axis=0)))
            if "" not in item_id
            else "nothing"
        )
    loads.join()
    assert (
        answers <= {((f"{number} a", f"{number} b"),) for number in range(4)} and len(answers) > 1
    )
    check_whole(url, 3)
    reader.recommend(["u1"], 2)  # it may have asked last before the last load ended
    client = connect(url)  # a load that ends between two commands is too rare to be met
    client.config_resetstat()
    reader.recommend(["u1"], 2)
    stats = client.info("commandstats")
    assert [stats[f"cmdstat_{name}"]["calls"] for name in ("multi", "get", "mget", "exec")] == [
        1,
        1,
        1,
        1,
    ]


def test_a_load_spares_one_that_began_while_it_ended(url, files, monkeypatch):
    publish, seen = redis_load._publish, []

    def another_begins(client, name, *arguments):
        publish(client, name, *arguments)
        client.set(f"{name}:loading", "later")
        client.sadd(f"{name}:versions", "later", "dead")
        client.mset({f"{name}:later:u1": "{}", f"{name}:dead:u1": "{}"})
        seen.append(name)

    monkeypatch.setattr(redis_load, "_publish", another_begins)
    to_redis(files(1), url, "home")
    assert (
        seen and keys(url, "home:later:*") == ["home:later:u1"] and keys(url, "home:dead:*") == []
    )


def test_a_lost_answer_does_not_cost_what_was_published(url, files, monkeypatch):
    publish = redis_load._publish

    def answer_lost(*arguments):
        publish(*arguments)
        raise ConnectionError("reset by peer")

    monkeypatch.setattr(redis_load, "_publish", answer_lost)
    with pytest.raises(ConnectionError):
        to_redis(files(1), url, "home")
    check_whole(url, 1)


def test_time_to_live(url, files):
    to_redis(files(1), url, "home", ttl=100)
    client, now = connect(url), version(url)
    left = [client.pttl(key) for key in ("home:current", f"home:{now}:u0", f"home:{now}:u2999")]
    assert all(50_000 < each <= 100_000 for each in left)
    for key in keys(url, "home:*:*") + ["home:current"]:
        client.pexpire(key, 1)
    time.sleep(0.05)
    with pytest.raises(
        ValueError, match=r"there are no lists 'home' in Redis at redis://\*\*\*@127.0.0.1"
    ):
        RedisLists(url, "home")
    with pytest.raises(
        ValueError, match="the ttl of 0.001 s was over before the lists were loaded"
    ):
        to_redis(files(2), url, "home", ttl=0.001)
    to_redis(files(3), url, "home")
    assert client.pttl("home:current") == client.pttl(f"home:{version(url)}:u5") == -1
    check_whole(url, 3)


def test_other_names_and_other_keys_are_left_alone(url, files):
    client = connect(url)
    client.mset({"home:settings": "x", "home2:current": "y", "homes": "z"})
    to_redis(files(1), url, "home")
    to_redis(files(2), url, "home")
    assert client.mget("home:settings", "home2:current", "homes") == [b"x", b"y", b"z"]
    with pytest.raises(
        ValueError, match="home2:current in Redis at .* was not written by to_redis"
    ):
        to_redis(files(1), url, "home2")
    assert keys(url, "home2*") == ["home2:current"] and client.get("home2:current") == b"y"
