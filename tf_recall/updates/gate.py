"""Whether what has been learned may be published: beside the current version, and by the doctor."""

from dataclasses import dataclass, replace

from tf_recall.config import Config
from tf_recall.data.interactions import Interactions
from tf_recall.evaluation.report import Report
from tf_recall.recommend.base import Recommender
from tf_recall.runs.daily import Update
from tf_recall.runs.doctor import check_answers
from tf_recall.runs.measure import measure


@dataclass(frozen=True)
class Verdict:
    """What a gate found.

    Args:
        figures: the candidate's and the current version's, and of how many cases.
        reasons: why the candidate is refused; empty where it passes.
        report: the candidate's figures in full.
    """

    figures: dict
    reasons: list[str]
    report: Report


def judge(
    candidate: Recommender,
    current: Recommender,
    config: Config,
    settings: Update,
    held: Interactions,
    between: Interactions,
) -> Verdict:
    """Asks a candidate and the current version the same cases.

    Both know what came before the held-out events: the candidate has learned it, the current
    version gets it as histories, and neither recommends what a user had.

    Args:
        candidate: what would be published.
        current: what is published.
        config: the model's; its `train.monitor` and `evaluate` count.
        settings: the margins.
        held: the held-out events.
        between: the events between the current version's and the held-out ones.

    Raises:
        ValueError: no case is left.
    """
    monitor = config.train.monitor
    k = int(monitor.partition("@")[2])
    asked = replace(config.evaluate, ks=(k,))
    reports = {
        "new": measure(candidate, asked, held),
        "current": measure(current, asked, held, between),
    }
    names = (monitor, f"coverage@{k}")
    figures = {
        side: {name: report.metrics[name] for name in names} for side, report in reports.items()
    }
    figures["cases"] = reports["new"].counts["cases"]
    least = {names[0]: 1 - settings.margin, names[1]: settings.coverage}
    reasons = []
    for name, share in least.items():
        now, before = figures["new"][name], figures["current"][name]
        if now < share * before:
            reasons.append(
                f"{name} is {now:.4g}, below {share:.4g} of the current version's {before:.4g}, on "
                f"{figures['cases']} cases of the new log"
            )
    findings = check_answers(candidate, candidate.catalog)
    reasons += [str(each) for each in findings if each.severity == "error"]
    return Verdict(figures, reasons, reports["new"])
