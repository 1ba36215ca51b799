"""Configs: a YAML file becomes frozen dataclasses, and these make the parts of a run.

Each default has one home: a constructor's signature, or a dataclass here.
"""

import dataclasses
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tf_recall.data import notation
from tf_recall.data.arguments import shown
from tf_recall.data.names import check_name
from tf_recall.data.ranges import NumberAbove0, Part, Seed, WholeFrom1
from tf_recall.data.sections import check_fields, construct
from tf_recall.registry import REGISTRY, as_mapping, find, keywords, part, recipe

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from tf_recall.data.interactions import Interactions
    from tf_recall.data.split import Split

HERE = Path(__file__).parent
MODELS = "saved_models"  # the model repository, where none is named
SEARCHES = "tuning"  # where searches are kept, where no place is named


@dataclass(frozen=True)
class Train:
    """How to train.

    Args:
        epochs: how many epochs at most. None: 30; where `patience` ends training and no schedule of
            the learning rate goes by the run's length, as many as see 20 million events, 30 to 100.
        batch_size: rows in a batch; None: as many as suit the model, 1024 for most.
        optimizer: a part, its name or `{name: ..., **its arguments}`; None: the model's default.
        monitor: the metric on the validation part by which the best epoch is chosen and early
            stopping decides, higher is better: `recall@20`.
        patience: epochs without a better `monitor` after which training stops; "never": it goes
            through all epochs. None: 5 where there is a validation part.
        refit: with a validation part, train again on the training and the validation part together,
            for as many epochs as were best: what is exported, and measured on the test part, has
            learned both. Channels are counted again too. It takes about as long again, and a second
            copy of a log in memory. False: what the training part has taught.
        seed: of the initial weights and of the order of the batches.
        jit_compile: compile the training step with XLA.
        precision: the Keras dtype policy that layers compute in: float32, mixed_bfloat16,
            mixed_float16. Scores, log q and losses are always float32.
        strategy: where to train: one_device, mirrored (all GPUs of this machine), multi_worker (the
            processes in TF_CONFIG), tpu. Each batch is split over the replicas, and a row's
            negatives come from the whole batch.
        start_from: an export of the same model, `saved_models/x` or a version of it, whose weights
            and optimizer training goes on from; users and items that it does not know are added.
        drop_after_days: with `start_from`, users and items whose last event is so many days before
            the newest of all lose their rows; None: everybody keeps theirs.

    Raises:
        ValueError: a monitor that is not of the form metric@k, a value of another type or out of
            its range.
    """

    tunable: ClassVar[dict] = {"batch_size": {"choices": [256, 512, 1024, 2048, 4096]}}

    epochs: WholeFrom1 | None = None
    batch_size: WholeFrom1 | None = None
    optimizer: Part | None = None
    monitor: str = "recall@20"
    patience: WholeFrom1 | Literal["never"] | None = None
    refit: bool = True
    seed: Seed = 0
    jit_compile: bool = False
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    strategy: Part = "one_device"
    start_from: str | None = None
    drop_after_days: NumberAbove0 | None = None

    def __post_init__(self):
        check_fields(self, "train.", parts=["optimizer", "strategy"])
        if set(self.strategy) == {"name"}:  # none takes arguments
            object.__setattr__(self, "strategy", self.strategy["name"])
        if not re.fullmatch(r"[a-z_]+@[1-9][0-9]{0,9}", self.monitor):
            raise ValueError(
                "train.monitor is a metric at a list length of at least 1, such as recall@20, not "
                f"{shown(self.monitor)}"
            )
        if self.drop_after_days is not None and self.start_from is None:
            raise ValueError(
                "train.drop_after_days says who leaves a model: it goes with train.start_from"
            )

    def most_epochs(self, events: int | None = None) -> int:
        """How many epochs at most.

        Args:
            events: how many an epoch has, where training ends by itself.
        """
        seen = 0 if events is None else 20_000_000 // max(events, 1)
        return self.epochs or min(max(30, seen), 100)


@dataclass(frozen=True)
class Evaluate:
    """What to measure on the test part, and, for the monitor, on the validation part.

    Args:
        ks: list lengths. One beyond the catalog's size means the whole catalog.
        cases: "by_user" (one query for all held-out items of a user) or "by_row" (one query for
            each held-out row, with its own context).
        exclude_seen: filter out the items of the user's training part, and, where the test part is
            asked, of the validation part.
        users: how many users are asked at most, the same ones each time, chosen by a hash of their
            ids; "all". None: all of a log in memory, and 20,000 of a log on disk.

    Raises:
        ValueError: unknown cases, no list length, or one below 1.
    """

    ks: Sequence[WholeFrom1] = (10, 20, 100)
    cases: Literal["by_user", "by_row"] = "by_user"
    exclude_seen: bool = True
    users: WholeFrom1 | Literal["all"] | None = None

    def __post_init__(self):
        check_fields(self, "evaluate.")
        if not self.ks:
            raise ValueError(f"evaluate.ks is a list of list lengths, [10, 20], not {self.ks!r}")
        object.__setattr__(self, "ks", tuple(self.ks))


