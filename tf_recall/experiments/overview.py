"""What a plan holds at a moment, and whether what it names is there."""

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from tf_recall.experiments.buckets import text_of
from tf_recall.experiments.plan import Experiment, Plan


def overview(plan: Plan, at: datetime) -> dict[str, Any]:
    """All experiments with their shares, and which buckets of each layer are free at a moment."""
    layers = {each.layer for each in plan.experiments.values()}
    free = {}
    for layer in sorted(layers):
        running = [
            each.table >= 0
            for each in plan.experiments.values()
            if each.layer == layer and each.runs(at)
        ]
        taken = np.any([*running, np.zeros(plan.num_buckets, bool)], axis=0)
        free[layer] = text_of(np.flatnonzero(~taken))
    described = {
        "experiments": {name: _described(each, at) for name, each in plan.experiments.items()},
        "rollouts": {name: _described(each, at) for name, each in plan.rollouts.items()},
        "free": free,
    }
    if plan.holdout is not None:
        described["held_out"] = plan.holdout.shares["held_out"]
    return described


def _described(experiment: Experiment, at: datetime) -> dict[str, Any]:
    return {
        "layer": experiment.layer,
        "model": experiment.model,
        "runs": experiment.runs(at),
        "shares": experiment.shares,
    }


def pinned_by(plan: Plan) -> dict[str, set[int]]:
    """The versions that a plan names, by model."""
    pinned: dict[str, set[int]] = {}
    for _, target in plan.targets():
        if target.version is not None:
            pinned.setdefault(target.model, set()).add(target.version)
    return pinned


def missing_in(plan: Plan, folder: str | Path) -> str:
    """What the plan names and a folder of exports lacks, in a sentence; "" where all is there.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    from tf_recall.export.versions import versions

    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder: give one of exports, saved_models/")
    return missing(plan, {each.name: versions(each) for each in folder.iterdir() if each.is_dir()})


def missing(plan: Plan, served: dict[str, list[int]]) -> str:
    """What the plan names and nobody serves, in a sentence; "" where all is there.

    Args:
        plan: the plan.
        served: versions by model.
    """
    for key, target in plan.targets():
        there = served.get(target.model, [])
        if not there:
            known = ", ".join(sorted(name for name, has in served.items() if has)) or "none"
            return f"{key} names the model {target.model!r}; there are: {known}"
        if target.version is not None and target.version not in there:
            return (
                f"{key} names version {target.version} of {target.model!r}; it has: "
                f"{', '.join(map(str, sorted(there)))}"
            )
    return ""
