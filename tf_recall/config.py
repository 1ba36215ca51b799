"""A YAML file to frozen dataclasses to constructors. Defaults live once: in the constructors and
the dataclasses.
"""

import dataclasses
import difflib
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from tf_recall.registry import find, keywords, make

HERE = Path(__file__).parent
PARTS = {  # arguments that are parts themselves, and their kind
    "samplers": "negatives",
    "easy": "negatives",
    "hard": "negatives",
    "frequency": "frequency",
    "temperature": "temperature",
    "features": "feature",
    "positives": "positives",
    "sessions": "sessions",
    "negatives": "negatives",
    "loss": "loss",
    "aggregator": "aggregator",
    "aggregators": "aggregator",
    "similarity": "similarity",
    "metric": "metric",
    "pooling": "pooling",
}


class Loader(yaml.SafeLoader):
    """YAML in which 1e-3 is a number, as everybody means it (plain PyYAML reads a string)."""


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


@dataclass(frozen=True)
class Train:
    """How to train.

    Args:
        epochs: the most epochs.
        batch_size: rows of a batch; every other row's item is a negative.
        optimizer: `{name: ..., **its arguments}`; None: the model's own.
        monitor: what early stopping and the choice of the best epoch look at, on the validation
            part.
        patience: epochs without a better `monitor` after which to stop (asks for a validation
            part); None: never.
        seed: of the initial weights and the order of the batches.
        jit_compile: compile the step with XLA.
        precision: what layers compute in, a Keras dtype policy: float32, mixed_bfloat16,
            mixed_float16. Scores, prices and losses are float32 in any case.
        strategy: where to train: one_device, mirrored (all GPUs of this machine), multi_worker (the
            processes in TF_CONFIG), tpu. The batch is split between them, and the items of all of
            it are negatives.
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
        if not re.fullmatch(r"[a-z_]+@\d+", self.monitor):
            raise ValueError(
                "train.monitor is a metric at a list length, such as recall@20, not "
                f"{self.monitor!r}"
            )
        for key in ("epochs", "batch_size"):
            if not isinstance(getattr(self, key), int) or getattr(self, key) < 1:
                raise ValueError(
                    f"train.{key} must be a whole number of at least 1, not {getattr(self, key)!r}"
                )


@dataclass(frozen=True)
class Evaluate:
    """What to measure on the test part.

    Args:
        ks: list lengths.
        cases: "by_user" (a user's held-out items together) or "by_row" (each held-out row with its
            own context).
        exclude_seen: leave out what the user has in the training part.
    """

    ks: tuple = (10, 20, 100)
    cases: str = "by_user"
    exclude_seen: bool = True

    def __post_init__(self):
        if self.cases not in ("by_user", "by_row"):
            raise ValueError(f"evaluate.cases is 'by_user' or 'by_row', not {self.cases!r}")
        object.__setattr__(self, "ks", tuple(self.ks))


@dataclass(frozen=True)
class Config:
    """A whole run. `data`, `split`, `model` and `index` name a part and its arguments:
    `{name: by_time, test: 0.1}`.

    Args:
        data, split, model, index: parts; without an index one is chosen from the size of the
            catalog.
        channels: in place of a model, several recommenders by name, each a part:
            `{popular: popularity, ...}`.
        merge: what makes one list of the channels', a part.
        depth: how many items each channel is asked for; None: as many as the answer has.
        train, evaluate: see `Train` and `Evaluate`.
        k_max: the longest answer of the exported model.
        name: of the exported model; the config file's by default.
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
    k_max: int = 200
    name: str = "model"

    def __post_init__(self):
        if (self.model is None) == (self.channels is None):
            raise ValueError(
                "the config needs either a section `model:` or a section `channels:`, one of the "
                "two"
            )
        if self.channels is not None and not (isinstance(self.channels, dict) and self.channels):
            raise ValueError(
                f"channels holds recommenders by name, `{{popular: popularity}}`, not "
                f"{self.channels!r}"
            )

    @classmethod
    def from_dict(cls, values):
        """From plain values; unknown sections and keys are refused with the valid ones."""
        values = dict(values)
        for key, kind in (("train", Train), ("evaluate", Evaluate)):
            if key in values:
                values[key] = _construct(kind, values[key], key)
        return _construct(cls, values, "the config")

    @classmethod
    def load(cls, path, sets=()):
        """From a YAML file, or the name of a config that comes with the package.

        Args:
            path: a file, or a name such as "two_tower_movielens".
            sets: changes as text: "train.epochs=3".

        Raises:
            FileNotFoundError: no such file.
            ValueError: no YAML, an unknown section, or a malformed change.
        """
        path = find_config(path)
        try:
            values = yaml.load(path.read_text(encoding="utf-8"), Loader) or {}
        except yaml.YAMLError as error:
            raise ValueError(f"{path} is no valid YAML: {error}") from None
        if not isinstance(values, dict):
            raise ValueError(
                f"{path} must hold sections such as `data:`, not {type(values).__name__}"
            )
        for change in sets:
            apply(values, change)
        values.setdefault("name", path.stem)
        return cls.from_dict(values)

    def to_dict(self):
        """Plain values that `from_dict` takes back."""
        values = dataclasses.asdict(self)
        values["evaluate"]["ks"] = list(self.evaluate.ks)
        return values

    def save(self, path):
        """Writes YAML that `load` reads back."""
        Path(path).write_text(yaml.safe_dump(self.to_dict(), sort_keys=False), encoding="utf-8")

    def make(self, section):
        """Makes the part of a section that needs nothing else: "data" or "index"."""
        return part(section, getattr(self, section))

    def make_split(self, interactions):
        """The interactions, split."""
        arguments = dict(self.split)
        name = _name(arguments, "split")
        # the held-out file is a piece of the same log
        if name == "files" and "columns" in self.data:
            arguments.setdefault("columns", self.data["columns"])
        return make("split", name, interactions, **arguments)

    def make_model(self):
        """The model with its towers, negatives and loss, not adapted yet."""
        arguments = dict(self.model)
        towers = find("model", _name(dict(arguments), "model")).towers
        # the item tower first: a query tower over histories is made of it
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

    def make_channels(self):
        """The channels by name, not fitted yet."""
        return {name: part("channel", values) for name, values in self.channels.items()}

    def make_merge(self):
        """What merges the channels' lists."""
        return part("merge", self.merge)

    def make_strategy(self):
        """The `tf.distribute` strategy of `train.strategy`."""
        return make("strategy", self.train.strategy)

    def make_optimizer(self):
        """A fresh optimizer, or None for the model's own."""
        return self.train.optimizer and part("optimizer", self.train.optimizer)


