"""Posterior metrics of items: numbers by which the lists of an inverted index are sorted."""

import numpy as np

from tf_recall.data.catalog import Catalog
from tf_recall.data.interactions import Interactions
from tf_recall.data.ranges import Column, NumberAbove0
from tf_recall.data.values import column_of, numbers_of


class Metric:
    """How well each item has done so far: `metric(train, catalog)` (METHODS.md C1).

    A rate alone overrates rare items: 1 click of 1 showing is no better than 900 of 1,000. So rates
    and means are Bayesian averages here: each item starts with `strength` observations of the
    average item, which its own outweigh as they come in.
    """

    def __call__(self, train: Interactions, catalog: Catalog) -> np.ndarray:
        """A number of at least 0 for each item row, float32 `[V + 1]`; row 0 has 0."""
        raise NotImplementedError


class Count(Metric):
    """The number of training interactions of an item."""

    def __call__(self, train, catalog):
        return catalog.items.counts.astype(np.float32)


class Rate(Metric):
    """The success rate of an item: clicks per showing, shares per view.

        rate(i) = (successes(i) + strength * overall) / (trials(i) + strength)
        overall = sum of successes / sum of trials

    This is the posterior mean, after the item's trials, of a Beta(strength * overall, strength *
    (1 - overall)) prior. An item without both numbers counts as never tried, and has the overall
    rate.

    Args:
        successes, trials: columns of the item table.
        strength: how many trials the overall rate weighs.

    Raises:
        ValueError: a strength that is not above 0; when called, a column that is absent, holds no
            numbers, negative ones, or one of the two alone; more successes than trials; no trials
            at all.

    Example:
        >>> InvertedIndex(["author"], metric=Rate("clicks", "showings", strength=100))
    """

    tunable = {"strength": [1.0, 100.0, "log"]}

    def __init__(self, successes: Column, trials: Column, strength: NumberAbove0 = 20.0):
        self.successes, self.trials, self.strength = successes, trials, strength_above_0(strength)

    def __call__(self, train, catalog):
        successes, trials = column_of(catalog, self.successes), column_of(catalog, self.trials)
        untried = np.isnan(successes) & np.isnan(trials)
        successes, trials = np.where(untried, 0, successes), np.where(untried, 0, trials)
        for name, values in ((self.successes, successes), (self.trials, trials)):
            _refuse(
                ~(np.isfinite(values) & (values >= 0)),
                catalog,
                name,
                values,
                "a number of at least 0",
            )
        _refuse(
            successes > trials,
            catalog,
            self.successes,
            successes,
            f"no more than its {self.trials}",
        )
        if not trials.sum():
            raise ValueError(
                f"nothing was tried: column {self.trials!r} of the item table holds 0 alone"
            )
        return averaged(successes, trials, self.strength)


class MeanWeight(Metric):
    """The mean weight of an item's interactions: its mean rating, or mean time watched.

        mean(i) = (sum of the weights of i's interactions + strength * overall mean)
            / (n(i) + strength)

    with n(i) the number of its interactions. An item without interactions has the overall mean.

    Args:
        weight: a column of the interactions; MovieLens's ratings are `user_rating`.
        strength: how many interactions the overall mean weighs.

    Raises:
        ValueError: a strength that is not above 0; when called, a column that is absent, or holds
            anything but numbers of at least 0.
    """

    tunable = {"strength": [1.0, 100.0, "log"]}

    def __init__(self, weight: Column = "weight", strength: NumberAbove0 = 20.0):
        self.weight, self.strength = weight, strength_above_0(strength)

    def __call__(self, train, catalog):
        if self.weight not in train.frame:
            raise ValueError(
                f"weight names the column {self.weight!r}; the interactions have "
                f"{', '.join(train.frame)}"
            )
        weight = numbers_of(train.frame[self.weight], f"column {self.weight!r} of the interactions")
        wrong = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0)))
        if len(wrong):
            raise ValueError(
                f"{self.weight} of an interaction is a number of at least 0, got "
                f"{weight[wrong[0]]} in row {wrong[0]}"
            )
        rows = train.rows("item", catalog.items)
        total = np.bincount(rows, weight, catalog.items.size)[1:]
        return averaged(total, np.bincount(rows, minlength=catalog.items.size)[1:], self.strength)


def averaged(
    total: np.ndarray, number: np.ndarray, strength: float, overall: float | None = None
) -> np.ndarray:
    """Bayesian averages of items: float32 `[V + 1]`, of row 0 0.

    Args:
        total, number: `[V]`, the sum of what was observed, and how often.
        strength: how many observations the overall mean weighs.
        overall: the mean that items start with; None: that of these.
    """
    overall = total.sum() / number.sum() if overall is None else overall
    return np.append(0, (total + strength * overall) / (number + strength)).astype(np.float32)


def _refuse(wrong, catalog, column, values, allowed):
    if wrong.any():
        line = int(np.argmax(wrong))
        item = catalog.items.decode([line + 1])[0]
        raise ValueError(f"{column} of an item is {allowed}, got {values[line]} of {item!r}")


def strength_above_0(strength: float) -> float:
    """The strength of an average, checked."""
    if not strength > 0:
        raise ValueError(f"strength is a number above 0, got {strength!r}")
    return strength
