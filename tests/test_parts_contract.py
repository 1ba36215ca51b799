"""What every part of the registry keeps to, of any kind; `parts.yaml` alone knows them by name."""

import gzip
import importlib.util
import inspect
import re
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tf_recall.config import Config, part
from tf_recall.data import notation
from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.data.sources.tfrecord import write_tfrecord
from tf_recall.data.split import Split
from tf_recall.export.describe import described
from tf_recall.features import Id
from tf_recall.registry import REGISTRY, find, keywords, make
from tf_recall.towers.features import FeatureTower

PARTS = notation.read((Path(__file__).parent / "parts.yaml").read_text(), "parts.yaml")
ALL = [(kind, name) for kind in REGISTRY for name in REGISTRY[kind]]
FUNCTIONS = ("data", "split", "strategy")  # what they make is no part of their own
GIVEN = {"split": {"interactions"}, "tower": {"entity", "item_tower"}, "feature": {"items"}}
NOT_FROM_A_CONFIG = {"name", "kwargs"}  # in a config `name` is the part's own
LISTED = "positives tower negatives aggregator loss model channel similarity"  # in METHODS.md
EXCEPTIONS = PARTS.pop("exceptions")
NEEDS = EXCEPTIONS["packages"]


def each(*kinds, besides=()):
    """Parametrizes a test over every part of the kinds, or of all kinds but some."""
    chosen = kinds or [kind for kind in REGISTRY if kind not in besides]
    return pytest.mark.parametrize("kind, name", [pair for pair in ALL if pair[0] in chosen])


def all_settings(kind, name):
    """The settings of a part in the table, a list."""
    assert name in PARTS.get(kind, {}), (
        f"{kind} {name!r} is new: add to tests/parts.yaml how a config names it, with every "
        f"argument and none at its default; it takes {own_keywords(kind, name)}"
    )
    values = PARTS[kind][name]
    return values if isinstance(values, list) else [values]


def own_keywords(kind, name):
    """What a config may give a part."""
    left_out = NOT_FROM_A_CONFIG | GIVEN.get(kind, set())
    return [key for key in keywords(find(kind, name)) if key not in left_out]


def from_yaml(kind, values, *given):
    """The part that a config of these values makes, once written and read."""
    values = notation.read(notation.write(values), "a config")
    if kind == "model":
        config = {"data": {"name": "synthetic"}, "split": {"name": "random"}, "model": values}
        return Config.from_dict(config).make_model()
    return part(kind, values, *given)


def made(kind, name):
    """A part of each of its settings in the table."""
    if name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None:
        pytest.skip(f"{NEEDS[name]} is not installed")
    settings = all_settings(kind, name)
    given = [_entity(name, settings[0])] if kind == "tower" else []
    return [from_yaml(kind, {"name": name, **values}, *given) for values in settings]


def _entity(name, values):
    """What a tower is over: items, or their tower; users, where it has a history among features."""
    if "item_tower" in keywords(find("tower", name)):
        return FeatureTower("item", [Id(6)])
    features = [feature["name"] for feature in values["features"]]
    return "user" if "history" in features else "item"


def configuration(kind, thing):
    """All that a part is made of, in plain values."""
    return thing.get_config() if hasattr(thing, "get_config") else described(kind, thing)


def agrees(given, kept):
    """Whether a configuration holds the values given, those of inner parts included."""
    if isinstance(kept, dict) and "class_name" in kept:
        homes = [names.get(given["name"], "") for names in REGISTRY.values()]
        if not any(home.endswith(f":{kept['class_name']}") for home in homes):
            return False
        kept = {**kept["config"], "name": given["name"]}
    if isinstance(given, dict):
        return all(key in kept and agrees(value, kept[key]) for key, value in given.items())
    if isinstance(given, list):
        return len(given) == len(kept) and all(map(agrees, given, kept))
    return given == kept


def test_the_table_holds_what_the_registry_holds():
    listed = {(kind, name) for kind, names in PARTS.items() for name in names}
    assert not listed - set(ALL), "tests/parts.yaml names parts that the registry does not have"
    for kind, name in ALL:
        all_settings(kind, name)


@each()
def test_the_table_names_every_argument_and_none_at_its_default(kind, name):
    known = keywords(find(kind, name))
    settings = all_settings(kind, name)
    assert {key for values in settings for key in values} == set(own_keywords(kind, name))
    for values in settings:
        at_default = [key for key, value in values.items() if value == known[key].default]
        assert not at_default, f"tests/parts.yaml gives {kind} {name!r} defaults: {at_default}"


