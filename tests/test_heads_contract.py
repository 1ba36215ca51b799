"""Every model of the registry tells more of a user and an item by heads, or refuses them."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from tf_recall.config import Config, Train
from tf_recall.data import notation
from tf_recall.data.catalog import Catalog
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.data.splits import by_time
from tf_recall.export.load import load, restore
from tf_recall.export.write import save
from tf_recall.recommend.service import Service
from tf_recall.registry import REGISTRY, find, keywords, part
from tf_recall.retrievers.parts import deserialized

PARTS = notation.read((Path(__file__).parent / "parts.yaml").read_text(), "parts.yaml")
SMALL = {"dim": 8, "fan_outs": [3], "num_layers": 1, "session": 3, "length": 5}
HEAD = {"name": "watch_time", "column": "seconds", "units": [8]}
COLUMNS = {"user_type": ["segment"], "item_type": ["genres"], "label": "seconds"}
ALWAYS = ("simplex", "graph_sage")  # one with histories, one with a graph
TAKES = [name for name in REGISTRY["model"] if "predicts" in keywords(find("model", name))]


def made(name):
    """A small model of a name, with a head."""
    known = keywords(find("model", name))
    given = {key: value for key, value in {**SMALL, **COLUMNS}.items() if key in known}
    return part("model", {"name": name, **given, "predicts": [HEAD]})


@pytest.fixture(scope="module")
def world():
    """Who had what, and for how long: twice as long where user and item are of one half."""
    planted = synthetic(num_users=80, num_items=60, num_interactions=4000, seed=1).interactions
    numbers = {key: planted.frame[key].str[1:].astype(int) for key in ("user_id", "item_id")}
    alike = numbers["user_id"] % 2 == numbers["item_id"] % 2
    noise = np.exp(np.random.default_rng(0).normal(0, 0.2, len(planted)) - 0.02)
    frame = planted.frame.assign(seconds=np.where(alike, 40.0, 20.0) * noise)
    users = planted.frame[["user_id"]].drop_duplicates()
    users = users.assign(segment=users["user_id"].str[-1])
    split = by_time(replace(planted, frame=frame, users=users), test=0.1)
    return split.train, Catalog.fit(split.train)


@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=[] if each in ALWAYS else pytest.mark.slow) for each in TAKES],
)
def test_a_head_is_trained_and_exported(name, world, tmp_path):
    train, catalog = world
    keras.utils.set_random_seed(0)
    model = made(name).adapt(*world)
    model.compile()
    model.train(*world, Train(epochs=4, batch_size=256))
    assert {"loss", "watch_time"} <= set(model.history.history)
    service = Service.build(model, catalog, k_max=20)
    some = train.frame.iloc[::4]
    asked = some["user_id"].to_numpy(), some["item_id"].to_numpy()
    told = service.predict("watch_time", *asked)["watch_time"]
    assert 0.7 < told.mean() / some["seconds"].mean() < 1.4
    path = save(service, tmp_path / name, model=model)
    for again in (load(path), Service.build(*restore(path), k_max=20)):
        found = again.predict("watch_time", *asked)["watch_time"]
        np.testing.assert_allclose(found, told, rtol=1e-4)
    if hasattr(model, "attached"):
        longer = train.frame.assign(seconds=9 * train.frame["seconds"])  # the unit stays
        attached = model.attached(replace(train, frame=longer), catalog)
        larger = Service.build(*attached, k_max=20)
        found = larger.predict("watch_time", *asked)["watch_time"]
        np.testing.assert_allclose(found, told, rtol=1e-4)


@pytest.mark.parametrize("name", sorted({*REGISTRY["model"]} - {*TAKES}))
def test_a_model_without_rows_of_a_user_and_an_item_refuses_heads_by_name(name):
    rows = PARTS["model"][name]
    row = {"name": name, **(rows[0] if isinstance(rows, list) else rows)}
    values = {"data": "synthetic", "split": "random", "model": row}
    model = Config.from_dict(values).make_model()
    given = {**deserialized(model.get_config()), "predicts": [part("head", HEAD)]}
    says = f"{type(model).__name__} takes no predicts: .* take TwoTower, .*SimpleX"
    with pytest.raises(ValueError, match=says):
        type(model)(**given)
    with pytest.raises(ValueError, match="takes no 'predicts'"):
        part("model", {**row, "predicts": [HEAD]})
