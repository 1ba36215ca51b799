"""What the command line does with a config or an export, of one model or of several channels."""

import contextlib
import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tf_recall.config import MODELS, Config
from tf_recall.data.catalog import Catalog
from tf_recall.evaluation.report import Report
from tf_recall.export import items, lineage
from tf_recall.export.load import load, restore
from tf_recall.export.versions import clear, version_folder, versions
from tf_recall.export.write import check_place, save
from tf_recall.recommend.base import Recommender
from tf_recall.recommend.service import Service
from tf_recall.registry import part
from tf_recall.retrievers.distribution import is_chief, wait_for_all
from tf_recall.runs import doctor
from tf_recall.runs.advice import (
    as_findings,
    before_training,
    check_beside_popularity,
    check_validation,
    findings_of,
)
from tf_recall.runs.callbacks import saved_epochs
from tf_recall.runs.channels import MultiReport, measure_channels, run_channels, save_channels
from tf_recall.runs.claim import claimed, remove
from tf_recall.runs.measure import measure
from tf_recall.runs.model import run_model, save_model
from tf_recall.runs.prepared import Prepared
from tf_recall.runs.rehearsal import check_writable
from tf_recall.runs.start import config_of, digest_of

log = logging.getLogger("tf_recall")


@dataclass(frozen=True)
class Trained:
    """What a run leaves.

    Args:
        path: the export; None in a worker process that is not the chief.
        report: the figures on the test part.
        service: the recommender that was measured.
        findings: what may spoil the figures, each with what to try.
    """

    path: Path | None
    report: Report | MultiReport
    service: Recommender
    findings: Sequence[doctor.Finding] = ()

    def summary(self) -> dict:
        """Plain values, fit for JSON."""
        return {
            **self.report.to_dict(),
            **as_findings(self.findings),
            "model": self.path and str(self.path),
        }


def train(
    config: Config,
    out: str | Path = MODELS,
    resume: bool = False,
    tensorboard: str | Path | None = None,
) -> Trained:
    """Runs a config: reads and splits the data, trains, evaluates beside popularity, exports.

    Whatever can be known to be wrong is refused before training. Checkpoints stand in
    `<out>/<config.name>/checkpoints` until the export is written.

    Args:
        config: a `Config`, with a `model` or with `channels`.
        out: the model repository; the export goes to `<out>/<config.name>/<version>`.
        resume: go on from the checkpoints of a run that was interrupted, or whose export failed.
        tensorboard: a folder for TensorBoard's logs, or None.

    Raises:
        ValueError: see `Prepared.of`; another process trains under this name; there is nothing to
            resume, or its data, split, model or training differ; a checkpoint is damaged.
        OSError: a file cannot be read or written; the message says what is kept.
        KeyboardInterrupt: it was interrupted; the message says how to go on.

    Example:
        >>> trained = train(Config.load("two_tower_movielens"))
        >>> trained.report.metrics["recall@20"], trained.path
    """
    directory = Path(out) / config.name
    checkpoints = directory / "checkpoints"
    check_place(directory)
    if resume:
        _check_resumable(directory, checkpoints)
    prepared = Prepared.of(config)
    if config.channels is None:
        run, report_on, export = run_model, measure, save_model
    else:
        run, report_on, export = run_channels, measure_channels, save_channels
    chief = is_chief(prepared.strategy)
    path = None
    if chief:
        _check_outputs(directory, tensorboard)
    with (
        claimed(checkpoints, resume) if chief else contextlib.nullcontext(),
        _going_on(checkpoints),
    ):
        wait_for_all(prepared.strategy)
        prepared, service, models = run(prepared, checkpoints, tensorboard)
        split = prepared.split
        report = report_on(service, config.evaluate, split.test, split.validation)
        prepared.note(check_beside_popularity(getattr(report, "merged", report)))
        if chief:
            path = export(service, report, directory, prepared, models)
            remove(checkpoints)
        wait_for_all(prepared.strategy)
    return Trained(path, report, service, prepared.findings)


def _check_resumable(directory, checkpoints):
    """Refuses to go on with a run that is finished, and says where there is nothing to resume."""
    if not checkpoints.is_dir() and versions(directory):
        raise ValueError(
            f"nothing to resume: {directory.name} is finished, its export is "
            f"{version_folder(directory)}; train without --resume for a new version"
        )
    if not _are_kept(checkpoints):
        log.warning("nothing to resume in %s: training begins anew", directory)


def _are_kept(checkpoints):
    """Whether there is a checkpoint, of one model or of any channel."""
    return any(saved_epochs(folder) for folder in (checkpoints, *checkpoints.glob("*/")))


def _check_outputs(directory, tensorboard=None):
    """Whether what is written after training, or meanwhile, can be written; clears what killed
    processes left of exports.
    """
    check_writable(directory)
    if tensorboard is not None:
        check_writable(tensorboard)
    clear(directory)


