"""How small an effect can be seen, and how many users that takes; by statsmodels."""

from collections.abc import Sequence

import numpy as np


def minimum_detectable(
    control: np.ndarray, num: int, alpha: float = 0.05, power: float = 0.8
) -> float:
    """The smallest lift that a comparison would show, as a share of the control's mean.

    Args:
        control: the metric of each user of the control.
        num: how many users the arm has.
        alpha: how often an arm without effect may seem to have one.
        power: how often one with this lift shows it.

    Raises:
        ValueError: a control whose mean is not above 0.

    Example:
        >>> round(minimum_detectable(np.tile([0.0, 2.0], 5000), num=10_000), 3)
        0.04
    """
    effect = _power().solve_power(
        nobs1=len(control), ratio=num / len(control), alpha=alpha, power=power
    )
    return float(effect * control.std(ddof=1) / _mean_above_0(control))


def users_needed(control: np.ndarray, lift: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """How many users each of two equal arms needs to show a lift.

    Args:
        control: the metric of each user, from before the experiment.
        lift: as a share of the mean, such as 0.01.
        alpha, power: as of `minimum_detectable`.

    Raises:
        ValueError: no lift, or a control whose mean is not above 0.

    Example:
        >>> users_needed(np.tile([0.0, 2.0], 5000), lift=0.04)
        9814
    """
    if not lift:
        raise ValueError("no number of users shows a lift of 0")
    effect = abs(lift) * _mean_above_0(control) / control.std(ddof=1)
    return int(np.ceil(_power().solve_power(effect_size=effect, alpha=alpha, power=power)))


def adjusted(p_values: Sequence[float], alpha: float = 0.05) -> list[float]:
    """P-values of several comparisons, each raised so that all together are wrong as seldom as one.

    By Holm's method, whatever the comparisons have in common.

    Example:
        >>> adjusted([0.01, 0.04])
        [0.02, 0.04]
    """
    return _statsmodels("stats.multitest").multipletests(p_values, alpha, "holm")[1].tolist()


def _mean_above_0(control):
    mean = control.mean()
    if not mean > 0:
        raise ValueError(
            f"a lift is a share of the control's mean: it must be above 0, not {mean:.3g}"
        )
    return mean


def _power():
    return _statsmodels("stats.power").TTestIndPower()


def _statsmodels(module):
    import importlib

    try:
        return importlib.import_module(f"statsmodels.{module}")
    except ImportError as error:
        raise ImportError(
            f"the analysis needs {error.name}, which is not installed: pip install "
            "'tf_recall[experiments]'"
        ) from error