@dataclass(frozen=True)
class Config:
    """A whole run, from data to an export; a part is `{name: by_time, test: 0.1}`.

    Args:
        data, split, model: parts.
        channels: instead of a model, several recommenders by name, each a part:
            `{popular: popularity, ...}`.
        merge: the part that merges the channels' lists.
        depth: how many items each channel recommends to the merge; None: as many as the answer has.
        train, evaluate: see `Train` and `Evaluate`.
        index: the part that searches; None: one that suits the catalog's size.
        k_max: the longest answer of the exported model; None: the default of `Service`.
        name: of the exported model, and of its folder; by default that of the config file.
        tune: what `tf-recall tune` searches beyond what the parts declare, or otherwise, by key:
            `{model.loss.temperature: [0.05, 0.5, log]}`; see `tf_recall.tuning.space`. Training
            does not look at it.
        update: how `tf-recall update` learns a new log, and publishes; see
            `tf_recall.runs.daily.Update`. Training does not look at it.

    Raises:
        ValueError: both a model and channels or neither of them, a number below 1, a name that is
            not valid for a folder.

    Example:
        >>> config = Config.load("two_tower_movielens", ["train.epochs=3"])
        >>> config.train.epochs
        3
    """

    data: Part
    split: Part
    model: Part | None = None
    channels: dict | None = None
    merge: Part = "round_robin"
    depth: WholeFrom1 | None = None
    train: Train = field(default_factory=Train)
    evaluate: Evaluate = field(default_factory=Evaluate)
    index: Part | None = None
    k_max: WholeFrom1 | None = None
    name: str = "model"
    tune: dict | None = None
    update: dict | None = None

    def __post_init__(self):
        check_name("name", self.name)
        if (self.model is None) == (self.channels is None):
            raise ValueError(
                "the config needs either a section `model:` or a section `channels:`, one of the "
                "two"
            )
        if self.channels is not None:
            object.__setattr__(self, "channels", _channels(self.channels))
        check_fields(self, "", parts=["data", "split", "model", "merge", "index"])

    @classmethod
    def from_dict(cls, values: dict) -> "Config":
        """Makes a config of plain values.

        Raises:
            ValueError: an unknown or missing section or key; the message lists the valid ones.
        """
        values = dict(values)
        for key, kind in (("train", Train), ("evaluate", Evaluate)):
            values[key] = construct(kind, {} if values.get(key) is None else values[key], key)
        return construct(cls, values, "the config")

    @classmethod
    def load(cls, path: str | Path, sets: Sequence[str] = ()) -> "Config":
        """Reads a YAML file, or the config of that name that comes with the package.

        Args:
            path: a file, or a name such as "two_tower_movielens".
            sets: changes as text: "train.epochs=3".

        Raises:
            FileNotFoundError: no such file.
            ValueError: invalid YAML, an unknown section, or a malformed change.
        """
        path = find_config(path)
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is no text in UTF-8: {error}") from None
        values = notation.read(text, str(path))
        values = {} if values is None else values
        if not isinstance(values, dict):
            raise ValueError(f"{path} must hold sections such as `data:`, not {shown(values)}")
        for change in sets:
            apply(values, change)
        values.setdefault("name", path.stem)
        return cls.from_dict(values)

    def to_dict(self) -> dict:
        """The config as plain values, which `from_dict` reads."""
        values = dataclasses.asdict(self)
        values["evaluate"]["ks"] = list(self.evaluate.ks)
        return values

    def save(self, path: str | Path) -> None:
        """Writes the config as YAML, which `load` reads."""
        Path(path).write_text(notation.write(self.to_dict()), encoding="utf-8")

    def make_data(self) -> "Interactions":
        """Reads the `Interactions`."""
        return part("data", self.data)

    def make_split(self) -> "Split":
        """Reads the interactions and splits them: a `Split`."""
        values = dict(as_mapping(self.split, "split"))
        if values["name"] == "files":  # the held-out file is a part of the same log
            if self.data.get("in_order"):
                raise ValueError(
                    "data.in_order puts the lines of one file in order, and split: files holds out "
                    "another: write the order into the timestamps of both"
                )
            same = {"columns", "missing", "time_unit", "where"} & set(self.data)
            values = {key: self.data[key] for key in same} | values
        split = recipe("split", values, num_positional=1)  # checked before the data are read
        return split(self.make_data())

    def make_model(self) -> Any:
        """Makes the model, a `Retriever`, of its parts; it is not adapted yet."""
        arguments = dict(as_mapping(self.model, "model"))
        towers = find("model", arguments["name"]).towers
        # the item tower first: a query tower over histories contains it
        for key in sorted(towers, key=lambda key: key != "item_tower"):
            if arguments.get(key) is None:  # the model makes it itself
                continue
            kind, entity = towers[key]
            values = arguments[key]
            if isinstance(values, str):
                values = {"name": values}
            if not isinstance(values, dict):
                raise ValueError(
                    f"model takes {key}: {{features: [...]}}, and has {key}: {shown(values)}"
                )
            values = {"name": kind, **values}
            at = f"model.{key}"
            if "item_tower" in keywords(find("tower", values["name"], at)):
                if arguments.get("item_tower") is None:
                    raise ValueError(f"{at} is made of the item tower: write out model.item_tower")
                arguments[key] = part("tower", values, arguments["item_tower"], at=at)
            else:
                arguments[key] = part("tower", {"features": [], **values}, entity, at=at)
        return part("model", arguments)

    def make_channels(self) -> dict:
        """Makes the channels by name, not fitted yet."""
        return {
            name: part("channel", values, at=f"channels.{name}")
            for name, values in self.channels.items()
        }

    def make_merge(self) -> Any:
        """Makes the part that merges the channels' lists."""
        return part("merge", self.merge)

    def make_index(self) -> Any:
        """Makes the index, without items; None where the config names none."""
        return None if self.index is None else part("index", self.index)

    def make_strategy(self) -> "tf.distribute.Strategy":
        """Makes the `tf.distribute` strategy."""
        return part("strategy", self.train.strategy, at="train.strategy")

    @property
    def rate_follows_run(self) -> bool:
        """Whether the learning rate is a schedule over all steps of the run, `train.epochs`."""
        rate = (self.train.optimizer or {}).get("learning_rate")
        rate = as_mapping(rate, "learning_rate") if isinstance(rate, str) else rate
        if not isinstance(rate, dict) or rate.get("name") not in REGISTRY["temperature"]:
            return False
        known = keywords(find("temperature", rate["name"]))
        return "steps" in known and rate.get("steps") is None

    def make_optimizer(
        self, steps: int | None = None, start: int = 0
    ) -> "keras.optimizers.Optimizer | None":
        """Makes a new optimizer; None where the config names none.

        Args:
            steps: how many steps the run has, for a learning rate that follows it.
            start: how many its optimizer has done before.
        """
        optimizer = self.train.optimizer
        if optimizer is None:
            return None
        if self.rate_follows_run and steps is not None:
            rate = as_mapping(optimizer["learning_rate"], "learning_rate")
            optimizer = {**optimizer, "learning_rate": {**rate, "steps": steps, "start": start}}
        return part("optimizer", optimizer, at="train.optimizer")


