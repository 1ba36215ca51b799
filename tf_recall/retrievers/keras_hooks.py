"""Everything that the package uses of Keras beyond its public interface.

- Custom objects need `from_config` alone: `LazyClass`.
- Classes override `_maybe_symbolic_build`, `_clip_gradients` and `_apply_weight_decay`:
  `BuiltModel`, `HookedOptimizer`.
- `_flatten_layers` lists layers: `sublayers`.
- Optimizers have `_use_weight_decay`, `_get_variable_index`, `_accumulators`, `_momentums`,
  `_velocities`, `_velocity_hats`, `_trainable_variables`, `_learning_rate`: `decays`,
  `keep_scalars`, `slot`, `slots_of`, `single_states`.
- `is_memory_sufficient` decides whether weights are held once more where a model file is written or
  read: `weights_on_disk`.

Tests check that Keras has each of them. `import tf_recall` runs this file, so nothing in it imports
Keras at the top.
"""

import contextlib
import importlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tf_recall.registry import REGISTRY

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

PACKAGE = "tf_recall"


class LazyClass:
    """A custom object of Keras that imports the class it is registered for when it is needed.

    Keras makes an object of a saved model by `from_config` of what is registered under its name.
    Importing the module then registers the class itself.

    Args:
        module: the full name of the class's module.
        name: the name of the class.
    """

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name

    def from_config(self, config: dict) -> Any:
        """Imports the class, and makes an object of it."""
        return getattr(importlib.import_module(self.module), self.name).from_config(config)


class KerasWatch:
    """A finder of modules that registers the package's classes as soon as Keras is imported.

    Args:
        homes: module by class name.
    """

    def __init__(self, homes: dict[str, str]) -> None:
        self.homes = homes

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Finds Keras by the other finders, and makes its import register the classes."""
        if fullname != "keras":
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_register(module):
            execute(module)
            register(self.homes)

        spec.loader.exec_module = execute_and_register
        return spec


def watch_keras(public: dict[str, str]) -> None:
    """Makes Keras find the package's classes in a model file, whichever is imported first.

    Args:
        public: the package's public names, each with its module, relative to the package.
    """
    homes = {name: f"{PACKAGE}.{module}" for name, module in public.items()}
    for names in REGISTRY.values():
        for home in names.values():
            module, name = home.split(":")
            if module.startswith(f"{PACKAGE}."):
                # a channel may have a sampler's name; Keras saves the sampler of the two
                homes.setdefault(name, module)
    if "keras" in sys.modules:
        register(homes)
    else:
        sys.meta_path.insert(0, KerasWatch(homes))


def register(homes: dict[str, str]) -> None:
    """Adds a `LazyClass` to Keras's custom objects for each class that is not there yet."""
    objects = importlib.import_module("keras.saving").get_custom_objects()
    for name, module in homes.items():
        objects.setdefault(f"{PACKAGE}>{name}", LazyClass(module, name))


def load_model(path: str | Path) -> "keras.Model":
    """Loads a Keras model file of the package: what `model.save(path)` wrote.

    The same as `keras.models.load_model(path)` after `import tf_recall`, and the file's folder
    stays as it is: Keras would unpack the weights beside the file, where another process that
    checks an export would find what does not belong to it.

    Args:
        path: a `.keras` file; an export keeps its model in `training/model.keras`.

    Raises:
        ValueError: there is no such file, or it is not a Keras model.

    Example:
        >>> model = load_model("saved_models/two_tower/1/training/model.keras")
        >>> service = Service.build(model, catalog)
    """
    path = Path(path)
    load = importlib.import_module("keras").models.load_model
    if not path.is_file():
        return load(path)  # which says so
    with weights_on_disk(), tempfile.TemporaryDirectory() as aside:
        link = Path(aside, path.name)
        link.symlink_to(path.absolute())
        return load(link)


@contextlib.contextmanager
def weights_on_disk() -> Iterator[None]:
    """Within, a model file is written and read by way of the disk, whatever memory is free.

    Keras would hold all weights once or twice more.
    """
    public = importlib.import_module("keras.saving").save_model
    saving = sys.modules[public.__module__].saving_lib
    before = saving.is_memory_sufficient
    saving.is_memory_sufficient = lambda model: False
    try:
        yield
    finally:
        saving.is_memory_sufficient = before


