"""The search for a better config, from one call."""

import contextlib
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tqdm.auto import tqdm

from tf_recall.config import SEARCHES, Config
from tf_recall.data.arguments import check
from tf_recall.data.atomic import atomic_file
from tf_recall.data.ranges import NumberAbove0, WholeFrom1
from tf_recall.runs.claim import claimed
from tf_recall.runs.rehearsal import check_writable
from tf_recall.tuning import report
from tf_recall.tuning.plots import plot
from tf_recall.tuning.report import Tuned
from tf_recall.tuning.space import Space
from tf_recall.tuning.study import DRAWN, FILE, begin, number_of, opened, optuna_of
from tf_recall.tuning.trial import Material
from tf_recall.tuning.worker import CONFIG, work

log = logging.getLogger("tf_recall")

TRIALS = 30  # where neither trials nor minutes are given
SECONDS = 0.5  # between two looks at the workers


def tune(
    config: Config | str | Path,
    trials: WholeFrom1 | None = None,
    minutes: NumberAbove0 | None = None,
    jobs: WholeFrom1 = 1,
    out: str | Path = SEARCHES,
    resume: bool = False,
) -> Tuned:
    """Searches for a better config; the first trial is the config as it stands.

    Trials are compared by `train.monitor` on the validation part, in the best epoch of each; the
    test part is not looked at. Channels are compared by the list that they are merged to; a
    `marginal_rank` learns on the validation part itself, so its figure there is a little high. What
    is searched: see `Space`.

    A poor trial is pruned by its first epochs; one that fails is noted with its reason. Dozens of
    trials are compared by one validation part, so the best figure is a little high: judge the
    config that comes out by its test part.

    `<out>/<config.name>` holds the study (`study.db`), `best.yaml`, which `train` takes and which
    gives the same figure again, `trials.parquet` and `trials.csv`, and the plots `history.png`,
    `importance.png`, `slices.png`. It is kept up to date, so that a process that is killed loses no
    more than the running trial, and that one is run again.

    Args:
        config: a `Config`, a YAML file, or the name of a config that comes with the package.
        trials: how many trials the study should have, those of earlier calls included; by default
            30, or as many as there is time for.
        minutes: how long trials are begun; those that run then are trained to their end.
        jobs: how many processes search at once, each with its share of the cores.
        out: the folder of all searches.
        resume: go on with the study of an earlier call.

    Raises:
        ValueError: as `Space.of` and `Material.of`; there is a study of this name, or another
            process holds it, or its config or data differ; all trials failed.
        ImportError: Optuna is not installed.
        OSError: a file cannot be read or written.
        KeyboardInterrupt: it was interrupted; the message says how to go on.

    Example:
        >>> tuned = tune("two_tower_movielens", trials=20)
        >>> tuned.value >= tuned.start, tuned.best
    """
    for name, kind, value in (
        ("trials", WholeFrom1 | None, trials),
        ("minutes", NumberAbove0 | None, minutes),
        ("jobs", WholeFrom1, jobs),
    ):
        check(name, kind, value)
    optuna_of()  # before the work
    config = config if isinstance(config, Config) else Config.load(config)
    trials = TRIALS if trials is None and minutes is None else trials
    Space.of(config)  # for its errors: the data may take long to read
    folder = Path(out) / config.name
    _check_new(folder, resume)
    check_writable(folder)
    if jobs > 1:  # before this process takes a whole GPU
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    material = Material.of(config)
    space = Space.of(config, material.split, material.catalog)
    with claimed(folder, resume=True):
        _check_new(folder, resume)  # nobody else has begun one meanwhile
        data = material.fingerprint
        study = opened(folder, config.train.seed, jobs, trials)
        begin(study, space, data)
        with atomic_file(folder / CONFIG) as aside:
            config.save(aside)
        until = None if minutes is None else time.time() + 60 * minutes
        search = _Search(study, space, folder, trials, until)
        with search.shown():
            if jobs == 1:
                seed = config.train.seed + number_of(study)
                study = opened(folder, seed, jobs, trials)
                work(study, folder, space, material, trials, until, search.look)
            else:
                del material
                search.share(jobs)
        tuned = report.write(study, space, folder)
        if tuned is None:
            report.check_any(report.table_of(study, space))
        plot(study, folder, tuned.metric)
        return tuned


