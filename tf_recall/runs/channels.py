"""A config of several channels from data to an export: what `tf-recall train` does where it has
`channels`.
"""

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from tf_recall.channels.multi import MultiChannel
from tf_recall.channels.rank_fusion import MarginalRank
from tf_recall.config import Config
from tf_recall.evaluation.channel_report import ChannelReport
from tf_recall.evaluation.compare import compare
from tf_recall.evaluation.report import Report
from tf_recall.export.write import save
from tf_recall.runs.model import Trained, assess, cases_of, prepare
from tf_recall.runs.trained import TrainedChannel

log = logging.getLogger("tf_recall")


@dataclass(frozen=True)
class MultiReport:
    """The merge beside popularity, and the channels beside one another."""

    merged: Report
    channels: ChannelReport

    def __str__(self):
        return f"{self.merged}\n\n{self.channels}"

    def to_dict(self):
        """JSON-able."""
        return {**self.merged.to_dict(), "channels": self.channels.to_dict()}


def train_channels(config: Config, out="saved_models", resume=False, tensorboard=None) -> Trained:
    """Reads, splits, counts or trains each channel, merges, evaluates beside popularity, exports.

    Args:
        config: one with `channels`.
        out: the model repository; the export goes to `<out>/<config.name>/<version>`.
        tensorboard: a directory for the logs of what is trained; a folder in it for each channel.
        resume: go on from the checkpoints of an interrupted run of the same config.

    Returns:
        a `Trained`: the path of the export, a `MultiReport`, the `MultiChannel`.
    """
    split, catalog = prepare(config)
    checkpoints = Path(out) / config.name / "checkpoints"
    channels, models = {}, {}
    for name, channel in config.make_channels().items():
        log.info("%s: %s", name, type(channel).__name__)
        logs = tensorboard and str(Path(tensorboard) / name)
        if isinstance(channel, TrainedChannel):
            channel, models[name] = channel.fit(
                config, name, split, catalog, checkpoints / name, resume, logs
            )
        else:
            channel.fit(split.train, catalog)
        channels[name] = channel
    multi = MultiChannel(channels, catalog, config.make_merge(), config.depth)
    if isinstance(multi.merge, MarginalRank):
        if split.validation is None:
            raise ValueError("merge: marginal_rank learns on a validation part: give the split one")
        multi.merge.fit(_compared(multi, config, split.validation))
    report = judge_channels(multi, config, split.test)
    path = save(
        multi,
        Path(out) / config.name,
        config=config.to_dict(),
        metrics=report.to_dict(),
        model=models,
    )
    shutil.rmtree(checkpoints, ignore_errors=True)
    try:
        report.channels.plot(path / "channels.png")
    except ImportError as error:
        log.info("no plot of the channels: %s", error)
    return Trained(path, report, multi)


def judge_channels(multi: MultiChannel, config: Config, test) -> MultiReport:
    """The merge beside popularity and the channels beside one another, on the config's cases."""
    return MultiReport(assess(multi, config, test, multi.catalog), _compared(multi, config, test))


def _compared(multi, config, part):
    cases, k = (
        cases_of(config, part, multi.catalog),
        max(k for k in config.evaluate.ks if k < multi.catalog.num_items),
    )
    return compare(
        multi.channels, multi, cases, multi.catalog, k, exclude_seen=config.evaluate.exclude_seen
    )
