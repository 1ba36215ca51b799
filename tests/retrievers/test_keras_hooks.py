"""A model file loads in a process that has imported nothing else of the package."""

import importlib
import pkgutil
import subprocess
import sys

import keras
import numpy as np
import pytest

import tf_recall
from tf_recall.data.catalog import Catalog
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.data.splits import by_time
from tf_recall.features import Id, Text
from tf_recall.negatives import Mixture, Uniform
from tf_recall.registry import REGISTRY

ROADS = {
    "the package first": "import tf_recall, keras; load = keras.models.load_model",
    "Keras first": "import keras, tf_recall; load = keras.models.load_model",
    "TensorFlow first": "import tensorflow, keras, tf_recall; load = keras.saving.load_model",
    "by the package": "import tf_recall; load = tf_recall.load_model",
}
LOADED = """
import sys
import numpy as np
assert "tf_recall.models.two_tower" not in sys.modules
model = load(sys.argv[1])
assert type(model) is tf_recall.TwoTower and type(model.negatives) is tf_recall.Mixture
import keras
assert keras.saving.get_registered_object("tf_recall>TwoTower") is tf_recall.TwoTower
np.save(sys.argv[2], model.embed_catalog())
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A model file, and the vectors that it must give."""
    split = by_time(synthetic(60, 50, 900).interactions)
    towers = (
        tf_recall.FeatureTower("user", [Id(4)]),
        tf_recall.FeatureTower("item", [Id(4), Text("title", 4)], [4]),
    )
    negatives = Mixture([tf_recall.InBatch(), Uniform(8)])
    model = tf_recall.TwoTower(*towers, negatives=negatives)
    model.adapt(split.train, Catalog.fit(split.train)).compile()
    path = tmp_path_factory.mktemp("keras") / "m.keras"
    model.save(path)
    return path, model.embed_catalog()


@pytest.mark.parametrize("road", ROADS.values(), ids=ROADS)
def test_a_model_file_loads_in_a_fresh_process(saved, tmp_path, road):
    path, vectors = saved
    command = [sys.executable, "-c", road + LOADED, str(path), str(tmp_path / "vectors.npy")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    np.testing.assert_array_equal(np.load(tmp_path / "vectors.npy"), vectors)


def test_every_class_that_a_file_may_hold_has_a_home():
    for module in pkgutil.walk_packages(tf_recall.__path__, "tf_recall."):
        if module.name.split(".")[1] not in ("beam", "lists", "cli"):
            importlib.import_module(module.name)
    objects = keras.saving.get_custom_objects()
    known = {home.split(":")[1] for names in REGISTRY.values() for home in names.values()}
    known |= set(tf_recall.__all__)
    ours = {
        key.partition(">")[2]: value
        for key, value in objects.items()
        if key.startswith("tf_recall>") and isinstance(value, type)
    }
    assert "TwoTower" in ours and not set(ours) - known
    for name, kind in ours.items():
        assert getattr(importlib.import_module(kind.__module__), name) is kind