@contextlib.contextmanager
def _going_on(checkpoints):
    """Says how to go on with a run that is interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        kept = "go on with --resume" if _are_kept(checkpoints) else "no epoch was finished"
        raise KeyboardInterrupt(f"interrupted: {kept}") from None


def evaluate(config: Config, path: str | Path) -> Report | MultiReport:
    """Evaluates an export on the test part of a config, beside popularity.

    Args:
        config: a `Config`; its data, split and `evaluate` are used.
        path: as for `load`.

    Raises:
        FileNotFoundError: there is no export, or it was written without its training catalog.
        ValueError: it knows nothing of the config's data.
    """
    recommender = _loaded(path)
    split = config.make_split()
    split = _as_learned(path, recommender.catalog, split)
    report_on = measure_channels if recommender.sources else measure
    return report_on(recommender, config.evaluate, split.test, split.validation)


def diagnose(config: Config, path: str | Path | None = None) -> list[doctor.Finding]:
    """Looks for what would spoil a model: in the data, in numeric features, in an export's answers.

    Args:
        config: a `Config`.
        path: an export to look at too, as for `load`, or None.

    Raises:
        FileNotFoundError: there is no export, or it was written without its training catalog.
        ValueError: the export knows nothing of the config's data.
    """
    recommender = path and _loaded(path)  # before the data, which may take long to read
    found = findings_of(version_folder(path)) if path else []
    split = config.make_split()
    catalog = Catalog.fit(split.train)
    findings = doctor.check_split(split) + doctor.check_items(split.train.items)
    if config.model is not None:
        model = config.make_model().adapt(split.train, catalog)
        findings += doctor.check_numerics(doctor.numerics(model, split, catalog))
        findings += before_training(model, split.train) + check_validation(config, split)
    if recommender:
        _as_learned(path, recommender.catalog, split)
        findings += doctor.check_answers(recommender, catalog) + found
    return findings


def _loaded(path):
    """An export that knows the catalog that it was trained on."""
    recommender = load(path)
    if recommender.catalog is None:
        raise FileNotFoundError(f"{path} was exported without its model, and so without a catalog")
    return recommender


def _as_learned(path, catalog, split):
    """The split as an export has learned it, its validation part among the training part or not.

    Refuses data of which the export knows nothing, and says where they are not its own.
    """
    frame = split.test.frame
    try:
        known = [catalog.users.encode(frame["user_id"]), catalog.items.encode(frame["item_id"])]
    except TypeError as error:
        raise ValueError(f"{path} was trained on other data than the config's: {error}") from None
    if not any(rows.any() for rows in known):
        raise ValueError(
            f"{path} was trained on other data than the config's: it knows no user and no item of "
            "the test part"
        )
    if _is_of(catalog, split.train):
        return split
    if split.validation is not None and not split.lacking:
        together = split.together()
        if _is_of(catalog, together.train):
            return together
    log.warning("%s was trained on other data than the train part of this config", path)
    return split


def _is_of(catalog, train):
    """Whether a catalog is that of a training part."""
    fitted = Catalog.fit(train)
    same = np.array_equal(fitted.histories.items, catalog.histories.items)
    return same and fitted.identity == catalog.identity


def reindex(path: str | Path, index: dict, out: str | Path = MODELS) -> Path:
    """Exports a trained model once more, with another index over the same vectors.

    Args:
        path: an export of `train`, as for `load`.
        index: the new index as a config names it: `{name: ivf, **its arguments}`.
        out: the model repository.

    Returns:
        The new export, `<out>/<name>_<index>/<version>`.

    Raises:
        ValueError: an unknown index, or an argument it does not take; an export without its config.
        FileNotFoundError: there is no export, or it was written without its model.
        OSError: `out` cannot be written to.
    """
    made = part("index", index)
    path = version_folder(path)
    config = replace(config_of(path), index=index)
    config = replace(config, name=f"{config.name}_{config.index['name']}")
    directory = Path(out) / config.name
    check_place(directory)
    _check_outputs(directory)
    model, catalog = restore(path)
    k_max = {} if config.k_max is None else {"k_max": config.k_max}
    service = Service.build(model, catalog, made, **k_max)
    metrics = json.loads((path / "metrics.json").read_text())
    entries = lineage.derived(path, config.to_dict(), digest_of(path))
    table = path / items.FILE  # the catalog that was kept has none

    def beside(folder):
        lineage.write(folder, entries)
        if table.is_file():
            shutil.copy2(table, folder)

    return save(
        service,
        directory,
        config=config.to_dict(),
        metrics={**metrics, "index_recall": service.index.recall},
        model=model,
        extra=beside,
    )
