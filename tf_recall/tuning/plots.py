"""Plots of a search: how it went, what mattered, and how each value did."""

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tf_recall.data.atomic import atomic_file
from tf_recall.data.errors import one_line
from tf_recall.tuning.study import optuna_of

if TYPE_CHECKING:
    import optuna

log = logging.getLogger("tf_recall")

FEWEST = 4  # trials trained to their end


def plot(study: "optuna.Study", folder: Path, metric: str) -> None:
    """Writes `history.png`, `importance.png` and `slices.png`; says why where one is missing.

    Importance is that of PED-ANOVA: how far the best trials' values are from the others', one value
    at a time.

    Args:
        study: the study.
        folder: where to write.
        metric: what trials are compared by.

    Paper: Watanabe et al. 2023, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in
        Arbitrary Subspaces".
    """
    optuna = optuna_of()
    done = study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
    if len(done) < FEWEST:
        log.info(
            "no plots: %d trials were trained to their end, and they need %d", len(done), FEWEST
        )
        return
    try:
        import optuna.visualization.matplotlib as draw
        from matplotlib import pyplot
    except ImportError as error:
        log.info("no plots: %s; pip install 'tf-recall[tune]'", error)
        return
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    names = [name for name in _drawn(done) if len(_drawn(done)[name]) > 1]
    plots = {
        "history": lambda: draw.plot_optimization_history(study, target_name=metric),
        "importance": lambda: draw.plot_param_importances(study, evaluator=evaluator),
        "slices": lambda: draw.plot_slice(study, names, target_name=metric),
    }
    for name, make in plots.items():
        with _without_screen(pyplot):
            _save(folder / f"{name}.png", make, pyplot)


def _drawn(trials):
    """The values that trials had, by name."""
    values = {}
    for trial in trials:
        for name, value in trial.params.items():
            values.setdefault(name, set()).add(value)
    return values


def _save(path, make: Callable, pyplot):
    """Writes one plot; what a plotting library makes of odd trials spoils no search."""
    try:
        axes = np.ravel(make())
        figure = axes[0].figure
        if len(axes) > 1:
            figure.set_size_inches(4 * len(axes), 4)
            for each in axes:  # names of choices are long
                each.tick_params(axis="x", which="both", labelrotation=30)
        with atomic_file(path) as aside:
            figure.savefig(aside, bbox_inches="tight", format="png")
    except Exception as error:
        log.info("no %s: %s", path.name, one_line(error))
    finally:
        pyplot.close("all")


@contextlib.contextmanager
def _without_screen(pyplot) -> Iterator[None]:
    """Draws into memory, whatever the notebook or the desktop has chosen."""
    before = pyplot.get_backend()
    pyplot.switch_backend("agg")
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        pyplot.switch_backend(before)
