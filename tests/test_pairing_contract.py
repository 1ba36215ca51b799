"""Every model with all positives: it learns a step, or is refused by name when it is made."""

import itertools
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


def made(make):
    """A model; None where it is refused, by name and with what can be taken."""
    try:
        return make()
    except ValueError as error:
        said = re.fullmatch(r"(\w+) cannot learn from (\w+): .+; take (.+)", str(error))
        assert said, error
        kinds = {find("positives", name).__name__ for name in REGISTRY["positives"]}
        allowed = set(said[3].split(" or "))
        assert allowed and allowed <= kinds - {said[2]}


def with_positives(model, positives):
    """A config of the model that learns from such positives."""
    config = config_of(model)
    values = {**config.model, "positives": positives}
    return Config.from_dict({**config.to_dict(), "model": values})


# one that is solved by sweeps takes no positives
LEARNERS = [name for name in REGISTRY["model"] if "positives" in keywords(find("model", name))]
# Every model learns from its own positives in `test_contract`, `two_tower` from all it takes below;
# of the other pairs these stand for their kind, and the rest learn with the slow tests.
STAND_FOR_ALL = [
    ("item2vec", "walks"),
    ("airbnb_i2i", "shrinking_windows"),
    ("eges", "windows"),
    ("siamese", "user_halves"),
    ("fm", "next_item"),
    ("light_gcn", "next_item"),
    ("gru4rec", "next_item"),
    ("youtube_dnn", "user_item"),
    ("graph_sage", "next_item"),
    ("graph_sage_i2i", "walk_pairs"),
]
REST = [
    pair for pair in itertools.product(LEARNERS, REGISTRY["positives"]) if pair not in STAND_FOR_ALL
]


@pytest.mark.parametrize(
    "model, positives",
    [*STAND_FOR_ALL, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in REST)],
)
def test_it_learns(model, positives, world):
    config = with_positives(model, positives)
    model = made(config.make_model)
    if model is None:
        pytest.skip("refused by name")
    assert learn_a_step(model, world(config))


@pytest.mark.parametrize("model", LEARNERS)
def test_each_model_goes_with_some_positives_and_refuses_the_others_by_name(model):
    taken = [made(with_positives(model, each).make_model) for each in REGISTRY["positives"]]
    assert any(each is not None for each in taken)


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
    model = made(config.make_model)
    assert model is None or learn_a_step(model, world(config))


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
