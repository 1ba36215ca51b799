"""What an experiment changed: lifts with confidence intervals, and whether its arms can be trusted.

Needs the extra `experiments`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from tf_recall.data.ids import is_missing, raw_ids
from tf_recall.experiments.lifts import lift, linearized, without_past
from tf_recall.experiments.plan import HOLDOUT, Plan
from tf_recall.experiments.power import adjusted, minimum_detectable

SUSPICIOUS = 0.001  # a chance below which the arms' sizes are no accident
FEWEST = 2  # users of an arm
BEFORE = "/before"  # a name that no metric has


@dataclass(frozen=True)
class Lift:
    """How a metric of an arm compares with that of the control.

    Args:
        metric, arm: what is compared.
        control, value: the metric of the control and of the arm.
        lift: value / control - 1.
        low, high: its confidence interval.
        p_value: how often an arm without effect differs as much.
        p_adjusted: the same of all comparisons of the report together, by Holm.
        detectable: the smallest lift that such users would show four times in five.
        variance_kept: the share of the variance that the covariate leaves; 1 without one.
    """

    metric: str
    arm: str
    control: float
    value: float
    lift: float
    low: float
    high: float
    p_value: float
    p_adjusted: float
    detectable: float
    variance_kept: float


@dataclass(frozen=True)
class Report:
    """The lifts of an experiment, and what speaks against them.

    Args:
        experiment: its name.
        users: how many each arm has.
        lifts: of each metric and each arm but the control.
        mismatch: the p-value of the arms' sizes, beside the shares that were planned.
        warnings: in plain words.
    """

    experiment: str
    users: dict[str, int]
    lifts: list[Lift]
    mismatch: float
    warnings: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values."""
        return {**vars(self), "lifts": [vars(each) for each in self.lifts]}

    def __str__(self) -> str:
        lines = [f"{self.experiment}: " + ", ".join(f"{n} {a}" for a, n in self.users.items())]
        lines += [f"warning: {each}" for each in self.warnings]
        for each in self.lifts:
            lines.append(
                f"{each.metric:<24}{each.arm:<16}{each.value:>10.4g}{each.lift:>+9.2%} "
                f"[{each.low:+.2%}, {each.high:+.2%}]  p {each.p_value:.3g}"
                f" ({each.p_adjusted:.3g})  detectable {each.detectable:.2%}"
            )
        return "\n".join(lines)


def analyze(
    plan: Plan,
    name: str,
    log: pd.DataFrame,
    metrics: Sequence[str],
    covariate: str | None = None,
    confidence: float = 0.95,
) -> Report:
    """Compares the arms of an experiment, user by user.

    A metric is a column, summed for each user and averaged over users; or `clicks/impressions`, the
    sum of one over the sum of the other. An empty field counts as 0. Users are drawn into arms, so
    they, not rows, are independent: of a ratio the variance is that of (METHODS.md Y4)

        r + (numerator - r * denominator) / mean(denominator),   r = the ratio

    and the variance of a lift that of a quotient of two means, by the delta method. With a
    covariate from before the experiment (CUPED) each value becomes

        value - theta * (covariate - mean),   theta = cov(value, covariate) / var(covariate)

    with theta and the mean over all arms alike: the same lift in expectation, narrower by what the
    past tells.

    Args:
        plan: says who is in which arm.
        name: of an experiment, of a roll-out, or "holdout".
        log: `user_id` and the metrics, a line for each exposure or any other event of the time. An
            own column `arm` (with `experiment`, lines of others drop out) stands for the plan's,
            and is held against it.
        metrics: columns, or two with "/" between them.
        covariate: a column with one value for each user, from before the experiment.
        confidence: of the intervals.

    Raises:
        ValueError: no such experiment or column, no numbers, an arm without two users, a control
            whose metric is 0; a confidence that is not between 0 and 1.

    Paper: Deng, Xu, Kohavi, Walker, "Improving the Sensitivity of Online Controlled Experiments by
        Utilizing Pre-Experiment Data", WSDM 2013, section 3; Deng, Knoblich, Lu, "Applying the
        Delta Method in Metric Analytics", KDD 2018, section 3.

    Example:
        >>> found = analyze(plan, "wider", log, ["clicks", "clicks/impressions"])
        >>> found.lifts[0].arm
        'wider'
    """
    if not 0 < confidence < 1:
        raise ValueError(f"the confidence is between 0 and 1, such as 0.95, not {confidence}")
    experiment = plan.find(name)
    names = list(experiment.arms)
    users, warnings = _by_user(plan, name, log, metrics, covariate)
    counts = {arm: int((users["arm"] == arm).sum()) for arm in names}
    if few := [arm for arm, count in counts.items() if count < FEWEST]:
        raise ValueError(f"the log has fewer than {FEWEST} users of {', '.join(few)} of {name}")
    mismatch = _mismatch(counts, experiment.shares)
    if mismatch < SUSPICIOUS:
        planned = {arm: round(share, 4) for arm, share in experiment.shares.items()}
        warnings.append(
            f"the arms' sizes do not fit their shares, {planned}: by chance they differ as much in "
            f"{mismatch:.1g} of all experiments. Something loses users of one arm: believe no lift"
        )
    compared = [
        comparison
        for metric in metrics
        for comparison in _compared(users, names, metric, covariate, confidence)
    ]
    p_values = adjusted([each["p_value"] for each in compared], 1 - confidence)
    lifts = [Lift(p_adjusted=p, **each) for p, each in zip(p_values, compared, strict=True)]
    return Report(name, counts, lifts, mismatch, warnings)