@each(besides=FUNCTIONS)
def test_every_argument_survives_the_config(kind, name):
    for values, thing in zip(all_settings(kind, name), made(kind, name), strict=True):
        assert type(thing) is find(kind, name)
        config = configuration(kind, thing)
        if hasattr(thing, "get_config"):
            again = type(thing).from_config(config)
        else:
            again = from_yaml(kind, config)
        assert agrees(values, config) and configuration(kind, again) == config


@each()
def test_what_a_part_does_not_take_is_refused_with_what_it_takes(kind, name):
    given = [None] if kind in ("split", "tower") else []
    values = {"name": name, **all_settings(kind, name)[0], "nonsense": 1}
    with pytest.raises(ValueError, match="takes no 'nonsense'") as refusal:
        from_yaml(kind, values, *given)
    assert all(key in str(refusal.value) for key in own_keywords(kind, name))
    with pytest.raises(ValueError, match=f"{kind} 'nonsense' is unknown") as refusal:
        make(kind, "nonsense")
    assert name in str(refusal.value)


@each()
def test_the_docstring_names_every_argument(kind, name):
    doc = inspect.getdoc(find(kind, name))
    assert re.fullmatch(r"[^\n].*[.:]", doc.split("\n\n")[0], re.DOTALL), "no summary line"
    if kind in LISTED.split():
        assert re.search(r"\b[PNLMC]\d+\b", doc), "no id of METHODS.md"
    known = own_keywords(kind, name)
    arguments = doc.partition("Args:")[2].partition("\n\n")[0]
    if not arguments.lstrip().startswith("those of `keras."):
        lacking = [key for key in known if not re.search(rf"\b{key}\b", arguments)]
        assert not lacking, f"Args: lacks {lacking}"


@pytest.fixture(scope="module")
def world():
    interactions = synthetic(60, 40, 800, seed=1).interactions
    number = np.arange(len(interactions.items))
    items = interactions.items.assign(
        tags=[f"a{n % 3},b{n % 5}" for n in number],
        year=1990 + number % 17,
        vector=[[n, 1.0 + n % 2] for n in number],
    )
    frame = interactions.frame.assign(visit=np.arange(len(interactions)) // 5)
    log = Interactions(frame, items=items, users=interactions.users)
    return SimpleNamespace(log=log, catalog=Catalog.fit(log))


@pytest.fixture(scope="module")
def with_files(tmp_path_factory):
    """Settings whose `<path>`s are small files."""
    folder = tmp_path_factory.mktemp("files")
    days = [f"2010-12-{day:02} 08:00:00" for day in range(1, 10)]
    log = pd.DataFrame({"u": list("aabbccabc"), "item_id": list("xyxyzxzzy"), "timestamp": days})
    log.assign(taken=1, seconds=9.0).to_csv(folder / "log.csv", index=False)
    (folder / "log").mkdir()
    seconds = np.arange(9) * 60  # since 1970, as `time_unit: s` says
    short = log.assign(timestamp=seconds, visit=range(9))
    short.to_parquet(folder / "log" / "1.parquet")
    (folder / "in").mkdir()
    short.to_csv(folder / "in" / "1.csv", index=False)
    events = Interactions.from_frame(short, {"user_id": "u"}, time_unit="s")
    events = Interactions(events.frame.rename(columns={"user_id": "u"}))
    write_tfrecord(events, folder / "log.tfrecord")
    log[["u", "item_id"]].head(2).to_csv(folder / "rejections.csv", index=False)
    items = pd.DataFrame({"item_id": list("xyz"), "color": ["red", "blue", "red"]})
    items.to_csv(folder / "items.csv", index=False)
    users = pd.DataFrame({"user_id": list("abc"), "country": ["CH", "AT", "DE"]})
    users.to_csv(folder / "users.csv", index=False)
    invoices = pd.DataFrame({"InvoiceNo": range(1, 10), "StockCode": log["item_id"]})
    invoices = invoices.assign(Description="MUG", Quantity=1, InvoiceDate=days, UnitPrice=2.5)
    invoices = invoices.assign(CustomerID=range(9), Country="France")
    with gzip.open(folder / "online_retail.csv.gz", "wt") as file:
        invoices.to_csv(file, index=False)
    ml_1m = {
        "movies.dat": "1::Nix (2001)::Animation|Comedy\n2::Nox (2002)::Drama\n",
        "users.dat": "1::F::1::10::48067\n2::M::56::16::70072\n",
        "ratings.dat": "1::1::5::978824268\n2::2::4::978824000\n",
    }
    (folder / "ml-1m").mkdir()
    (folder / "ml-1m.zip").touch()
    for name, text in ml_1m.items():
        (folder / "ml-1m" / name).write_text(text)

    def real(values):
        return {
            key: str(folder / value[1:-1]) if str(value).startswith("<") else value
            for key, value in values.items()
        }

    return real


def assert_same_log(one, other):
    pd.testing.assert_frame_equal(one.frame, other.frame)
    assert len(one) and (one.items is None) == (other.items is None)


@each("data")
def test_the_same_settings_give_the_same_data(kind, name, with_files, monkeypatch):
    values = with_files(all_settings(kind, name)[0])
    if name in NEEDS:
        datasets = pytest.importorskip(NEEDS[name])
        unpacked = values["manual_dir"]  # what it would unpack lies there already
        manager = datasets.download.DownloadManager
        monkeypatch.setattr(manager, "download_and_extract", lambda self, url: unpacked)
    assert_same_log(from_yaml(kind, {"name": name, **values}), make(kind, name, **values))


@each("split")
def test_the_same_settings_give_the_same_split(kind, name, with_files, world):
    for values in all_settings(kind, name):
        split = from_yaml(kind, {"name": name, **with_files(values)}, world.log)
        again = make(kind, name, world.log, **with_files(values))
        assert isinstance(split, Split) and split.validation is not None
        for side in ("train", "test", "validation"):
            assert_same_log(getattr(split, side), getattr(again, side))


@each("strategy")
def test_a_strategy_is_one_of_tensorflow(kind, name):
    if name in EXCEPTIONS["other_machines"]:
        pytest.skip("it needs other machines")
    assert isinstance(make(kind, name), tf.distribute.Strategy)


@keras.saving.register_keras_serializable("tests")
class Holder(keras.Model):
    """A model that is nothing but one part."""

    def __init__(self, held, **kwargs):
        super().__init__(**kwargs)
        self.held = held
        self.built = True

    def get_config(self):
        return {"held": keras.saving.serialize_keras_object(self.held)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["held"]))


