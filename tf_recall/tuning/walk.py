"""Walks over a config's parts, and collects what a search may change in them."""

import copy
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tf_recall.config import Config, Train
from tf_recall.data.arguments import check, members, types_of
from tf_recall.data.ranges import WholeFrom1
from tf_recall.registry import PARTS, REGISTRY, as_mapping, check_argument, find, keywords, part
from tf_recall.tuning.complete import tunable_of
from tf_recall.tuning.domain import Choices, Span, label_of, read_domain
from tf_recall.tuning.places import Place, put, value_at, written
from tf_recall.tuning.sizes import size_places

PART_SETTINGS = {"optimizer": "optimizer"}  # of `train`, those that are parts
LEFT_OUT = ("monitor", "strategy")  # of `train`: by what and where trials are compared
NOTHING = object()


@dataclass(frozen=True)
class Dimension:
    """One value of a search.

    Args:
        name: what it is called, as a config's `tune` has it.
        places: where it stands in the config; one value may stand in several.
        domain: what it may be.
        start: the label or number that the config has; None: what it has is not in the domain.
        inner: by label, the values of a part that is one of the choices.
        within: the labels of the choices that it is part of.
    """

    name: str
    places: Sequence[Place]
    domain: Span | Choices
    start: tuple = ()
    inner: dict[Any, list["Dimension"]] = field(default_factory=dict)
    within: str = ""

    def all(self) -> Iterator["Dimension"]:
        """It, and those of its choices."""
        yield self
        for dimensions in self.inner.values():
            for each in dimensions:
                yield from each.all()


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
            if values["name"] == "trained":
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
            takes = _taken_by(kind, values["name"], key)
            one = _Argument(PARTS.get(key), key, place, type_, takes, within)
            dimensions += self._argument(one, values, declared.get(key), parameter.default)
        return dimensions

    def _run(self, values, at):
        """The dimensions of a model and of its training."""
        dimensions = self.part("model", values["model"], (*at, "model"))
        types = types_of(Train)
        for key, parameter in keywords(Train).items():
            if key not in LEFT_OUT:
                kind = PART_SETTINGS.get(key)
                place = (*at, "train", key)
                one = _Argument(kind, key, place, types[key], _of_type(kind, types[key]))
                declared = Train.tunable.get(key)
                dimensions += self._argument(one, values["train"], declared, parameter.default)
        return dimensions

    def _of_merge(self, base):
        """The dimensions of the merge, and how many items each channel gives it."""
        type_ = types_of(Config)["depth"]
        depth = _Argument(None, "depth", ("depth",), type_, _of_type(None, type_))
        dimensions = self.part("merge", base["merge"], ("merge",))
        return dimensions + self._argument(depth, base, None, None)

    def _argument(self, one, holder, declared, default):
        """The dimensions of one argument, and of the part that it is."""
        current = _held(holder, one.key, default)
        own = self._given(one.place)
        spec = declared if own is NOTHING else own
        domain = None
        if spec is not None or own is None:
            domain = read_domain(written(one.place), spec, one.takes)
            if domain is None:
                self._fix(holder, one, spec, current)
                current = spec
        if domain is not None and own is NOTHING:
            domain = self._widened(domain, current, one)
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
        is_part = one.kind and _is_part(one.kind, value)
        fixed = as_mapping(value, written(one.place)) if is_part else value
        self.fixed |= not one.within and current != fixed
        holder[one.key] = copy.deepcopy(fixed)

    def _widened(self, domain, current, one):
        """What a part declares, with the value that the config has; None: that value stays."""
        if isinstance(domain, Span):
            is_part = isinstance(current, dict | str)  # such as a schedule
            return None if is_part else domain.with_start(current)
        if not one.kind:
            options = list(domain.options)
            return Choices(tuple(options if current in options else [current, *options]))
        options = [each for each in domain.options if self._accepts(one.place, each)]
        labels = [label_of(each) for each in options]
        if current is None:
            return Choices(tuple(options)) if options else None
        if label_of(current) in labels:
            options[labels.index(label_of(current))] = current
        else:
            options.insert(0, current)
        return Choices(tuple(options)) if len(options) > 1 else None

    def _accepts(self, place, option):
        """Whether the model takes what its class declares, beside its other parts."""
        if place[:-1] != ("model",):
            return True
        values = self.config.to_dict()
        put(values, place, option)
        try:
            Config.from_dict(values).make_model()
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
            if _is_part(one.kind, option):
                option = copy.deepcopy(as_mapping(option, name))
                inner[each] = self.part(one.kind, option, one.place, str(each))
            options.append(option)
        return Dimension(name, [one.place], Choices(tuple(options)), start, inner, one.within)

    def _below(self, one, holder, current):
        """The dimensions of what an argument holds: a part, parts, or a list's elements."""
        if one.kind and _is_part(one.kind, current):
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
        type_, named = _element(one.type)
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
                own = _Argument(None, step, place, type_, _of_type(None, type_), one.within)
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
        takes = _of_type(None, WholeFrom1)
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


@dataclass(frozen=True)
class _Argument:
    """An argument that may be searched.

    Args:
        kind: of the parts that it takes; None where it takes none.
        key: its name, or its number in a list.
        place: where it stands in the config.
        type: its type.
        takes: refuses what it does not take.
        within: the label of the choice that it is part of.
    """

    kind: str | None
    key: str | int
    place: Place
    type: Any
    takes: Callable[[Any, str], None]
    within: str = ""


def _taken_by(kind, name, key):
    """Refuses what an argument of a part does not take."""
    return lambda value, at: check_argument(kind, name, key, value, at)


def _of_type(kind, type_):
    """Refuses what is not of a type, or is no part of a kind."""

    def takes(value, at):
        check(at, type_, value)
        if kind and value is not None:
            part(kind, value, at=at)

    return takes


def _is_part(kind, value):
    """Whether a config's value names a part."""
    if isinstance(value, dict):
        return "name" in value
    return isinstance(value, str) and value in REGISTRY[kind]


def _held(holder, key, default):
    return holder.get(key, default) if isinstance(holder, dict) else holder[key]


def _element(type_):
    """The type of the elements, and whether they have names; None where there are none."""
    for each in members(type_):
        origin, inner = typing.get_origin(each), typing.get_args(each)
        if isinstance(origin, type) and issubclass(origin, Mapping) and len(inner) == 2:
            return inner[1], True
        if isinstance(origin, type) and issubclass(origin, Sequence) and inner:
            return inner[0], False
    return None, False
