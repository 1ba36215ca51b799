"""Every model with all positives: it learns a step, or is refused by name when it is made."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tf_recall.config import Config, find_config
from tf_recall.data.catalog import Catalog
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.registry import REGISTRY, find, keywords, part

CONFIGS = [
    Config.load(file) for file in sorted(find_config("two_tower_quickstart").parent.glob("*.yaml"))
]
PLANTED = ("synthetic", "movielens")  # data with the columns of the planted world


def config_of(model):
    """A config of the model; one that fits the planted world, where there is one."""
    found = [config for config in CONFIGS if config.model and config.model["name"] == model]
    assert found, f"{model} has no file in configs/"
    return min(found, key=lambda config: config.data["name"] not in PLANTED)


@pytest.fixture(scope="module")
def world():
    """From a config to the interactions that its model learns from, and their catalog."""
    made = {}

    def get(config):
        name = "planted" if config.data["name"] in PLANTED else config.data["name"]
        if name not in made:
            planted = name == "planted"
            train = synthetic(60, 50, 1200).interactions if planted else config.make_data()
            if planted:  # one model learns from ratings
                stars = train.frame["timestamp"] % 5
                train = replace(train, frame=train.frame.assign(user_rating=stars))
            made[name] = SimpleNamespace(train=train, catalog=Catalog.fit(train))
        return made[name]

    return get


def learn_a_step(model, world):
    """Whether some weight that trains has moved."""
    model.adapt(world.train, world.catalog).compile()
    batches = model.batches(world.train, world.catalog, batch_size=64)
    before = [np.array(variable) for variable in model.trainable_variables]
    model.fit(batches.dataset(), steps_per_epoch=2, verbose=0, shuffle=False)
    after = [np.array(variable) for variable in model.trainable_variables]
    assert all(np.isfinite(each).all() for each in after)
    return any((one != other).any() for one, other in zip(before, after, strict=True))


def check(make, world):
    """Makes a model; it learns, or says who cannot learn from whom, and what can be taken."""
    try:
        model = make()
    except ValueError as error:
        said = re.fullmatch(r"(\w+) cannot learn from (\w+): .+; take (.+)", str(error))
        assert said, error
        kinds = {find("positives", name).__name__ for name in REGISTRY["positives"]}
        allowed = set(said[3].split(" or "))
        assert allowed and allowed <= kinds - {said[2]}
        return False
    assert learn_a_step(model, world)
    return True


# one that is solved by sweeps takes no positives
LEARNERS = [name for name in REGISTRY["model"] if "positives" in keywords(find("model", name))]


@pytest.mark.parametrize("positives", REGISTRY["positives"])
@pytest.mark.parametrize("model", LEARNERS)
def test_it_learns_or_is_refused_by_name(model, positives, world):
    config = config_of(model)
    values = {**config.model, "positives": positives}
    config = Config.from_dict({**config.to_dict(), "model": values})
    check(config.make_model, world(config))


@pytest.mark.parametrize("model", LEARNERS)
def test_each_model_goes_with_some_positives_and_each_with_some_model(model):
    config, fit = config_of(model), []
    for positives in REGISTRY["positives"]:
        values = {**config.model, "positives": positives}
        try:
            Config.from_dict({**config.to_dict(), "model": values}).make_model()
            fit.append(positives)
        except ValueError:
            continue
    assert fit


TOWERS = {
    "ids": {"features": ["id"]},
    "history": {"name": "history", "length": 5},
    "both": {"features": ["id", {"name": "history", "length": 5, "pooling": "last"}]},
}


@pytest.mark.parametrize("positives", REGISTRY["positives"])
@pytest.mark.parametrize("query_tower", TOWERS)
def test_what_the_query_tower_asks_for_is_given_or_refused(query_tower, positives, world):
    values = {
        "name": "two_tower",
        "query_tower": TOWERS[query_tower],
        "item_tower": {"features": ["id"]},
        "positives": positives,
    }
    if query_tower == "both":
        values["item_tower"] = {"features": [{"name": "id", "dim": 64}]}
    config = Config.from_dict({"data": {"name": "synthetic"}, "split": {}, "model": values})
    check(config.make_model, world(config))


def test_queries_may_be_items(world):
    """One shared tower on both sides: an item and the next one of its user."""
    of = world(CONFIGS[0] if CONFIGS[0].data["name"] in PLANTED else config_of("two_tower"))
    tower = part("tower", {"name": "features", "features": ["id"]}, "item")
    model = find("model", "two_tower")(tower, tower, part("positives", "item_pairs"))
    assert learn_a_step(model, of)
    again = type(model).from_config(model.get_config())
    assert again.query_tower is again.item_tower
    vectors = model.embed_query({"item": tf.range(3)}).numpy()
    np.testing.assert_array_equal(vectors, model.embed_item({"item": tf.range(3)}).numpy())
