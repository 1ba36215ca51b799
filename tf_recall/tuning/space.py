"""What a search may change in a config: the ranges that its parts declare, and those of `tune`."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tf_recall.config import Config
from tf_recall.data.arguments import meant, shown
from tf_recall.data.catalog import Catalog
from tf_recall.data.split import Split
from tf_recall.tuning.complete import complete
from tf_recall.tuning.dimension import Dimension
from tf_recall.tuning.domain import Choices
from tf_recall.tuning.places import Place, put
from tf_recall.tuning.walk import Walk

if TYPE_CHECKING:
    import optuna

Change = tuple[Place, Any]


@dataclass(frozen=True)
class Space:
    """A config and what a search may change in it. `Space.of` makes it.

    A part declares ranges of its arguments beside its constructor, as `tunable`; they hold wherever
    a config has the part or its model makes it. The config's section `tune` narrows, fixes, adds:

        tune:
          model.loss.temperature: [0.05, 0.5, log]      # a range, drawn by its logarithm
          model.item_tower.features[1].dim: [4, 32]     # whole numbers, both ends in it
          model.negatives: {choices: [in_batch, {name: uniform, num: 512}]}
          train.batch_size: 1024                        # fixed

    A key is where the value stands in the config. Any argument of any part of the model, of the
    channels and of the merge, and any setting of `train`, can be searched so. What a part among the
    choices declares holds where it is chosen. Towers that must end in one length are one value,
    `model.dim`. `--set tune.model.loss.temperature=[0.05,0.5,log]` says the same.

    Args:
        base: the config's values, with its parts written out and what `tune` fixes in place.
        dimensions: what is searched.
        config: the config as it stands, with which a search begins.
        is_start: whether `base` is that config.
    """

    base: dict
    dimensions: list[Dimension]
    config: Config
    is_start: bool

    @classmethod
    def of(
        cls, config: Config, split: Split | None = None, catalog: Catalog | None = None
    ) -> "Space":
        """Finds what a search may change in a config.

        Args:
            config: the config.
            split, catalog: the data, where they are known: as for `complete`.

        Raises:
            ValueError: a key of `tune` is unknown, or its range holds what the argument does not
                take; the message lists the valid ones. Or nothing is left to search.
        """
        base = complete(config, split, catalog)
        walk = Walk(flat(config.tune or {}), config)
        dimensions = walk.over(base)
        if unknown := [key for key in walk.given if key not in walk.used]:
            raise ValueError(_unknown(unknown[0], walk.known, dimensions))
        if not dimensions:
            raise ValueError(
                "there is nothing to search: no part of the config declares a range that is not "
                "fixed; give one, as in tune: {train.batch_size: {choices: [512, 2048]}}"
            )
        return cls(base, _distinct(dimensions), config, not walk.fixed)

    def suggest(self, trial: "optuna.Trial") -> tuple[list[Change], dict]:
        """Draws a value for each dimension.

        Returns:
            The changes of the config, and each value by the dimension's name.
        """
        return _drawn(self.dimensions, trial)

    def start(self) -> dict:
        """The config's own values by dimension, as far as they are in the ranges."""
        return dict(_starts(self.dimensions))

    def suggest_start(self, trial: "optuna.Trial") -> dict:
        """Notes the config's own values as those of a trial, and returns them.

        The trial was enqueued with them.
        """
        own = self.start() if self.is_start else {}
        for dimension in self.every():
            if dimension.name in own:
                dimension.domain.suggest(trial, dimension.name)
        return own

    def changed(self, changes: Sequence[Change]) -> Config:
        """The config with changes.

        Raises:
            ValueError: a part does not take a value.
        """
        values = copy.deepcopy(self.base)
        for place, value in changes:
            put(values, place, copy.deepcopy(value))
        return Config.from_dict(values)

    def every(self) -> list[Dimension]:
        """All dimensions, those of choices too."""
        return [each for dimension in self.dimensions for each in dimension.all()]

    def plain(self) -> dict:
        """What each dimension may be, by name, as it is written."""
        return {each.name: each.domain.plain() for each in self.every()}


def flat(tune: dict) -> dict:
    """The section `tune`, each key in full: sections may be nested, as `--set` makes them.

    Example:
        >>> flat({"model": {"loss": {"margin": [0.1, 0.5]}}, "train.batch_size": 512})
        {'model.loss.margin': [0.1, 0.5], 'train.batch_size': 512}
    """
    keys = {}
    for key, value in tune.items():
        if isinstance(value, dict) and value and not {"choices", "name"} & set(value):
            keys |= {f"{key}.{inner}": each for inner, each in flat(value).items()}
        else:
            keys[key] = value
    return keys


def _unknown(key, known, dimensions):
    names = [each.name for dimension in dimensions for each in dimension.all()]
    near = meant(key, [*names, *known])
    return (
        f"tune has no {shown(key)}; {near}there are: {', '.join(dict.fromkeys(names))}, and any "
        "other argument of the config's parts"
    )


def _distinct(dimensions):
    """The dimensions, with names that tell apart those of one place in several choices."""
    domains = {}
    for dimension in dimensions:
        for each in dimension.all():
            domains.setdefault(each.name, set()).add(str(each.domain.plain()))
    return [_renamed(each, domains) for each in dimensions]


def _renamed(dimension, domains):
    name = dimension.name
    if len(domains[name]) > 1:
        name = f"{name} ({dimension.within})"
    inner = {
        label: [_renamed(each, domains) for each in dimensions]
        for label, dimensions in dimension.inner.items()
    }
    return replace(dimension, name=name, inner=inner)


def _drawn(dimensions, trial):
    changes, values = [], {}
    for dimension in dimensions:
        value = label = dimension.domain.suggest(trial, dimension.name)
        if isinstance(dimension.domain, Choices):
            value = dimension.domain.of(label)
        changes += [(place, value) for place in dimension.places]
        values[dimension.name] = label
        inner_changes, inner_values = _drawn(dimension.inner.get(label, []), trial)
        changes += inner_changes
        values |= inner_values
    return changes, values


def _starts(dimensions):
    for dimension in dimensions:
        if dimension.start:
            (own,) = dimension.start
            yield dimension.name, own
            yield from _starts(dimension.inner.get(own, []))
