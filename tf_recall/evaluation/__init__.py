"""Exact evaluation over the whole catalog, always beside popularity."""

from tf_recall.evaluation.cases import Cases, cases_by_row, cases_by_user
from tf_recall.evaluation.channel_report import ChannelReport
from tf_recall.evaluation.compare import compare
from tf_recall.evaluation.logged import LoggedEstimate, evaluate_logged
from tf_recall.evaluation.protocol import RankMetrics, evaluate
from tf_recall.evaluation.report import Report

__all__ = [
    "Cases",
    "ChannelReport",
    "LoggedEstimate",
    "RankMetrics",
    "Report",
    "cases_by_row",
    "cases_by_user",
    "compare",
    "evaluate",
    "evaluate_logged",
]
