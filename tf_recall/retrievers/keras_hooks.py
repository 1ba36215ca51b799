"""What the package needs of Keras beyond its public interface.

`import tf_recall` runs this file, so nothing here imports Keras at the top.
"""

import importlib
import sys

from tf_recall.registry import REGISTRY

PACKAGE = "tf_recall"


class LazyClass:
    """Stands among Keras's custom objects for a class whose module is not imported yet.

    Keras makes an object of a saved model by `from_config` of what is registered under its name.
    Importing the module registers the class itself in place of this.

    Args:
        module: the full name of the class's module.
        name: the name of the class.
    """

    def __init__(self, module: str, name: str):
        self.module = module
        self.name = name

    def from_config(self, config: dict):
        """Imports the class, and makes an object of it."""
        return getattr(importlib.import_module(self.module), self.name).from_config(config)


class KerasWatch:
    """A finder of modules that lets Keras know the package's classes as soon as it is imported.

    Args:
        homes: module by class name.
    """

    def __init__(self, homes: dict[str, str]):
        self.homes = homes

    def find_spec(self, fullname, path=None, target=None):
        """Finds Keras by the other finders, and adds to what its import does."""
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
                # a channel may have a sampler's name; of the two Keras saves the sampler
                homes.setdefault(name, module)
    if "keras" in sys.modules:
        register(homes)
    else:
        sys.meta_path.insert(0, KerasWatch(homes))


def register(homes: dict[str, str]) -> None:
    """Puts a `LazyClass` among Keras's custom objects for each class that is not there yet."""
    objects = importlib.import_module("keras.saving").get_custom_objects()
    for name, module in homes.items():
        objects.setdefault(f"{PACKAGE}>{name}", LazyClass(module, name))


def load_model(path):
    """Loads a Keras model file of the package: what `model.save(path)` wrote.

    The same as `keras.models.load_model(path)` after `import tf_recall`.

    Args:
        path: a `.keras` file; an export keeps its model in `training/model.keras`.

    Raises:
        ValueError: there is no such file, or it is no Keras model.

    Example:
        >>> model = tf_recall.load_model("saved_models/two_tower/1/training/model.keras")
        >>> service = tf_recall.Service.build(model, catalog)
    """
    return importlib.import_module("keras").models.load_model(path)
