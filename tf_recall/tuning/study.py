"""A study: the trials of a search, in a file that outlives the process."""

import json
import warnings
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from tf_recall.data.atomic import locked
from tf_recall.tuning.space import Space, flat

if TYPE_CHECKING:
    import optuna

FILE = "study.db"
SETTINGS = "settings"
START = "start"  # marks the trial of the config as it stands
AGAIN = "again"  # marks a trial that repeats one whose process died
DRAWN = "drawn"  # of a trial: `values` by dimension, `changes` of the config, its `worker`
ENDED = "ended"  # and how it ended: `epochs`, `seconds`, `reason`; a killed one has none of it
WARM_UP = 2  # epochs in which no trial is pruned: who learns slowly may end higher
TRIALS = 4  # that are trained to their end before any is pruned


def optuna_of() -> ModuleType:
    """Optuna, quiet.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise ImportError(f"tune needs Optuna ({error}): pip install 'tf-recall[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna


def opened(
    folder: str | Path, seed: int, jobs: int = 1, trials: int | None = None
) -> "optuna.Study":
    """Opens the study of a folder, or begins one.

    Values are drawn by a tree-structured Parzen estimator that looks at all of them together. A
    trial is pruned where its best epoch so far is below the median of the others at that epoch: a
    rule without a rate to set, that a few dozen trials can bear, which successive halving's steps
    are too few for.

    Args:
        folder: the folder of the search.
        seed: of the draws.
        jobs: how many processes draw from it at once.
        trials: how many trials there will be; None: as many as there is time for.

    Paper: Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization", section 4.
    """
    optuna = optuna_of()
    random = 10 if trials is None else max(3, min(10, trials // 3))
    sampler = optuna.samplers.TPESampler(
        n_startup_trials=random,
        seed=seed,
        multivariate=True,
        group=True,
        constant_liar=jobs > 1,
    )
    pruner = optuna.pruners.MedianPruner(n_startup_trials=TRIALS, n_warmup_steps=WARM_UP)
    wait = {"connect_args": {"timeout": 120}}  # for another process's write
    storage = optuna.storages.RDBStorage(f"sqlite:///{Path(folder) / FILE}", engine_kwargs=wait)
    return optuna.create_study(
        storage=storage,
        sampler=sampler,
        pruner=pruner,
        study_name="tune",
        direction="maximize",
        load_if_exists=True,
    )


def begin(study: "optuna.Study", space: Space, data: str) -> None:
    """Begins a study with the config as it stands, or goes on with one of the same search.

    A trial that was running when its process died is run again, once.

    Args:
        study: the study.
        space: what is searched.
        data: the fingerprint of the data.

    Raises:
        ValueError: the study is of another search; the message lists what differs.
    """
    now = json.loads(json.dumps(_settings(space, data), default=str))
    before = study.user_attrs.get(SETTINGS)
    if before is None:
        if not study.get_trials(deepcopy=False):
            study.enqueue_trial(space.start() if space.is_start else {}, {START: True})
            if not space.is_start:  # what `tune` fixes is another config
                study.enqueue_trial(space.start())
        study.set_user_attr(SETTINGS, now)
        return
    different = [key for key in now if before.get(key) != now[key]]
    if different:
        raise ValueError(
            f"the study is of another search ({', '.join(different)} differ): tune without "
            "--resume under another name or --out"
        )
    optuna = optuna_of()
    for trial in study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.RUNNING]):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        if AGAIN not in trial.user_attrs:
            marks = {START: True} if START in trial.user_attrs else {}
            study.enqueue_trial(trial.params, {**marks, AGAIN: trial.number})


def claim(study: "optuna.Study", folder: str | Path, trials: int | None) -> "optuna.Trial | None":
    """The next trial; None where there are as many as there should be.

    Args:
        study: the study.
        folder: its folder; processes draw from it one after the other.
        trials: how many there should be; None: any number.
    """
    with locked(Path(folder) / FILE):
        if trials is not None and number_of(study) >= trials:
            return None
        return study.ask()


def number_of(study: "optuna.Study") -> int:
    """How many trials there are, done or running; one and its repetition are one."""
    waiting = optuna_of().trial.TrialState.WAITING
    all_trials = study.get_trials(deepcopy=False)
    begun = sum(trial.state != waiting for trial in all_trials)
    return begun - sum(AGAIN in trial.user_attrs for trial in all_trials)


def _settings(space, data):
    """What a search's figures depend on, by name."""
    values = space.config.to_dict()
    train = {f"train.{key}": value for key, value in values["train"].items()}
    evaluate = {f"evaluate.{key}": values["evaluate"][key] for key in ("cases", "exclude_seen")}
    keys = ("data", "split", "model", "channels", "merge", "depth", "k_max")
    return {
        **{key: values[key] for key in keys},
        **train,
        **evaluate,
        "tune": flat(space.config.tune or {}),
        "the parts' ranges": space.plain(),
        "the data's content": data,
    }
