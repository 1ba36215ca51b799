"""Runs trials one after the other; `python -m tf_recall.tuning.worker` is one of several."""

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tf_recall.config import Config
from tf_recall.data.errors import one_line
from tf_recall.tuning.space import Space
from tf_recall.tuning.study import START, claim, opened, optuna_of
from tf_recall.tuning.trial import Material, measured, quiet

if TYPE_CHECKING:
    import optuna

CONFIG = "config.yaml"
KILLED = "its process was killed, or ran out of memory"


def work(
    study: "optuna.Study",
    folder: str | Path,
    space: Space,
    material: Material,
    trials: int | None,
    until: float | None,
    after: Callable[[], None] = lambda: None,
    worker: int = 0,
) -> None:
    """Runs trials until there are enough of them, or no time is left to begin one.

    Args:
        study, folder: the study and its folder.
        space: what is searched.
        material: the data.
        trials: how many trials the study should have; None: any number.
        until: the time (`time.time()`) after which none is begun; None: any.
        after: called after each trial.
        worker: the number of this process.
    """
    while until is None or time.time() < until:
        trial = claim(study, folder, trials)
        if trial is None:
            return
        trial.set_user_attr("worker", worker)
        trial.set_user_attr("reason", KILLED)  # unless it ends
        _run(study, trial, space, material)
        after()


def _run(study, trial, space, material):
    """Runs a trial; whatever fails it is its reason."""
    optuna = optuna_of()
    states = optuna.trial.TrialState
    start = time.perf_counter()
    state, value, reason = states.FAIL, None, None
    try:
        config, epochs = _config_of(trial, space), None
        twin = _twin(study, trial)
        if twin is None:
            with quiet():
                figure = measured(config, material, _pruned_where_poor(trial))
            state, value, epochs = states.COMPLETE, figure.value, figure.epochs
        else:
            state, value, epochs = twin.state, twin.value, twin.user_attrs.get("epochs")
            reason = f"as trial {twin.number}"
        trial.set_user_attr("epochs", epochs)
    except optuna.TrialPruned:
        state = states.PRUNED
    except Exception as error:  # a combination that is refused, no memory, no finite loss
        said = error if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        reason = one_line(ValueError(said))[:1000]
    trial.set_user_attr("reason", reason)
    trial.set_user_attr("seconds", round(time.perf_counter() - start, 3))
    study.tell(trial, value if state == states.COMPLETE else None, state)


def _config_of(trial, space):
    """The config of a trial; what was drawn is noted in it."""
    if START in trial.user_attrs:
        changes, values, config = [], space.suggest_start(trial), space.begun()
    else:
        changes, values = space.suggest(trial)
        config = space.changed(changes)
    trial.set_user_attr("values", values)
    trial.set_user_attr("changes", [[list(place), value] for place, value in changes])
    return config


def _twin(study, trial):
    """An earlier trial of the same config that was trained to its end; None where there is none."""
    states = optuna_of().trial.TrialState
    own = json.loads(json.dumps(trial.user_attrs["changes"]))
    for each in study.get_trials(deepcopy=False, states=[states.COMPLETE]):
        if own and each.user_attrs.get("changes") == own:
            return each
    return None


def _pruned_where_poor(trial):
    """Ends a trial that is poor beside the others at the same epoch."""
    optuna = optuna_of()

    def after(epoch, value):
        trial.report(value, epoch)
        if START not in trial.user_attrs and trial.should_prune():
            trial.set_user_attr("epochs", epoch + 1)
            raise optuna.TrialPruned

    return after


def main(task: dict) -> None:
    """A process of its own: the same study, the config of its folder, a share of the cores.

    Args:
        task: `folder`, `worker`, `jobs`, `threads`, `trials`, `until`.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.getLogger("tf_recall").setLevel(logging.ERROR)
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(task["threads"])
    tf.config.threading.set_inter_op_parallelism_threads(task["threads"])
    config = Config.load(Path(task["folder"]) / CONFIG)
    space, material = Space.of(config), Material.of(config)
    seed = config.train.seed + 1000 * (task["worker"] + 1) + task["begun"]
    study = opened(task["folder"], seed, task["jobs"], task["trials"])
    limits = task["trials"], task["until"]
    work(study, task["folder"], space, material, *limits, worker=task["worker"])


def _end_with_parent():
    """Ends this process when the one that started it does: its pipe closes, `kill -9` included."""
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
