"""How much an interaction counts, by a number of it such as the time watched (METHODS.md Y5)."""

import numpy as np
import pandas as pd

from tf_recall.data.ranges import Column, NumberAbove0


class Weighting:
    """Makes a weight of a column: `weighting(frame)` is float32 `[n]`, at least 0.

    A weight multiplies the loss of its positive. It does not change how often an item is drawn as a
    negative, nor its log q, which go by how often it is a positive: so what a softmax learns is
    each item's share of the weights. Channels that count likes count weights.
    """

    def __init__(self, column: Column):
        self.column = column

    def __call__(self, frame: pd.DataFrame) -> np.ndarray:
        """The weights.

        Raises:
            ValueError: no such column, or it holds anything but numbers of at least 0.
        """
        if self.column not in frame:
            raise ValueError(
                f"weighting names the column {self.column!r}; the interactions have "
                f"{', '.join(map(str, frame))}"
            )
        given = frame[self.column]
        values = pd.to_numeric(given, errors="coerce").to_numpy(np.float64, na_value=np.nan)
        wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
        if wrong.size:
            raise ValueError(
                f"{self.column} of an interaction is a number of at least 0, got "
                f"'{given.iloc[wrong[0]]}' in row {wrong[0]}"
            )
        return self.of(values).astype(np.float32)

    def of(self, values: np.ndarray) -> np.ndarray:
        """The weights `[n]` of numbers `[n]`."""
        raise NotImplementedError


class Saturating(Weighting):
    """A weight that grows with a number, to 1 at most (METHODS.md Y5).

        weight = value / (half + value)

    Args:
        column: of the interactions, such as seconds watched.
        half: where the weight is a half.

    Raises:
        ValueError: a half that is not above 0; when called, as `Weighting`.

    Example:
        >>> Saturating("seconds", half=30)(pd.DataFrame({"seconds": [0, 30, 90]})).tolist()
        [0.0, 0.5, 0.75]
    """

    def __init__(self, column: Column, half: NumberAbove0 = 1.0):
        super().__init__(column)
        self.half = _above_0("half", half)

    def of(self, values):
        return values / (self.half + values)


class Logarithmic(Weighting):
    """A weight that grows ever more slowly with a number (METHODS.md Y5).

        weight = log(1 + value / unit)

    Args:
        column: of the interactions, such as seconds watched.
        unit: where the weight is log 2.

    Raises:
        ValueError: a unit that is not above 0; when called, as `Weighting`.
    """

    def __init__(self, column: Column, unit: NumberAbove0 = 1.0):
        super().__init__(column)
        self.unit = _above_0("unit", unit)

    def of(self, values):
        return np.log1p(values / self.unit)


def _above_0(name, value):
    if not value > 0:
        raise ValueError(f"{name} is a number above 0, got {value!r}")
    return value
