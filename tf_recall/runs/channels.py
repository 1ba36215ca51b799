"""A run of several channels: counted or trained, merged, measured and exported."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from tf_recall.channels.multi import MultiChannel
from tf_recall.channels.rank_fusion import MarginalRank
from tf_recall.config import Evaluate
from tf_recall.data.interactions import Interactions
from tf_recall.evaluation.channel_report import ChannelReport
from tf_recall.evaluation.compare import compare
from tf_recall.evaluation.report import Report
from tf_recall.export import lineage
from tf_recall.export.write import save
from tf_recall.recommend.rankings import Ranking
from tf_recall.retrievers.base import Retriever
from tf_recall.retrievers.distribution import is_chief
from tf_recall.runs.advice import as_findings
from tf_recall.runs.claim import begin
from tf_recall.runs.measure import cases_of, measure
from tf_recall.runs.model import compiled, retrained, serve, trained
from tf_recall.runs.prepared import Prepared, TrainedChannel, named
from tf_recall.runs.refit import on_both, refits
from tf_recall.runs.rehearsal import rehearse, untrained

log = logging.getLogger("tf_recall")


@dataclass(frozen=True)
class MultiReport:
    """The figures of a merge beside popularity's, and those of its channels side by side.

    Args:
        merged: the merge, beside popularity.
        channels: the channels, beside one another.
    """

    merged: Report
    channels: ChannelReport

    def __str__(self) -> str:
        return f"{self.merged}\n\n{self.channels}"

    def to_dict(self) -> dict:
        """Plain dicts and numbers, fit for JSON."""
        return {**self.merged.to_dict(), "channels": self.channels.to_dict()}


def run_channels(
    prepared: Prepared, checkpoints: Path, tensorboard: str | Path | None = None
) -> tuple[Prepared, MultiChannel, dict[str, Retriever]]:
    """Fits each channel and merges them.

    With `train.refit` all are fitted again on the training and the validation part; the merge keeps
    what it has learned from the validation part, which was new to the channels then.

    Args:
        prepared: a prepared config with `channels`.
        checkpoints: the folder of the checkpoints; in it each trained channel has a folder.
        tensorboard: a folder for TensorBoard's logs, or None; in it each trained channel has one.

    Returns:
        What the channels have learned from, they as one, and the trained models by channel.
    """
    split, catalog = prepared.split, prepared.catalog
    channels = _counted(prepared)
    models = {}
    for name, alone in prepared.trained.items():
        with named(name):
            models[name] = compiled(alone)
    _rehearse(prepared, channels, models)
    if is_chief(prepared.strategy):
        for name, alone in prepared.trained.items():
            begin(checkpoints / name, alone.config, alone.fingerprint)
    epochs = {}
    for name, alone in prepared.trained.items():
        log.info("%s: %s", name, type(models[name]).__name__)
        logs = tensorboard and Path(tensorboard) / name
        models[name], epochs[name] = trained(alone, checkpoints / name, logs, models[name])
        channels[name] = serve(alone, models[name])
        prepared.findings.extend(alone.findings)
    multi = MultiChannel(channels, catalog, prepared.merge, prepared.config.depth)
    if isinstance(multi.merge, MarginalRank):
        settings = prepared.config.evaluate
        cases = cases_of(settings, split.validation, catalog)
        multi.fit(cases, settings.ks, settings.exclude_seen)
        log.info("merge by %s, weights %s", multi.merge.by, multi.merge.weights)
    if not refits(prepared):
        return prepared, multi, models
    merge = multi.merge
    del multi, channels, models
    split, catalog = on_both(prepared)
    again = prepared.on(split, catalog)
    channels, models = _counted(again), {}
    for name, alone in prepared.trained.items():
        alone = alone.on(split, catalog, epochs[name])
        logs = tensorboard and Path(tensorboard) / name
        models[name] = retrained(alone, checkpoints / name, logs)
        channels[name] = serve(alone, models[name])
    again = replace(again, merge=merge, findings=prepared.findings)
    return again, MultiChannel(channels, catalog, merge, prepared.config.depth), models


def _counted(prepared):
    """The channels, of which those that are counted are fitted.

    What takes longer comes later, so that what is wrong with any shows first: lists, other counts,
    and models, each of which is compiled before any is trained.
    """
    channels = dict(prepared.channels)
    counted = [name for name in channels if not isinstance(channels[name], TrainedChannel)]
    for name in sorted(counted, key=lambda name: not isinstance(channels[name], Ranking)):
        log.info("%s: %s", name, type(channels[name]).__name__)
        with named(name):
            channels[name].fit(prepared.split.train, prepared.catalog)
    return channels


def measure_channels(
    multi: MultiChannel,
    settings: Evaluate,
    part: Interactions,
    earlier: Interactions | None = None,
) -> MultiReport:
    """Measures a merge beside popularity, and its channels side by side; arguments as `measure`."""
    compared = _compared(multi, settings, part, earlier)
    return MultiReport(measure(multi, settings, part, earlier), compared)


def save_channels(
    multi: MultiChannel,
    report: MultiReport,
    directory: Path,
    prepared: Prepared,
    models: dict[str, Retriever],
) -> Path:
    """Exports channels with their models, config, figures and a plot; returns the new version."""

    def extra(folder):
        lineage.write(folder, lineage.lineage(config, prepared.split.train))
        try:
            report.channels.plot(folder / "channels.png")
        except ImportError as error:
            log.info("no plot of the channels: %s", error)

    config = prepared.config.to_dict()
    metrics = {**report.to_dict(), **as_findings(prepared.findings)}
    return save(multi, directory, None, config, metrics, models, extra)


def _rehearse(prepared, channels, models):
    """Tries what each model learns from, and what the merge is asked, before any is trained."""
    for name, alone in prepared.trained.items():
        settings, train = alone.config.train, alone.split.train
        if models[name].by_gradients:
            batch_size = settings.batch_size or models[name].default_batch_size(train)
            with named(name):
                models[name].batches(train, alone.catalog, batch_size, settings.seed)
    services = {name: untrained(alone, models[name]) for name, alone in prepared.trained.items()}
    whole = {name: services.get(name, channel) for name, channel in channels.items()}
    rehearse(MultiChannel(whole, prepared.catalog, prepared.merge, prepared.config.depth), prepared)


def _compared(multi, settings, part, earlier=None):
    cases = cases_of(settings, part, multi.catalog, earlier)
    k = max(settings.ks)
    return compare(
        multi.channels, multi, cases, multi.catalog, k, exclude_seen=settings.exclude_seen
    )