def adapt(kind, thing, world):
    """Fits a part on the world."""
    catalog = world.catalog
    if kind == "tower":
        thing.adapt(world.log, catalog)
    elif kind == "negatives":
        thing.adapt(catalog.items.counts, catalog.item_table, 5)
    elif kind == "frequency":
        thing.adapt(catalog.items.counts)
    elif kind == "feature" and isinstance(thing, Id):
        thing.build_from_config({"num_rows": catalog.items.size})
    elif kind == "feature" and thing.column is None:
        thing.learn(world.log, catalog, "user")
    elif kind == "feature":
        thing.adapt(thing.to_raw(catalog.item_table[thing.column]))


@each("feature", "tower", "negatives", "frequency", "temperature")
def test_the_state_survives_a_keras_file(kind, name, world, tmp_path):
    keras.utils.set_random_seed(1)
    (thing,) = made(kind, name)
    adapt(kind, thing, world)
    model = Holder(thing)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert configuration(kind, again.held) == configuration(kind, thing)
    for one, other in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one, other)


@each("optimizer")
def test_an_optimizer_goes_on_where_it_was(kind, name, tmp_path):
    keras.utils.set_random_seed(1)
    (optimizer, *_) = made(kind, name)
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(1)])
    model.compile(optimizer, "mse")
    x, y = np.ones([4, 3]), np.ones([4, 1])
    model.fit(x, y, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    for _ in range(2):
        for one, other in zip(
            [*model.weights, *optimizer.variables],
            [*again.weights, *again.optimizer.variables],
            strict=True,
        ):
            np.testing.assert_array_equal(one, other)
        model.fit(x, y, verbose=0)
        again.fit(x, y, verbose=0)


@each("index")
def test_an_index_answers_the_same_from_a_saved_model(kind, name, tmp_path):
    vectors = np.random.default_rng(0).standard_normal([300, 6]).astype(np.float32)
    (index,) = made(kind, name)
    index.build(vectors)
    signature = [tf.TensorSpec([None, 6]), tf.TensorSpec([], tf.int32)]
    module = tf.Module()
    module.index = index
    module.search = tf.function(index.search, input_signature=signature)
    tf.saved_model.save(module, str(tmp_path))
    again = tf.saved_model.load(str(tmp_path))
    for one, other in zip(index.search(vectors[:9], 7), again.search(vectors[:9], 7), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