def find_config(path: str | Path) -> Path:
    """Finds the file at `path`, or the config of that name that comes with the package.

    Raises:
        FileNotFoundError: there is neither; the message lists the package's configs.
    """
    path = Path(path)
    folders = [HERE / "configs", HERE.parent / "configs"]
    candidates = [path, *(folder / f"{path}.yaml" for folder in folders)]
    for candidate in candidates:
        if os.path.isfile(candidate):  # a name that no file can have is none either
            return candidate
    names = sorted({file.stem for folder in folders for file in folder.glob("*.yaml")})
    raise FileNotFoundError(
        f"there is no config {shown(str(path))}: give a YAML file, or one of {', '.join(names)}"
    )


def _channels(channels):
    """The channels, checked, each written out."""
    if not isinstance(channels, dict) or not channels:
        raise ValueError(
            f"channels holds recommenders by name, `{{popular: popularity}}`, not {shown(channels)}"
        )
    for name in channels:
        check_name("channels", name)
    return {name: as_mapping(values, f"channels.{name}") for name, values in channels.items()}


def apply(values: dict, change: str) -> None:
    """Changes one of several nested values: "train.epochs=3".

    Args:
        values: the values; a part that is a name becomes a mapping where an argument is set.
        change: the names of the sections and the key, `=`, and the value as YAML.

    Raises:
        ValueError: the change is not of the form a.b=c, a name before the last is not a section, or
            the value is not valid YAML.

    Example:
        >>> values = {"split": "by_time"}
        >>> apply(values, "split.test=0.2")
        >>> values
        {'split': {'name': 'by_time', 'test': 0.2}}
    """
    path, equals, text = change.partition("=")
    *sections, last = path.split(".")
    if not equals or not all([*sections, last]):
        raise ValueError(f"--set takes a.b=c, as in train.epochs=3, not {shown(change)}")
    for section in sections:
        inner = values.get(section)
        if isinstance(inner, str):
            inner = {"name": inner}
        values[section] = {} if inner is None else inner
        values = values[section]
        if not isinstance(values, dict):
            raise ValueError(f"--set {change!r}: {section!r} is not a section")
    values[last] = notation.read(text, f"--set {change!r}: the value")
