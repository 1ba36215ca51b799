"""The arithmetic of lifts: values of users, less what the past tells, and intervals."""

import numpy as np
from scipy import stats


def linearized(
    numerator: np.ndarray, denominator: np.ndarray | None, metric: str = "the metric"
) -> np.ndarray:
    """Values of users whose mean is the metric, and whose variance gives the metric's.

    Args:
        numerator, denominator: sums of each user `[n]`; no denominator: an average over users.
        metric: its name, for an error.

    Raises:
        ValueError: the denominator is 0 in all, or below 0 somewhere.
    """
    if denominator is None:
        return np.asarray(numerator, float)
    if (denominator < 0).any() or not denominator.sum():
        raise ValueError(f"{metric}: what is divided by must be 0 or more, and not 0 in all")
    ratio = numerator.sum() / denominator.sum()
    return ratio + (numerator - ratio * denominator) / denominator.mean()


def without_past(
    values: dict[str, np.ndarray], before: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """CUPED: values less what a covariate from before the experiment tells of them.

    Args:
        values, before: of the users of each arm, `[n]` by arm.
    """
    mean = np.concatenate(list(before.values())).mean()
    spread = sum(((x - x.mean()) ** 2).sum() for x in before.values())
    both = sum(((x - x.mean()) * values[arm]).sum() for arm, x in before.items())
    theta = both / spread if spread else 0.0
    return {arm: values[arm] - theta * (x - mean) for arm, x in before.items()}


def lift(
    control: np.ndarray, values: np.ndarray, metric: str = "the metric", confidence: float = 0.95
) -> dict[str, float]:
    """How much the mean of some users is above that of others: lift, low, high, p_value.

    By the delta method, with c and v the means and their variances:

        var(v / c) = var(v) / c^2 + v^2 var(c) / c^4

    Args:
        control, values: of each user.
        metric: its name, for an error.
        confidence: of the interval.

    Raises:
        ValueError: the control's mean is not above 0: nothing is a share of it.
    """
    c, v = control.mean(), values.mean()
    if not c > 0:
        raise ValueError(f"{metric} of the control is {c:.3g}: a lift needs one above 0")
    variance = values.var(ddof=1) / len(values) / c**2
    variance += v**2 * control.var(ddof=1) / len(control) / c**4
    error, found = float(np.sqrt(variance)), float(v / c - 1)
    reach = stats.norm.ppf(0.5 + confidence / 2) * error
    p_value = 2 * stats.norm.sf(abs(found) / error) if error else float(found == 0)
    return {
        "lift": found,
        "low": found - float(reach),
        "high": found + float(reach),
        "p_value": float(p_value),
    }
