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
from tf_recall.tuning.study import DRAWN, ENDED, START, claim, opened, optuna_of
from tf_recall.tuning.trial import Material, measured, quiet

if TYPE_CHECKING:
    import optuna

CONFIG = "config.yaml"
LONGEST = 1000  # letters of a reason


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
        _run(study, trial, space, material, worker)
        after()


def _run(study, trial, space, material, worker):
    """Runs a trial; whatever fails it is its reason."""
    optuna = optuna_of()
    states = optuna.trial.TrialState
    start = time.perf_counter()
    state, value, reason, epochs = states.FAIL, None, None, _Epochs(trial)
    try:
        config, drawn = _config_of(trial, space)
        trial.set_user_attr(DRAWN, {**drawn, "worker": worker})
        twin = _twin(study, drawn)
        if twin is None:
            with quiet():
                figure = measured(config, material, epochs)
            state, value = states.COMPLETE, figure.value
        else:
            state, value, reason = states.COMPLETE, twin.value, f"as trial {twin.number}"
            epochs.number = twin.user_attrs[ENDED]["epochs"]
    except optuna.TrialPruned:
        state = states.PRUNED
    except Exception as error:  # a combination that is refused, no memory, no finite loss
        said = error if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        reason = one_line(ValueError(said))[:LONGEST]
    seconds = round(time.perf_counter() - start, 3)
    ended = {"epochs": epochs.number, "seconds": seconds, "reason": reason}
    trial.set_user_attr(ENDED, ended)
    study.tell(trial, value, state)


def _config_of(trial, space):
    """The config of a trial, and what was drawn for it."""
    if START in trial.user_attrs:
        changes, values, config = [], space.suggest_start(trial), space.config
    else:
        changes, values = space.suggest(trial)
        config = space.changed(changes)
    changes = [[list(place), value] for place, value in changes]
    return config, {"values": values, "changes": changes}


class _Epochs:
    """Reports a trial's epochs, and ends it where it is poor beside the others at the same one."""

    def __init__(self, trial):
        self.trial = trial
        self.number = None

    def __call__(self, epoch, value):
        self.number = epoch + 1
        self.trial.report(value, epoch)
        if START not in self.trial.user_attrs and self.trial.should_prune():
            raise optuna_of().TrialPruned


def _twin(study, drawn):
    """An earlier trial of the same config that was trained to its end; None where there is none."""
    states = optuna_of().trial.TrialState
    own = json.loads(json.dumps(drawn["changes"]))
    for each in study.get_trials(deepcopy=False, states=[states.COMPLETE]):
        if own and each.user_attrs[DRAWN]["changes"] == own:
            return each
    return None


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
    material = Material.of(config)
    space = Space.of(config, material.split, material.catalog)
    seed = config.train.seed + 1000 * (task["worker"] + 1) + task["begun"]
    study = opened(task["folder"], seed, task["jobs"], task["trials"])
    limits = task["trials"], task["until"]
    work(study, task["folder"], space, material, *limits, worker=task["worker"])


def _end_with_parent():
    """Ends this process when the one that started it does: its pipe closes, `kill -9` included."""
    os.read(0, 1)  # of the descriptor: a buffer's lock would be in the way of this one's end
    os._exit(1)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
