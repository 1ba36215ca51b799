"""What users would have clicked: a new recommender judged by lists that another one showed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tf_recall.data.ids import raw_ids
from tf_recall.recommend.base import Recommender

COLUMNS = ("user_id", "item_id", "clicked", "propensity")
USERS = 1024  # asked at once
SURE = 3.0  # standard errors by which the mean weight may be off 1


@dataclass(frozen=True)
class LoggedEstimate:
    """The click rate that a new recommender would have had.

    Args:
        ips: the inverse propensity estimate: unbiased, whatever the new recommender.
        ips_error: its standard error.
        snips: the self-normalized one: nearly unbiased, and mostly with a smaller error.
        snips_error: its standard error.
        logged: the click rate of what was shown.
        mean_weight: 1, up to chance, where the propensities are right and whatever the new
            recommender shows could have been shown.
        mean_weight_error: its standard error.
        effective: how many lines of the new recommender the log is worth.
        lines: how many there are.
    """

    ips: float
    ips_error: float
    snips: float
    snips_error: float
    logged: float
    mean_weight: float
    mean_weight_error: float
    effective: float
    lines: int

    @property
    def warning(self) -> str:
        """Why the estimates are not to be believed; "" where nothing says so."""
        if abs(self.mean_weight - 1) > SURE * self.mean_weight_error:
            return (
                f"the mean weight is {self.mean_weight:.3g} and should be 1: the propensities are "
                "wrong, or the log could never show what the new recommender does"
            )
        return ""

    def __str__(self) -> str:
        said = (
            f"click rate {self.snips:.4g} +- {1.96 * self.snips_error:.2g} (SNIPS), "
            f"{self.ips:.4g} +- {1.96 * self.ips_error:.2g} (IPS); logged {self.logged:.4g}; "
            f"{self.lines} lines are worth {self.effective:.0f}"
        )
        return f"{said}\nwarning: {self.warning}" if self.warning else said


def evaluate_logged(
    recommender: Recommender, log: pd.DataFrame, k: int = 10, exclude_seen: bool = True
) -> LoggedEstimate:
    """Estimates the click rate per shown item of a recommender from lists that another one showed.

    A line is an item that was shown, and the propensity with which it was: the probability that
    the old recommender showed this item to this user, at this `position` where the log has that
    column, whatever stood before it. What is clicked depends on the user, the item and the
    position, not on the list's other items. The new recommender shows its k best, at their
    positions; without positions, one of them drawn evenly.

    Args:
        recommender: whatever answers users.
        log: `user_id`, `item_id`, `clicked` (0 or 1), `propensity`; maybe `position`, from 1, of
            which those beyond k do not count.
        k: the length of its lists.
        exclude_seen: leave out what users had seen in training.

    Raises:
        ValueError: as `estimate`; the log lacks a column, or holds no position up to k.

    Example:
        >>> shown = pd.DataFrame({"user_id": ["u1", "u2"], "item_id": ["tea", "rum"],
        ...                       "clicked": [1, 0], "propensity": [0.1, 0.1]})
        >>> estimate = evaluate_logged(popular, shown, k=118, exclude_seen=False)
    """
    if absent := [each for each in COLUMNS if each not in log]:
        raise ValueError(
            f"the log has no column {', '.join(absent)}; it has {', '.join(map(str, log))}"
        )
    position = None
    if "position" in log:
        log = log[log["position"].between(1, k)]
        if log.empty:
            raise ValueError(f"the log has no position from 1 to {k}")
        position = log["position"].to_numpy(np.int64)
    codes, users = pd.factorize(raw_ids(log["user_id"], "user_id"))
    shown = raw_ids(log["item_id"], "item_id")
    chance = np.zeros(len(log))
    for start in range(0, len(users), USERS):
        asked = users[start : start + USERS]
        items, scores = recommender.recommend(asked, k=k, exclude_seen=exclude_seen)
        lines = np.flatnonzero((codes >= start) & (codes < start + USERS))
        of = codes[lines] - start
        same = (items[of] == shown[lines, None]) & (scores[of] > -np.inf)  # [L, k]
        if position is None:
            there = np.maximum((scores[of] > -np.inf).sum(axis=1), 1)
            chance[lines] = same.any(axis=1) / there
        else:
            chance[lines] = same[np.arange(len(of)), position[lines] - 1]
    return estimate(log["clicked"], log["propensity"], chance, log["user_id"])


def estimate(
    clicked: Sequence, propensity: Sequence, chance: Sequence, group: Sequence | None = None
) -> LoggedEstimate:
    """The click rate under other chances than those by which items were shown.

        weight = chance / propensity
        ips    = mean(weight * clicked)
        snips  = sum(weight * clicked) / sum(weight)
        effective = sum(weight)^2 / sum(weight^2)

    Lines of one group may depend on each other: errors are those of sums over groups, of snips by
    the delta method.

    Args:
        clicked: `[n]`, 0 or 1.
        propensity: `[n]`, the probability by which each line was shown, above 0.
        chance: `[n]`, the probability by which the new recommender shows it.
        group: `[n]`, such as its user or its list; None: each line is its own.

    Raises:
        ValueError: no two groups; a propensity that is missing, not above 0, or above 1; a click
            that is neither 0 nor 1; a chance that is no probability, or 0 for all.

    Paper: Swaminathan, Joachims, "The Self-Normalized Estimator for Counterfactual Learning", NIPS
        2015, section 3; the delta method as in Owen, "Monte Carlo theory, methods and examples",
        2013, section 9.2.

    Example:
        >>> estimate([1, 0, 1, 0], [0.5, 0.5, 0.25, 0.5], [1, 0, 1, 1]).snips
        0.75
    """
    clicked = _within("clicked", clicked, "0 or 1", lambda each: np.isin(each, (0, 1)))
    propensity = _within(
        "propensity", propensity, "a probability above 0", lambda each: (each > 0) & (each <= 1)
    )
    chance = _within("chance", chance, "a probability", lambda each: (each >= 0) & (each <= 1))
    if not len(clicked) == len(propensity) == len(chance):
        raise ValueError("clicked, propensity and chance must be of one length")
    if not chance.any():
        raise ValueError(
            "the new recommender shows nothing of what the log shows: it says nothing of it"
        )
    codes = np.arange(len(chance)) if group is None else pd.factorize(np.asarray(group))[0]
    if codes.max() < 1:
        raise ValueError("an error needs two users at least, and the log has one")
    weight = chance / propensity
    gain, total = weight * clicked, weight.sum()
    snips = gain.sum() / total
    return LoggedEstimate(
        ips=float(gain.mean()),
        ips_error=_error(gain - gain.mean(), codes),
        snips=float(snips),
        snips_error=_error((weight * (clicked - snips)) / weight.mean(), codes),
        logged=float(clicked.mean()),
        mean_weight=float(weight.mean()),
        mean_weight_error=_error(weight - weight.mean(), codes),
        effective=float(total**2 / (weight**2).sum()),
        lines=len(weight),
    )


def _error(deviations, codes):
    """The standard error of a mean whose deviations `[n]` depend on each other within groups."""
    sums = np.bincount(codes, deviations)
    return float(np.sqrt((sums**2).sum() * len(sums) / (len(sums) - 1)) / len(deviations))


def _within(name, values, allowed, fits):
    values = pd.to_numeric(pd.Series(np.asarray(values)), errors="coerce").to_numpy(float)
    wrong = np.flatnonzero(~fits(values))
    if wrong.size or not len(values):
        got = f"{values[wrong[0]]:.4g} in line {wrong[0]}" if wrong.size else "none"
        raise ValueError(f"{name} must be {allowed}, got {got}")
    return values
