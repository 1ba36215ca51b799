"""`tf-recall query` of an export whose ids hold commas: what is asked is what was typed."""

import functools
import importlib
import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from tf_recall.cli import main
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.export.load import load
from tf_recall.export.write import save
from tf_recall.features import Id, Numeric, Pretrained
from tf_recall.index import Exact
from tf_recall.recommend.service import Service
from tf_recall.towers.features import FeatureTower

load_module = importlib.import_module("tf_recall.export.load")
ITEMS = ["salt, fine", " tea ", "rum", 'say "hi"', "gin", "ale"]


class Broken(FeatureTower):
    """Its vectors are NaN."""

    def call(self, inputs, training=False):
        return super().call(inputs, training) * np.nan


def export(folder, tower, vectors):
    users = pd.DataFrame({"user_id": ["ann, b", "bob"], "age": [20, 40]})
    items = pd.DataFrame({"item_id": ITEMS, "look": vectors.tolist()})
    log = Interactions.from_columns(
        user_id=["ann, b", "bob"], item_id=["rum", "gin"], users=users, items=items
    )
    catalog = Catalog.fit(log)
    query = tower("user", [Id(2), Numeric("age")])
    item = FeatureTower("item", [Pretrained("look")])
    query.adapt(log, catalog)
    item.adapt(log, catalog)
    rows = catalog.items.encode(ITEMS) - 1
    index = Exact().build(vectors[np.argsort(rows)])
    return save(Service(query, item, index, catalog), folder / tower.__name__)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    vectors = np.random.default_rng(0).normal(size=(6, 3))
    return export(tmp_path_factory.mktemp("models"), FeatureTower, vectors)


@pytest.fixture(scope="module", autouse=True)
def loaded_once():
    """An export is loaded once, however many commands ask it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load_module, "load", functools.cache(load_module.load))
        yield


def run(*arguments):
    result = CliRunner().invoke(main, ["query", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout), result.stderr


def refused(*arguments):
    result = CliRunner().invoke(main, ["query", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 1 and result.stdout == "" and result.stderr.count("\n") == 1
    return result.stderr


def test_ids_with_commas_blanks_and_quotes(model):
    answer, told = run(model, "--user-id", '"ann, b"', "-k", 6, "--seen")
    assert answer["user_id"] == "ann, b" and sorted(answer["item_id"]) == sorted(ITEMS)
    assert "unknown" not in answer and told == ""
    answer, _ = run(model, "--user-id", "bob", "--allow", '"salt, fine", " tea ",rum , say "hi"')
    assert sorted(answer["item_id"]) == sorted(["salt, fine", " tea ", "rum", 'say "hi"'])
    answer, _ = run(model, "--user-id", "bob", "-k", 6, "--exclude", "gin", "--exclude", "ale, rum")
    assert sorted(answer["item_id"]) == sorted(["salt, fine", " tea ", 'say "hi"'])


def test_unknown_ids_are_told_even_without_the_catalog(model):
    assert load(model).catalog is None
    answer, told = run(model, "--user-id", "bob", "--exclude", "rum,rumm", "--allow", "tea")
    assert answer == {
        "user_id": "bob",
        "item_id": [],
        "score": [],
        "unknown": {"exclude": ["rumm"], "allow": ["tea"]},
    }
    assert told == ("exclude is unknown to the model: rumm\nallow is unknown to the model: tea\n")
    assert "item 'tea' is unknown, and the request brings no feature of it" in refused(
        model, "--item-id", "tea"
    )


@pytest.mark.parametrize("number", ["1e40", "-1e39", "Infinity", "-inf"])
def test_a_number_that_is_none_is_told_and_counts_as_missing(model, number):
    plain, _ = run(model, "--user-id", "nobody")
    answer, told = run(model, "--user-id", "nobody", "--feature", f"age={number}")
    assert answer == {**plain, "unknown": {"age": [number]}}
    assert told == f"age is unknown to the model: {number}\n"


def test_mistakes_are_one_line(model):
    user = model, "--user-id", "bob"
    for feature in ("age=old", "age=nan", "age=1_000"):
        assert "column 'age' must hold numbers" in refused(*user, "--feature", feature)
    assert "look must hold one value, or one for each of the 1 rows, each a list of 3" in refused(
        model, "--item-id", "rum", "--feature", "look=1,2,3"
    )
    assert "the quotes do not match" in refused(model, "--user-id", '"bob')
    assert "--allow takes ids with commas between them; one is empty" in refused(
        *user, "--allow", ""
    )


def test_scores_that_are_nan_are_an_error(tmp_path):
    path = export(tmp_path, Broken, np.eye(6, 3))
    assert "the scores are NaN: the model has diverged" in refused(path, "--user-id", "bob")
