"""Every model of the registry grows: what it knew stays, what is new trains, and it goes on."""

from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tf_recall.config import Config, Train, find_config
from tf_recall.data.catalog import Catalog
from tf_recall.data.growth import joined
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.recommend.service import Service
from tf_recall.registry import REGISTRY
from tf_recall.retrievers.parts import unbuilt

CONFIGS = [
    Config.load(file) for file in sorted(find_config("two_tower_quickstart").parent.glob("*.yaml"))
]
PLANTED = ("synthetic", "movielens")  # data with the columns of the planted world
# The others are slow tests.
QUICKLY = ("two_tower", "item2vec", "light_gcn", "graph_sage", "als", "youtube_dnn", "siamese")
EXACTLY = ("two_tower", "als")
EPOCHS = 2


def config_of(model):
    """A config of the model; one that fits the planted world, where there is one."""
    found = [config for config in CONFIGS if config.model and config.model["name"] == model]
    return min(found, key=lambda config: config.data["name"] not in PLANTED)


@pytest.fixture(scope="module")
def world():
    """The events of a config's data, in order: those of a first day, and those of the next."""
    made = {}

    def get(config):
        planted = config.data["name"] in PLANTED
        name = "planted" if planted else config.data["name"]
        if name not in made:
            if planted:
                log = synthetic(60, 50, 1200).interactions
                stars = log.frame["timestamp"] % 5  # one model learns from ratings
                log = replace(log, frame=log.frame.assign(user_rating=stars))
            else:
                log = config.make_data()
            order = np.argsort(log.frame["timestamp"].to_numpy(), kind="stable")
            made[name] = two_days(log.select(order))
        return made[name]

    return get


def two_days(log):
    """The first day lacks a few users and items altogether."""
    new_users = set(log.frame["user_id"].unique()[:3])
    new_items = set(log.frame["item_id"].unique()[:3])
    late = np.arange(len(log)) >= 0.8 * len(log)
    strange = log.frame["user_id"].isin(new_users) | log.frame["item_id"].isin(new_items)
    first = log.select(~late & ~strange.to_numpy())
    first = replace(
        first,
        items=_without(log.items, "item_id", new_items),
        users=_without(log.users, "user_id", new_users),
    )
    later = log.select(late | strange.to_numpy())
    return SimpleNamespace(first=first, later=later, catalog=Catalog.fit(first))


def _without(table, key, ids):
    return table if table is None else table[~table[key].isin(ids)].reset_index(drop=True)


def trained(config, world):
    keras.utils.set_random_seed(0)
    model = config.make_model().adapt(world.first, world.catalog)
    model.compile(config.make_optimizer())
    model.train(world.first, world.catalog, Train(epochs=EPOCHS, batch_size=256))
    return model


def again(model, folder):
    model.save(folder / "model.keras")
    return keras.saving.load_model(folder / "model.keras")


def state(model):
    """All that training goes on from; Keras saves no seeds, and no dropout of its own draws."""
    variables = [*model.variables, *model.optimizer.variables]
    return [each for each in variables if "seed_generator" not in each.path]


def by_default(names):
    """All models; those that are not named are slow tests."""
    return [
        name if name in names else pytest.param(name, marks=pytest.mark.slow)
        for name in REGISTRY["model"]
    ]


@pytest.mark.parametrize("name", by_default(QUICKLY))
def test_what_is_known_stays_and_what_is_new_is_learned(name, world, tmp_path):
    config = config_of(name)
    world = world(config)
    model = again(trained(config, world), tmp_path)
    log = joined(world.first, world.later)
    catalog = world.catalog.grown(log)
    grown = model.grown(log, catalog)
    assert unbuilt(grown.get_config()) == unbuilt(model.get_config())
    assert grown.item_tower.identity == catalog.identity
    for now, known in zip(grown.trainable_variables, model.trainable_variables, strict=True):
        rows = grown.origins.get(id(now))
        if rows is None:
            np.testing.assert_array_equal(now, known)
        else:
            at = np.flatnonzero(rows)
            np.testing.assert_array_equal(now.numpy()[at], known.numpy()[rows[at]])
            usual = known.numpy()[0], known.numpy()[rows[at]].mean(axis=0)
            for row in np.flatnonzero(rows == 0)[1:]:
                each = [np.allclose(now.numpy()[row], one, rtol=1e-4, atol=1e-6) for one in usual]
                assert any(each), now.path
    before = [variable.numpy() for variable in state(grown)]
    grown.train(log, catalog, Train(epochs=1, batch_size=256))
    after = [variable.numpy() for variable in state(grown)]
    assert any((one != other).any() for one, other in zip(before, after, strict=True))
    vectors = grown.embed_catalog()
    side = catalog.side(grown.item_tower.entity)
    assert len(vectors) == side.vocabulary.size - 1 and np.isfinite(vectors).all()
    service = Service.build(grown, catalog, k_max=5)
    ids, scores = service.recommend(catalog.users.ids[-2:], k=5, **context(service, 2))
    assert np.isfinite(scores).all()


def context(service, num):
    return {
        name: [""] * num if spec.dtype == "string" else [0.0] * num
        for name, spec in service.query_columns.items()
    }


@pytest.mark.parametrize("name", by_default(EXACTLY))
def test_where_nothing_is_new_training_goes_on_as_if_it_had_not_stopped(name, world, tmp_path):
    config = config_of(name)
    world = world(config)
    model = trained(config, world)
    catalog = world.catalog.grown(world.first)
    grown = again(model, tmp_path).grown(world.first, catalog)
    for now, known in zip(state(grown), state(model), strict=True):
        np.testing.assert_array_equal(now, known)
    settings = Train(epochs=EPOCHS + 1, batch_size=256)
    model.train(world.first, world.catalog, settings, initial_epoch=EPOCHS)
    grown.train(world.first, catalog, replace(settings, epochs=1))
    for now, known in zip(state(grown), state(model), strict=True):
        np.testing.assert_allclose(now, known, rtol=1e-6, atol=1e-6)
