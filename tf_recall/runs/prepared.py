"""A config, opened once: what can be known to be wrong with it is refused before training."""

import contextlib
import functools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import tensorflow as tf

from tf_recall.channels.merge import Merge
from tf_recall.config import Config
from tf_recall.data.catalog import Catalog
from tf_recall.data.ranges import Part
from tf_recall.data.split import Split
from tf_recall.index.base import Index
from tf_recall.recommend.service import Service
from tf_recall.registry import REGISTRY, find, keywords
from tf_recall.runs import checks, doctor
from tf_recall.runs.fingerprint import fingerprint
from tf_recall.runs.measure import most_asked
from tf_recall.runs.start import Start, remaining

log = logging.getLogger("tf_recall")

PATIENCE = 5  # epochs, where a config with a validation part says nothing


@dataclass(frozen=True)
class Prepared:
    """All that a run needs, made of a config and checked. `Prepared.of` makes it.

    Args:
        config: the `Config`.
        strategy: where to train.
        split: the data, split.
        catalog: that of the training part.
        k_max: the longest answer, at most the catalog's size.
        index: the index to build, where the config names one.
        channels: the recommenders by name, not fitted yet, where the config has several.
        trained: those of the channels that are models, each prepared as a run of its own.
        merge: what merges the channels' lists.
        start: the export that training goes on from, or None.
        findings: what the run found that spoils figures, so far.
        whole: the split with users and items that `train.drop_after_days` drops.
        epochs: how many to train for; None: `most_epochs`.

    Example:
        >>> prepared = Prepared.of(Config.load("two_tower_quickstart"))
        >>> prepared.catalog.num_items, prepared.k_max
        (2000, 200)
    """

    config: Config
    strategy: tf.distribute.Strategy
    split: Split
    catalog: Catalog
    k_max: int
    index: Index | None = None
    channels: dict = field(default_factory=dict)
    trained: dict[str, "Prepared"] = field(default_factory=dict)
    merge: Merge | None = None
    start: Start | None = None
    findings: list[doctor.Finding] = field(default_factory=list)
    whole: Split | None = None
    epochs: int | None = None

    @classmethod
    def of(
        cls,
        config: Config,
        split: Split | None = None,
        catalog: Catalog | None = None,
        strategy: tf.distribute.Strategy | None = None,
    ) -> "Prepared":
        """Opens a config and checks it.

        Args:
            config: the `Config`.
            split: split data to use in place of the config's.
            catalog: `Catalog.fit(split.train)`, where it is made already.
            strategy: a strategy to use in place of the config's.

        Raises:
            ValueError: a part is unknown or takes no such argument, or the config and the data do
                not fit together; the message names the key, what it holds and what is allowed.
            FileNotFoundError: a file of the data is missing.
            ImportError: a part needs a package that is not installed.
        """
        checks.check_plain(config)
        strategy = strategy or config.make_strategy()  # before anything else uses TensorFlow
        parts = _checked_parts(config)  # before the data, which may take long to read
        start = Start.of(config)
        whole = split = split or _read(config)
        if start is not None:
            drop = config.train.drop_after_days
            split = replace(split, train=remaining(split.train, drop))
            catalog = start.grown_catalog(split.train, drop)
        catalog = catalog or Catalog.fit(split.train)
        k_max = _k_max(config, catalog.num_items)
        checks.check_test(config, split, catalog)
        prepared = cls(config, strategy, split, catalog, k_max, start=start, whole=whole, **parts)
        if config.channels is None:
            checks.check_k_max(config, k_max, catalog.num_items)
            checks.check_training(config, split, catalog, strategy.num_replicas_in_sync)
            return prepared
        checks.check_channels(config, split, catalog, prepared.merge)
        return replace(prepared, trained=prepared._trained())

    @functools.cached_property
    def fingerprint(self) -> str:
        """That of the data that the run learns from."""
        return fingerprint(self.split)

    @property
    def patience(self) -> int | None:
        """Epochs without a better `monitor` after which training stops; None: never."""
        asked = self.config.train.patience
        if self.split.validation is None or asked == "never":
            return None
        return PATIENCE if asked is None else asked

    @property
    def most_epochs(self) -> int:
        """How many epochs at most."""
        ends = self.patience is not None and not self.config.rate_follows_run
        events = len(self.split.train) if ends else None
        return self.epochs or self.config.train.most_epochs(events)

    def on(self, split: Split, catalog: Catalog, epochs: int | None = None) -> "Prepared":
        """The same run on other data, which are not checked again; its findings are others.

        Args:
            split: the data, split.
            catalog: that of their training part.
            epochs: how many to train for; None: `train.epochs`.
        """
        parts, given = _parts(self.config), {"split": split, "whole": split, "catalog": catalog}
        k_max = _k_max(self.config, catalog.num_items)
        new = {"k_max": k_max, "trained": {}, "findings": [], "epochs": epochs}
        return replace(self, **parts, **given, **new)

    def note(self, findings: Sequence[doctor.Finding]) -> None:
        """Keeps what the run found, and says it."""
        for finding in findings:
            log.warning("%s", finding)
        self.findings.extend(findings)

    def _trained(self):
        trained = {}
        for name, channel in self.channels.items():
            if isinstance(channel, TrainedChannel):
                with named(name):
                    config = channel.settings(self.config, name)
                    trained[name] = Prepared.of(config, self.split, self.catalog)
        return trained