def find_config(path):
    """The file at `path`, or the config of that name that comes with the package."""
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


def _name(arguments, section):
    if "name" not in arguments:
        raise ValueError(
            f"{section} needs a name, as in `{section}: {{name: ...}}`, and has {arguments}"
        )
    return arguments.pop("name")


def part(kind, values, *positional):
    """The part that `values` name, and those that its arguments name."""
    if not isinstance(values, dict):
        values = {"name": values}
    arguments = dict(values)
    name = _name(arguments, kind)
    for key, inner in PARTS.items():
        value = arguments.get(key)
        if isinstance(value, list):
            arguments[key] = [part(inner, each) for each in value]
        elif isinstance(value, dict | str):
            arguments[key] = part(inner, value)
    return make(kind, name, *positional, **arguments)


def apply(values, change):
    """Makes one change, such as "train.epochs=3", to nested values.

    Raises:
        ValueError: it does not read a.b=c, or leads through something that is no section.
    """
    path, equals, text = change.partition("=")
    if not equals or not path:
        raise ValueError(f"--set takes a.b=c, as in train.epochs=3, not {change!r}")
    *sections, last = path.split(".")
    for section in sections:
        values[section] = values.get(section) or {}
        values = values[section]
        if not isinstance(values, dict):
            raise ValueError(f"--set {change!r}: {section!r} is no section")
    values[last] = yaml.load(text, Loader)
