"""A run of several channels: counted or trained, merged, measured and exported."""

import logging
from dataclasses import dataclass
from pathlib import Path

from tf_recall.channels.multi import MultiChannel
from tf_recall.channels.rank_fusion import MarginalRank
from tf_recall.config import Config, Evaluate
from tf_recall.data.interactions import Interactions
from tf_recall.evaluation.channel_report import ChannelReport
from tf_recall.evaluation.compare import compare
from tf_recall.evaluation.report import Report
from tf_recall.export.write import save
from tf_recall.retrievers.base import Retriever
from tf_recall.runs.measure import cases_of, measure
from tf_recall.runs.model import compiled, fit, serve
from tf_recall.runs.prepared import Prepared

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
) -> tuple[MultiChannel, dict[str, Retriever]]:
    """Fits each channel and merges them.

    Args:
        prepared: a prepared config with `channels`.
        checkpoints: the folder of the checkpoints; in it each trained channel has a folder.
        tensorboard: a folder for TensorBoard's logs, or None; in it each trained channel has one.

    Returns:
        The channels as one, and the trained models by channel.
    """
    split, catalog = prepared.split, prepared.catalog
    channels = dict(prepared.channels)
    for name, channel in channels.items():
        if name not in prepared.trained:
            log.info("%s: %s", name, type(channel).__name__)
            channel.fit(split.train, catalog)
    # each is compiled before any is trained, which takes long: what is wrong with one shows first
    models = {name: compiled(alone) for name, alone in prepared.trained.items()}
    for name, alone in prepared.trained.items():
        log.info("%s: %s", name, type(models[name]).__name__)
        logs = tensorboard and Path(tensorboard) / name
        models[name] = fit(alone, checkpoints / name, logs, models[name])
        channels[name] = serve(alone, models[name])
    multi = MultiChannel(channels, catalog, prepared.merge, prepared.config.depth)
    if isinstance(multi.merge, MarginalRank):
        multi.merge.fit(_compared(multi, prepared.config.evaluate, split.validation))
    return multi, models


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
    config: Config,
    models: dict[str, Retriever],
) -> Path:
    """Exports channels with their models, config, figures and a plot; returns the new version."""

    def plot(folder):
        try:
            report.channels.plot(folder / "channels.png")
        except ImportError as error:
            log.info("no plot of the channels: %s", error)

    return save(multi, directory, None, config.to_dict(), report.to_dict(), models, plot)


def _compared(multi, settings, part, earlier=None):
    cases = cases_of(settings, part, multi.catalog, earlier)
    k = min(max(settings.ks), multi.catalog.num_items)
    return compare(
        multi.channels, multi, cases, multi.catalog, k, exclude_seen=settings.exclude_seen
    )