class TrainedChannel:
    """A channel that is a trained model: its settings are those of another config, or written out.

    It is trained on the data of all channels, and is one channel of their merge (METHODS.md C5).

    Args:
        config: a config to start from, a YAML file or a name that comes with the package; its data
            and split are not used.
        model: `{name: ..., **arguments}`; where `config` has the same model, these arguments
            replace its own.
        train: how to train, as `Train`; what is left out is as in `config`.
        index: as in a config of one model.

    Raises:
        ValueError: neither a config nor a model.

    Example (YAML):
        two_tower: {name: trained, config: two_tower_movielens, train: {epochs: 10}}
    """

    def __init__(
        self,
        config: str | None = None,
        model: Part | None = None,
        train: dict | None = None,
        index: Part | None = None,
    ):
        if config is None and model is None:
            raise ValueError("a trained channel needs a config to start from, or a model")
        self.config = config
        self.model = model
        self.train = train
        self.index = index

    def settings(self, whole: Config, name: str) -> Config:
        """The config of this channel alone, under a name, among the channels of `whole`.

        Raises:
            ValueError: a setting is wrong, or asks for several worker processes.
        """
        base = {"model": {}, "train": {}, "index": None}
        if self.config is not None:
            base = Config.load(self.config).to_dict()
            if base["model"] is None:
                raise ValueError(f"config {self.config} has channels, and not one model to train")
        model = {"name": self.model} if isinstance(self.model, str) else dict(self.model or {})
        if model.get("name", base["model"].get("name")) == base["model"].get("name"):
            model = {**base["model"], **model}
        values = {
            "data": whole.data,
            "split": whole.split,
            "model": model,
            "train": {**base["train"], **(self.train or {})},
            "index": self.index or base["index"],
            "name": name,
        }
        alone = Config.from_dict(values)
        if alone.train.start_from is not None:
            raise ValueError(
                "train.start_from goes on from an export in a config of one model, not of channels"
            )
        if whole.train.refit and not alone.train.refit:
            raise ValueError(
                "train.refit counts for all channels: write train: {refit: false} beside channels"
            )
        if alone.train.strategy == "multi_worker":
            raise ValueError(
                "train.strategy multi_worker trains a config of one model; one process trains "
                "channels, on one_device, mirrored or tpu"
            )
        return replace(alone, evaluate=whole.evaluate, k_max=whole.k_max)


class U2U2I(TrainedChannel):
    """A channel of what the users like a user did last: U2U2I (METHODS.md M11, scored as C4).

    A model whose candidates are users is trained; its users recommend, see `NeighborService`. How
    many of them, and how many items of each, are the model's `top` and `last`.

    Args:
        config, train, index: as `TrainedChannel`.
        model: `siamese`, or `{name: siamese, **arguments}`; by default `siamese` as it is.

    Raises:
        ValueError: a model whose candidates are no users.

    Example (YAML):
        alike: {name: u2u2i, model: {name: siamese, top: 200, last: 20}}
    """

    def __init__(
        self,
        config: str | None = None,
        model: Part | None = None,
        train: dict | None = None,
        index: Part | None = None,
    ):
        if config is None and model is None:
            model = "siamese"
        super().__init__(config, model, train, index)

    def settings(self, whole: Config, name: str) -> Config:
        alone = super().settings(whole, name)
        kind = alone.model["name"]
        if find("model", kind).service is None:
            over_users = [each for each in REGISTRY["model"] if find("model", each).service]
            raise ValueError(
                f"u2u2i asks users like a user, and the candidates of {kind} are items: take "
                f"model: {' or '.join(over_users)}, or {{name: trained, model: {kind}}}"
            )
        return alone


@contextlib.contextmanager
def named(channel: str) -> Iterator[None]:
    """Within, errors name the channel."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"channels.{channel}: {error}") from error


def _parts(config):
    """The parts that need no data."""
    if config.channels is None:
        return {"index": config.make_index()}
    return {"channels": config.make_channels(), "merge": config.make_merge()}


def _checked_parts(config):
    """The same. The models and their optimizers are made for their errors alone: training makes
    them anew, after the seed is set.
    """
    if config.channels is None:
        config.make_model().check_settings(config.train)
        config.make_optimizer()
    parts = _parts(config)
    for name, channel in parts.get("channels", {}).items():
        if isinstance(channel, TrainedChannel):
            with named(name):
                _checked_parts(channel.settings(config, name))
    return parts


def _read(config):
    """The split data; what the doctor finds in them goes to the log."""
    split = config.make_split()
    for finding in doctor.check_split(split):
        log.warning("%s", finding)
    if most := most_asked(config.evaluate, split.test):
        log.info("of each held-out part %d users are asked at most: see evaluate.users", most)
    return split


def _k_max(config, num_items):
    k_max = config.k_max or keywords(Service.build)["k_max"].default
    if k_max > num_items:
        log.info("answers hold at most the catalog's %d items (k_max is %d)", num_items, k_max)
    return min(k_max, num_items)
