"""Configs: a YAML file becomes frozen dataclasses, and these make the parts of a run.

Each default has one home: a constructor's signature, or a dataclass here.
"""

import dataclasses
import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tf_recall.registry import find, keywords, make, part, take_name

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from tf_recall.data.interactions import Interactions
    from tf_recall.data.splits import Split

HERE = Path(__file__).parent
MODELS = "saved_models"  # the model repository, where none is named


class Loader(yaml.SafeLoader):
    """Reads YAML, and 1e-3 as a number, which plain PyYAML reads as a string."""


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def _check_count(key, value, optional=False):
    if optional and value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{key} must be a whole number of at least 1, not {value!r}")


def _check_name(key, name):
    if not isinstance(name, str) or name in ("", ".", "..") or set(name) & set("/\\"):
        raise ValueError(f"{key}: a name must be valid for a folder, and {name!r} is not")


@dataclass(frozen=True)
class Train:
    """How to train.

    Args:
        epochs: how many epochs at most.
        batch_size: rows in a batch.
        optimizer: `{name: ..., **its arguments}`; None: the model's default.
        monitor: the metric on the validation part by which the best epoch is chosen and early
            stopping decides, higher is better: `recall@20`.
        patience: epochs without a better `monitor` after which training stops (needs a validation
            part); None: never.
        seed: of the initial weights and of the order of the batches.
        jit_compile: compile the training step with XLA.
        precision: the Keras dtype policy that layers compute in: float32, mixed_bfloat16,
            mixed_float16. Scores, log q and losses are always float32.
        strategy: where to train: one_device, mirrored (all GPUs of this machine), multi_worker (the
            processes in TF_CONFIG), tpu. Each batch is split over the replicas, and a row's
            negatives come from the whole batch.

    Raises:
        ValueError: a monitor that is not of the form metric@k, a number below 1.
    """

    epochs: int = 10
    batch_size: int = 2048
    optimizer: dict | None = None
    monitor: str = "recall@20"
    patience: int | None = None
    seed: int = 0
    jit_compile: bool = False
    precision: str = "float32"
    strategy: str = "one_device"

    def __post_init__(self):
        if not re.fullmatch(r"[a-z_]+@[1-9]\d*", str(self.monitor)):
            raise ValueError(
                "train.monitor is a metric at a list length of at least 1, such as recall@20, not "
                f"{self.monitor!r}"
            )
        _check_count("train.epochs", self.epochs)
        _check_count("train.batch_size", self.batch_size)
        _check_count("train.patience", self.patience, optional=True)