class BuiltModel:
    """A base to put before `keras.Model`: `fit` builds the optimizer, and leaves layers alone.

    Keras would call the model on a batch to build its layers; here they are all built before, but
    for those that are patterns of others. An optimizer that builds itself in the first step makes
    TensorFlow trace that step twice.
    """

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        if self.optimizer is not None and not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)


class HookedOptimizer:
    """A base to put before `keras.optimizers.Optimizer`: a subclass clips and decays itself."""

    def clip(self, grads: list, clip_dense: Callable[[list], list]) -> list:
        """The gradients as the optimizer's settings clip them.

        Args:
            grads: the gradients, `tf.IndexedSlices` among them.
            clip_dense: Keras's clipping by the same settings, of dense gradients.
        """
        raise NotImplementedError

    def begin_decay(self) -> None:
        """Is called once a step, before `update_step`, which decays each variable itself."""
        raise NotImplementedError

    def _clip_gradients(self, grads):
        return self.clip(grads, super()._clip_gradients)

    def _apply_weight_decay(self, variables):
        self.begin_decay()


def sublayers(layer: "keras.layers.Layer") -> "list[keras.layers.Layer]":
    """A layer and all layers that it holds, at any depth."""
    return list(layer._flatten_layers())


def decays(optimizer: "keras.optimizers.Optimizer", variable: "keras.Variable") -> bool:
    """Whether an optimizer with weight decay applies it to a variable: never to a scalar."""
    return len(variable.shape) > 0 and optimizer._use_weight_decay(variable)


def keep_scalars(optimizer: "keras.optimizers.Optimizer") -> None:
    """Makes the weight decay of an optimizer of Keras leave scalars, as `decays` has it."""
    decayed = optimizer._use_weight_decay
    optimizer._use_weight_decay = lambda each: len(each.shape) > 0 and decayed(each)


def slot(
    optimizer: "keras.optimizers.Optimizer", name: str, variable: "keras.Variable | tf.Variable"
) -> "tf.Variable":
    """The state that a built optimizer keeps of a variable.

    Args:
        optimizer: `keras.optimizers.Adagrad`, `Adam`, or a subclass.
        name: "accumulators" of Adagrad; "momentums", "velocities", "velocity_hats" of Adam; or a
            subclass's own.
        variable: one that the optimizer updates.
    """
    return getattr(optimizer, f"_{name}")[optimizer._get_variable_index(variable)].value


def trained_by(optimizer: "keras.optimizers.Optimizer") -> "list[keras.Variable]":
    """The variables that a built optimizer updates."""
    return list(optimizer._trainable_variables)


def slots_of(optimizer: "keras.optimizers.Optimizer") -> "list[list[keras.Variable | None]]":
    """All state that a built optimizer keeps by variable: lists in the order of `trained_by`."""
    trained = optimizer._trainable_variables
    ours = {id(each) for each in optimizer.variables}
    return [
        value
        for name, value in sorted(vars(optimizer).items())
        if isinstance(value, list)
        and value is not trained
        and len(value) == len(trained)
        and all(each is None or id(each) in ours for each in value)
        and name != "_variables"
    ]


def single_states(optimizer: "keras.optimizers.Optimizer") -> "list[keras.Variable]":
    """The state of a built optimizer that is of no variable, such as its steps.

    The learning rate is none.
    """
    of_variables = {id(each) for slots in slots_of(optimizer) for each in slots}
    inner = {id(each) for other in inner_optimizers(optimizer) for each in other.variables}
    left = of_variables | inner | {id(optimizer._learning_rate)}
    return [each for each in optimizer.variables if id(each) not in left]


def inner_optimizers(
    optimizer: "keras.optimizers.Optimizer",
) -> "list[keras.optimizers.Optimizer]":
    """The optimizers that one consists of: that under a loss scale, those of a `MultiOptimizer`."""
    inner = getattr(optimizer, "inner_optimizer", None)
    return [*getattr(optimizer, "optimizers", ()), *([] if inner is None else [inner])]
