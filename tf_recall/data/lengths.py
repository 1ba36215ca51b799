"""How much of a thing is finished, by its length: a curve that falls, fitted on the training part.

Long videos are finished less often, whatever they are worth. What a share of one says is how far it
is above what its length lets expect (METHODS.md Y5).
"""

from dataclasses import dataclass

import numpy as np

from tf_recall.data.catalog import Catalog
from tf_recall.data.values import column_of

LOWEST = 1e-3  # of a curve: something is divided by it


@dataclass(frozen=True)
class LengthCurve:
    """The expected finished share at each length, between knots by a straight line.

    Args:
        lengths: `[K]`, rising.
        shares: `[K]`, falling, above 0. Before the first knot and after the last it is flat.
    """

    lengths: np.ndarray
    shares: np.ndarray

    @classmethod
    def fit(cls, lengths: np.ndarray, shares: np.ndarray) -> "LengthCurve":
        """Fits the falling curve that is nearest to the data, by isotonic regression.

        Args:
            lengths: `[n]`, at least 0.
            shares: `[n]`, what was finished of each, from 0 to 1.

        Raises:
            ValueError: nothing was finished at all.

        Example:
            >>> curve = LengthCurve.fit(np.array([1.0, 1, 9, 9]), np.array([1, 0.8, 0.2, 0.4]))
            >>> curve(np.array([0.5, 1, 5, 9])).round(6).tolist()
            [0.9, 0.9, 0.6, 0.3]
        """
        from sklearn.isotonic import IsotonicRegression

        if not len(shares) or not np.max(shares) > 0:
            raise ValueError("there is no curve of finished shares: nothing was finished")
        fitted = IsotonicRegression(increasing=False, out_of_bounds="clip").fit(lengths, shares)
        knots = np.asarray(fitted.X_thresholds_), np.asarray(fitted.y_thresholds_)
        return cls(knots[0], np.maximum(knots[1], LOWEST))

    def __call__(self, lengths: np.ndarray) -> np.ndarray:
        """The expected shares `[n]` of lengths `[n]`."""
        return np.interp(lengths, self.lengths, self.shares)


def lengths_of(catalog: Catalog, column: str) -> np.ndarray:
    """The length of each item row, `[V + 1]`; NaN where it is unknown.

    Args:
        catalog: the catalog of the training part.
        column: of its item table.

    Raises:
        ValueError: no such column of the item table, or one that is not above 0.
    """
    lengths = np.append(np.nan, column_of(catalog, column))
    wrong = np.flatnonzero(lengths <= 0)
    if wrong.size:
        item = catalog.items.decode([wrong[0]])[0]
        raise ValueError(f"{column} is above 0, got {lengths[wrong[0]]} of {item!r}")
    return lengths