def _by_user(plan, name, log, metrics, covariate):
    """A line for each user in an arm: sums of columns, `arm`, the covariate; and warnings."""
    columns = list(dict.fromkeys(part for metric in metrics for part in metric.split("/")))
    needed = ["user_id", *columns, *([covariate] if covariate else [])]
    if absent := [each for each in needed if each not in log]:
        raise ValueError(
            f"the log has no column {', '.join(absent)}; it has {', '.join(map(str, log))}"
        )
    if not metrics:
        raise ValueError("analyze needs a metric: a column of the log, or clicks/impressions")
    own = "arm" in log and name != HOLDOUT
    if own and "experiment" in log:
        log = log[log["experiment"] == name]
    ids = raw_ids(log["user_id"], "user_id")
    log = log[~is_missing(ids)].assign(user_id=ids[~is_missing(ids)])
    grouped = log.groupby("user_id", sort=True)
    users = pd.DataFrame(
        {each: _numbers(log, each).fillna(0).groupby(log["user_id"]).sum() for each in columns}
    )
    warnings = []
    if covariate:
        users[BEFORE] = _numbers(log, covariate).groupby(log["user_id"]).mean()
    planned = plan.arms_of(name, users.index.to_numpy())
    users["arm"] = planned
    if own:
        users["arm"] = grouped["arm"].first()
        torn = grouped["arm"].nunique() > 1
        if torn.any():
            warnings.append(f"{int(torn.sum())} users are in two arms of {name}: they are left out")
            users = users[~torn]
        elsewhere = int((users["arm"] != planned[~torn.to_numpy()]).sum())
        if elsewhere:
            warnings.append(f"{elsewhere} users are in another arm than the plan has them in")
    users = users[users["arm"].isin(list(plan.find(name).arms))]
    if covariate and (unknown := int(users[BEFORE].isna().sum())):
        warnings.append(f"{unknown} users have no {covariate}: the mean stands for it")
        users = users.fillna({BEFORE: users[BEFORE].mean()})
    return users, warnings


def _numbers(log, column):
    numbers = pd.to_numeric(log[column], errors="coerce").astype(float)
    wrong = np.flatnonzero(numbers.isna() & log[column].notna())
    if wrong.size:
        raise ValueError(f"{column} must hold numbers, not {log[column].iloc[wrong[0]]!r}")
    return numbers


def _mismatch(counts, shares):
    """The p-value of the arms' sizes."""
    observed = np.array([counts[arm] for arm in shares], float)
    share = np.array(list(shares.values()))
    return float(stats.chisquare(observed, share / share.sum() * observed.sum()).pvalue)


def _compared(users, names, metric, covariate, confidence):
    """The comparisons of one metric, as `Lift` takes them."""
    top, _, bottom = metric.partition("/")
    values = {
        arm: linearized(of[top].to_numpy(), of[bottom].to_numpy() if bottom else None, metric)
        for arm in names
        for of in [users[users["arm"] == arm]]
    }
    before = {arm: users.loc[users["arm"] == arm, BEFORE].to_numpy() for arm in names if covariate}
    plain = sum(each.var(ddof=1) * len(each) for each in values.values())
    values = without_past(values, before) if covariate else values
    kept = sum(each.var(ddof=1) * len(each) for each in values.values())
    control = values[names[0]]
    for arm in names[1:]:
        yield {
            "metric": metric,
            "arm": arm,
            "control": float(control.mean()),
            "value": float(values[arm].mean()),
            **lift(control, values[arm], metric, confidence),
            "detectable": minimum_detectable(control, len(values[arm]), alpha=1 - confidence),
            "variance_kept": float(kept / plain) if plain else 1.0,
        }
