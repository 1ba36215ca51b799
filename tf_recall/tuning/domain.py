"""What a value may be while it is searched for: a range of numbers, or one of several values.

Parts declare it beside their constructors, as `tunable`, in the notation that a config's `tune`
has: `[low, high]`, `[low, high, log]`, `{choices: [a, b]}`.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tf_recall.data.arguments import shown
from tf_recall.registry import PARTS

if TYPE_CHECKING:
    import optuna

PLAIN = bool | int | float | str | None
NOTATION = "a range is [low, high] or [low, high, log], a choice {choices: [a, b]}"


@dataclass(frozen=True)
class Span:
    """A range of numbers, whole ones if both ends are.

    Args:
        low, high: its ends, both in it.
        log: whether the logarithm is drawn uniformly, as suits what acts by ratios.
    """

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether its numbers are whole."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def holds(self, value: Any) -> bool:
        """Whether a value is in it."""
        kinds = int if self.whole else int | float
        is_number = isinstance(value, kinds) and not isinstance(value, bool)
        return is_number and self.low <= value <= self.high

    def with_start(self, value: Any) -> "Span":
        """The same, as wide as it takes to hold the value that a config has."""
        wider = Span(_least(self.low, value), _most(self.high, value), self.log)
        fits = wider.holds(value) and wider.whole == self.whole and (wider.low > 0 or not self.log)
        return wider if fits else self

    def suggest(self, trial: "optuna.Trial", name: str) -> float:
        """A number for a trial."""
        if self.whole:
            return trial.suggest_int(name, self.low, self.high, log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def plain(self) -> list:
        """It, as it is written."""
        return [self.low, self.high, *(["log"] if self.log else [])]


@dataclass(frozen=True, eq=False)
class Choices:
    """Several values, one of which is taken. Parts and lists among them go by their labels.

    Args:
        options: the values.
    """

    options: tuple

    @functools.cached_property
    def labels(self) -> list:
        """What each is called: a plain value itself, a part its name and those of its parts."""
        labels = []
        for option in self.options:
            name = label_of(option)
            twins = sum(str(each).split(" #")[0] == str(name) for each in labels)
            labels.append(f"{name} #{twins + 1}" if twins else name)
        return labels

    def suggest(self, trial: "optuna.Trial", name: str) -> Any:
        """The label of a value for a trial."""
        return trial.suggest_categorical(name, self.labels)

    def of(self, label: Any) -> Any:
        """The value of a label."""
        return self.options[self.labels.index(label)]

    def plain(self) -> dict:
        """It, as it is written."""
        return {"choices": list(self.options)}


def label_of(value: Any) -> Any:
    """What a value is called among choices.

    Example:
        >>> label_of({"name": "mixture", "samplers": ["in_batch", {"name": "uniform", "num": 64}]})
        'mixture(in_batch, uniform)'
    """
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, dict) and "name" in value:
        inner = [_labels(each) for key, each in value.items() if key in PARTS]
        names = ", ".join(name for names in inner for name in names)
        return f"{value['name']}({names})" if names else value["name"]
    return shown(value)


def _labels(value):
    """The labels of the parts that an argument holds."""
    if isinstance(value, list | tuple):
        return [label for each in value for label in _labels(each)]
    return [label_of(value)] if isinstance(value, dict | str) else []


def read_domain(key: str, given: Any, takes: Callable[[Any, str], None]) -> Span | Choices | None:
    """Reads what a value may be.

    Args:
        key: whose value it is; errors begin with it.
        given: a range, choices, or a value.
        takes: refuses what the argument does not take, by a ValueError; called with a value and
            with what to call it.

    Returns:
        A `Span` or `Choices`; None for one value, such as a list that the argument takes itself.

    Raises:
        ValueError: a range that is none, or an end or a choice that the argument does not take.
    """
    if isinstance(given, dict) and "choices" in given:
        options = given["choices"]
        if set(given) != {"choices"} or not isinstance(options, list) or not options:
            raise ValueError(f"{key}: {NOTATION}, not {shown(given)}")
        for number, option in enumerate(options):
            takes(option, f"{key}.choices[{number}]")
        return Choices(tuple(options))
    if not _is_range(given):
        return _one_value(key, given, takes)
    try:
        takes(given, key)
    except ValueError:
        return _span(key, given, takes)
    return None


def _one_value(key, given, takes):
    try:
        takes(given, key)
    except ValueError as error:
        hint = f"; {NOTATION}" if isinstance(given, list | dict) else ""
        raise ValueError(f"{error}{hint}") from None


def _is_range(given):
    """Whether a value has the form of a range."""
    if not isinstance(given, list) or len(given) not in (2, 3):
        return False
    return all(isinstance(end, int | float) and not isinstance(end, bool) for end in given[:2])


def _span(key, given, takes):
    low, high, *log = given
    if log not in ([], ["log"]):
        raise ValueError(f"{key}: {NOTATION}, not {shown(given)}")
    for end in (low, high):
        takes(end, key)
    if low > high:
        raise ValueError(f"{key}: a range begins with its lower end, not {shown(given)}")
    if log and low <= 0:
        raise ValueError(f"{key}: a range by logarithms lies above 0, not {shown(given)}")
    return Choices((low,)) if low == high else Span(low, high, bool(log))


def _least(low, value):
    return min(low, value) if isinstance(value, int | float) else low


def _most(high, value):
    return max(high, value) if isinstance(value, int | float) else high
