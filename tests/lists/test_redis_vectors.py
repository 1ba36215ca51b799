"""Users' vectors in Redis: what was computed, by raw id, of one export."""

import json

import keras
import numpy as np
import pytest
from click.testing import CliRunner

from tf_recall.cli import main
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.export.load import load
from tf_recall.export.versions import digest_of
from tf_recall.export.write import save
from tf_recall.features import Id
from tf_recall.index import Exact
from tf_recall.lists.redis_store import connect
from tf_recall.lists.redis_vectors import vector_of, vectors_to_redis
from tf_recall.models.two_tower import TwoTower
from tf_recall.recommend.rankings import Popularity
from tf_recall.recommend.service import Service
from tf_recall.towers.features import FeatureTower


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """A model of 30 users."""
    log = Interactions.from_columns(
        user_id=[f"u{at}" for at in range(30)], item_id=["tea", "rum"] * 15
    )
    keras.utils.set_random_seed(0)
    towers = [FeatureTower(entity, [Id(4)]) for entity in ("user", "item")]
    model = TwoTower(*towers).adapt(log, Catalog.fit(log))
    service = Service.build(model, Catalog.fit(log), index=Exact())
    return save(service, tmp_path_factory.mktemp("models") / "drinks", model=model)


def stored(url, name="drinks.vectors"):
    """What `current` says, and the vector of each user."""
    client = connect(url)
    about = json.loads(client.get(f"{name}:current"))
    keys = client.keys(f"{name}:{about['version']}:*")
    return about, {
        key.decode().rpartition(":")[2]: vector_of(client.get(key), about["shape"]) for key in keys
    }


def test_every_user_has_the_vector_that_the_export_gives(url, export):
    served = load(export)
    assert vectors_to_redis(served, served.catalog.users.ids, url, "drinks", batch_size=7) == 30
    about, vectors = stored(url)
    assert about["export"] == served.export == digest_of(export) and about["shape"] == [4]
    expected = served.embed_query(list(vectors))
    assert len(vectors) == 30
    np.testing.assert_allclose(np.concatenate(list(vectors.values())), expected, atol=1e-6)


def test_the_command_names_them_after_the_model(url, export):
    done = CliRunner().invoke(main, ["vectors", str(export), "--redis", url, "--ttl", "100"])
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["name"] == "drinks" and answer["users"] == 30
    assert len(stored(url)[1]) == 30
    client = connect(url)
    assert all(0 < client.ttl(key) <= 100 for key in client.keys("drinks.vectors:*:u*"))


def test_what_has_no_vectors_is_refused(url, export):
    served = load(export)
    popular = Popularity().fit(None, served.catalog)
    with pytest.raises(ValueError, match="an export of one model, .* not of Popularity"):
        vectors_to_redis(popular, ["u1"], url, "drinks")
    with pytest.raises(ValueError, match="user_id"):
        vectors_to_redis(served, ["u1", "u1"], url, "drinks")
    assert not connect(url).keys("*")
