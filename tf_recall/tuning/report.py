"""What a search leaves: the best config, a table of trials, and its figures."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from tf_recall.config import Config
from tf_recall.data.atomic import atomic_file
from tf_recall.tuning.space import Space
from tf_recall.tuning.study import DRAWN, ENDED, START, optuna_of

if TYPE_CHECKING:
    import optuna

BEST = "best.yaml"
TABLE = "trials"
KILLED = "its process was killed, or ran out of memory"
STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}


@dataclass(frozen=True)
class Tuned:
    """What a search found.

    Args:
        metric: what trials are compared by, on the validation part.
        best: the best trial's values by name, as `tune` has them; those of the config, where it is
            the best as it stands.
        value: its metric.
        start: the metric of the config as it stands; None where it failed.
        trials: a line a trial: `number`, `state` (complete, pruned, failed), `value` (of a pruned
            one the best so far), `epochs`, `seconds`, `reason`, and each value by name, a choice by
            its label; missing where the trial had no such value.
        config: the best config.
        path: where it stands, `<out>/<name>/best.yaml`.
    """

    metric: str
    best: dict
    value: float
    start: float | None
    trials: pd.DataFrame
    config: Config
    path: Path

    def summary(self) -> dict:
        """Plain values, fit for JSON."""
        states = self.trials["state"].value_counts()
        return {
            "metric": self.metric,
            "value": self.value,
            "start": self.start,
            "best": self.best,
            "trials": len(self.trials),
            "pruned": int(states.get("pruned", 0)),
            "failed": int(states.get("failed", 0)),
            "config": str(self.path),
        }

    def __str__(self) -> str:
        start = "failed" if self.start is None else f"{self.start:.4f}"
        lines = [f"{self.metric} {self.value:.4f}, at the start {start}"]
        return "\n".join([*lines, *(f"  {key}: {each}" for key, each in self.best.items())])


def table_of(study: "optuna.Study", space: Space) -> pd.DataFrame:
    """The trials that ended, a line each, as `Tuned` has them."""
    lines = []
    for trial in study.get_trials(deepcopy=False):
        if trial.state.name in STATES:
            ended = trial.user_attrs.get(ENDED, {"reason": KILLED})
            values = trial.user_attrs.get(DRAWN, {}).get("values", {})
            values = {key: "null" if each is None else each for key, each in values.items()}
            lines.append(
                {
                    "number": trial.number,
                    "state": STATES[trial.state.name],
                    "value": _value(trial),
                    "epochs": ended.get("epochs"),
                    "seconds": ended.get("seconds"),
                    "reason": ended.get("reason"),
                    **values,
                }
            )
    columns = ["number", "state", "value", "epochs", "seconds", "reason"]
    names = dict.fromkeys(each.name for each in space.every())
    table = pd.DataFrame(lines, columns=[*columns, *names])
    types = {"value": "float64", "epochs": "Int64", "seconds": "float64"}
    return table.astype(types)


def _value(trial):
    """The metric of a trial, of a pruned one the best so far."""
    if trial.state.name == "COMPLETE":
        return trial.value
    return max(trial.intermediate_values.values(), default=None)


def best_of(study: "optuna.Study") -> "optuna.trial.FrozenTrial | None":
    """The best trial that was trained to its end, the first of equal ones; None so far."""
    states = [optuna_of().trial.TrialState.COMPLETE]
    done = study.get_trials(deepcopy=False, states=states)
    return max(done, key=lambda trial: (trial.value, -trial.number), default=None)


def write(study: "optuna.Study", space: Space, folder: Path) -> Tuned | None:
    """Writes the best config and the table, each aside, and gives what was found so far."""
    table = table_of(study, space)
    with atomic_file(folder / f"{TABLE}.csv") as aside:
        table.to_csv(aside, index=False)
    with atomic_file(folder / f"{TABLE}.parquet") as aside:
        _one_type(table).to_parquet(aside, index=False)
    best = best_of(study)
    if best is None:
        return None
    is_start = START in best.user_attrs
    changes = [(tuple(place), value) for place, value in best.user_attrs[DRAWN]["changes"]]
    config = space.config if is_start else space.changed(changes)
    with atomic_file(folder / BEST) as aside:
        config.save(aside)
    started = [each.value for each in study.get_trials(deepcopy=False) if START in each.user_attrs]
    start = next((value for value in started if value is not None), None)
    values = best.user_attrs[DRAWN]["values"]
    metric = config.train.monitor
    return Tuned(metric, values, best.value, start, table, config, folder / BEST)


def check_any(table: pd.DataFrame) -> None:
    """Refuses a search in which every trial failed.

    Raises:
        ValueError: why the first one did; or no trial ended.
    """
    failed = table[table["state"] == "failed"]
    if not len(failed):
        raise ValueError("no trial was trained to its end: give more --trials or --minutes")
    raise ValueError(
        f"all {len(failed)} trials failed, the first because: {failed['reason'].iloc[0]}"
    )


def _one_type(table):
    """The table with columns of one type each: choices of several types become text."""
    mixed = {
        name: column.map(lambda value: value if value is None else str(value))
        for name, column in table.items()
        if column.dtype == object and len({type(each) for each in column.dropna()}) > 1
    }
    return table.assign(**mixed)
