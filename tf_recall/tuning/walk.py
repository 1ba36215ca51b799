"""Walks over a config's parts, and collects what a search may change in them."""

import copy
from typing import Any

from tf_recall.config import Config, Train
from tf_recall.data.arguments import types_of
from tf_recall.data.ranges import WholeFrom1
from tf_recall.registry import PARTS, as_mapping, find, keywords
from tf_recall.runs.prepared import TrainedChannel
from tf_recall.tuning.argument import Argument, element_of, is_part_of, of_type, taken_by
from tf_recall.tuning.complete import tunable_of
from tf_recall.tuning.dimension import Dimension
from tf_recall.tuning.domain import Choices, Span, label_of, read_domain
from tf_recall.tuning.places import Place, put, value_at, written
from tf_recall.tuning.sizes import size_places

PART_SETTINGS = {"optimizer": "optimizer"}  # of `train`, those that are parts
LEFT_OUT = ("monitor", "strategy")  # of `train`: by what and where trials are compared
OF_GRADIENTS = ("batch_size", "optimizer", "jit_compile", "precision")
NOTHING = object()


class Walk:
    """Collects the dimensions of a config.

    Args:
        given: the section `tune`, each key in full.
        config: the config, which tells what its model refuses.

    Attributes:
        used: the keys of `given` that were found.
        known: all keys that could be given.
        fixed: whether a value was fixed to another one than the config has.
    """

    def __init__(self, given: dict, config: Config) -> None:
        self.given = given
        self.config = config
        self.used = set()
        self.known = set()
        self.fixed = False
        self.bound = set()

    def over(self, base: dict) -> list[Dimension]:
        """The dimensions of a config's values; what is fixed is changed there."""
        if base["channels"] is None:
            return self._run(base, ())
        dimensions = []
        for name, values in base["channels"].items():
            place = ("channels", name)
            if issubclass(find("channel", values["name"]), TrainedChannel):
                dimensions += self._run(values, place)
            else:
                dimensions += self.part("channel", values, place)
        return dimensions + self._of_merge(base)

    def part(self, kind: str, values: dict, at: Place, within: str = "") -> list[Dimension]:
        """The dimensions of a part."""
        maker = find(kind, values["name"])
        declared = tunable_of(maker)
        towers = maker.towers if kind == "model" else {}
        dimensions = []
        if towers and "dim" not in declared:
            dimensions += self._size(values, at, within)
        for key, parameter in keywords(maker).items():
            place = (*at, key)
            if key in ("name", "entity") or place in self.bound:
                continue
            if key in towers or key == "item_tower":
                if isinstance(values.get(key), dict):
                    dimensions += self.part("tower", values[key], place, within)
                continue
            type_ = types_of(maker).get(key, Any)
            takes = taken_by(kind, values["name"], key)
            one = Argument(PARTS.get(key), key, place, type_, takes, within, kind)
            dimensions += self._argument(one, values, declared.get(key), parameter.default)
        return dimensions

    def _run(self, values, at):
        """The dimensions of a model and of its training."""
        dimensions = self.part("model", values["model"], (*at, "model"))
        types = types_of(Train)
        model = find("model", values["model"]["name"])
        for key, parameter in keywords(Train).items():
            if key not in LEFT_OUT and (model.by_gradients or key not in OF_GRADIENTS):
                kind = PART_SETTINGS.get(key)
                place = (*at, "train", key)
                one = Argument(kind, key, place, types[key], of_type(kind, types[key]))
                declared = Train.tunable.get(key)
                if key == "batch_size" and model.batch_follows_data:
                    declared = None
                dimensions += self._argument(one, values["train"], declared, parameter.default)
        return dimensions

    def _of_merge(self, base):
        """The dimensions of the merge, and how many items each channel gives it."""
        type_ = types_of(Config)["depth"]
        depth = Argument(None, "depth", ("depth",), type_, of_type(None, type_))
        dimensions = self.part("merge", base["merge"], ("merge",))
        return dimensions + self._argument(depth, base, None, None)

    def _argument(self, one, holder, declared, default):
        """The dimensions of one argument, and of the part that it is."""
        current = _held(holder, one.key, default)
        current = list(current) if isinstance(current, tuple) else current
        own = self._given(one.place)
        spec = declared if own is NOTHING else own
        domain = None
        if spec is not None or own is None:
            domain = read_domain(written(one.place), spec, one.takes)
            if domain is None:
                current = self._fix(holder, one, spec, current)
        if domain is not None and own is NOTHING:
            domain = self._widened(domain, current, one, holder)
        if domain is not None:
            return [self._dimension(one, domain, current)]
        return self._below(one, holder, current)

    def _given(self, place):
        """What `tune` gives for a place."""
        key = written(place)
        self.known.add(key)
        if key not in self.given:
            return NOTHING
        self.used.add(key)
        return self.given[key]

    def _fix(self, holder, one, value, current):
        """Puts a value that `tune` fixes in place, and returns it; a name alone keeps the rest."""
        is_part = one.kind and is_part_of(one.kind, value)
        fixed = as_mapping(value, written(one.place)) if is_part else value
        if isinstance(value, str) and isinstance(current, dict) and current.get("name") == value:
            fixed = current
        self.fixed |= not one.within and current != fixed
        holder[one.key] = copy.deepcopy(fixed)
        return holder[one.key]

    def _widened(self, domain, current, one, holder):
        """What a part declares, with the value that the config has; None: that value stays."""
        if isinstance(domain, Span):
            is_part = isinstance(current, dict | str)  # such as a schedule
            return None if is_part else domain.with_start(current)
        if not one.kind:
            options = list(domain.options)
            return Choices(tuple(options if current in options else [current, *options]))
        options = [each for each in domain.options if self._accepts(one, holder, each)]
        labels = [label_of(each) for each in options]
        if current is None:
            return Choices(tuple(options)) if options else None
        if label_of(current) in labels:
            options[labels.index(label_of(current))] = current
        else:
            options.insert(0, current)
        return Choices(tuple(options)) if len(options) > 1 else None

    def _accepts(self, one, holder, option):
        """Whether a model takes what its class declares, beside its other parts."""
        if one.owner != "model":
            return True
        values = {"data": self.config.data, "split": self.config.split}
        try:
            Config.from_dict({**values, "model": {**holder, one.key: option}}).make_model()
        except ValueError:
            return False
        return True

    def _dimension(self, one, domain, current):
        name = written(one.place)
        if isinstance(domain, Span):
            start = (current,) if domain.holds(current) else ()
            return Dimension(name, [one.place], domain, start, within=one.within)
        label = label_of(current)
        start = (label,) if label in domain.labels else ()
        if not one.kind:
            return Dimension(name, [one.place], domain, start, within=one.within)
        options, inner = [], {}
        for option, each in zip(domain.options, domain.labels, strict=True):
            if isinstance(option, str) and each == label:
                option = current
            if is_part_of(one.kind, option):
                option = copy.deepcopy(as_mapping(option, name))
                inner[each] = self.part(one.kind, option, one.place, str(each))
            options.append(option)
        return Dimension(name, [one.place], Choices(tuple(options)), start, inner, one.within)

    def _below(self, one, holder, current):
        """The dimensions of what an argument holds: a part, parts, or a list's elements."""
        if one.kind and is_part_of(one.kind, current):
            holder[one.key] = dict(as_mapping(current, one.key))
            return self.part(one.kind, holder[one.key], one.place, one.within)
        if one.kind and isinstance(current, list):
            parts = [dict(as_mapping(each, one.key)) for each in current]
            holder[one.key] = parts
            return [
                dimension
                for number, each in enumerate(parts)
                for dimension in self.part(one.kind, each, (*one.place, number), one.within)
            ]
        return self._elements(one, holder, current)

    def _elements(self, one, holder, current):
        """What `tune` gives for elements of a list or a mapping, such as a channel's weight."""
        key = written(one.place)
        asked = [each for each in self.given if each.startswith((f"{key}[", f"{key}."))]
        type_, named = element_of(one.type)
        if type_ is None or not asked:
            return []
        if named:
            held = dict(current or {})
            steps = [each.removeprefix(f"{key}.") for each in asked]
        else:
            held = list(current or ())
            steps = range(len(held))
        holder[one.key] = held
        dimensions = []
        for step in steps:
            place = (*one.place, step)
            if place not in self.bound:
                own = Argument(None, step, place, type_, of_type(None, type_), one.within)
                dimensions += self._argument(own, held, None, None)
        return dimensions

    def _size(self, model, at, within):
        """The length in which the model's towers end, as one dimension."""
        places, bound = size_places(model, at)
        self.bound |= set(bound)
        declared = [
            find("tower", tower["name"]).tunable_size
            for key in find("model", model["name"]).towers
            if isinstance(tower := model.get(key), dict) and "features" in tower
        ]
        if not places or not declared:
            return []
        key = "num_factors" if places[0][-1] == "num_factors" else "dim"
        place = (*at, key)
        current = value_at(model, places[0][len(at) :])
        takes = of_type(None, WholeFrom1)
        own = self._given(place)
        domain = read_domain(written(place), declared[0] if own is NOTHING else own, takes)
        if domain is None:
            for each in places:
                put(model, each[len(at) :], own)
            self.fixed |= own != current
            return []
        if own is NOTHING:
            domain = domain.with_start(current)
        start = (current,) if not isinstance(domain, Span) or domain.holds(current) else ()
        return [Dimension(written(place), places, domain, start, within=within)]


def _held(holder, key, default):
    return holder.get(key, default) if isinstance(holder, dict) else holder[key]
