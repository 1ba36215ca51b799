"""What is private of Keras is named in one file, and works; a model file loads in any process."""

import ast
import importlib
import pkgutil
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_recall
from tf_recall.data.catalog import Catalog
from tf_recall.data.sources.synthetic import synthetic
from tf_recall.data.splits import by_time
from tf_recall.features import Id, Text
from tf_recall.negatives import Mixture, Uniform
from tf_recall.registry import REGISTRY
from tf_recall.retrievers import keras_hooks

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


@pytest.mark.slow
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


class Recording(keras_hooks.HookedOptimizer, keras.optimizers.SGD):
    """Clips twice what Keras clips, keeps what it was given, and counts the decays."""

    decayed = 0

    def begin_decay(self):
        self.decayed += 1

    def clip(self, grads, clip_dense):
        self.given = list(grads)
        return [2 * clipped for clipped in clip_dense(grads)]


def test_an_optimizer_asks_the_hooks_to_clip_and_to_decay():
    variable = keras.Variable(np.zeros(2, "float32"))
    optimizer = Recording(1.0, clipvalue=0.5, weight_decay=0.5)
    optimizer.build([variable])
    optimizer.apply([tf.constant([3.0, 0.25])], [variable])
    np.testing.assert_array_equal(optimizer.given[0], [3.0, 0.25])
    np.testing.assert_array_equal(variable, [-1.0, -0.5])  # clipped to [0.5, 0.25], twice
    optimizer.apply([tf.zeros(2)], [variable])
    np.testing.assert_array_equal(variable, [-1.0, -0.5])  # the decay is the subclass's own
    assert optimizer.decayed == 2


class Built(keras_hooks.BuiltModel, keras.Model):
    """A model with a weight, that is built."""

    def __init__(self):
        super().__init__()
        self.bias = self.add_weight(shape=(), initializer="zeros", name="bias")
        self.pattern = keras.layers.Dense(2)  # that the model makes others like, and never builds
        self.built = True

    def call(self, x):
        return x + self.bias


@pytest.mark.parametrize(
    "strategy", [tf.distribute.get_strategy, lambda: tf.distribute.MirroredStrategy(["CPU:0"])]
)
def test_building_builds_the_optimizer_and_reads_no_batch(strategy):
    def unread():
        pytest.fail("a batch was read")
        yield

    with strategy().scope():
        model = Built()
        model.compile("adam")
    model._maybe_symbolic_build(iterator=unread())
    assert model.optimizer.built


def test_the_first_step_is_traced_once():
    traced = []

    class Counted(Built):
        def call(self, x):
            traced.append(x)
            return super().call(x)

    model = Counted()
    model.compile("adam", "mse")
    model.fit(np.ones((4, 1)), np.ones((4, 1)), batch_size=2, epochs=2, verbose=0)
    assert len(traced) == 1


def test_fit_asks_the_hook_to_build(monkeypatch):
    asked = []
    build = Built._maybe_symbolic_build

    def note(self, iterator=None, data_batch=None):
        asked.append(self)
        build(self, iterator, data_batch)

    monkeypatch.setattr(Built, "_maybe_symbolic_build", note)
    model = Built()
    model.compile("adam", "mse")
    model.fit(np.ones((2, 1)), np.ones((2, 1)), verbose=0)
    assert asked == [model]


def test_sublayers_are_a_layer_and_all_that_it_holds():
    inner = keras.layers.Dense(2)
    middle = keras.Sequential([inner])
    outer = keras.Sequential([middle, keras.layers.ReLU()])
    found = keras_hooks.sublayers(outer)
    assert found[0] is outer and {middle, inner} <= set(found)
    assert keras_hooks.sublayers(inner) == [inner]


@pytest.mark.parametrize(
    "make, slots",
    [
        (keras.optimizers.Adagrad, ["accumulators"]),
        (lambda: keras.optimizers.Adam(amsgrad=True), ["momentums", "velocities", "velocity_hats"]),
    ],
    ids=["adagrad", "adam"],
)
def test_slots_are_those_of_the_variable(make, slots):
    variables = [keras.Variable(np.zeros(size, "float32")) for size in (2, 3)]
    optimizer = make()
    optimizer.build(variables)
    before = {
        (s, at): keras_hooks.slot(optimizer, s, v).numpy()
        for s in slots
        for at, v in enumerate(variables)
    }
    optimizer.apply([tf.zeros(2), tf.constant([0.0, 4.0, 0.0])], variables)
    for name in slots:
        still, moved = (keras_hooks.slot(optimizer, name, variable) for variable in variables)
        assert isinstance(moved, tf.Variable)
        np.testing.assert_array_equal(still, before[name, 0])
        changed = moved.numpy() != before[name, 1]
        np.testing.assert_array_equal(changed, [False, True, False])