@dataclass(frozen=True)
class Evaluate:
    """What to measure on the test part, and, for the monitor, on the validation part.

    Args:
        ks: list lengths. One beyond the catalog's size means the whole catalog.
        cases: "by_user" (one query for all held-out items of a user) or "by_row" (one query for
            each held-out row, with its own context).
        exclude_seen: filter out the items of the user's training part.

    Raises:
        ValueError: unknown cases, no list length, or one below 1.
    """

    ks: tuple = (10, 20, 100)
    cases: str = "by_user"
    exclude_seen: bool = True

    def __post_init__(self):
        if self.cases not in ("by_user", "by_row"):
            raise ValueError(f"evaluate.cases is 'by_user' or 'by_row', not {self.cases!r}")
        if not isinstance(self.ks, list | tuple) or not self.ks:
            raise ValueError(f"evaluate.ks is a list of list lengths, [10, 20], not {self.ks!r}")
        for k in self.ks:
            _check_count("evaluate.ks", k)
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

    Raises:
        ValueError: both a model and channels or neither of them, a number below 1, a name that is
            not valid for a folder.

    Example:
        >>> config = Config.load("two_tower_movielens", ["train.epochs=3"])
        >>> config.train.epochs
        3
    """

    data: dict
    split: dict
    model: dict | None = None
    channels: dict | None = None
    merge: dict | str = "round_robin"
    depth: int | None = None
    train: Train = Train()
    evaluate: Evaluate = Evaluate()
    index: dict | None = None
    k_max: int | None = None
    name: str = "model"

    def __post_init__(self):
        if (self.model is None) == (self.channels is None):
            raise ValueError(
                "the config needs either a section `model:` or a section `channels:`, one of the "
                "two"
            )
        if self.channels is not None:
            if not isinstance(self.channels, dict) or not self.channels:
                raise ValueError(
                    "channels holds recommenders by name, `{popular: popularity}`, not "
                    f"{self.channels!r}"
                )
            for name in self.channels:
                _check_name("channels", name)
        _check_count("k_max", self.k_max, optional=True)
        _check_count("depth", self.depth, optional=True)
        _check_name("name", self.name)

    @classmethod
    def from_dict(cls, values: dict) -> "Config":
        """Makes a config of plain values.

        Raises:
            ValueError: an unknown or missing section or key; the message lists the valid ones.
        """
        values = dict(values)
        for key, kind in (("train", Train), ("evaluate", Evaluate)):
            if key in values:
                values[key] = _construct(kind, values[key], key)
        return _construct(cls, values, "the config")

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
            values = yaml.load(path.read_text(encoding="utf-8"), Loader) or {}
        except yaml.YAMLError as error:
            raise ValueError(f"{path} is not valid YAML: {error}") from None
        if not isinstance(values, dict):
            raise ValueError(
                f"{path} must hold sections such as `data:`, not {type(values).__name__}"
            )
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
        Path(path).write_text(yaml.safe_dump(self.to_dict(), sort_keys=False), encoding="utf-8")

    def make_data(self) -> "Interactions":
        """Reads the `Interactions`."""
        return part("data", self.data)

    def make_split(self) -> "Split":
        """Reads the interactions and splits them: a `Split`."""
        arguments = dict(self.split)
        name = take_name(arguments, "split")
        if name == "files":  # the held-out file is a part of the same log
            same = {"columns", "missing", "time_unit"} & set(self.data)
            arguments = {key: self.data[key] for key in same} | arguments
        return make("split", name, self.make_data(), **arguments)

    def make_model(self) -> Any:
        """Makes the model, a `Retriever`, of its parts; it is not adapted yet."""
        arguments = dict(self.model)
        towers = find("model", take_name(dict(arguments), "model")).towers
        # the item tower first: a query tower over histories contains it
        for key in sorted(towers, key=lambda key: key != "item_tower"):
            kind, entity = towers[key]
            values = arguments.get(key)
            if not isinstance(values, dict):
                raise ValueError(f"model needs {key}: {{features: [...]}}, and has {values!r}")
            kind = values.get("name", kind)
            if "item_tower" in keywords(find("tower", kind)):
                arguments[key] = part("tower", {"name": kind, **values}, arguments["item_tower"])
            else:
                arguments[key] = part("tower", {"name": kind, "features": [], **values}, entity)
        return part("model", arguments)

    def make_channels(self) -> dict:
        """Makes the channels by name, not fitted yet."""
        return {name: part("channel", values) for name, values in self.channels.items()}

    def make_merge(self) -> Any:
        """Makes the part that merges the channels' lists."""
        return part("merge", self.merge)

    def make_index(self) -> Any:
        """Makes the index, without items; None where the config names none."""
        return self.index and part("index", self.index)

    def make_strategy(self) -> "tf.distribute.Strategy":
        """Makes the `tf.distribute` strategy."""
        return make("strategy", self.train.strategy)

    def make_optimizer(self) -> "keras.optimizers.Optimizer | None":
        """Makes a new optimizer; None where the config names none."""
        return self.train.optimizer and part("optimizer", self.train.optimizer)


def find_config(path: str | Path) -> Path:
    """Finds the file at `path`, or the config of that name that comes with the package.

    Raises:
        FileNotFoundError: there is neither; the message lists the package's configs.
    """
    path = Path(path)
    folders = [HERE / "configs", HERE.parent / "configs"]
    candidates = [path, *(folder / f"{path}.yaml" for folder in folders)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    names = sorted({file.stem for folder in folders for file in folder.glob("*.yaml")})
    raise FileNotFoundError(
        f"there is no config {str(path)!r}: give a YAML file, or one of {', '.join(names)}"
    )


def _construct(kind, values, where):
    if not isinstance(values, dict):
        raise ValueError(f"{where} must hold keys and values, not {values!r}")
    fields = {f.name: f for f in dataclasses.fields(kind)}
    if unknown := [key for key in values if key not in fields]:
        near = difflib.get_close_matches(str(unknown[0]), fields, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"{where} has no {unknown[0]!r}; {hint}there are: {', '.join(fields)}")
    required = [
        f.name for f in fields.values() if f.default is f.default_factory is dataclasses.MISSING
    ]
    if missing := [key for key in required if key not in values]:
        raise ValueError(f"{where} lacks {', '.join(missing)}")
    return kind(**values)


def apply(values: dict, change: str) -> None:
    """Changes one of several nested values: "train.epochs=3".

    Raises:
        ValueError: the change is not of the form a.b=c, or a name before the last is not a section.
    """
    path, equals, text = change.partition("=")
    if not equals or not path:
        raise ValueError(f"--set takes a.b=c, as in train.epochs=3, not {change!r}")
    *sections, last = path.split(".")
    for section in sections:
        values[section] = values.get(section) or {}
        values = values[section]
        if not isinstance(values, dict):
            raise ValueError(f"--set {change!r}: {section!r} is not a section")
    values[last] = yaml.load(text, Loader)
