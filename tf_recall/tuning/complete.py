"""A config with all written out that its parts choose by themselves, where it may be searched."""

import copy
from typing import Any

import keras
import numpy as np

from tf_recall.config import Config
from tf_recall.data.catalog import Catalog
from tf_recall.data.split import Split
from tf_recall.export.describe import described
from tf_recall.registry import PARTS, REGISTRY, as_mapping, find, keywords, part
from tf_recall.retrievers.base import Retriever
from tf_recall.runs.prepared import TrainedChannel
from tf_recall.tuning.domain import PLAIN

MISSING = object()


def complete(config: Config, split: Split | None = None, catalog: Catalog | None = None) -> dict:
    """The values of an equal config, in which each part that can be tuned is written out.

    Args:
        config: the config; what it leaves out is read from the parts that it makes.
        split, catalog: the data, from which a model takes some of its settings; None: these stay
            left out.

    Raises:
        ValueError: a part is unknown, or takes no such argument; or the model does not go with the
            data.

    Example:
        >>> values = complete(Config.load("two_tower_movielens"))
        >>> values["train"]["optimizer"]
        {'name': 'sparse_adagrad', 'learning_rate': 0.1, 'weight_decay': None}
    """
    values = copy.deepcopy(config.to_dict())
    if config.channels is None:
        model = config.make_model()
        if split is not None:
            model.adapt(split.train, catalog)
        values["model"] = _whole("model", _with_towers(values["model"]), model)
        values["train"]["optimizer"] = _optimizer(config, model)
        if not model.batch_follows_data and values["train"]["batch_size"] is None:
            values["train"]["batch_size"] = model.default_batch_size(split and split.train)
        return values
    values["merge"] = _whole("merge", values["merge"], config.make_merge())
    for name, channel in config.make_channels().items():
        given = values["channels"][name]
        if isinstance(channel, TrainedChannel):
            alone = complete(channel.settings(config, name), split, catalog)
            kept = {key: alone[key] for key in ("model", "train", "index")}
            values["channels"][name] = {"name": given["name"], **kept}
        else:
            values["channels"][name] = _whole("channel", given, channel)
    return values


def tunable_of(maker: Any) -> dict:
    """What a class declares of its arguments."""
    return getattr(maker, "tunable", {})


def _with_towers(values):
    """The model's values, each tower named."""
    values = dict(values)
    for key, (kind, _) in find("model", values["name"]).towers.items():
        if values.get(key) is not None:
            given = values[key]
            values[key] = {"name": given} if isinstance(given, str) else {"name": kind, **given}
    return values


def _optimizer(config, model):
    """The optimizer that trains the model; None where a config cannot name it."""
    if config.train.optimizer is not None:
        return _whole("optimizer", config.train.optimizer, config.make_optimizer())
    made = model.optimizer_for(config.train.batch_size)
    names = [name for name in REGISTRY["optimizer"] if type(made) is find("optimizer", name)]
    if not names:
        return None
    arguments = keywords(type(made))
    own = {key: _argument(made, key) for key in arguments if key != "name"}
    return _brief("optimizer", {"name": names[0], **own}) | _tunable_of_made(made)


def _tunable_of_made(made):
    return {key: _argument(made, key) for key in tunable_of(type(made))}


def _whole(kind, given, made):
    """A part's values, with those of the parts in it that its constructor chose."""
    values = dict(as_mapping(given, kind))
    maker = find(kind, values["name"])
    declared = tunable_of(maker)
    for key in keywords(maker):
        own = _argument(made, key)
        if key == "name" or own is MISSING or own is None:
            continue
        inner = _inner(key, values.get(key), own, key in declared)
        if inner is not None:
            values[key] = inner
        elif values.get(key) is None and key in declared and isinstance(own, PLAIN | list | tuple):
            # not Keras's own lists, which hold on to their model
            values[key] = list(own) if isinstance(own, list | tuple) else own
    return values


def _inner(key, given, made, is_choice):
    """The values of the part, or of the parts, that an argument is.

    None where it is none, or where the constructor chose it and nothing in it can be tuned.
    """
    if key not in PARTS or isinstance(made, PLAIN | dict):
        return None
    kind = PARTS[key]
    parts = made if isinstance(made, list) else [made]
    if given is None:
        whole = [_chosen(kind, each) for each in parts]
        if not is_choice and not any(_can_be_tuned(kind, each) for each in whole):
            return None
    else:
        values = given if isinstance(made, list) else [given]
        whole = [_whole(kind, each, one) for each, one in zip(values, parts, strict=True)]
    return whole if isinstance(made, list) else whole[0]


def _chosen(kind, made):
    """The values of a part that no config gave."""
    values = described(kind, made)
    values.pop("entity", None)  # a config gives it by the tower's place
    return _whole(kind, _brief(kind, values), made)


def _can_be_tuned(kind, values):
    """Whether a part, or one in it, declares something."""
    if tunable_of(find(kind, values["name"])):
        return True
    for key, value in values.items():
        several = value if isinstance(value, list) else [value]
        parts = [each for each in several if key in PARTS and isinstance(each, dict)]
        if any(_can_be_tuned(PARTS[key], each) for each in parts):
            return True
    return False


def _brief(kind, values):
    """A part's values without those that its constructor would take by itself."""
    known = keywords(find(kind, values["name"]))
    kept = {"name": values["name"]}
    for key, value in values.items():
        if key == "name" or (key in known and value == known[key].default):
            continue
        several = isinstance(value, list)
        briefs = [_brief_part(key, each) for each in (value if several else [value])]
        kept[key] = briefs if several else briefs[0]
    for key in [key for key in kept if key in known and known[key].default is None]:
        rest = {name: value for name, value in kept.items() if name != key}
        if (
            key in PARTS
            and kind != "tower"
            and described(kind, part(kind, rest))[key] == values[key]
        ):
            kept = rest
    return kept


def _brief_part(key, value):
    is_part = key in PARTS and isinstance(value, dict) and "name" in value
    return _brief(PARTS[key], value) if is_part else value


def _argument(made, key):
    """An argument as a part has it; `MISSING` where it does not keep it under its name."""
    if isinstance(made, keras.optimizers.Optimizer):
        value = made.get_config().get(key, MISSING)
        # a variable of float32: the shortest number that is the same there
        return float(str(np.float32(value))) if isinstance(value, float) else value
    if isinstance(made, Retriever) and key in (parts := made.parts()):
        return parts[key]
    return getattr(made, key, MISSING)