def test_weight_decay_leaves_out_what_is_excluded_and_scalars():
    names = {"one": (2,), "two": (2,), "scalar": ()}
    variables = [keras.Variable(np.ones(shape), name=name) for name, shape in names.items()]
    optimizer = keras.optimizers.SGD(0.5, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["two"])
    optimizer.build(variables)
    assert [bool(keras_hooks.decays(optimizer, each)) for each in variables] == [True, False, False]
    keras_hooks.keep_scalars(optimizer)
    optimizer.apply([tf.zeros(shape) for shape in names.values()], variables)
    assert [each.numpy().max() for each in variables] == [0.75, 1, 1]


def private_of_keras():
    """The private names of Keras objects such as the package makes."""
    model = keras.Model()
    model.compile("adam", "mse")
    optimizers = keras.optimizers.Adam(), keras.optimizers.Adagrad()
    objects = [model, keras.layers.Embedding(2, 2), keras.callbacks.Callback(), *optimizers]
    for optimizer in optimizers:
        optimizer.build([keras.Variable(0.0)])
    return {
        name for each in objects for name in dir(each) if name.startswith("_") and name[1] != "_"
    }


def test_what_is_private_of_keras_is_named_in_one_file():
    private = private_of_keras()
    used, own = {}, set()
    for path in Path(tf_recall.__file__).parent.rglob("*.py"):
        text = path.read_text()
        assert "keras.src" not in text and "tensorflow.python" not in text, path
        if path.name == "keras_hooks.py":
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                own.add(node.attr)
            elif isinstance(node, ast.Attribute):
                used.setdefault(node.attr, f"{path}:{node.lineno}")
    found = {name: where for name, where in used.items() if name in private - own}
    assert not found


def test_no_private_method_of_keras_is_overridden_elsewhere():
    for name, kind in list(keras.saving.get_custom_objects().items()):
        if not (name.startswith("tf_recall>") and isinstance(kind, type)):
            continue
        for base in kind.__mro__:
            if (
                not base.__module__.startswith("tf_recall")
                or base.__module__ == keras_hooks.__name__
            ):
                continue
            outside = [each for each in kind.__mro__ if each.__module__.startswith("keras.")]
            hidden = {
                each
                for each in vars(base)
                if each.startswith("_")
                and not each.startswith("__")
                and any(each in vars(other) for other in outside)
            }
            assert not hidden, base


def test_a_model_file_is_written_by_way_of_the_disk(saved, tmp_path, monkeypatch):
    saving = sys.modules[keras.saving.save_model.__module__].saving_lib
    stores = []

    class Store(saving.H5IOStore):
        def __init__(self, path, archive=None, mode="r"):
            stores.append((archive, mode))
            super().__init__(path, archive, mode)

    model = keras_hooks.load_model(saved[0])
    monkeypatch.setattr(saving, "H5IOStore", Store)
    with keras_hooks.weights_on_disk():
        model.save(tmp_path / "m.keras")
    again = keras_hooks.load_model(tmp_path / "m.keras")
    assert stores == [(None, "w"), (None, "r")]  # no archive in memory
    np.testing.assert_array_equal(again.embed_catalog(), saved[1])
    assert saving.is_memory_sufficient(model)


def test_a_file_that_is_read_leaves_its_folder_alone(saved, monkeypatch):
    extract, seen = zipfile.ZipFile.extract, []

    def watched(self, *arguments):
        unpacked = Path(extract(self, *arguments))
        seen.append((unpacked.is_file(), [each.name for each in folder.rglob("*.h5")]))
        return str(unpacked)

    folder = Path(saved[0]).parent
    monkeypatch.setattr(zipfile.ZipFile, "extract", watched)
    np.testing.assert_array_equal(keras_hooks.load_model(saved[0]).embed_catalog(), saved[1])
    assert seen == [(True, [])]
