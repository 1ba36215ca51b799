"""What the tests of exports share: things that are quick to export."""

import keras
import numpy as np
import pytest

from tf_recall.channels.item_cf import ItemCF
from tf_recall.channels.multi import MultiChannel
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.features import Id
from tf_recall.index import Exact
from tf_recall.models.two_tower import TwoTower
from tf_recall.recommend.rankings import Popularity
from tf_recall.recommend.service import Service
from tf_recall.towers.features import FeatureTower


@pytest.fixture(scope="session")
def model_and_log():
    """An untrained model over two users and ten items, and the interactions that it knows."""
    log = Interactions.from_columns(
        user_id=["u1", "u2"] * 5, item_id=[f"i{at}" for at in range(10)], timestamp=np.arange(10)
    )
    keras.utils.set_random_seed(0)
    model = TwoTower(FeatureTower("user", [Id(2)]), FeatureTower("item", [Id(2)]))
    return model.adapt(log, Catalog.fit(log)), log


@pytest.fixture(scope="session")
def model(model_and_log):
    return model_and_log[0]


@pytest.fixture(scope="session")
def small(model_and_log):
    """A service of that model."""
    model, log = model_and_log
    return Service.build(model, Catalog.fit(log), index=Exact(), k_max=5)


@pytest.fixture(scope="session")
def several(small, model_and_log):
    """That service among counted channels."""
    log, catalog = model_and_log[1], small.catalog
    channels = {
        "popular": Popularity().fit(log, catalog),
        "items": ItemCF().fit(log, catalog),
        "towers": small,
    }
    return MultiChannel(channels, catalog)