def _check_new(folder, resume):
    """Refuses to begin where there is a study, and says where there is none to go on with."""
    there = (folder / FILE).is_file()
    if there and not resume:
        raise ValueError(
            f"{folder} keeps a study of this name: go on with --resume, or choose another name or "
            "--out"
        )
    if resume and not there:
        log.warning("nothing to resume in %s: the search begins anew", folder)


class _Search:
    """A search that runs: its bar, its files and its workers."""

    def __init__(self, study, space, folder, trials, until):
        self.study = study
        self.space = space
        self.folder = folder
        self.trials = trials
        self.until = until
        self.bar = None

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Shows how far it is and the best so far; says how to go on where it is interrupted."""
        done = len(report.table_of(self.study, self.space))
        with tqdm(total=self.trials, initial=done, unit="trial", desc="tune") as self.bar:
            try:
                yield
            except KeyboardInterrupt:
                raise KeyboardInterrupt(
                    f"interrupted after {self.bar.n} trials: go on with --resume"
                ) from None

    def look(self) -> None:
        """Brings the files and the bar up to date."""
        tuned = report.write(self.study, self.space, self.folder)
        self.bar.n = len(report.table_of(self.study, self.space))
        if tuned is not None:
            start = "failed" if tuned.start is None else f"{tuned.start:.4f}"
            best = f"best {tuned.metric} {tuned.value:.4f} (start {start})"
            self.bar.set_postfix_str(best, refresh=False)
        self.bar.refresh()

    def share(self, jobs: int) -> None:
        """Runs the trials in several processes.

        Raises:
            ValueError: a process ended before it ran a trial; the message has its last line.
        """
        begun = number_of(self.study)
        workers = {number: _Worker(self, number, jobs, begun) for number in range(jobs)}
        try:
            while workers:
                time.sleep(SECONDS)
                for number, worker in list(workers.items()):
                    if worker.process.poll() is not None:
                        del workers[number]
                        if self._was_running(worker):
                            workers[number] = _Worker(self, number, jobs, begun)
                        elif worker.process.returncode:
                            said = f"a process of the search ended: {worker.said()}"
                            if not workers:
                                raise ValueError(said)
                            log.warning("%s; the others go on", said)
                self._look_where_new()
        finally:
            for worker in workers.values():
                worker.process.kill()
            for path in self.folder.glob("worker_*.log"):
                path.unlink()

    def _look_where_new(self):
        if len(report.table_of(self.study, self.space)) != self.bar.n:
            self.look()

    def _was_running(self, worker):
        """Whether a process that ended has left a trial, which then has failed."""
        running = optuna_of().trial.TrialState.RUNNING
        left = [
            trial
            for trial in self.study.get_trials(deepcopy=False, states=[running])
            if trial.user_attrs.get(DRAWN, {}).get("worker") == worker.number
        ]
        for trial in left:
            self.study.tell(trial.number, state=optuna_of().trial.TrialState.FAIL)
        return bool(left)


class _Worker:
    """A process that runs trials; it ends with this one, since its input does."""

    def __init__(self, search, number, jobs, begun):
        self.number = number
        self.log = search.folder / f"worker_{number}.log"
        threads = max(1, (os.cpu_count() or 1) // jobs)
        task = {
            "folder": str(search.folder),
            "worker": number,
            "jobs": jobs,
            "threads": threads,
            "begun": begun,
            "trials": search.trials,
            "until": search.until,
        }
        paths = [path for path in sys.path if path]
        settings = {
            "OMP_NUM_THREADS": str(threads),
            "PYTHONPATH": os.pathsep.join(paths),
            "TF_CPP_MIN_LOG_LEVEL": "2",
        }
        with open(self.log, "w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tf_recall.tuning.worker", json.dumps(task)],
                env={**os.environ, **settings},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for this process, which ends them
            )

    def said(self) -> str:
        """The last line that it wrote."""
        lines = self.log.read_text(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "it wrote nothing")
