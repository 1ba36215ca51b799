"""One value of a search."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tf_recall.tuning.domain import Choices, Span
from tf_recall.tuning.places import Place


@dataclass(frozen=True)
class Dimension:
    """One value of a search.

    Args:
        name: what it is called, as a config's `tune` has it.
        places: where it stands in the config; one value may stand in several.
        domain: what it may be.
        start: the label or number that the config has; empty where that is not in the domain.
        inner: by label, the values of a part that is one of the choices.
        within: the label of the choice that it is part of.
    """

    name: str
    places: Sequence[Place]
    domain: Span | Choices
    start: tuple[Any, ...] = ()
    inner: dict[Any, list["Dimension"]] = field(default_factory=dict)
    within: str = ""

    def all(self) -> Iterator["Dimension"]:
        """It, and those of its choices."""
        yield self
        for dimensions in self.inner.values():
            for each in dimensions:
                yield from each.all()
