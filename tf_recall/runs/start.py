"""The export that a run goes on from: its model, and how much of the config must be the same."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import keras
import tensorflow as tf

from tf_recall.config import Config
from tf_recall.data.arguments import shown
from tf_recall.data.catalog import Catalog
from tf_recall.data.growth import active
from tf_recall.data.interactions import Interactions
from tf_recall.data.manifest import read as read_manifest
from tf_recall.export.load import restore
from tf_recall.export.versions import MANIFEST, version_folder
from tf_recall.retrievers.base import Retriever
from tf_recall.retrievers.growth import carry_optimizer

log = logging.getLogger("tf_recall")


@dataclass(frozen=True)
class Start:
    """A trained model that a run goes on from, with the catalog that it was trained on.

    Args:
        path: the version's folder.
        model, catalog: as `restore` gives them.
    """

    path: Path
    model: Retriever
    catalog: Catalog

    @classmethod
    def of(cls, config: Config) -> "Start | None":
        """The start that a config names in `train.start_from`; None where it names none.

        Raises:
            FileNotFoundError: there is no export, or it was written without its model.
            ValueError: it was exported without its config, or holds another model than this one.
        """
        if config.train.start_from is None:
            return None
        path = version_folder(config.train.start_from)
        check_same_model(path, config_of(path), config)
        return cls(path, *restore(path))

    @property
    def digest(self) -> str:
        """That of the export's files."""
        return digest_of(self.path)

    def grown_catalog(self, train: Interactions, drop_after_days: float | None) -> Catalog:
        """The catalog of a training part, in which known users and items keep their rows.

        Args:
            train: the training part, without those that an age has dropped.
            drop_after_days: whether who is not in it goes, as one whom an age has dropped does.
        """
        try:
            return self.catalog.grown(train, keep=drop_after_days is None)
        except TypeError as error:
            raise ValueError(f"{self.path} was trained on other data: {error}") from None

    def grown_model(self, train: Interactions, catalog: Catalog) -> Retriever:
        """The model over the grown catalog."""
        return self.model.grown(train, catalog)


def remaining(train: Interactions, drop_after_days: float | None) -> Interactions:
    """A training part without users and items that an age drops; None: none does."""
    return train if drop_after_days is None else active(train, drop_after_days)


def compile_after(model: Retriever, config: Config, steps: int | None) -> None:
    """Compiles a model that has grown as a config says; the optimizer keeps its state.

    Where the config's optimizer is of another class than the one before, or there was none, it
    begins anew, which is logged. A learning rate that follows the run begins anew in any case.

    Args:
        model: as `Retriever.grown` gives it.
        config: of the run.
        steps: how many steps the run has, for a learning rate that follows it.

    Raises:
        ValueError: a schedule of the learning rate has come to its end, at 0.
    """
    before = model.optimizer if model.compiled and model.optimizer.built else None
    done = 0 if before is None else int(before.iterations.numpy())
    optimizer = optimizer_of(config, model, steps, done)
    model.compile(optimizer, jit_compile=config.train.jit_compile)
    if not model.by_gradients:
        return
    model.optimizer.build(model.trainable_variables)
    if type(model.optimizer) is type(before):
        carry_optimizer(model.optimizer, before, {})
        rate = tf.convert_to_tensor(model.optimizer.learning_rate)  # on several devices too
        if not float(rate) > 0:
            raise ValueError(
                f"after the {done} steps that it has done before, the learning rate is 0: its "
                "schedule has come to its end; take one that ends above 0, or warm_up_cosine "
                "without steps, which begins anew"
            )
        return
    known = "no optimizer" if before is None else type(before).__name__
    log.warning(
        "the export has the state of %s: %s begins anew", known, type(model.optimizer).__name__
    )


def optimizer_of(
    config: Config, model: Retriever, steps: int | None, done: int = 0
) -> keras.optimizers.Optimizer | None:
    """A new optimizer: the config's, or the model's own; None of a model that needs none.

    Args:
        config: of the run.
        model: adapted, since its own may depend on the data.
        steps, done: as `Config.make_optimizer`.
    """
    optimizer = config.make_optimizer(steps, done)
    if optimizer is None and model.by_gradients:
        return model.optimizer_for(config.train.batch_size)
    return optimizer


def config_of(path: Path) -> Config:
    """The config that an export was made with.

    Raises:
        ValueError: it was exported without it.
    """
    try:
        return Config.load(path / "config.yaml")
    except (FileNotFoundError, ValueError) as error:
        raise ValueError(f"{path} was exported without its config: {error}") from None


def check_same_model(path: Path, before: Config, config: Config) -> None:
    """Refuses to go on with another model than an export's.

    Raises:
        ValueError: they differ; the message says in what.
    """
    if before.channels is not None or config.channels is not None:
        raise ValueError(f"{path}: a run of several channels does not go on from another one")
    pairs = {**{f"model.{key}": None for key in {*before.model, *config.model}}}
    found = [(key, before.model.get(key[6:]), config.model.get(key[6:])) for key in sorted(pairs)]
    found.append(("train.precision", before.train.precision, config.train.precision))
    if different := [each for each in found if each[1] != each[2]]:
        key, known, now = different[0]
        raise ValueError(
            f"{path} holds another model than this config: its {key} is {shown(known)}, here it is "
            f"{shown(now)}; take the model of {path / 'config.yaml'}, or train without start_from"
        )


def digest_of(path: Path) -> str:
    """The digest of all files of an export."""
    read_manifest(path, MANIFEST)  # refuses one that was edited
    return json.loads((path / MANIFEST).read_text(encoding="utf-8"))["sha256"]
