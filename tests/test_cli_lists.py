"""`tf-recall lists`: an exported model's answers to all users, to Parquet and to Redis."""

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from tf_recall.channels.item_cf import ItemCF
from tf_recall.channels.multi import MultiChannel
from tf_recall.cli import main
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.export.load import load
from tf_recall.export.write import save
from tf_recall.lists import redis_load, redis_store
from tf_recall.lists.read import Lists
from tf_recall.recommend.rankings import Popularity


def run(*arguments):
    result = CliRunner().invoke(main, ["lists", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(*arguments):
    result = CliRunner().invoke(main, ["lists", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 1
    return result.stderr


@pytest.fixture(scope="module", params=["string", "int64"])
def model(request, tmp_path_factory):
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 30, 300), rng.geometric(0.1, 300)
    if request.param == "string":
        users, items = users.astype(str), items.astype(str)
    log = Interactions.from_columns(user_id=users, item_id=items)
    catalog = Catalog.fit(log)
    channels = {"item_cf": ItemCF().fit(log, catalog), "popular": Popularity().fit(log, catalog)}
    return save(MultiChannel(channels, catalog), tmp_path_factory.mktemp("models") / "many")


def test_all_users_of_the_catalog(model, tmp_path):
    answer = run(model, "--out", tmp_path / "l.parquet", "-k", 7)
    served, lists = load(model), Lists.load(tmp_path / "l.parquet")
    users = served.catalog.users.ids
    assert answer.pop("users_per_second") > 0
    assert answer == {"lists": str(tmp_path / "l.parquet"), "users": len(users), "k": 7}
    assert (lists.recommend(users, 7)[0] == served.recommend(users, 7, exclude_seen=True)[0]).all()
    run(model, "--out", tmp_path / "l.parquet", "-k", 7, "--seen")
    seen = Lists.load(tmp_path / "l.parquet").recommend(users, 7)[0]
    assert (seen == served.recommend(users, 7)[0]).all() and (
        seen != lists.recommend(users, 7)[0]
    ).any()


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_users_of_a_file_each_once(model, tmp_path, suffix):
    users = load(model).catalog.users.ids[[4, 2, 4, 9]]
    frame, path = pd.DataFrame({"item_id": 1, "user_id": users}), tmp_path / f"users.{suffix}"
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    assert run(model, "--out", tmp_path / "l.parquet", "-k", 3, "--users", path)["users"] == 3
    assert Lists.load(tmp_path / "l.parquet").ids.tolist() == users[[0, 1, 3]].tolist()


def test_users_that_are_unknown_are_told(model, tmp_path):
    kind = load(model).id_types["user_id"]
    known, unknown = (["3", "4"], "9\0") if kind == "string" else ([3, 4], 999)
    pd.DataFrame({"user_id": [*known, unknown]}).to_parquet(tmp_path / "users.parquet")
    answer = run(
        model, "--out", tmp_path / "l.parquet", "-k", 5, "--users", tmp_path / "users.parquet"
    )
    assert answer["users"] == 3 and answer["unknown_users"] == 1
    assert Lists.load(tmp_path / "l.parquet").ids.tolist() == [*known, unknown]


def test_on_to_redis(model, tmp_path, monkeypatch):
    loads = []
    monkeypatch.setattr(redis_store, "connect", lambda url: loads.append(url))
    monkeypatch.setattr(redis_load, "to_redis", lambda *arguments: loads.append(arguments) or 30)
    path = tmp_path / "l.parquet"
    answer = run(
        model, "--out", path, "-k", 3, "--redis", "redis://h", "--name", "home", "--ttl", 60
    )
    assert loads == ["redis://h", (path, "redis://h", "home", 60.0)] and path.is_file()
    assert answer["redis"].pop("users_per_second") > 0 and answer["redis"] == {
        "name": "home",
        "users": 30,
    }


def test_mistakes_are_one_line_and_come_before_the_work(model, tmp_path, free_ports):
    out, (port,) = ("--out", tmp_path / "l.parquet"), free_ports(1)
    assert "--redis needs a --name for the lists" in refused(
        model, *out, "--redis", "redis://localhost"
    )
    assert "--name and --ttl are for Redis: they go with --redis" in refused(
        model, *out, "--ttl", 5
    )
    pytest.importorskip("redis")
    told = refused(model, *out, "--redis", f"redis://:geheim@127.0.0.1:{port}", "--name", "home")
    assert (
        f"Redis at redis://***@127.0.0.1:{port}" in told
        and "geheim" not in told
        and told.count("\n") == 1
    )
    pd.DataFrame({"u": [1]}).to_csv(tmp_path / "users.csv", index=False)
    assert "has no column user_id; it has u" in refused(
        model, *out, "--users", tmp_path / "users.csv"
    )
    assert "no such file" in refused(model, *out, "--users", tmp_path / "no.csv").lower()
    if load(model).id_types["user_id"] == "int64":
        pd.DataFrame({"user_id": ["a"]}).to_csv(tmp_path / "users.csv", index=False)
        assert "this model's user_id are whole numbers" in refused(
            model, *out, "--users", tmp_path / "users.csv"
        )
    assert "k must be a whole number from 1 to" in refused(model, *out, "-k", 5000)
    assert not (tmp_path / "l.parquet").exists()


def test_files_of_users_that_cannot_be_read_are_one_line(model, tmp_path):
    out = ("--out", tmp_path / "l.parquet", "--users")
    for name, ids in (("fractions", [1.5]), ("flags", [True])):
        pd.DataFrame({"user_id": ids}).to_parquet(tmp_path / f"{name}.parquet")
        told = refused(model, *out, tmp_path / f"{name}.parquet")
        assert f"{name}.parquet: user_id must be all strings or all integers" in told
        assert told.count("\n") == 1
    (tmp_path / "users.csv").write_text("user_id,age\nann,30,1\n")
    assert "users.csv cannot be read as CSV: line 2 has 3" in refused(
        model, *out, tmp_path / "users.csv"
    )
    (tmp_path / "users.csv.gz").write_bytes(b"\x1f\x8b\x08")
    told = refused(model, *out, tmp_path / "users.csv.gz")
    assert "users.csv.gz cannot be read as CSV: it is damaged" in told and told.count("\n") == 1


def test_a_user_without_an_id_is_none_and_one_called_na_is_one(model, tmp_path):
    number = load(model).id_types["user_id"] == "int64"
    (tmp_path / "users.csv").write_text(f"age,user_id\n1,\n2,{7 if number else 'NA'}\n")
    run(model, "--out", tmp_path / "l.parquet", "-k", 3, "--users", tmp_path / "users.csv")
    ids = Lists.load(tmp_path / "l.parquet").ids.tolist()
    assert ids == [7 if number else "NA"]
